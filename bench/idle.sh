#!/bin/bash
# idle.sh - memory that an idle connection costs: RSS of the server, per connection.
#
#   idle.sh [-n CONNECTIONS] [SERVER...]        SERVER: gameserverd limit gonet ...
#
# For each server: starts it, lets one short burst of calls settle it, opens
# CONNECTIONS (19000), logs each in as its own player (gameserverd), makes one call
# on each, waits. RSS is read 3 s after each step, the last time after 30 s more
# without any call. Kernel memory (slab) counts both ends of a connection. Without
# login the steps are the same and the column stays empty. SERVER in the
# environment names another gameserverd.
cd "$(dirname "$0")" || exit 1
. ./servers.sh
count=19000
[ "$1" = -n ] && { count=$2; shift 2; }
[ "${1:0:1}" = - ] && usage
[ $# -gt 0 ] || set -- gameserverd limit gonet
ulimit -n "$(ulimit -Hn)"
if [ "$(ulimit -n)" != unlimited ] && [ "$(ulimit -n)" -lt $((count + 100)) ]; then
    echo "idle.sh: $count connections need more descriptors than ulimit -n allows ($(ulimit -n))" >&2
    exit 1
fi
build

rss() { awk '/^VmRSS/{print $2}' "/proc/$1/status"; }
slab() { awk '/^Slab/{print $2}' /proc/meminfo; }

# step LINE WANT: has hold do it and waits for its answer.
step() {
    local got
    [ -z "$1" ] || echo "$1" >&"${COPROC[1]}"
    read -r -u "${COPROC[0]}" got
    [ "$got" = "$2" ] || { echo "$name: hold said '$got', not '$2'" >&2; exit 1; }
    sleep 3
}

echo "| server | connections | RSS at start, MiB | KiB per connection: connected | logged in | after one call | idle 30 s later | kernel slab, both ends |"
echo "|---|--:|--:|--:|--:|--:|--:|--:|"
for name; do
    start "$name" || exit 1
    "$out_dir/load" -t 0.5 127.0.0.1 "$port" 1 1 0 0 >/dev/null || exit 1
    sleep 2
    start_rss=$(rss "$pid") s0=$(slab)
    coproc "$out_dir/hold" -t 300 127.0.0.1 "$port" "$count" 2>>"$log"
    hold=$COPROC_PID in=${COPROC[1]} login_rss=
    step '' "held $count"
    open_rss=$(rss "$pid") s1=$(slab)
    [ "$name" = gameserverd ] && { step login 'done login'; login_rss=$(rss "$pid"); }
    step call 'done call'
    call_rss=$(rss "$pid")
    sleep 30
    idle_rss=$(rss "$pid")
    exec {in}>&-
    wait "$hold" 2>/dev/null
    stop "$pid"
    awk -v n="$name" -v c="$count" -v r="$start_rss" -v o="$open_rss" -v l="$login_rss" -v a="$call_rss" -v i="$idle_rss" -v s="$((s1 - s0))" \
        'function per(x) { return x == "" ? "" : sprintf("%.2f", (x - r) / c) }
        BEGIN { printf "| %s | %d | %.1f | %s | %s | %s | %s | %.2f |\n", n, c, r / 1024, per(o), per(l), per(a), per(i), s / c }'
done
