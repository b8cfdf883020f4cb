package conn

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// handoff is a connection on its way to a Set: a descriptor, and what comes
// with it if it was another Set's.
type handoff struct {
	fd    int
	peer  netip.AddrPort
	moved *moved // nil: newly accepted
}

type moved struct {
	from  *Set
	done  func(id uint64)
	flags flags
	// number is that of the connection, on every Set
	number uint32
	in     []byte   // kept input, from the pool's takeBytes; nil: none
	inOff  int      // where in it the data begins
	out    []buffer // unsent output
	owed   uint32
}

// inbox is where connections wait for the loop to take them. If the loop ends
// first they are closed from here: a queued callback would be lost with it.
type inbox struct {
	take func() // immutable after NewSet

	// any goroutine
	mu     sync.Mutex
	queue  []handoff
	posted bool
	ended  atomic.Bool // set under mu: nothing is taken any more
}

// give hands h over: taken or, if the loop has ended, closed. Any goroutine.
func (s *Set) give(h handoff) {
	b := &s.inbox
	s.count.Add(1)
	b.mu.Lock()
	if b.ended.Load() {
		b.mu.Unlock()
		s.refuse(h)
		return
	}
	b.queue = append(b.queue, h)
	first := !b.posted
	b.posted = true
	b.mu.Unlock()
	if first && !s.loop.AddCallback(b.take) {
		s.closeInbox()
	}
}

// takeIn makes connections of what has come.
func (s *Set) takeIn() {
	b := &s.inbox
	b.mu.Lock()
	queue, done := b.queue, 0
	b.queue, b.posted = nil, false
	b.mu.Unlock()
	defer func() {
		if done == len(queue) {
			return
		}
		// A handler has panicked: the others are not lost with it.
		b.mu.Lock()
		b.queue = append(queue[done:len(queue):len(queue)], b.queue...)
		b.posted = true
		b.mu.Unlock()
		s.loop.AddCallback(b.take)
	}()
	for done < len(queue) {
		h := queue[done]
		done++
		if h.moved != nil {
			s.adopt(h)
		} else {
			// The error says that the loop cannot watch one more descriptor, which
			// is closed; there is nobody to tell.
			_, _ = s.attach(h.fd, h.peer)
		}
	}
}

// closeInbox refuses what has come and what will.
func (s *Set) closeInbox() {
	b := &s.inbox
	b.mu.Lock()
	queue := b.queue
	b.queue = nil
	b.ended.Store(true)
	b.mu.Unlock()
	for _, h := range queue {
		s.refuse(h)
	}
}

// refuse closes a handed-over descriptor. Whoever moved it learns of it where it came from.
func (s *Set) refuse(h handoff) {
	s.count.Add(-1)
	closeFD(h.fd)
	if m := h.moved; m != nil {
		m.from.loop.AddCallback(func() { m.done(0) })
	}
}

// Move gives a connection to another loop's Set with everything that belongs to
// it: kept input, unsent output, whether it is paused, whether EOF was told.
// The id ends without Closed. done is called on the other loop with the new id,
// in place of Opened, before anything is offered there. If the other loop has
// ended or cannot watch one more descriptor, which is closed then, or id is not
// open, done is called with 0 on this loop. Not from Data or EOF of id. Loop only (of s).
func (s *Set) Move(id uint64, to *Set, done func(newID uint64)) {
	s.check("Move")
	r := s.open(id)
	if r == nil || !s.unlog(uint32(id), r) {
		s.loop.AddCallback(func() { done(0) })
		return
	}
	if id == s.current {
		panic("conn: Move of a connection inside its own Data")
	}
	m := &moved{from: s, done: done, flags: r.flags & (isPaused | isEOF), number: r.number, owed: r.owed}
	if r.in != 0 {
		m.inOff = s.pool.at(r.in).off
		m.in = s.pool.release(r.in)
		s.pool.bytes -= cap(m.in)
		s.countInput(-cap(m.in))
		r.in = 0
	}
	if r.tail != 0 {
		for c := r.head; c != 0; {
			b := *s.pool.at(c)
			s.pool.release(c)
			s.pool.bytes -= cap(b.b)
			s.o.Budget.give(cap(b.b))
			c, b.next = b.next, 0
			m.out = append(m.out, b)
		}
		s.unlink(r)
		r.head, r.tail = 0, 0
	}
	fd := int(r.fd)
	if r.flags&isDetached == 0 {
		s.loop.RemoveHandler(fd)
	}
	s.slots[fd] = 0
	peer := r.peer()
	s.freeRecord(uint32(id), r)
	s.count.Add(-1)
	s.stats.MovedOut++
	to.give(handoff{fd: fd, peer: peer, moved: m})
}

// adopt makes a connection of one that was moved here.
func (s *Set) adopt(h handoff) {
	m := h.moved
	interest := reading
	if m.flags != 0 {
		interest = 0
	}
	id, r, err := s.admit(h.fd, h.peer, interest)
	if err != nil {
		m.from.loop.AddCallback(func() { m.done(0) })
		return
	}
	slot := uint32(id)
	r.number = m.number
	r.flags |= m.flags
	if m.in != nil {
		r.in = s.pool.adopt(m.in)
		s.pool.at(r.in).off = m.inOff
		s.pool.bytes += cap(m.in)
		s.countInput(cap(m.in))
		s.makeReady(id, r)
	}
	s.adoptOutput(slot, r, m)
	ok := false
	defer func() {
		if !ok { // as in attach
			s.close(id, r, Broken, errPanic)
		}
	}()
	m.done(id)
	ok = true
}

// adoptOutput makes m's output that of r. It was counted before, so the budget
// is not asked whether it has room.
func (s *Set) adoptOutput(slot uint32, r *record, m *moved) {
	for _, b := range m.out {
		c := s.pool.adopt(b.b)
		s.pool.at(c).off = b.off
		s.pool.bytes += cap(b.b)
		s.o.Budget.Add(cap(b.b))
		if r.tail == 0 {
			r.head = c
			s.link(slot, r)
		} else {
			s.pool.at(r.tail).next = c
		}
		r.tail = c
	}
	if r.owed = m.owed; r.owed > 0 {
		if int(r.owed) >= s.o.HighWater {
			r.flags |= isFull
		}
		r.flags |= isDirty
		s.dirty = append(s.dirty, idOf(slot, r))
	}
}
