package rpc

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/future"
)

// Call is one call of a method by a client: who calls, and until when.
//
// For a plain method it is valid until the method returns (the loop uses it
// again for its next call; builds with the invariants tag check this). For a
// method that returns a future, or is marked blocking, it is valid until the
// call has ended.
type Call struct {
	hub atomic.Pointer[Hub] // the session's hub; a login moves it

	// loop only
	conn     uint64
	uid      uint64
	kind     callKind
	done     bool  // the method has ended
	answered bool  // the response has been sent
	began    int64 // by the hubs' clock
	queued   int64 // nanoseconds from when the message came to began
	stopTime func()

	// immutable while the call runs
	method   *Method
	id       uint32
	notify   bool // a notification: nobody is waiting for a response
	now      time.Time
	deadline time.Time // zero: none
	peer     netip.AddrPort
	span     Span // nil: the call is not traced

	mu     sync.Mutex // any goroutine, below
	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  error // why ctx is over, when that was known before somebody asked for ctx
	trace  string
}

type callKind uint8

const (
	plainCall   callKind = iota // runs to its end on the loop
	orderedCall                 // ends later; the session's next call waits for it
	concurrentCall
)

// UID is the player who calls, 0 before login. Loop only.
func (c *Call) UID() uint64 { c.check(); return c.uid }

// LoggedIn reports whether the session is bound to a uid. Loop only.
func (c *Call) LoggedIn() bool { c.check(); return c.uid != 0 }

// Method is the wire name that was called. Any goroutine.
func (c *Call) Method() string { c.check(); return c.method.Name }

// RemoteAddr is the client's address. Loop only in a plain method, else any
// goroutine.
func (c *Call) RemoteAddr() netip.AddrPort {
	c.check()
	if c.kind == plainCall {
		h := c.hub.Load()
		return h.link.Peer(c.conn)
	}
	return c.peer
}

// Peer is RemoteAddr without the port; the zero Addr for a Unix socket. Loop only
// in a plain method, else any goroutine.
func (c *Call) Peer() netip.Addr { return c.RemoteAddr().Addr() }

// Now is the loop's clock when the call began. Loop only in a plain method, else
// any goroutine.
func (c *Call) Now() time.Time {
	c.check()
	if c.kind == plainCall {
		return c.hub.Load().loop.Now()
	}
	return c.now
}

// AddCallback runs fn on the loop that owns the call's session, in a later turn;
// so a Call is a future.Poster. It reports false when that loop has closed. Any
// goroutine.
func (c *Call) AddCallback(fn func()) bool { return c.hub.Load().loop.AddCallback(fn) }

// Notify sends a notification to the caller's own session. It arrives before the
// response of this call. Loop only.
func (c *Call) Notify(method string, params ...any) error {
	c.check()
	frame, err := encodeNotification(method, params)
	if err != nil {
		return err
	}
	h := c.hub.Load()
	h.drainInbox()
	if s := h.session(c.conn); s != nil {
		h.send(s, frame)
	}
	return nil
}

// Context ends when the call's deadline passes, when the client has gone, or
// when the method has ended. A client that only has finished sending (FIN) may
// still read, so it has not gone, and one whose process ends looks the same until
// something is written to it: work that may take long wants a deadline of its
// own. Any goroutine.
func (c *Call) Context() context.Context {
	c.check()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx != nil {
		return c.ctx
	}
	parent := context.Background()
	if !c.deadline.IsZero() {
		parent = deadlineContext{parent, c.deadline}
	}
	c.ctx, c.cancel = context.WithCancelCause(parent)
	if c.ended != nil {
		c.cancel(c.ended)
	}
	return c.ctx
}

// deadlineContext tells of a deadline that the session's loop keeps.
type deadlineContext struct {
	context.Context
	deadline time.Time
}

func (d deadlineContext) Deadline() (time.Time, bool) { return d.deadline, true }

// end cancels the call's context with its cause. Any goroutine.
func (c *Call) end(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return
	}
	c.ended = cause
	if c.cancel != nil {
		c.cancel(cause)
	}
}

// begin notes what the call has brought with it, and when it begins.
func (c *Call) begin(h *Hub, in *incoming) {
	c.began = h.loop.Recent() + h.offset
	c.queued = c.began - in.arrived
	c.deadline = in.deadline
	if in.span != nil {
		c.span, c.trace = in.span, in.span.TraceID()
	} else if in.meta.Traceparent != nil {
		c.trace = traceID(in.meta.Traceparent)
	}
}

// Trace is the id that joins this call's log lines, and that the client gets
// with an internal error: that of its span, which is the one of the request's
// traceparent if it has one, or a random one. Any goroutine.
func (c *Call) Trace() string {
	c.check()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trace == "" {
		var id [16]byte
		for i := 0; i < len(id); i += 8 {
			v := rand.Uint64()
			for j := range 8 {
				id[i+j] = byte(v >> (8 * j))
			}
		}
		c.trace = hex.EncodeToString(id[:])
	}
	return c.trace
}

// traceID is the trace id in a traceparent header; "" when it is none.
func traceID(traceparent []byte) string {
	if ParseTraceparent(traceparent).None() {
		return ""
	}
	return string(traceparent[3:35])
}

// Log is the daemon's log with this call's method, uid and trace. Any goroutine.
func (c *Call) Log() *zap.Logger {
	return c.hub.Load().peers.log.With(zap.String("method", c.Method()), zap.Uint64("uid", c.uid), zap.String("trace", c.Trace()))
}

// Login binds the session to uid: the connection moves to the loop of uid's hub,
// an older session of uid is closed as replaced, and the future resolves on the
// new loop. It fails with failed_precondition on a session that is bound to
// another uid, or that yields (Hub.Yield) to an older one of uid. Only a method that returns a future can call it, and only one
// that is not concurrent: the call itself moves along. Loop only.
func (c *Call) Login(uid uint64) *future.Future[struct{}] {
	c.check()
	h := c.hub.Load()
	s := h.session(c.conn)
	switch {
	case s == nil || s.has(flagClosing):
		return future.Failed[struct{}](Errorf(Canceled, "the connection has gone"))
	case uid == 0:
		return future.Failed[struct{}](Errorf(InvalidArgument, "uid 0 is nobody"))
	case s.uid == uid:
		return future.Resolved(struct{}{})
	case s.uid != 0:
		return future.Failed[struct{}](Errorf(FailedPrecondition, "this connection is logged in as uid %d: log out first", s.uid))
	case h.mustYield(s, uid):
		return future.Failed[struct{}](Errorf(FailedPrecondition, "player %d has a session already", uid))
	case c.kind != orderedCall:
		return future.Failed[struct{}](Errorf(Internal, "%s cannot log in: it must return a future and not be concurrent", c.method.Name))
	}
	return h.login(s, c, uid)
}

// Logout unbinds the session from its uid; without a login it does nothing. Loop
// only.
func (c *Call) Logout() {
	c.check()
	h := c.hub.Load()
	if s := h.session(c.conn); s != nil {
		h.unbind(s, Errorf(Canceled, "the player has logged out"))
		c.uid = 0
	}
}

// check holds, in builds with the invariants tag, that the call is not used
// after its end.
func (c *Call) check() {
	if invariants && c.done {
		panic("rpc: a *Call was used after its method had ended")
	}
}
