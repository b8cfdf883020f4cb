package rpc

import (
	"math"

	"gameserverd/internal/census"
	"gameserverd/wire"
)

// Pressure is how short of memory for its clients the process is. What is done
// about it here is the first part of the order that internal/conn has: refuse new
// sessions, close those without a login, then those with the most input waiting.
// During a drain nobody is shed: everybody is on the way out.
type Pressure int32

// The pressures, in order.
const (
	NoPressure     Pressure = iota
	RefuseNew               // new sessions are refused
	CloseStrangers          // and those without a login are closed
)

// Meter counts bytes of memory. Any goroutine.
type Meter interface {
	// Add counts n bytes more, or with a negative n less.
	Add(n int)
}

// SetPressure says how short of memory the process is from now on. Each change to
// CloseStrangers closes those who are there. Any goroutine.
func (p *Peers) SetPressure(now Pressure) {
	if was := Pressure(p.pressure.Swap(int32(now))); now < CloseStrangers || was >= CloseStrangers {
		return
	}
	for _, h := range p.hubs {
		h.loop.AddCallback(h.closeStrangers)
	}
}

// shortOfMemory is what a client is told that has to go for others' sake.
func (h *Hub) shortOfMemory() wire.Closing {
	return wire.Closing{Code: wire.TooManyConnections, Message: "the server is short of memory",
		Reconnect: true, RetryAfter: h.peers.jitter(refusedRetry)}
}

// spared reports whether a session is not shed: it is on its way out, or between
// two hubs.
func (h *Hub) spared(s *session) bool {
	return h.goodbye.begun || s.has(flagClosing|flagMoving|flagRefused)
}

// closeStrangers closes the sessions without a login, in steps, while the pressure
// lasts.
func (h *Hub) closeStrangers() {
	h.inSteps(func(s *session) {
		if s.uid == 0 && !h.spared(s) && Pressure(h.peers.pressure.Load()) >= CloseStrangers {
			h.peers.Counters.ShedStrangers.Add(1)
			h.closeSession(s, h.shortOfMemory())
		}
	}, nil)
}

// minShedInput is how much input a session must have waiting to be closed for it.
const minShedInput = 256

// ShedInput closes the sessions with the most input waiting, in the connection and
// in the mailbox, until about want bytes are given back; of is how many there are
// in all. Each hub closes its share, but nobody who has fewer than least, which
// may be all of a hub's. While a hub is at it, it does not begin anew. Any goroutine.
func (p *Peers) ShedInput(want, of, least int) {
	for _, h := range p.hubs {
		h.loop.AddCallback(func() { h.shedInput(want, of, max(least, minShedInput)) })
	}
}

func (h *Hub) shedInput(want, of, least int) {
	if h.shedding || want <= 0 {
		return
	}
	h.shedding = true
	var all census.Census
	mine := 0
	count := func(s *session) {
		n := h.inputOf(s)
		mine += n
		if n >= least && !h.spared(s) {
			all.Add(n)
		}
	}
	h.inSteps(count, func() {
		share := math.Ceil(float64(want) * min(1, float64(mine)/float64(max(of, 1))))
		class, left := all.Cut(int64(share))
		h.shedInputFrom(class, left, least)
	})
}

// shedInputFrom closes the sessions whose input is of a class above class, and of
// those of that class as many as have so many bytes.
func (h *Hub) shedInputFrom(class int, left int64, least int) {
	h.inSteps(func(s *session) {
		n := h.inputOf(s)
		c := census.Class(n)
		if n < least || h.spared(s) || c < class || c == class && left <= 0 {
			return
		}
		if c == class {
			left -= int64(n)
		}
		h.peers.Counters.ShedInput.Add(1)
		h.closeSession(s, h.shortOfMemory())
	}, func() { h.shedding = false })
}

// inputOf is how many bytes of a session were received and not handled.
func (h *Hub) inputOf(s *session) int {
	n := len(h.link.Kept(s.conn))
	if s.ext != nil {
		n += s.ext.box.size()
	}
	return n
}

// untoldInput is how many bytes in mailboxes a hub may have more or less than the
// meter knows, until it sweeps.
const untoldInput = 64 << 10

// countInput counts n more bytes in mailboxes.
func (h *Hub) countInput(n int) {
	h.boxed += n
	if more := h.boxed - h.boxedTold; more > untoldInput || more < -untoldInput {
		h.tellInput()
	}
}

func (h *Hub) tellInput() {
	if h.boxed != h.boxedTold && h.peers.input != nil {
		h.peers.input.Add(h.boxed - h.boxedTold)
	}
	h.boxedTold = h.boxed
}
