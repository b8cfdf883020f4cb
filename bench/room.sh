#!/bin/bash
# room.sh - what room.say costs per member: gameserverd beside a bare C server that
# builds the same bytes once and sends them to each member, one send each.
#
#   room.sh [-n MEMBERS] [-k SAYS] [-r RUNS] [-o MAX_OTHER]
#
# Servers run on CPU 0 with one loop, the members on CPU 1: MEMBERS (10000) logged-in
# connections in one room of each. In each of RUNS (10) first one, then the other room
# is spoken in SAYS (20) times, each time by another member, the next when all members
# have the last. Runs in which other processes took more than MAX_OTHER (5) % of a CPU
# count only when there is no clean one. Prints Markdown: server CPU per member and say,
# least and median, and their ratios to bare.
cd "$(dirname "$0")" || exit 1
. ./servers.sh
members=10000 says=20 runs=10 max_other=5
while getopts n:k:r:o: opt; do
    case $opt in
    n) members=$OPTARG ;;
    k) says=$OPTARG ;;
    r) runs=$OPTARG ;;
    o) max_other=$OPTARG ;;
    *) usage ;;
    esac
done
ulimit -n "$(ulimit -Hn)"
build

declare -A in out
for name in fanout gameserverd; do
    start "$name" 0 || exit 1
    mkfifo "$scratch/$name.in" "$scratch/$name.out"
    taskset -c 1 "$out_dir/members" -n "$members" -p "$pid" 127.0.0.1 "$port" <"$scratch/$name.in" >"$scratch/$name.out" 2>>"$log" &
    pids_started+=($!)
    exec {fd}>"$scratch/$name.in" {back}<"$scratch/$name.out"
    in[$name]=$fd out[$name]=$back
    read -r -u "${out[$name]}" json
    [ "$json" = "filled $members" ] || { echo "$name: the room was not filled" >&2; exit 1; }
done
for run in 0 $(seq "$runs"); do                     # run 0 warms up
    for name in fanout gameserverd; do
        quiet 5
        echo "say $says" >&"${in[$name]}"
        read -r -u "${out[$name]}" json || { echo "$name: no result" >&2; exit 1; }
        [ "$run" = 0 ] || echo "$name $(field server_us) $(field bytes) $(field say_ms) $(field other_pct)" >>"$scratch/raw"
    done
done
awk -v members="$members" -v max_other="$max_other" '
{ all[$1]++; line[NR] = $0; clean[$1] += is_clean[NR] = $5 <= max_other }
function keep(    i, f, k) {                        # into us, bytes, ms and count
    for (i in line) {
        split(line[i], f); k = f[1]
        if (clean[k] && !is_clean[i]) continue
        count[k]++; us[k, count[k]] = f[2]; bytes[k] = f[3]; ms[k, count[k]] = f[4]
    }
}
function sorted(v, k,    i, j, t) {
    for (i = 1; i <= count[k]; i++) s[i] = v[k, i] + 0
    for (i = 2; i <= count[k]; i++)
        for (j = i; j > 1 && s[j - 1] > s[j]; j--) { t = s[j]; s[j] = s[j - 1]; s[j - 1] = t }
}
function median(v, k,    h) { sorted(v, k); h = int((count[k] + 1) / 2); return count[k] % 2 ? s[h] : (s[h] + s[h + 1]) / 2 }
function least(v, k) { sorted(v, k); return s[1] }
END {
    keep()
    print "| server | members | bytes each | CPU µs/member, least | median | ratio to bare, least | median | ms until all have it | runs |"
    print "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    split("fanout gameserverd", names, " ")
    for (i = 1; i <= 2; i++) {
        k = names[i]
        printf "| %s | %d | %.0f | %.3f | %.3f | %.2f | %.2f | %.1f | %s |\n", k == "fanout" ? "bare" : k, members, bytes[k], least(us, k),
            median(us, k), least(us, k) / least(us, "fanout"), median(us, k) / median(us, "fanout"), median(ms, k),
            clean[k] ? clean[k] " clean of " all[k] : all[k] ", all noisy"
    }
}' "$scratch/raw"
