#!/bin/bash
# deb-test.sh [PACKAGE]: builds the package, and does with it all that an operator does, in a
# sandbox where systemd is init (deb-trial.sh).
set -euo pipefail
cd "$(dirname "$0")/.."

package=${1:-$(./scripts/deb.sh)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
./scripts/deb-newer.sh "$package" "$work/newer.deb"
cp "$package" "$work/package.deb"
SANDBOX_TIME=${SANDBOX_TIME:-300} ./scripts/sandbox.sh --systemd "$PWD/scripts/deb-trial.sh" "$work/package.deb" "$work/newer.deb"
