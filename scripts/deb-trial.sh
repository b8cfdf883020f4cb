#!/bin/bash
# deb-trial.sh PACKAGE NEWER: what an operator does with the package, one after the
# other, where systemd is init: make deb-test runs it in a sandbox (sandbox.sh).
# It changes the system that it runs in.
set -euo pipefail

package=$1 newer=$2
config=/etc/gameserverd/gameserverd.yaml
state=/var/lib/gameserverd
unit=gameserverd.service
checkout=$(cd "$(dirname "$0")/.." && pwd) # what is built there meanwhile is not the package's
work=$(mktemp -d)
cd "$work"

step() { printf '== %s\n' "$*"; }
fail() {
	printf 'FAILED: %s\n' "$*"
	systemctl --no-pager --full status gameserverd.service gameserverd.socket || true
	journalctl --no-pager -n 60 -o cat || true
	exit 1
}
# check WHAT COMMAND...: the command must succeed.
check() {
	local what=$1
	shift
	"$@" >out 2>&1 || fail "$what: $* says: $(tail -n 5 out)"
}
refuse() {
	local what=$1
	shift
	! "$@" >out 2>&1 || fail "$what: $* succeeds"
}
is() { [ "$(systemctl show -P "$2" "${3:-$unit}")" = "$1" ] || fail "$2 is $(systemctl show -P "$2" "${3:-$unit}"), not $1"; }
eventually() {
	for _ in $(seq 150); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	fail "never: $*: $("$@" 2>&1 | tail -n 3)"
}
logged() { journalctl --no-pager -u gameserverd -o cat >log && grep -q "$1" log; }
sum() { [ "$(gameserverd call "$@" sum 1 2)" = 3 ]; }

# knock connects as fast as it can, and counts those that were refused.
knock() {
	local n=0 refused=0
	while [ ! -e enough ]; do
		n=$((n + 1))
		(exec 3<>/dev/tcp/127.0.0.1/5700) 2>/dev/null || refused=$((refused + 1))
	done
	echo "$n $refused" >knocks
}
# unrefused COMMAND...: nobody may be refused while the command runs.
unrefused() {
	rm -f enough
	knock &
	local knocker=$!
	sleep 0.2
	check "while clients connect" "$@"
	eventually sum "${tls[@]}"
	touch enough
	wait $knocker
	read -r n refused <knocks
	echo "   $n connections meanwhile, $refused refused"
	[ "$refused" = 0 ] && [ "$n" -gt 5 ] || fail "$refused of $n connections were refused"
}
tls=()

step install
check install dpkg -i "$package"
is active ActiveState && is active ActiveState gameserverd.socket
is enabled UnitFileState && is enabled UnitFileState gameserverd.socket
case $(systemctl show -P StatusText $unit) in "serving: connections "*) ;; *) fail "no status" ;; esac
eventually sum
[ "$(stat -c '%U %G %a' $state $config /etc/gameserverd/jwt.secret /etc/gameserverd | xargs)" = \
	"gameserverd gameserverd 700 root gameserverd 640 root gameserverd 440 root gameserverd 750" ] || fail "rights: $(stat -c '%n %U %G %a' $state $config /etc/gameserverd/*)"
check "what check says of the shipped file" gameserverd check --config $config
logged "sockets of systemd take the place of addresses" || fail "no line of the sockets"

step "a player logs in, a stranger does not"
gameserverd token --uid 7 --ttl 1h >token
check "login" gameserverd call --login-file token player.get
refuse "a token of nobody's" gameserverd call --login dev:7 player.get
check "ctl" gameserverd ctl status
check "ctl as the daemon's user" runuser -u gameserverd -- gameserverd ctl --socket $state/ctl.sock status
refuse "ctl as anybody" runuser -u nobody -- gameserverd ctl --socket $state/ctl.sock status

step "the sandbox holds"
pid=$(systemctl show -P MainPID $unit)
[ "$(awk '/^(CapEff|CapBnd):/ { print $2 }' "/proc/$pid/status" | sort -u)" = 0000000000000000 ] || fail "capabilities"
[ "$(awk '/^(NoNewPrivs|Seccomp):/ { print $2 }' "/proc/$pid/status" | xargs)" = "1 2" ] || fail "no seccomp filter"
refuse "writing beside the state" nsenter -t "$pid" -m -- touch /etc/x /usr/x
files=$(ulimit -Hn) # init's own, where that may not raise it
[ "$files" != unlimited ] && [ "$files" -lt 524288 ] || files=524288
grep -q "^Max open files *$files *$files" "/proc/$pid/limits" || fail "LimitNOFILE: $(grep open "/proc/$pid/limits")"

step "a secret as a credential, a port below 1024, an admin socket"
chown root:root /etc/gameserverd/jwt.secret
chmod 400 /etc/gameserverd/jwt.secret
sed -i 's#secret_file: /etc/gameserverd/jwt.secret#secret_file: jwt.secret#' $config
mkdir -p /etc/systemd/system/{gameserverd.service,gameserverd.socket}.d
printf '[Service]\nLoadCredential=jwt.secret:/etc/gameserverd/jwt.secret\nExecReload=\nExecReload=/bin/kill -HUP $MAINPID\n' >/etc/systemd/system/$unit.d/test.conf
printf '[Socket]\nListenStream=\nListenStream=127.0.0.1:443\n' >/etc/systemd/system/gameserverd.socket.d/test.conf
printf '[Socket]\nListenStream=127.0.0.1:444\nFileDescriptorName=admin\nService=gameserverd.service\n' >/etc/systemd/system/gameserverd-admin.socket
systemctl daemon-reload
check stop systemctl stop $unit
check start systemctl start gameserverd-admin.socket $unit
eventually sum --addr 127.0.0.1:443
check "login" gameserverd call --addr 127.0.0.1:443 --login-file token player.get
check "reload" systemctl reload $unit
exec 3<>/dev/tcp/127.0.0.1/444
printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
grep -q "^ok" <&3 || fail "no admin server on its socket"
exec 3>&-
check stop systemctl stop gameserverd-admin.socket $unit
rm -r /etc/systemd/system/{gameserverd.service,gameserverd.socket}.d /etc/systemd/system/gameserverd-admin.socket
systemctl daemon-reload
chown root:gameserverd /etc/gameserverd/jwt.secret
chmod 440 /etc/gameserverd/jwt.secret
sed -i 's#secret_file: jwt.secret#secret_file: /etc/gameserverd/jwt.secret#' $config
check start systemctl start $unit
eventually sum
pid=$(systemctl show -P MainPID $unit)

step reload
cp $config good.yaml
sed -i 's/rate_per_second: 50/rate_per_second: 60/' $config
check reload systemctl reload $unit
eventually logged '"limits.rate_per_second"'
is "$pid" MainPID
echo "limits: {rate: 1}" >>$config
refuse "reload of a bad file" systemctl reload $unit
is "$pid" MainPID
cp good.yaml $config
check "reload of the old file" systemctl reload $unit
eventually sum

step "restart under load"
sed -i 's/connection_rate_per_ip: 20/connection_rate_per_ip: 0/' $config # knock is one address, and no attack
check "a purchase" gameserverd call --login-file token shop.buy potion 1
# A player who counts, and writes down how far the daemon has acknowledged it.
count() {
	local n=0
	while [ ! -e counted ]; do
		n=$((n + 1))
		! gameserverd call --login-file token save.put n $n >/dev/null 2>&1 || echo $n >acknowledged
	done
}
count &
counter=$!
eventually test -e acknowledged
unrefused systemctl restart $unit
unrefused systemctl restart $unit
touch counted
wait $counter
refuse "the same process" test "$pid" = "$(systemctl show -P MainPID $unit)"
# The gate counts the connections that were tried meanwhile: one more takes its time.
eventually sh -c "gameserverd call --login-file token save.get n >saved"
n=$(sed 's/.*"value": *\([0-9]*\).*/\1/' saved | tr -dc 0-9)
echo "   acknowledged up to $(cat acknowledged), saved $n"
[ "$n" -ge "$(cat acknowledged)" ] || fail "an acknowledged write is lost: $(cat acknowledged), $(cat saved)"

step "killed, and held"
systemctl kill -s KILL $unit
eventually sum
is 1 NRestarts
is active ActiveState gameserverd.socket
mkdir -p /etc/systemd/system/$unit.d
printf '[Service]\nWatchdogSec=2s\n' >/etc/systemd/system/$unit.d/test.conf
systemctl daemon-reload
check restart systemctl restart $unit
systemctl kill -s STOP $unit # as a loop that never turns
eventually logged "Watchdog timeout"
eventually sum
is 1 NRestarts
rm -r /etc/systemd/system/$unit.d
systemctl daemon-reload
check restart systemctl restart $unit

step certificates
authority() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=$1" \
	-addext subjectAltName=IP:127.0.0.1 -keyout "$2/tls.key" -out "$2/tls.crt" 2>/dev/null; }
authority one /etc/gameserverd
cp /etc/gameserverd/tls.crt one.crt
chown root:gameserverd /etc/gameserverd/tls.*
chmod 640 /etc/gameserverd/tls.*
sed -i 's#cert_file: ""#cert_file: /etc/gameserverd/tls.crt#; s#key_file: ""#key_file: /etc/gameserverd/tls.key#; s#plain: allow#plain: refuse#' $config
check "check" gameserverd check --config $config
check "restart for TLS" systemctl reload-or-restart $unit
sum --ca one.crt 2>/dev/null || check "restart for TLS" systemctl restart $unit
tls=(--ca one.crt)
eventually sum "${tls[@]}"
refuse "a client without TLS" gameserverd call sum 1 2
pid=$(systemctl show -P MainPID $unit)
gameserverd call --ca one.crt --wait 1h sum 1 2 >stays 2>&1 &
stays=$!
authority two "$work"
cat tls.key >/etc/gameserverd/tls.key
cat tls.crt >/etc/gameserverd/tls.crt
check "reload of a certificate" systemctl reload $unit
eventually sum --ca tls.crt
refuse "the old certificate" gameserverd call --ca one.crt sum 1 2
kill -0 $stays || fail "the connection with the old certificate is gone"
kill $stays
is "$pid" MainPID
tls=(--ca tls.crt)

step "upgrade, with a configuration that was changed here and there"
sed -i 's/rate_burst: 200/rate_burst: 222/' $config
unrefused dpkg -i --force-confdef --force-confold "$newer"
refuse "the same process" test "$pid" = "$(systemctl show -P MainPID $unit)"
grep -q 'rate_burst: 222' $config || fail "the configuration is not kept"
[ -e $config.dpkg-dist ] || fail "the new one is not beside it"
[ "$(stat -c '%U %G %a' $config)" = "root gameserverd 640" ] || fail "rights of the configuration"

step "a configuration that is wrong"
cp $config good.yaml
echo "limits: {rate: 1}" >>$config
refuse "restart with it" systemctl restart $unit
is failed ActiveState
cp good.yaml $config
check "start after it" systemctl start $unit
eventually sum "${tls[@]}"

step "stop is meant"
check stop systemctl stop $unit
is inactive ActiveState && is inactive ActiveState gameserverd.socket
logged '"msg":"drained","clean":true' || fail "no clean drain"
refuse "a client" sum "${tls[@]}"
is inactive ActiveState
check start systemctl start $unit
eventually sum "${tls[@]}"
is active ActiveState gameserverd.socket

step "without the socket, listen.tcp counts"
check mask systemctl mask --now gameserverd.socket
check restart systemctl restart $unit
eventually sum "${tls[@]}"
check stop systemctl stop $unit # which has the address
check unmask systemctl unmask gameserverd.socket
check start systemctl start $unit
is active ActiveState gameserverd.socket
eventually sum "${tls[@]}"

step "remove leaves configuration and state, purge nothing"
check remove dpkg -r gameserverd
! systemctl is-active -q gameserverd.socket || fail "the socket is still there"
[ -e $state/gameserverd.db ] && [ -e $config ] && [ -e /etc/gameserverd/jwt.secret ] || fail "something is gone"
check "install again" dpkg -i "$newer"
eventually sum "${tls[@]}"
gameserverd call "${tls[@]}" --login-file token player.get >player
grep -q '"potion": *1' player || fail "the state is lost"
rm /etc/gameserverd/tls.*
check purge dpkg -P gameserverd
for gone in $state /var/log/gameserverd /etc/gameserverd /etc/default/gameserverd /usr/bin/gameserverd; do
	[ ! -e $gone ] || fail "$gone is left: $(find $gone)"
done
find / -xdev -newer "$work/token" -name '*gameserverd*' -not -path '/proc/*' -not -path '/tmp/*' -not -path '/var/lib/dpkg/*' \
	-not -path "$checkout/*" -not -path "$HOME/*" -not -path '/var/log/journal/*' >left
[ ! -s left ] || fail "left: $(cat left)"
echo "deb-trial: all of it passed"
