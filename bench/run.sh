#!/bin/bash
# run.sh - CPU time per call of sum: gameserverd beside the C limit, in one run.
#
#   run.sh [--configs "10/1 100/64"] [--runs 6] [--secs 2] [--servers "limit gonet"]
#          [--max-other 5] [--patience 20] [--rt] [--raw FILE]
#
# Builds everything and starts all servers on CPU 0, each with one loop; the load
# generator runs on CPU 1. For each configuration (connections/depth) and run,
# each server is measured in turn, so that a change in the machine's speed
# touches all alike. A measurement starts when the machine has been quiet for 0.3 s
# and counts as clean when other processes took less than --max-other % of one
# CPU; one that was not is repeated while --patience seconds last, then its
# cleanest try is kept. Noisy runs count only where no clean one is. --rt gives servers and load generator real-time
# priority (and everything else a poor time). SERVER names another gameserverd.
#
# Prints Markdown. CPU time per call is the figure to trust: its least, which noise
# can only raise, its median, and both as ratios to limit. control is a second
# limit: claim nothing that is smaller than what it differs from the first.
cd "$(dirname "$0")" || exit 1
servers="limit control gonet gameserverd" configs="10/1 100/1 1000/1 100/64"
secs=2 runs=6 max_other=5 patience=20 raw= rt=
. ./servers.sh
while [ $# -gt 0 ]; do
    case $1 in
    --rt) rt='chrt --fifo 1'; shift; continue ;;
    --servers) servers=$2 ;;
    --configs) configs=$2 ;;
    --secs) secs=$2 ;;
    --runs) runs=$2 ;;
    --max-other) max_other=$2 ;;
    --patience) patience=$2 ;;
    --raw) raw=$2 ;;
    *) usage ;;
    esac
    shift 2 || usage
done
raw=${raw:-$scratch/raw.tsv}
if [ "$(nproc)" -lt 2 ]; then
    echo "run.sh: needs 2 CPUs, one for the servers and one for the load" >&2
    exit 1
fi
build

declare -A pids ports
for name in $servers; do
    start "$name" 0 || exit 1
    pids[$name]=$pid ports[$name]=$port
done

# measure NAME CONNECTIONS DEPTH RUN: appends the best measurement to the raw file.
measure() {
    local end=$((SECONDS + patience)) best=100000 line= other json
    while :; do
        quiet $((end > SECONDS ? end - SECONDS : 0))
        json=$($rt taskset -c 1 "$out_dir/load" -t "$secs" -w 0.3 -p "${pids[$1]}" 127.0.0.1 "${ports[$1]}" "$2" "$3" 0 2>>"$log")
        [ -n "$json" ] || { echo "$1 $2/$3: no result" >&2; exit 1; }
        other=$(field other_pct)
        if awk "BEGIN { exit !($other < $best) }"; then
            best=$other
            line="$1	$2/$3	$4	$(field rps)	$(field p50_us)	$(field p99_us)	$(field server_us)	$(field server_user)"
            line+="	$(field server_sys)	$(field server_pct)	$(field client_pct)	$other	$(field errors)"
        fi
        if awk "BEGIN { exit !($other <= $max_other) }" || [ $SECONDS -ge $end ]; then break; fi
    done
    echo "$line" >>"$raw"
}

for name in $servers; do
    taskset -c 1 "$out_dir/load" -t 0.3 -w 0.7 127.0.0.1 "${ports[$name]}" 100 16 0 >/dev/null 2>>"$log" || exit 1
done
echo "server	config	run	rps	p50_us	p99_us	server_us	user_us	sys_us	server_pct	client_pct	other_pct	errors" >"$raw"
for config in $configs; do
    for run in $(seq "$runs"); do
        for name in $servers; do measure "$name" "${config%/*}" "${config#*/}" "$run"; done
    done
done

awk -F'\t' -v configs="$configs" -v order="$servers" -v max_other="$max_other" '
NR == 1 { next }
{
    k = $2 SUBSEP $1; all[k]++; errors += $13
    line[NR] = $0; key[NR] = k; clean[k] += is_clean[NR] = $12 <= max_other
}
function keep(    i, c, f, k) {                     # into v and count
    for (i in line) {
        k = key[i]
        if (clean[k] && !is_clean[i]) continue
        split(line[i], f); count[k]++
        for (c = 4; c <= 13; c++) v[k, c, count[k]] = f[c]
    }
}
function sorted(k, c,    i, j, t) {                 # into s[1..count]
    for (i = 1; i <= count[k]; i++) s[i] = v[k, c, i] + 0
    for (i = 2; i <= count[k]; i++)
        for (j = i; j > 1 && s[j - 1] > s[j]; j--) { t = s[j]; s[j] = s[j - 1]; s[j - 1] = t }
}
function median(k, c,    h) { sorted(k, c); h = int((count[k] + 1) / 2); return count[k] % 2 ? s[h] : (s[h] + s[h + 1]) / 2 }
function least(k, c) { sorted(k, c); return s[1] }
function ratio(a, b) { return b > 0 ? sprintf("%.2f", a / b) : "-" }
END {
    keep()
    print "| connections/depth | server | CPU µs/call, least | median | user + system | ratio to limit, least | median | calls/s | p50 µs | p99 µs | runs |"
    print "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    split(configs, cs, " "); m = split(order, names, " ")
    for (i = 1; i in cs; i++)
        for (j = 1; j <= m; j++) {
            k = cs[i] SUBSEP names[j]; base = cs[i] SUBSEP "limit"
            user = median(k, 8); sys = median(k, 9); us = median(k, 7)
            printf "| %s | %s | %.2f | %.2f | %.2f + %.2f | %s | %s | %d | %.0f | %.0f | %s |\n", cs[i], names[j],
                least(k, 7), us, us * user / (user + sys + 1e-9), us * sys / (user + sys + 1e-9),
                ratio(least(k, 7), count[base] ? least(base, 7) : 0), ratio(us, count[base] ? median(base, 7) : 0),
                median(k, 4), median(k, 5), median(k, 6), clean[k] ? clean[k] " clean of " all[k] : all[k] ", all noisy"
        }
    if (errors) { print errors " wrong or missing replies"; exit 1 }
}' "$raw"
