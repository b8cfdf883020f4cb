#!/bin/bash
# store.sh - what keeping state costs: save.put beside a bare loop of 500-row upserts, on
# SQLite and on a private MariaDB.
#
#   store.sh [--runs 5] [--secs 4] [--players 100000] [--online 1000] [--stores "sqlite mariadb"]
#            [--raw FILE]
#
# The stores hold --players seeded players; --online of them, spread evenly over all, are
# online. Rows, bare and through the daemon, are the same: 303-byte saves of those
# players. Commits are flushed to the disk (SQLite: WAL, synchronous FULL; MariaDB: a flush at
# each commit), so the data is in bin/bench, which must not be in memory. Each of --runs
# measures everything in turn, for --secs each; tables have the medians. Nothing is pinned:
# daemon, database and load generator share the CPUs. "other" is what the rest of the
# machine took meanwhile: with two CPUs there is little to spare, so read results with much of
# it with care.
#
# mariadb is left out, with a line that says so, where there is no mariadbd. SERVER in the
# environment names another gameserverd.
cd "$(dirname "$0")" || exit 1
mkdir -p ../bin/bench
TMPDIR=$(cd ../bin/bench && pwd) . ./servers.sh
runs=5 secs=4 players=100000 online=1000 stores="sqlite mariadb" raw=
while [ $# -gt 0 ]; do
    case $1 in
    --runs) runs=$2 ;;
    --secs) secs=$2 ;;
    --players) players=$2 ;;
    --online) online=$2 ;;
    --stores) stores=$2 ;;
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

if [[ $stores == *mariadb* ]] && ! mariadbd=$(PATH=$PATH:/usr/sbin command -v mariadbd mysqld | head -1) || [ -z "${mariadbd-x}" ]; then
    echo "mariadb is left out: there is no mariadbd (apt-get install mariadb-server)."
    echo
    stores=${stores/mariadb/}
fi

# start_mariadb: a server of our own with the options of Debian's package, and two databases.
start_mariadb() {
    local user= tries dir=$scratch/mariadb-data
    [ "$(id -u)" = 0 ] && user=--user=root
    mariadb-install-db --no-defaults --datadir="$dir" --auth-root-authentication-method=normal --skip-test-db $user >>"$log" 2>&1 || return 1
    free_port
    "$mariadbd" --no-defaults $user --datadir="$dir" --socket="$dir/s" --pid-file="$dir/pid" --port="$port" --bind-address=127.0.0.1 \
        --skip-name-resolve --character-set-server=utf8mb4 --innodb-flush-log-at-trx-commit=1 --log-warnings=0 >>"$log" 2>&1 &
    mariadb_pid=$! mariadb_port=$port
    pids_started+=("$mariadb_pid")
    for tries in $(seq 100); do
        kill -0 "$mariadb_pid" 2>/dev/null || return 1
        mariadb -uroot -h127.0.0.1 -P"$port" -e 'CREATE DATABASE game; CREATE DATABASE bare' 2>/dev/null && return 0
        sleep 0.1
    done
    return 1
}

dsn() { echo "root@tcp(127.0.0.1:$mariadb_port)/$1"; }

# http ADDR PATH: the response.
http() {
    local fd
    exec {fd}<>"/dev/tcp/${1%:*}/${1#*:}" || return 1
    printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&"$fd"
    cat <&"$fd"
    exec {fd}>&-
}

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

# until_measuring FILE PID: waits for what bench says there in its first measured second.
until_measuring() { until_phase measuring "$@"; }
until_phase() {
    until grep -q "$1" "$2"; do kill -0 "$3" 2>/dev/null || return 1; sleep 0.05; done
}

# sample: CPU times and commits until now, into the array at.
sample() {
    json=$(rows "$store" game batches)
    at=("$(number batches)" "$(now)" "$(busy)" "$(ticks "${pids[$store]}")" 0)
    [ "$store" = mariadb ] && at[4]=$(ticks "$mariadb_pid")
}

# bare NAME ARGS: the bare loop; notes its results as NAME_...
bare() {
    local name=$1 busy0 t0 database=0
    shift
    quiet 5
    t0=$(now) busy0=$(busy)
    [ "$store" = mariadb ] && database=$(ticks "$mariadb_pid")
    json=$(rows "$store" bare loop -players "$online" "$@") || exit 1
    [ "$store" = mariadb ] && database=$(($(ticks "$mariadb_pid") - database))
    for key in rows_per_second p50 p99 cpus; do note "${name}_$key" "$(number $key)"; done
    # its warm-up and start are part of the time here, so the database's share is a little low
    note "${name}_database" "$(awk "BEGIN { print $database * 1e4 / ($(now) - $t0) }")"
    note "${name}_other" "$(awk "BEGIN { print ($(busy) - $busy0 - $database) * 1e4 / ($(now) - $t0) - $(number cpus) }")"
}

# put NAME SUFFIX: save.put from everybody online at once; notes its results as NAME_...
put() {
    local name=$1 job before key
    quiet 5
    : >"$scratch/progress"      # of the run before
    puts "$store" "$2" --duration $((secs + 2))s >"$scratch/json" 2>"$scratch/progress" &
    job=$!
    until_measuring "$scratch/progress" $job || { cat "$scratch/progress" >&2; exit 1; }
    sample
    before=("${at[@]}")
    sleep "$secs"
    sample
    wait $job || { cat "$scratch/progress" >&2; exit 1; }
    json=$(cat "$scratch/json")
    for key in calls_per_second p50 p99 cpus; do note "${name}_$key" "$(number $key)"; done
    note "${name}_bad" $(($(number answered) - $(number ok)))
    read -r commits us busy daemon database < <(echo $((at[0] - before[0])) $((at[1] - before[1])) $((at[2] - before[2])) $((at[3] - before[3])) $((at[4] - before[4])))
    note "${name}_batch" "$(awk "BEGIN { print $(number calls_per_second) * $us / 1e6 / $commits }")"
    note "${name}_daemon" "$(awk "BEGIN { print $daemon * 1e4 / $us }")"
    note "${name}_database" "$(awk "BEGIN { print $database * 1e4 / $us }")"
    note "${name}_other" "$(awk "BEGIN { print ($busy - $daemon - $database) * 1e4 / $us - $(number cpus) }")"
}

# lone: one call at a time, beside one row at a time.
lone() {
    bare alone -batch 1 -stride "$stride" -of "$players" -for "${secs}s"
    quiet 5
    json=$(calls "$store" --connections 1 --login "dev:$((players / 2))" --duration "${secs}s" save.put slot "$value" 2>>"$log") || exit 1
    note lone_p50 "$(number p50)"
    note lone_p99 "$(number p99)"
    json=$(calls "$store" --connections 1 --duration 1s 2>>"$log") || exit 1
    note lone_sum "$(number p50)"
}

# sums NAME [COMMAND...]: sum at a fixed rate on connections of its own, while COMMAND runs
# beside it.
sums() {
    local name=$1 job=
    shift
    quiet 5
    if [ $# -gt 0 ]; then
        : >"$scratch/progress"
        "$@" --duration $((secs + 3))s >/dev/null 2>"$scratch/progress" &
        job=$!
        until_measuring "$scratch/progress" $job || { cat "$scratch/progress" >&2; exit 1; }
    fi
    json=$(calls "$store" --connections 20 --rate 2000 --duration "${secs}s" 2>>"$log") || exit 1
    [ -z "$job" ] || wait $job
    for key in p50 p99; do note "${name}_$key" "$(number $key)"; done
    note "${name}_not_sent" "$(number not_sent)"
}

# reads NAME [stopped]: reading the state of players who are online, with the database stopped.
reads() {
    local job
    quiet 5
    : >"$scratch/progress"
    calls "$store" --connections "$online" --login "dev:{i}$suffix" --warmup 2s --duration "${secs}s" player.get >"$scratch/json" 2>"$scratch/progress" &
    job=$!
    until_phase 'warming up' "$scratch/progress" $job || { cat "$scratch/progress" >&2; exit 1; }
    [ "$2" != stopped ] || { stopped=$mariadb_pid; kill -STOP "$stopped"; }
    wait $job || { cat "$scratch/progress" >&2; exit 1; }
    [ -z "$stopped" ] || { kill -CONT "$stopped"; stopped=; }
    json=$(cat "$scratch/json")
    note "$1" "$(number calls_per_second)"
    note "$1_p99" "$(number p99)"
    note "$1_bad" $(($(number answered) - $(number ok)))
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
    [ $store = mariadb ] && { start_mariadb || { echo "store.sh: MariaDB does not start" >&2; exit 1; }; }
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
        bare bare -stride "$stride"
        put put "$suffix"
        bare dense
        put dense_put ''
        lone
        sums alone_sum
        rate=$(awk -v s=$store -v r="$run" '$1 == s && $2 == r && $3 == "put_calls_per_second" { printf "%d", $4 / 4 }' "$raw")
        sums gets_sum calls "$store" --connections "$online" --login "dev:{i}$suffix" --rate "$rate" player.get
        sums puts_sum puts "$store" "$suffix" --rate "$rate"
        sums full_sum puts "$store" "$suffix"
    done
    [[ $stores != *mariadb* ]] || { store=mariadb; reads running; reads stalled stopped; }
done

awk -v stores="$stores" -v runs="$runs" -v players="$players" -v online="$online" '
{ v[$1, $3, $2] = $4 }
function sorted(k, m,    r, j, t) {                 # into s[1..n]
    n = 0
    for (r = 0; r <= runs; r++) if ((k, m, r) in v) s[++n] = v[k, m, r] + 0
    for (r = 2; r <= n; r++) for (j = r; j > 1 && s[j - 1] > s[j]; j--) { t = s[j]; s[j] = s[j - 1]; s[j - 1] = t }
}
function median(k, m,    h) { sorted(k, m); h = int((n + 1) / 2); return n % 2 ? s[h] : (s[h] + s[h + 1]) / 2 }
function range(k, m) { sorted(k, m); return sprintf("%.2f to %.2f", s[1], s[n]) }
function most(k, m) { sorted(k, m); return s[n] }
function derive(k, to, a, b, minus,    r) {         # of each run: a / b, or (a - b) / 1000
    for (r = 1; r <= runs; r++) v[k, to, r] = minus ? (v[k, a, r] - v[k, b, r]) / 1000 : v[k, a, r] / v[k, b, r]
}
function cpus(k, m) { return sprintf("%.2f + %.2f + %.2f", median(k, m "_daemon"), median(k, m "_database"), median(k, m "_cpus")) }
function puts(k, what, b, p) {
    derive(k, p "_ratio", p "_calls_per_second", b "_rows_per_second")
    derive(k, p "_commits", p "_p99", b "_p50")
    printf "| %s, %s | %d | %.1f | %d | %.2f | %s | %d | %.1f | %.1f | %.1f | %s | %.2f, %.2f | %d |\n", k, what,
        median(k, b "_rows_per_second"), median(k, b "_p50") / 1000, median(k, p "_calls_per_second"), median(k, p "_ratio"), range(k, p "_ratio"),
        median(k, p "_batch"), median(k, p "_p50") / 1000, median(k, p "_p99") / 1000, median(k, p "_commits"), cpus(k, p),
        median(k, b "_other"), median(k, p "_other"), most(k, p "_bad")
}
function memory(k, what,    bytes, h, r) {
    bytes = median(k, what "_bytes"); h = median(k, what "_heap"); r = median(k, what "_rss")
    printf "| %s, %s | %d | %d | %d | %d | %d | %d | %d |\n", k, what, players, bytes, h, h - bytes, r, r - bytes, median(k, what "_per_second")
}
END {
    m = split(stores, names, " ")
    printf "%d of %d players online, each with one save.put outstanding; %d runs.\n\n", online, players, runs
    print "| store, whose saves | bare rows/s | bare commit of 500, ms | save.put/s | ratio to bare | ratio, least to most | rows a batch | p50 ms | p99 ms | p99, bare commits | CPUs: daemon + database + load | other CPUs: bare, save.put | bad answers |"
    print "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for (i = 1; i <= m; i++) { puts(names[i], "spread over all", "bare", "put"); puts(names[i], "side by side", "dense", "dense_put") }
    print "\nOne player, one call at a time:\n"
    print "| store | bare row, p50 ms | p99 ms | save.put, p50 ms | p99 ms | more than bare, p50 ms | sum, p50 ms |"
    print "|---|--:|--:|--:|--:|--:|--:|"
    for (i = 1; i <= m; i++) {
        k = names[i]; derive(k, "lone_more", "lone_p50", "alone_p50", 1)
        printf "| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |\n", k, median(k, "alone_p50") / 1000, median(k, "alone_p99") / 1000,
            median(k, "lone_p50") / 1000, median(k, "lone_p99") / 1000, median(k, "lone_more"), median(k, "lone_sum") / 1000
    }
    print "\nsum, 2,000 a second on 20 connections of its own, while all who are online do something else:\n"
    print "| store | beside | p50 ms | p99 ms | p99, ratio to alone | ratio to player.get |"
    print "|---|---|--:|--:|--:|--:|"
    for (i = 1; i <= m; i++) {
        k = names[i]
        split("alone_sum gets_sum puts_sum full_sum", sums, " ")
        split("nothing;player.get, a quarter as many as save.put can be;save.put, as many;save.put, as fast as it goes", beside, ";")
        for (j = 1; j <= 4; j++) {
            what = sums[j]
            derive(k, what "_ratio", what "_p99", "alone_sum_p99"); derive(k, what "_gets", what "_p99", "gets_sum_p99")
            printf "| %s | %s | %.2f | %.2f | %.1f | %.1f |\n", k, beside[j],
                median(k, what "_p50") / 1000, median(k, what "_p99") / 1000, median(k, what "_ratio"), median(k, what "_gets")
        }
    }
    print "\nPlayers in memory:\n"
    print "| store | players | their data, bytes each | heap each | heap beyond data | RSS each | RSS beyond data | logins/s |"
    print "|---|--:|--:|--:|--:|--:|--:|--:|"
    for (i = 1; i <= m; i++) { memory(names[i], "seeded"); memory(names[i], "new") }
    if (stores !~ /mariadb/) exit
    print "\nplayer.get from all who are online:\n"
    print "| MariaDB | calls/s | p99 ms | bad answers |"
    print "|---|--:|--:|--:|"
    printf "| running | %d | %.1f | %d |\n", median("mariadb", "running"), median("mariadb", "running_p99") / 1000, most("mariadb", "running_bad")
    printf "| stopped (SIGSTOP) | %d | %.1f | %d |\n", median("mariadb", "stalled"), median("mariadb", "stalled_p99") / 1000, most("mariadb", "stalled_bad")
}' "$raw"
