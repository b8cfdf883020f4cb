package rpc

import (
	"hash/maphash"
	"slices"

	"gameserverd/internal/future"
)

// RoomOptions say how rooms speak and how many there may be.
type RoomOptions struct {
	Joined, Left string     // notified to every member with (room, uid)
	MaxPerPlayer func() int // rooms that one session may be in; over it: resource_exhausted. Asked at each Join
}

// Rooms are named groups of sessions. A room lives on one hub's loop, and all
// that happens in it happens there, so all its members see one order. A session
// that closes or logs out leaves its rooms; a room without members is no more.
type Rooms struct {
	peers   *Peers
	options RoomOptions
	seed    maphash.Seed
}

// NewRooms makes the rooms of peers, of which there can be one. Before Start only.
func NewRooms(p *Peers, o RoomOptions) *Rooms {
	r := &Rooms{peers: p, options: o, seed: maphash.MakeSeed()}
	for _, h := range p.hubs {
		h.leave = r.leaveAll
	}
	return r
}

// room is one room, on the hub that its name hashes to. Loop only.
type room struct {
	members map[uint64]member // by uid
	byHub   []roster          // their connections, as deliveries want them
}

type member struct {
	conn uint64
	hub  int
}

// roster is the connections of a room's members on one hub. A delivery that is
// on its way shares the slice, so a shared one is copied before it changes.
type roster struct {
	conns  []uint64
	shared bool
}

func (r *roster) add(conn uint64) { r.conns = append(r.own(), conn) }

func (r *roster) remove(conn uint64) {
	conns := r.own()
	if i := slices.Index(conns, conn); i >= 0 {
		conns[i] = conns[len(conns)-1]
		r.conns = conns[:len(conns)-1]
	}
}

func (r *roster) own() []uint64 {
	if r.shared {
		r.conns, r.shared = append(make([]uint64, 0, len(r.conns)+len(r.conns)/4+1), r.conns...), false
	}
	return r.conns
}

// home is the hub on whose loop the room lives.
func (r *Rooms) home(name string) *Hub {
	return r.peers.hubs[r.peers.homeIndex(maphash.String(r.seed, name))]
}

// Join makes the caller's session a member and resolves to the uids of all
// members, the caller included, in no order. Every member, the new one too, is
// notified. Who is a member already only gets the list. It fails with
// resource_exhausted when the player is in too many rooms or the members' loops
// are behind. Loop only, with a session that is logged in.
func (r *Rooms) Join(c *Call, name string) *future.Future[[]uint64] {
	h := c.hub.Load()
	s := h.session(c.conn)
	if s == nil || s.uid == 0 || s.has(flagClosing) {
		return future.Failed[[]uint64](Errorf(Unauthenticated, "only a player who is logged in can join a room"))
	}
	x := h.sessions.extend(s)
	if !slices.Contains(x.rooms, name) {
		if most := r.options.MaxPerPlayer(); len(x.rooms) >= most {
			return future.Failed[[]uint64](Errorf(ResourceExhausted, "a player can be in %d rooms", most))
		}
		x.rooms = append(x.rooms, name)
	}
	done := future.New[[]uint64]()
	uid, who, home := s.uid, member{s.conn, h.index}, r.home(name)
	r.at(home, done, func() {
		rm := home.rooms[name]
		if rm != nil && r.crowded(rm) && rm.members[uid] != who {
			h.loop.AddCallback(func() { h.outOfRoom(who.conn, name) }) // before the answer
			done.Fail(errCrowded())
			return
		}
		if rm == nil {
			rm = &room{members: make(map[uint64]member), byHub: make([]roster, len(r.peers.hubs))}
			home.rooms[name] = rm
		}
		old, was := rm.members[uid]
		if was && old != who { // the player's older session, which is leaving
			rm.byHub[old.hub].remove(old.conn)
		}
		if !was || old != who {
			rm.members[uid] = who
			rm.byHub[who.hub].add(who.conn)
		}
		if !was {
			r.tell(rm, r.options.Joined, name, uid)
		}
		uids := make([]uint64, 0, len(rm.members))
		for uid := range rm.members {
			uids = append(uids, uid)
		}
		done.Resolve(uids)
	})
	return done
}

// Leave ends the caller's membership; the others are notified. Who is no member
// leaves nothing. Loop only.
func (r *Rooms) Leave(c *Call, name string) *future.Future[struct{}] {
	h := c.hub.Load()
	done := future.New[struct{}]()
	s := h.session(c.conn)
	if s == nil || s.uid == 0 || s.ext == nil || !slices.Contains(s.ext.rooms, name) {
		done.Resolve(struct{}{})
		return done
	}
	s.ext.rooms = slices.DeleteFunc(s.ext.rooms, func(n string) bool { return n == name })
	uid, conn, home := s.uid, s.conn, r.home(name)
	r.at(home, done, func() {
		r.leave(home, name, uid, conn)
		done.Resolve(struct{}{})
	})
	return done
}

// Say notifies every member, encoded once. It fails with failed_precondition
// unless the caller is a member, with resource_exhausted when the members' loops
// are behind, and resolves when the message is on its way to all. Loop only.
func (r *Rooms) Say(c *Call, name, method string, params ...any) *future.Future[struct{}] {
	frame, err := encodeNotification(method, params)
	if err != nil {
		return future.Failed[struct{}](err)
	}
	done := future.New[struct{}]()
	uid, conn, home := c.uid, c.conn, r.home(name)
	r.at(home, done, func() {
		rm := home.rooms[name]
		if rm == nil || rm.members[uid].conn != conn || uid == 0 {
			done.Fail(Errorf(FailedPrecondition, "only members can speak in room %q: join it first", name))
			return
		}
		if r.crowded(rm) {
			done.Fail(errCrowded())
			return
		}
		r.broadcast(rm, frame)
		done.Resolve(struct{}{})
	})
	return done
}

// at runs fn on the loop of a room's hub.
func (r *Rooms) at(home *Hub, done interface{ Fail(error) bool }, fn func()) {
	if !home.loop.AddCallback(fn) {
		done.Fail(Errorf(Unavailable, "the server is shutting down"))
	}
}

// leave takes the session out of the room, on the room's loop.
func (r *Rooms) leave(home *Hub, name string, uid, conn uint64) {
	rm := home.rooms[name]
	if rm == nil || rm.members[uid].conn != conn {
		return
	}
	rm.byHub[rm.members[uid].hub].remove(conn)
	delete(rm.members, uid)
	if len(rm.members) == 0 {
		delete(home.rooms, name)
		return
	}
	r.tell(rm, r.options.Left, name, uid)
}

// leaveAll takes a session that ends out of all its rooms.
func (r *Rooms) leaveAll(s *session) {
	uid, conn := s.uid, s.conn
	for _, name := range s.ext.rooms {
		home := r.home(name)
		home.loop.AddCallback(func() { r.leave(home, name, uid, conn) })
	}
}

func (r *Rooms) tell(rm *room, method, name string, uid uint64) {
	if frame, err := encodeNotification(method, []any{name, uid}); err == nil {
		r.broadcast(rm, frame)
	}
}

// broadcast hands the frame to every hub that has members.
func (r *Rooms) broadcast(rm *room, frame []byte) {
	for i := range rm.byHub {
		if list := &rm.byHub[i]; len(list.conns) > 0 {
			list.shared = true
			r.peers.hubs[i].deliver(delivery{conns: list.conns, frame: frame})
		}
	}
}

// crowded reports whether a loop is too far behind to hear more from the room.
// Who leaves has joined, so it is enough that joining and speaking ask.
func (r *Rooms) crowded(rm *room) bool {
	for i := range rm.byHub {
		if len(rm.byHub[i].conns) > 0 && r.peers.hubs[i].crowded() {
			return true
		}
	}
	return false
}

// outOfRoom takes a room that could not be joined off its session.
func (h *Hub) outOfRoom(conn uint64, name string) {
	s := h.session(conn)
	if s == nil || s.ext == nil {
		return
	}
	s.ext.rooms = slices.DeleteFunc(s.ext.rooms, func(n string) bool { return n == name })
	h.sessions.shrink(s)
}

// leaveRooms takes the session out of its rooms.
func (h *Hub) leaveRooms(s *session) {
	if s.ext == nil || len(s.ext.rooms) == 0 {
		return
	}
	if h.leave != nil {
		h.leave(s)
	}
	s.ext.rooms = nil
	h.sessions.shrink(s)
}
