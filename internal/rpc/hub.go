package rpc

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gameserverd/wire"
)

// Loop is what a Hub needs of the loop that owns it.
type Loop interface {
	AddCallback(fn func()) bool                       // any goroutine
	After(d time.Duration, fn func()) (cancel func()) // loop only
	Now() time.Time                                   // loop only: the turn's clock
	Enter(label *string, who uint64)                  // loop only: names what runs, for the watchdog

	// Three readings of one clock that never goes back, in nanoseconds from a moment
	// of the loop's own. Loop only.
	Monotonic() int64 // of Now
	Nanotime() int64  // now
	// Recent is the last of the above that was made in the function that the loop runs
	// now or in the one before it (an event, a callback, a timer), else it is Nanotime.
	Recent() int64
}

// Link is what a Hub needs of the connections of its loop. A connection is known
// by an id whose low 32 bits are its slot, a small number that is used again
// after the connection's end. All methods are loop only; on an id that is no
// longer open they do nothing.
type Link interface {
	Write(conn uint64, b []byte) bool // copies b
	Pause(conn uint64)                // stop reading
	Resume(conn uint64)               // offer what was kept, then read on
	Yield(conn uint64)                // offer what was kept in the next turn
	Close(conn uint64)                // now, without flushing
	Shutdown(conn uint64)             // flush, FIN, close
	Dismiss(conn uint64)              // the same, cheaply: a client that goes on sending may meet an RST
	Peer(conn uint64) netip.AddrPort
	Number(conn uint64) uint64   // what people call it: no two of the process have one, and it stays on a Move
	Describe(conn uint64) string // what carries the messages: "tcp", "tls", "websocket", "tls+websocket"; it is not changed once some have come
	Pending(conn uint64) int     // bytes written and not sent yet
	Kept(conn uint64) []byte     // what was offered and not used up; valid until the next turn
	// Move takes the connection with all its bytes to another hub's loop, where
	// adopted runs before any byte is offered: with its id there, or with 0 when
	// that loop has closed.
	Move(conn uint64, hub int, adopted func(conn uint64))
}

// Hub handles the sessions of one loop. It implements the handler of that loop's
// connections: Opened, Data, EOF, Closed.
type Hub struct {
	// immutable after Connect
	peers   *Peers
	index   int
	loop    Loop
	link    Link
	methods map[string]*Method
	limits  Limits

	// loop only
	offset    int64 // from the loop's Monotonic to clock
	sessions  sessions
	uids      map[uint64]uint64 // the connection of each player whose home this hub is
	orphans   map[*Call]struct{}
	rooms     map[string]*room
	last      *Method      // the method that was looked up last
	call      Call         // the plain call that runs
	args      Args         // its params
	arrived   int64        // when what Data handles came, by clock
	msg       wire.Message // the message being handled
	walker    wire.Walker
	scratch   []byte // the response being built
	tick      uint32 // the time for sessions in units of tickTime, counted from 1
	swept     swept
	rate      rate
	boxed     int  // bytes in mailboxes
	boxedTold int  // those that the meter knows of
	shedding  bool // ShedInput is at work
	lines     lines
	traces    map[uint64][]*trace // by uid; nil: none
	proxies   map[uint64][]*proxy // likewise
	goodbye   goodbye
	told      toldLately
	watching  int // sessions of which all calls are kept
	records   records
	leave     func(*session) // takes a session out of its rooms

	// any goroutine
	inbox inbox
	open  atomic.Int64 // sessions
}

// swept is how far the look at all sessions has come. Loop only.
type swept struct {
	slot     uint32        // at which the next sweep goes on
	interval time.Duration // from the last sweep to the next
}

// messagesPerTurn bounds how long one connection's backlog may hold the loop.
const messagesPerTurn = 64

// maxScratch is the largest response buffer that is kept for the next one.
const maxScratch = 64 << 10

// Opened begins a session for a new connection. Loop only.
func (h *Hub) Opened(conn uint64) {
	s := h.begin(conn)
	s.opened, s.lastIn = h.tick, h.tick
	if max := h.limits.MaxConnections; max > 0 && h.peers.Connections() > max {
		h.refuseLater(s, nil)
	} else if Pressure(h.peers.pressure.Load()) >= RefuseNew {
		h.peers.Counters.ShedNew.Add(1)
		why := h.shortOfMemory()
		h.refuseLater(s, &why)
	}
	if h.goodbye.begun { // it was on its way when the listeners closed
		h.sayGoodbye(s)
	}
}

func (h *Hub) begin(conn uint64) *session {
	h.open.Add(1)
	h.rate.reset(conn)
	s := h.sessions.open(conn)
	h.countOpen(s)
	return s
}

// Data handles the bytes that have come on a connection and returns how many of
// them it has used up: whole messages. Loop only.
func (h *Hub) Data(conn uint64, b []byte) int {
	s := h.session(conn)
	if s == nil {
		return len(b)
	}
	s.lastIn = h.tick
	if s.framing == framingUnknown && !h.detect(s, b) {
		return len(b)
	}
	h.arrived = h.clock()
	if s.has(flagKept) {
		h.arrived = h.takeKept(s)
	}
	used := h.messages(s, conn, b)
	if s.has(flagRelease) {
		h.closeIfDone(s)
	}
	h.loop.Enter(nil, 0)
	return used
}

// messages handles the whole messages in b, as many as are fair.
func (h *Hub) messages(s *session, conn uint64, b []byte) int {
	off := 0
	for n := 0; ; n++ {
		switch {
		case s.conn != conn || s.has(flagClosing):
			return len(b)
		case s.has(flagPaused | flagMoving):
			h.keep(s, off < len(b))
			return off
		case n == messagesPerTurn:
			h.keep(s, off < len(b))
			h.link.Yield(conn)
			return off
		}
		raw, size, err := h.split(s, b[off:])
		if err == nil && size > 0 {
			err = h.msg.Parse(raw, h.maxElements(s))
		}
		if err != nil {
			h.protocolError(s, err)
			return len(b)
		}
		if size == 0 {
			h.noteHalf(s, off, len(b))
			return off
		}
		off += size
		h.receive(s, raw)
	}
}

// keep notes that the rest of what has come is to be offered again: it may hold
// whole messages, which are not late, and wait from when they came.
func (h *Hub) keep(s *session, rest bool) {
	s.frameAt = 0
	if rest {
		h.sessions.extend(s).keptAt = h.arrived
		s.flags |= flagKept
	}
}

// takeKept is when that came which is offered again. Nothing was read since: the
// layers below read on when all of it is used up, but for half a message.
func (h *Hub) takeKept(s *session) (arrived int64) {
	arrived = s.ext.keptAt
	s.flags &^= flagKept
	h.sessions.shrink(s)
	return arrived
}

// noteHalf remembers since when half a message has been waiting for its end.
func (h *Hub) noteHalf(s *session, used, have int) {
	switch {
	case used == have:
		s.frameAt = 0
	case used > 0 || s.frameAt == 0:
		s.frameAt = h.tick
	}
}

// send writes one message, given as a frame, in the session's own framing.
func (h *Hub) send(s *session, frame []byte) {
	if s.has(flagTraced) && h.traceOut(s, frame[wire.HeaderLen:]) {
		return
	}
	if s.framing == framingStream {
		frame = frame[wire.HeaderLen:]
	}
	if s.framing != framingUnknown {
		h.link.Write(s.conn, frame)
	}
}

// encodeNotification builds a notification's frame from Go values.
func encodeNotification(method string, params []any) ([]byte, error) {
	frame := wire.AppendNotification(wire.BeginFrame(nil), method)
	return endFrame(appendParams(frame, method, params))
}

// appendParams appends an array of Go values.
func appendParams(b []byte, method string, params []any) ([]byte, error) {
	b = wire.AppendArray(b, len(params))
	var err error
	for i, p := range params {
		if b, err = wire.AppendAny(b, p); err != nil {
			return nil, fmt.Errorf("rpc: param %d of %s: %w", i+1, method, err)
		}
	}
	return b, nil
}

// endFrame completes a frame that begins at b[0].
func endFrame(b []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if n := len(b) - wire.HeaderLen; n > wire.MaxFrame {
		return nil, fmt.Errorf("rpc: a message of %d bytes, at most %d can be sent", n, wire.MaxFrame)
	}
	wire.EndFrame(b, 0)
	return b, nil
}

// maxInbox bounds what may wait in a hub's inbox, in about the bytes that it
// takes; a message to be written counts as messageCost more, for the time.
const (
	maxInbox     = 64 << 20
	deliveryCost = 256
	messageCost  = 64
)

// errCrowded is what those are told who send more than a loop can deliver.
func errCrowded() error {
	return &Error{Code: ResourceExhausted, Message: "too much is waiting to be delivered", RetryAfter: defaultRetry}
}

// delivery is something for a hub's sessions that comes from elsewhere.
type delivery struct {
	frame []byte   // a message for uid, for each of uids, or for each of conns
	uid   uint64   // a player whose home is this hub
	uids  []uint64 // several of them
	conns []uint64 // connections of this hub
	act   func()   // or something else to do, in the same order
}

func (d *delivery) cost() int64 {
	return int64(deliveryCost + len(d.frame) + messageCost*(len(d.uids)+len(d.conns)))
}

// inbox is the queue of deliveries of a hub. Everything that is sent to a
// hub's sessions from elsewhere passes through it, so it arrives in the order it
// was sent; and since responses are written only when the inbox is empty, what a
// handler sends before it returns arrives before its response.
type inbox struct {
	waiting atomic.Int32
	cost    atomic.Int64 // of all that waits

	mu    sync.Mutex
	items []delivery
	spare []delivery // loop only: the slice that the next swap puts in
}

// crowded reports whether the hub's loop is so far behind that nothing more
// should be sent to its sessions. Any goroutine.
func (h *Hub) crowded() bool { return h.inbox.cost.Load() > maxInbox }

// deliver puts d into the inbox. Any goroutine.
func (h *Hub) deliver(d delivery) bool {
	h.inbox.mu.Lock()
	h.inbox.items = append(h.inbox.items, d)
	first := len(h.inbox.items) == 1
	h.inbox.waiting.Store(int32(len(h.inbox.items)))
	h.inbox.cost.Add(d.cost())
	h.inbox.mu.Unlock()
	return !first || h.loop.AddCallback(h.drainInbox)
}

// drainInbox delivers what is in the inbox. Loop only.
func (h *Hub) drainInbox() {
	if h.inbox.waiting.Load() == 0 {
		return
	}
	h.inbox.mu.Lock()
	items := h.inbox.items
	h.inbox.items = h.inbox.spare[:0]
	h.inbox.waiting.Store(0)
	h.inbox.cost.Store(0)
	h.inbox.mu.Unlock()
	h.inbox.spare = nil
	for i := range items {
		d := &items[i]
		if d.act != nil {
			d.act()
		} else {
			h.sendEach(d)
		}
	}
	clear(items)
	if cap(items) <= 4096 {
		h.inbox.spare = items[:0]
	}
}

// sendTo writes a frame to the player uid, if there is one here.
func (h *Hub) sendTo(uid uint64, frame []byte) {
	if s := h.session(h.uids[uid]); s != nil && !s.has(flagClosing) {
		h.send(s, frame)
	}
}

// sendEach writes a delivery's frame to everyone it is for.
func (h *Hub) sendEach(d *delivery) {
	if d.uid != 0 {
		h.sendTo(d.uid, d.frame)
	}
	for _, uid := range d.uids {
		h.sendTo(uid, d.frame)
	}
	for _, conn := range d.conns {
		if s := h.session(conn); s != nil && !s.has(flagClosing) {
			h.send(s, d.frame)
		}
	}
}
