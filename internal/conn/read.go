package conn

import (
	"errors"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

var errPanic = errors.New("conn: the handler panicked")

// HandleEvents is the Set's side of the loop. It is exported because the loop
// calls it; nobody else does. Loop only.
func (s *Set) HandleEvents(fd int, ev loop.Events) {
	if s.current != 0 {
		s.afterPanic()
	}
	slot := s.slots[fd] - 1
	r := s.at(slot)
	if ev&loop.Write != 0 {
		// Output first: room must be made before more work is taken in.
		s.flush(slot, r)
	}
	if ev&^loop.Write == 0 || r.state == stClosed {
		return
	}
	if r.flags&unread != 0 {
		s.unwanted(slot, r, ev)
		return
	}
	if r.state == stOpen {
		s.receive(slot, r, ev)
	} else {
		s.discard(slot, r, uint32(ev))
	}
}

// receive reads and offers. A read that fills the buffer is followed by
// another, ioRounds in all; anything less has emptied the socket, unless the
// event says that more than bytes has come.
func (s *Set) receive(slot uint32, r *record, ev loop.Events) {
	for range ioRounds {
		kept, buf := s.room(r)
		n, errno := recv(r.fd, buf)
		if errno != 0 {
			if errno != unix.EAGAIN {
				s.close(idOf(slot, r), r, reasonOf(errno), errno)
			} else if ev&unix.EPOLLERR != 0 {
				s.failed(slot, r)
			}
			return
		}
		if n == 0 {
			s.eof(slot, r, ev)
			return
		}
		s.stats.BytesIn += uint64(n)
		s.offer(slot, r, kept, buf[:n])
		if r.state != stOpen || r.flags&unread != 0 {
			return
		}
		if n < len(buf) && ev&(loop.Hangup|loop.Error) == 0 {
			return
		}
	}
}

// room returns where the next bytes of r go, and how many kept bytes were put
// right before them.
func (s *Set) room(r *record) (kept int, buf []byte) {
	if r.in == 0 {
		return 0, s.rbuf[smallTail:]
	}
	b := s.pool.at(r.in)
	if kept = len(b.data()); kept <= smallTail {
		copy(s.rbuf[smallTail-kept:], b.data())
		return kept, s.rbuf[smallTail:]
	}
	if b.room() < min(kept/4, smallTail) {
		// Twice as much each time, so that a large message is not copied over and
		// over again, and a small one does not hold much more than it has.
		s.growInput(r, 2*kept)
		b = s.pool.at(r.in)
	}
	end := len(b.b)
	return -1, b.b[end:min(cap(b.b), end+s.o.ReadChunk)]
}

// offer hands new bytes to the handler: with kept bytes in front of them in
// rbuf, or, if kept is -1, behind those in the connection's own buffer.
func (s *Set) offer(slot uint32, r *record, kept int, fresh []byte) {
	if kept < 0 {
		b := s.pool.at(r.in)
		b.b = b.b[:len(b.b)+len(fresh)]
		s.offerKept(slot, r)
		return
	}
	b := s.rbuf[smallTail-kept : smallTail+len(fresh)]
	used := s.data(slot, r, b)
	if r.state != stOpen {
		s.dropInput(r)
		return
	}
	if rest := b[used:]; len(rest) > 0 || kept > 0 {
		s.keep(slot, r, rest, used, fresh)
	}
}

// keep stores the unconsumed rest. The record's buffer, if it has one, still
// has the bytes that were kept before.
func (s *Set) keep(slot uint32, r *record, rest []byte, used int, fresh []byte) {
	switch {
	case len(rest) == 0:
		s.dropInput(r)
		return
	case r.in == 0:
		s.takeInput(r, len(rest))
		b := s.pool.at(r.in)
		b.b = append(b.b, rest...)
	case used == 0:
		if b := s.pool.at(r.in); b.room() < len(fresh) {
			s.growInput(r, len(rest))
		}
		b := s.pool.at(r.in)
		b.b = append(b.b, fresh...)
	default:
		if cap(s.pool.at(r.in).b) < len(rest) {
			s.dropInput(r)
			s.takeInput(r, len(rest))
		}
		b := s.pool.at(r.in)
		b.b, b.off = append(b.b[:0], rest...), 0
	}
	s.checkInput(slot, r)
}

// offerKept offers what is in the connection's own buffer.
func (s *Set) offerKept(slot uint32, r *record) {
	used := s.data(slot, r, s.pool.at(r.in).data())
	if r.state != stOpen {
		s.dropInput(r)
		return
	}
	b := s.pool.at(r.in)
	b.off += used
	if left := len(b.data()); left == 0 {
		s.dropInput(r)
		return
	} else if want := sizeFor(left); want < cap(b.b)/2 && r.flags&(isPaused|isReady) == 0 {
		s.growInput(r, left)
	}
	s.checkInput(slot, r)
}

// checkInput holds a handler that waits for more to MaxInput. One that has
// stopped reading is owed what is kept, and nothing is read meanwhile.
func (s *Set) checkInput(slot uint32, r *record) {
	if r.flags&(isPaused|isReady|isFull) == 0 && len(s.pool.at(r.in).data()) > s.o.MaxInput {
		s.close(idOf(slot, r), r, InputFull, nil)
	}
}

// data calls the handler and sends what it has written.
func (s *Set) data(slot uint32, r *record, b []byte) int {
	id := idOf(slot, r)
	s.current = id
	used := s.h.Data(id, b)
	s.current = 0
	if len(s.wbuf) > 0 {
		s.sendReplies(slot, r)
	}
	if r.flags&isDismissed != 0 {
		s.endDismissed(slot, r)
	}
	if uint(used) > uint(len(b)) {
		if invariants {
			panic("conn: Data consumed more than it was offered")
		}
		used = len(b)
	}
	return used
}

// eof is the peer's FIN.
func (s *Set) eof(slot uint32, r *record, ev loop.Events) {
	id := idOf(slot, r)
	r.flags |= isEOF
	s.current = id
	s.h.EOF(id)
	s.current = 0
	if len(s.wbuf) > 0 {
		s.sendReplies(slot, r)
	}
	switch {
	case r.state == stClosed:
		s.dropInput(r)
	case ev&unix.EPOLLHUP != 0:
		// It does not read any more either.
		s.close(id, r, PeerClosed, nil)
	default:
		s.watch(slot, r)
	}
}

// unwanted is an event of a connection from which nothing is to be read now.
func (s *Set) unwanted(slot uint32, r *record, ev loop.Events) {
	switch {
	case r.flags&unread == isReady:
		// It is offered what is kept in the next turn, and will be read from then;
		// an error too can wait until everything received was offered.
	case ev&unix.EPOLLERR != 0:
		s.failed(slot, r)
	case ev&unix.EPOLLHUP != 0:
		s.hungUp(slot, r)
	default:
		s.watch(slot, r)
	}
}

// hungUp is an EPOLLHUP: both directions have ended. It cannot be turned off,
// only taken out of epoll, and that is done while the owner has paused and is
// still owed bytes; Resume brings the connection back.
func (s *Set) hungUp(slot uint32, r *record) {
	if r.flags&isEOF != 0 || r.flags&isPaused == 0 || r.in == 0 && !hasUnread(r.fd) {
		s.close(idOf(slot, r), r, PeerClosed, undelivered(r))
		return
	}
	s.loop.RemoveHandler(int(r.fd))
	// Nobody will ever take the output; it must not keep the input back.
	s.dropOutput(r)
	r.flags = r.flags&^(isFull|isArmed) | isDetached
}

// hasUnread tells whether the socket has bytes to read.
func hasUnread(fd int32) bool {
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	return err == nil && n > 0
}

// failed is an EPOLLERR: the error is the socket's.
func (s *Set) failed(slot uint32, r *record) {
	errno := unix.EIO
	if n, err := unix.GetsockoptInt(int(r.fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && n != 0 {
		errno = unix.Errno(n)
	}
	s.close(idOf(slot, r), r, reasonOf(errno), errno)
}

// watch asks the loop for the events that r needs now.
func (s *Set) watch(slot uint32, r *record) {
	var ev loop.Events
	if r.flags&(isPaused|isFull|isEOF) == 0 {
		ev = reading
	}
	if r.flags&isArmed != 0 {
		ev |= loop.Write
	}
	var err error
	switch {
	case r.flags&isDetached != 0:
		if ev&loop.Read == 0 {
			return
		}
		r.flags &^= isDetached
		err = s.loop.AddHandler(int(r.fd), ev, s)
	case uint16(ev) == r.interest:
		return
	default:
		err = s.loop.UpdateHandler(int(r.fd), ev)
	}
	r.interest = uint16(ev)
	if err != nil {
		s.close(idOf(slot, r), r, Broken, err)
	}
}

// Pause stops the offering of bytes, also of those that are kept, and with it
// the reading: the peer is held back by its own kernel. The end of the input is
// not seen either; an error is, and closes. Loop only.
func (s *Set) Pause(id uint64) {
	s.check("Pause")
	if r := s.open(id); r != nil {
		// The interest in reading is dropped when an event comes: a pause that
		// is over before costs no system call.
		r.flags |= isPaused
	}
}

// Resume ends a Pause. What is kept is offered in the next turn, before
// anything else is read. Loop only.
func (s *Set) Resume(id uint64) {
	s.check("Resume")
	r := s.open(id)
	if r == nil || r.flags&isPaused == 0 {
		return
	}
	r.flags &^= isPaused
	if r.in != 0 || id == s.current {
		s.makeReady(id, r)
	}
	s.watch(uint32(id), r)
}

// Yield asks for the bytes that Data has left, or leaves, to be offered again
// in the next turn, after the other connections have had theirs. Loop only.
func (s *Set) Yield(id uint64) {
	s.check("Yield")
	if r := s.open(id); r != nil {
		s.makeReady(id, r)
	}
}

func (s *Set) makeReady(id uint64, r *record) {
	if r.flags&isReady == 0 {
		r.flags |= isReady
		s.ready.add(id)
	}
}

// offerReady offers what is kept to those that have yielded or were resumed.
func (s *Set) offerReady() {
	if s.current != 0 {
		s.afterPanic()
	}
	s.ready.each(func(id uint64) {
		r := s.lookup(id)
		if r == nil {
			return
		}
		r.flags &^= isReady
		if r.state == stOpen && r.in != 0 && r.flags&(isPaused|isFull) == 0 {
			s.offerKept(uint32(id), r)
		}
	})
}

// takeInput lends r a buffer for kept input, which it has none of.
func (s *Set) takeInput(r *record, n int) {
	r.in = s.pool.take(n)
	s.countInput(cap(s.pool.at(r.in).b))
}

// growInput makes the buffer of kept input hold at least n bytes.
func (s *Set) growInput(r *record, n int) {
	before := cap(s.pool.at(r.in).b)
	s.pool.grow(r.in, n)
	s.countInput(cap(s.pool.at(r.in).b) - before)
}

// dropInput gives back the buffer of kept input.
func (s *Set) dropInput(r *record) {
	if r.in != 0 {
		s.countInput(-cap(s.pool.at(r.in).b))
		s.pool.put(r.in)
		r.in = 0
	}
}

// untold is how many bytes of kept input a Set may have more or less than its
// budget knows, until the turn ends.
const untold = 1 << 20

// countInput counts n more bytes of kept input. The budget, which all loops share,
// learns of it when the turn ends.
func (s *Set) countInput(n int) {
	s.kept += n
	if more := s.kept - s.keptTold; more > untold || more < -untold {
		s.tellInput()
	}
}

func (s *Set) tellInput() {
	s.o.Input.Add(s.kept - s.keptTold)
	s.keptTold = s.kept
}

// afterPanic closes the connection whose handler has panicked: how much of its
// input was dealt with is not known. The loop has reported the panic.
func (s *Set) afterPanic() {
	id := s.current
	s.current = 0
	s.wbuf = s.wbuf[:0]
	if r := s.lookup(id); r != nil {
		s.close(id, r, Broken, errPanic)
		s.dropInput(r)
	}
}
