#!/bin/bash
# deb-life.sh PACKAGE NEWER: installs, upgrades, removes and purges the package where
# no systemd runs. It changes the system that it runs in: deb-check.sh runs it in a
# sandbox.
set -euo pipefail

fail() {
	echo "deb-life: $*"
	exit 1
}
config=/etc/gameserverd/gameserverd.yaml
log=$(mktemp)
dpkg_() { dpkg "$@" >"$log" 2>&1 || fail "dpkg $*: $(cat "$log")"; }
rights() { [ "$(stat -c '%U:%G %a' "$1")" = "$2" ] || fail "$1 is $(stat -c '%U:%G %a' "$1"), not $2"; }

dpkg_ -i "$1"
rights /etc/gameserverd "root:gameserverd 750"
rights $config "root:gameserverd 640"
rights /etc/gameserverd/jwt.secret "root:gameserverd 440"
rights /etc/default/gameserverd "root:root 600"
rights /etc/gameserverd/console.token "root:gameserverd 440"
for secret in jwt.secret console.token; do
	grep -qE '^[0-9a-f]{64}$' /etc/gameserverd/$secret || fail "no $secret was made"
done
[ -e /etc/systemd/system/multi-user.target.wants/gameserverd.service ] || fail "the service is not enabled"
[ -e /etc/systemd/system/sockets.target.wants/gameserverd.socket ] || fail "the socket is not enabled"
[ ! -e /etc/systemd/system/multi-user.target.wants/gameserverd-worker.service ] || fail "the worker is enabled"
! pgrep -x gameserverd >/dev/null || fail "it was started where no systemd runs"
gameserverd check --config $config >"$log" 2>&1 || fail "the shipped configuration: $(cat "$log")"

# An administrator's changes stay, at an upgrade too: to the file, its rights, the
# units, and a secret that was taken away.
sed -i 's/rate_burst: 200/rate_burst: 222/' $config
chmod 600 $config
deb-systemd-helper disable gameserverd.service >/dev/null 2>&1 || rm /etc/systemd/system/multi-user.target.wants/gameserverd.service
rm /etc/gameserverd/jwt.secret /etc/gameserverd/console.token
ln -s /lib/systemd/system/gameserverd-worker.service /etc/systemd/system/multi-user.target.wants/ # as systemctl enable does
dpkg_ -i --force-confdef --force-confold "$2"
grep -q 'rate_burst: 222' $config || fail "the configuration was not kept"
grep -q 'New in this version' $config.dpkg-dist || fail "the new configuration is not beside the old"
rights $config "root:gameserverd 600"
[ ! -e /etc/systemd/system/multi-user.target.wants/gameserverd.service ] || fail "the service was enabled again"
[ -e /etc/systemd/system/sockets.target.wants/gameserverd.socket ] || fail "the socket is not enabled any more"
[ -e /etc/systemd/system/multi-user.target.wants/gameserverd-worker.service ] || fail "the worker is not enabled any more"
[ ! -e /etc/gameserverd/jwt.secret ] || fail "a secret was made again"
[ -e /etc/gameserverd/console.token ] || fail "the configuration names a console.token that there is not"

install -d -o gameserverd -g gameserverd -m 700 /var/lib/gameserverd
touch /var/lib/gameserverd/gameserverd.db /etc/gameserverd/jwt.secret /etc/gameserverd/tls.key
dpkg_ -r gameserverd
for kept in $config /var/lib/gameserverd/gameserverd.db /etc/gameserverd/jwt.secret; do
	[ -e $kept ] || fail "remove has removed $kept"
done
[ ! -e /usr/bin/gameserverd ] || fail "remove has left the binary"
dpkg_ -P gameserverd
for gone in $config /var/lib/gameserverd /etc/gameserverd/jwt.secret /etc/gameserverd/console.token /etc/systemd/system/sockets.target.wants/gameserverd.socket \
	/etc/systemd/system/multi-user.target.wants/gameserverd-worker.service; do
	[ ! -e $gone ] && [ ! -L $gone ] || fail "purge has left $gone"
done
[ -e /etc/gameserverd/tls.key ] || fail "purge has removed a file that is not the package's"
