// Package client talks to a gameserverd over its MessagePack-RPC protocol (docs/protocol.md, native framing): it calls
// methods, sends notifications, answers the server's own calls, logs in, and reconnects.
//
// It is no connection pool and no cache: one Client is one session, on one connection at a time. It never repeats a
// call that may already have run.
//
// Its one invariant: every call ends exactly once, by its response, its context, or the end of its connection or
// client, and nothing of it stays behind.
//
// Every exported function and method may be used from any goroutine, unless its comment says otherwise. A Client has
// four goroutines: one reads, one writes what all callers have queued in as few writes as possible, one watches the
// connection and replaces it, and one runs notification handlers and state callbacks in order. A call by the server
// has a goroutine of its own.
package client
