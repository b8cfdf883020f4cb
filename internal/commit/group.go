// Package commit is group commit: the changes of all players that wait are one transaction, and the next begins when it has ended.
// Whoever submitted a change is told when it is known whether it is stored.
//
// It is not an ORM and knows of the game only the row that fences two processes (players.uid, version, seen_ms). It reads nothing
// for callers: internal/store does. It keeps nothing: a change that was accepted is in memory until it is stored.
//
// Its one invariant: Done is called exactly once for each accepted change, when it is known whether it is stored and not before; a
// change whose Outcome has no error is stored, once, and one whose Outcome has an error is not stored (ErrUnknown, at a Close that was
// cut, is the one exception, and says so).
//
// How an unknown outcome becomes known: every transaction writes its number to this run's row of the table writers. When the answer to
// a COMMIT is lost, that row is read with a lock on a new connection. The lock waits for the old transaction, if it still lives; the
// number tells whether it committed. Until then nothing else is written. See resolve.go.
package commit

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/store"
	"gameserverd/wire"
)

// Options says how a Group is made. DB is needed; whatever else is zero has the default named here.
type Options struct {
	DB         *store.SQL
	BatchRows  int           // rows of one transaction, 500, at most 10,000; a change that has more is a transaction alone
	BatchBytes int           // bytes of one transaction and of one statement, 4 MiB; a row must fit. Below max_allowed_packet (16 MiB)
	Queue      int           // changes that have not ended, 20,000
	QueueBytes int           // bytes of these, 64 MiB
	Timeout    time.Duration // of one attempt to store a batch, connecting and COMMIT included, 2 s
	Log        *zap.Logger
	Health     *store.Health // is told what the store does
	Clock      func() time.Time
}

func (o *Options) setDefaults() {
	for _, d := range []struct {
		option *int
		value  int
	}{{&o.BatchRows, 500}, {&o.BatchBytes, 4 << 20}, {&o.Queue, 20_000}, {&o.QueueBytes, 64 << 20}} {
		if *d.option <= 0 {
			*d.option = d.value
		}
	}
	o.BatchRows = min(o.BatchRows, 10_000) // SQLite has 32,766 placeholders for a statement
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Health == nil {
		o.Health = store.NewHealth("sql", nil, o.Clock)
	}
}

// Group stores changes, many in one transaction. Make one with New, end it with Close.
type Group struct {
	// immutable after New
	o       Options
	connect func(context.Context) (session, error)
	writer  int64           // this run's row in the table writers
	ctx     context.Context // ends when Close gives up
	giveUp  context.CancelFunc
	ended   chan struct{} // closed when the runner has ended

	// any goroutine
	mu      sync.Mutex // guards queue, closing
	changed *sync.Cond // of mu: something became ready or ended, or closing was set
	queue   queue
	closing bool
	counts  counts
	cut     atomic.Bool // changes have ended that Close was to store
}

// New starts a Group. It does not connect: that is part of the first batch. Its goroutine ends with Close.
func New(o Options) *Group { return start(o, func(s session) session { return s }) }

// start is New with something around every session, for tests.
func start(o Options, around func(session) session) *Group {
	o.setDefaults()
	g := &Group{o: o, writer: rand.Int64(), ended: make(chan struct{}), queue: newQueue()}
	g.connect = func(ctx context.Context) (session, error) {
		conn, err := o.DB.Conn(ctx)
		if err != nil {
			return nil, err
		}
		return around(&prepared{conn: conn, statements: make(map[*statement]*store.Stmt)}), nil
	}
	g.changed = sync.NewCond(&g.mu)
	g.ctx, g.giveUp = context.WithCancel(context.Background())
	go newRunner(g).run()
	return g
}

// Submit accepts a change to be stored; changes that have a key in common are applied in the order of their Submits. It fails, and
// Done is never called, with a *wire.Error when the queue is full (resource_exhausted) or the Group is closed (unavailable), and with
// another error when the change cannot be written as it is: wrong number or type of values, a key twice, a row over BatchBytes.
// After resource_exhausted the same change may be submitted again. Any goroutine.
func (g *Group) Submit(c *Change) error {
	if s := c.state.Load(); s != fresh {
		return notFresh(s)
	}
	if err := c.prepare(g.o.BatchBytes, g.o.QueueBytes); err != nil {
		return err
	}
	c.group.Store(g)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closing:
		return &wire.Error{Code: wire.Unavailable, Message: "the server is stopping", RetryAfter: time.Second}
	case g.queue.length >= g.o.Queue || g.queue.bytes+c.bytes > g.o.QueueBytes:
		return &wire.Error{Code: wire.ResourceExhausted, Message: "too many changes wait to be stored", RetryAfter: time.Second}
	case !c.state.CompareAndSwap(fresh, waiting):
		return notFresh(c.state.Load())
	}
	g.queue.add(c)
	g.changed.Broadcast()
	return nil
}

func notFresh(state uint32) error {
	if state == dropped {
		return ErrAbandoned
	}
	return errors.New("commit: a change was submitted twice")
}

// abandoned ends a change that Abandon has settled: it leaves the queue at once, with its memory, whatever the store does.
func (g *Group) abandoned(c *Change) {
	c.outcome = Outcome{Err: ErrAbandoned}
	g.counts.abandoned.Add(1)
	g.end([]*Change{c})
}

// end takes settled changes out of the queue and has their Done called.
func (g *Group) end(changes []*Change) {
	if len(changes) == 0 {
		return
	}
	g.mu.Lock()
	for _, c := range changes {
		g.queue.remove(c)
	}
	g.changed.Broadcast()
	g.mu.Unlock()
	g.deliver(changes)
}

// await blocks until changes are ready and appends a batch of them; none when the Group is closed and all have ended, or it gave up.
func (g *Group) await(batch []*Change) []*Change {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.ctx.Err() == nil && len(g.queue.ready) == 0 && (!g.closing || g.queue.length > 0) {
		g.changed.Wait()
	}
	if g.ctx.Err() != nil {
		return batch
	}
	return g.queue.take(batch, g.o.BatchRows, g.o.BatchBytes)
}

// closeGrace is how long Close waits, after ctx has ended, for the calls to the store that were cancelled with it.
const closeGrace = time.Second

// Close refuses further changes, stores what waits and stops. When ctx ends first it gives up: what is left and known not to be stored
// is done with ErrClosed, and what a transaction without an answer has, with ErrUnknown; Close then returns ctx's error, a second later
// at most. It never blocks longer, even if a driver does. It does not close the store. Any goroutine, but not a loop.
func (g *Group) Close(ctx context.Context) error {
	g.mu.Lock()
	g.closing = true
	g.changed.Broadcast()
	g.mu.Unlock()
	if !g.waitForEnd(ctx) || g.cut.Load() {
		if err := ctx.Err(); err != nil {
			return err
		}
		return ErrClosed // it was another Close that gave up
	}
	return nil
}

// waitForEnd tells whether the runner has ended, by itself or because ctx has.
func (g *Group) waitForEnd(ctx context.Context) bool {
	select {
	case <-g.ended:
		return true
	case <-ctx.Done():
	}
	g.giveUp()
	g.mu.Lock()
	g.changed.Broadcast()
	g.mu.Unlock()
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-g.ended:
		return true
	case <-grace.C:
		return false
	}
}
