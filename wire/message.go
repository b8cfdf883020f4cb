package wire

import (
	"encoding/binary"
	"math"
)

// Kind is the first element of a message.
type Kind uint8

// The kinds of message.
const (
	Request      Kind = 0 // [0, msgid, method, params] or [0, msgid, method, params, meta]
	Response     Kind = 1 // [1, msgid, error, result]
	Notification Kind = 2 // [2, method, params] or [2, method, params, meta]
)

// String is the protocol's word for k, "unknown" for none of the three.
func (k Kind) String() string {
	switch k {
	case Request:
		return "request"
	case Response:
		return "response"
	case Notification:
		return "notification"
	}
	return "unknown"
}

// Message is one parsed message. Its slices lie in the bytes that were parsed: they are valid as long as those are left alone.
type Message struct {
	Kind   Kind
	ID     uint32 // msgid; 0 in a notification
	Method []byte // not of a response; not necessarily UTF-8
	Params Raw    // an array; not of a response
	Meta   Raw    // a map whose keys are str; nil: there is none
	Err    Raw    // of a response; nil when it is MessagePack nil, so when the call succeeded
	Result Raw    // of a response; never nil there
}

// Parse makes m the message that is all of b, and validates every byte of it in one pass: the envelope by the forms
// above, the values inside as Check does. maxElements counts as Check counts, the elements of the message itself included.
// Array lengths, integers and method are taken in every form that MessagePack has for them. The error is a *SyntaxError;
// m is then of no use. It allocates nothing unless it fails.
func (m *Message) Parse(b []byte, maxElements int) error {
	*m = Message{}
	n, off := arrayHead(b)
	if off == 0 {
		return notThere(b, 0, "a message must be an array")
	}
	if n < 3 || n > 5 {
		return &SyntaxError{0, "a message must have 3 to 5 elements"}
	}
	if int(n) > maxElements {
		return &SyntaxError{0, "too many elements"}
	}
	kind, size := unsigned(b[off:])
	if size == 0 {
		return notThere(b, off, "the message type must be an integer")
	}
	m.Kind = Kind(min(kind, 255))
	switch {
	case m.Kind > Notification:
		return &SyntaxError{off, "the message type must be 0, 1 or 2"}
	case m.Kind == Request && n != 4 && n != 5:
		return &SyntaxError{0, "a request must have 4 or 5 elements"}
	case m.Kind == Response && n != 4:
		return &SyntaxError{0, "a response must have 4 elements"}
	case m.Kind == Notification && n != 3 && n != 4:
		return &SyntaxError{0, "a notification must have 3 or 4 elements"}
	}
	off += size
	if m.Kind != Notification {
		id, size := unsigned(b[off:])
		if size == 0 || id > 1<<32-1 {
			return notThere(b, off, "msgid must be an unsigned 32-bit integer")
		}
		m.ID = uint32(id)
		off += size
	}
	var w Walker
	w.left = uint64(maxElements) - n
	if m.Kind == Response {
		return m.parseResponse(b, off, &w)
	}
	return m.parseCall(b, off, m.Kind == Request && n == 5 || m.Kind == Notification && n == 4, &w)
}

// parseCall parses method, params and meta.
func (m *Message) parseCall(b []byte, off int, meta bool, w *Walker) error {
	start, end := text(b[off:])
	if end == 0 {
		return notThere(b, off, "method must be a string")
	}
	if end-start > MaxMethod {
		return &SyntaxError{off, "method is longer than 255 bytes"}
	}
	m.Method = b[off+start : off+end : off+end]
	off += end
	if off < len(b) && !isArray(b[off]) {
		return notThere(b, off, "params must be an array")
	}
	var err error
	if m.Params, off, err = w.next(b, off); err != nil {
		return err
	}
	if meta {
		start := off
		if off < len(b) && !isMap(b[off]) {
			return notThere(b, off, "meta must be a map")
		}
		if m.Meta, off, err = w.next(b, off); err != nil {
			return err
		}
		if bad := badKey(m.Meta); bad > 0 {
			return &SyntaxError{start + bad, "a key of meta must be a string"}
		}
	}
	return atEnd(b, off)
}

func (m *Message) parseResponse(b []byte, off int, w *Walker) (err error) {
	if m.Err, off, err = w.next(b, off); err != nil {
		return err
	}
	if m.Err[0] == 0xc0 {
		m.Err = nil
	}
	if m.Result, off, err = w.next(b, off); err != nil {
		return err
	}
	return atEnd(b, off)
}

// next validates the value at off, which is an element of the message, and returns it and where it ends. The elements
// that it may hold are what the values before it have left.
func (w *Walker) next(b []byte, off int) (Raw, int, error) {
	w.off, w.todo, w.depth, w.ended = off, 1, 1, false // stack[0] is 0: the message's own array ends with the value
	end, err := w.whole(b)
	if err != nil {
		return nil, 0, err
	}
	return Raw(b[off:end:end]), end, nil
}

func atEnd(b []byte, off int) error {
	if off != len(b) {
		return &SyntaxError{off, "bytes after the message"}
	}
	return nil
}

// badKey returns the offset of the first key of a validated map that is no str; 0: there is none.
func badKey(m Raw) int {
	n, off := mapHead(m)
	for ; n > 0; n-- {
		if !isStr(m[off]) {
			return off
		}
		off += Skip(m[off:])
		off += Skip(m[off:])
	}
	return 0
}

// notThere explains why what is expected at off is not there: b ends, or it is malformed, or it is something else.
func notThere(b []byte, off int, msg string) error {
	var w Walker
	w.start(off, 0, math.MaxInt)
	if _, err := w.whole(b); err != nil {
		return err
	}
	return &SyntaxError{off, msg}
}

// AppendRequest appends a request of 4 elements up to its params, which the caller appends: one array.
func AppendRequest(b []byte, id uint32, method string) []byte {
	return AppendString(AppendUint(append(b, 0x94, byte(Request)), uint64(id)), method)
}

// AppendRequestMeta appends a request of 5 elements up to its params; the caller appends params, an array, and meta, a map.
func AppendRequestMeta(b []byte, id uint32, method string) []byte {
	return AppendString(AppendUint(append(b, 0x95, byte(Request)), uint64(id)), method)
}

// AppendNotification appends a notification of 3 elements up to its params, which the caller appends: one array.
func AppendNotification(b []byte, method string) []byte {
	return AppendString(append(b, 0x93, byte(Notification)), method)
}

// AppendResult appends a response without error up to its result, which the caller appends: one value.
func AppendResult(b []byte, id uint32) []byte {
	return append(AppendUint(append(b, 0x94, byte(Response)), uint64(id)), 0xc0)
}

// AppendErrorResponse appends a whole response with the error e and a nil result.
func AppendErrorResponse(b []byte, id uint32, e *Error) []byte {
	return append(AppendError(AppendUint(append(b, 0x94, byte(Response)), uint64(id)), e), 0xc0)
}

// FrameLen is the length, in bytes, of the message behind header, of which the first 4 bytes count:
//
//	| len len len len | message ... |    big-endian, without the header itself
//
// It is not checked against any limit.
func FrameLen(header []byte) int { return int(binary.BigEndian.Uint32(header)) }

// BeginFrame appends room for a frame's header. The message is to be appended behind it, then EndFrame completes it.
func BeginFrame(b []byte) []byte { return append(b, 0, 0, 0, 0) }

// EndFrame completes the frame whose header BeginFrame put at b[start:] and whose message is all that follows. Whether
// the message is too long, at most MaxFrame, is for the caller to see.
func EndFrame(b []byte, start int) {
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-HeaderLen))
}
