#!/bin/bash
# metrics.sh - what counting and timing every call costs: sum with a daemon of a
# commit before it was done beside one of a commit after, in one run.
#
#   metrics.sh [--before COMMIT] [--after COMMIT] [--configs "100/1 100/64"]
#              [--runs 6] [--secs 2] [--patience 20] [--rt]
#
# There is no switch that turns the counting off, so both are built, in a clone
# under the scratch folder. --before is by default the parent of the commit that
# brought it, and --after that commit: what differs is the counting alone. With
# --after HEAD it is all that has come since. before2 is a second process of before:
# what these two differ by is the noise. Measured by run.sh, which says how.
#
# Prints Markdown. The aim: under 3 % of throughput at full load, and under 40 ns of a
# call (go test -bench 'Sum|Record' ./internal/rpc has that without the sockets).
cd "$(dirname "$0")" || exit 1
recording=$(git log -1 --format=%H --grep='^rpc, loop: calls, turns and timers are counted and timed$')
before=$recording~1 after=$recording configs="100/1 100/64" runs=6 secs=2 patience=20 rt=()
. ./servers.sh
while [ $# -gt 0 ]; do
    case $1 in
    --rt) rt=(--rt); shift; continue ;;
    --before) before=$2 ;;
    --after) after=$2 ;;
    --configs) configs=$2 ;;
    --runs) runs=$2 ;;
    --secs) secs=$2 ;;
    --patience) patience=$2 ;;
    *) usage ;;
    esac
    shift 2 || usage
done

# at COMMIT FILE: builds the daemon of a commit.
at() {
    local commit
    commit=$(git rev-parse --verify --quiet "$1^{commit}") || { echo "metrics.sh: no commit $1" >&2; return 1; }
    [ -d "$scratch/clone" ] || git clone -q --no-checkout .. "$scratch/clone" || return 1
    (cd "$scratch/clone" && git checkout -q "$commit" && go build -o "$2" ./cmd/gameserverd) >>"$log" 2>&1
}
at "$before" "$scratch/gameserverd-before" && at "$after" "$scratch/gameserverd-after" || exit 1

raw=$scratch/metrics.tsv
BEFORE=$scratch/gameserverd-before SERVER=$scratch/gameserverd-after ./run.sh --servers "before before2 gameserverd" \
    --configs "$configs" --runs "$runs" --secs "$secs" --patience "$patience" --raw "$raw" "${rt[@]}" >>"$log" || exit 1
awk -F'\t' '
NR == 1 { next }
{ k = $2 SUBSEP $1; n[k]++; us[k, n[k]] = $7; rps[k, n[k]] = $4; if (!($2 in seen)) { seen[$2]; order[++configs] = $2 } if ($12 > 5) noisy++ }
function sorted(v, k,    i, j, t) {
    for (i = 1; i <= n[k]; i++) s[i] = v[k, i] + 0
    for (i = 2; i <= n[k]; i++) for (j = i; j > 1 && s[j - 1] > s[j]; j--) { t = s[j]; s[j] = s[j - 1]; s[j - 1] = t }
}
function least(v, k) { sorted(v, k); return s[1] }
function median(v, k,    i) { sorted(v, k); i = int((n[k] + 1) / 2); return n[k] % 2 ? s[i] : (s[i] + s[i + 1]) / 2 }
END {
    print "| connections/depth | before, CPU µs/call, least | median | before again | median | after | median | more by, ns, least | calls/s before, median | after | after to before | before again to before |"
    print "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for (i = 1; i <= configs; i++) {
        c = order[i]; a = c SUBSEP "before"; b = c SUBSEP "before2"; o = c SUBSEP "gameserverd"
        printf "| %s | %.3f | %.3f | %.3f | %.3f | %.3f | %.3f | %.0f | %d | %d | %.3f | %.3f |\n", c,
            least(us, a), median(us, a), least(us, b), median(us, b), least(us, o), median(us, o), 1000 * (least(us, o) - least(us, a)),
            median(rps, a), median(rps, o), median(rps, o) / median(rps, a), median(rps, b) / median(rps, a)
    }
    if (noisy) printf "\n%d of %d measurements were made while others used more than 5 %% of a CPU.\n", noisy, NR - 1
}' "$raw"
