// Package handlers is where the game's remote procedures are: one folder an
// area, one exported method a procedure. `make generate` reads them and writes
// the code that connects them; docs/handlers.md shows how to add one.
//
// It has no procedure of its own, and nothing in it depends on how the daemon is
// put together: what an area needs comes as Parts.
//
// Its one invariant: an area's New gets exactly the parts whose types it asks
// for, so adding an area changes no other file.
package handlers

import (
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/boards"
	"gameserverd/internal/game"
	"gameserverd/internal/handlers/auth"
	"gameserverd/internal/handlers/duel"
	"gameserverd/internal/handlers/room"
	"gameserverd/internal/players"
	"gameserverd/internal/rpc"
	"gameserverd/internal/store"
	"gameserverd/internal/tasks"
)

// Parts is everything of the daemon that a handler can ask for. A parameter of
// an area's New is filled with the one field whose type fits it. All fields are
// set before Methods is called and immutable after.
type Parts struct {
	Peers    *rpc.Peers    // everybody who is connected
	Rooms    *rpc.Rooms    // named groups of them
	Registry *rpc.Registry // the methods that are served

	Verifier auth.Verifier    // reads login tokens
	Players  *players.Players // the players' states
	Boards   *boards.Boards   // who stands where
	SQL      *store.SQL       // for tables of an area's own
	Redis    *store.Redis     // for what may be lost: all in it can be made again from SQL
	Tasks    *tasks.Tasks     // for what is slow, or for later

	// What a reload changes comes as a function, which is as cheap as a field: each
	// call of a method sees what is in force.
	Shop func() *game.Shop // what is sold
	Auth func() auth.Options
	Duel func() duel.Options
	Room func() room.Options

	Log   *zap.Logger
	Clock func() time.Time // the wall clock; inside a call, rpc.Call.Now is enough and cheaper
}
