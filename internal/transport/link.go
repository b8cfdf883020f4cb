package transport

import (
	"net/netip"

	"gameserverd/internal/conn"
)

// Write sends one message of the hub's, which is copied. False means that the
// connection is not open any more. Loop only.
func (m *Mux) Write(id uint64, b []byte) bool {
	if m.word(id)&stackBits == 0 {
		return m.set.Write(id, b)
	}
	k := m.stack(id)
	return k != nil && k.write(b)
}

// Pause stops the offering of bytes, kept ones included. Loop only.
func (m *Mux) Pause(id uint64) {
	if k := m.stack(id); k != nil {
		k.flags |= paused
	}
	m.set.Pause(id)
}

// Resume ends a Pause: what is kept is offered in the next turn. Loop only.
func (m *Mux) Resume(id uint64) {
	if k := m.stack(id); k != nil {
		k.flags &^= paused
	}
	m.set.Resume(id)
}

// Yield asks for what Data has left, or leaves, in the next turn. Loop only.
func (m *Mux) Yield(id uint64) {
	if k := m.stack(id); k != nil {
		k.flags |= yielded
	}
	m.set.Yield(id)
}

// Close ends a connection now, without flushing. Loop only.
func (m *Mux) Close(id uint64) {
	if k := m.stack(id); k != nil {
		k.end()
	}
	m.set.Close(id, conn.Local, nil)
}

// Shutdown ends a connection as its layers have it: what was written is sent,
// then WebSocket's Close frame, TLS's close_notify, and FIN. Loop only.
func (m *Mux) Shutdown(id uint64) {
	if k := m.stack(id); k != nil {
		k.shutdown(conn.Local)
		return
	}
	m.set.Shutdown(id, conn.Local)
}

// Dismiss ends a connection as Shutdown does, and faster where there are no
// layers: the client is not waited for. Loop only.
func (m *Mux) Dismiss(id uint64) {
	if m.stack(id) != nil {
		m.Shutdown(id)
		return
	}
	m.set.Dismiss(id, conn.Local)
}

// Peer returns the client's address: what the PROXY header said where there is
// one. Loop only.
func (m *Mux) Peer(id uint64) netip.AddrPort {
	if k := m.stack(id); k != nil && k.has(named) {
		return k.peer
	}
	return m.set.Peer(id)
}

// Number returns the connection's number in the process; see conn.Set. Loop only.
func (m *Mux) Number(id uint64) uint64 { return m.set.Number(id) }

// Pending returns how many bytes wait to be sent, those of the layers included.
// Loop only.
func (m *Mux) Pending(id uint64) int {
	n := m.set.Pending(id)
	if m.cur != nil && m.cur.id == id {
		n += len(m.pend)
	}
	return n
}

// Kept returns what the hub was offered and has not used up, or if it has used up
// all, what has come of the next message, as it came. It is valid until the next
// turn. Loop only.
func (m *Mux) Kept(id uint64) []byte {
	k := m.stack(id)
	if k == nil {
		return m.set.Kept(id)
	}
	if k.ws != nil && len(k.ws.native) > 0 {
		return k.ws.native
	}
	kept := k.in
	switch {
	case k.tls == nil:
		kept = m.set.Kept(id)
		if k.has(pledged) && len(kept) > 0 {
			kept = kept[1:]
		}
	case k.tls.shake == nil && !k.has(again): // else k.in has what the hub wants again
		if half, _ := tlsBuffers.waiting(k.tls.conn); len(half) > len(kept) {
			kept = half
		}
	}
	if k.ws != nil { // the larger part of a message in several frames
		if begun := k.ws.decoder.Begun(); len(begun) > len(kept) {
			return begun
		}
	}
	return kept
}

// Describe names what a connection speaks: tcp, tls, websocket or tls+websocket.
// Loop only.
func (m *Mux) Describe(id uint64) string {
	if k := m.stack(id); k != nil {
		return k.kind().String()
	}
	return kindTCP.String()
}

// Move takes a connection with all its layers and bytes to another hub's loop,
// where adopted runs with its new id before any byte is offered. If that cannot
// be, adopted runs here, with 0, and the connection is closed. Not from within
// its Data. Loop only.
func (m *Mux) Move(id uint64, hub int, adopted func(id uint64)) {
	to := m.others[hub]
	w, k, peer := m.word(id), m.stack(id), m.Peer(id).Addr()
	// From here on what is counted for the connection is this function's to take
	// back: if the Set tells Closed for the old id all the same, it finds nothing.
	m.setWord(id, 0)
	if k != nil {
		m.dropStack(k)
		k.flags &^= inEarly
		if k.tls != nil {
			k.tls.warm = false
		}
	}
	m.set.Move(id, to.set, func(arrived uint64) {
		if arrived == 0 {
			if k != nil {
				k.end()
				k.uncount(m)
			}
			m.leave(w, peer)
			adopted(0)
			return
		}
		to.setWord(arrived, w&^stackBits)
		if k != nil {
			k.id = arrived
			to.addStack(k)
			if k.tls != nil {
				if k.tls.half != 0 {
					k.tls.half = max(1, to.loop.Monotonic())
				}
				to.isWarm(k)
			}
		}
		adopted(arrived)
	})
}
