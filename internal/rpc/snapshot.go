package rpc

import (
	"context"
	"net/netip"
	"time"
)

// stepSlots is how many sessions are looked at in one turn by what looks at all of
// them.
const stepSlots = 4096

// inSteps calls fn for every open session, those of stepSlots slots now and the
// others in the next turns, and then done, which may be nil. fn may close the
// session that it is given, and no other.
func (h *Hub) inSteps(fn func(*session), done func()) { h.stepFrom(0, fn, done) }

func (h *Hub) stepFrom(slot uint32, fn func(*session), done func()) {
	for range stepSlots {
		s := h.sessions.at(slot)
		if s == nil { // behind the last
			if done != nil {
				done()
			}
			return
		}
		if s.conn != 0 {
			fn(s)
		}
		slot++
	}
	h.loop.AddCallback(func() { h.stepFrom(slot, fn, done) })
}

// SessionInfo is what one session was like when a snapshot came to it.
type SessionInfo struct {
	UID       uint64         // 0: not logged in
	Conn      uint64         // the connection's number, which no other of the process has; below 2^32
	Hub       int            // the index of its loop
	Peer      netip.AddrPort // the client's address; zero for a Unix socket
	Transport string         // as Link.Describe has it
	Framing   string         // "frames", "stream", or "unknown" while nothing has come
	Age       time.Duration  // since it connected or, later, logged in or out
	Silent    time.Duration  // since bytes last came
	Waiting   int            // bytes to be sent
	Mailbox   int            // messages that wait for their turn
	Underway  int            // calls that have begun and not ended
	Messages  uint32         // received so far, modulo 2^32; two snapshots make a rate
	Rooms     int            // that the session is in
}

// Sessions returns a snapshot of all sessions, in no order. It is taken in steps
// that hold no loop for long: a session that moves meanwhile may be in it twice or
// not at all. The error is that of ctx. Any goroutine but a loop's.
func (p *Peers) Sessions(ctx context.Context) ([]SessionInfo, error) {
	parts := make(chan []SessionInfo, len(p.hubs))
	for _, h := range p.hubs {
		begin := func() {
			infos := make([]SessionInfo, 0, h.open.Load())
			add := func(s *session) {
				if ctx.Err() == nil { // else nobody waits for it
					infos = append(infos, h.info(s))
				}
			}
			h.inSteps(add, func() { parts <- infos })
		}
		if !h.loop.AddCallback(begin) {
			parts <- nil // closed: it has no sessions
		}
	}
	var all []SessionInfo
	for range p.hubs {
		select {
		case part := <-parts:
			all = append(all, part...)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return all, nil
}

// info describes a session.
func (h *Hub) info(s *session) SessionInfo {
	i := SessionInfo{
		UID: s.uid, Conn: h.link.Number(s.conn), Hub: h.index, Peer: h.link.Peer(s.conn), Transport: h.link.Describe(s.conn), Framing: s.framing.String(),
		Age: h.age(s.opened), Silent: h.age(s.lastIn), Waiting: h.link.Pending(s.conn), Messages: s.messages,
	}
	if x := s.ext; x != nil {
		i.Mailbox, i.Underway, i.Rooms = x.box.count, len(x.calls), len(x.rooms)
	}
	return i
}

// SessionDetail is a SessionInfo with the names of what it counts.
type SessionDetail struct {
	SessionInfo
	Rooms    []string // the first 100
	Calls    []CallInfo
	AskedFor int        // the server's calls that the client has not answered
	Last     []LastCall // newest first: 16 that have failed or for which the client has waited 10 ms or more
	AllSince time.Time  // from then on 16 of the others too; zero: nobody has looked
}

// CallInfo is a call that has begun and not ended.
type CallInfo struct {
	Method string
	Age    time.Duration
}

// maxDetail bounds each list of a SessionDetail.
const maxDetail = 100

// Session describes the session of the player uid; online is false when there is
// none here. The error is that of ctx. Any goroutine but a loop's.
func (p *Peers) Session(ctx context.Context, uid uint64) (d SessionDetail, online bool, err error) {
	return p.describe(ctx, uid, (*Hub).detail)
}

// Watch is Session, and has all calls of that session kept from now on. Any goroutine
// but a loop's.
func (p *Peers) Watch(ctx context.Context, uid uint64) (d SessionDetail, online bool, err error) {
	return p.describe(ctx, uid, func(h *Hub, s *session) *SessionDetail {
		h.watch(s)
		return h.detail(s)
	})
}

// describe waits for what describe says on the home loop of the player uid.
func (p *Peers) describe(ctx context.Context, uid uint64, describe func(*Hub, *session) *SessionDetail) (d SessionDetail, online bool, err error) {
	h := p.home(uid)
	found := make(chan *SessionDetail, 1)
	look := func() {
		var one *SessionDetail
		if s := h.session(h.uids[uid]); s != nil {
			one = describe(h, s)
		}
		found <- one
	}
	if uid == 0 || !h.loop.AddCallback(look) {
		return d, false, nil
	}
	select {
	case one := <-found:
		if one == nil {
			return d, false, nil
		}
		return *one, true, nil
	case <-ctx.Done():
		return d, false, ctx.Err()
	}
}

func (h *Hub) detail(s *session) *SessionDetail {
	d := &SessionDetail{SessionInfo: h.info(s), Rooms: []string{}, Calls: []CallInfo{}, Last: []LastCall{}}
	if l := s.last; l != nil {
		d.Last = l.list(h)
		if l.easy != nil {
			d.AllSince = h.timeOf(l.since)
		}
	}
	if x := s.ext; x != nil {
		d.Rooms = append(d.Rooms, x.rooms[:min(len(x.rooms), maxDetail)]...)
		for _, c := range x.calls[:min(len(x.calls), maxDetail)] {
			d.Calls = append(d.Calls, CallInfo{Method: c.method.Name, Age: h.loop.Now().Sub(c.now)})
		}
		d.AskedFor = len(x.asked)
	}
	return d
}
