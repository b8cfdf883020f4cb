package rpc

import (
	"fmt"
	"slices"

	"gameserverd/wire"
)

// detect learns the framing from the first byte that a client sends. It reports
// false when the connection is refused or speaks nothing that is known.
func (h *Hub) detect(s *session, b []byte) bool {
	if len(b) == 0 {
		return false
	}
	switch b[0] {
	case 0x00:
		s.framing = framingFrames
	case 0x93, 0x94, 0x95:
		s.framing = framingStream
	}
	if s.framing == framingUnknown || !slices.Contains(h.peers.protocols, s.framing.String()) {
		s.framing = framingUnknown
		h.closeSession(s, wire.Closing{Code: wire.ProtocolError, Message: fmt.Sprintf("a first byte of 0x%02x begins no protocol that is served here", b[0])})
		return false
	}
	h.settleTransport(s)
	if s.has(flagRefused) {
		h.closeSession(s, h.whyRefused(s))
		return false
	}
	return true
}

// settleTransport counts the session as what carries it, which its first message
// has shown along with its framing.
func (h *Hub) settleTransport(s *session) {
	known := s.framing
	s.framing = framingUnknown
	h.uncountOpen(s)
	s.framing, s.transport = known, transportIndex(h.link.Describe(s.conn))
	h.countOpen(s)
}

// tooLarge is the error of a message over limits.max_frame_bytes.
type tooLarge struct {
	size, limit int
	atLeast     bool // size is what the message needs by what has come of it
}

func (e tooLarge) Error() string {
	least := ""
	if e.atLeast {
		least = "at least "
	}
	return fmt.Sprintf("a message of %s%d bytes; the limit is %d", least, e.size, e.limit)
}

// split finds the first message in b: the message, and how many bytes it takes
// with its framing. Size 0 means that its end has not come yet.
func (h *Hub) split(s *session, b []byte) (message []byte, size int, err error) {
	if s.framing == framingFrames {
		return splitFrame(b, h.maxFrame(s))
	}
	n, need, err := h.walk(s, b)
	limit := h.maxFrame(s)
	switch {
	case err != nil:
		return nil, 0, err
	case n > limit:
		return nil, 0, tooLarge{size: n, limit: limit}
	case need > limit:
		return nil, 0, tooLarge{size: need, limit: limit, atLeast: true}
	}
	return b[:n], n, nil
}

// splitFrame takes one frame off b:
//
//	| length, 4 bytes big-endian | message, length bytes |
func splitFrame(b []byte, limit int) (message []byte, size int, err error) {
	if len(b) < wire.HeaderLen {
		return nil, 0, nil
	}
	n := wire.FrameLen(b)
	switch {
	case n == 0:
		return nil, 0, &wire.SyntaxError{Msg: "a frame of length 0"}
	case n > limit:
		return nil, 0, tooLarge{size: n, limit: limit}
	case len(b) < wire.HeaderLen+n:
		return nil, 0, nil
	}
	return b[wire.HeaderLen : wire.HeaderLen+n], wire.HeaderLen + n, nil
}

// walk finds the end of the message at the start of b, which is not framed: its
// length, or 0 and how long it will be at least. The state of a walk that ends in
// the middle is kept, so that a message which comes byte by byte is still walked
// once.
func (h *Hub) walk(s *session, b []byte) (n, need int, err error) {
	if len(b) == 0 {
		return 0, 0, nil
	}
	w := &h.walker
	resumed := s.ext != nil && s.ext.walker != nil
	if resumed {
		w = s.ext.walker
	} else {
		w.Reset(h.maxElements(s))
	}
	if n, err = w.Walk(b); n == 0 && err == nil {
		need = w.Need()
	}
	switch {
	case n == 0 && err == nil && !resumed:
		kept := *w
		h.sessions.extend(s).walker = &kept
	case (n > 0 || err != nil) && resumed:
		s.ext.walker = nil
		h.sessions.shrink(s)
	}
	return n, need, err
}
