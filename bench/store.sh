#!/bin/bash
# store.sh - what keeping state costs: save.put beside a bare loop of 500-row upserts, on
# SQLite and on a private MariaDB.
#
#   store.sh [--runs 5] [--secs 4] [--players 100000] [--online 1000] [--stores "sqlite mariadb"]
#            [--max-other 10] [--patience 10] [--raw FILE]
#
# The stores hold --players seeded players; --online of them, spread evenly over all, are
# online. Rows, bare and through the daemon, are the same: 303-byte saves of those
# players. Commits are flushed to the disk (SQLite: WAL, synchronous FULL; MariaDB: a flush at
# each commit), so the data is in bin/bench, which must not be in memory. Nothing is pinned:
# daemon, database and load generator share the CPUs.
#
# Each of --runs measures everything in turn, for --secs each, when the machine has been quiet
# for 0.3 s or --patience seconds are over. A run of what belongs together counts as clean when
# other processes took less than --max-other % of one CPU in all of its parts. Tables have the
# medians of the clean runs, or of all where none is clean: then they say little.
#
# mariadb is left out, with a line that says so, where there is no mariadbd. SERVER in the
# environment names another gameserverd.
cd "$(dirname "$0")" || exit 1
mkdir -p ../bin/bench
TMPDIR=$(cd ../bin/bench && pwd) . ./servers.sh
runs=5 secs=4 players=100000 online=1000 stores="sqlite mariadb" max_other=10 patience=10 raw=
while [ $# -gt 0 ]; do
    case $1 in
    --runs) runs=$2 ;;
    --secs) secs=$2 ;;
    --players) players=$2 ;;
    --online) online=$2 ;;
    --stores) stores=$2 ;;
    --max-other) max_other=$2 ;;
    --patience) patience=$2 ;;
    --raw) raw=$2 ;;
    *) usage ;;
    esac
    shift 2 || usage
done
case $(stat -f -c %T "$scratch") in
tmpfs | ramfs) echo "store.sh: $scratch is in memory: nothing there is flushed to a disk" >&2; exit 1 ;;
esac
stride=$((players / online))
[[ $stride =~ ^10*$ ]] || { echo "store.sh: --players must be --online times 1, 10, 100 ..." >&2; exit 2; }
suffix=${stride#1}
ulimit -n "$(ulimit -Hn)"
build
raw=${raw:-$scratch/raw} stopped=
: >"$raw" || exit 1
trap 'status=$?; [ -z "$stopped" ] || kill -CONT "$stopped"; (exit $status); finish' EXIT

if [[ $stores == *mariadb* ]] && [ -z "$mariadbd" ]; then
    echo "mariadb is left out: there is no mariadbd (apt-get install mariadb-server)."
    echo
    stores=${stores/mariadb/}
fi

# start_daemon STORE: on that store; sets pids, ports, admins of it.
declare -A pids ports admins
start_daemon() {
    free_port
    admins[$1]=127.0.0.1:$port
    export GAMESERVERD_STORE_LINGER_PLAYERS=$((players * 4)) GAMESERVERD_STORE_LINGER_BYTES=8GiB GAMESERVERD_STORE_PLAYER_LINGER=1h
    unset GAMESERVERD_STORE_SQL_DRIVER GAMESERVERD_STORE_SQL_DSN
    [ "$1" = mariadb ] && export GAMESERVERD_STORE_SQL_DRIVER=mysql GAMESERVERD_STORE_SQL_DSN="$(dsn game)"
    ADMIN=${admins[$1]} start "$1" || exit 1
    pids[$1]=$pid ports[$1]=$port
    until http "${admins[$1]}" /readyz | grep -q '^HTTP/1.. 200'; do
        kill -0 "$pid" 2>/dev/null || exit 1
        sleep 0.05
    done
}

# rows STORE game|bare ARGS: the bare loop's program on that database.
rows() {
    local where
    case $1/$2 in
    sqlite/game) where="-sqlite=$scratch/sqlite/data/gameserverd.db" ;;
    sqlite/bare) where="-sqlite=$scratch/bare.db" ;;
    mariadb/*) where="-mysql=$(dsn "$2")" ;;
    esac
    "$out_dir/rows" "$where" "${@:3}" 2>>"$log"
}

# calls STORE ARGS: gameserverd bench against that store's daemon.
calls() { "$server" bench --json --addr "127.0.0.1:${ports[$1]}" "${@:2}"; }

value=\"$(printf 'x%.0s' $(seq 300))\"

# puts STORE SUFFIX ARGS: save.put from all that are online; SUFFIX makes their uids.
puts() { calls "$1" --connections "$online" --login "dev:{i}$2" "${@:3}" save.put slot "$value"; }

ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }      # CPU time of a process, in 1/100 s
now() { echo "${EPOCHREALTIME/./}"; }                       # in µs
note() { echo "$store $run $*" >>"$raw"; }                  # METRIC VALUE of this store and run
number() { local v; v=$(field "$1"); [ -n "$v" ] || { echo "store.sh: no $1 in: $json" >&2; exit 1; }; echo "$v"; }

# others: CPU time that was not ours until now, in 1/100 s: neither of the daemon and the
# database nor of this script and what it has waited for.
others() {
    local ours
    ours=$(awk '{ print $14 + $15 + $16 + $17 }' /proc/$$/stat)
    ours=$((ours + $(ticks "${pids[$store]}")))
    [ "$store" != mariadb ] || ours=$((ours + $(ticks "$mariadb_pid")))
    echo $(($(busy) - ours))
}

# begin waits for a quiet machine; finish_with NAME notes what others took since, in % of a CPU.
begin() {
    quiet "$patience"
    began=$(now) others0=$(others)
}
finish_with() { note "$1_other" "$(awk "BEGIN { print ($(others) - $others0) * 1e6 / ($(now) - $began) }")"; }

# in_background COMMAND: starts it, and returns in its first measured second or a little later.
in_background() {
    : >"$scratch/progress"      # of the run before
    "$@" >"$scratch/json" 2>"$scratch/progress" &
    job=$!
    until grep -q measuring "$scratch/progress"; do
        kill -0 "$job" 2>/dev/null || { cat "$scratch/progress" >&2; exit 1; }
        sleep 0.05
    done
}

# ended: waits for the background's end; its result is in json then.
ended() {
    wait "$job" || { cat "$scratch/progress" >&2; exit 1; }
    json=$(cat "$scratch/json")
}

# bare NAME ARGS: the bare loop; notes its results as NAME_...
bare() {
    begin
    json=$(rows "$store" bare loop -players "$online" "${@:2}") || exit 1
    for key in rows_per_second p50 p99; do note "$1_$key" "$(number $key)"; done
    finish_with "$1"
}

# sample: commits, time and CPU times until now, into the array at.
sample() {
    json=$(rows "$store" game batches)
    at=("$(number batches)" "$(now)" "$(ticks "${pids[$store]}")" 0)
    [ "$store" != mariadb ] || at[3]=$(ticks "$mariadb_pid")
}

# put NAME SUFFIX: save.put from everybody online at once; notes its results as NAME_...
put() {
    local before us
    begin
    in_background puts "$store" "$2" --duration $((secs + 2))s
    sample
    before=("${at[@]}")
    sleep "$secs"
    sample
    ended
    us=$((at[1] - before[1]))
    for key in calls_per_second p50 p99 cpus; do note "$1_$key" "$(number $key)"; done
    note "$1_bad" $(($(number answered) - $(number ok)))
    note "$1_batch" "$(awk "BEGIN { print $(number calls_per_second) * $us / 1e6 / (${at[0]} - ${before[0]}) }")"
    note "$1_daemon" "$(awk "BEGIN { print (${at[2]} - ${before[2]}) * 1e4 / $us }")"
    note "$1_database" "$(awk "BEGIN { print (${at[3]} - ${before[3]}) * 1e4 / $us }")"
    finish_with "$1"
}

# lone: one call at a time, beside one row at a time.
lone() {
    bare lone_bare -batch 1 -stride "$stride" -of "$players" -for "${secs}s"
    begin
    json=$(calls "$store" --connections 1 --login "dev:$((players / 2))" --duration "${secs}s" save.put slot "$value" 2>>"$log") || exit 1
    note lone_p50 "$(number p50)"
    note lone_p99 "$(number p99)"
    json=$(calls "$store" --connections 1 --duration 1s 2>>"$log") || exit 1
    note lone_sum "$(number p50)"
    finish_with lone
}

# sums NAME [COMMAND...]: sum at a fixed rate on connections of its own, while COMMAND runs
# beside it.
sums() {
    begin
    [ $# = 1 ] || in_background "${@:2}" --duration $((secs + 3))s
    json=$(calls "$store" --connections 20 --rate 2000 --duration "${secs}s" 2>>"$log") || exit 1
    for key in p50 p99; do note "sum_$1_$key" "$(number $key)"; done
    [ $# = 1 ] || ended
    finish_with "sum_$1"
}

# reads NAME [stopped]: reading the state of players who are online, with the database stopped.
reads() {
    begin
    in_background calls "$store" --connections "$online" --login "dev:{i}$suffix" --duration $((secs + 1))s player.get
    [ $# = 1 ] || { stopped=$mariadb_pid; kill -STOP "$stopped"; }
    ended
    [ $# = 1 ] || { kill -CONT "$stopped"; stopped=; }
    for key in calls_per_second p99; do note "read_$1_$key" "$(number $key)"; done
    note "read_$1_bad" $(($(number answered) - $(number ok)))
    finish_with "read_$1"
}

# heap: live bytes of the daemon, after a garbage collection.
heap() { http "${admins[$store]}" '/debug/pprof/heap?gc=1&debug=1' | sed -n 's/^# HeapAlloc = //p'; }
rss() { awk '/^VmRSS/{ print $2 }' "/proc/$1/status"; }     # in KiB

# memory NAME FROM: logs players in, from FROM on, on a daemon that has just been started; notes as NAME_...
memory() {
    local heap0 rss0 from=$(($2 + 200)) to=$(($2 + players - 1))
    start_daemon "$store"
    "$out_dir/logins" -addr "127.0.0.1:${ports[$store]}" -from "$2" -to $((from - 1)) >>"$log" 2>&1 || exit 1
    calls "$store" --duration 1s >/dev/null 2>>"$log" || exit 1
    heap0=$(heap) rss0=$(rss "${pids[$store]}")
    json=$("$out_dir/logins" -addr "127.0.0.1:${ports[$store]}" -from $from -to $to 2>>"$log") || exit 1
    note "$1_per_second" "$(number logins_per_second)"
    sleep 3
    note "$1_rss" "$(awk "BEGIN { print ($(rss "${pids[$store]}") - $rss0) * 1024 / ($to - $from + 1) }")"
    note "$1_heap" "$(awk "BEGIN { print ($(heap) - $heap0) / ($to - $from + 1) }")"
    stop "${pids[$store]}"
}

run=0
for store in $stores; do
    echo "store.sh: seeding $store" >&2
    [ $store = mariadb ] && { start_mariadb game bare || { echo "store.sh: MariaDB does not start" >&2; exit 1; }; }
    start_daemon $store
    json=$(rows $store game seed -players "$players") || exit 1
    note seeded_bytes "$(number bytes_per_player)"
    note new_bytes 70               # seven numbers, a name such as player100001, no items
    stop "${pids[$store]}"
    memory seeded 1
    memory new $((players + 1))
    start_daemon $store
    puts $store "$suffix" --total "$online" --warmup 0s >/dev/null 2>>"$log" || exit 1
    rows $store bare loop -of "$players" -for 1s >/dev/null || exit 1
done
for run in $(seq "$runs"); do
    for store in $stores; do
        echo "store.sh: run $run of $runs, $store" >&2
        bare put_bare -stride "$stride"
        put put "$suffix"
        bare dense_bare
        put dense ''
        lone
        rate=$(awk -v s=$store -v r="$run" '$1 == s && $2 == r && $3 == "put_calls_per_second" { printf "%d", $4 / 4 }' "$raw")
        sums alone
        sums gets calls "$store" --connections "$online" --login "dev:{i}$suffix" --rate "$rate" player.get
        sums puts puts "$store" "$suffix" --rate "$rate"
        sums full puts "$store" "$suffix"
    done
    [[ $stores != *mariadb* ]] || { store=mariadb; reads running; reads stopped stopped; }
done

awk -v stores="$stores" -v runs="$runs" -v players="$players" -v online="$online" -v max_other="$max_other" '
{
    v[$1, $3, $2] = $4
    if ($3 ~ /_other$/) {
        group[$3] = g = substr($3, 1, index($3, "_") - 1)
        if ($4 > max_other) noisy[$1, g, $2] = 1
    }
}
function keep(k, m,    g, r, clean) {               # the runs of m that count, into kept[1..n]
    g = substr(m, 1, index(m, "_") - 1)
    for (r = 1; r <= runs; r++) clean += !((k, g, r) in noisy)
    n = 0
    for (r = 0; r <= runs; r++) if ((k, m, r) in v && (!clean || !((k, g, r) in noisy))) kept[++n] = r
    counted = clean ? clean " clean of " runs : runs ", all noisy"
}
function sorted(k, m,    i, j, t) {                 # into s[1..n]
    keep(k, m)
    for (i = 1; i <= n; i++) s[i] = v[k, m, kept[i]] + 0
    for (i = 2; i <= n; i++) for (j = i; j > 1 && s[j - 1] > s[j]; j--) { t = s[j]; s[j] = s[j - 1]; s[j - 1] = t }
}
function median(k, m,    h) { sorted(k, m); h = int((n + 1) / 2); return n % 2 ? s[h] : (s[h] + s[h + 1]) / 2 }
function range(k, m) { sorted(k, m); return sprintf("%.2f to %.2f", s[1], s[n]) }
function most(k, m,    r, x) { for (r = 1; r <= runs; r++) if (v[k, m, r] > x) x = v[k, m, r]; return x + 0 }
function ratio(k, to, a, b,    r) { for (r = 1; r <= runs; r++) v[k, to, r] = v[k, a, r] / v[k, b, r] }
function ms(k, m) { return sprintf("%.2f", median(k, m) / 1000) }
function puts(k, what, p) {
    ratio(k, p "_ratio", p "_calls_per_second", p "_bare_rows_per_second")
    ratio(k, p "_commits", p "_p99", p "_bare_p50")
    printf "| %s, %s | %d | %s | %d | %.2f | %s | %d | %s | %s | %.1f | %.2f + %.2f + %.2f | %d | %s |\n", k, what,
        median(k, p "_bare_rows_per_second"), ms(k, p "_bare_p50"), median(k, p "_calls_per_second"), median(k, p "_ratio"), range(k, p "_ratio"),
        median(k, p "_batch"), ms(k, p "_p50"), ms(k, p "_p99"), median(k, p "_commits"),
        median(k, p "_daemon"), median(k, p "_database"), median(k, p "_cpus"), most(k, p "_bad"), counted
}
function memory(k, what,    bytes, h, r) {
    bytes = v[k, what "_bytes", 0]; h = v[k, what "_heap", 0]; r = v[k, what "_rss", 0]
    printf "| %s, %s | %d | %d | %d | %d | %d | %d | %d |\n", k, what, players, bytes, h, h - bytes, r, r - bytes, v[k, what "_per_second", 0]
}
function reads(what, p) {
    printf "| %s | %d | %s | %d | %s |\n", what, median("mariadb", p "_calls_per_second"), ms("mariadb", p "_p99"), most("mariadb", p "_bad"), counted
}
END {
    m = split(stores, names, " ")
    printf "%d of %d players online, each with one save.put outstanding:\n\n", online, players
    print "| store, whose saves | bare rows/s | bare commit of 500, ms | save.put/s | ratio to bare | least to most | rows a batch | p50 ms | p99 ms | p99, bare commits | CPUs: daemon + database + load | bad answers | runs |"
    print "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for (i = 1; i <= m; i++) { puts(names[i], "spread over all", "put"); puts(names[i], "side by side", "dense") }
    print "\nOne player, one call at a time:\n"
    print "| store | bare row, p50 ms | p99 ms | save.put, p50 ms | p99 ms | more than bare, p50 ms | sum, p50 ms | runs |"
    print "|---|--:|--:|--:|--:|--:|--:|--:|"
    for (i = 1; i <= m; i++) {
        k = names[i]
        for (r = 1; r <= runs; r++) v[k, "lone_more", r] = v[k, "lone_p50", r] - v[k, "lone_bare_p50", r]
        printf "| %s | %s | %s | %s | %s | %s | %s | %s |\n", k, ms(k, "lone_bare_p50"), ms(k, "lone_bare_p99"), ms(k, "lone_p50"), ms(k, "lone_p99"),
            ms(k, "lone_more"), ms(k, "lone_sum"), counted
    }
    print "\nsum, 2,000 a second on 20 connections of its own, while all who are online do something else:\n"
    print "| store | beside | p50 ms | p99 ms | p99, ratio to alone | ratio to player.get | runs |"
    print "|---|---|--:|--:|--:|--:|--:|"
    split("alone gets puts full", sums, " ")
    split("nothing;player.get, a quarter as many as save.put can be;save.put, as many;save.put, as fast as it goes", beside, ";")
    for (i = 1; i <= m; i++) for (j = 1; j <= 4; j++) {
        k = names[i]; p = "sum_" sums[j]
        ratio(k, p "_ratio", p "_p99", "sum_alone_p99"); ratio(k, p "_gets", p "_p99", "sum_gets_p99")
        printf "| %s | %s | %s | %s | %.1f | %.1f | %s |\n", k, beside[j], ms(k, p "_p50"), ms(k, p "_p99"), median(k, p "_ratio"), median(k, p "_gets"), counted
    }
    print "\nPlayers in memory:\n"
    print "| store | players | their data, bytes each | heap each | heap beyond data | RSS each | RSS beyond data | logins/s |"
    print "|---|--:|--:|--:|--:|--:|--:|--:|"
    for (i = 1; i <= m; i++) { memory(names[i], "seeded"); memory(names[i], "new") }
    if (stores !~ /mariadb/) exit
    print "\nplayer.get from all who are online:\n"
    print "| MariaDB | calls/s | p99 ms | bad answers | runs |"
    print "|---|--:|--:|--:|--:|"
    reads("running", "read_running")
    reads("stopped (SIGSTOP)", "read_stopped")
}' "$raw"
