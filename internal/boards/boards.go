// Package boards has the leaderboards: for each board an index of the players' best scores beside the SQL table ranks, which answers
// who is where in logarithmic time. The index is in memory, or in Redis when several processes share the boards.
//
// It is not where scores are kept: the truth is in SQL, written by the players' transactions, and an index is told after they have
// committed. It decides no rule of the game either, beyond which of two scores is ahead.
//
// Its one invariant: the index holds, for each player, the best of all entries that were put (by score, then by who came first),
// whatever their order and however often; so it can be made again from SQL at any time, while it is in use, and where it may lack
// something it says "unavailable" and never answers from a part.
package boards

import (
	"context"
	"strings"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/future"
	"gameserverd/internal/store"
	"gameserverd/wire"
)

// MaxRows is how many rows Top and Around give at most.
const MaxRows = 1000

// Options says how Boards are made.
type Options struct {
	Boards  []Board       // of two with one name the first counts
	DB      *store.SQL    // holds the tables ranks and players
	Redis   *store.Redis  // nil: the index is in memory
	Timeout time.Duration // within which a call to Redis is answered; 0: 2s
	Log     *zap.Logger   // nil: nothing is logged
}

// Boards are all leaderboards of the game. Make them with New; an index in Redis has a goroutine for each board until Close.
type Boards struct {
	// immutable after New
	db      *store.SQL
	log     *zap.Logger
	indexes map[string]index
	boards  []Board
}

// index is one board's index. Methods but fill and close may be called on a loop and do not block; entries are valid and names clipped.
type index interface {
	put(e Entry) *future.Future[int64]
	rename(uid uint64, name string)
	top(n int) *future.Future[[]Ranked]
	around(uid uint64, n int) *future.Future[[]Ranked]
	// fill makes the index hold all that read gives, and has no effect when it fails. It blocks.
	fill(ctx context.Context, read reader) error
	close(ctx context.Context) error
}

// reader calls row with each entry of a board in SQL, each player once, and ends early with an error of row's.
type reader func(ctx context.Context, row func(Entry) error) error

// New returns boards that know no score yet: see Load.
func New(o Options) *Boards {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	b := &Boards{db: o.DB, log: o.Log, indexes: make(map[string]index)}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	for _, board := range o.Boards {
		switch {
		case b.indexes[board.Name] != nil:
			continue
		case o.Redis == nil:
			b.indexes[board.Name] = newMemory(board)
		default:
			b.indexes[board.Name] = newRemote(o, board, b.readBoard(board))
		}
		b.boards = append(b.boards, board)
	}
	return b
}

// Close ends what New started and waits for it until ctx ends: entries that were put are sent to Redis if it can be reached. Any
// goroutine; it blocks.
func (b *Boards) Close(ctx context.Context) error {
	var first error
	for _, board := range b.boards {
		if err := b.indexes[board.Name].close(ctx); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Known returns the board of that name, or invalid_argument with the names there are. Any goroutine.
func (b *Boards) Known(name string) (Board, error) {
	for _, board := range b.boards {
		if board.Name == name {
			return board, nil
		}
	}
	return Board{}, b.unknown()
}

func (b *Boards) unknown() error {
	all := make([]string, len(b.boards))
	for i, board := range b.boards {
		all[i] = board.Name
	}
	return wire.Errorf(wire.InvalidArgument, "there is no such board; there are: %s", strings.Join(all, ", "))
}

// Put enters e, whose score has been committed, and results in its player's rank now, from 1. An entry that is not better than the one
// there, by score and then by Came, changes nothing, its name included; so entries may come in any order and more than once.
//
// An error says nothing of the score, which SQL has: unavailable when the rank is not known for now (the index catches up by itself),
// out_of_range for an entry that no index can hold, invalid_argument for an unknown board. Any goroutine.
func (b *Boards) Put(board string, e Entry) *future.Future[int64] {
	x, known := b.indexes[board]
	switch {
	case !known:
		return future.Failed[int64](b.unknown())
	case !e.valid():
		return future.Failed[int64](wire.Errorf(wire.OutOfRange, "a score must be from %d to %d", int64(-MaxScore), int64(MaxScore)))
	}
	e.Name = clip(e.Name)
	return x.put(e)
}

// Rename gives a player, whose new name has been committed, that name on all boards. Renames and Puts of one player take effect in the
// order of the calls, as far as one process makes them: a name that waits here while Redis is away may come after a newer one of another
// process, and shows until the player's next. Any goroutine.
func (b *Boards) Rename(uid uint64, name string) {
	name = clip(name)
	for _, board := range b.boards {
		b.indexes[board.Name].rename(uid, name)
	}
}

// Top results in the first n rows of a board, or all if there are fewer: 1 to MaxRows. The rows are the caller's. Errors:
// invalid_argument, unavailable. Any goroutine.
func (b *Boards) Top(board string, n int) *future.Future[[]Ranked] {
	x, err := b.askable(board, n)
	if err != nil {
		return future.Failed[[]Ranked](err)
	}
	return x.top(n)
}

// Around results in n rows, 1 to MaxRows, or all if there are fewer, with the player's own as near to the middle as there is room; of
// an even n one row more is before it than after. The rows are the caller's. Errors: not_found for a player without a score,
// invalid_argument, unavailable. Any goroutine.
func (b *Boards) Around(board string, uid uint64, n int) *future.Future[[]Ranked] {
	x, err := b.askable(board, n)
	if err != nil {
		return future.Failed[[]Ranked](err)
	}
	return x.around(uid, n)
}

func (b *Boards) askable(board string, n int) (index, error) {
	x, known := b.indexes[board]
	switch {
	case !known:
		return nil, b.unknown()
	case n < 1 || n > MaxRows:
		return nil, wire.Errorf(wire.InvalidArgument, "n must be from 1 to %d, got %d", MaxRows, n)
	}
	return x, nil
}
