package tasks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"gameserverd/internal/commit"
	"gameserverd/internal/store"
)

// Options are what Tasks are made from.
type Options struct {
	SQL         *store.SQL
	Group       *commit.Group
	Redis       *store.Redis
	Definitions []*Definition
	Queues      map[string]int // weight by name; default is among them
	Concurrency int            // tasks that run at once in this process
	Schedules   []Schedule
	CatchUp     time.Duration // how late a tick that was missed still runs
	Timeout     time.Duration // until Apply is answered, whatever SQL does; 0: 2 s
	Lease       time.Duration // after which a worker that says nothing is taken for dead, and what nobody has begun is handed over anew; 0: 15 s
	Lost        time.Duration // the same for ephemeral tasks, from 7 s to 30 s; 0: 30 s
	Grace       time.Duration // how long a function may go on when its context has ended; 0: 30 s
	Parts       *Parts
	Log         *zap.Logger
	Clock       func() time.Time
	Bus         BusHandler // what messages of other processes do here

	// Trace begins a span of each run that is to be traced, from a queue, due at a
	// time (before 1971: at once); end is told what came of it. nil: nobody traces.
	Trace func(ctx context.Context, c *Call, queue string, due time.Time) (_ context.Context, end func(error))
}

// Tasks applies tasks, and runs them once Start was called. Make one with New, end it
// with Stop, Drain and Close, in this order.
type Tasks struct {
	// immutable after New
	o           Options
	definitions map[string]*Definition
	client      *asynq.Client
	carrier     *carrier
	gate        *gate
	link        *link
	slots       slots         // full when as many tasks run as may
	unwritten   chan struct{} // full when as many ends wait to be written as may
	stats       map[string]*taskCounts
	claims      *batcher[claim, *row]
	ends        *batcher[ending, State]
	bus         *bus
	ids         *ids

	// immutable after Start
	server  *asynq.Server // nil: nothing runs here
	started atomic.Bool

	// any goroutine
	mu        sync.Mutex // guards running, ephemeral and closed
	storing   storing
	running   map[int64]*run  // by the task's row
	ephemeral map[string]*run // by the task's id
	closed    bool            // no run begins any more
	runs      sync.WaitGroup  // of durable tasks
	handling  atomic.Int64    // what asynq has brought and was not begun yet, or not answered
	strays    atomic.Int64    // functions whose runs were given up and that have not returned
	depths    depthsCache
	stopOnce  sync.Once     // of Stop
	stopped   chan struct{} // closed when Stop has ended
	shutOnce  sync.Once     // of shutServer
	shut      chan struct{} // closed when asynq has ended
	counts    counts
	schedules atomic.Pointer[[]Schedule]
	nudge     chan struct{} // wakes the reconciler
	looks     atomic.Int64  // of the reconciler; for tests
	ctx       context.Context
	cancel    context.CancelFunc
	loops     sync.WaitGroup
}

type counts struct {
	applied, handed, done, failed, archived, revoked, lost, strayed atomic.Int64
}

// Counters are what has happened since New. Any goroutine.
type Counters struct {
	Applied, Handed, Done, Failed, Archived, Revoked int64
	Lost                                             int64 // runs whose worker was taken for dead
	Strayed                                          int64 // runs that were given up because their function did not stop
}

// Counters returns the counters. They are not all of one moment. Any goroutine.
func (t *Tasks) Counters() Counters {
	c := &t.counts
	return Counters{c.applied.Load(), c.handed.Load(), c.done.Load(), c.failed.Load(), c.archived.Load(), c.revoked.Load(), c.lost.Load(), c.strayed.Load()}
}

// Running is how many tasks run in this process. Any goroutine.
func (t *Tasks) Running() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.running) + len(t.ephemeral)
}

// New makes Tasks that can apply; nothing is connected and nothing runs yet.
func New(o Options) (*Tasks, error) {
	if errMessageType != nil {
		return nil, errMessageType
	}
	orElse(&o.Timeout, defaultTimeout)
	orElse(&o.Lease, defaultLease)
	orElse(&o.Lost, asynqLease)
	orElse(&o.Grace, defaultGrace)
	t := &Tasks{
		o: o, definitions: make(map[string]*Definition), running: make(map[int64]*run), ephemeral: make(map[string]*run),
		storing: storing{timeout: o.Timeout},
		stopped: make(chan struct{}), shut: make(chan struct{}), nudge: make(chan struct{}, 1), stats: newStats(o.Definitions),
		slots: make(slots, o.Concurrency), unwritten: make(chan struct{}, maxUnwritten),
	}
	for _, d := range o.Definitions {
		if t.definitions[d.Name] != nil {
			return nil, fmt.Errorf("tasks: there are two tasks %s", d.Name)
		}
		t.definitions[d.Name] = d
	}
	if _, ok := o.Queues[DefaultQueue]; !ok {
		return nil, fmt.Errorf("tasks: there is no queue %q", DefaultQueue)
	}
	t.schedules.Store(&o.Schedules)
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.bus = newBus(t, o.Redis.InProcess())
	t.gate = newGate(o.Queues, o.Redis.InProcess())
	t.link = newLink(o.Redis.Client(), t.gate, t.slots, t.bus.filled, t.keepAside)
	t.client = asynq.NewClientFromRedisClient(t.link)
	t.claims = newBatcher(t, "claim", t.takeRows)
	t.ends = newBatcher(t, "end", t.endRows)
	t.carrier = newCarrier(t)
	t.ids = newIDs()
	return t, nil
}

// Start begins to hand over what is applied and to look after what was; with a
// Concurrency it also runs tasks. The tables must be there. Once. Any goroutine but a
// loop's.
func (t *Tasks) Start() error {
	t.started.Store(true)
	t.loops.Go(t.carrier.run)
	t.loops.Go(t.reconcile)
	t.loops.Go(t.bus.run)
	t.loops.Go(t.schedule)
	if t.o.Concurrency == 0 {
		return nil
	}
	t.loops.Go(t.claims.run)
	t.loops.Go(t.ends.run)
	t.loops.Go(t.renewLeases)
	t.server = asynq.NewServerFromRedisClient(t.link, t.serverConfig())
	if err := t.server.Start(asynq.HandlerFunc(t.process)); err != nil {
		return fmt.Errorf("tasks: %w", err)
	}
	return nil
}

func orElse(d *time.Duration, otherwise time.Duration) {
	if *d == 0 {
		*d = otherwise
	}
}

// stopTime bounds the wait for asynq to begin what it has got.
const stopTime = time.Second

// Stop takes no more work; what runs goes on. It may block until Redis has answered a
// question that was on its way. Any goroutine but a loop's.
func (t *Tasks) Stop() {
	t.stopOnce.Do(func() {
		t.gate.stop()
		if t.server != nil {
			taken, cancel := context.WithTimeout(t.ctx, stopTime)
			t.link.awaitTaken(taken)
			cancel()
			t.server.Stop()
		}
		close(t.stopped)
	})
	<-t.stopped
}

// Drain waits for what runs until ctx ends; then it tells it to stop and hands it
// back, so that another process begins it at once. It reports the tasks that were
// handed back. What waits here until it is due is handed to Redis. All this may take a
// second more than ctx if SQL is away, and another if Redis is. Any goroutine but a loop's.
func (t *Tasks) Drain(ctx context.Context) (handedBack []string) {
	go t.Stop()
	select {
	case <-t.stopped:
	case <-ctx.Done():
	}
	if !t.started.Load() {
		return nil
	}
	first := t.carrier.drain()
	if t.server != nil {
		handedBack = t.awaitRuns(ctx)
	}
	if first {
		over, cancel := context.WithTimeout(t.ctx, putBackTime)
		defer cancel()
		t.carrier.flush(over)
	}
	if t.server != nil {
		t.shutServer(ctx)
	}
	return handedBack
}

// ErrCarrier is the error of Close when asynq has not ended. It then still waits for
// Redis, and crashes the process when the connection is closed under it: whoever gets
// this error must leave the store.Redis open, and end the process.
var ErrCarrier = errors.New("tasks: what carries them waits for redis")

// Close ends everything, whether it was drained or not; then nothing of it uses the
// stores any more. ctx bounds it. Any goroutine but a loop's.
func (t *Tasks) Close(ctx context.Context) error {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		if t.started.Load() {
			t.Stop()
			over, cancel := context.WithCancel(ctx)
			cancel()
			t.Drain(over)
		}
	}()
	select {
	case <-drained:
	case <-ctx.Done():
	}
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cancel()
	ended := make(chan struct{})
	go func() {
		<-drained
		t.loops.Wait()
		t.runs.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = errors.New("tasks: a store holds what is left of them")
	}
	if t.server != nil && t.started.Load() {
		select {
		case <-ctx.Done():
		case <-t.shut:
		}
		select {
		case <-t.shut:
		default:
			return ErrCarrier
		}
	}
	return err
}

// define finds the function of a task by its name.
func (t *Tasks) define(name string) *Definition { return t.definitions[name] }

// Definitions are the tasks there are, in the order in which they were given. Any
// goroutine.
func (t *Tasks) Definitions() []*Definition { return t.o.Definitions }
