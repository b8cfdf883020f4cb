#!/bin/bash
# tasks.sh - background tasks: how many a second, and what they do to players' calls.
#
#   tasks.sh [--runs 5] [--secs 4] [--parts "rates backlog reward"] [--tasks 20000] [--online 200]
#            [--rate 4000] [--n 1000000] [--max-other 10] [--patience 10]
#
# rates:   tasks a second, applied and run in one process: durable ones on MariaDB and Redis and on
#          the stores inside the daemon, ephemeral ones beside asynq alone on the same Redis. --tasks
#          durable ones a run, five times as many of the others.
# backlog: players' calls of a daemon with --n tasks waiting (N in the environment does the same) and
#          of one without, in turn; the other one, and its Redis, stand still meanwhile.
# reward:  the daily reward for --n players, run in the daemon that serves; player.get and save.put of
#          --online players, --rate together a second, before, during and after it.
#
# MariaDB flushes at each commit; its data is in bin/bench, which must not be in memory. Nothing is
# pinned. A run of calls counts as clean when other processes took less than --max-other % of a CPU.
# Tables have the medians of the clean runs, or of all where none is clean: then they say little.
cd "$(dirname "$0")" || exit 1
mkdir -p ../bin/bench
TMPDIR=$(cd ../bin/bench && pwd) . ./servers.sh
runs=5 secs=4 parts="rates backlog reward" tasks=20000 online=200 rate=4000 n=${N:-1000000} max_other=10 patience=10
while [ $# -gt 0 ]; do
    case $1 in
    --runs) runs=$2 ;;
    --secs) secs=$2 ;;
    --parts) parts=$2 ;;
    --tasks) tasks=$2 ;;
    --online) online=$2 ;;
    --rate) rate=$2 ;;
    --n) n=$2 ;;
    --max-other) max_other=$2 ;;
    --patience) patience=$2 ;;
    *) usage ;;
    esac
    shift 2 || usage
done
if [ -z "$mariadbd" ] || ! command -v redis-server >/dev/null; then
    echo "tasks are left out: they take mariadbd and redis-server (apt-get install mariadb-server redis-server)."
    exit 0
fi
ulimit -n "$(ulimit -Hn)"
build
raw=$scratch/raw stopped=()
: >"$raw" || exit 1
trap 'status=$?; [ ${#stopped[@]} = 0 ] || kill -CONT "${stopped[@]}"; (exit $status); finish' EXIT
say() { echo "tasks.sh: $*" >&2; }
now() { echo "${EPOCHREALTIME/./}"; }                       # in µs
number() { local v; v=$(field "$1"); [ -n "$v" ] || { say "no $1 in: $json"; exit 1; }; echo "$v"; }
of() { sed -n "s/.*\"$1\":\"\{0,1\}\([a-z0-9]*\).*/\1/p" <<<"$json"; }    # that value out of ctl's $json
note() { echo "$*" >>"$raw"; }                              # WHAT RUN METRIC VALUE [OTHER]
rss() { awk '/^VmRSS/ { printf "%d", $2 / 1024 }' "/proc/$1/status"; }  # in MiB
ticks() { local t=0 p; for p in "$@"; do t=$((t + $(awk '{ print $14 + $15 }' "/proc/$p/stat"))); done; echo $t; }

start_mariadb rates backlog without reward || { say "MariaDB does not start"; exit 1; }
mysql() { mariadb -uroot -h127.0.0.1 -P"$mariadb_port" -N -e "$1"; }

# daemon NAME REDIS-URL EMBEDDED: a daemon called so, on the database called so; sets pids, ports.
declare -A pids ports redises
daemon() {
    export GAMESERVERD_STORE_SQL_DRIVER=mysql GAMESERVERD_STORE_SQL_DSN="$(dsn "$1")" GAMESERVERD_STORE_REDIS_URL=$2
    export GAMESERVERD_WORKER_EMBEDDED=$3 GAMESERVERD_GAME_DAILY_REWARD_AT= GAMESERVERD_STORE_PLAYER_LINGER=1s
    free_port
    local admin=127.0.0.1:$port
    ADMIN=$admin start "$1" || exit 1
    pids[$1]=$pid ports[$1]=$port
    until http "$admin" /readyz | grep -q '^HTTP/1.. 200'; do
        kill -0 "$pid" 2>/dev/null || exit 1
        sleep 0.05
    done
}

ctl() { "$server" "${@:2}" --socket "$scratch/$1/data/ctl.sock" --json; }

# calls NAME ARGS: gameserverd bench against that daemon; the result is in json, what others took of
# the CPUs meanwhile, in %, in other.
value=\"$(printf 'x%.0s' $(seq 300))\"
calls() {
    local began before ours mine=("${pids[$1]}" "$mariadb_pid" "${redises[$1]}")
    began=$(now) before=$(busy) ours=$(ticks "${mine[@]}")
    json=$("$server" bench --json --addr "127.0.0.1:${ports[$1]}" --connections "$online" --login 'dev:{i}' --warmup 500ms --duration "${secs}s" "${@:2}" 2>>"$log") || { say "no calls of $1"; exit 1; }
    # The load generator's own time is in its result.
    other=$(awk "BEGIN { t = ($(now) - $began) / 1e4; print ($(busy) - $before - ($(ticks "${mine[@]}") - $ours)) / t * 100 - $(number cpus) * 100 }")
}

# both NAME WHAT RUN ARGS: player.get and save.put of that daemon; notes calls a second, p50 and p99.
both() {
    local method key
    for method in player.get save.put; do
        if [ $method = player.get ]; then calls "$1" "${@:4}" player.get; else calls "$1" "${@:4}" save.put slot "$value"; fi
        for key in calls_per_second p50 p99; do note "$2" "$3" "$method.$key" "$(number $key)" "$other"; done
    done
}

medians='
{ k = $1 SUBSEP $3; all[k]++; isclean = NF < 5 || $5 <= max_other; if (isclean) clean[k]++; line[NR] = $0; ok[NR] = isclean }
function keep(    i, f, k) { for (i in line) { split(line[i], f); k = f[1] SUBSEP f[3]; if (clean[k] && !ok[i]) continue; count[k]++; v[k, count[k]] = f[4] } }
function med(what, metric,    k, i, j, t, h, c) {
    k = what SUBSEP metric; c = count[k]
    for (i = 1; i <= c; i++) s[i] = v[k, i] + 0
    for (i = 2; i <= c; i++) for (j = i; j > 1 && s[j - 1] > s[j]; j--) { t = s[j]; s[j] = s[j - 1]; s[j - 1] = t }
    h = int((c + 1) / 2); return c == 0 ? 0 : c % 2 ? s[h] : (s[h] + s[h + 1]) / 2
}
function counted(what, metric,    k) { k = what SUBSEP metric; return clean[k] ? clean[k] " clean of " all[k] : all[k] ", all noisy" }
function change(a, b) { return b ? sprintf("%+.1f %%", (a / b - 1) * 100) : "-" }
'
table() { awk -v max_other="$max_other" -v n="$n" "$medians BEGIN { } END { keep(); $1 }" "$raw"; }

rates() {
    local run json what
    start_redis || { say "Redis does not start"; exit 1; }
    for run in $(seq "$runs"); do
        for what in durable durable-inside ephemeral asynq; do
            say "$what, run $run of $runs"
            quiet "$patience"
            case $what in
            durable) json=$("$out_dir/tasks" -mysql "$(dsn rates)" -redis "$redis_url" durable -n "$tasks") ;;
            durable-inside) json=$("$out_dir/tasks" -sqlite "$scratch/rates.db" durable -n "$tasks") ;;
            *) json=$("$out_dir/tasks" -sqlite "$scratch/rates.db" -redis "$redis_url" "$what" -n $((tasks * 5))) ;;
            esac || exit 1
            note "$what" "$run" rate "$(number tasks_per_second)"
        done
    done
    stop "$redis_pid"
    echo "| tasks | on | a second | ratio to asynq alone |"
    echo "|---|---|--:|--:|"
    table '
    printf "| durable | MariaDB and Redis | %d | - |\n", med("durable", "rate")
    printf "| durable | SQLite and the Redis inside | %d | - |\n", med("durable-inside", "rate")
    printf "| ephemeral | Redis | %d | %.2f |\n", med("ephemeral", "rate"), med("ephemeral", "rate") / med("asynq", "rate")
    printf "| asynq alone | Redis | %d | 1 |\n", med("asynq", "rate")'
    echo
    (cd .. && go test -run '^$' -bench 'Write$' ./internal/tasks) 2>>"$log" |
        awk '/^BenchmarkWrite/ { printf "Applying a task costs the loop %.2f µs beside the row in the group commit.\n\n", $3 / 1000 }'
}

backlog() {
    local run name other order
    for name in without backlog; do
        start_redis || { say "Redis does not start"; exit 1; }
        redises[$name]=$redis_pid
        daemon "$name" "$redis_url" false
    done
    say "applying $n tasks that nobody runs"
    "$out_dir/tasks" -mysql "$(dsn backlog)" -redis "$redis_url" backlog -n "$n" || exit 1
    for run in 0 $(seq "$runs"); do                 # run 0 warms up
        order="without backlog"
        [ $((run % 2)) = 0 ] || order="backlog without"
        for name in $order; do
            if [ $name = backlog ]; then other=without; else other=backlog; fi
            stopped=("${pids[$other]}" "${redises[$other]}")
            kill -STOP "${stopped[@]}"
            sleep 2.5                               # one look of the reconciler, at least
            quiet 1
            say "calls, $name, run $run of $runs"
            both "$name" "$name" "$run"
            kill -CONT "${stopped[@]}"
            stopped=()
        done
        [ "$run" != 0 ] || sed -i '/^\(backlog\|without\) /d' "$raw"
    done
    note backlog 1 rss "$(rss "${pids[backlog]}")"
    note without 1 rss "$(rss "${pids[without]}")"
    note backlog 1 redis "$(rss "${redises[backlog]}")"
    for name in without backlog; do stop "${pids[$name]}"; stop "${redises[$name]}"; done
    echo "| call | tasks waiting | calls/s | | p50 µs | p99 µs | | runs |"
    echo "|---|--:|--:|--:|--:|--:|--:|---|"
    table '
    split("player.get save.put", m, " "); split("without backlog", w, " ")
    for (i = 1; i <= 2; i++) for (j = 1; j <= 2; j++) {
        c = m[i] ".calls_per_second"; p = m[i] ".p99"
        printf "| %s | %d | %d | %s | %d | %d | %s | %s |\n", m[i], j == 1 ? 0 : n, med(w[j], c), j == 1 ? "" : change(med(w[2], c), med(w[1], c)),
            med(w[j], m[i] ".p50"), med(w[j], p), j == 1 ? "" : change(med(w[2], p), med(w[1], p)), counted(w[j], c)
    }
    printf "\nMemory: the daemon with the backlog %d MiB, without %d MiB; its Redis %d MiB.\n\n", med("backlog", "rss"), med("without", "rss"), med("backlog", "redis")'
}

reward() {
    local id state since run=0 began most=0 size before
    start_redis || { say "Redis does not start"; exit 1; }
    redises[reward]=$redis_pid
    daemon reward "$redis_url" true
    say "$n players"
    "$out_dir/tasks" -mysql "$(dsn reward)" players -n "$n" || exit 1
    both reward warm 0 --rate $((rate / 2))
    for run in $(seq "$runs"); do say "calls before, run $run of $runs"; quiet "$patience"; both reward before "$run" --rate $((rate / 2)); done
    before=$(rss "${pids[reward]}")
    since=$(($(date +%s%3N) - 604800000))
    json=$(ctl reward tasks run reward.daily '"2026-01-01"' "$since") || exit 1
    id=$(of id)
    began=$(now) run=0
    while :; do
        run=$((run + 1))
        both reward during "$run" --rate $((rate / 2))
        size=$(rss "${pids[reward]}")
        [ "$size" -le "$most" ] || most=$size
        json=$(ctl reward tasks show "$id") || exit 1
        state=$(of state)
        case $state in running | waiting) ;; *) break ;; esac
        say "$(mysql "SELECT COUNT(*) FROM reward.mail WHERE source = 'daily reward 2026-01-01'") of $n mails, the daemon has $size MiB"
    done
    [ "$state" = done ] || { say "the reward is $state: $json"; exit 1; }
    note reward 1 took $((($(of ended_ms) - $(of run_ms)) / 1000))
    note reward 1 mails "$(mysql "SELECT COUNT(*) FROM reward.mail WHERE source = 'daily reward 2026-01-01'")"
    note reward 1 players "$(mysql "SELECT COUNT(DISTINCT uid) FROM reward.mail WHERE source = 'daily reward 2026-01-01'")"
    note reward 1 before "$before"
    note reward 1 most "$most"
    for run in $(seq "$runs"); do say "calls after, run $run of $runs"; quiet "$patience"; both reward after "$run" --rate $((rate / 2)); done
    stop "${pids[reward]}"
    stop "$redis_pid"
    table '
    printf "%d mails to %d players in %d s; the daemon had %d MiB before and %d MiB at most.\n\n", med("reward", "mails"), med("reward", "players"),
        med("reward", "took"), med("reward", "before"), med("reward", "most")
    print "| call | reward | p50 µs | p99 µs | | runs |"; print "|---|---|--:|--:|--:|---|"
    split("player.get save.put", m, " "); split("before during after", w, " ")
    for (i = 1; i <= 2; i++) for (j = 1; j <= 3; j++)
        printf "| %s | %s | %d | %d | %s | %s |\n", m[i], w[j], med(w[j], m[i] ".p50"), med(w[j], m[i] ".p99"),
            j == 1 ? "" : change(med(w[j], m[i] ".p99"), med(w[1], m[i] ".p99")), counted(w[j], m[i] ".p99")'
}

for part in $parts; do
    case $part in rates | backlog | reward) ;; *) usage ;; esac
    printf '\n#### %s\n\n' "$part"
    $part
done
