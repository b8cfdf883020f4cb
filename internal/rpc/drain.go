package rpc

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"gameserverd/wire"
)

// Drain says how the sessions are sent away when the server stops.
type Drain struct {
	Spread time.Duration // the goodbyes are spread over this long
	Grace  time.Duration // how long a session may stay after its goodbye, to end what it has sent
}

// goodbye is the state of a hub's drain. Loop only.
type goodbye struct {
	begun bool
	grace time.Duration
}

// goodbyeStep is how often a batch of goodbyes is said.
const goodbyeStep = 10 * time.Millisecond

// Drain sends every session its sys.closing, spread over d.Spread with jitter.
// From then on its new requests are answered unavailable; it closes when it has
// finished sending, or when d.Grace has passed, and all that it asked for has
// been answered. Any goroutine.
func (p *Peers) Drain(d Drain) {
	for _, h := range p.hubs {
		h.loop.AddCallback(func() { h.drain(d) })
	}
}

func (h *Hub) drain(d Drain) {
	if h.goodbye.begun {
		return
	}
	h.goodbye = goodbye{begun: true, grace: d.Grace}
	var conns []uint64
	h.eachSession(func(s *session) { conns = append(conns, s.conn) })
	rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
	steps := max(1, int(d.Spread/goodbyeStep))
	h.sayGoodbyes(conns, (len(conns)+steps-1)/steps)
}

// sayGoodbyes says goodbye to the first batch of conns, and to the rest later.
func (h *Hub) sayGoodbyes(conns []uint64, batch int) {
	now := conns[:min(batch, len(conns))]
	for _, conn := range now {
		if s := h.session(conn); s != nil {
			h.sayGoodbye(s)
		}
	}
	if rest := conns[len(now):]; len(rest) > 0 {
		h.loop.After(goodbyeStep, func() { h.sayGoodbyes(rest, batch) })
	}
}

// sayGoodbye tells one session that the server goes away. One that is moving is
// told where it arrives.
func (h *Hub) sayGoodbye(s *session) {
	if s.has(flagGoodbye | flagClosing | flagMoving) {
		return
	}
	why := wire.Closing{Code: wire.ServerShutdown, Message: "the server is shutting down",
		Reconnect: true, RetryAfter: h.peers.jitter(shutdownRetry)}
	if s.framing == framingUnknown {
		h.sayGoodbyeLater(s, why)
		return
	}
	h.countEnd(s, wire.ServerShutdown)
	h.drainInbox()
	h.tellClosing(s, why)
	s.flags |= flagGoodbye
	h.giveGrace(s)
	h.closeIfDone(s)
}

// sayGoodbyeLater gives a session that has said nothing, and so cannot be told
// anything, the grace to say something: whoever has connected a moment ago is
// about to. After that it is closed without a word.
func (h *Hub) sayGoodbyeLater(s *session, why wire.Closing) {
	if !s.has(flagRefused) { // else it waits to be told something else
		h.refuseLater(s, &why)
	}
	conn := s.conn
	h.loop.After(h.goodbye.grace, func() {
		if s := h.session(conn); s != nil && s.has(flagRefused) {
			h.closeUntold(s, h.whyRefused(s).Code)
		}
	})
}

// giveGrace lets the session stay for a while after its goodbye.
func (h *Hub) giveGrace(s *session) {
	conn := s.conn
	h.loop.After(h.goodbye.grace, func() {
		if s := h.session(conn); s != nil {
			s.flags |= flagRelease
			h.closeIfDone(s)
		}
	})
}

// eachSession calls fn for every open session.
func (h *Hub) eachSession(fn func(*session)) {
	for _, page := range h.sessions.pages {
		for i := range page {
			if page[i].conn != 0 {
				fn(&page[i])
			}
		}
	}
}

// Quiet waits until no session is open and no call under way, or ctx ends. Any
// goroutine but a loop's.
func (p *Peers) Quiet(ctx context.Context) error {
	for {
		if p.Connections() == 0 && p.underway.Load() == 0 && p.moving.Load() == 0 {
			return nil
		}
		select {
		case <-p.changes:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// changed wakes Quiet to look again.
func (p *Peers) changed() {
	select {
	case p.changes <- struct{}{}:
	default:
	}
}

// Abandoned is a call that the drain did not wait for.
type Abandoned struct {
	Method string
	UID    uint64        // 0: not logged in
	Age    time.Duration // since it began; 0: it was waiting for its turn
	Trace  string        // what joins it with its other log lines and spans; "": nothing does
}

// Leftover is what a drain has not waited for.
type Leftover struct {
	Calls     []Abandoned // neither answered nor refused
	Unflushed int         // connections with bytes that could not be sent
	Stuck     int         // hubs whose loop does not answer
}

// None reports whether nothing was lost. Connections that have been flushed and
// only wait for their client to close are no loss.
func (l Leftover) None() bool { return len(l.Calls) == 0 && l.Unflushed == 0 && l.Stuck == 0 }

// Leftover lists the calls that are under way or waiting for their turn, and
// ends their contexts. Hubs that do not answer before ctx ends count as stuck.
// Any goroutine but a loop's.
func (p *Peers) Leftover(ctx context.Context) Leftover {
	var all Leftover
	parts := make(chan Leftover, len(p.hubs))
	for _, h := range p.hubs {
		if !h.loop.AddCallback(func() { parts <- h.leftover() }) {
			parts <- Leftover{}
		}
	}
	for n := range p.hubs {
		select {
		case part := <-parts:
			all.Calls = append(all.Calls, part.Calls...)
			all.Unflushed += part.Unflushed
		case <-ctx.Done():
			all.Stuck = len(p.hubs) - n
			return all
		}
	}
	slices.SortFunc(all.Calls, func(a, b Abandoned) int { return cmp.Or(cmp.Compare(a.Method, b.Method), cmp.Compare(a.UID, b.UID)) })
	return all
}

func (h *Hub) leftover() (left Leftover) {
	cut := Errorf(Canceled, "the server stops")
	add := func(c *Call) {
		c.end(cut)
		if c.span != nil {
			c.endSpan(cut)
		}
		if !c.answered {
			left.Calls = append(left.Calls, Abandoned{Method: c.method.Name, UID: c.uid, Age: max(h.loop.Now().Sub(c.now), 1), Trace: c.knownTrace()})
		}
	}
	for c := range h.orphans {
		add(c)
	}
	h.eachSession(func(s *session) {
		if h.link.Pending(s.conn) > 0 {
			left.Unflushed++
		}
		if s.has(flagKept) && !s.has(flagClosing) {
			left.addKept(h, s)
		}
		if s.ext == nil {
			return
		}
		for _, c := range s.ext.calls {
			add(c)
		}
		for s.ext.box.count > 0 {
			raw, _ := s.ext.box.pop()
			h.peers.waiting.Add(-1)
			h.countInput(-mailboxHeader - len(raw))
			left.addWaiting(h, s, raw)
		}
	})
	return left
}

// addWaiting notes a message whose turn has not come.
func (left *Leftover) addWaiting(h *Hub, s *session, raw []byte) {
	m := &h.msg
	if m.Parse(raw, wire.MaxFrame) != nil || m.Kind == wire.Response {
		return
	}
	a := Abandoned{Method: string(m.Method), UID: s.uid}
	if m.Meta != nil {
		a.Trace = traceID(wire.ParseMeta(m.Meta).Traceparent)
	}
	left.Calls = append(left.Calls, a)
}

// addKept notes the messages that were read but had no room in the mailbox.
func (left *Leftover) addKept(h *Hub, s *session) {
	for b := h.link.Kept(s.conn); len(b) > 0; {
		raw, size, err := h.split(s, b)
		if size == 0 || err != nil {
			return
		}
		left.addWaiting(h, s, raw)
		b = b[size:]
	}
}
