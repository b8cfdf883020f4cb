package rpc

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/histogram"
	"gameserverd/wire"
)

// receive handles one whole message that came from the session's client: it is
// run now, or waits in the mailbox until those before it have ended.
func (h *Hub) receive(s *session, raw []byte) {
	m := &h.msg
	s.messages++
	if s.has(flagTraced|flagGoodbye) && h.taken(s, m, len(raw)) {
		return
	}
	if m.Kind == wire.Response {
		h.answered(s, m)
		return
	}
	if h.rate.each != 0 && !h.withinRate(s, m) {
		return
	}
	method := h.method(m.Method)
	if s.busy() && (method == nil || !method.Concurrent) {
		h.enqueue(s, raw)
		return
	}
	h.start(s, m, method, h.arrived)
}

// taken does with a message of size bytes what few sessions need: it shows it to
// those who watch, and refuses it after the goodbye. It reports whether that was
// all.
func (h *Hub) taken(s *session, m *wire.Message, size int) bool {
	if s.has(flagTraced) {
		h.traceIn(s, m, size)
	}
	if m.Kind == wire.Response || !s.has(flagGoodbye) {
		return false
	}
	// What came before the goodbye is still answered, from the mailbox.
	h.turnAway(s, h.method(m.Method), Unavailable, nil)
	h.refuse(s, m.ID, m.Kind == wire.Notification, &Error{
		Code: Unavailable, Message: "the server is shutting down", RetryAfter: h.peers.jitter(shutdownRetry)})
	return true
}

// method finds a method by its wire name, nil when there is none. Calls of one
// method often follow one another, and comparing is cheaper than hashing.
func (h *Hub) method(name []byte) *Method {
	if last := h.last; last != nil && last.Name == string(name) {
		return last
	}
	m := h.methods[string(name)]
	if m != nil {
		h.last = m
	}
	return m
}

// enqueue puts a message into the session's mailbox, and stops reading when
// that is full.
func (h *Hub) enqueue(s *session, raw []byte) {
	box := &s.ext.box
	box.push(raw, time.Duration(h.arrived))
	histogram.Sizes.Observe(&h.records.mailbox, int64(box.count))
	h.countInput(mailboxHeader + len(raw))
	h.peers.waiting.Add(1)
	if box.count >= h.limits.MaxMailbox || box.size() >= h.limits.MaxMailboxBytes {
		s.flags |= flagPaused
		h.peers.Counters.MailboxFull.Add(1)
		h.link.Pause(s.conn)
	}
}

// dropMailbox forgets the messages that wait: nobody is there any more to be
// answered.
func (h *Hub) dropMailbox(x *sessionExt) {
	h.peers.waiting.Add(-int64(x.box.count))
	h.countInput(-x.box.size())
	x.box = mailbox{}
}

// next runs the messages that wait in the mailbox, until one of them ends later
// or enough were run for one turn.
func (h *Hub) next(s *session) {
	conn := s.conn
	for n := 0; s.conn == conn && s.ext != nil && s.ext.running == nil && s.ext.box.count > 0 && !s.has(flagClosing|flagMoving); n++ {
		if n == messagesPerTurn {
			h.loop.AddCallback(func() {
				if s := h.session(conn); s != nil {
					h.next(s)
					h.closeIfDone(s)
				}
			})
			return
		}
		raw, arrived := s.ext.box.pop()
		h.peers.waiting.Add(-1)
		h.countInput(-mailboxHeader - len(raw))
		// The message was validated when it came, maybe by other limits.
		if err := h.msg.Parse(raw, wire.MaxFrame); err != nil {
			h.protocolError(s, err)
			return
		}
		h.start(s, &h.msg, h.method(h.msg.Method), int64(arrived))
	}
	if s.conn != conn {
		return
	}
	h.reopen(s)
	if s.ext != nil {
		s.ext.box.trim()
	}
	h.sessions.shrink(s)
	h.loop.Enter(nil, 0)
}

// reopen reads on when the mailbox is half empty again. One that moves does so
// where it arrives.
func (h *Hub) reopen(s *session) {
	if !s.has(flagPaused) || s.has(flagClosing|flagMoving) {
		return
	}
	if s.ext != nil && (s.ext.box.count > h.limits.MaxMailbox/2 || s.ext.box.size() > h.limits.MaxMailboxBytes/2) {
		return
	}
	s.flags &^= flagPaused
	s.lastIn = h.tick
	h.link.Resume(s.conn)
}

// incoming is what a call brings with it.
type incoming struct {
	arrived  int64 // by the hub's clock
	meta     wire.Meta
	deadline time.Time // zero: none
	span     Span      // nil: it is not traced
}

// start runs one request or notification whose turn has come. arrived is when
// it came, by the hub's clock.
func (h *Hub) start(s *session, m *wire.Message, method *Method, arrived int64) {
	notify := m.Kind == wire.Notification
	in := incoming{arrived: arrived}
	if m.Meta != nil {
		in.meta = wire.ParseMeta(m.Meta)
		in.deadline = deadlineOf(h.timeOf(in.arrived), in.meta)
	}
	var refusal *Error
	switch {
	case method == nil:
		refusal = Errorf(Unimplemented, "there is no method %q", m.Method)
	case s.uid == 0 && !method.Public:
		refusal = Errorf(Unauthenticated, "%s needs a login: call auth.login first", method.Name)
	case !in.deadline.IsZero() && !h.loop.Now().Before(in.deadline):
		refusal = Errorf(DeadlineExceeded, "the time for %s was over before it began", method.Name)
	}
	if h.peers.tracer != nil && method != nil {
		in.span = h.beginSpan(s, method, &in)
	}
	switch {
	case refusal != nil:
		h.turnAway(s, method, refusal.Code, &in)
		if in.span != nil {
			in.span.End(refusal.Code, refusal)
		}
		h.refuse(s, m.ID, notify, refusal)
	case method.Sync != nil:
		h.runPlain(s, m, method, &in)
	default:
		h.runLater(s, m, method, &in)
	}
}

// deadlineOf is when the caller stops waiting: timeout_ms after arrival, zero
// for never.
func deadlineOf(arrived time.Time, meta wire.Meta) time.Time {
	const longest = 365 * 24 * time.Hour
	if !meta.HasTimeout {
		return time.Time{}
	}
	wait := longest
	if meta.TimeoutMS < uint64(longest/time.Millisecond) {
		wait = time.Duration(meta.TimeoutMS) * time.Millisecond
	}
	return arrived.Add(wait)
}

// runPlain runs a method that ends before it returns. This is the hot path: no
// allocation, no lock, and one reading of the clock, in record.
func (h *Hub) runPlain(s *session, m *wire.Message, method *Method, in *incoming) {
	conn, id, notify := s.conn, m.ID, m.Kind == wire.Notification
	c := h.plainCall()
	c.conn, c.uid = conn, s.uid
	c.method, c.id, c.notify = method, id, notify
	c.begin(h, in)
	h.loop.Enter(&method.Name, s.uid)
	out := wire.AppendResult(wire.BeginFrame(h.scratch[:0]), id)
	err := h.args.reset(method, m.Params)
	if err == nil {
		out, err = h.invokePlain(c, out)
	}
	h.drainInbox()
	if s.conn == conn && !s.has(flagClosing) {
		h.respond(s, c, out, err)
	} else {
		h.recordUntold(c, err)
	}
	h.endPlain(c)
}

// plainCall is the Call for a method that ends before it returns: always the
// same one, but a new one each time in builds that check its use.
func (h *Hub) plainCall() *Call {
	c := &h.call
	if invariants {
		c = new(Call)
		c.hub.Store(h)
	}
	return c
}

// endPlain takes the call back from its method.
func (h *Hub) endPlain(c *Call) {
	if c.ctx != nil {
		c.end(errCallEnded)
	}
	if invariants {
		c.done = true
		return
	}
	c.ctx, c.cancel, c.ended, c.trace, c.span = nil, nil, nil, "", nil
}

var errCallEnded = errors.New("rpc: the call has ended")

// invokePlain runs the method's code and turns a panic into an error.
func (h *Hub) invokePlain(c *Call, out []byte) (result []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			result, err = out, h.panicked(c, v)
		}
	}()
	if h.peers.middleware == nil {
		return c.method.Sync(c, &h.args, out)
	}
	return h.invokeWrapped(c, out)
}

// invokeWrapped runs a plain method inside the middleware. It stands alone since
// its closure would put the result of every call on the heap.
func (h *Hub) invokeWrapped(c *Call, out []byte) (result []byte, err error) {
	err = h.peers.middleware.around(c, func() (err error) {
		result, err = c.method.Sync(c, &h.args, out)
		return err
	})
	return result, err
}

// panicError is the error of a method that panicked.
type panicError struct{ value any }

func (e panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// panicked logs a panic with its stack. Any goroutine.
func (h *Hub) panicked(c *Call, v any) error {
	h.peers.Counters.Panics.Add(1)
	h.peers.log.Error("method panicked", zap.String("method", c.method.Name), zap.Uint64("uid", c.uid),
		zap.String("trace", c.Trace()), zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
	return panicError{v}
}

// respond ends a call: with the response frame that out holds up to the end of
// the result, or with err.
func (h *Hub) respond(s *session, c *Call, out []byte, err error) {
	if n := len(out) - wire.HeaderLen; err == nil && (n <= 0 || n > wire.MaxFrame) {
		err = fmt.Errorf("a result message of %d bytes, from 1 to %d can be sent", max(n, 0), wire.MaxFrame)
	}
	if h.peers.observed() {
		h.peers.after(c, err)
		h.drainInbox()
	}
	if err != nil {
		e := h.publicError(c, err)
		h.refuse(s, c.id, c.notify, e)
		h.record(c, e.Code)
		return
	}
	if cap(out) <= maxScratch {
		h.scratch = out[:0]
	}
	if !c.notify {
		wire.EndFrame(out, 0)
		h.send(s, out)
	}
	h.record(c, "")
}

// refuse answers a request with an error; a notification has nobody to tell.
func (h *Hub) refuse(s *session, id uint32, notify bool, e *Error) {
	if notify {
		h.peers.Counters.FailedNotifications.Add(1)
		return
	}
	frame := h.errorFrame(id, e)
	h.drainInbox()
	h.send(s, frame)
}

// errorFrame encodes an error response. What cannot be sent as it is loses its
// data and, if it is too long, its message.
func (h *Hub) errorFrame(id uint32, e *Error) (frame []byte) {
	short := &Error{Code: e.Code, Message: e.Message, RetryAfter: e.RetryAfter}
	defer func() {
		if v := recover(); v != nil { // the data has an encoder of its own
			h.peers.Counters.Panics.Add(1)
			h.peers.log.Error("an error's data panicked while it was encoded", zap.String("code", string(e.Code)), zap.Any("panic", v))
			frame = h.errorFrame(id, short)
		}
	}()
	frame = wire.AppendErrorResponse(wire.BeginFrame(nil), id, e)
	if len(frame)-wire.HeaderLen > wire.MaxFrame {
		short.Message = "the error is too large to be sent"
		frame = wire.AppendErrorResponse(wire.BeginFrame(nil), id, short)
	}
	wire.EndFrame(frame, 0)
	return frame
}

// publicError is what the client is told of err. An error that is no answer of
// the protocol is logged, and the client gets its trace id only.
func (h *Hub) publicError(c *Call, err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e) && e != nil && e.Code != "":
		if e.RetryAfter == 0 && (e.Code == ResourceExhausted || e.Code == Unavailable) {
			withRetry := *e
			withRetry.RetryAfter = defaultRetry
			return &withRetry
		}
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return Errorf(DeadlineExceeded, "the time for %s is over", c.method.Name)
	case errors.Is(err, context.Canceled):
		return Errorf(Canceled, "%s was canceled", c.method.Name)
	}
	var p panicError
	if !errors.As(err, &p) { // a panic has been logged with its stack
		h.peers.log.Error("method failed", zap.String("method", c.method.Name), zap.Uint64("uid", c.uid),
			zap.String("trace", c.Trace()), zap.Error(err))
	}
	return &Error{Code: Internal, Message: "internal error", Data: map[string]any{"trace": c.Trace()}}
}
