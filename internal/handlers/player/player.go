// Package player shows players their own state. What a player is and how one
// begins is in package game; where players are kept is the Store's affair.
//
// Its one invariant: a player's state is told only to the player.
package player

import (
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/internal/rpc"
)

// Store keeps the players.
type Store interface {
	// Load resolves to the state of the player uid, who is made, at the time now,
	// if there is none yet. Any goroutine.
	Load(uid uint64, now time.Time) *future.Future[game.Player]
}

// Handlers are the methods of the area.
type Handlers struct {
	store Store
}

// New returns the area's handlers.
func New(store Store) *Handlers { return &Handlers{store} }

// Player is a player's state as clients see it.
type Player struct {
	UID       uint64           `msgpack:"uid"`
	Name      string           `msgpack:"name"`
	Level     int64            `msgpack:"level"`
	Gold      int64            `msgpack:"gold"`
	Items     map[string]int64 `msgpack:"items"`      // how many of each, by item
	CreatedMS int64            `msgpack:"created_ms"` // the first login, in UTC milliseconds
}

// Get returns the caller's own state. A player begins with the first login.
func (h *Handlers) Get(c *rpc.Call) *future.Future[Player] {
	return future.Map(h.store.Load(c.UID(), c.Now()), c, func(p game.Player) (Player, error) {
		return view(p), nil
	})
}

func view(p game.Player) Player {
	items := p.Items
	if items == nil {
		items = map[string]int64{} // an empty map on the wire, not nil
	}
	return Player{
		UID:       p.UID,
		Name:      p.Name,
		Level:     p.Level,
		Gold:      p.Gold,
		Items:     items,
		CreatedMS: p.Created.UnixMilli(),
	}
}
