package boards

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/future"
	"gameserverd/internal/store"
)

const (
	// maxQueue is how many entries and names may wait for Redis. When there are more they are forgotten, and the index is made again from
	// SQL, which has them all, before anything is said from it.
	maxQueue = 100_000
	// lookEvery is how often an index is looked at without another reason: so it is made again soon after Redis came back empty, though
	// nobody asks.
	lookEvery = time.Second
)

// remote is an index in Redis, shared by all processes that have the same. Its keys and steps are in scripts/.
//
// Reads go straight to Redis. Writes go through one goroutine (lane), one at a time: so they take effect in the order of the calls,
// many become one round trip, and each says the number of the one before. A write that fails stays at the head of the queue, as a
// second time does no harm.
//
// How nothing is missing from an index that says it is whole: an entry is put after its commit. If Redis took it, it is there, until
// Redis loses it; that is noticed by the number of a write that is not there any more, or by keys that do not fit, and then, or if
// Redis never was asked or had to be given up on, all rows are read from SQL after that, the entry's among them.
type remote struct {
	// immutable after newRemote
	board   Board
	redis   *store.Redis
	read    reader
	timeout time.Duration
	log     *zap.Logger
	keys    []string
	process string // field of meta
	most    int    // changes in the queue
	part    int    // rows that are put in order together
	wake    chan struct{}
	ctx     context.Context // ends when close cannot wait any longer
	cancel  context.CancelFunc
	done    chan struct{} // closed when the lane has ended

	// any goroutine
	mu      sync.Mutex // guards what follows
	known   known
	queue   []change
	owed    int  // of the queue, so many at its head were answered without a rank; the index says nothing to us before it has them
	full    bool // the queue was given up: nothing is queued before all rows are read again
	away    bool // the last write failed
	fills   []*filling
	closing bool
}

// change is what waits for the lane: an entry, or a name alone.
type change struct {
	Entry
	onlyName bool
	since    time.Time
	rank     *future.Future[int64] // nil: nobody waits for it
}

// filling is a call of fill.
type filling struct {
	ctx  context.Context
	read reader
	done chan error // has room for one
}

func newRemote(o Options, b Board, read reader) *remote {
	x := &remote{
		board: b, redis: o.Redis, read: read, timeout: o.Timeout, log: o.Log.With(zap.String("board", b.Name)),
		keys: keysOf(b.Name), most: maxQueue, part: maxPart, process: "w:" + random(), wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	x.ctx, x.cancel = context.WithCancel(context.Background())
	go (&lane{remote: x}).run()
	return x
}

// random is a name that nobody else has.
func random() string {
	var b [8]byte
	rand.Read(b[:]) // never fails, as crypto/rand says
	return hex.EncodeToString(b[:])
}

func (x *remote) stir() {
	select {
	case x.wake <- struct{}{}:
	default: // it will look anyway
	}
}

func (x *remote) put(e Entry) *future.Future[int64] {
	c := change{Entry: e, since: time.Now(), rank: future.New[int64]()}
	if err := x.enqueue(c); err != nil {
		return future.Failed[int64](err)
	}
	return c.rank
}

func (x *remote) rename(uid uint64, name string) {
	_ = x.enqueue(change{Entry: Entry{UID: uid, Name: name}, onlyName: true, since: time.Now()}) // nobody waits
}

// enqueue lets c wait for the lane. The error is that its rank will not be known, though c may be in the queue.
func (x *remote) enqueue(c change) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.closing || x.full:
		return errNoRank
	case len(x.queue) >= x.most:
		x.full = true // the lane answers those who wait
		x.stir()
		return errNoRank
	case x.away:
		// It will be tried again in a moment; who is told so at once does not wait for nothing.
		c.rank = nil
		x.queue = append(x.queue, c)
		x.owed = len(x.queue)
		return errNoRank
	}
	x.queue = append(x.queue, c)
	x.stir()
	return nil
}

func (x *remote) top(n int) *future.Future[[]Ranked] { return x.rows(n, "", nil) }

func (x *remote) around(uid uint64, n int) *future.Future[[]Ranked] {
	return x.rows(n, uidText(uid), errNoScore(uid, x.board.Name))
}

// rows asks for n rows around a player, or the first.
func (x *remote) rows(n int, around string, missing error) *future.Future[[]Ranked] {
	x.mu.Lock()
	known, away := x.known, x.away || x.full || x.owed > 0
	x.mu.Unlock()
	if away {
		return future.Failed[[]Ranked](errAway)
	}
	out := future.New[[]Ranked]()
	reply := x.redis.Script(rowsScript, x.keys, x.process, known.epoch, known.acked, n, around)
	reply.Then(atOnce{}, func(r store.Reply, err error) {
		rows, err := x.readRows(r, err, missing)
		if err != nil {
			out.Fail(err)
			return
		}
		out.Resolve(rows)
	})
	return out
}

// atOnce runs what is short and waits for nothing on the goroutine that has the result, which is a worker of the store.
type atOnce struct{}

func (atOnce) AddCallback(fn func()) bool {
	fn()
	return true
}

func (x *remote) readRows(r store.Reply, err, missing error) ([]Ranked, error) {
	if err != nil {
		return nil, forCaller(err)
	}
	a, err := parseAnswer(r)
	switch {
	case err != nil:
		return nil, err
	case a.state != whole:
		return nil, errNotWhole // the lane sees it too
	}
	rows, there, err := parseRows(a.rest, x.board.Lowest)
	if err == nil && !there {
		err = missing
	}
	return rows, err
}

// fill has the lane bring all rows of SQL into the index. It fails when Redis cannot be reached; the index is made whole all the same, as
// soon as it can be.
func (x *remote) fill(ctx context.Context, read reader) error {
	f := &filling{ctx: ctx, read: read, done: make(chan error, 1)}
	x.mu.Lock()
	if x.closing {
		x.mu.Unlock()
		return errAway
	}
	x.fills = append(x.fills, f)
	x.mu.Unlock()
	x.stir()
	select {
	case err := <-f.done:
		return err
	case <-ctx.Done():
	}
	x.mu.Lock()
	waits := slices.Index(x.fills, f)
	if waits >= 0 {
		x.fills = slices.Delete(x.fills, waits, waits+1)
	}
	x.mu.Unlock()
	if waits >= 0 {
		return ctx.Err()
	}
	return <-f.done // the lane has it, and sees that ctx has ended
}

// close has the lane send what waits, once, and end.
func (x *remote) close(ctx context.Context) error {
	x.mu.Lock()
	x.closing = true
	x.mu.Unlock()
	x.stir()
	var err error
	select {
	case <-x.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	x.cancel()
	<-x.done
	return err
}
