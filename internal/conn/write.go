package conn

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// Output goes one of three ways, and stays in the order of the writes because a
// way is only taken when nothing waits on another one:
//
//	wbuf    what a handler writes to the connection whose Data is running, the
//	        answers; sent when Data returns, usually with one call
//	log     what is written at any other time, the pushes; one buffer for all
//	        connections, in which the same bytes written to one connection after
//	        another stand once; sent before the loop waits
//	chunks  buffers of the connection's own: what did not fit the socket, and
//	        pushes to a connection that has output already

// Write sends b, which is copied. It is sent at the end of the event if it is
// written to the connection whose Data or EOF is running, else before the loop
// waits the next time (a BeforeWait hook that writes must call Flush). It
// returns false if the connection is not open any more, or is closed by this
// very write because it has too much unsent output. Loop only.
func (s *Set) Write(id uint64, b []byte) bool {
	s.check("Write")
	r := s.open(id)
	if r == nil {
		return false
	}
	if id != s.current || r.owed != 0 {
		return s.push(id, r, b)
	}
	if len(s.wbuf)+len(b) <= writeBatch {
		s.wbuf = append(s.wbuf, b...)
		return true
	}
	return s.writeLarge(uint32(id), r, b)
}

// writeLarge is Write to current when wbuf cannot hold b as well.
func (s *Set) writeLarge(slot uint32, r *record, b []byte) bool {
	if len(s.wbuf) > 0 {
		s.sendReplies(slot, r)
	}
	if r.state == stOpen && r.owed == 0 {
		if len(b) < writeBatch {
			s.wbuf = append(s.wbuf, b...)
			return true
		}
		b = b[s.sendSome(slot, r, b):]
	}
	return s.waitFor(slot, r, b)
}

// sendReplies sends wbuf.
func (s *Set) sendReplies(slot uint32, r *record) {
	b := s.wbuf
	s.wbuf = s.wbuf[:0]
	out := send
	if r.flags&isDismissed != 0 {
		out = sendMore // the FIN goes with it
	}
	n, errno := out(r.fd, b)
	s.stats.BytesOut += uint64(n)
	if n == len(b) {
		return
	}
	if errno != 0 && errno != unix.EAGAIN {
		s.close(idOf(slot, r), r, reasonOf(errno), errno)
		return
	}
	s.waitFor(slot, r, b[n:])
}

// sendSome sends from b until the socket is full or the event's share is used
// up. It returns how many bytes have gone; an error closes.
func (s *Set) sendSome(slot uint32, r *record, b []byte) (sent int) {
	for range ioRounds {
		want := min(len(b)-sent, maxIO)
		n, errno := send(r.fd, b[sent:])
		sent += n
		if errno != 0 && errno != unix.EAGAIN {
			s.close(idOf(slot, r), r, reasonOf(errno), errno)
			break
		}
		if n < want || sent == len(b) {
			break
		}
	}
	s.stats.BytesOut += uint64(sent)
	return sent
}

// waitFor queues what the socket did not take and asks to be told of room. It
// returns false if r is closed.
func (s *Set) waitFor(slot uint32, r *record, rest []byte) bool {
	if r.state == stClosed {
		return false
	}
	if len(rest) == 0 {
		return true
	}
	if !s.queue(slot, r, rest) {
		return false
	}
	s.arm(slot, r)
	return r.state != stClosed
}

func (s *Set) arm(slot uint32, r *record) {
	r.flags |= isArmed
	s.watch(slot, r)
}

// push is Write to a connection whose Data is not running, or which has output
// already.
func (s *Set) push(id uint64, r *record, b []byte) bool {
	if len(b) == 0 {
		return true
	}
	slot := uint32(id)
	switch {
	case int(r.owed)+len(b) > s.o.MaxOutput:
		return s.pushOver(slot, r, b)
	case r.owed == 0 && len(s.log)+len(b) <= maxPushLog:
		s.share(r, b)
	case r.flags&isLogged != 0 && s.extend(r, b):
	default:
		if !s.unlog(slot, r) || !s.queue(slot, r, b) {
			return false
		}
	}
	if r.flags&(isArmed|isDirty) == 0 {
		r.flags |= isDirty
		s.dirty = append(s.dirty, id)
	}
	return true
}

// pushOver is push over MaxOutput: that is a limit on what the peer does not
// take, so it is given the chance to take it.
func (s *Set) pushOver(slot uint32, r *record, b []byte) bool {
	s.flush(slot, r)
	if r.state == stOpen && r.owed == 0 {
		b = b[s.sendSome(slot, r, b):]
	}
	return s.waitFor(slot, r, b)
}

// share makes b the output of r, which has none: the newest region of the log
// if it is the same, else a new one.
func (s *Set) share(r *record, b []byte) {
	if s.logged == 0 {
		s.log, s.logAt, s.sharers = s.log[:0], 0, 0
	}
	if s.sharers == 0 || !bytes.Equal(s.log[s.logAt:], b) {
		s.logAt, s.sharers = len(s.log), 0
		s.log = append(s.log, b...)
	}
	s.sharers++
	s.logged++
	r.flags |= isLogged
	r.head = uint32(s.logAt)
	r.owed = uint32(len(b))
}

// extend adds b to the region of r, if that is the newest and nobody else's.
func (s *Set) extend(r *record, b []byte) bool {
	if int(r.head) != s.logAt || s.sharers != 1 || len(s.log)+len(b) > maxPushLog {
		return false
	}
	s.log = append(s.log, b...)
	r.owed += uint32(len(b))
	return true
}

// region returns the output of r in the log, and takes it from r.
func (s *Set) region(r *record) []byte {
	b := s.log[r.head:][:r.owed]
	r.flags &^= isLogged
	r.head, r.owed = 0, 0
	s.logged--
	return b
}

// unlog gives r chunks of its own in place of a region. It returns false if r
// was closed for want of memory.
func (s *Set) unlog(slot uint32, r *record) bool {
	return r.flags&isLogged == 0 || s.queue(slot, r, s.region(r))
}

// queue appends b to the chunks of r. It returns false if r has too many, and
// is closed then.
func (s *Set) queue(slot uint32, r *record, b []byte) bool {
	over := int(r.owed)+len(b) > s.o.MaxOutput
	r.owed += uint32(len(b))
	if over {
		s.close(idOf(slot, r), r, SlowConsumer, undelivered(r))
		return false
	}
	for len(b) > 0 {
		if r.tail == 0 || s.pool.at(r.tail).room() == 0 {
			if !s.addRoom(slot, r, len(b)) {
				return false
			}
		}
		c := s.pool.at(r.tail)
		n := min(len(b), c.room())
		c.b = append(c.b, b[:n]...)
		b = b[n:]
	}
	if int(r.owed) >= s.o.HighWater && r.state == stOpen {
		r.flags |= isFull
	}
	return true
}

// addRoom makes room for some of n bytes behind the last chunk of r: a larger
// one in its place while it is small, so that it goes out with one call, and
// then one more.
func (s *Set) addRoom(slot uint32, r *record, n int) bool {
	size, old := min(n, maxClass), 0
	if r.tail != 0 {
		size = maxClass
		if c := s.pool.at(r.tail); r.head == r.tail && cap(c.b) < maxClass {
			old = cap(c.b)
			size = min(len(c.data())+n, maxClass)
		}
	}
	size = sizeFor(size)
	if size == minClass && r.tail == 0 {
		s.o.Budget.Add(size) // never refused, see Level
	} else if !s.reserve(slot, r, size) {
		return false
	}
	switch {
	case old > 0:
		s.pool.grow(r.tail, size)
		s.o.Budget.give(old)
	case r.tail != 0:
		c := s.pool.take(size)
		s.pool.at(r.tail).next = c
		r.tail = c
	default:
		r.head = s.pool.take(size)
		r.tail = r.head
		s.link(slot, r)
	}
	return true
}

// reserve takes n bytes of the budget for r. If there are none left, those of
// this loop's connections that have the most unsent output are closed, r among
// them: then it returns false. One look at them gives back more than the n bytes,
// so that a full budget does not cost a look for each write.
func (s *Set) reserve(slot uint32, r *record, n int) bool {
	for !s.o.Budget.take(n) {
		first := r.tail == 0
		if first {
			s.link(slot, r) // for the look: it is not among those with chunks yet
		}
		closed := s.shed(int64(max(n, s.o.Budget.Limit()/64)), 0)
		if first {
			s.unlink(r)
		}
		if closed == 0 {
			s.stats.Shed++
			s.close(idOf(slot, r), r, SlowConsumer, undelivered(r))
		}
		if r.state == stClosed {
			return false
		}
	}
	return true
}

// Flush sends what was written to id now, as far as the socket takes it. For a
// handler that has a long computation before it. Loop only.
func (s *Set) Flush(id uint64) {
	s.check("Flush")
	r := s.open(id)
	if r == nil {
		return
	}
	if id == s.current && len(s.wbuf) > 0 {
		s.sendReplies(uint32(id), r)
	} else if r.flags&isArmed == 0 {
		s.flush(uint32(id), r)
	}
}

// flushDirty sends what was pushed since the last wait.
func (s *Set) flushDirty() {
	// No upcall is made from here, so nothing is added meanwhile.
	for _, id := range s.dirty {
		if r := s.lookup(id); r != nil && r.flags&isDirty != 0 {
			s.flush(uint32(id), r)
		}
	}
	s.dirty = s.dirty[:0]
	if s.logged == 0 {
		s.log = s.log[:0] // here, since a push that does not fit behind the old bytes would not get to share
	}
}

// flush sends what r has, in regions or chunks, and draws the consequences.
func (s *Set) flush(slot uint32, r *record) {
	r.flags &^= isDirty
	before := r.owed
	switch {
	case r.owed == 0:
	case r.flags&isLogged != 0:
		b := s.region(r)
		n := s.sendSome(slot, r, b)
		if n == len(b) && r.state == stOpen {
			return // the common case: no interest to change, no reading to restart
		}
		if !s.waitFor(slot, r, b[n:]) {
			return
		}
	default:
		s.sendChunks(slot, r)
	}
	if r.state == stClosed {
		return
	}
	if r.owed < before && r.state != stOpen {
		r.mark = s.ticks()
	}
	s.settle(slot, r)
}

// sendChunks sends from the front of the chunks.
func (s *Set) sendChunks(slot uint32, r *record) {
	for range ioRounds {
		c := s.pool.at(r.head)
		n, errno := send(r.fd, c.data())
		if errno != 0 {
			if errno != unix.EAGAIN {
				s.close(idOf(slot, r), r, reasonOf(errno), errno)
			}
			return
		}
		s.stats.BytesOut += uint64(n)
		r.owed -= uint32(n)
		c.off += n
		if len(c.data()) > 0 {
			return
		}
		next := c.next
		s.o.Budget.give(cap(c.b))
		s.pool.put(r.head)
		r.head = next
		if next == 0 {
			r.tail = 0
			s.unlink(r)
			return
		}
	}
}

// settle makes everything that depends on how much output waits agree with it:
// the interest in room, the reading, and the FIN after the last byte.
func (s *Set) settle(slot uint32, r *record) {
	if r.owed > 0 {
		r.flags |= isArmed
	} else {
		r.flags &^= isArmed
	}
	if r.flags&isFull != 0 && int(r.owed) <= s.o.LowWater {
		r.flags &^= isFull
		if id := idOf(slot, r); r.flags&isPaused == 0 && (r.in != 0 || id == s.current) {
			s.makeReady(id, r)
		}
	}
	s.watch(slot, r)
	if r.state == stFlushing && r.owed == 0 {
		s.finish(slot, r)
	}
}

// dropOutput forgets what was not sent.
func (s *Set) dropOutput(r *record) {
	if r.flags&isLogged != 0 {
		s.region(r)
	}
	if r.tail != 0 {
		for r.head != 0 {
			c := s.pool.at(r.head)
			next := c.next
			s.o.Budget.give(cap(c.b))
			s.pool.put(r.head)
			r.head = next
		}
		r.tail = 0
		s.unlink(r)
	}
	r.owed = 0
}
