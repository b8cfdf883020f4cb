package rpc

import (
	"encoding/hex"
	"time"

	"gameserverd/internal/future"
	"gameserverd/wire"
)

// Tracer makes spans of calls: internal/tracing, or nil when nobody traces.
type Tracer interface {
	// Begin is asked about each call of a method that there is, when its turn has
	// come. It returns nil for a call that is not traced. Any goroutine.
	Begin(b Beginning) Span
}

// Beginning is what a Tracer is told of a call.
type Beginning struct {
	Method  string
	UID     uint64      // 0: not logged in
	Parent  Traceparent // what came with the request; the zero value: none
	Arrived time.Time   // when its message came; it has waited since
}

// Span is a stretch of time of one trace. Any goroutine.
type Span interface {
	TraceID() string     // 32 hex digits
	Traceparent() string // for whatever continues the trace from here
	// Child begins a span within this one. It is never nil, but records nothing when
	// this one has had too many.
	Child(name string, kind SpanKind) Span
	Event(name string) // marks this moment
	UID(uid uint64)    // who it was, when that was not known at the beginning
	// End ends the span; only the first call counts. code is that of the error, as
	// on the wire, "" for none.
	End(code wire.Code, err error)
}

// SpanKind says on which side of a call a span is.
type SpanKind uint8

// The kinds of spans within a call.
const (
	SpanInside SpanKind = iota // waits for something of the daemon's own
	SpanClient                 // asks somebody else
)

// Traceparent is a W3C trace context; the zero value is none.
type Traceparent struct {
	Trace   [16]byte
	Parent  [8]byte
	Sampled bool // whoever began the trace records it
}

// None reports whether there is no trace context.
func (t Traceparent) None() bool { return t.Trace == [16]byte{} }

// ParseTraceparent reads a W3C traceparent header,
//
//	00-<32 hex digits: trace>-<16 hex digits: parent span>-<2 hex digits: flags>
//
// and returns the zero value for what is none. A version after 00 may have more
// behind it. Any goroutine.
func ParseTraceparent(b []byte) (t Traceparent) {
	const length = 55
	if len(b) < length || b[2] != '-' || b[35] != '-' || b[52] != '-' {
		return Traceparent{}
	}
	var version, flags [1]byte
	if !unhex(version[:], b[:2]) || !unhex(t.Trace[:], b[3:35]) || !unhex(t.Parent[:], b[36:52]) || !unhex(flags[:], b[53:length]) {
		return Traceparent{}
	}
	longer := len(b) > length
	if version[0] == 0xff || version[0] == 0 && longer || longer && b[length] != '-' || t.None() || t.Parent == [8]byte{} {
		return Traceparent{}
	}
	t.Sampled = flags[0]&1 != 0
	return t
}

// unhex decodes hex digits in small letters, the only ones that the header may have.
func unhex(to, from []byte) bool {
	for _, c := range from {
		if c >= 'A' && c <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(to, from)
	return err == nil
}

// beginSpan asks the tracer about a call whose turn has come.
func (h *Hub) beginSpan(s *session, method *Method, in *incoming) Span {
	b := Beginning{Method: method.Name, UID: s.uid, Arrived: h.timeOf(in.arrived)}
	if in.meta.Traceparent != nil {
		b.Parent = ParseTraceparent(in.meta.Traceparent)
	}
	return h.peers.tracer.Begin(b)
}

// endSpan ends the call's span; err is what the client is told, or would have been.
func (c *Call) endSpan(err error) {
	code := wire.CodeOf(err)
	if c.answered { // the time was over, and the client was told so
		code = DeadlineExceeded
	}
	if c.uid != 0 {
		c.span.UID(c.uid)
	}
	c.span.End(code, err)
}

// Traceparent is the call's own trace context, for whatever it asks elsewhere; "" when
// the call is not traced. Any goroutine.
func (c *Call) Traceparent() string {
	c.check()
	if c.span == nil {
		return ""
	}
	return c.span.Traceparent()
}

// Waits shows in the call's trace how long f takes, under the name what; it returns
// f. A call that is not traced pays a comparison. Any goroutine.
func Waits[T any](c *Call, what string, f *future.Future[T]) *future.Future[T] {
	c.check()
	if c.span != nil && f != nil {
		endWith(c.span.Child(what, SpanInside), f)
	}
	return f
}

// endWith ends a span when f has its result.
func endWith[T any](span Span, f *future.Future[T]) {
	f.Then(atOnce{}, func(_ T, err error) { span.End(wire.CodeOf(err), err) })
}

// atOnce runs callbacks where the result is known: for those that only note it.
type atOnce struct{}

func (atOnce) AddCallback(fn func()) bool { fn(); return true }
