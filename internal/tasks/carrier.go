package tasks

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"gameserverd/internal/future"
	"gameserverd/wire"
)

// delivery is a durable task on its way to a worker. Each time that a row begins to
// wait it has another run_ms, and what is carried another id: so what asynq still has of
// a run whose worker died is not in the way of the next, and otherwise asynq takes it
// once, however often it is handed over.
type delivery struct {
	id    int64
	queue string
	runMS int64
	again int64 // not 0: one more than what asynq has, which nobody works on
}

func (d delivery) carrierID() string {
	id := strconv.FormatInt(d.id, 10) + "." + strconv.FormatInt(d.runMS, 10)
	if d.again != 0 {
		id += "." + strconv.FormatInt(d.again, 10)
	}
	return id
}

// carrierTimeout is longer than any task: we have timeouts of our own.
const carrierTimeout = 60 * 24 * time.Hour

// carrierRetries never end: asynq archives nothing of ours.
const carrierRetries = 1 << 30

const (
	carrierWorkers = 4
	carrierQueue   = 1 << 20 // deliveries that wait for Redis, of 48 bytes; one more is left to the reconciler
	ephemeralQueue = 16384   // ephemeral tasks that do; one more is refused
	carrierStep    = 64      // deliveries that one worker takes at once
)

// carrier hands to asynq what was committed, away from the loops.
type carrier struct {
	// immutable after newCarrier
	tasks     *Tasks
	wake      chan struct{} // one value when something may wait
	ephemeral chan ephemeralDelivery

	// any goroutine
	timers atomic.Int64
	mu     sync.Mutex // guards waits
	waits  []delivery
}

type ephemeralDelivery struct {
	payload []byte
	o       options
	out     *future.Future[ID]
}

func newCarrier(t *Tasks) *carrier {
	return &carrier{tasks: t, wake: make(chan struct{}, 1), ephemeral: make(chan ephemeralDelivery, ephemeralQueue)}
}

// What is to run soon waits here, to the millisecond, and not in asynq, which knows
// seconds. If the process dies meanwhile the reconciler of another one finds it.
const (
	soon      = time.Minute
	maxTimers = 20_000
)

// hand takes a delivery, or leaves it to the reconciler. Never blocks.
func (c *carrier) hand(d delivery) {
	if in := time.UnixMilli(d.runMS).Sub(c.tasks.o.Clock()); in > 0 && in < soon && c.timers.Load() < maxTimers {
		c.timers.Add(1)
		time.AfterFunc(in, func() {
			c.timers.Add(-1)
			c.push(d)
		})
		return
	}
	c.push(d)
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

// take takes the next deliveries, into a buffer of the caller's.
func (c *carrier) take(into []delivery) []delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(carrierStep, len(c.waits))
	into = append(into[:0], c.waits[:n]...)
	if c.waits = c.waits[n:]; len(c.waits) == 0 {
		c.waits = nil
	} else {
		c.signal() // for another worker
	}
	return into
}

func (c *carrier) enqueueEphemeral(payload []byte, o options, out *future.Future[ID]) bool {
	select {
	case c.ephemeral <- ephemeralDelivery{payload, o, out}:
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
					for _, d := range some {
						if _, err := c.deliver(c.tasks.ctx, d); err != nil {
							c.tasks.o.Log.Debug("a task could not be handed to redis; it is handed over again", zap.Int64("task", d.id), zap.Error(err))
						}
					}
				case d := <-c.ephemeral:
					c.deliverEphemeral(c.tasks.ctx, d)
				case <-c.tasks.ctx.Done():
					return
				}
			}
		})
	}
	workers.Wait()
}

// deliver hands d to asynq; fresh is false if asynq has it already.
func (c *carrier) deliver(ctx context.Context, d delivery) (fresh bool, err error) {
	payload := binary.BigEndian.AppendUint64(nil, uint64(d.id))
	list := []asynq.Option{asynq.TaskID(d.carrierID()), asynq.Queue(d.queue), asynq.MaxRetry(carrierRetries), asynq.Timeout(carrierTimeout)}
	if at := time.UnixMilli(d.runMS); at.After(c.tasks.o.Clock()) {
		list = append(list, asynq.ProcessAt(ceilSecond(at)))
	}
	_, err = c.tasks.client.EnqueueContext(ctx, asynq.NewTask(durableType, payload), list...)
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		return false, nil
	}
	if err == nil {
		c.tasks.counts.handed.Add(1)
	}
	return err == nil, err
}

func (c *carrier) deliverEphemeral(ctx context.Context, d ephemeralDelivery) {
	id := "e" + rand.Text()
	_, err := c.tasks.client.EnqueueContext(ctx, asynq.NewTask(ephemeralType, d.payload), ephemeralOptions(id, d.o)...)
	switch {
	case err == nil:
		d.out.Resolve(ID(id))
	case errors.Is(err, asynq.ErrDuplicateTask):
		d.out.Fail(wire.Errorf(wire.AlreadyExists, "a task with the key %q was applied already", d.o.unique))
	default:
		d.out.Fail(&wire.Error{Code: wire.Unavailable, Message: fmt.Sprintf("redis does not take the task: %v", err), RetryAfter: time.Second})
	}
}
