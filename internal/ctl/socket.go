package ctl

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is what fits sockaddr_un with its final zero byte.
const maxPath = 107

// LiveError says that somebody answers at the socket already.
type LiveError struct {
	Path string
	PID  int32 // 0: not known
}

// Error names the process.
func (e *LiveError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("ctl: %s answers at %s", who, e.Path)
}

// liveWait is how long a daemon that ends may still answer: it unlocks data_dir
// before it closes its socket.
const liveWait = 3 * time.Second

// bind makes the socket in dir, in place of what a daemon that crashed has left.
// It is bound in a folder that nobody else may enter and moved to its name when
// its mode is set: nobody can open it before, and a umask, which is the whole
// process's, is not touched. The caller has dir for itself.
func bind(dir string) (*net.UnixListener, os.FileInfo, error) {
	path := SocketPath(dir)
	if err := awaitGone(path, time.Now().Add(liveWait)); err != nil {
		return nil, nil, err
	}
	private := filepath.Join(dir, ".ctl")
	if err := errors.Join(os.RemoveAll(private), os.Mkdir(private, 0o700)); err != nil {
		return nil, nil, fmt.Errorf("ctl: %w", err)
	}
	defer os.RemoveAll(private)
	name := filepath.Join(private, "s")
	var l *net.UnixListener
	err := within(name, func(short string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("ctl: %w", err)
	}
	l.SetUnlinkOnClose(false) // it would be the name of now
	info, err := os.Lstat(name)
	if err := errors.Join(err, os.Chmod(name, 0o600), os.Rename(name, path)); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("ctl: %w", err), l.Close())
	}
	return l, info, nil
}

// awaitGone waits until nobody answers at path any more.
func awaitGone(path string, until time.Time) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("ctl: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("ctl: %s is there and is no socket; move it away", path)
	}
	for {
		pid, live := answers(path)
		if !live {
			return nil
		}
		if time.Now().After(until) {
			return &LiveError{Path: path, PID: pid}
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// answers reports whether somebody listens at path, and who.
func answers(path string) (pid int32, live bool) {
	var conn net.Conn
	err := within(path, func(short string) (err error) {
		conn, err = net.DialTimeout("unix", short, time.Second)
		return err
	})
	switch {
	case err == nil:
		defer conn.Close()
		return peerOf(conn).Pid, true
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EACCES), os.IsTimeout(err):
		return 0, true // its backlog is full, or it is somebody else's
	}
	return 0, false
}

// peerOf is the process at the other end, or who made the socket that was dialed.
func peerOf(c net.Conn) unix.Ucred {
	raw, ok := c.(*net.UnixConn)
	if !ok {
		return unix.Ucred{}
	}
	sys, err := raw.SyscallConn()
	if err != nil {
		return unix.Ucred{}
	}
	var who unix.Ucred
	_ = sys.Control(func(fd uintptr) { // a connection that has closed has no process: 0
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			who = *cred
		}
	})
	return who
}

// within calls fn with a name of path that fits a socket's address: a long one
// leads through a descriptor of its folder.
func within(path string, fn func(short string) error) error {
	if len(path) <= maxPath {
		return fn(path)
	}
	folder, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	defer unix.Close(folder)
	if err := fn("/proc/self/fd/" + strconv.Itoa(folder) + "/" + filepath.Base(path)); err != nil {
		return fmt.Errorf("%s is longer than the %d bytes of a socket's address: %w", path, maxPath, err)
	}
	return nil
}
