package transport

import (
	"net/netip"
	"time"

	"gameserverd/internal/conn"
	"gameserverd/internal/loop"
	"gameserverd/wire"
)

// Upper is what a Mux needs of the hub above it. All methods are loop only.
type Upper interface {
	Opened(id uint64)
	Data(id uint64, b []byte) int
	EOF(id uint64)
	Closed(id uint64, err error)
	// Refuse ends the connection with sys.closing as soon as its framing is known,
	// at once if it is, or silently after a bounded wait.
	Refuse(id uint64, why wire.Closing)
	// ClaimEnd reports whether nobody has counted yet why the connection ends. From
	// then on the hub does not.
	ClaimEnd(id uint64) bool
}

// Mux is the transport of one loop's connections. It implements conn.Handler
// towards the Set and rpc.Link towards the hub. Ids are the Set's.
type Mux struct {
	// immutable after Connect
	loop   *loop.Loop
	shared *Shared
	set    *conn.Set
	up     Upper
	others []*Mux // by hub, this one among them

	// loop only
	words   []uint32 // by slot
	stacks  []*stack
	free    []uint32 // unused numbers of stacks
	early   []uint64 // those whose first message cannot come yet
	timing  bool     // the timer that looks at early is set
	warm    []uint64 // those with TLS buffers that may be given back
	cooling bool     // the timer that looks at warm is set
	cur     *stack   // whose input is being taken; what is written to it is collected
	pend    []byte   // that, before it is encrypted
	plain   []byte   // what was decrypted, while it is offered
	scratch []byte   // a WebSocket frame on its way out
}

// A connection's word: what it is, and the number of its stack plus one; 0 there
// for one without layers.
const (
	isFresh   uint32 = 1 << 31 // its first byte has not come
	isCounted uint32 = 1 << 30 // at the gate
	isRefused uint32 = 1 << 29 // by the gate, and the hub was told
	stackBits uint32 = 1<<29 - 1

	special = isFresh | stackBits // none of them: bytes go straight to the hub
)

// NewMux makes the Mux of loop l, before its Set is made: what it writes in the
// end of a turn is to be sent in the same turn. Loop only.
func NewMux(l *loop.Loop, s *Shared) *Mux { return &Mux{loop: l, shared: s} }

// Connect says what m is between: the Set whose handler it is, and a hub. others
// are the Muxes of all hubs, in their order. Before the first connection. Loop only.
func (m *Mux) Connect(set *conn.Set, up Upper, others []*Mux) {
	m.set, m.up, m.others = set, up, others
}

// word returns the word of id's slot. Whether id still is that slot's is for the
// Set, or the stack, to say.
func (m *Mux) word(id uint64) uint32 {
	if slot := conn.Slot(id); int(slot) < len(m.words) {
		return m.words[slot]
	}
	return 0
}

func (m *Mux) setWord(id uint64, w uint32) {
	slot := int(conn.Slot(id))
	if slot >= len(m.words) {
		m.words = append(m.words, make([]uint32, slot+1-len(m.words))...)
	}
	m.words[slot] = w
}

// stack returns the stack of id, nil if it has none.
func (m *Mux) stack(id uint64) *stack {
	if n := m.word(id) & stackBits; n != 0 {
		if k := m.stacks[n-1]; k.id == id {
			return k
		}
	}
	return nil
}

// newStack gives id a stack.
func (m *Mux) newStack(id uint64) *stack {
	k := &stack{id: id, phase: phaseFirst}
	m.addStack(k)
	return k
}

func (m *Mux) addStack(k *stack) {
	if n := len(m.free); n > 0 {
		k.number, m.free = m.free[n-1], m.free[:n-1]
		m.stacks[k.number] = k
	} else {
		k.number = uint32(len(m.stacks))
		m.stacks = append(m.stacks, k)
	}
	k.mux = m
	m.setWord(k.id, m.word(k.id)&^stackBits|(k.number+1))
}

// dropStack takes k's number back; its word is the caller's affair.
func (m *Mux) dropStack(k *stack) {
	m.stacks[k.number] = nil
	m.free = append(m.free, k.number)
	k.mux = nil
}

// Opened begins a connection. Loop only.
func (m *Mux) Opened(id uint64) {
	m.setWord(id, isFresh)
	m.up.Opened(id)
	peer := m.set.Peer(id)
	if m.shared.settings.Load().proxied(peer) {
		k := m.newStack(id)
		k.phase = phaseProxy
		m.setWord(id, m.word(id)&^isFresh)
		m.isEarly(k)
		return
	}
	m.enter(id, peer.Addr())
}

// enter asks the gate whether id, which comes from a, may stay.
func (m *Mux) enter(id uint64, a netip.Addr) {
	ok, why := m.shared.gate.Open(a)
	if ok {
		m.setWord(id, m.word(id)|isCounted)
		return
	}
	m.setWord(id, m.word(id)|isRefused)
	m.countEnd(id, byGate)
	m.up.Refuse(id, wire.Closing{Code: wire.TooManyConnections, Message: why, Reconnect: true})
}

// countEnd counts how id ends, unless that was counted before: by the hub, or here.
func (m *Mux) countEnd(id uint64, o outcome) {
	if m.up.ClaimEnd(id) {
		m.shared.ended[o].Add(1)
	}
}

// leave takes back what enter has counted for a connection with the word w.
func (m *Mux) leave(w uint32, a netip.Addr) {
	if w&isCounted != 0 {
		m.shared.gate.Close(a)
	}
}

// Data takes bytes of a connection. Loop only.
func (m *Mux) Data(id uint64, b []byte) int {
	if m.words[conn.Slot(id)]&special == 0 {
		return m.up.Data(id, b)
	}
	return m.data(id, b)
}

// data is Data of a connection that has a stack, or whose first bytes these are.
func (m *Mux) data(id uint64, b []byte) int {
	k := m.stack(id)
	if k == nil {
		m.setWord(id, m.word(id)&^isFresh)
		var open bool
		if k, open = m.begin(id, nil, b[0]); !open {
			return len(b)
		}
		if k == nil {
			return m.up.Data(id, b)
		}
	}
	return k.data(b)
}

// EOF notes that a client has finished sending. Loop only.
func (m *Mux) EOF(id uint64) {
	k := m.stack(id)
	switch {
	case k == nil:
		m.up.EOF(id)
	case k.tls != nil && k.tls.shake != nil:
		k.tls.shake.end(errEOF)
	default:
		k.eof()
	}
}

// Closed ends a connection. Loop only.
func (m *Mux) Closed(id uint64, err error) {
	w, k := m.word(id), m.stack(id)
	if k != nil {
		k.end()
	}
	// Until here everything answers as before: the hub may ask for the peer.
	m.up.Closed(id, err)
	m.leave(w, m.Peer(id).Addr())
	if k != nil {
		m.dropStack(k)
	}
	m.setWord(id, 0)
}

// isEarly notes that k's time to get to its first message begins.
func (m *Mux) isEarly(k *stack) {
	k.began = m.loop.Monotonic()
	if !k.has(inEarly) {
		k.flags |= inEarly
		m.early = append(m.early, k.id)
	}
	m.timeEarly()
}

func (m *Mux) timeEarly() {
	if m.timing || len(m.early) == 0 {
		return
	}
	m.timing = true
	m.loop.CallLater(max(m.shared.settings.Load().HandshakeTimeout/8, time.Millisecond), m.sweepEarly)
}

// sweepEarly ends those that have been early for too long.
func (m *Mux) sweepEarly() {
	m.timing = false
	limit, now := m.shared.settings.Load().HandshakeTimeout, m.loop.Monotonic()
	rest := m.early[:0]
	for _, id := range m.early {
		k := m.stack(id)
		switch {
		case k == nil:
		case !k.early() || k.has(ended):
			k.flags &^= inEarly
		case time.Duration(now-k.began) < limit:
			rest = append(rest, id)
		default:
			k.flags &^= inEarly
			k.fail(lateHandshake, conn.Timeout, errLate)
		}
	}
	m.early = rest
	if len(rest) == 0 {
		m.early = nil
	}
	m.timeEarly()
}
