#!/bin/bash
# tls.sh - what TLS costs: memory of an idle connection, and what handshakes in
# flight do to the latency of those who are connected.
#
#   tls.sh [-n CONNECTIONS] [--runs 3] [--secs 5] [--patience 20] [--long]
#
# Memory: opens CONNECTIONS (15000) TLS connections, makes one call on each, waits.
# RSS is read 5 s and 30 s afterwards; with --long also after 5 minutes, when the
# garbage collector has run twice by itself.
#
# Latency: 20 plain connections make 1,000 calls a second, at fixed times, for
# --secs, beside nothing; beside 1,000 handshakes that wait for their clients; and
# beside 1,000 at any time, each followed by the next, from a client with nice 19.
# Each is measured --runs times, in turn. The server has all CPUs, and so have its
# clients: with few CPUs the last row is as much about them. busy is how much of all CPUs was
# in use; more than some % in the first row means that the machine was not quiet.
cd "$(dirname "$0")" || exit 1
. ./servers.sh
count=15000 runs=3 secs=5 patience=20 long=
while [ $# -gt 0 ]; do
    case $1 in
    -n) count=$2 ;;
    --runs) runs=$2 ;;
    --secs) secs=$2 ;;
    --patience) patience=$2 ;;
    --long) long=1; shift; continue ;;
    *) usage ;;
    esac
    shift 2 || usage
done
ulimit -n "$(ulimit -Hn)"
build
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$scratch/key.pem" -out "$scratch/cert.pem" -days 90 -subj /CN=localhost 2>>"$log" || exit 1
export GAMESERVERD_LISTEN_TLS_CERT_FILE=$scratch/cert.pem GAMESERVERD_LISTEN_TLS_KEY_FILE=$scratch/key.pem
export GAMESERVERD_LIMITS_MAX_HANDSHAKES=2000 GAMESERVERD_LIMITS_HANDSHAKE_TIMEOUT=10m GAMESERVERD_LIMITS_LOGIN_TIMEOUT=1h

rss() { awk '/^VmRSS/{print $2}' "/proc/$1/status"; }
total() { awk '/^cpu / { for (i = 2; i <= 9; i++) s += $i; print s }' /proc/stat; }

# begin ARGS...: starts handshakes and waits until it is as far. end: ends it; $said
# is its last line.
begin() {
    coproc $nice "$out_dir/handshakes" -addr "127.0.0.1:$port" "$@" 2>>"$log"
    tool=$COPROC_PID in=${COPROC[1]} out=${COPROC[0]}
    read -r -u "$out" said || { echo "tls.sh: handshakes $* failed" >&2; exit 1; }
}
end() {
    exec {in}>&-
    read -r -u "$out" said
    wait "$tool" 2>/dev/null
}

start gameserverd || exit 1
"$server" bench --addr "127.0.0.1:$port" --duration 1s --tls-insecure >/dev/null 2>&1
"$server" bench --addr "127.0.0.1:$port" --duration 1s >/dev/null 2>&1
sleep 3
start_rss=$(rss "$pid") nice=
begin -hold "$count"
sleep 5
open_rss=$(rss "$pid")
sleep 25
idle_rss=$(rss "$pid") long_rss=
[ -n "$long" ] && { sleep 275; long_rss=$(rss "$pid"); }
end
stop "$pid"
echo "| idle TLS connections | RSS at start, MiB | KiB per connection, 5 s later | 30 s later | 5 min later |"
echo "|--:|--:|--:|--:|--:|"
awk -v c="$count" -v r="$start_rss" -v o="$open_rss" -v i="$idle_rss" -v l="$long_rss" 'function per(x) { return x == "" ? "" : sprintf("%.2f", (x - r) / c) }
    BEGIN { printf "| %d | %.1f | %s | %s | %s |\n", c, r / 1024, per(o), per(i), per(l) }'

start gameserverd || exit 1
"$server" bench --addr "127.0.0.1:$port" --duration 1s >/dev/null 2>&1
raw=$scratch/raw.tsv
for run in $(seq "$runs"); do
    for what in nothing -stall -renew; do
        quiet "$patience"
        nice= said=
        [ $what = -renew ] && nice='nice -n 19'
        [ $what = nothing ] || { begin $what 1000; sleep 1; }
        b0=$(busy) t0=$(total)
        json=$("$server" bench --addr "127.0.0.1:$port" --connections 20 --rate 1000 --warmup 500ms --duration "${secs}s" --json 2>>"$log") || exit 1
        b1=$(busy) t1=$(total)
        [ $what = nothing ] || { [ $what = -renew ] || said=; end; }
        echo "$what	$(sed -n 's/.*"p50": *\([0-9.]*\).*/\1/p' <<<"$json")	$(sed -n 's/.*"p99": *\([0-9.]*\).*/\1/p' <<<"$json")	$(((b1 - b0) * 100 / (t1 - t0)))	${said:--}" >>"$raw"
    done
done
echo
echo "| 1,000 calls a second beside | p50 µs, least | p99 µs, least | median | busy, % of all CPUs, least | |"
echo "|---|--:|--:|--:|--:|---|"
awk -F'\t' '{ k = $1; n[k]++; p50[k, n[k]] = $2; p99[k, n[k]] = $3; b[k, n[k]] = $4; note[k] = $5 }
function sort(a, k,    i, j, t) {
    for (i = 1; i <= n[k]; i++) s[i] = a[k, i] + 0
    for (i = 2; i <= n[k]; i++) for (j = i; j > 1 && s[j - 1] > s[j]; j--) { t = s[j]; s[j] = s[j - 1]; s[j - 1] = t }
}
function row(k, name,    l50, l99, m99) {
    sort(p50, k); l50 = s[1]
    sort(p99, k); l99 = s[1]; m99 = s[int((n[k] + 1) / 2)]
    sort(b, k)
    printf "| %s | %.0f | %.0f | %.0f | %d | %s |\n", name, l50, l99, m99, s[1], note[k] == "-" ? "" : note[k]
}
END {
    row("nothing", "nothing")
    row("-stall", "1,000 handshakes that wait for their clients")
    row("-renew", "1,000 handshakes at any time")
}' "$raw"
