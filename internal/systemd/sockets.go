package systemd

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Listeners returns the sockets that systemd hands over (LISTEN_FDS) and their
// names (FileDescriptorName), "" for those without; none where there are none, and
// none the second time: they are the caller's. What they are is not looked at.
// With an error all of them are closed. Any goroutine.
func Listeners() (fds []int, names []string, err error) {
	for _, file := range activation.Files(true) {
		fd, dupErr := duplicate(file)
		_ = file.Close() // what could not be duplicated is not open
		if dupErr != nil {
			err = fmt.Errorf("systemd: %s: %w", file.Name(), dupErr)
			continue
		}
		fds = append(fds, fd)
		names = append(names, nameOf(file.Name()))
	}
	if err != nil {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		return nil, nil, err
	}
	return fds, names, nil
}

// duplicate is file's descriptor once more: file closes its own when it is
// collected. It does not use Fd, which makes the socket a blocking one, in every
// process that has it.
func duplicate(file *os.File) (fd int, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return -1, err
	}
	controlErr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, cmp.Or(controlErr, err)
}

// nameOf is a socket's FileDescriptorName, without those that stand for none: the
// unit's name, systemd's word for a socket of nobody, and go-systemd's.
func nameOf(name string) string {
	if name == "unknown" || strings.HasSuffix(name, ".socket") || strings.HasPrefix(name, "LISTEN_FD_") {
		return ""
	}
	return name
}
