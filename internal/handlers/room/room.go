// Package room lets players talk in groups. Who is in a room, and in what order
// its members hear of what happens, is kept by rpc.Rooms.
//
// Its one invariant: what a client sends reaches others only within the limits
// checked here.
package room

import (
	"unicode/utf8"

	"gameserverd/internal/future"
	"gameserverd/internal/rpc"
)

// Names of the notifications that members get. rpc.Rooms sends the first two.
const (
	Joined = "room.joined" // (room, uid)
	Left   = "room.left"   // (room, uid)
	Said   = "room.said"   // (room, uid, text, ms)
)

// MaxName is the length of the longest room name, in characters.
const MaxName = 64

// Options are the area's settings.
type Options struct {
	MaxTextBytes int // length of the longest text; at least 1
}

// Handlers are the methods of the area.
type Handlers struct {
	rooms   *rpc.Rooms
	options func() Options
}

// New returns the area's handlers.
func New(rooms *rpc.Rooms, options func() Options) *Handlers { return &Handlers{rooms, options} }

// Members says who is in a room.
type Members struct {
	Members []uint64 `msgpack:"members"` // uids, the caller's among them, in no order
}

// Join makes the caller a member of a room, whose name has 1 to 64 characters.
//
// Every member, the caller too, is notified with room.joined(room, uid). Joining
// again changes nothing. A connection that closes leaves its rooms.
func (h *Handlers) Join(c *rpc.Call, room string) *future.Future[Members] {
	if err := checkName("room.join", room); err != nil {
		return future.Failed[Members](err)
	}
	return future.Map(h.rooms.Join(c, room), c, func(uids []uint64) (Members, error) {
		return Members{uids}, nil
	})
}

// Leave ends the caller's membership of a room. The other members are notified
// with room.left(room, uid). Leaving a room that one is not in changes nothing.
func (h *Handlers) Leave(c *rpc.Call, room string) *future.Future[struct{}] {
	if err := checkName("room.leave", room); err != nil {
		return future.Failed[struct{}](err)
	}
	return h.rooms.Leave(c, room)
}

// Say notifies every member of a room, the caller too, with room.said(room, uid,
// text, ms). All members see one order. Who is no member cannot speak:
// failed_precondition.
func (h *Handlers) Say(c *rpc.Call, room, text string) *future.Future[struct{}] {
	if err := checkName("room.say", room); err != nil {
		return future.Failed[struct{}](err)
	}
	if n, most := len(text), h.options().MaxTextBytes; n < 1 || n > most {
		return future.Failed[struct{}](rpc.Errorf(rpc.InvalidArgument,
			"room.say: text must have 1 to %d bytes, got %d", most, n))
	}
	return h.rooms.Say(c, room, Said, room, c.UID(), text, c.Now().UnixMilli())
}

func checkName(method, room string) error {
	if n := utf8.RuneCountInString(room); n < 1 || n > MaxName {
		return rpc.Errorf(rpc.InvalidArgument, "%s: room must have 1 to %d characters, got %d", method, MaxName, n)
	}
	return nil
}
