package rpc

import (
	"gameserverd/internal/future"
	"gameserverd/wire"
)

// Yield says that the connection was made within the process and is no client's. Its
// logins give way: where the player has a session here already, they fail with
// failed_precondition instead of ending that one. It can log in at home only
// (Peers.HomeOf). As nobody counts that it has come, its end is not counted. Loop only.
func (h *Hub) Yield(conn uint64) {
	if s := h.session(conn); s != nil {
		s.flags |= flagYields
	}
}

// mustYield tells whether a login as uid has to give way. Between it and bind, on the
// same hub, there is no time for another login.
func (h *Hub) mustYield(s *session, uid uint64) bool {
	return s.has(flagYields) && (h.peers.home(uid) != h || h.session(h.uids[uid]) != nil)
}

// login binds the session of c to uid on uid's home hub, where it moves first if
// it is elsewhere.
func (h *Hub) login(s *session, c *Call, uid uint64) *future.Future[struct{}] {
	done := future.New[struct{}]()
	home := h.peers.home(uid)
	if home == h {
		h.bind(s, c, uid)
		done.Resolve(struct{}{})
		return done
	}
	s.flags |= flagMoving
	h.link.Pause(s.conn)
	conn := c.conn
	// Not from within the bytes that asked for it, and not while other calls of
	// this session are under way: they end where they began.
	move := func() {
		h.loop.AddCallback(func() { h.move(conn, c, uid, home, done) })
	}
	if len(s.ext.calls) == 1 {
		move()
	} else {
		s.ext.alone = move
	}
	return done
}

// move takes the session and its connection to the home hub.
func (h *Hub) move(conn uint64, c *Call, uid uint64, home *Hub, done *future.Future[struct{}]) {
	s := h.session(conn)
	if s == nil || s.has(flagClosing) {
		done.Fail(Errorf(Canceled, "the client has gone"))
		return
	}
	was := *s
	if c.done {
		h.stay(s)
		done.Fail(Errorf(Canceled, "the call that logs in has ended"))
		return
	}
	if c.stopTime != nil {
		c.stopTime()
	}
	spent := h.rate.carry(conn, h.clock())
	h.release(s)
	h.peers.moving.Add(1)
	h.link.Move(conn, home.index, func(arrived uint64) {
		if arrived == 0 { // on whichever loop found that it cannot be
			h.loop.AddCallback(func() { h.lost(was, c, done) })
			return
		}
		home.adopt(arrived, was, c, uid)
		home.rate.take(arrived, spent, home.clock())
		h.peers.moving.Add(-1)
		done.Resolve(struct{}{})
	})
}

// stay goes on with a session that was about to move.
func (h *Hub) stay(s *session) {
	s.flags &^= flagMoving
	if !s.has(flagPaused) {
		h.link.Resume(s.conn)
	}
	h.next(s)
	h.closeIfDone(s)
}

// lost ends the login of a connection that could not be moved and is closed.
func (h *Hub) lost(was session, c *Call, done *future.Future[struct{}]) {
	h.countEnd(&was, "")
	h.orphans[c] = struct{}{}
	h.peers.waiting.Add(-int64(was.ext.box.count))
	h.countInput(-was.ext.box.size())
	gone := Errorf(Canceled, "the connection could not be moved")
	c.end(gone)
	h.peers.moving.Add(-1)
	done.Fail(gone)
}

// adopt makes the session that another hub has given away this hub's own.
func (h *Hub) adopt(conn uint64, was session, c *Call, uid uint64) {
	c.conn = conn
	c.hub.Store(h)
	s := h.begin(conn)
	h.uncountOpen(s)
	*s = was
	s.conn = conn
	h.countOpen(s)
	s.flags &^= flagMoving
	s.lastIn, s.opened, s.frameAt = h.tick, h.tick, 0
	h.armDeadline(c)
	h.bind(s, c, uid)
	if !s.has(flagPaused) {
		h.link.Resume(conn)
	}
	switch {
	case s.has(flagGoodbye):
		h.giveGrace(s) // what the other hub gave was for a session of its own
	case h.goodbye.begun:
		h.sayGoodbye(s)
	}
}

// bind gives the session its uid on its home hub; the newest login wins at once.
func (h *Hub) bind(s *session, c *Call, uid uint64) {
	h.drainInbox() // what was sent to the player until now is the older session's
	if old := h.session(h.uids[uid]); old != nil {
		h.closeSession(old, wire.Closing{Code: wire.Replaced, Message: "the player has logged in on another connection"})
	}
	h.uids[uid] = s.conn
	s.uid = uid
	c.uid = uid
	s.opened = h.tick
	if h.traces[uid] != nil {
		s.flags |= flagTraced
	}
	h.peers.online.Add(1)
	h.peers.bound(uid)
}

// unbind takes the session's uid from it: the player is no longer here.
func (h *Hub) unbind(s *session, why *Error) {
	if s.uid == 0 {
		return
	}
	h.forgetAsked(s, why)
	h.endProxies(s.uid, why)
	h.leaveRooms(s)
	if h.uids[s.uid] == s.conn {
		delete(h.uids, s.uid)
	}
	h.peers.online.Add(-1)
	h.peers.unbound(s.uid)
	h.forgetCalls(s)
	s.uid = 0
	s.flags &^= flagTraced
	s.opened = h.tick
}
