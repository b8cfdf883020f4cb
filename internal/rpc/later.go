// The calls that end later than they begin: those that return a future and those
// that block on a worker.

package rpc

import (
	"context"
	"fmt"
	"slices"

	"gameserverd/wire"
)

// runLater starts a method that ends later: one that returns a future, or a
// blocking one.
func (h *Hub) runLater(s *session, m *wire.Message, method *Method, in *incoming) {
	x := h.sessions.extend(s)
	if method.Concurrent && len(x.calls) >= h.limits.MaxConcurrent {
		h.turnAway(s, method, ResourceExhausted, in)
		refusal := &Error{
			Code: ResourceExhausted, RetryAfter: defaultRetry,
			Message: fmt.Sprintf("%d calls of this session are under way, the limit is %d", len(x.calls), h.limits.MaxConcurrent),
		}
		if in.span != nil {
			in.span.End(refusal.Code, refusal)
		}
		h.refuse(s, m.ID, m.Kind == wire.Notification, refusal)
		h.sessions.shrink(s)
		return
	}
	c := &Call{
		conn: s.conn, uid: s.uid, method: method, id: m.ID, notify: m.Kind == wire.Notification,
		now: h.loop.Now(), peer: h.link.Peer(s.conn), kind: orderedCall,
	}
	c.begin(h, in)
	c.hub.Store(h)
	if method.Concurrent {
		c.kind = concurrentCall
	} else {
		x.running = c
	}
	x.calls = append(x.calls, c)
	h.peers.underway.Add(1)
	h.armDeadline(c)
	h.loop.Enter(&method.Name, s.uid)
	err := h.args.reset(method, m.Params)
	if err == nil {
		err = h.invokeLater(c)
	}
	if err != nil {
		h.settle(c, nil, err)
	}
}

// invokeLater starts the call's method and turns a panic into an error.
func (h *Hub) invokeLater(c *Call) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = h.panicked(c, v)
		}
	}()
	begin := func() error { return h.begunAsync(c) }
	if c.method.Blocking != nil {
		begin = func() error { return h.begunBlocking(c) }
	}
	if h.peers.middleware != nil {
		return h.peers.middleware.around(c, begin)
	}
	return begin()
}

func (h *Hub) begunAsync(c *Call) error {
	pending, err := c.method.Async(c, &h.args)
	if err == nil {
		pending.whenDone(c)
	}
	return err
}

func (h *Hub) begunBlocking(c *Call) error {
	run, err := c.method.Blocking(c, &h.args)
	if err != nil {
		return err
	}
	work := func() {
		result, err := h.runBlocking(c, run)
		c.AddCallback(func() {
			c.finish(func(out []byte) ([]byte, error) { return append(out, result...), nil }, err)
		})
	}
	if !h.peers.workers.Submit(work) {
		return &Error{Code: ResourceExhausted, Message: "all workers are busy", RetryAfter: defaultRetry}
	}
	return nil
}

// runBlocking runs a blocking method on a worker goroutine.
func (h *Hub) runBlocking(c *Call, run func([]byte) ([]byte, error)) (result []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = h.panicked(c, v)
		}
	}()
	if c.span != nil {
		c.span.Event("worker")
	}
	if err := context.Cause(c.Context()); err != nil {
		return nil, err // it waited for a worker until nobody was waiting for it
	}
	return run(nil)
}

// armDeadline answers deadline_exceeded when the call's time is over, whether or
// not its method notices.
func (h *Hub) armDeadline(c *Call) {
	if c.deadline.IsZero() {
		return
	}
	c.stopTime = h.loop.After(c.deadline.Sub(h.loop.Now()), func() {
		c.end(context.DeadlineExceeded)
		s := h.session(c.conn)
		if c.done || c.answered || s == nil || s.has(flagClosing) {
			return
		}
		c.answered = true
		h.drainInbox()
		h.refuse(s, c.id, c.notify, Errorf(DeadlineExceeded, "the time for %s is over", c.method.Name))
		h.record(c, DeadlineExceeded)
	})
}

// finish ends a call that was started earlier and runs the session's next one.
// Loop only.
func (c *Call) finish(encode func([]byte) ([]byte, error), err error) {
	if c.done {
		return
	}
	h := c.hub.Load()
	h.settle(c, encode, err)
	if s := h.session(c.conn); s != nil {
		h.next(s)
		h.closeIfDone(s)
	}
}

// settle answers a call and forgets it.
func (h *Hub) settle(c *Call, encode func([]byte) ([]byte, error), err error) {
	if c.stopTime != nil {
		c.stopTime()
	}
	h.drainInbox()
	if s := h.session(c.conn); s != nil {
		h.answer(s, c, encode, err)
		h.forget(s, c)
	} else {
		delete(h.orphans, c)
		h.recordUntold(c, err)
	}
	c.end(errCallEnded)
	c.done = true
	h.peers.underway.Add(-1)
	h.peers.changed()
}

// answer sends the response of a call that was started earlier.
func (h *Hub) answer(s *session, c *Call, encode func([]byte) ([]byte, error), err error) {
	out := wire.AppendResult(wire.BeginFrame(h.scratch[:0]), c.id)
	if err == nil {
		out, err = h.encode(c, out, encode)
	}
	if c.answered || s.has(flagClosing) {
		h.recordUntold(c, err)
		return
	}
	h.respond(s, c, out, err)
}

// encode appends a call's result; a panic in its encoder costs this call only.
func (h *Hub) encode(c *Call, out []byte, encode func([]byte) ([]byte, error)) (result []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			result, err = out, h.panicked(c, v)
		}
	}()
	return encode(out)
}

// forget takes an ended call off its session.
func (h *Hub) forget(s *session, c *Call) {
	x := s.ext
	if i := slices.Index(x.calls, c); i >= 0 {
		x.calls = slices.Delete(x.calls, i, i+1)
	}
	if x.running == c {
		x.running = nil
	}
	if x.alone != nil && len(x.calls) == 1 {
		alone := x.alone
		x.alone = nil
		alone()
	}
	h.sessions.shrink(s)
}
