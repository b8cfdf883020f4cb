// Package player shows players their own state and lets them choose a name. What
// a player is and which names are allowed is in package game; where players are
// kept is the affair of package players.
//
// Its one invariant: a player's state is told only to the player.
package player

import (
	"errors"
	"maps"

	"gameserverd/internal/boards"
	"gameserverd/internal/commit"
	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/internal/players"
	"gameserverd/internal/rpc"
)

// Handlers are the methods of the area.
type Handlers struct {
	players *players.Players
	boards  *boards.Boards
}

// New returns the area's handlers.
func New(players *players.Players, boards *boards.Boards) *Handlers {
	return &Handlers{players, boards}
}

// Player is a player's state as clients see it.
type Player struct {
	UID       uint64           `msgpack:"uid"`
	Name      string           `msgpack:"name"`
	Level     int64            `msgpack:"level"`
	Gold      int64            `msgpack:"gold"`       // 0 to 2^53-1
	Items     map[string]int64 `msgpack:"items"`      // how many of each, by item; 1 to 2^53-1
	CreatedMS int64            `msgpack:"created_ms"` // the first login, in UTC milliseconds
}

// Get returns the caller's own state. A player begins with the first login; the
// player 7 is called player7 then.
func (h *Handlers) Get(c *rpc.Call) *future.Future[Player] {
	return players.Look(h.players, c.UID(), func(s *players.State) (Player, error) {
		return view(s.Player), nil
	})
}

// Rename gives the caller another name, and returns the caller's state with it.
// Boards show it from then on.
//
// A name has 1 to 24 characters, no control characters, and none of the signs of
// SQL (" ; ` \ = -- /*, and ' but between letters): else invalid_argument. It is unique without regard to case and to differences that
// nobody sees, such as white space at its ends: already_exists if another player
// has it. So is a name like player7, unless it is the one that the caller began
// with. The name that is given up is free for others at once.
//
//rpc:durable
func (h *Handlers) Rename(c *rpc.Call, name string) *future.Future[Player] {
	uid := c.UID()
	if err := game.CheckRename(uid, name); err != nil {
		return future.Failed[Player](err)
	}
	// Read first: most names that are taken cost no commit. Two who want one name at
	// the same time are told apart by its key in SQL.
	free := future.Map(rpc.Waits(c, "players.name_owner", h.players.NameOwner(name)), c, func(owner uint64) (_ struct{}, err error) {
		if owner != 0 && owner != uid {
			err = game.TakenName(name)
		}
		return struct{}{}, err
	})
	renamed := players.ChangeIf(h.players, uid, free, func(d *players.Draft) (Player, error) {
		p := d.Player()
		if p.Name == name {
			return view(p), nil
		}
		p.Name = name
		d.Rename(name)
		d.OnCommit(func() { h.boards.Rename(uid, name) })
		return view(p), nil
	})
	return future.Catch(rpc.Waits(c, "players.change", renamed), c, func(err error) error {
		if errors.Is(err, commit.ErrDuplicate) {
			return game.TakenName(name)
		}
		return err
	})
}

// view is p for the wire; it shares nothing with p.
func view(p game.Player) Player {
	items := maps.Clone(p.Items)
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
