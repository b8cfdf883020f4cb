package storetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// maxFolder is how long a run's folder may be: a unix socket's path has 107 bytes, and a server adds "/mariadb-999/s".
const maxFolder = 90

// run is this test binary's folder, with a folder for each server in it.
var run struct {
	mu   sync.Mutex
	path string   // "": not made yet
	lock *os.File // held as long as the process lives: says that the folder is in use
	last int      // counts the folders
}

// base makes and returns the folder that holds all runs of this user.
func base() (string, error) {
	name := fmt.Sprintf("gameserverd-storetest-%d", os.Getuid())
	path := filepath.Join(os.TempDir(), name)
	if len(path)+len("/run-4294967295") > maxFolder {
		path = filepath.Join("/tmp", name)
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	// The name can be guessed, so on a shared machine somebody else may have been first.
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || info.Mode().Perm() != 0o700 || int(st.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s is not a folder of this user with mode 0700", path)
	}
	return path, nil
}

// Folder makes an empty folder, which goes when the servers do, or if the process is killed with the next test binary
// that uses this package. Any goroutine.
func Folder(kind string) (string, error) {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.path == "" {
		if err := openRun(); err != nil {
			return "", err
		}
	}
	run.last++
	path := filepath.Join(run.path, fmt.Sprintf("%s-%d", kind, run.last))
	return path, os.Mkdir(path, 0o700)
}

// openRun makes this binary's folder and removes those of binaries that were killed before they could.
func openRun() error {
	base, err := base()
	if err != nil {
		return err
	}
	all, err := lockFile(filepath.Join(base, "lock"), syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer all.Close()
	old, err := filepath.Glob(filepath.Join(base, "run-*"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if f, err := lockFile(filepath.Join(path, "lock"), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			err = os.RemoveAll(path)
			f.Close()
			if err != nil {
				return err
			}
		}
	}
	path, err := os.MkdirTemp(base, "run-")
	if err != nil {
		return err
	}
	// Before the lock of all is given back, so that nobody takes the folder for an abandoned one.
	lock, err := lockFile(filepath.Join(path, "lock"), syscall.LOCK_EX)
	if err != nil {
		return errors.Join(err, os.RemoveAll(path))
	}
	run.path, run.lock = path, lock
	return nil
}

// closeRun removes this binary's folder.
func closeRun() error {
	run.mu.Lock()
	defer run.mu.Unlock()
	if run.path == "" {
		return nil
	}
	err := os.RemoveAll(run.path)
	run.lock.Close()
	run.path, run.lock = "", nil
	return err
}

// lockFile opens or makes the file and locks it; closing it, or the end of the process, gives the lock back.
func lockFile(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return f, nil
}

// tail returns the last lines of a log for a failure's message.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	const most = 40
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	if len(lines) > most {
		lines = lines[len(lines)-most:]
	}
	return strings.Join(lines, "\n")
}
