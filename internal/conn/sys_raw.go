//go:build !race

package conn

import (
	"syscall"
	"unsafe"
)

// maxIO bounds one call. The goroutine cannot be stopped for a garbage
// collection inside a raw system call, so the time to copy this much is what
// everyone else may have to wait.
const maxIO = 64 << 10

const ioFlags = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL

// recv reads once, without blocking, up to maxIO bytes. The call is raw: it
// cannot block (MSG_DONTWAIT), so telling the scheduler about it costs more
// than it brings. b must not be empty.
func recv(fd int32, b []byte) (int, syscall.Errno) {
	n := min(len(b), maxIO)
	for {
		r, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(n), ioFlags, 0, 0)
		if errno == 0 {
			return int(r), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}

// send writes once, without blocking and without SIGPIPE, up to maxIO bytes. b
// must not be empty.
func send(fd int32, b []byte) (int, syscall.Errno) {
	n := min(len(b), maxIO)
	for {
		r, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(n), ioFlags, 0, 0)
		if errno == 0 {
			return int(r), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}
