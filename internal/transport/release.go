package transport

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"reflect"
	"time"
	"unsafe"

	"gameserverd/wire"
)

// crypto/tls keeps the buffers in which it has read a record and a handshake
// message for as long as a connection lives, up to 54 KiB. Those of an idle one
// are empty and can be made again; nothing exported says so, so they are found
// by name and type. If a Go release has them no more, nothing is released.
var tlsBuffers = findTLSBuffers(reflect.TypeFor[tls.Conn]())

// tlsLayout is where in a tls.Conn its buffers are.
type tlsLayout struct {
	known              bool
	rawInput, hand, in uintptr
}

func findTLSBuffers(conn reflect.Type) (l tlsLayout) {
	find := func(name string, want reflect.Type) uintptr {
		f, ok := conn.FieldByName(name)
		l.known = l.known && ok && f.Type == want
		return f.Offset
	}
	l.known = true
	l.rawInput = find("rawInput", reflect.TypeFor[bytes.Buffer]())
	l.hand = find("hand", reflect.TypeFor[bytes.Buffer]())
	l.in = find("input", reflect.TypeFor[bytes.Reader]())
	return l
}

// release gives back the buffers of c that have nothing in them. Nobody may use
// c meanwhile.
func (l tlsLayout) release(c *tls.Conn) {
	if !l.known {
		return
	}
	p := unsafe.Pointer(c)
	raw := (*bytes.Buffer)(unsafe.Add(p, l.rawInput))
	hand := (*bytes.Buffer)(unsafe.Add(p, l.hand))
	in := (*bytes.Reader)(unsafe.Add(p, l.in))
	// input reads from rawInput's memory.
	if raw.Len() == 0 && in.Len() == 0 {
		*raw, *in = bytes.Buffer{}, bytes.Reader{}
	}
	if hand.Len() == 0 {
		*hand = bytes.Buffer{}
	}
}

// waiting returns what has come of a record, or of a message of TLS's own, that is
// not whole, the longer of both, and how much memory what c has received and not
// given out takes. Nobody may use c meanwhile.
func (l tlsLayout) waiting(c *tls.Conn) (half []byte, size int) {
	if !l.known {
		return nil, 0
	}
	p := unsafe.Pointer(c)
	raw := (*bytes.Buffer)(unsafe.Add(p, l.rawInput))
	hand := (*bytes.Buffer)(unsafe.Add(p, l.hand))
	in := (*bytes.Reader)(unsafe.Add(p, l.in))
	if raw.Len() > 0 || in.Len() > 0 {
		half, size = raw.Bytes(), raw.Cap()
	}
	if n := hand.Len(); n > 0 {
		size += hand.Cap()
		if n > len(half) {
			half = hand.Bytes()
		}
	}
	return half, size
}

// coolEvery is how long a connection's TLS buffers stay at least when nothing comes.
const coolEvery = time.Second

// isWarm notes that k has been busy, and so has buffers.
func (m *Mux) isWarm(k *stack) {
	t := k.tls
	t.used = true
	if !t.warm {
		t.warm = true
		m.warm = append(m.warm, k.id)
	}
	if !m.cooling {
		m.cooling = true
		m.loop.CallLater(coolEvery, m.cool)
	}
}

// cool releases the buffers of those that were not busy since it last ran, and ends
// those that are in the middle of a record for too long: the hub sees nothing of it.
func (m *Mux) cool() {
	m.cooling = false
	limit, now := m.shared.settings.Load().FrameTimeout, m.loop.Monotonic()
	var late []uint64
	rest := m.warm[:0]
	for _, id := range m.warm {
		k := m.stack(id)
		switch {
		case k == nil:
		case k.tls.half != 0 && !k.has(ended):
			if limit > 0 && time.Duration(now-k.tls.half) > limit {
				late = append(late, id)
			}
			rest = append(rest, id)
		case k.tls.used:
			k.tls.used = false
			rest = append(rest, id)
		default:
			k.tls.warm = false
			tlsBuffers.release(k.tls.conn)
		}
	}
	m.warm = rest
	if len(rest) == 0 {
		m.warm = nil
		return
	}
	m.cooling = true
	m.loop.CallLater(coolEvery, m.cool)
	for _, id := range late { // which may come to m.warm again
		m.up.Refuse(id, wire.Closing{Code: wire.IdleTimeout, Reconnect: true, Message: fmt.Sprintf("a TLS record that began has not ended within %s", limit)})
	}
}
