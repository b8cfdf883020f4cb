// Package rank is the leaderboards for players. Which score is better is in
// package game; who stands where, package boards knows.
//
// Its one invariant: a score is on a board only if it is stored.
package rank

import (
	"gameserverd/internal/boards"
	"gameserverd/internal/future"
	"gameserverd/internal/game"
	"gameserverd/internal/players"
	"gameserverd/internal/rpc"
)

// MaxRows is how many rows of a board can be asked for at once.
const MaxRows = 100

// Handlers are the methods of the area.
type Handlers struct {
	players *players.Players
	boards  *boards.Boards
}

// New returns the area's handlers.
func New(players *players.Players, boards *boards.Boards) *Handlers {
	return &Handlers{players, boards}
}

// Standing is where a player stands on a board.
type Standing struct {
	Rank int64 `msgpack:"rank"` // from 1
	Best int64 `msgpack:"best"` // the player's best score, which need not be the one just sent
}

// Submit enters a score of the caller on a board, which keeps the caller's best,
// and returns that and its rank now.
//
// The best is the highest score or the lowest, as the board is configured; of
// equal scores the one that came first ranks before the other.
//
// A board that does not exist is invalid_argument, and the message names those
// that do; a score beyond 2^53-1 or -(2^53-1) is out_of_range. When the answer is
// unavailable or was lost, send the score again: that does no harm if it is
// stored already.
//
//rpc:durable
func (h *Handlers) Submit(c *rpc.Call, board string, score int64) *future.Future[Standing] {
	b, err := h.boards.Known(board)
	if err != nil {
		return future.Failed[Standing](err)
	}
	var best game.Best
	var rank *future.Future[int64]
	uid := c.UID()
	stored := players.Change(h.players, uid, func(d *players.Draft) (_ struct{}, err error) {
		var better bool
		best, better, err = game.Submit(d.State().Bests[board], score, b.Lowest, d.Now().UnixMicro())
		if err != nil {
			return struct{}{}, err
		}
		if better {
			d.PutBest(board, best)
		}
		// After the commit and on the player's loop, as a change of the name is: so the
		// board gets both in the order in which they were made.
		name := d.State().Player.Name
		d.OnCommit(func() {
			rank = h.boards.Put(board, boards.Entry{UID: uid, Name: name, Score: best.Score, Came: best.Came})
		})
		return struct{}{}, nil
	})
	return future.Chain(rpc.Waits(c, "players.change", stored), c, func(struct{}) (*future.Future[Standing], error) {
		return future.Map(rpc.Waits(c, "boards.put", rank), c, func(rank int64) (Standing, error) { return Standing{rank, best.Score}, nil }), nil
	})
}

// Row is a line of a board.
type Row struct {
	Rank  int64  `msgpack:"rank"` // from 1
	UID   uint64 `msgpack:"uid"`
	Name  string `msgpack:"name"` // the player's name now
	Score int64  `msgpack:"score"`
}

// Top returns the first n rows of a board, 1 to 100, or all if there are fewer.
func (h *Handlers) Top(c *rpc.Call, board string, n int) *future.Future[[]Row] {
	if err := h.check(board, n); err != nil {
		return future.Failed[[]Row](err)
	}
	return future.Map(rpc.Waits(c, "boards.top", h.boards.Top(board, n)), c, rows)
}

// Around returns n rows of a board, 1 to 100, or all if there are fewer, with the
// caller's own as near to the middle as there is room. A caller without a score
// on the board is not_found.
func (h *Handlers) Around(c *rpc.Call, board string, n int) *future.Future[[]Row] {
	if err := h.check(board, n); err != nil {
		return future.Failed[[]Row](err)
	}
	return future.Map(rpc.Waits(c, "boards.around", h.boards.Around(board, c.UID(), n)), c, rows)
}

func (h *Handlers) check(board string, n int) error {
	if n < 1 || n > MaxRows {
		return rpc.Errorf(rpc.InvalidArgument, "n must be from 1 to %d, got %d", MaxRows, n)
	}
	_, err := h.boards.Known(board)
	return err
}

func rows(ranked []boards.Ranked) ([]Row, error) {
	out := make([]Row, len(ranked))
	for i, r := range ranked {
		out[i] = Row(r)
	}
	return out, nil
}
