package rpc

import (
	"fmt"
	"time"

	"gameserverd/wire"
)

// MaxRefusing bounds, for the process, the refused connections that wait to be
// told or were told within the last second or two. One more is closed without a
// word: to tell somebody costs as much again as all else about a refusal.
const MaxRefusing = 1000

// refusedTime is how long one of them may wait for the client's first byte.
const refusedTime = time.Second

// Refuse ends a connection that may not stay. The client is told why as soon as
// its framing is known; one that says nothing for a second, and any beyond
// MaxRefusing, is closed without a word. A reconnect
// without RetryAfter gets a few seconds, with jitter. Loop only.
func (h *Hub) Refuse(conn uint64, why wire.Closing) {
	s := h.session(conn)
	if s == nil || s.has(flagClosing|flagRefused) {
		return
	}
	if why.Reconnect && why.RetryAfter == 0 {
		why.RetryAfter = h.peers.jitter(refusedRetry)
	}
	if s.framing != framingUnknown {
		h.closeSession(s, why)
		return
	}
	h.refuseLater(s, &why)
}

// Refusing is how many refused connections wait to be told or were told a moment
// ago. Any goroutine.
func (p *Peers) Refusing() int { return int(p.refusing.Load()) }

// refuseLater marks a session that has sent nothing as refused; a nil why is that
// there are too many connections.
func (h *Hub) refuseLater(s *session, why *wire.Closing) {
	if h.peers.refusing.Load() >= MaxRefusing {
		code := wire.TooManyConnections
		if why != nil {
			code = why.Code
		}
		h.closeUntold(s, code)
		return
	}
	h.peers.refusing.Add(1)
	s.flags |= flagRefused
	s.opened = h.tick
	if why != nil {
		h.sessions.extend(s).refused = why
	}
}

// whyRefused is what a refused client is told.
func (h *Hub) whyRefused(s *session) wire.Closing {
	if s.ext != nil && s.ext.refused != nil {
		return *s.ext.refused
	}
	return wire.Closing{
		Code: wire.TooManyConnections, Message: fmt.Sprintf("the server has its %d connections", h.limits.MaxConnections),
		Reconnect: true, RetryAfter: h.peers.jitter(refusedRetry),
	}
}

// closeUntold closes a session that has sent nothing, so that its client cannot
// be told why.
func (h *Hub) closeUntold(s *session, code string) {
	h.countEnd(s, code)
	s.flags |= flagClosing
	h.noLongerRefused(s)
	h.link.Close(s.conn)
}

// toldLately counts the refused connections that wait no more, until they are
// forgotten. Loop only.
type toldLately struct {
	n     int64
	since uint32 // tick
}

// forgetTold makes room for others to be told, each second. Those that are dropped
// count as told.
func (h *Hub) forgetTold() {
	if h.age(h.told.since) >= time.Second {
		h.peers.refusing.Add(-h.told.n)
		h.told = toldLately{since: h.tick}
	}
}

// noLongerRefused takes the session off those that wait to be told why they are
// refused.
func (h *Hub) noLongerRefused(s *session) {
	if !s.has(flagRefused) {
		return
	}
	h.told.n++
	s.flags &^= flagRefused
	if s.ext != nil {
		s.ext.refused = nil
		h.sessions.shrink(s)
	}
}
