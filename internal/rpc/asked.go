package rpc

import (
	"fmt"
	"slices"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/histogram"
	"gameserverd/wire"
)

// asked is a call from the server to a client that has not been answered.
type asked struct {
	id     uint32
	done   *future.Future[Raw]
	cancel func() // its deadline
	sent   int64  // when, by the hub's clock
}

// maxAsked bounds the server's unanswered calls to one client.
const maxAsked = 256

// ask sends a request to the client of uid; params are encoded. A meta that has
// something is sent too.
func (h *Hub) ask(uid uint64, timeout time.Duration, method string, params Raw, meta wire.Meta, done *future.Future[Raw]) {
	fail := func(err error) {
		h.recordAsked(err)
		done.Fail(err)
	}
	s := h.session(h.uids[uid])
	if s == nil || s.has(flagClosing|flagEOF) {
		fail(Errorf(FailedPrecondition, "player %d is not online", uid))
		return
	}
	x := h.sessions.extend(s)
	if len(x.asked) >= maxAsked {
		fail(&Error{Code: ResourceExhausted, Message: fmt.Sprintf("%d calls to player %d wait for an answer", maxAsked, uid), RetryAfter: defaultRetry})
		return
	}
	s.nextID++
	a := &asked{id: s.nextID, done: done, sent: h.clock()}
	frame, err := endFrame(appendRequest(wire.BeginFrame(nil), a.id, method, params, meta), nil)
	if err != nil {
		fail(err)
		h.sessions.shrink(s)
		return
	}
	x.asked = append(x.asked, a)
	h.peers.underway.Add(1)
	conn := s.conn
	a.cancel = h.loop.After(timeout, func() {
		if s := h.session(conn); s != nil && h.takeAsked(s, a.id) == a {
			h.endAsked(a, Errorf(DeadlineExceeded, "player %d did not answer %s in %s", uid, method, timeout))
		}
	})
	h.send(s, frame)
}

// appendRequest appends a request to a client.
func appendRequest(b []byte, id uint32, method string, params Raw, meta wire.Meta) []byte {
	if len(meta.Traceparent) == 0 {
		return append(wire.AppendRequest(b, id, method), params...)
	}
	return wire.AppendMeta(append(wire.AppendRequestMeta(b, id, method), params...), meta)
}

// takeAsked removes the unanswered call with that msgid, nil when there is none.
func (h *Hub) takeAsked(s *session, id uint32) *asked {
	if s.ext == nil {
		return nil
	}
	i := slices.IndexFunc(s.ext.asked, func(a *asked) bool { return a.id == id })
	if i < 0 {
		return nil
	}
	a := s.ext.asked[i]
	s.ext.asked = slices.Delete(s.ext.asked, i, i+1)
	h.sessions.shrink(s)
	h.peers.underway.Add(-1)
	h.peers.changed()
	return a
}

// answered resolves the call that a client's response answers. One that nobody
// waits for is counted.
func (h *Hub) answered(s *session, m *wire.Message) {
	a := h.takeAsked(s, m.ID)
	if a == nil {
		h.peers.Counters.StrayResponses.Add(1)
		return
	}
	a.cancel()
	if e := wire.ParseError(m.Err); e != nil {
		h.endAsked(a, e)
		return
	}
	h.recordAnswer(a, nil)
	a.done.Resolve(append(Raw{}, m.Result...))
}

// endAsked fails a call that was sent.
func (h *Hub) endAsked(a *asked, why *Error) {
	h.recordAnswer(a, why)
	a.done.Fail(why)
}

// recordAnswer counts a call that was sent and has ended with err.
func (h *Hub) recordAnswer(a *asked, err error) {
	h.recordAsked(err)
	histogram.Durations.Observe(&h.records.asked.Time, h.clock()-a.sent)
}

// forgetAsked fails all calls that the client can no longer answer.
func (h *Hub) forgetAsked(s *session, why *Error) {
	for s.ext != nil && len(s.ext.asked) > 0 {
		a := h.takeAsked(s, s.ext.asked[0].id)
		a.cancel()
		h.endAsked(a, why)
	}
}
