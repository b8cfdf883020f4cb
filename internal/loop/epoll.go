package loop

import (
	"time"

	"golang.org/x/sys/unix"
)

// Poller is what a loop needs of epoll. It speaks epoll's structures, so that nothing is copied. Tests give one that does not block.
type Poller interface {
	// Control is epoll_ctl; op is unix.EPOLL_CTL_ADD, MOD or DEL. Loop only.
	Control(op, fd int, ev *unix.EpollEvent) error
	// Wait fills events with what is ready and returns how many there are, waiting for at most timeout if there is none: 0 does
	// not wait, a negative one has no end. It may return early, with 0 or with unix.EINTR. Loop only.
	Wait(events []unix.EpollEvent, timeout time.Duration) (int, error)
	// Close gives back what the poller holds; it is called once.
	Close() error
}

type epoll struct{ fd int }

func newEpoll() (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &epoll{fd}, nil
}

func (p *epoll) Control(op, fd int, ev *unix.EpollEvent) error {
	return unix.EpollCtl(p.fd, op, fd, ev)
}

// Wait uses unix.EpollWait, which tells the scheduler. A raw system call that blocks keeps its processor, and a garbage collection
// then waits for it without end.
func (p *epoll) Wait(events []unix.EpollEvent, timeout time.Duration) (int, error) {
	return unix.EpollWait(p.fd, events, waitMillis(timeout))
}

func (p *epoll) Close() error { return unix.Close(p.fd) }

// maxWaitMillis bounds one wait: a day fits an int32 in milliseconds, and one turn a day is no spin.
const maxWaitMillis = 24 * 60 * 60 * 1000

// waitMillis rounds up: with a remainder of 0.3 ms, rounding down would return at once, again and again, until it has passed.
func waitMillis(d time.Duration) int {
	if d < 0 {
		return -1
	}
	if d > maxWaitMillis*time.Millisecond {
		return maxWaitMillis
	}
	return int((d + time.Millisecond - 1) / time.Millisecond)
}
