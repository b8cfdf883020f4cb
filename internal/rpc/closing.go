package rpc

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gameserverd/wire"
)

// What a client is told to wait before it tries again, before jitter.
const (
	defaultRetry  = time.Second
	refusedRetry  = 5 * time.Second
	shutdownRetry = time.Second
)

// closeSession ends a session for a reason of the server's own: the client is
// told with sys.closing, the bytes are flushed, and the connection closes with
// FIN. The player is offline at once.
func (h *Hub) closeSession(s *session, why wire.Closing) {
	if s.has(flagClosing) {
		return
	}
	h.countEnd(s, why.Code)
	h.logClosed(s, why.Code, why.Message)
	h.tellClosing(s, why)
	end := h.link.Shutdown
	if s.has(flagRefused) {
		end = h.link.Dismiss // there may be many of them
	}
	s.flags |= flagClosing
	h.noLongerRefused(s)
	gone := Errorf(Canceled, "the session was closed: %s", why.Code)
	h.unbind(s, gone)
	if s.ext != nil {
		for _, c := range s.ext.calls {
			c.end(gone)
		}
		h.dropMailbox(s.ext)
	}
	end(s.conn)
}

// linesPerSecond is how many closed sessions a hub logs one by one at Info. Who
// wants to can cause as many as there are connections.
const linesPerSecond = 10

// lines counts the lines of one second.
type lines struct {
	since  time.Time // when the second began
	n      int       // lines
	untold int       // closings that got none
}

// logClosed logs a session that the server closes.
func (h *Hub) logClosed(s *session, code, why string) {
	h.endLines()
	level := zapcore.InfoLevel
	if h.lines.n >= linesPerSecond {
		level = zapcore.DebugLevel
		h.lines.untold++
	}
	h.lines.n++
	if entry := h.peers.log.Check(level, "session closed"); entry != nil {
		entry.Write(zap.Uint64("conn", h.link.Number(s.conn)), zap.Uint64("uid", s.uid),
			zap.String("code", code), zap.String("why", why), zap.Stringer("peer", h.link.Peer(s.conn)))
	}
}

// endLines begins a new second when the last is over.
func (h *Hub) endLines() {
	now := h.loop.Now()
	if h.lines.n == 0 {
		h.lines.since = now
		return
	}
	if now.Sub(h.lines.since) < time.Second {
		return
	}
	if h.lines.untold > 0 {
		h.peers.log.Info("more sessions closed, each is logged at debug", zap.Int("sessions", h.lines.untold))
	}
	h.lines = lines{since: now}
}

func (h *Hub) tellClosing(s *session, why wire.Closing) {
	frame := wire.AppendClosing(wire.BeginFrame(nil), why)
	wire.EndFrame(frame, 0)
	h.send(s, frame)
}

// protocolError ends a session whose bytes are no messages.
func (h *Hub) protocolError(s *session, err error) {
	code := wire.ProtocolError
	var large tooLarge
	if errors.As(err, &large) {
		code = wire.FrameTooLarge
	}
	h.drainInbox()
	h.closeSession(s, wire.Closing{Code: code, Message: err.Error()})
}

// sweepSlots bounds how many sessions one sweep looks at, so that a million of
// them do not hold the loop; the next sweep goes on from there.
const sweepSlots = 64 << 10

// tickTime is the unit of a hub's clock for sessions. The clock goes on with each
// sweep, so that no session is late because the loop was.
const tickTime = 10 * time.Millisecond

// sweepInterval is the time from one sweep to the next: an eighth of the shortest
// timeout, in whole ticks.
func (l *Limits) sweepInterval() time.Duration {
	interval := time.Second
	for _, d := range []time.Duration{l.LoginTimeout, l.IdleTimeout, l.FrameTimeout} {
		if d > 0 {
			interval = min(interval, d/8)
		}
	}
	return max(interval.Truncate(tickTime), tickTime)
}

// sweep looks for sessions whose time is over, and comes again.
func (h *Hub) sweep() {
	h.tick += uint32(h.swept.interval / tickTime)
	h.drainInbox()
	h.endLines()
	h.forgetTold()
	h.tellInput()
	slots := uint32(len(h.sessions.pages) * sessionsPerPage)
	for n := uint32(0); n < min(slots, sweepSlots); n++ {
		if h.swept.slot >= slots {
			h.swept.slot = 0
		}
		if s := h.sessions.at(h.swept.slot); s.conn != 0 && !s.has(flagClosing|flagMoving) {
			h.checkTimes(s)
		}
		h.swept.slot++
	}
	h.swept.interval = h.limits.sweepInterval()
	h.loop.After(h.swept.interval, h.sweep)
}

// age is the time since a tick, to the length of a sweep.
func (h *Hub) age(since uint32) time.Duration { return time.Duration(h.tick-since) * tickTime }

// checkTimes closes the session if it has been silent, half heard or unknown for
// too long.
func (h *Hub) checkTimes(s *session) {
	limits := &h.limits
	over := func(since uint32, d time.Duration) bool {
		return d > 0 && since != 0 && h.age(since) > d
	}
	switch {
	case s.has(flagRefused):
		if over(s.opened, refusedTime) {
			h.closeUntold(s, h.whyRefused(s).Code)
		}
	case s.uid == 0 && over(s.opened, limits.LoginTimeout):
		h.closeSession(s, wire.Closing{Code: wire.LoginTimeout, Reconnect: true, RetryAfter: defaultRetry,
			Message: fmt.Sprintf("no login within %s", limits.LoginTimeout)})
	case over(s.frameAt, limits.FrameTimeout):
		h.closeSession(s, wire.Closing{Code: wire.IdleTimeout, Reconnect: true, RetryAfter: defaultRetry,
			Message: fmt.Sprintf("a message that began has not ended within %s", limits.FrameTimeout)})
	case !s.has(flagPaused) && over(s.lastIn, limits.IdleTimeout):
		h.closeSession(s, wire.Closing{Code: wire.IdleTimeout, Reconnect: true, RetryAfter: defaultRetry,
			Message: fmt.Sprintf("nothing received for %s", limits.IdleTimeout)})
	}
}
