package tasks

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"gameserverd/internal/future"
	"gameserverd/wire"
)

// delivery is a durable task on its way to a worker.
type delivery struct {
	id    int64
	queue string
	runMS int64
}

// carrierID is the id of what asynq has for one task. Each time that a row begins to
// wait it has another run_ms, and what is carried another id: so what asynq still has of
// a run whose worker died is not in the way of the next, and otherwise asynq takes it
// once, however often it is handed over.
func (d delivery) carrierID() string {
	return strconv.FormatInt(d.id, 10) + "." + strconv.FormatInt(d.runMS, 10)
}

// What asynq has for several tasks of a queue is called b, how many they are, and random
// letters; an ephemeral task is called e and random letters.
const (
	maxBundle       = 16 // tasks that asynq carries at once
	bundlePrefix    = "b"
	ephemeralPrefix = "e"
)

func bundleID(n int) string { return bundlePrefix + strconv.Itoa(n) + "." + rand.Text() }

// carries is how many tasks asynq carries under an id.
func carries(id string) int {
	if text, ok := strings.CutPrefix(id, bundlePrefix); ok {
		text, _, _ = strings.Cut(text, ".")
		if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= maxBundle {
			return n
		}
	}
	return 1
}

// carrierTimeout is longer than any task: we have timeouts of our own.
const carrierTimeout = 60 * 24 * time.Hour

// carrierRetries never end: asynq archives nothing of ours.
const carrierRetries = 1 << 30

const (
	carrierWorkers = 4
	carrierQueue   = 1 << 20 // deliveries that wait for Redis, of 48 bytes; one more is left to the reconciler
	ephemeralQueue = 16384   // ephemeral tasks that do; one more is refused
	carrierStep    = 64      // of either that one worker takes at once
)

// carrier hands to asynq what was committed, away from the loops.
type carrier struct {
	// immutable after newCarrier
	tasks     *Tasks
	wake      chan struct{} // one value when something may wait
	ephemeral chan ephemeralDelivery

	// any goroutine
	mu     sync.Mutex // guards what follows
	waits  []delivery
	timers map[delivery]*time.Timer // of what is due soon; nil: everything goes to asynq now
	busy   int                      // workers that have taken some
}

type ephemeralDelivery struct {
	name    string
	payload []byte
	o       options
	out     *future.Future[ID]
}

func newCarrier(t *Tasks) *carrier {
	return &carrier{tasks: t, wake: make(chan struct{}, 1), ephemeral: make(chan ephemeralDelivery, ephemeralQueue), timers: make(map[delivery]*time.Timer)}
}

// What is to run soon waits here, to the millisecond, and not in asynq, which knows
// seconds. If the process dies meanwhile the reconciler of another one finds it.
const (
	soon      = time.Minute
	maxTimers = 20_000
)

// hand takes a delivery, or leaves it to the reconciler. Never blocks.
func (c *carrier) hand(d delivery) {
	in := time.UnixMilli(d.runMS).Sub(c.tasks.o.Clock())
	if in > 0 && in < soon && c.keep(d, in) {
		return
	}
	c.push(d)
}

// keep keeps a delivery until it is due, if it can.
func (c *carrier) keep(d delivery, in time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timers == nil || len(c.timers) >= maxTimers {
		return false
	}
	if c.timers[d] == nil {
		c.timers[d] = time.AfterFunc(in, func() { c.due(d) })
	}
	return true
}

func (c *carrier) due(d delivery) {
	c.mu.Lock()
	_, kept := c.timers[d]
	delete(c.timers, d)
	c.mu.Unlock()
	if kept {
		c.push(d)
	}
}

// drain gives up what was kept until it is due, and keeps nothing more: this process ends,
// and asynq has it for others. It reports whether it is the first to do so.
func (c *carrier) drain() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.timers != nil
	for d, timer := range c.timers {
		timer.Stop()
		c.waits = append(c.waits, d)
	}
	c.timers = nil
	c.signal()
	return first
}

// flush waits until asynq has everything.
func (c *carrier) flush(ctx context.Context) {
	awaitNone(ctx, func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.waits) + c.busy
	})
}

// awaitNone looks each millisecond until count is 0, or until ctx ends.
func awaitNone(ctx context.Context, count func() int) {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for count() > 0 {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *carrier) push(d delivery) {
	c.mu.Lock()
	if len(c.waits) < carrierQueue {
		c.waits = append(c.waits, d)
	}
	c.mu.Unlock()
	c.signal()
}

func (c *carrier) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take takes the next deliveries, into a buffer of the caller's, who is busy until gone.
func (c *carrier) take(into []delivery) []delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy++
	n := min(carrierStep, len(c.waits))
	into = append(into[:0], c.waits[:n]...)
	if c.waits = c.waits[n:]; len(c.waits) == 0 {
		c.waits = nil
	} else {
		c.signal() // for another worker
	}
	return into
}

// gone says that asynq, or later, has what take has returned.
func (c *carrier) gone() {
	c.mu.Lock()
	c.busy--
	c.mu.Unlock()
}

// later keeps what Redis did not take, and rests.
func (c *carrier) later(rest []delivery) {
	c.mu.Lock()
	if len(c.waits)+len(rest) <= carrierQueue {
		c.waits = append(c.waits, rest...)
	}
	c.mu.Unlock()
	pause := time.NewTimer(failRests)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-c.tasks.ctx.Done():
	}
	c.signal()
}

func (c *carrier) enqueueEphemeral(d ephemeralDelivery) bool {
	select {
	case c.ephemeral <- d:
		return true
	default:
		return false
	}
}

func (c *carrier) run() {
	var workers sync.WaitGroup
	for range carrierWorkers {
		workers.Go(func() {
			var some []delivery
			for {
				select {
				case <-c.wake:
					some = c.take(some)
					if rest, err := c.deliverAll(c.tasks.ctx, some); err != nil {
						c.tasks.o.Log.Debug("tasks could not be handed to redis; they are handed over again", zap.Int("tasks", len(rest)), zap.Error(err))
						c.later(rest)
					}
					c.gone()
				case d := <-c.ephemeral:
					c.deliverEphemerals(d)
				case <-c.tasks.ctx.Done():
					return
				}
			}
		})
	}
	workers.Wait()
}

// deliverAll hands list to asynq, many pieces at the same time, of which link makes
// pipelines. With an error it returns those that asynq has not, or may not have.
func (c *carrier) deliverAll(ctx context.Context, list []delivery) (rest []delivery, err error) {
	pieces := piecesOf(list, c.tasks.o.Clock().UnixMilli())
	for len(pieces) > 0 && err == nil {
		some := pieces[:min(carrierStep, len(pieces))]
		pieces = pieces[len(some):]
		errs := make([]error, len(some))
		var group sync.WaitGroup
		for i := 1; i < len(some); i++ {
			group.Go(func() { errs[i] = c.deliverPiece(ctx, some[i]) })
		}
		errs[0] = c.deliverPiece(ctx, some[0])
		group.Wait()
		for i, failed := range errs {
			if failed != nil {
				err = failed
				rest = append(rest, some[i]...)
			}
		}
	}
	for _, piece := range pieces {
		rest = append(rest, piece...)
	}
	return rest, err
}

// piecesOf are what asynq carries at once: of those that are due, many of a queue.
func piecesOf(list []delivery, now int64) (pieces [][]delivery) {
	last := make(map[string]int) // the piece to which what is due is added, by queue
	for _, d := range list {
		if d.runMS > now {
			pieces = append(pieces, []delivery{d})
			continue
		}
		i, some := last[d.queue]
		if !some || len(pieces[i]) == maxBundle {
			i = len(pieces)
			pieces = append(pieces, make([]delivery, 0, maxBundle))
			last[d.queue] = i
		}
		pieces[i] = append(pieces[i], d)
	}
	return pieces
}

func (c *carrier) deliverPiece(ctx context.Context, piece []delivery) error {
	if len(piece) == 1 {
		return c.deliver(ctx, piece[0])
	}
	ids := make([]int64, len(piece))
	for i, d := range piece {
		ids[i] = d.id
	}
	return c.deliverBundle(ctx, piece[0].queue, ids)
}

// deliver hands one task to asynq, if asynq has it not already.
func (c *carrier) deliver(ctx context.Context, d delivery) error {
	list := []asynq.Option{asynq.TaskID(d.carrierID()), asynq.Queue(d.queue), asynq.MaxRetry(carrierRetries), asynq.Timeout(carrierTimeout)}
	if at := time.UnixMilli(d.runMS); at.After(c.tasks.o.Clock()) {
		list = append(list, asynq.ProcessAt(ceilSecond(at)))
	}
	_, err := c.tasks.client.EnqueueContext(ctx, asynq.NewTask(durableType, encodeIDs([]int64{d.id})), list...)
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		return nil
	}
	if err == nil {
		c.tasks.counts.handed.Add(1)
	}
	return err
}

// deliverBundle hands at most maxBundle tasks of a queue to asynq, whether it has them
// or not: whoever gets one of them twice finds no row to take.
func (c *carrier) deliverBundle(ctx context.Context, queue string, ids []int64) error {
	_, err := c.tasks.client.EnqueueContext(ctx, asynq.NewTask(durableType, encodeIDs(ids)), asynq.TaskID(bundleID(len(ids))), asynq.Queue(queue),
		asynq.MaxRetry(carrierRetries), asynq.Timeout(carrierTimeout))
	if err == nil {
		c.tasks.counts.handed.Add(int64(len(ids)))
	}
	return err
}

// encodeIDs is what asynq carries: the tasks' rows, 8 bytes each, big-endian.
func encodeIDs(ids []int64) []byte {
	payload := make([]byte, 0, 8*len(ids))
	for _, id := range ids {
		payload = binary.BigEndian.AppendUint64(payload, uint64(id))
	}
	return payload
}

// decodeIDs is nil for what encodeIDs has not made.
func decodeIDs(payload []byte) []int64 {
	if len(payload)%8 != 0 || len(payload) > 8*maxBundle {
		return nil
	}
	var ids []int64
	for ; len(payload) > 0; payload = payload[8:] {
		ids = append(ids, int64(binary.BigEndian.Uint64(payload)))
	}
	return ids
}

// deliverEphemerals hands over first and what waits behind it, all at the same time.
func (c *carrier) deliverEphemerals(first ephemeralDelivery) {
	var group sync.WaitGroup
	defer group.Wait()
	for n := 1; ; n++ {
		d := first
		group.Go(func() { c.deliverEphemeral(c.tasks.ctx, d) })
		if n == carrierStep {
			return
		}
		select {
		case first = <-c.ephemeral:
		default:
			return
		}
	}
}

// uniqueKey is in Redis while no other ephemeral task may be applied with this key.
func uniqueKey(key string) string { return "gameserverd:tasks:unique:" + key }

func (c *carrier) deliverEphemeral(ctx context.Context, d ephemeralDelivery) {
	id := ephemeralPrefix + rand.Text()
	client := c.tasks.o.Redis.Client()
	err := error(nil)
	fresh := true
	if d.o.unique != "" {
		fresh, err = client.SetNX(ctx, uniqueKey(d.o.unique), id, max(d.o.window, time.Millisecond)).Result()
	}
	if fresh && err == nil {
		_, err = c.tasks.client.EnqueueContext(ctx, asynq.NewTask(ephemeralType, d.payload), ephemeralOptions(id, d.o)...)
		if err != nil && d.o.unique != "" {
			client.Del(ctx, uniqueKey(d.o.unique)) // the caller may try again; if this fails too, after the window
		}
	}
	switch {
	case err != nil:
		d.out.Fail(&wire.Error{Code: wire.Unavailable, Message: fmt.Sprintf("redis does not take the task: %v", err), RetryAfter: time.Second})
	case !fresh:
		d.out.Fail(wire.Errorf(wire.AlreadyExists, "a task with the key %q was applied already", d.o.unique))
	default:
		c.tasks.statsOf(d.name).applied.Add(1)
		d.out.Resolve(ID(id))
	}
}
