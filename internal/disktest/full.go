// Package disktest makes a disk full for tests of files that lines are added to. It
// is for tests only.
package disktest

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// Full runs fn while the file at path has room for so many bytes more, and no other file
// of this process for more in all: tests that use it do not run in parallel.
func Full(t testing.TB, path string, room int64, fn func()) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(info.Size() + room), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
	}()
	fn()
}
