package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"gameserverd/internal/config"
)

func lookDescriptors(cfg *config.Config, o Options, pid int) (f DescriptorFacts) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		f.Of, f.Limit = "a daemon started from this shell", limit.Max // Go raises its own limit to it
	}
	if n := descriptorsOf(pid); n > 0 {
		f.Of, f.Limit = fmt.Sprintf("the daemon, process %d,", pid), n
	}
	if f.Limit > 0 {
		f.Fits = o.ConnectionsWithin(f.Limit, loopsOf(cfg))
	}
	return f
}

// descriptorsOf is another process's limit of open files; 0: not known.
func descriptorsOf(pid int) uint64 {
	if pid == 0 {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			fields := strings.Fields(rest) // soft, hard, unit
			if len(fields) == 3 {
				n, _ := strconv.ParseUint(fields[0], 10, 64)
				return n
			}
		}
	}
	return 0
}

func lookKernel() KernelFacts {
	k := KernelFacts{
		Somaxconn: number("/proc/sys/net/core/somaxconn"), SynBacklog: number("/proc/sys/net/ipv4/tcp_max_syn_backlog"),
		Syncookies: number("/proc/sys/net/ipv4/tcp_syncookies"), PortLow: -1, PortHigh: -1,
	}
	if fields := strings.Fields(text("/proc/sys/net/ipv4/ip_local_port_range")); len(fields) == 2 {
		low, errLow := strconv.Atoi(fields[0])
		high, errHigh := strconv.Atoi(fields[1])
		if errors.Join(errLow, errHigh) == nil {
			k.PortLow, k.PortHigh = low, high
		}
	}
	k.Reserved = portList(text("/proc/sys/net/ipv4/ip_local_reserved_ports"), k.PortLow, k.PortHigh)
	return k
}

// portList reads "5700,8000-8003", as far as it lies from low to high.
func portList(s string, low, high int) (all []int) {
	for item := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		from, to, span := strings.Cut(item, "-")
		first, err := strconv.Atoi(from)
		last := first
		if span && err == nil {
			last, err = strconv.Atoi(to)
		}
		if err != nil {
			continue
		}
		for p := max(first, low); p <= min(last, high); p++ {
			all = append(all, p)
		}
	}
	return all
}

func lookClock() ClockFacts {
	var t unix.Timex // Modes 0: it only reads
	state, err := unix.Adjtimex(&t)
	return ClockFacts{Err: err, Synchronised: err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0}
}

func lookMemory(pid int) MemoryFacts {
	info := text("/proc/meminfo")
	return MemoryFacts{
		Total: meminfo(info, "MemTotal"), Available: meminfo(info, "MemAvailable"), Limit: groupLimit(pid),
		Overcommit: number("/proc/sys/vm/overcommit_memory"), CommitLimit: meminfo(info, "CommitLimit"), Commit: meminfo(info, "Committed_AS"),
	}
}

// meminfo reads a line of /proc/meminfo, which is in KiB.
func meminfo(info, name string) uint64 {
	for line := range strings.Lines(info) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// groupLimit is the least memory.max of the control groups (version 2) that the
// process is in, or this one where pid is 0; 0: there is none.
func groupLimit(pid int) (least uint64) {
	who := "self"
	if pid != 0 {
		who = strconv.Itoa(pid)
	}
	group, ok := strings.CutPrefix(strings.TrimSpace(text("/proc/"+who+"/cgroup")), "0::")
	if !ok {
		return 0
	}
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		n, err := strconv.ParseUint(strings.TrimSpace(text("/sys/fs/cgroup"+dir+"/memory.max")), 10, 64)
		if err == nil && (least == 0 || n < least) { // no number: "max"
			least = n
		}
		if dir == "/" {
			return least
		}
	}
}

// text is what a file of the kernel says; "": it could not be read.
func text(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	return string(b)
}

// number is text as a number; -1: not known.
func number(name string) int {
	n, err := strconv.Atoi(strings.TrimSpace(text(name)))
	if err != nil {
		return -1
	}
	return n
}

func lookData(dir string) DataFacts {
	d := DataFacts{Path: dir, FSProblem: OK}
	if abs, err := filepath.Abs(dir); err == nil {
		d.Path = abs
	}
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		d.Err = errors.New("it is no folder")
		return d
	case err == nil:
		d.Exists, d.Mode = true, info.Mode()
	case !errors.Is(err, fs.ErrNotExist):
		d.Err = err
		return d
	}
	at := d.Path
	for !d.Exists { // it is to be made: how is the folder that it is made in?
		up := filepath.Dir(at)
		if info, err := os.Stat(up); err == nil && info.IsDir() || up == at {
			at = up
			break
		}
		at = up
	}
	d.Err = writable(at)
	var st unix.Statfs_t
	if unix.Statfs(at, &st) == nil {
		block := uint64(st.Bsize)
		d.Free, d.Size, d.FreeInodes, d.Inodes = st.Bavail*block, st.Blocks*block, st.Ffree, st.Files
		d.FS, d.FSProblem, d.FSProblemIs = fileSystemOf(int64(st.Type))
	}
	return d
}

// writable says why files cannot be made in dir.
func writable(dir string) error {
	if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "write to", Path: dir, Err: err}
	}
	return nil
}

// fileSystemOf names a file system by its number in statfs(2), and says what is
// wrong with it for a database.
func fileSystemOf(magic int64) (name string, problem Grade, what string) {
	const inMemory, network = "is in memory: all of it is gone when the machine restarts", "is on another machine: locks and flushes may not be what they seem, and SQLite's files do not survive that"
	switch magic {
	case unix.TMPFS_MAGIC:
		return "tmpfs", Bad, inMemory
	case unix.RAMFS_MAGIC:
		return "ramfs", Bad, inMemory
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay", Warn, "is a container's own layer: it is gone when the container is replaced"
	case unix.NFS_SUPER_MAGIC:
		return "nfs", Bad, network
	case unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		return "smb", Bad, network
	case unix.V9FS_MAGIC:
		return "9p", Warn, network
	case unix.FUSE_SUPER_MAGIC:
		return "fuse", Warn, "is served by another program, which may or may not flush when it is asked to"
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", OK, ""
	case unix.XFS_SUPER_MAGIC:
		return "xfs", OK, ""
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", OK, ""
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs", OK, ""
	case 0x2fc12fc1:
		return "zfs", OK, ""
	}
	return fmt.Sprintf("file system %#x", magic), OK, ""
}
