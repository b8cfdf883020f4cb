package conn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// backlog is how many connections may wait to be accepted; the kernel lowers it
// to net.core.somaxconn.
const backlog = 4096

// resolveWithin bounds the search for a host name's address.
const resolveWithin = 10 * time.Second

// Listen binds and listens on an address: host:port, [v6]:port, :port for every
// address of the machine in both families, or unix:/path. Port 0 is any free
// one. A host name stands for its first address, IPv4 preferred.
//
// A Unix socket's file that is there already is removed if nobody answers on it,
// as one is left behind when a process is killed. Any goroutine.
func Listen(address string) (*Listener, error) {
	var l *Listener
	var err error
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		l, err = listenUnix(path)
	} else {
		l, err = listenTCP(address)
	}
	if err != nil {
		return nil, fmt.Errorf("conn: listen %s: %w", address, err)
	}
	return l, nil
}

// ListenFD makes a Listener of fd, a stream socket that listens already, such
// as one that systemd hands in. It takes fd over unless it returns an error.
// The file of a Unix socket stays. A TCP socket gets the options that Listen would
// set: whoever has made it need not know them. Any goroutine.
func ListenFD(fd int) (*Listener, error) {
	if err := checkListening(fd); err != nil {
		return nil, err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, fmt.Errorf("conn: descriptor %d: %w", fd, os.NewSyscallError("getsockname", err))
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("conn: descriptor %d: %w", fd, os.NewSyscallError("fcntl", err))
	}
	unix.CloseOnExec(fd)
	if _, local := sa.(*unix.SockaddrUnix); !local {
		for _, o := range handedOn {
			if err := unix.SetsockoptInt(fd, o.level, o.opt, o.v); err != nil {
				return nil, fmt.Errorf("conn: descriptor %d: %w", fd, os.NewSyscallError("setsockopt", err))
			}
		}
	}
	return newListener(fd, sa), nil
}

type sockopt struct{ level, opt, v int }

// handedOn are options that Linux hands on to the accepted sockets, which saves a
// call for each: no delay, as a reply is one write, and keepalive, so that a peer
// that has vanished is noticed some day.
var handedOn = []sockopt{{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}, {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}}

// checkListening tells what is wrong with a descriptor that should be a
// listening stream socket.
func checkListening(fd int) error {
	for _, opt := range []struct {
		opt, want int
		not       string
	}{{unix.SO_TYPE, unix.SOCK_STREAM, "not a stream socket"}, {unix.SO_ACCEPTCONN, 1, "not a listening socket"}} {
		v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, opt.opt)
		if err != nil {
			return fmt.Errorf("conn: descriptor %d: %w", fd, os.NewSyscallError("getsockopt", err))
		}
		if v != opt.want {
			return fmt.Errorf("conn: descriptor %d: %s", fd, opt.not)
		}
	}
	return nil
}

// listenTCP is Listen for host:port.
func listenTCP(address string) (*Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("not a port number: %q", port)
	}
	if host == "" {
		l, err := bindTCP(netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(n)))
		if !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return l, err
		}
		// A kernel without IPv6.
		return bindTCP(netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(n)))
	}
	a, err := hostAddr(host)
	if err != nil {
		return nil, err
	}
	return bindTCP(netip.AddrPortFrom(a, uint16(n)))
}

// hostAddr is the address that host stands for.
func hostAddr(host string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap(), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveWithin)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			return a, nil
		}
	}
	if len(addrs) == 0 {
		return netip.Addr{}, fmt.Errorf("%s has no address", host)
	}
	return addrs[0], nil
}

// bindTCP listens on one address; on [::] for both families.
func bindTCP(ap netip.AddrPort) (*Listener, error) {
	sa, family := sockaddrOf(ap)
	return bind(family, sa, func(fd int) error {
		opts := append([]sockopt{{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}}, handedOn...)
		if family == unix.AF_INET6 {
			only := 1
			if ap.Addr().IsUnspecified() {
				only = 0
			}
			opts = append(opts, sockopt{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only})
		}
		for _, o := range opts {
			if err := unix.SetsockoptInt(fd, o.level, o.opt, o.v); err != nil {
				return os.NewSyscallError("setsockopt", err)
			}
		}
		return nil
	})
}

// bind makes a listening socket.
func bind(family int, sa unix.Sockaddr, prepare func(fd int) error) (*Listener, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err = prepare(fd); err == nil {
		if err = os.NewSyscallError("bind", unix.Bind(fd, sa)); err == nil {
			err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
		}
	}
	if err == nil {
		if sa, err = unix.Getsockname(fd); err == nil {
			return newListener(fd, sa), nil
		}
		err = os.NewSyscallError("getsockname", err)
	}
	closeFD(fd)
	return nil, err
}

// listenUnix is Listen for a path; one that begins with @ is an abstract one,
// which has no file.
func listenUnix(path string) (*Listener, error) {
	if path == "" || len(path) > maxUnixPath || strings.ContainsRune(path, 0) {
		return nil, fmt.Errorf("not the path of a unix socket: %q", path)
	}
	sa := &unix.SockaddrUnix{Name: path}
	nothing := func(int) error { return nil }
	l, err := bind(unix.AF_UNIX, sa, nothing)
	if errors.Is(err, unix.EADDRINUSE) && path[0] != '@' {
		if err := removeStale(path, sa); err != nil {
			return nil, err
		}
		l, err = bind(unix.AF_UNIX, sa, nothing)
	}
	if err == nil && path[0] != '@' {
		l.path = path
		l.file, err = os.Lstat(path)
		if err != nil {
			closeFD(l.fd)
			return nil, err
		}
	}
	return l, err
}

// removeStale removes the file of a Unix socket on which nobody listens. Any
// other file, and a socket that answers, stays.
func removeStale(path string, sa unix.Sockaddr) error {
	inUse := os.NewSyscallError("bind", unix.EADDRINUSE)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // gone meanwhile
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%w: the file there is not a socket", inUse)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer closeFD(fd)
	// Anything but a refusal means that there is somebody, if only one whose
	// backlog is full (EAGAIN) or who does not let us in (EACCES).
	if err := unix.Connect(fd, sa); err != unix.ECONNREFUSED {
		return fmt.Errorf("%w: somebody listens there", inUse)
	}
	return os.Remove(path)
}

// addressOf is sa in the form that Listen takes.
func addressOf(sa unix.Sockaddr) string {
	if u, ok := sa.(*unix.SockaddrUnix); ok {
		return "unix:" + u.Name
	}
	return addrPortOf(sa).String()
}
