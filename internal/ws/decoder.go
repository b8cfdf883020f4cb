package ws

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Kind is what a frame, or the last frame of a message, means. Its number is
// the opcode.
type Kind uint8

const (
	None    Kind = 0  // nothing to act on: a message that goes on, or bytes behind a Close
	Message Kind = 2  // a whole binary message
	Close   Kind = 8  // the client closes; nothing that it sends after it counts
	Ping    Kind = 9  // to be answered with a Pong of the same payload
	Pong    Kind = 10 // the answer to a Ping, or none's
)

// Codes of a Close, of those that RFC 6455 lists in 7.4.1.
const (
	CodeNormal      = 1000
	CodeGoingAway   = 1001
	CodeProtocol    = 1002
	CodeUnsupported = 1003
	CodeNone        = 1005 // never sent: a Close without a code
	CodeText        = 1007 // text that is not UTF-8
	CodePolicy      = 1008
	CodeTooLarge    = 1009
)

// RoomLen is the number of bytes in front of a message's payload that are the
// caller's to write: Event.Framed.
const RoomLen = 4

// maxControl is the longest payload of a ping, pong or close.
const maxControl = 125

// Event is what one frame brought.
type Event struct {
	Kind Kind
	Code uint16 // of a Close: CodeNone when it has none

	// Payload is that of the message or control frame, of a Close the reason. It
	// lies in the bytes given to Next, and is the caller's; that of a message
	// which came in several frames is memory of its own.
	Payload []byte
	// Framed is Payload with RoomLen bytes before it, of a Message only. What is in
	// them means nothing any more; a length in front of the message fits there
	// without a copy.
	Framed []byte
}

// ProtocolError says why a client's bytes are refused, with the code for the
// Close frame that tells it.
type ProtocolError struct {
	Code uint16
	Msg  string
}

func (e *ProtocolError) Error() string { return e.Msg }

// Decoder reads the frames of one connection. The zero value is ready. A
// Decoder belongs to whoever reads the connection: one goroutine.
type Decoder struct {
	parts []byte // nil, or RoomLen bytes and the message so far
	need  int32
	over  bool // a Close or an error was returned
}

// Next takes the frame at the front of b off it: used bytes of b belong to it,
// and its payload has been unmasked in place, so b must not be shown again from
// its beginning. Used 0 means that the frame has not come whole; b is unchanged.
//
// A message longer than max bytes is an error as soon as that is announced; it
// is never waited for. Every error is a *ProtocolError and the last word: what
// follows it, and what follows a Close, is used up as None.
func (d *Decoder) Next(b []byte, max int) (ev Event, used int, err error) {
	if d.over || len(b) == 0 {
		return Event{}, len(b), nil
	}
	if ev, used, err = d.frame(b, max); err != nil || ev.Kind == Close {
		d.over, d.parts = true, nil
	}
	return ev, used, err
}

// Need returns how long the message that has begun is as far as announced, at
// least 1; 0: none has begun. It holds after a call of Next, with the bytes
// given to it: so after one that used none it counts half a frame in. A ping,
// pong or close that has begun does not count.
func (d *Decoder) Need() int { return int(d.need) }

// Begun returns what has come of a message in several frames, of those frames that
// are whole; it is valid until the next call of Next.
func (d *Decoder) Begun() []byte {
	if d.parts == nil {
		return nil
	}
	return d.parts[RoomLen:]
}

func (d *Decoder) frame(b []byte, max int) (ev Event, used int, err error) {
	head, size, err := d.header(b)
	if err != nil {
		return Event{}, 0, err
	}
	if !head.OpCode.IsControl() {
		if total := d.begun(head.Length); total > int64(max) {
			return Event{}, 0, fail(CodeTooLarge, "a message of %d bytes; the limit is %d", total, max)
		}
	}
	if size == 0 || int64(len(b)-size) < head.Length {
		return Event{}, 0, nil
	}
	used = size + int(head.Length)
	payload := b[size:used:used]
	ws.Cipher(payload, head.Mask, 0)
	if head.OpCode.IsControl() {
		ev, err = controlEvent(Kind(head.OpCode), payload)
		return ev, used, err
	}
	return d.data(head.Fin, b[size-RoomLen:used:used]), used, nil
}

// data adds a frame to the message: its payload, and before it the bytes of the mask.
func (d *Decoder) data(fin bool, framed []byte) Event {
	switch {
	case d.parts == nil && fin:
	case d.parts == nil:
		d.parts = append([]byte(nil), framed...)
	default:
		d.parts = append(d.parts, framed[RoomLen:]...)
		framed = d.parts
	}
	if !fin {
		d.begun(0)
		return Event{}
	}
	d.parts, d.need = nil, 0
	return Event{Kind: Message, Payload: framed[RoomLen:], Framed: framed}
}

// begun notes that a message has begun whose frame under way has n bytes, and
// returns the length of the whole as far as it is known.
func (d *Decoder) begun(n int64) int64 {
	if d.parts != nil {
		have := int64(len(d.parts) - RoomLen)
		n = min(n, math.MaxInt64-have) + have
	}
	d.need = int32(min(max(n, 1), math.MaxInt32))
	return n
}

// header reads what stands before a payload:
//
//	| FIN RSV RSV RSV opcode(4) | MASK length(7) | length, 0, 2 or 8 bytes | mask, 4 bytes |
//
// Size 0 means that it has not come whole; the length may be there before the
// mask is. What is wrong is found with the first byte that shows it, so that
// it does not depend on how the bytes were cut.
func (d *Decoder) header(b []byte) (h ws.Header, size int, err error) {
	state := ws.StateServerSide
	if d.parts != nil {
		state = state.Set(ws.StateFragmented)
	}
	h.Fin, h.Rsv, h.OpCode, h.Masked = b[0]&0x80 != 0, b[0]>>4&7, ws.OpCode(b[0]&0x0f), true
	if err := ws.CheckHeader(h, state); err != nil {
		return h, 0, broken(err.Error())
	}
	if h.OpCode == ws.OpText {
		return h, 0, fail(CodeUnsupported, "a text message; only binary messages are spoken here")
	}
	if len(b) < 2 {
		return h, 0, nil
	}
	h.Masked, h.Length = b[1]&0x80 != 0, int64(b[1]&0x7f)
	if err := ws.CheckHeader(h, state); err != nil {
		return h, 0, broken(err.Error())
	}
	size = 2 + RoomLen
	switch {
	case h.Length == 126 && len(b) < 4, h.Length == 127 && len(b) < 10:
		h.Length = 0
		return h, 0, nil
	case h.Length == 126:
		h.Length, size = int64(binary.BigEndian.Uint16(b[2:])), size+2
	case h.Length == 127:
		n := binary.BigEndian.Uint64(b[2:])
		if n > math.MaxInt64 {
			return h, 0, broken("a length of more than 63 bits")
		}
		h.Length, size = int64(n), size+8
	}
	if len(b) < size {
		return h, 0, nil
	}
	copy(h.Mask[:], b[size-RoomLen:])
	return h, size, nil
}

func controlEvent(kind Kind, payload []byte) (Event, error) {
	if kind != Close {
		return Event{Kind: kind, Payload: payload}, nil
	}
	if len(payload) == 0 {
		return Event{Kind: Close, Code: CodeNone}, nil
	}
	if len(payload) == 1 {
		return Event{}, fail(CodeProtocol, "a close frame with half a code")
	}
	code, reason := binary.BigEndian.Uint16(payload), payload[2:]
	if !mayBeSent(code) {
		return Event{}, fail(CodeProtocol, "a close frame with code %d, which must not be sent", code)
	}
	if !utf8.Valid(reason) {
		return Event{}, fail(CodeText, "a close frame whose reason is not UTF-8")
	}
	return Event{Kind: Close, Code: code, Payload: reason}, nil
}

// mayBeSent accepts the codes of RFC 6455 7.4 that are not reserved, those that
// IANA has given since (1012 to 1014), and those of libraries and applications.
func mayBeSent(code uint16) bool {
	switch {
	case code == 1004, code == 1005, code == 1006:
		return false
	case code >= 1000 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}

func broken(how string) *ProtocolError {
	return fail(CodeProtocol, "a WebSocket frame that breaks RFC 6455: %s", how)
}

func fail(code uint16, format string, args ...any) *ProtocolError {
	return &ProtocolError{Code: code, Msg: fmt.Sprintf(format, args...)}
}
