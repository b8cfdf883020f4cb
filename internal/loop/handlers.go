package loop

import (
	"fmt"
	"reflect"

	"golang.org/x/sys/unix"
)

// Events is a set of things that can be true of a descriptor; the bits are epoll's.
type Events uint32

// The events a handler can ask for and is told of. Error is always reported, asked for or not.
const (
	Read   Events = unix.EPOLLIN
	Write  Events = unix.EPOLLOUT
	Error  Events = unix.EPOLLERR | unix.EPOLLHUP
	Hangup Events = unix.EPOLLRDHUP // the peer has finished sending

	edgeTriggered Events = unix.EPOLLET
)

// Handler is told of a descriptor's events, on the loop. They are level-triggered: what is not dealt with is reported again in
// the next turn. That is true of Error also, with nothing asked for; a handler that ignores it makes the loop spin.
type Handler interface {
	HandleEvents(fd int, ev Events)
}

// HandlerFunc is a Handler made of a function.
type HandlerFunc func(fd int, ev Events)

// HandleEvents calls f.
func (f HandlerFunc) HandleEvents(fd int, ev Events) { f(fd, ev) }

// handlers knows who is told of which descriptor. There is one slot per descriptor number, without pointers, because a million of
// them is nothing the garbage collector should look at; the handlers stand beside them, each once however many descriptors it has.
type handlers struct {
	slots []slot             // by descriptor
	who   []registered       // by slot.who; 0 is nobody
	free  []uint32           // of who
	known map[Handler]uint32 // the shared ones of who
}

type slot struct {
	gen    uint32 // counts the registrations of this number; epoll carries it, so an older registration's event is recognised
	who    uint32 // index in handlers.who; 0: not registered
	events Events // asked for
}

type registered struct {
	h      Handler
	fds    int  // how many slots name it
	shared bool // a pointer, which may come again for another descriptor
}

func (t *handlers) init() {
	*t = handlers{who: make([]registered, 1), known: make(map[Handler]uint32)}
}

// get returns the slot of fd if it is registered.
func (t *handlers) get(fd int) *slot {
	if fd < 0 || fd >= len(t.slots) || t.slots[fd].who == 0 {
		return nil
	}
	return &t.slots[fd]
}

// grow makes room for a slot of fd.
func (t *handlers) grow(fd int) *slot {
	if fd >= len(t.slots) {
		t.slots = append(t.slots, make([]slot, fd+1-len(t.slots))...)
	}
	return &t.slots[fd]
}

// hold returns the index of h in who, for one more descriptor.
func (t *handlers) hold(h Handler) uint32 {
	shared := reflect.TypeOf(h).Kind() == reflect.Pointer // other kinds may not be comparable
	if shared {
		if i, ok := t.known[h]; ok {
			t.who[i].fds++
			return i
		}
	}
	var i uint32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		i = uint32(len(t.who))
		t.who = append(t.who, registered{})
	}
	t.who[i] = registered{h, 1, shared}
	if shared {
		t.known[h] = i
	}
	return i
}

// release is hold's opposite.
func (t *handlers) release(i uint32) {
	r := &t.who[i]
	if r.fds--; r.fds > 0 {
		return
	}
	if r.shared {
		delete(t.known, r.h)
	}
	*r = registered{}
	t.free = append(t.free, i)
}

// closeAll closes every registered descriptor but `but`.
func (t *handlers) closeAll(but int) (errs []error) {
	for fd := range t.slots {
		if t.slots[fd].who != 0 && fd != but {
			if err := unix.Close(fd); err != nil {
				errs = append(errs, fmt.Errorf("loop: closing descriptor %d: %w", fd, err))
			}
		}
	}
	return errs
}

// AddHandler tells h of fd's events from now on: those in ev, and errors. The descriptor stays the caller's, who must call
// RemoveHandler before closing it. It returns ErrHandlerExists, ErrClosed, or epoll's error: EPERM for a regular file. Loop only.
func (l *Loop) AddHandler(fd int, ev Events, h Handler) error {
	l.assertLoop("AddHandler")
	switch {
	case l.isClosed():
		return ErrClosed
	case h == nil:
		return fmt.Errorf("loop: descriptor %d: no handler given", fd)
	case fd < 0:
		return fmt.Errorf("loop: descriptor %d: %w", fd, unix.EBADF)
	case l.fds.get(fd) != nil:
		return fmt.Errorf("%w: %d", ErrHandlerExists, fd)
	}
	var gen uint32
	if fd < len(l.fds.slots) {
		gen = l.fds.slots[fd].gen
	}
	if err := l.control(unix.EPOLL_CTL_ADD, fd, ev, gen); err != nil {
		return err
	}
	s := l.fds.grow(fd)
	s.who, s.events = l.fds.hold(h), ev
	return nil
}

// UpdateHandler changes which events of fd its handler is told of. Events that were fetched already and are no longer asked for
// are not reported. It returns ErrNoHandler or epoll's error. Loop only.
func (l *Loop) UpdateHandler(fd int, ev Events) error {
	l.assertLoop("UpdateHandler")
	s := l.fds.get(fd)
	if s == nil {
		return fmt.Errorf("%w: %d", ErrNoHandler, fd)
	}
	if s.events == ev {
		return nil
	}
	if err := l.control(unix.EPOLL_CTL_MOD, fd, ev, s.gen); err != nil {
		return err
	}
	s.events = ev
	return nil
}

// RemoveHandler ends what AddHandler began; events of fd that were fetched already are not reported. A descriptor without a
// handler is nothing to complain about. Loop only.
func (l *Loop) RemoveHandler(fd int) {
	l.assertLoop("RemoveHandler")
	s := l.fds.get(fd)
	if s == nil {
		return
	}
	// Fails for a descriptor that was closed before: the kernel has forgotten it then.
	_ = l.poller.Control(unix.EPOLL_CTL_DEL, fd, nil)
	l.fds.release(s.who)
	*s = slot{gen: s.gen + 1}
}

// control hands (fd, generation) to epoll, which gives them back with each event.
func (l *Loop) control(op, fd int, ev Events, gen uint32) error {
	l.asked = unix.EpollEvent{Events: uint32(ev), Fd: int32(fd), Pad: int32(gen)}
	err := l.poller.Control(op, fd, &l.asked)
	if err != nil {
		return fmt.Errorf("loop: epoll_ctl of descriptor %d: %w", fd, err)
	}
	return nil
}

func (l *Loop) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// dispatch reports the fetched events until the last or a panic. An event is dropped if its registration has ended since it was
// fetched (another handler of this batch may have closed the descriptor, and the number may already mean another one), and so is
// the part of it that is no longer asked for.
func (l *Loop) dispatch() {
	defer l.caught()
	for l.eventAt < l.eventsN {
		e := &l.events[l.eventAt]
		l.eventAt++
		fd := int(e.Fd)
		s := l.fds.get(fd)
		if s == nil || s.gen != uint32(e.Pad) {
			continue
		}
		ev := Events(e.Events) & (s.events | Error)
		if ev == 0 {
			continue
		}
		l.pace.step()
		l.fds.who[s.who].h.HandleEvents(fd, ev)
	}
}
