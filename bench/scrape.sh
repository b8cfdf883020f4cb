#!/bin/bash
# scrape.sh - what reading metrics costs: one read of /metrics with 500 methods, and
# what clients notice of a daemon that is read all the time.
#
#   scrape.sh [--runs 5] [--secs 5] [--rate 20000] [--patience 10]
#
# The daemon has CPU 0, the load generator and the reader CPU 1. Calls are due at
# fixed times, --rate a second on 100 connections, so that a pause counts for all
# calls that it delays. Each of --runs measures, --secs each, no reader, one that reads
# once a second, as the console does, and one that reads ten times a second. The table
# has the medians of the runs: the daemon's CPU time per call, and latencies.
#
# SERVER in the environment names another gameserverd.
cd "$(dirname "$0")" || exit 1
. ./servers.sh
runs=5 secs=5 rate=20000 patience=10
while [ $# -gt 0 ]; do
    case $1 in
    --runs) runs=$2 ;;
    --secs) secs=$2 ;;
    --rate) rate=$2 ;;
    --patience) patience=$2 ;;
    *) usage ;;
    esac
    shift 2 || usage
done
build

echo '500 methods, two histograms each:'
echo
echo '| | ms | ms of CPU | bytes |'
echo '|---|--:|--:|--:|'
quiet "$patience"
(cd .. && go test -run '^$' -bench 'ScrapeOfADaemon|CopyOfALoop|Collect$' -benchtime 200x ./internal/server &&
    go test -run '^$' -bench 'Scrape500|Push500' -benchtime 200x ./internal/metrics) >"$scratch/go.txt" 2>&1 || { cat "$scratch/go.txt" >&2; exit 1; }
awk '/^Benchmark/ {
    ms = cpu = bytes = "-"
    for (i = 3; i < NF; i += 2) {
        if ($(i + 1) == "ns/op") ms = sprintf("%.2f", $i / 1e6)
        else if ($(i + 1) == "cpu-ms/op") cpu = sprintf("%.2f", $i)
        else if ($(i + 1) ~ /^B\/(scrape|push)$/) bytes = $i
    }
    sub(/^Benchmark/, "", $1); sub(/-[0-9]+$/, "", $1)
    printf "| %s | %s | %s | %s |\n", $1, ms, cpu, bytes
}' "$scratch/go.txt"

free_port
ADMIN=127.0.0.1:$port
start gameserverd 0 || exit 1
daemon=$pid game=127.0.0.1:$port
spent() { awk '{ print ($14 + $15) * 10 }' "/proc/$daemon/stat"; } # in ms

# read_every SECONDS: reads /metrics so often, until it is killed.
read_every() {
    local fd
    while sleep "$1"; do
        exec {fd}<>"/dev/tcp/${ADMIN%:*}/${ADMIN#*:}" || return 1
        printf 'GET /metrics HTTP/1.1\r\nHost: %s\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n' "$ADMIN" >&"$fd"
        cat <&"$fd" >/dev/null
        exec {fd}>&-
    done
}

: >"$scratch/raw"
for run in $(seq "$runs"); do
    for every in 0 1 0.1; do
        quiet "$patience"
        reader=
        if [ $every != 0 ]; then
            read_every $every &
            reader=$!
            taskset -p -c 1 "$reader" >/dev/null
        fi
        before=$(spent)
        json=$(taskset -c 1 "$server" bench --addr "$game" --json --warmup 0s --rate "$rate" --connections 100 --depth 256 --duration "${secs}s" sum 1 2 2>>"$log") || exit 1
        after=$(spent)
        [ -z "$reader" ] || { kill "$reader"; wait "$reader"; } 2>/dev/null
        echo "$every $(field answered) $((after - before)) $(field p50) $(field p99) $(field p99.9) $(field max)" >>"$scratch/raw"
    done
    echo "scrape.sh: run $run of $runs" >&2
done
stop "$daemon"

echo
echo "$rate calls of sum a second:"
echo
echo '| read | µs of CPU per call | p50, µs | p99, µs | p99.9, µs | max, µs |'
echo '|---|--:|--:|--:|--:|--:|'
# median COLUMN EVERY
median() { awk -v c="$1" -v e="$2" '$1 == e { print (c == "cpu" ? $3 * 1000 / $2 : $c) }' "$scratch/raw" | sort -g | awk '{ v[NR] = $1 } END { printf "%.2f", v[int((NR + 1) / 2)] }'; }
for every in 0 1 0.1; do
    case $every in 0) what=never ;; 1) what='once a second' ;; *) what='10 times a second' ;; esac
    echo "| $what | $(median cpu $every) | $(median 4 $every) | $(median 5 $every) | $(median 6 $every) | $(median 7 $every) |"
done
