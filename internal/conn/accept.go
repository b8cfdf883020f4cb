package conn

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

const (
	// acceptsPerEvent is how many connections one event accepts before the loop
	// turns to others.
	acceptsPerEvent = 64
	// When there are no descriptors or no memory left, accepting pauses for
	// firstBackOff, and twice as long each time that it fails again.
	firstBackOff = 100 * time.Millisecond
	maxBackOff   = time.Second
	// reportEvery is how often failures are reported at most.
	reportEvery = time.Second
)

// AcceptError says that a connection could not be accepted for want of
// descriptors or memory, or because the socket is broken.
type AcceptError struct {
	Addr  string        // the listener's
	Err   error         // EMFILE, ENFILE, ENOBUFS, ENOMEM, or another errno
	Pause time.Duration // until it is tried again
	Times int           // failures since the last report, this one included
}

// Error names the address, the error and the pause.
func (e *AcceptError) Error() string {
	return fmt.Sprintf("conn: accept on %s: %v; paused for %v (%d times)", e.Addr, e.Err, e.Pause, e.Times)
}

// Unwrap returns Err.
func (e *AcceptError) Unwrap() error { return e.Err }

// Listener is a listening socket. It accepts while it is started on a loop.
type Listener struct {
	// immutable after Listen
	fd   int
	addr string
	path string      // of the Unix socket's file, if it is ours to remove
	file fs.FileInfo // that file when it was made

	// loop only
	loop     *loop.Loop // nil: not started
	accepted func(fd int, peer netip.AddrPort)
	failed   func(*AcceptError)
	accept   func(fd, flags int) (int, unix.Sockaddr, error)
	reserve  int           // a descriptor to give up when there are none; -1: none
	backOff  time.Duration // 0: the last accept has worked
	retry    *loop.Timeout // nil: not paused
	reported int64         // loop.Monotonic of the last report
	times    int           // failures since then
	closed   bool
}

func newListener(fd int, sa unix.Sockaddr) *Listener {
	return &Listener{fd: fd, addr: addressOf(sa), accept: unix.Accept4, reserve: -1}
}

// Addr returns the address that is listened on, as Listen takes it, with the
// real port. Any goroutine.
func (l *Listener) Addr() string { return l.addr }

// Start accepts connections on lp from now on. accepted gets each descriptor,
// non-blocking and with TCP_NODELAY, and owns it; peer is the zero AddrPort for
// a Unix socket. failed, which may be nil, is told of failures at most once a
// second; nothing needs to be done about them, accepting goes on by itself.
// Loop only.
func (l *Listener) Start(lp *loop.Loop, accepted func(fd int, peer netip.AddrPort), failed func(*AcceptError)) error {
	if l.closed || l.loop != nil {
		return fmt.Errorf("conn: listener %s: %w", l.addr, fs.ErrClosed)
	}
	if err := lp.AddHandler(l.fd, loop.Read, l); err != nil {
		return err
	}
	l.loop, l.accepted, l.failed = lp, accepted, failed
	l.reported = lp.Monotonic() - int64(reportEvery)
	l.openReserve()
	return nil
}

// Close stops listening. Connections that wait to be accepted are reset by the
// kernel. The file of a Unix socket is removed, if it is still ours. Loop only.
func (l *Listener) Close() {
	if l.closed {
		return
	}
	l.closed = true
	if l.loop != nil {
		l.loop.RemoveHandler(l.fd)
		if l.retry != nil {
			l.loop.RemoveTimeout(l.retry)
		}
	}
	if l.reserve >= 0 {
		closeFD(l.reserve)
	}
	// The file first: whoever finds it expects an answer.
	if l.path != "" {
		if info, err := os.Lstat(l.path); err == nil && os.SameFile(info, l.file) {
			_ = os.Remove(l.path)
		}
	}
	closeFD(l.fd)
}

// HandleEvents accepts what waits. It is exported because the loop calls it;
// nobody else does. Loop only.
func (l *Listener) HandleEvents(int, loop.Events) {
	for range acceptsPerEvent {
		fd, sa, err := l.accept(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			l.backOff = 0
			l.accepted(fd, addrPortOf(sa))
			if l.closed {
				return
			}
		case err == unix.EAGAIN:
			return
		case !isPeersFault(err):
			l.pause(err)
			return
		}
	}
}

// isPeersFault tells whether an accept has failed for the one connection that
// it would have returned: that is gone, and the next may do (see accept(2)).
func isPeersFault(err error) bool {
	switch err {
	case unix.EINTR, unix.ECONNABORTED, unix.EPERM, unix.EPROTO, unix.ENETDOWN, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET, unix.EHOSTUNREACH, unix.ENETUNREACH:
		return true
	}
	return false
}

// pause takes the listener out of the loop for a while: the event that cannot be
// dealt with would come again and again.
func (l *Listener) pause(err error) {
	if err == unix.EMFILE || err == unix.ENFILE {
		l.turnAway()
	}
	l.backOff = min(max(2*l.backOff, firstBackOff), maxBackOff)
	l.loop.RemoveHandler(l.fd)
	l.retry = l.loop.CallLater(l.backOff, l.resume)
	l.report(err)
}

// resume is the end of a pause.
func (l *Listener) resume() {
	l.retry = nil
	l.openReserve()
	if err := l.loop.AddHandler(l.fd, loop.Read, l); err != nil {
		l.retry = l.loop.CallLater(maxBackOff, l.resume)
		l.report(err)
	}
}

// turnAway accepts and closes one connection, with the descriptor held for
// this: its peer learns at once that it must come again, instead of waiting.
func (l *Listener) turnAway() {
	if l.reserve < 0 {
		return
	}
	closeFD(l.reserve)
	l.reserve = -1
	if fd, _, err := l.accept(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == nil {
		closeFD(fd)
	}
	l.openReserve()
}

func (l *Listener) openReserve() {
	if l.reserve >= 0 {
		return
	}
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		fd = -1 // none left at all: the next resume tries again
	}
	l.reserve = fd
}

func (l *Listener) report(err error) {
	l.times++
	now := l.loop.Monotonic()
	if l.failed == nil || now-l.reported < int64(reportEvery) {
		return
	}
	e := &AcceptError{Addr: l.addr, Err: err, Pause: l.backOff, Times: l.times}
	l.reported, l.times = now, 0
	l.failed(e)
}
