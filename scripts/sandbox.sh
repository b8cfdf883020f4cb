#!/bin/bash
# sandbox.sh [--systemd] COMMAND...: runs a command as root in a throw-away copy of
# this system: an overlay over /, namespaces of its own for mounts, processes and
# the network (loopback alone). Nothing that it does is left. With --systemd,
# systemd runs in there as init, with no service but the journal.
#
# It needs root, and for --systemd a cgroup2 hierarchy. $SANDBOX_TIME bounds it, in
# seconds. The exit code is the command's, 125 if there is no sandbox.
set -eu

if [ "${SANDBOX_STAGE:-}" = "" ]; then # outside
	systemd=
	if [ "$1" = --systemd ]; then
		systemd=yes
		shift
	fi
	if [ "$(id -u)" -ne 0 ]; then
		echo "sandbox: needs root" >&2
		exit 125
	fi
	dir=$(mktemp -d /tmp/sandbox.XXXXXX)
	mkdir "$dir/upper" "$dir/root"
	cgroup=
	child=
	cleanup() {
		[ -z "$child" ] || kill -KILL "$child" 2>/dev/null || true
		[ -z "$child" ] || wait "$child" 2>/dev/null || true
		for _ in $(seq 20); do # its processes end a moment later
			[ -n "$cgroup" ] && [ -d "$cgroup" ] || break
			find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
		done
		rm -f "$dir/exit"
		rmdir "$dir/upper" "$dir/root" "$dir" 2>/dev/null || true
	}
	trap cleanup EXIT
	trap 'exit 130' INT TERM
	# systemd makes cgroups: below one of ours.
	if [ -n "$systemd" ]; then
		tree=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
		if [ -z "$tree" ] || ! mkdir "$tree/$(basename "$dir")"; then
			echo "sandbox: no cgroup2 hierarchy to run systemd in" >&2
			exit 125
		fi
		cgroup=$tree/$(basename "$dir")
	fi
	export SANDBOX_STAGE=inside SANDBOX_DIR=$dir SANDBOX_SYSTEMD=$systemd
	(
		[ -z "$cgroup" ] || echo "$BASHPID" >"$cgroup/cgroup.procs"
		exec unshare --mount --pid --fork --kill-child --cgroup --ipc --uts --net "$0" "$@"
	) </dev/null &
	child=$!
	end=$(($(date +%s) + ${SANDBOX_TIME:-300}))
	while [ ! -s "$dir/exit" ]; do
		if ! kill -0 "$child" 2>/dev/null; then
			echo "sandbox: it could not be made, or ended before the command" >&2
			exit 125
		elif [ "$(date +%s)" -gt $end ]; then
			echo "sandbox: not done after ${SANDBOX_TIME:-300} seconds" >&2
			exit 124
		fi
		sleep 0.1
	done
	exit "$(cat "$dir/exit")"
fi

# Inside: process 1 of new namespaces.
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$SANDBOX_DIR/upper"
mkdir "$SANDBOX_DIR/upper/files" "$SANDBOX_DIR/upper/work"
root=$SANDBOX_DIR/root
mount -t overlay -o "lowerdir=/,upperdir=$SANDBOX_DIR/upper/files,workdir=$SANDBOX_DIR/upper/work" overlay "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys" # which are the whole machine's
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup" 2>/dev/null || true
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
	touch "$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/var/tmp"
ip link set lo up
rm -f "$root/usr/sbin/policy-rc.d" # what an image has so that nothing starts

mkdir "$root/.sandbox" "$root/.outside"
mount --bind "$SANDBOX_DIR" "$root/.sandbox"
here=$PWD
cd "$root"
pivot_root . .outside # not chroot: systemd makes namespaces of its own
cd "$here" 2>/dev/null || cd /
umount -l /.outside
mount --make-rshared / # as systemd would, were it not told that it is in a container

enter() {
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 container=sandbox "$@"
}
run() {
	code=0
	enter "$@" || code=$?
	echo $code >/.sandbox/exit.new
	mv /.sandbox/exit.new /.sandbox/exit
}
if [ -z "$SANDBOX_SYSTEMD" ]; then
	run "$@"
	exit
fi

rm -rf /etc/systemd/system/*.wants
# Without systemd-tmpfiles among them, which would clear /tmp, where the command may be.
find "/lib/systemd/system/sysinit.target.wants" ! -type d ! -name systemd-journald.service -delete
for unit in systemd-remount-fs.service tmp.mount; do # the second would hide what is in /tmp
	ln -sf /dev/null "/etc/systemd/system/$unit"
done
(
	for _ in $(seq 100); do
		[ "$(enter systemctl is-active basic.target 2>/dev/null)" != active ] || break
		sleep 0.1
	done
	run "$@"
) &
exec env -i container=sandbox PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --system --unit=basic.target --log-target=journal --show-status=no >/dev/null 2>&1
