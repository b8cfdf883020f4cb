#!/bin/bash
# limits.sh - what the limits cost: CPU time per refused connection, and sum with
# all of them on beside all of them off, in one run.
#
#   limits.sh [--configs "100/1 100/64"] [--runs 6] [--secs 2] [--patience 20]
#             [--refused 20000] [--rt]
#
# on has a rate of requests for each session, limits by address, and smaller ones
# before login, all so high that nothing is refused; off and off2 have none, and
# what these two differ by is the noise. Measured by run.sh, which says how. A
# refused connection is measured with one loop on CPU 0 and the clients on CPU 1: told why
# (one address has too many, the server has too many), and closed at accept because
# 1,000 others wait to be told or were told within the last second or two (so most of
# a flood is, whatever the reason); beside the least of that in C.
#
# Prints Markdown. The aims: under 30 us for a refused connection, under 3 % for sum.
cd "$(dirname "$0")" || exit 1
configs="100/1 100/64" runs=6 secs=2 patience=20 refused=20000 rt=()
. ./servers.sh
while [ $# -gt 0 ]; do
    case $1 in
    --rt) rt=(--rt); shift; continue ;;
    --configs) configs=$2 ;;
    --runs) runs=$2 ;;
    --secs) secs=$2 ;;
    --patience) patience=$2 ;;
    --refused) refused=$2 ;;
    *) usage ;;
    esac
    shift 2 || usage
done
build
failed=0

# refusals TITLE SERVER ARGS...: how a server refuses connections.
refusals() {
    local title=$1 name=$2 best= us try
    shift 2
    start "$name" 0 || exit 1
    if [[ $name = one-* ]]; then
        sleep 0.5 # until the server has seen the end of the one that looked whether it listens
        exec {held}<>"/dev/tcp/127.0.0.1/$port" # the one connection that may be
        sleep 0.5
    fi
    for try in 1 2 3; do
        quiet "$patience"
        json=$(taskset -c 1 "$out_dir/rejects" -addr "127.0.0.1:$port" -pid "$pid" -n "$refused" "$@" 2>>"$log")
        us=$(field server_us)
        [ -n "$us" ] && [ "$(field served)" = 0 ] || { echo "limits.sh: $title: $json" >&2; exit 1; }
        if [ -z "$best" ] || awk "BEGIN { exit !($us < $(json=$best; field server_us)) }"; then best=$json; fi
    done
    [[ $name = one-* ]] && exec {held}>&-
    stop "$pid"
    json=$best
    echo "| $title | $(field connections) | $(field told) | $(field untold) | $(field server_us) | $(field per_second) |"
    [[ $name = one-* ]] || return 0
    awk "BEGIN { exit !($(field server_us) < 30) }" || { echo "limits.sh: $title: over 30 us" >&2; failed=1; }
}

echo '| refused because | connections | told why | without a word | CPU µs each, least of 3 | a second |'
echo '|---|--:|--:|--:|--:|--:|'
refusals 'bare C: accept, close' refuse -silent
refusals '1,000 wait to be told: closed at accept' one-address -silent -at-once 4000
refusals 'bare C: accept, read, send, close' refuse-told
refusals 'one address has too many' one-address
refusals 'the server has its connections' one-connection

raw=$scratch/limits.tsv
./run.sh --servers "off off2 on" --configs "$configs" --runs "$runs" --secs "$secs" --patience "$patience" --raw "$raw" "${rt[@]}" >>"$log" || exit 1
echo
awk -F'\t' '
NR == 1 { next }
{ k = $2 SUBSEP $1; n[k]++; v[k, n[k]] = $7; if (!($2 in seen)) { seen[$2]; order[++configs] = $2 } if ($12 > 5) noisy++ }
function least(k,    i, m) { m = v[k, 1]; for (i = 2; i <= n[k]; i++) if (v[k, i] < m) m = v[k, i]; return m }
function median(k,    i, j, t, s) {
    for (i = 1; i <= n[k]; i++) s[i] = v[k, i] + 0
    for (i = 2; i <= n[k]; i++) for (j = i; j > 1 && s[j - 1] > s[j]; j--) { t = s[j]; s[j] = s[j - 1]; s[j - 1] = t }
    i = int((n[k] + 1) / 2); return n[k] % 2 ? s[i] : (s[i] + s[i + 1]) / 2
}
END {
    print "| connections/depth | off, CPU µs/call, least | median | off again | median | all on | median | on to off, least | off again to off |"
    print "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for (i = 1; i <= configs; i++) {
        c = order[i]; a = c SUBSEP "off"; b = c SUBSEP "off2"; o = c SUBSEP "on"
        printf "| %s | %.3f | %.3f | %.3f | %.3f | %.3f | %.3f | %.3f | %.3f |\n", c, least(a), median(a), least(b), median(b), least(o), median(o), least(o) / least(a), least(b) / least(a)
    }
    if (noisy) printf "\n%d of %d measurements were made while others used more than 5 %% of a CPU.\n", noisy, NR - 1
}' "$raw"
exit $failed
