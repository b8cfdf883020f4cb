package attack

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// sampleTime is the time between two looks at the daemon's memory.
const sampleTime = 50 * time.Millisecond

// residentBytes is what of a process is in RAM.
func residentBytes(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	return parseStatm(string(b))
}

// parseStatm reads the second number of "size resident shared ...", in pages.
func parseStatm(text string) (int64, error) {
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return 0, errors.New("statm has no second field")
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// watch samples the memory of a process until stop is called, which returns it.
// nil: the process cannot be looked at.
func watch(pid int) (stop func() *Memory) {
	before, err := residentBytes(pid)
	if pid == 0 || err != nil {
		return func() *Memory { return nil }
	}
	m := &Memory{Before: before, Peak: before}
	end, tasks := make(chan struct{}), sync.WaitGroup{}
	look := func() {
		m.After, _ = residentBytes(pid) // 0 when it has ended
		m.Peak = max(m.Peak, m.After)
	}
	tasks.Go(func() {
		tick := time.NewTicker(sampleTime)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				look()
			case <-end:
				return
			}
		}
	})
	return func() *Memory {
		close(end)
		tasks.Wait()
		look()
		return m
	}
}

// listenerOf finds the process that listens on an address of this machine; 0: it
// is not to be seen.
func listenerOf(network, target string) int {
	inode := ""
	if network == "unix" {
		b, _ := os.ReadFile("/proc/net/unix") // unreadable: not found
		inode = unixInode(string(b), target)
	} else {
		_, port, err := net.SplitHostPort(target)
		if err != nil {
			return 0
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return 0
		}
		for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
			b, _ := os.ReadFile(table)
			if inode = tcpInode(string(b), uint16(n)); inode != "" {
				break
			}
		}
	}
	if inode == "" {
		return 0
	}
	return ownerOf("socket:[" + inode + "]")
}

// tcpInode finds the socket that listens on a port in the text of /proc/net/tcp.
func tcpInode(table string, port uint16) string {
	const stateListen = "0A"
	end := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(table) {
		f := strings.Fields(line) // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
		if len(f) > 9 && f[3] == stateListen && strings.HasSuffix(f[1], end) {
			return f[9]
		}
	}
	return ""
}

// unixInode finds the socket that listens on a path in the text of /proc/net/unix.
func unixInode(table, path string) string {
	for line := range strings.Lines(table) {
		f := strings.Fields(line) // Num RefCount Protocol Flags Type St Inode Path
		if len(f) == 8 && f[3] == "00010000" && f[7] == path {
			return f[6]
		}
	}
	return ""
}

// ownerOf finds the process that has a file open, by the text of its link. It is
// not process 1, which holds the sockets that it hands over.
func ownerOf(link string) int {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/[0-9]*") // the pattern is right
	for _, name := range links {
		if to, err := os.Readlink(name); err == nil && to == link {
			if pid, _ := strconv.Atoi(strings.Split(name, "/")[2]); pid > 1 {
				return pid
			}
		}
	}
	return 0
}
