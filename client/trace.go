package client

import (
	"context"
)

// traceKey is where a context has its traceparent.
type traceKey struct{}

// WithTraceparent returns a context whose calls are sent as parts of a trace: with the
// W3C header "00-<trace>-<span>-<flags>" in their meta. A server that traces
// continues it, and its log has the trace id. What is no such header the server
// ignores. Notifications do not carry it. Any goroutine.
func WithTraceparent(ctx context.Context, traceparent string) context.Context {
	return context.WithValue(ctx, traceKey{}, traceparent)
}

// Traceparent is what WithTraceparent has put into the context or, in the context of
// a call by the server, what came with that call; "": nothing. Any goroutine.
func Traceparent(ctx context.Context) string {
	s, _ := ctx.Value(traceKey{}).(string)
	return s
}
