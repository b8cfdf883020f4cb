#!/bin/sh
# Installs the servers that the tests run privately, where they are missing and it may:
# as root, on a system with apt-get. Elsewhere it does nothing, and the tests that need
# them are skipped and counted. Nothing is started: a test starts a server of its own.
set -eu

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # a user's PATH lacks them, the tests look there too
missing=
command -v mariadbd >/dev/null || missing="mariadb-server"
command -v redis-server >/dev/null || missing="$missing redis-server"
# For metrics: what gathers them, what they are pushed to, and the browser of the console's tests.
for program in prometheus promtool; do
	command -v $program >/dev/null || { missing="$missing prometheus"; break; }
done
command -v influxd >/dev/null || missing="$missing influxdb"
command -v victoria-metrics >/dev/null || missing="$missing victoria-metrics"
command -v chromium >/dev/null || missing="$missing chromium"
# For the package: its units are checked, and it is installed in a sandbox.
command -v systemd-analyze >/dev/null || missing="$missing systemd"
command -v ip >/dev/null || missing="$missing iproute2"
command -v adduser >/dev/null || missing="$missing adduser"
command -v openssl >/dev/null || missing="$missing openssl"
# What drives that browser, from npm.
browser=$(dirname "$0")/../internal/console/browser
if command -v npm >/dev/null && [ ! -d "$browser/node_modules/playwright-core" ]; then
	echo "test-servers: npm ci in internal/console/browser (playwright-core, once)"
	(cd "$browser" && npm ci) || echo "test-servers: npm ci failed; the test of the console will try again"
fi
if [ -z "$missing" ] || [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
	exit 0
fi

echo "test-servers: installing $missing for the tests (apt-get, once)"
log=$(mktemp)
# Debian starts what it installs unless this file says no.
policy=/usr/sbin/policy-rc.d
made=
cleanup() {
	rm -f "$log"
	[ -z "$made" ] || rm -f "$policy"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
if [ ! -e "$policy" ]; then
	made=yes
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

# The lock is waited for: another make may be at the same.
install() {
	apt-get -q -o DPkg::Lock::Timeout=300 update || true # old lists may do
	DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing
}
if ! install >"$log" 2>&1 </dev/null; then
	tail -n 15 "$log"
	echo "test-servers: could not install $missing; tests that need them will be skipped"
fi
