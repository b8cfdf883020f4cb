package boards

import (
	"context"
	"sync"
	"time"

	"gameserverd/internal/future"
	"gameserverd/wire"
)

// retryAfter is when to ask again for what is not there for now.
const retryAfter = time.Second

func unavailable(message string) error {
	return &wire.Error{Code: wire.Unavailable, Message: message, RetryAfter: retryAfter}
}

// Not known whether for long: what they say is all that a client can know.
var (
	errNotWhole = unavailable("the board is being made ready")
	errNoRank   = unavailable("the score is kept; its rank is not known for now")
	errAway     = unavailable("the boards cannot be reached")
)

func errNoScore(uid uint64, board string) error {
	return wire.Errorf(wire.NotFound, "player %d has no score on the board %q", uid, board)
}

// memory is an index in this process. Its calls take microseconds and are answered when they return, on whatever loop they were made.
//
// One lock guards a board: a row of its own is written under a microsecond or two, and a page of a hundred is read in less than ten, so
// nobody waits long. Readers share it.
type memory struct {
	// immutable
	board Board

	// any goroutine
	filling sync.Mutex // held throughout fill, so that there is one at a time
	mu      sync.RWMutex
	live    *ladder // nil: never filled
	late    *late   // what came while fill reads the rows; nil: it does not
}

// late is what happens to a board while its rows are read: each may have been read before or after.
type late struct {
	best  map[uint64]Entry
	names map[uint64]string
}

// put keeps e if it is better than what came before. Its name is then newer than a rename before it.
func (l *late) put(m *ladder, e Entry) {
	if have, ok := l.best[e.UID]; !ok || m.placeOf(e).better(m.placeOf(have)) {
		l.best[e.UID] = e
		delete(l.names, e.UID)
	}
}

func newMemory(b Board) *memory { return &memory{board: b} }

func (m *memory) put(e Entry) *future.Future[int64] {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.late != nil {
		m.late.put(&ladder{lowest: m.board.Lowest}, e)
	}
	if m.live == nil {
		return future.Failed[int64](errNoRank)
	}
	return future.Resolved(m.live.put(e))
}

func (m *memory) rename(uid uint64, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.late != nil {
		m.late.names[uid] = name
	}
	if m.live != nil {
		m.live.rename(uid, name)
	}
}

func (m *memory) top(n int) *future.Future[[]Ranked] {
	rows := make([]Ranked, 0, n)
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.live == nil {
		return future.Failed[[]Ranked](errNotWhole)
	}
	return future.Resolved(m.live.rows(rows, 0, n))
}

func (m *memory) around(uid uint64, n int) *future.Future[[]Ranked] {
	rows := make([]Ranked, 0, n)
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.live == nil {
		return future.Failed[[]Ranked](errNotWhole)
	}
	before, known := m.live.rankOf(uid)
	if !known {
		return future.Failed[[]Ranked](errNoScore(uid, m.board.Name))
	}
	return future.Resolved(m.live.rows(rows, window(before, n, m.live.len()), n))
}

// fill makes a new ladder beside the one that is looked at, and puts it in its place.
func (m *memory) fill(ctx context.Context, read reader) error {
	m.filling.Lock()
	defer m.filling.Unlock()
	m.mu.Lock()
	m.late = &late{best: make(map[uint64]Entry), names: make(map[uint64]string)}
	m.mu.Unlock()
	fresh := newLadder(m.board.Lowest)
	err := read(ctx, func(e Entry) error {
		fresh.load(e)
		return nil
	})
	if err == nil {
		fresh.indexed()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	late := m.late
	m.late = nil
	if err != nil {
		return err
	}
	for _, e := range late.best {
		fresh.put(e)
	}
	for uid, name := range late.names {
		fresh.rename(uid, name)
	}
	m.live = fresh
	return nil
}

func (m *memory) close(context.Context) error { return nil }
