// How sessions end that the server does not close: closing.go has the others. And how
// each end is counted, whoever brings it about.

package rpc

import (
	"errors"

	"go.uber.org/zap"

	"gameserverd/wire"
)

// EOF notes that the client has finished sending: what it has asked for is still
// answered, then the connection closes. Loop only.
func (h *Hub) EOF(conn uint64) {
	s := h.session(conn)
	if s == nil {
		return
	}
	s.flags |= flagEOF
	h.forgetAsked(s, Errorf(Canceled, "the client has finished sending"))
	h.closeIfDone(s)
}

// closeIfDone closes a session that has nothing more to say or hear.
func (h *Hub) closeIfDone(s *session) {
	if !s.has(flagEOF | flagRelease) {
		return
	}
	h.drainInbox()
	if !s.has(flagClosing|flagMoving|flagKept) && s.quiet() {
		h.countEnd(s, "")
		s.flags |= flagClosing
		h.forgetAsked(s, Errorf(Canceled, "the client is being closed"))
		h.link.Shutdown(s.conn)
	}
}

// Closed ends the session of a connection that has closed, for the reason err.
// Loop only.
func (h *Hub) Closed(conn uint64, err error) {
	s := h.session(conn)
	if s == nil {
		return
	}
	if entry := h.peers.log.Check(zap.DebugLevel, "connection closed"); entry != nil {
		entry.Write(zap.Uint64("conn", h.link.Number(conn)), zap.Uint64("uid", s.uid), zap.Error(err))
	}
	switch closeReason(err) {
	case wire.SlowConsumer:
		h.countEnd(s, wire.SlowConsumer)
		if !s.has(flagClosing) { // else the log has why it was closed
			h.logClosed(s, wire.SlowConsumer, "it does not take what is sent to it")
		}
	case "input_full":
		h.countEnd(s, wire.FrameTooLarge)
	case "peer_closed", "reset", "timeout", "broken":
		h.countEnd(s, "")
	}
	gone := Errorf(Canceled, "the client has gone")
	h.unbind(s, gone)
	if x := s.ext; x != nil {
		for _, c := range x.calls {
			c.end(gone)
			h.orphans[c] = struct{}{}
		}
		h.dropMailbox(x)
		if x.alone != nil {
			x.alone() // finds no session, and fails the login
		}
	}
	h.release(s)
	h.peers.changed()
}

// countEnd counts the end of a session: by the code of its sys.closing, or with ""
// as ended by its client. The first reason counts, once: a session that was said
// goodbye to and is kicked then has ended because the server stops.
func (h *Hub) countEnd(s *session, code string) {
	if s.has(flagCounted) {
		return
	}
	s.flags |= flagCounted
	switch {
	case s.has(flagYields): // nobody came, so nobody has gone
	case code == "":
		h.records.gone++
	default:
		h.peers.Counters.count(code)
	}
}

// ClaimEnd is asked by the layers below before they count why a connection ends: it
// reports whether nobody has counted that yet. From then on it is theirs. Loop only.
func (h *Hub) ClaimEnd(conn uint64) bool {
	s := h.session(conn)
	if s == nil {
		return true
	}
	first := !s.has(flagCounted)
	s.flags |= flagCounted
	return first
}

// closeReason names why the connection layer has closed a connection: the names of
// conn.Reason; "" for none.
func closeReason(err error) string {
	var reasoned interface{ CloseReason() string }
	if !errors.As(err, &reasoned) {
		return ""
	}
	return reasoned.CloseReason()
}

// release frees the session's record.
func (h *Hub) release(s *session) {
	h.noLongerRefused(s)
	h.uncountOpen(s)
	*s = session{}
	h.open.Add(-1)
}
