#!/bin/bash
# console.sh - what an open page of the console costs the daemon, in CPU time.
#
#   console.sh [--runs 5] [--secs 20] [--n 10000] [--rate 5000] [--patience 10]
#
# --n players are connected and logged in. Each of --runs measures in turn, --secs each:
# no page; the page of live numbers (its stream is read by curl, as a browser reads it);
# and the page of players, which also asks for its list every 5 seconds. All of it
# once while the players are silent, and once while --rate calls a second arrive at
# fixed times on 100 more connections. The tables have the medians; what a page costs is
# the difference to no page, in percent of one CPU.
#
# SERVER in the environment names another gameserverd.
cd "$(dirname "$0")" || exit 1
. ./servers.sh
runs=5 secs=20 n=10000 rate=5000 patience=10
while [ $# -gt 0 ]; do
    case $1 in
    --runs) runs=$2 ;;
    --secs) secs=$2 ;;
    --n) n=$2 ;;
    --rate) rate=$2 ;;
    --patience) patience=$2 ;;
    *) usage ;;
    esac
    shift 2 || usage
done
ulimit -n "$(ulimit -Hn)"
build
free_port
ADMIN=127.0.0.1:$port
admin=http://$ADMIN
export GAMESERVERD_LIMITS_LOGIN_TIMEOUT=5m # 10,000 take a while to come on a busy machine
start gameserverd || exit 1
daemon=$pid

say() { echo "console.sh: $*" >&2; }
ticks() { awk '{ print $14 + $15 }' "/proc/$daemon/stat"; } # CPU time of the daemon, in 1/100 s
now() { echo "${EPOCHREALTIME/./}"; }                        # in µs

coproc "$out_dir/hold" -t 3600 127.0.0.1 "$port" "$n" 2>>"$log"
hold=$COPROC_PID
pids_started+=("$hold")
for step in '' login; do
    [ -z "$step" ] || echo "$step" >&"${COPROC[1]}"
    read -r -u "${COPROC[0]}" got
    [ "$got" = "${step:+done $step}" ] || [ "$got" = "held $n" ] || { say "hold says '$got'"; exit 1; }
done
say "$n players are there"

# share KIND: the daemon's CPU time for --secs, in percent of a CPU, with that kind of page.
share() {
    local readers=() began before
    case $1 in
    live | players)
        curl -sN "$admin/console/live" >"$scratch/page" 2>>"$log" &
        readers+=($!)
        ;;&
    players)
        (while curl -sf "$admin/console/players?sort=waiting&offset=0&limit=50" >"$scratch/list"; do sleep 5; done) 2>>"$log" &
        readers+=($!)
        ;;
    esac
    sleep 2 # the first list and the first tick are not what is measured
    began=$(now) before=$(ticks)
    sleep "$secs"
    awk "BEGIN { printf \"%.3f\n\", ($(ticks) - $before) / (($(now) - $began) / 1e6) }"
    [ ${#readers[@]} = 0 ] || { kill "${readers[@]}" 2>/dev/null; wait "${readers[@]}" 2>/dev/null; }
    if [ "$1" != none ] && ! grep -q '^event: tick' "$scratch/page"; then
        say "the page was sent nothing"
        return 1
    fi
    sleep 1
}

median() { sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

# table TITLE FILE: medians, and what a page adds to no page of the same run.
table() {
    local kind m
    echo "| $1 | daemon, % of a CPU | the page, % of a CPU |"
    echo '|---|--:|--:|'
    for kind in none live players; do
        m=$(awk -v k=$kind '$1 == k { print $2 }' "$2" | median)
        case $kind in
        none) echo "| no page | $m | |" ;;
        *)
            echo "| the page of $([ $kind = live ] && echo live numbers || echo players) | $m | $(awk -v k=$kind '$1 == "none" { base = $2 } $1 == k { print $2 - base }' "$2" | median) |"
            ;;
        esac
    done
    echo
}

measure() {
    local run kind v
    : >"$2"
    for run in $(seq "$runs"); do
        quiet "$patience"
        for kind in none live players; do
            v=$(share $kind) || exit 1
            echo "$kind $v" >>"$2"
            say "$1, run $run of $runs: $kind $v"
        done
    done
}

measure silent "$scratch/silent"
"$server" bench --addr "127.0.0.1:$port" --connections 100 --rate "$rate" --duration 24h >>"$log" 2>&1 &
pids_started+=($!)
sleep 3
measure "$rate calls a second" "$scratch/busy"
echo
table "$n players, silent" "$scratch/silent"
table "$n players, $rate calls a second" "$scratch/busy"
