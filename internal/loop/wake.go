package loop

import (
	"sync"

	"golang.org/x/sys/unix"
)

// waker is an eventfd that ends the loop's wait. It is watched edge-triggered and never read: each write is an edge of its own, and
// the counter (2^64-2) does not fill in any lifetime. That saves a read per wake-up.
type waker struct {
	fd int // immutable

	mu     sync.Mutex // a write must not reach a descriptor that took over the number
	closed bool
}

func newWaker() (*waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &waker{fd: fd}, nil
}

// HandleEvents has nothing to do: the wait has ended, and that was all.
func (*waker) HandleEvents(int, Events) {}

// signal makes the loop's wait return. The loop is gone when it fails; nobody waits then.
func (w *waker) signal() {
	one := [8]byte{1} // as the kernel's uint64; which of the eight bytes it is does not matter
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	for {
		if _, err := unix.Write(w.fd, one[:]); err != unix.EINTR {
			return
		}
	}
}

func (w *waker) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	return unix.Close(w.fd)
}

// wakeUp ends the loop's wait, if it waits or is about to. However many call it, one writes: the one that turned `waiting` off. The
// loop turns it on before it looks for work a last time, and a caller has made its work visible before it looks at `waiting`, so
// one of the two sees the other and no wake-up is lost. On the loop itself `waiting` is off, so this costs one load.
func (l *Loop) wakeUp() {
	if l.waiting.Load() && l.waiting.CompareAndSwap(true, false) {
		l.wake.signal()
	}
}
