// Package save keeps values for clients: cloud saves, settings, whatever a game
// wants to find again on another device. What is in them it does not know.
//
// Its one invariant: a value comes back byte for byte as it was put.
package save

import (
	"cmp"
	"slices"

	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/internal/players"
	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// Handlers are the methods of the area.
type Handlers struct{ players *players.Players }

// New returns the area's handlers.
func New(players *players.Players) *Handlers { return &Handlers{players} }

// Written says which version a save has now.
type Written struct {
	Version int64 `msgpack:"version"` // counts the writes of this key, from 1
}

// Put keeps a value under a key, for the caller alone.
//
// The key has 1 to 64 characters; the value is anything of up to 64 KiB as
// MessagePack, nested at most 29 deep, but for ext values such as timestamps
// (send times as milliseconds): else invalid_argument. A player can have 100
// keys: one more is failed_precondition.
//
// With if_version the value is kept only if the save has that version, 0 if there
// must be none: so two devices do not overwrite each other unseen. Otherwise it
// is aborted, with the version that is there as data {"version": int}. When an
// answer was lost, the same call again tells by aborted with the next version
// that the value may have been kept: read it, and compare.
//
// Versions of a key that was deleted begin at 1 again.
//
//rpc:durable
func (h *Handlers) Put(c *rpc.Call, key string, value rpc.Raw, ifVersion *int64) *future.Future[Written] {
	if err := checkPut(key, value); err != nil {
		return future.Failed[Written](err)
	}
	// The value is a copy, since the method returns a future: it can be kept.
	return rpc.Waits(c, "players.change", players.Change(h.players, c.UID(), func(d *players.Draft) (Written, error) {
		s, err := game.PutSave(d.State().Saves, key, value, ifVersion, d.Now().UnixMilli())
		if err != nil {
			return Written{}, err
		}
		d.PutSave(key, s)
		return Written{s.Version}, nil
	}))
}

func checkPut(key string, value rpc.Raw) error {
	if err := game.CheckSaveKey(key); err != nil {
		return err
	}
	if err := game.CheckSaveValue(len(value)); err != nil {
		return err
	}
	// What could not be sent back is not kept.
	if _, err := wire.Marshal(Saved{Value: value}); err != nil {
		return rpc.Errorf(rpc.InvalidArgument,
			"value must be nested at most 29 deep and have no ext values such as timestamps (send times as milliseconds)")
	}
	return nil
}

// Saved is a value that was put.
type Saved struct {
	Value   rpc.Raw `msgpack:"value"`   // byte for byte as it was put
	Version int64   `msgpack:"version"` // counts the writes of this key, from 1
}

// Get returns the value that the caller has put under a key; without one it is
// not_found.
func (h *Handlers) Get(c *rpc.Call, key string) *future.Future[Saved] {
	if err := game.CheckSaveKey(key); err != nil {
		return future.Failed[Saved](err)
	}
	return players.Look(h.players, c.UID(), func(s *players.State) (Saved, error) {
		save, err := game.FindSave(s.Saves, key)
		return Saved{save.Value, save.Version}, err
	})
}

// Info describes a save without its value.
type Info struct {
	Key       string `msgpack:"key"`
	Version   int64  `msgpack:"version"`    // counts the writes of this key, from 1
	Size      int    `msgpack:"size"`       // of the value, in bytes as MessagePack
	UpdatedMS int64  `msgpack:"updated_ms"` // the last write, in UTC milliseconds
}

// List describes all saves of the caller, sorted by key.
func (h *Handlers) List(c *rpc.Call) *future.Future[[]Info] {
	return players.Look(h.players, c.UID(), func(s *players.State) ([]Info, error) {
		list := make([]Info, 0, len(s.Saves))
		for key, save := range s.Saves {
			list = append(list, Info{key, save.Version, len(save.Value), save.UpdatedMS})
		}
		slices.SortFunc(list, func(a, b Info) int { return cmp.Compare(a.Key, b.Key) })
		return list, nil
	})
}

// Delete forgets what the caller has put under a key; without such a save it is
// not_found.
//
// With if_version it is done only if the save has that version, and otherwise
// aborted, with the version that is there as data {"version": int}.
//
//rpc:durable
func (h *Handlers) Delete(c *rpc.Call, key string, ifVersion *int64) *future.Future[struct{}] {
	if err := game.CheckSaveKey(key); err != nil {
		return future.Failed[struct{}](err)
	}
	return rpc.Waits(c, "players.change", players.Change(h.players, c.UID(), func(d *players.Draft) (struct{}, error) {
		save, err := game.FindSave(d.State().Saves, key)
		if err == nil {
			err = save.CheckVersion(ifVersion)
		}
		if err == nil {
			d.DeleteSave(key)
		}
		return struct{}{}, err
	}))
}
