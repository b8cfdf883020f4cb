package conn

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

// ErrClosed is returned by Attach of a Set that was released.
var ErrClosed = errors.New("conn: the set is closed")

// Handler is told what happens to the connections of a Set. All calls are made
// on the Set's loop and never inside one another, but for Opened, which Attach
// calls. Every method of the Set may be called from them.
type Handler interface {
	// Opened is the first call for a connection that was attached. A connection
	// that was moved here is not announced: Move's done has told its id.
	Opened(id uint64)

	// Data offers received bytes and returns how many of them were consumed. The
	// rest is kept and offered again in front of what follows. b is the Set's and
	// valid during the call; it may be changed in place.
	Data(id uint64, b []byte) int

	// EOF says that the peer has finished sending. Everything before was offered.
	// The connection stays open for writing until Close or Shutdown.
	EOF(id uint64)

	// Closed is the last call for a connection and comes exactly once. err is a
	// *CloseError. Peer still answers.
	Closed(id uint64, err error)
}

// Options bounds what a Set does. The zero value has the defaults.
type Options struct {
	// ReadChunk is how many bytes one read asks for; at most 64 KiB, the default.
	ReadChunk int
	// MaxInput is how many bytes of a connection may be kept unconsumed while its
	// handler asks for more of them; over it the connection is closed with
	// InputFull. Bytes kept because of Pause or Yield do not count. The default is
	// 1 MiB and 4 KiB, a message of the default size and its header.
	MaxInput int
	// MaxOutput is how many bytes of a connection may wait to be sent; over it the
	// connection is closed with SlowConsumer. The default is 4 MiB.
	MaxOutput int
	// HighWater is how many bytes of output stop the reading from a connection, and
	// LowWater how few restart it. The defaults are 256 KiB and a quarter of
	// HighWater, both at most MaxOutput.
	HighWater, LowWater int
	// Linger is how long Shutdown waits for progress of the output, and then for
	// the peer's FIN. The default is 2 s.
	Linger time.Duration
	// Budget bounds the output buffers of all Sets that share it; nil: no bound.
	Budget *Budget
	// Input counts the buffers of kept input of all Sets that share it; what comes
	// of it is for its owner to decide. nil: nobody counts.
	Input *Budget
}

func (o *Options) setDefaults() {
	if o.ReadChunk <= 0 || o.ReadChunk > maxIO {
		o.ReadChunk = maxIO
	}
	if o.MaxInput <= 0 {
		o.MaxInput = 1<<20 + 4096
	}
	if o.MaxOutput <= 0 {
		o.MaxOutput = 4 << 20
	}
	o.MaxOutput = min(o.MaxOutput, 1<<30)
	if o.HighWater <= 0 {
		o.HighWater = 256 << 10
	}
	o.HighWater = min(o.HighWater, o.MaxOutput)
	if o.LowWater <= 0 {
		o.LowWater = o.HighWater / 4
	}
	o.LowWater = min(o.LowWater, o.HighWater-1)
	if o.Linger <= 0 {
		o.Linger = 2 * time.Second
	}
}

const (
	// smallTail is up to how many kept bytes are put in front of the next read's,
	// so that the handler sees them together; larger ones are read behind.
	smallTail = 4096
	// writeBatch is how many reply bytes are collected before they are sent even
	// though the event is not over.
	writeBatch = 64 << 10
	// maxPushLog bounds the bytes that pushes share until the end of the turn.
	// Those beyond it get buffers of their own.
	maxPushLog = 1 << 20
	// ioRounds is how many times one event of a connection may read, and how many
	// sends its output gets, before the others have their turn.
	ioRounds = 4
	// trimEvery is how long an unneeded buffer stays.
	trimEvery = 10 * time.Second
	// keepDirty is the longest list of connections to flush that stays.
	keepDirty = 4096
)

// Set has all connections of one loop. An id is generation<<32 | slot: 0 is no
// connection, and the id of a connection that has ended never means another
// one. Methods do nothing for such an id.
type Set struct {
	// immutable after NewSet
	loop *loop.Loop
	h    Handler

	// any goroutine
	count atomic.Int64 // connections, and those on their way here
	inbox inbox

	// loop only
	o        Options
	pages    []*[pageSize]record
	free     uint32   // first free slot, linked by next; none if there is none
	slots    []uint32 // slot+1 by descriptor; 0: not ours
	pool     pool
	rbuf     []byte // what is being read: ReadChunk, and smallTail before it
	wbuf     []byte // what the handler has written to current; sent when Data returns
	current  uint64 // the connection whose Data or EOF is running
	kept     int    // bytes of buffers of kept input
	keptTold int    // those that o.Input knows of
	log      []byte // pushed bytes that were not sent yet, see push
	logAt    int    // where the newest region of log begins
	sharers  int    // how many connections have the newest region
	logged   int    // how many connections have a region
	dirty    []uint64
	owing    uint32 // first of the connections with output buffers, linked
	ready    posted[uint64]
	closed   posted[closing]
	lingers  []linger
	timing   bool // the timer that looks at lingers is set
	trimmer  bool // the timer that trims is set
	stats    Stats
}

// Stats counts what a Set has done since it was made.
type Stats struct {
	Open     int             // connections now
	Opened   uint64          // attached or moved here
	MovedOut uint64          // moved to another Set
	Closed   [reasons]uint64 // by Reason
	Shed     uint64          // of those: for want of memory
	BytesIn  uint64
	BytesOut uint64
	Buffered int // bytes of buffers in use, kept input and unsent output together
	Spare    int // bytes of buffers held for reuse
}

// NewSet makes the Set of loop l, whose upcalls go to h. A loop may have several. Loop only.
func NewSet(l *loop.Loop, h Handler, o Options) *Set {
	o.setDefaults()
	s := &Set{loop: l, h: h, o: o, free: none, owing: none}
	s.rbuf = make([]byte, smallTail+o.ReadChunk)
	s.wbuf = make([]byte, 0, writeBatch)
	s.ready.init(l, s.offerReady)
	s.closed.init(l, s.tellClosed)
	s.inbox.take = s.takeIn
	l.BeforeWait(s.beforeWait)
	return s
}

// Slot returns the slot of id: a small number that no other open connection of
// its Set has, for tables beside the Set's. Any goroutine.
func Slot(id uint64) uint32 { return uint32(id) }

// Attach takes over fd, a connected stream socket, and announces it with
// Opened. On error it closes fd. Loop only.
func (s *Set) Attach(fd int, peer netip.AddrPort) (id uint64, err error) {
	s.check("Attach")
	s.count.Add(1)
	return s.attach(fd, peer)
}

// attach is Attach for a connection that was counted.
func (s *Set) attach(fd int, peer netip.AddrPort) (uint64, error) {
	id, r, err := s.admit(fd, peer, reading)
	if err != nil {
		return 0, err
	}
	r.number = lastNumber.Add(1)
	// A handler that panics here has no state for the connection: it must not
	// live on.
	ok := false
	defer func() {
		if !ok {
			s.close(id, r, Broken, errPanic)
		}
	}()
	s.h.Opened(id)
	ok = true
	return id, nil
}

// admit makes fd a connection.
func (s *Set) admit(fd int, peer netip.AddrPort, ev loop.Events) (uint64, *record, error) {
	var err error
	if s.inbox.ended.Load() {
		err = ErrClosed
	} else {
		err = s.loop.AddHandler(fd, ev, s)
	}
	if err != nil {
		s.count.Add(-1)
		closeFD(fd)
		return 0, nil, fmt.Errorf("conn: attach: %w", err)
	}
	id, r := s.newRecord()
	r.fd = int32(fd)
	r.state = stOpen
	r.interest = uint16(ev)
	r.setPeer(peer)
	if fd >= len(s.slots) {
		s.slots = append(s.slots, make([]uint32, fd+1-len(s.slots))...)
	}
	s.slots[fd] = uint32(id) + 1
	s.stats.Opened++
	return id, r, nil
}

// SetOptions changes MaxInput, MaxOutput, HighWater, LowWater and Linger; what else
// o has does not count. Nobody is closed for having more already. Loop only.
func (s *Set) SetOptions(o Options) {
	s.check("SetOptions")
	o.setDefaults()
	o.ReadChunk, o.Budget, o.Input = s.o.ReadChunk, s.o.Budget, s.o.Input
	s.o = o
}

// Peer returns the address that id was attached with, without an IPv6 zone; the
// zero AddrPort for a Unix socket or an id that has ended. Loop only.
func (s *Set) Peer(id uint64) netip.AddrPort {
	if r := s.lookup(id); r != nil {
		return r.peer()
	}
	return netip.AddrPort{}
}

// Number returns what people call the connection: no two of the process have one
// number, and a connection that moves keeps its own. They are given from 1 on in the
// order of Attach (after 2^32 from 0 on). 0 for an id that has ended. Loop only.
func (s *Set) Number(id uint64) uint64 {
	if r := s.lookup(id); r != nil {
		return uint64(r.number)
	}
	return 0
}

// Pending returns how many written bytes the kernel has not taken yet. Loop only.
func (s *Set) Pending(id uint64) int {
	r := s.lookup(id)
	if r == nil {
		return 0
	}
	if id == s.current {
		return int(r.owed) + len(s.wbuf)
	}
	return int(r.owed)
}

// Buffered returns how many received bytes are kept for the next Data call. Loop only.
func (s *Set) Buffered(id uint64) int { return len(s.Kept(id)) }

// Kept returns the received bytes that are kept for the next Data call. They are
// the Set's and valid until the turn ends. Loop only.
func (s *Set) Kept(id uint64) []byte {
	r := s.lookup(id)
	if r == nil || r.in == 0 {
		return nil
	}
	return s.pool.at(r.in).data()
}

// Len returns how many connections there are, those that are on their way here
// from a listener or another Set included. Any goroutine.
func (s *Set) Len() int { return int(s.count.Load()) }

// Loop returns the loop the Set was made for. Any goroutine.
func (s *Set) Loop() *loop.Loop { return s.loop }

// Stats returns the counts so far. Loop only.
func (s *Set) Stats() Stats {
	s.check("Stats")
	st := s.stats
	st.Open = s.Len()
	st.Buffered = s.pool.bytes
	st.Spare = s.pool.held
	return st
}

// beforeWait sends what the turn has pushed, and cleans up behind a panic.
func (s *Set) beforeWait() {
	if s.current != 0 {
		s.afterPanic()
	}
	if len(s.dirty) > 0 {
		s.flushDirty()
	}
	if s.kept != s.keptTold {
		s.tellInput()
	}
	if !s.trimmer && (s.pool.held > 0 || cap(s.log) > maxClass || cap(s.dirty) > keepDirty) {
		s.trimmer = true
		s.loop.CallLater(trimEvery, s.trim)
	}
}

// trim gives back what a burst has left. The hook before the wait sets the timer
// again if there is more.
func (s *Set) trim() {
	s.trimmer = false
	if s.logged == 0 && cap(s.log) > maxClass {
		s.log = nil
	}
	if len(s.dirty) == 0 && cap(s.dirty) > keepDirty {
		s.dirty = nil
	}
	s.pool.trim()
}

// check is the test behind "Loop only.".
func (s *Set) check(what string) {
	if invariants {
		defer func() {
			if v := recover(); v != nil {
				panic(fmt.Sprintf("conn: Set.%s: %v", what, v))
			}
		}()
		s.loop.Monotonic() // panics off the loop
	}
}

// posted is a list that is worked off on the loop in a later turn: posted once,
// however much is added meanwhile. It is the loop's.
type posted[T any] struct {
	list, spare []T
	waiting     bool
	loop        *loop.Loop
	run         func()
}

func (p *posted[T]) init(l *loop.Loop, run func()) { p.loop, p.run = l, run }

func (p *posted[T]) add(v T) {
	p.list = append(p.list, v)
	p.post()
}

func (p *posted[T]) post() {
	if !p.waiting && len(p.list) > 0 {
		p.waiting = p.loop.AddCallback(p.run)
	}
}

// each calls fn for what the list had when it began. If fn panics the rest is posted again.
func (p *posted[T]) each(fn func(T)) {
	now, done := p.list, 0
	p.list, p.spare = p.spare[:0], nil
	p.waiting = false
	defer func() {
		if done < len(now) { // fn has panicked
			p.list = append(now[done:len(now):len(now)], p.list...)
			p.post()
			return
		}
		clear(now)
		if cap(now) <= 4096 {
			p.spare = now[:0]
		}
	}()
	for done < len(now) {
		v := now[done]
		done++
		fn(v)
	}
}

// closeFD closes a descriptor. The error says nothing that can be acted on: the
// number is free afterwards in any case.
func closeFD(fd int) { _ = unix.Close(fd) }
