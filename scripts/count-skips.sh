#!/bin/sh
# Runs the tests given as arguments and says how many were skipped because the real
# servers are missing (internal/storetest). With NO_SKIPS=1, as in make verify, that fails.
set -u

GAMESERVERD_SKIPPED=$(mktemp)
export GAMESERVERD_SKIPPED
trap 'rm -f "$GAMESERVERD_SKIPPED"' EXIT
trap 'exit 1' HUP INT TERM

"$@"
status=$?

skipped=$(wc -l <"$GAMESERVERD_SKIPPED")
if [ "$skipped" -gt 0 ]; then
	echo "$skipped tests were skipped: they need programs of Debian: scripts/test-servers.sh has their names, and installs them as root"
	[ -z "${NO_SKIPS:-}" ] || status=1
fi
exit $status
