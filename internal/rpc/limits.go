package rpc

import (
	"time"
)

// Limits are the bounds that a server holds its clients to, and what it does at
// each is named on the protocol page. A duration of 0 is no limit.
type Limits struct {
	MaxConnections  int // sessions of the process; 0: no limit. Over it: too_many_connections
	MaxFrame        int // bytes of one message, 1 to wire.MaxFrame. Over it: frame_too_large
	MaxElements     int // values in one message. Over it: protocol_error
	MaxMailbox      int // messages that wait in one session. At it: reading stops
	MaxMailboxBytes int // their bytes. At it: reading stops
	MaxConcurrent   int // calls of concurrent methods under way in one session. Over it: resource_exhausted

	// The same for sessions without a login; 0 or more than the above: the same.
	MaxFrameBeforeLogin    int
	MaxElementsBeforeLogin int

	// Requests and notifications of one session: so many a second in the long run,
	// and Burst (at least 1) of them at once. Over it: resource_exhausted, and for
	// who goes on all the same rate_limited. Rate 0: no limit.
	Rate, Burst int

	LoginTimeout time.Duration // from connect or logout to login. Over it: login_timeout
	IdleTimeout  time.Duration // with nothing received. Over it: idle_timeout
	FrameTimeout time.Duration // from a message's first bytes to its last. Over it: idle_timeout
}

// complete gives what is left to a default its value.
func (l Limits) complete() Limits {
	if l.MaxFrameBeforeLogin <= 0 || l.MaxFrameBeforeLogin > l.MaxFrame {
		l.MaxFrameBeforeLogin = l.MaxFrame
	}
	if l.MaxElementsBeforeLogin <= 0 || l.MaxElementsBeforeLogin > l.MaxElements {
		l.MaxElementsBeforeLogin = l.MaxElements
	}
	l.Burst = max(l.Burst, 1)
	return l
}

// SetLimits changes the limits while sessions are open: each hub takes them in
// one of its next turns. Nobody is closed for being over a limit that was lowered,
// but for the timeouts; a message that was received stays received. Any goroutine.
func (p *Peers) SetLimits(l Limits) {
	p.mu.Lock()
	defer p.mu.Unlock() // until all are posted: two calls come to each hub in one order
	p.limits = l
	for _, h := range p.hubs {
		h.loop.AddCallback(func() { h.setLimits(l.complete()) })
	}
}

// setLimits is SetLimits on the hub's loop. Each limit is read when it is needed,
// so there is little to do for the sessions.
func (h *Hub) setLimits(l Limits) {
	h.limits = l
	h.rate.set(l.Rate, l.Burst)
}

// maxFrame is how many bytes a message of the session may have.
func (h *Hub) maxFrame(s *session) int {
	if s.uid == 0 {
		return h.limits.MaxFrameBeforeLogin
	}
	return h.limits.MaxFrame
}

// maxElements is how many values a message of the session may have.
func (h *Hub) maxElements(s *session) int {
	if s.uid == 0 {
		return h.limits.MaxElementsBeforeLogin
	}
	return h.limits.MaxElements
}
