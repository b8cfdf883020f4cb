package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockDir makes dir, if it is not there, and takes it for this process: a second process, or a second call, fails, and its error says
// which process has it. The lock ends with unlock or with the process, however that ends; the file DIR/lock stays. Any goroutine.
func LockDir(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("store: making %s: %w", dir, err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("store: locking %s: %w", dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &LockedError{dir, holder(f)}
		}
		return nil, fmt.Errorf("store: locking %s: %w", dir, err)
	}
	if err := writePID(f); err != nil {
		return nil, errors.Join(fmt.Errorf("store: writing %s: %w", path, err), f.Close())
	}
	return f.Close, nil
}

// LockedError says that another process has the folder.
type LockedError struct{ Dir, Holder string }

// Error names both.
func (e *LockedError) Error() string {
	return fmt.Sprintf("store: %s is in use by %s", e.Dir, e.Holder)
}

// holder reads who wrote the lock file last.
func holder(f *os.File) string {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0) // shorter than b, which ReadAt calls an error
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil || pid <= 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d", pid)
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}
