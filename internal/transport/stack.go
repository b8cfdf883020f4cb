package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go.uber.org/zap"

	"gameserverd/internal/conn"
	"gameserverd/wire"
)

var (
	errEOF    = errors.New("the client has finished sending")
	errClosed = errors.New("the connection is closed")
	errLate   = errors.New("it took too long to begin")
)

// stack is a connection with layers: a PROXY header before it, TLS, WebSocket.
// All of it is loop only, and another loop's after a Move.
type stack struct {
	mux    *Mux // nil: it has ended, or is on its way
	id     uint64
	number uint32 // in mux.stacks
	phase  phase
	flags  flags
	// counted is what SharedOptions.Input knows of.
	counted int32
	began   int64          // loop.Monotonic when it became early
	peer    netip.AddrPort // as the PROXY header has it
	tls     *tlsLayer      // nil: none
	ws      *wsLayer       // nil: none
	in      []byte         // what was decrypted and not taken
}

// phase is how far the part above TLS has come.
type phase uint8

const (
	phaseProxy   phase = iota // a PROXY header must come
	phaseFirst                // the first byte decides
	phaseUpgrade              // an HTTP request must come
	phaseOpen
)

type flags uint8

const (
	paused  flags = 1 << iota // by the hub
	yielded                   // the hub wants the rest in the next turn
	pledged                   // the first byte that the Set offers next was read already
	again                     // something is to be offered before anything is read
	ended                     // nothing that comes matters any more
	eofTold                   // the hub knows that no more comes
	named                     // peer is the client's address
	inEarly                   // in mux.early
)

func (k *stack) has(f flags) bool { return k.flags&f != 0 }

// held tells whether the hub wants nothing now.
func (k *stack) held() bool { return k.has(paused | yielded | ended) }

// early tells whether the first message cannot come yet.
func (k *stack) early() bool {
	return k.phase == phaseProxy || k.phase == phaseUpgrade || k.tls != nil && k.tls.shake != nil
}

func (k *stack) kind() kind {
	switch {
	case k.tls != nil && k.ws != nil:
		return kindTLSWebSocket
	case k.tls != nil:
		return kindTLS
	case k.ws != nil:
		return kindWebSocket
	}
	return kindTCP
}

// data takes what has come from the Set, with the pledge in front of it if there
// is one, and leaves a new one when something must be offered again.
func (k *stack) data(b []byte) int {
	k.flags &^= yielded
	off := 0
	if k.has(pledged) {
		k.flags &^= pledged
		off = 1
	}
	off += k.input(b[off:])
	if k.has(ended) {
		return len(b)
	}
	k.count()
	switch {
	case off == len(b) && (k.has(paused|yielded) || k.tls != nil && k.tls.shake != nil):
		k.flags |= pledged
		return off - 1
	}
	return off
}

// input takes bytes off the wire.
func (k *stack) input(b []byte) (used int) {
	if k.phase == phaseProxy {
		if used = k.proxyHeader(b); used == 0 || k.has(ended) {
			return used
		}
	}
	if k.phase == phaseFirst && k.tls == nil {
		if used == len(b) {
			return used
		}
		if _, open := k.mux.begin(k.id, k, b[used]); !open {
			return len(b)
		}
	}
	b = b[used:]
	switch {
	case k.tls == nil:
		return used + k.clear(b)
	case k.tls.shake != nil:
		k.tls.shake.give(b)
		return used + len(b)
	}
	return used + k.decrypt(b)
}

// proxyHeader takes the PROXY header off b, and asks the gate about the client
// that it names.
func (k *stack) proxyHeader(b []byte) (used int) {
	m := k.mux
	h, used, err := parseProxy(b)
	switch {
	case err != nil:
		k.fail(badProxy, conn.Broken, err)
		return len(b)
	case used == 0:
		return 0
	}
	k.phase = phaseFirst
	if h.named {
		k.flags |= named
		k.peer = h.peer
	}
	m.enter(k.id, m.Peer(k.id).Addr())
	return used
}

// begin decides by a connection's first byte what it speaks. k is its stack, nil
// if it has none and may do without. open is false if it was closed.
func (m *Mux) begin(id uint64, k *stack, first byte) (_ *stack, open bool) {
	o := m.shared.settings.Load()
	inTLS := k != nil && k.tls != nil
	refused := m.word(id)&isRefused != 0
	switch {
	case first == recordHandshake && o.TLS != nil && !inTLS:
		// A handshake costs more than a refusal is worth: those are closed.
		if refused || !m.shared.startHandshake(o.MaxHandshakes) {
			m.set.Close(id, conn.Local, nil)
			return nil, false
		}
		if k == nil {
			k = m.newStack(id)
		}
		k.startTLS(o.TLS)
		return k, true
	case o.TLS != nil && o.RefusePlain && !inTLS && m.set.Peer(id).IsValid():
		m.refuse(id, byPlain, "this server is spoken to by TLS only")
	}
	protocol := protocolOf(first)
	served := slices.Contains(o.Protocols, protocol)
	switch {
	case protocol == "websocket" && served:
		if k == nil {
			k = m.newStack(id)
		}
		k.phase = phaseUpgrade
		k.ws = &wsLayer{origins: o.Origins}
		m.isEarly(k)
	case protocol == "frames" && !served, protocol == "stream" && !served:
		m.refuse(id, byProtocol, fmt.Sprintf("%s is not spoken here, but %s", protocol, strings.Join(o.Protocols, ", ")))
		fallthrough
	default:
		if k != nil {
			k.phase = phaseOpen
		}
	}
	switch {
	case k != nil:
		m.shared.opened[k.kind()].Add(1)
	default:
		m.shared.opened[kindTCP].Add(1)
	}
	return k, true
}

// refuse has the hub say why a connection cannot stay.
func (m *Mux) refuse(id uint64, o outcome, why string) {
	if m.word(id)&isRefused != 0 {
		return
	}
	m.setWord(id, m.word(id)|isRefused)
	m.countEnd(id, o)
	m.up.Refuse(id, wire.Closing{Code: wire.ProtocolError, Message: why})
}

// protocolOf names what a first byte begins, as listen.protocols does; "" if nothing.
func protocolOf(first byte) string {
	switch first {
	case 0x00:
		return "frames"
	case 0x93, 0x94, 0x95:
		return "stream"
	case 'G':
		return "websocket"
	}
	return ""
}

// clear takes bytes that no TLS covers, or none any more.
func (k *stack) clear(b []byte) (used int) {
	if k.phase == phaseFirst {
		if len(b) == 0 {
			return 0
		}
		if _, open := k.mux.begin(k.id, k, b[0]); !open {
			return len(b)
		}
	}
	switch {
	case k.ws == nil:
		return k.mux.up.Data(k.id, b)
	case k.phase == phaseUpgrade:
		return k.upgrade(b)
	}
	return k.frames(b)
}

// write sends one message of the hub's.
func (k *stack) write(b []byte) bool {
	switch {
	case k.has(ended) || k.early():
		return false
	case k.ws != nil:
		return k.writeMessage(b)
	}
	return k.send(b)
}

// send sends bytes that are for the client's end of TLS, or of the socket. What
// is written while input is taken is collected, and encrypted at once.
func (k *stack) send(b []byte) bool {
	m := k.mux
	switch {
	case k.tls == nil:
		return m.set.Write(k.id, b)
	case m.cur != k:
		k.encrypt(b)
	default:
		if len(m.pend)+len(b) > maxCollected {
			k.flush()
		}
		if len(b) > maxCollected {
			k.encrypt(b)
			break
		}
		m.pend = append(m.pend, b...)
	}
	return !k.has(ended) // encrypt may have met too much unsent output
}

// eof tells the hub that no more comes.
func (k *stack) eof() {
	if !k.has(eofTold | ended) {
		k.flags |= eofTold
		k.mux.up.EOF(k.id)
	}
}

// shutdown ends k as its layers have it.
func (k *stack) shutdown(why conn.Reason) {
	if k.has(ended) {
		return
	}
	m := k.mux
	if !k.early() {
		if k.ws != nil {
			k.writeClose()
		}
		if k.tls != nil {
			k.flush()
			k.tls.closeNotify()
		}
	}
	k.end()
	m.set.Shutdown(k.id, why)
}

// fail ends k for what came, or did not come, below the protocol.
func (k *stack) fail(o outcome, why conn.Reason, err error) {
	if k.has(ended) {
		return
	}
	m := k.mux
	m.countEnd(k.id, o)
	m.shared.log.Debug("connection failed below the protocol", zap.Uint64("conn", m.Number(k.id)), zap.Stringer("peer", m.Peer(k.id)),
		zap.Stringer("why", o), zap.Error(err))
	if k.tls != nil {
		k.flush()
	}
	k.end()
	m.set.Shutdown(k.id, why)
}

// end lets go of what k holds. Nothing is offered from now on.
func (k *stack) end() {
	k.flags |= ended
	k.in = nil
	if k.ws != nil {
		k.ws.native = nil
	}
	if t := k.tls; t != nil && t.shake != nil {
		t.shake.cancel()
	}
	k.uncount(k.mux)
}

// count counts the input that k holds, beside what the Set keeps of it.
func (k *stack) count() {
	n := cap(k.in)
	if w := k.ws; w != nil {
		n += cap(w.native) + w.parts
	}
	switch t := k.tls; {
	case t == nil:
	case t.shake != nil:
		n += t.shake.held()
	default:
		_, size := tlsBuffers.waiting(t.conn)
		n += size
	}
	if more := n - int(k.counted); more != 0 {
		k.mux.shared.input.Add(more)
		k.counted = int32(n)
	}
}

// uncount takes back what count has counted. m is one of the Muxes that share it;
// nil: it was taken back.
func (k *stack) uncount(m *Mux) {
	if m != nil && k.counted != 0 {
		m.shared.input.Add(-int(k.counted))
		k.counted = 0
	}
}
