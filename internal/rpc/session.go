package rpc

import (
	"gameserverd/wire"
)

// session is what a Hub knows of one connection: who it is, how its bytes are
// framed, and when it was last heard of. It lives in a slab page at the
// connection's slot and costs 56 bytes while idle; what only a busy session
// needs is in ext, and what only one whose calls fail or are slow in last.
type session struct {
	conn     uint64 // the connection's id; 0: this slot is free
	uid      uint64 // 0: not logged in
	ext      *sessionExt
	last     *lastCalls
	lastIn   uint32 // tick at which bytes last came
	opened   uint32 // tick at which it connected or, later, logged in or out
	frameAt  uint32 // tick at which a message began that has not ended; 0: none
	nextID   uint32 // msgid of the server's next call to this client
	messages uint32 // how many have been received
	flags    sessionFlags
	framing  framing
	// transport is the place in transports of what carries the session's messages; 0
	// before the first.
	transport uint8
}

// framing is how messages are told apart; the client's first byte decides
// (protocol page, section 1).
type framing uint8

const (
	framingUnknown framing = iota
	framingFrames
	framingStream
	numFramings = iota
)

// String is the framing's name as listen.protocols has it.
func (f framing) String() string {
	return [...]string{"unknown", "frames", "stream"}[f]
}

type sessionFlags uint16

const (
	flagRefused sessionFlags = 1 << iota // may not stay: told so when the framing is known
	flagClosing                          // sys.closing has been sent for good; the connection is flushing
	flagGoodbye                          // the server drains: sys.closing has been sent, new requests are unavailable
	flagRelease                          // the grace after goodbye is over: close as soon as nothing is under way
	flagEOF                              // the client has finished sending
	flagPaused                           // not reading: the mailbox is full
	flagMoving                           // a login is taking the connection to another hub
	flagKept                             // whole messages may wait in the connection's input
	flagTraced                           // somebody watches this player, or makes calls in the player's name
	flagYields                           // made within the process: its login throws nobody out, and its end does not count
	flagCounted                          // its end has been counted
)

// has reports whether any of the flags is set.
func (s *session) has(f sessionFlags) bool { return s.flags&f != 0 }

// sessionExt is the part of a session that exists only while it has calls under
// way, messages waiting here or in the connection's input, rooms, or half a message in.
type sessionExt struct {
	box     mailbox
	keptAt  int64    // of flagKept: when it came, by the hubs' clock
	running *Call    // the ordered call under way
	calls   []*Call  // all calls under way, running included
	asked   []*asked // the server's calls that this client has not answered, oldest first
	rooms   []string
	walker  *wire.Walker  // where the walk through half a message stands (stream framing)
	alone   func()        // a login that waits until its call is the only one
	refused *wire.Closing // what a refused client is told; nil: that there are too many connections
}

func (x *sessionExt) empty() bool {
	return x.box.count == 0 && x.running == nil && len(x.calls) == 0 && len(x.asked) == 0 && len(x.rooms) == 0 && x.walker == nil && x.refused == nil
}

// busy reports whether the session's next message has to wait.
func (s *session) busy() bool {
	return s.ext != nil && (s.ext.running != nil || s.ext.box.count > 0)
}

// quiet reports whether nothing that the client asked for is still to be
// answered.
func (s *session) quiet() bool {
	return s.ext == nil || len(s.ext.calls) == 0 && s.ext.box.count == 0
}

const sessionsPerPage = 1024

// sessions is the table of a hub's sessions by connection slot.
type sessions struct {
	pages [][]session
	free  []*sessionExt // given back, to be used again
}

// at finds the slot's place, or nil when no session has ever had one that high.
func (t *sessions) at(slot uint32) *session {
	page := int(slot / sessionsPerPage)
	if page >= len(t.pages) {
		return nil
	}
	return &t.pages[page][slot%sessionsPerPage]
}

// open makes a session for the connection at its slot.
func (t *sessions) open(conn uint64) *session {
	slot := uint32(conn)
	for int(slot/sessionsPerPage) >= len(t.pages) {
		t.pages = append(t.pages, make([]session, sessionsPerPage))
	}
	s := t.at(slot)
	*s = session{conn: conn}
	return s
}

// extend gives the session its ext.
func (t *sessions) extend(s *session) *sessionExt {
	if s.ext == nil {
		if n := len(t.free); n > 0 {
			s.ext, t.free = t.free[n-1], t.free[:n-1]
		} else {
			s.ext = new(sessionExt)
		}
	}
	return s.ext
}

// shrink takes the session's ext back when it holds nothing.
func (t *sessions) shrink(s *session) {
	x := s.ext
	if x == nil || s.has(flagKept) || !x.empty() {
		return
	}
	s.ext = nil
	if len(t.free) < 1024 {
		x.box.trim()
		x.rooms = nil
		t.free = append(t.free, x)
	}
}

// session finds the open session of a connection, or nil. Loop only.
func (h *Hub) session(conn uint64) *session {
	if s := h.sessions.at(uint32(conn)); s != nil && s.conn == conn && conn != 0 {
		return s
	}
	return nil
}
