#!/bin/bash
# all.sh - every benchmark of the project, as Markdown: the machine, the
# measurements of whole servers, the Go benchmarks of the packages. About 30 minutes.
#
#   all.sh [--quick]            --quick: fewer and shorter runs, for a first look
#
# Tables go to standard output, progress to standard error. What it prints is
# what docs/performance.md quotes.
cd "$(dirname "$0")" || exit 1
. ./servers.sh
run=() limits=() tls=() room=() store=() tasks=() scrape=() benchtime=1s
case $1 in
--quick) run=(--runs 2 --secs 1 --patience 0) limits=(--runs 2 --secs 1 --patience 0) tls=(--runs 1 --secs 1 --patience 0 -n 2000) room=(-r 2) store=(--runs 1 --secs 1) tasks=(--runs 1 --secs 1 --tasks 5000 --n 20000) scrape=(--runs 1 --secs 1 --patience 0) benchtime=100ms ;;
'') ;;
*) usage ;;
esac
failed=0
section() { echo "all.sh: $1" >&2; printf '\n### %s\n\n' "$1"; }
part() { "$@" || { echo "all.sh: $1 failed" >&2; failed=1; }; }

section 'Machine'
echo "- CPU: $(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo), $(nproc) used, $(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo) of memory"
echo "- Linux $(uname -r), $(go version | cut -d' ' -f3), $(${CC:-cc} --version | head -1)"
echo "- $(git log -1 --format='commit %h')$([ -z "$(git status --porcelain)" ] || echo ' with changes'), $(date -u +%Y-%m-%d)"

section 'CPU time per sum'
part ./run.sh "${run[@]}"
section 'Limits'
part ./limits.sh "${limits[@]}"
section 'TLS'
part ./tls.sh "${tls[@]}"
section 'Memory per idle connection'
part ./idle.sh
section 'room.say'
part ./room.sh "${room[@]}"
section 'Storage'
part ./store.sh "${store[@]}"
section 'Background tasks'
part ./tasks.sh "${tasks[@]}"
section 'Reading metrics'
part ./scrape.sh "${scrape[@]}"
section 'Packages'
echo '| package | benchmark | ns/op | B/op | allocs/op | other |'
echo '|---|---|--:|--:|--:|---|'
(cd .. && go test -run '^$' -bench . -benchmem -benchtime "$benchtime" ./...) >"$scratch/go.txt" 2>&1 || { failed=1; cat "$scratch/go.txt" >&2; }
awk '/^pkg:/ { pkg = $2; sub(/^[^\/]*\//, "", pkg) }
/^Benchmark/ {
    ns = b = a = "-"; other = ""
    for (i = 3; i < NF; i += 2) {
        if ($(i + 1) == "ns/op") ns = $i
        else if ($(i + 1) == "B/op") b = $i
        else if ($(i + 1) == "allocs/op") a = $i
        else other = other (other ? ", " : "") $i " " $(i + 1)
    }
    sub(/^Benchmark/, "", $1); sub(/-[0-9]+$/, "", $1)
    printf "| %s | %s | %s | %s | %s | %s |\n", pkg, $1, ns, b, a, other
}' "$scratch/go.txt"
exit $failed
