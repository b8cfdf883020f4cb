package conn

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrUndelivered is the CloseError's Err of a connection that was shut down and
// whose peer did not take the rest of its output in time.
var ErrUndelivered = errors.New("conn: output was not delivered in time")

// closing is one Closed call that is owed.
type closing struct {
	id  uint64
	err error
}

// linger is when a connection that was shut down is looked at again.
type linger struct {
	id uint64
	at int64 // loop.Monotonic
}

// Close ends a connection now: unsent output is dropped, and a SlowConsumer gets
// an RST. It may be called from any callback, its own included; Closed follows
// in a later turn, with the first reason if there are several. Loop only.
func (s *Set) Close(id uint64, reason Reason, err error) {
	s.check("Close")
	if r := s.lookup(id); r != nil {
		s.close(id, r, reason, err)
	}
}

// close is Close. After a Shutdown the reason is the one given there.
func (s *Set) close(id uint64, r *record, reason Reason, err error) {
	if r.state == stClosed {
		return
	}
	if r.state == stOpen {
		r.reason = reason
	}
	r.state = stClosed
	fd := int(r.fd)
	r.fd = -1
	// Out of epoll first: a duplicate of the descriptor in a child process would
	// keep it there. The upcall comes later; by then the number may be another
	// connection's, which ids cannot be mistaken for.
	if r.flags&isDetached == 0 {
		s.loop.RemoveHandler(fd)
	}
	s.slots[fd] = 0
	if r.reason == SlowConsumer {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	closeFD(fd)
	s.dropOutput(r)
	if id == s.current {
		s.wbuf = s.wbuf[:0] // the input is in use until Data returns
	} else {
		s.dropInput(r)
	}
	s.closed.add(closing{id, err})
}

// undelivered is the error of a connection that ends before its Shutdown was done.
func undelivered(r *record) error {
	if r.state == stFlushing && r.owed > 0 {
		return ErrUndelivered
	}
	return nil
}

// tellClosed makes the Closed calls.
func (s *Set) tellClosed() { s.closed.each(s.tell) }

func (s *Set) tell(c closing) {
	slot := uint32(c.id)
	r := s.at(slot)
	s.stats.Closed[min(r.reason, reasons-1)]++
	defer func() {
		s.freeRecord(slot, r)
		s.count.Add(-1)
	}()
	s.h.Closed(c.id, &CloseError{Reason: r.reason, Err: c.err})
}

// Shutdown ends a connection gracefully: nothing more is offered or may be
// written, what was written is sent and then a FIN; what the peer still sends
// is thrown away until its own FIN, so that it reads everything and never meets
// an RST; then the connection is closed. Linger bounds how long it waits for
// progress. Closed has the reason, and ErrUndelivered or the socket's error if
// not everything was delivered. Loop only.
func (s *Set) Shutdown(id uint64, reason Reason) {
	s.check("Shutdown")
	r := s.open(id)
	if r == nil {
		return
	}
	if r.flags&isDetached != 0 {
		s.close(id, r, reason, nil) // there is nobody left to send to
		return
	}
	r.state = stFlushing
	r.reason = reason
	r.flags &^= isPaused | isFull | isReady
	if id != s.current {
		s.dropInput(r)
	}
	r.mark = s.ticks()
	s.lingers = append(s.lingers, linger{id, s.loop.Monotonic() + int64(s.o.Linger)})
	s.timeLingers()
	s.watch(uint32(id), r)
	// The flush before the wait sends what is left and then the FIN, together
	// with the answers that the running Data may still have in wbuf.
	if r.state == stFlushing && r.flags&(isArmed|isDirty) == 0 {
		r.flags |= isDirty
		s.dirty = append(s.dirty, id)
	}
}

// Dismiss is Shutdown without the wait for the peer's FIN, which costs as much as
// all else together: the connection is closed as soon as what was written is in
// the kernel. A peer that sends more meets an RST, behind what it was sent. It is
// for the connection whose Data is running; for others it is Shutdown. Loop only.
func (s *Set) Dismiss(id uint64, reason Reason) {
	s.check("Dismiss")
	r := s.open(id)
	if r == nil || id != s.current {
		s.Shutdown(id, reason)
		return
	}
	r.flags |= isDismissed
	r.reason = reason
}

// endDismissed closes a dismissed connection after its Data, if what was written
// to it has been sent.
func (s *Set) endDismissed(slot uint32, r *record) {
	r.flags &^= isDismissed
	switch {
	case r.state != stOpen:
	case r.owed == 0:
		s.close(idOf(slot, r), r, r.reason, nil)
	default:
		s.Shutdown(idOf(slot, r), r.reason)
	}
}

// sendMore is send of what something follows at once.
func sendMore(fd int32, b []byte) (int, syscall.Errno) {
	n, err := unix.SendmsgN(int(fd), b[:min(len(b), maxIO)], nil, nil, ioFlags|unix.MSG_MORE)
	if err == nil {
		return n, 0
	}
	if errno, ok := err.(syscall.Errno); ok {
		return 0, errno
	}
	return 0, unix.EIO
}

// finish sends the FIN: everything else was.
func (s *Set) finish(slot uint32, r *record) {
	id := idOf(slot, r)
	if err := unix.Shutdown(int(r.fd), unix.SHUT_WR); err != nil {
		s.close(id, r, Local, err)
		return
	}
	r.state = stLingering
	r.mark = s.ticks()
	if r.flags&isEOF != 0 {
		s.close(id, r, Local, nil)
	}
}

// discard reads the input of a connection that is being shut down.
func (s *Set) discard(slot uint32, r *record, ev uint32) {
	for range ioRounds {
		n, errno := recv(r.fd, s.rbuf)
		switch {
		case errno == unix.EAGAIN:
			if ev&unix.EPOLLERR != 0 {
				s.failed(slot, r)
			}
			return
		case errno != 0:
			s.close(idOf(slot, r), r, Local, errno)
			return
		case n == 0:
			r.flags |= isEOF
			if r.state == stLingering || ev&unix.EPOLLHUP != 0 {
				s.close(idOf(slot, r), r, Local, undelivered(r))
			} else {
				s.watch(slot, r)
			}
			return
		}
		s.stats.BytesIn += uint64(n)
	}
}

// ticks is the turn's clock in milliseconds, for differences.
func (s *Set) ticks() uint32 { return uint32(s.loop.Monotonic() / 1e6) }

// timeLingers sets the timer for the oldest of lingers.
func (s *Set) timeLingers() {
	if s.timing || len(s.lingers) == 0 {
		return
	}
	s.timing = true
	s.loop.CallLater(max(0, time.Duration(s.lingers[0].at-s.loop.Monotonic())), s.sweepLingers)
}

// sweepLingers closes those that have made no progress for as long as Linger.
func (s *Set) sweepLingers() {
	s.timing = false
	now := s.loop.Monotonic()
	due := 0
	for due < len(s.lingers) && s.lingers[due].at <= now {
		due++
	}
	for _, l := range s.lingers[:due] {
		r := s.lookup(l.id)
		if r == nil || r.state == stClosed {
			continue
		}
		if left := int64(s.o.Linger) - int64(s.ticks()-r.mark)*1e6; left > 0 {
			s.lingers = append(s.lingers, linger{l.id, now + left})
		} else {
			s.orphan(r)
			s.close(l.id, r, Local, undelivered(r))
		}
	}
	rest := copy(s.lingers, s.lingers[due:])
	s.lingers = s.lingers[:rest]
	if rest == 0 {
		s.lingers = nil
	}
	s.timeLingers()
}

// orphan bounds how long the kernel goes on with what a peer has not taken, once
// its connection is closed: as long as Linger without progress. Otherwise who
// never reads holds a socket's buffers for many minutes, which no budget counts
// (tcp(7), TCP_USER_TIMEOUT). An error says that it is no TCP socket.
func (s *Set) orphan(r *record) {
	_ = unix.SetsockoptInt(int(r.fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(max(s.o.Linger.Milliseconds(), 1)))
}

// CloseAll closes every connection, as Close does. Loop only.
func (s *Set) CloseAll(reason Reason) {
	s.check("CloseAll")
	for slot := range s.slotCount() {
		if r := s.at(slot); r.state != stFree {
			s.close(idOf(slot, r), r, reason, nil)
		}
	}
}

func (s *Set) slotCount() uint32 { return uint32(len(s.pages) * pageSize) }

// Release ends the Set after its loop has stopped for good: every connection is
// closed with LoopClosed, those on their way here too, and the Closed calls that
// are owed are made, on the calling goroutine. Call it before the loop's
// Close(true), which closes descriptors without asking. Loop only.
func (s *Set) Release() {
	s.check("Release")
	s.closeInbox()
	s.CloseAll(LoopClosed)
	for len(s.closed.list) > 0 {
		s.tellClosed()
	}
	s.tellInput()
}
