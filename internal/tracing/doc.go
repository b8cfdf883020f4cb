// Package tracing makes OpenTelemetry spans of calls and of runs of tasks, and
// sends them in OTLP over HTTP. It decides which calls are traced: those whose
// client says so, some of the others, and never more than a number a second.
//
// It is not the log, and not the watch over one player (rpc.Peers.Trace): it
// knows no messages, only how long things took.
//
// Its one invariant: no call waits for it. Spans wait for the network in a queue
// that is bounded, and are dropped and counted when it is full.
package tracing
