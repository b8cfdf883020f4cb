package rpc

import (
	"math/rand/v2"
	"time"

	"gameserverd/internal/future"
	"gameserverd/wire"
)

// proxy is one call in a player's name that has not been answered. It lives on the
// player's home loop.
type proxy struct {
	id   uint32 // msgid, random: no client can tell which
	done *future.Future[Raw]
	stop func() // its deadline
}

// Impersonate calls a method in the name of the player uid, who is online here: the
// request takes the way of one that the player's client has sent, through the same
// mailbox, limits and checks, and its response comes here. params is an array. It
// resolves to the result. It fails with the method's error, failed_precondition when
// the player is not online, resource_exhausted when the mailbox is full, canceled
// when the session ends first, and deadline_exceeded after timeout: then, as after
// canceled, the method may have done its work. Any goroutine.
func (p *Peers) Impersonate(uid uint64, timeout time.Duration, method string, params Raw) *future.Future[Raw] {
	x := &proxy{id: rand.Uint32(), done: future.New[Raw]()}
	raw := append(wire.AppendRequestMeta(nil, x.id, method), params...)
	raw = wire.AppendMeta(raw, wire.Meta{HasTimeout: true, TimeoutMS: uint64(timeout.Milliseconds())})
	h := p.home(uid)
	// A callback of its own and no delivery: it runs a method, which nothing that
	// runs already may be in the middle of.
	if !h.loop.AddCallback(func() { h.impersonate(uid, timeout, x, raw) }) {
		x.done.Fail(Errorf(Unavailable, "the server is shutting down"))
	}
	return x.done
}

func (h *Hub) impersonate(uid uint64, timeout time.Duration, x *proxy, raw []byte) {
	conn := h.uids[uid]
	s := h.session(conn)
	switch {
	case uid == 0 || s == nil || s.has(flagClosing|flagEOF):
		x.done.Fail(Errorf(FailedPrecondition, "player %d is not online here", uid))
		return
	case s.has(flagPaused):
		x.done.Fail(&Error{Code: ResourceExhausted, Message: "the player's mailbox is full", RetryAfter: defaultRetry})
		return
	}
	if err := h.msg.Parse(raw, h.maxElements(s)); err != nil {
		x.done.Fail(Errorf(InvalidArgument, "the request: %v", err))
		return
	}
	if h.proxies == nil {
		h.proxies = make(map[uint64][]*proxy)
	}
	h.proxies[uid] = append(h.proxies[uid], x)
	s.flags |= flagTraced
	x.stop = h.loop.After(timeout, func() { // x stays: its response is still not for the client
		x.done.Fail(Errorf(DeadlineExceeded, "the method has not answered within %v", timeout))
	})
	h.arrived = h.clock()
	h.receive(s, raw)
	if s := h.session(conn); s != nil && s.has(flagRelease) {
		h.closeIfDone(s)
	}
	h.loop.Enter(nil, 0)
}

// answerProxy takes a response that is not for the player's client.
func (h *Hub) answerProxy(uid uint64, m *wire.Message) (taken bool) {
	for _, x := range h.proxies[uid] {
		if x.id != m.ID || m.Kind != wire.Response {
			continue
		}
		h.endProxy(uid, x)
		if e := wire.ParseError(m.Err); e != nil {
			x.done.Fail(e)
		} else {
			x.done.Resolve(append(Raw{}, m.Result...))
		}
		return true
	}
	return false
}

// endProxies fails the calls in the name of a player whose session ends.
func (h *Hub) endProxies(uid uint64, why *Error) {
	for _, x := range h.proxies[uid] {
		x.stop()
		x.done.Fail(why)
	}
	delete(h.proxies, uid)
}

func (h *Hub) endProxy(uid uint64, x *proxy) {
	x.stop()
	left := h.proxies[uid][:0:0]
	for _, other := range h.proxies[uid] {
		if other != x {
			left = append(left, other)
		}
	}
	if len(left) > 0 {
		h.proxies[uid] = left
		return
	}
	delete(h.proxies, uid)
	if s := h.session(h.uids[uid]); s != nil && h.traces[uid] == nil {
		s.flags &^= flagTraced
	}
}
