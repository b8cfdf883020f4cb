package tracing

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// span is a span as rpc knows it. Any goroutine.
type span struct {
	tracer   *Tracer
	ctx      context.Context // has own
	own      trace.Span
	children atomic.Int32
}

// maxChildren bounds the spans within one: a method may ask for things in a loop.
const maxChildren = 64

// TraceID is the trace's id, 32 hex digits.
func (s *span) TraceID() string { return s.own.SpanContext().TraceID().String() }

// Traceparent is the W3C header of whatever continues from here.
func (s *span) Traceparent() string {
	c := s.own.SpanContext()
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-" + c.TraceFlags().String()
}

// Child begins a span within this one.
func (s *span) Child(name string, kind rpc.SpanKind) rpc.Span {
	if s.children.Add(1) > maxChildren {
		return uncounted{s}
	}
	k := trace.SpanKindInternal
	if kind == rpc.SpanClient {
		k = trace.SpanKindClient
	}
	ctx, own := s.tracer.spans.Start(s.ctx, name, trace.WithSpanKind(k))
	return &span{tracer: s.tracer, ctx: ctx, own: own}
}

// Event marks this moment.
func (s *span) Event(name string) { s.own.AddEvent(name) }

// UID notes the player; 0 is nobody.
func (s *span) UID(uid uint64) {
	if uid != 0 {
		s.own.SetAttributes(attribute.String("enduser.id", strconv.FormatUint(uid, 10)))
	}
}

// End ends the span.
func (s *span) End(code wire.Code, err error) {
	if code != "" {
		s.own.SetAttributes(attribute.String("error.type", string(code)))
		if blames(code) {
			s.own.SetStatus(codes.Error, text(code, err))
		}
	}
	s.own.End()
}

// endTask ends the span of a run of a task; any error is the task's own fault.
func (s *span) endTask(err error) {
	if err != nil {
		code := wire.CodeOf(err)
		s.own.SetAttributes(attribute.String("error.type", string(code)))
		s.own.SetStatus(codes.Error, text(code, err))
	}
	s.own.End()
}

// blames reports whether an error is the server's and not the caller's: what makes a
// span one that failed, as OpenTelemetry wants it.
func blames(code wire.Code) bool {
	switch code {
	case wire.Internal, wire.Unavailable, wire.DeadlineExceeded, wire.Unimplemented:
		return true
	}
	return false
}

// text is what is told of an error, cut.
func text(code wire.Code, err error) string {
	var e *wire.Error
	switch {
	case err == nil:
		return string(code)
	case errors.As(err, &e) && e != nil:
		return cut(e.Message)
	}
	return cut(err.Error())
}

// cut bounds a text; not in the middle of a rune.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for end > 0 && s[end]&0xc0 == 0x80 {
		end--
	}
	return s[:end]
}

// uncounted stands for a child beyond maxChildren: it is its parent in what goes on
// from it, and records nothing.
type uncounted struct{ of *span }

func (u uncounted) TraceID() string                     { return u.of.TraceID() }
func (u uncounted) Traceparent() string                 { return u.of.Traceparent() }
func (u uncounted) Child(string, rpc.SpanKind) rpc.Span { return u }
func (u uncounted) Event(string)                        {}
func (u uncounted) UID(uint64)                          {}
func (u uncounted) End(wire.Code, error)                {}
