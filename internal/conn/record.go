package conn

import (
	"net/netip"
	"sync/atomic"

	"gameserverd/internal/loop"
)

// record is what a Set knows of one connection: 64 bytes, one cache line, and
// no pointer, so that the garbage collector has nothing to look at in a million
// of them.
type record struct {
	fd    int32  // -1 once it is closed
	gen   uint32 // of the id that the slot has now; one more after each connection
	in    uint32 // the buffer of kept input; 0: none
	head  uint32 // first chunk of output, or where in the log it begins
	tail  uint32 // last chunk of output; 0: no chunks
	owed  uint32 // bytes of output that the kernel has not taken
	prev  uint32 // slots with chunks are linked, see Set.owing
	next  uint32 // also links the free slots
	addr  [16]byte
	port  uint16
	flags flags
	// interest has what the loop was asked to report; without meaning if detached
	interest uint16
	state    state
	reason   Reason // why it is ending
	mark     uint32 // while ending: ticks at the last progress
	number   uint32 // of the process's connections: see Set.Number
}

// lastNumber is the number of the newest connection, whichever Set has it.
var lastNumber atomic.Uint32

const (
	pageSize = 1024
	none     = ^uint32(0) // no slot
)

type state uint8

// A connection is open, then either closed or first flushing (Shutdown was
// called and output is left) and lingering (FIN was sent). Closed means that
// the descriptor is gone and only the Closed call is owed.
const (
	stFree state = iota
	stOpen
	stFlushing
	stLingering
	stClosed
)

type flags uint16

const (
	isPaused   flags = 1 << iota // by its owner
	isFull                       // more than HighWater of output waits
	isReady                      // in Set.ready: its input is offered before any is read
	isDirty                      // in Set.dirty: it is flushed before the loop waits
	isLogged                     // its output is a region of Set.log and not in chunks
	isEOF                        // the peer has finished sending
	isArmed                      // the socket is full: EPOLLOUT is asked for
	isDetached                   // not in epoll: hung up, and its owner does not read
	is4                          // addr is an IPv4 address
	hasPeer
	isDismissed // it is closed when the answer of the running Data is sent
)

// unread has the flags with which nothing is read.
const unread = isPaused | isFull | isReady | isEOF

const reading = loop.Read | loop.Hangup

func (s *Set) at(slot uint32) *record { return &s.pages[slot/pageSize][slot%pageSize] }

// lookup returns the record of id, nil if it has ended.
func (s *Set) lookup(id uint64) *record {
	slot := uint32(id)
	if slot/pageSize >= uint32(len(s.pages)) {
		return nil
	}
	if r := s.at(slot); r.gen == uint32(id>>32) && r.state != stFree {
		return r
	}
	return nil
}

// open returns the record of id if it is neither closed nor being shut down.
func (s *Set) open(id uint64) *record {
	if r := s.lookup(id); r != nil && r.state == stOpen {
		return r
	}
	return nil
}

func idOf(slot uint32, r *record) uint64 { return uint64(r.gen)<<32 | uint64(slot) }

// newRecord takes a free slot.
func (s *Set) newRecord() (uint64, *record) {
	if s.free == none {
		s.addPage()
	}
	slot := s.free
	r := s.at(slot)
	s.free = r.next
	*r = record{gen: r.gen, prev: none, next: none}
	return idOf(slot, r), r
}

// addPage adds a page of free slots, the lowest first.
func (s *Set) addPage() {
	base := uint32(len(s.pages) * pageSize)
	page := new([pageSize]record)
	for i := range page {
		page[i] = record{gen: 1, next: base + uint32(i) + 1}
	}
	page[pageSize-1].next = s.free
	s.pages = append(s.pages, page)
	s.free = base
}

// freeRecord ends the slot's id. From now on nothing answers to it.
func (s *Set) freeRecord(slot uint32, r *record) {
	s.dropInput(r) // left if the handler has panicked
	gen := r.gen + 1
	if gen == 0 {
		gen = 1
	}
	*r = record{fd: -1, gen: gen, next: s.free}
	s.free = slot
}

func (r *record) setPeer(p netip.AddrPort) {
	a := p.Addr()
	if !a.IsValid() {
		return
	}
	r.flags |= hasPeer
	if a.Is4() {
		r.flags |= is4
	}
	r.addr = a.As16()
	r.port = p.Port()
}

func (r *record) peer() netip.AddrPort {
	if r.flags&hasPeer == 0 {
		return netip.AddrPort{}
	}
	a := netip.AddrFrom16(r.addr)
	if r.flags&is4 != 0 {
		a = a.Unmap()
	}
	return netip.AddrPortFrom(a, r.port)
}

// link adds r to the connections that have output buffers.
func (s *Set) link(slot uint32, r *record) {
	r.prev, r.next = none, s.owing
	if s.owing != none {
		s.at(s.owing).prev = slot
	}
	s.owing = slot
}

// unlink takes r out again.
func (s *Set) unlink(r *record) {
	if r.prev == none {
		s.owing = r.next
	} else {
		s.at(r.prev).next = r.next
	}
	if r.next != none {
		s.at(r.next).prev = r.prev
	}
	r.prev, r.next = none, none
}
