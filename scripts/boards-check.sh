#!/bin/sh
# Holds the boards of deploy/grafana against Grafana's own types (npm's
# @grafana/schema), with TypeScript. Without npm it does nothing and says so, which
# make verify does not let pass.
set -eu
cd "$(dirname "$0")/../deploy/grafana/check"

if ! command -v npm >/dev/null; then
	echo "boards-check: NOT done: there is no npm"
	[ -z "${NO_SKIPS:-}" ] || exit 1
	exit 0
fi
# npm leaves a copy of the lock file that it has installed.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
fi
exec node check.mjs
