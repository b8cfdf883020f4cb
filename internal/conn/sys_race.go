//go:build race

package conn

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// maxIO bounds one call, as in sys_raw.go.
const maxIO = 64 << 10

const ioFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

// recv is the recv of sys_raw.go through calls that the race detector sees.
func recv(fd int32, b []byte) (int, syscall.Errno) {
	for {
		n, _, err := unix.Recvfrom(int(fd), b[:min(len(b), maxIO)], ioFlags)
		if err == nil {
			return n, 0
		}
		if errno := errnoOf(err); errno != unix.EINTR {
			return 0, errno
		}
	}
}

// send is the send of sys_raw.go through calls that the race detector sees.
func send(fd int32, b []byte) (int, syscall.Errno) {
	for {
		n, err := unix.SendmsgN(int(fd), b[:min(len(b), maxIO)], nil, nil, ioFlags)
		if err == nil {
			return n, 0
		}
		if errno := errnoOf(err); errno != unix.EINTR {
			return 0, errno
		}
	}
}

func errnoOf(err error) syscall.Errno {
	if errno, ok := err.(syscall.Errno); ok {
		return errno
	}
	return unix.EIO
}
