#!/bin/bash
# room.sh - what room.say costs per member: gameserverd beside a bare C server that
# builds the same bytes once and sends them to each member, one send each.
#
#   room.sh [-n MEMBERS] [-k SAYS] [-r RUNS]
#
# Servers run on CPU 0 with one loop, the members on CPU 1: MEMBERS (10000) logged-in
# connections in one room. Each of RUNS (4) starts both servers anew, in turn, fills
# the room and says SAYS (60) times, each time from another member, the next when all
# members have the last. Prints Markdown: server CPU per member and say, least and
# median, and their ratios to bare.
cd "$(dirname "$0")" || exit 1
. ./servers.sh
members=10000 says=60 runs=4
while getopts n:k:r: opt; do
    case $opt in
    n) members=$OPTARG ;;
    k) says=$OPTARG ;;
    r) runs=$OPTARG ;;
    *) usage ;;
    esac
done
ulimit -n "$(ulimit -Hn)"
build

for run in $(seq "$runs"); do
    for name in fanout gameserverd; do
        start "$name" 0 || exit 1
        quiet 5
        json=$(taskset -c 1 "$out/members" -n "$members" -k "$says" -p "$pid" 127.0.0.1 "$port" 2>>"$log")
        stop "$pid"
        [ -n "$json" ] || { echo "$name: no result" >&2; exit 1; }
        echo "$name $(field server_us) $(field bytes) $(field say_ms) $(field other_pct)" >>"$scratch/raw"
    done
done
awk -v members="$members" '
{ n = ++count[$1]; us[$1, n] = $2; bytes[$1] = $3; ms[$1, n] = $4; if ($5 > 5) noisy[$1]++ }      # all count: they are few
function sorted(v, k,    i, j, t) {
    for (i = 1; i <= count[k]; i++) s[i] = v[k, i] + 0
    for (i = 2; i <= count[k]; i++)
        for (j = i; j > 1 && s[j - 1] > s[j]; j--) { t = s[j]; s[j] = s[j - 1]; s[j - 1] = t }
}
function median(v, k,    h) { sorted(v, k); h = int((count[k] + 1) / 2); return count[k] % 2 ? s[h] : (s[h] + s[h + 1]) / 2 }
function least(v, k) { sorted(v, k); return s[1] }
END {
    print "| server | members | bytes each | CPU µs/member, least | median | ratio to bare, least | median | ms until all have it | noisy runs |"
    print "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    split("fanout gameserverd", names, " ")
    for (i = 1; i <= 2; i++) {
        k = names[i]
        printf "| %s | %d | %.0f | %.3f | %.3f | %.2f | %.2f | %.1f | %d of %d |\n", k == "fanout" ? "bare" : k, members, bytes[k], least(us, k),
            median(us, k), least(us, k) / least(us, "fanout"), median(us, k) / median(us, "fanout"), median(ms, k), noisy[k], count[k]
    }
}' "$scratch/raw"
