#!/bin/bash
# deb-check.sh: builds the package, and checks what is in it, that it is the same
# when it is built again, its units, and its life where no systemd runs. What needs
# a running systemd is deb-test.sh's.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin

fail() {
	echo "deb-check: $*"
	exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

package=$(./scripts/deb.sh)
cp "$package" "$work/first.deb"
./scripts/deb.sh >/dev/null
cmp "$package" "$work/first.deb" || fail "building it again gives another package"

dpkg-deb -c "$package" | awk '{ print $1, $2, $6 }' >"$work/contents"
diff -u deploy/debian/contents "$work/contents" || fail "its contents are not those of deploy/debian/contents"
dpkg-deb -e "$package" "$work/control"
printf '/etc/gameserverd/gameserverd.yaml\n/etc/default/gameserverd\n' | sort | diff - <(sort "$work/control/conffiles") ||
	fail "its conffiles"
for script in postinst prerm postrm; do
	sh -n "$work/control/$script"
	[ -x "$work/control/$script" ] && grep -q '^set -e$' "$work/control/$script" || fail "$script goes on after an error"
done
dpkg-deb -x "$package" "$work/root"
(cd "$work/root" && md5sum --quiet -c ../control/md5sums)
bash -n "$work/root/usr/share/bash-completion/completions/gameserverd"
for doc in operations.md; do
	grep -q . "$work/root/usr/share/doc/gameserverd/$doc" || fail "$doc is empty"
done

# The units, with the binary where it is now.
command -v systemd-analyze >/dev/null || fail "no systemd-analyze: the units cannot be checked (Debian: apt-get install systemd)"
mkdir "$work/units"
for unit in gameserverd.service gameserverd.socket gameserverd-worker.service; do
	sed "s#/usr/bin/gameserverd#$work/root&#" "$work/root/usr/lib/systemd/system/$unit" >"$work/units/$unit"
done
systemd-analyze verify --man=no "$work/units"/* >"$work/verify" 2>&1 ||
	fail "systemd-analyze verify: $(cat "$work/verify")"
! grep gameserverd "$work/verify" || fail "systemd-analyze verify has something to say"
# The threshold is ten times the exposure: 1.5.
for unit in gameserverd-worker gameserverd; do
	systemd-analyze security --offline=true --threshold=15 --no-pager "$work/units/$unit.service" >"$work/security" 2>&1 ||
		fail "$(cat "$work/security")"
done
exposure=$(sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p' "$work/security")
[ -n "$exposure" ] || fail "systemd-analyze security said no level: $(tail -n 3 "$work/security")"

./scripts/deb-newer.sh "$package" "$work/newer.deb"
life="installed, upgraded, removed, purged"
SANDBOX_TIME=120 ./scripts/sandbox.sh "$PWD/scripts/deb-life.sh" "$work/first.deb" "$work/newer.deb" || {
	[ $? = 125 ] && [ -z "${NO_SKIPS:-}" ] || exit 1 # make verify skips nothing
	life="its installation was NOT tried: there is no sandbox here (it takes root and namespaces)"
}
echo "deb-check: $package is whole, the same when built again; exposure $exposure; $life"
