package tasks

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// errLater is what asynq is told when SQL or Redis could not be asked: bring it again.
type errLater struct{ cause error }

func (e *errLater) Error() string { return fmt.Sprintf("to be brought again: %v", e.cause) }

// errEarly is what asynq is told when it brings an ephemeral task too early, by this clock.
type errEarly struct{ in time.Duration }

func (e *errEarly) Error() string { return fmt.Sprintf("too early by %v", e.in) }

// errFailed is a failure of an ephemeral task's function.
type errFailed struct {
	problem string
	backoff time.Duration
}

func (e *errFailed) Error() string { return e.problem }

// serverConfig is asynq's part: it brings, we decide.
func (t *Tasks) serverConfig() asynq.Config {
	return asynq.Config{
		// What it has brought has a slot of ours, or waits for nothing but asynq.
		Concurrency: t.o.Concurrency + 8, Queues: t.o.Queues,
		TaskCheckInterval: asynqRests, DelayedTaskCheckInterval: 500 * time.Millisecond,
		JanitorInterval: time.Hour, // nothing of ours is completed there
		// Drain has waited, for as long as it may; what is left is put back at once.
		ShutdownTimeout: time.Millisecond,
		RetryDelayFunc: func(_ int, err error, _ *asynq.Task) time.Duration {
			var early *errEarly
			var failed *errFailed
			switch {
			case errors.As(err, &early):
				return early.in + time.Second // asynq truncates to seconds
			case errors.As(err, &failed):
				return failed.backoff
			case errors.Is(err, asynq.ErrLeaseExpired):
				return 0
			}
			return time.Second
		},
		// Whatever is no failure of an ephemeral task's function costs it no retry.
		IsFailure: func(err error) bool { return errors.As(err, new(*errFailed)) },
		Logger:    asynqLog{t.o.Log.WithOptions(zap.AddCallerSkip(1)), new(sync.Mutex), make(map[string]time.Time)},
		LogLevel:  asynq.WarnLevel,
	}
}

// process runs what asynq brings, in the slot that was taken for it. It returns nil when
// asynq need not bring it again.
func (t *Tasks) process(ctx context.Context, task *asynq.Task) error {
	t.handling.Add(1)
	defer t.handling.Add(-1)
	<-t.link.passes
	switch task.Type() {
	case durableType:
		if ids := decodeIDs(task.Payload()); ids != nil {
			queue, _ := asynq.GetQueueName(ctx)
			return t.processDurable(queue, ids)
		}
	case ephemeralType:
		defer t.slots.free(1)
		return t.processEphemeral(ctx, task)
	}
	t.slots.free(1)
	t.countArchived(unknownTask)
	t.o.Log.Error("redis has something that is no task of ours: it is kept in the archive there", zap.String("kind", task.Type()))
	return fmt.Errorf("tasks: this is no task of type %q: %w", task.Type(), asynq.SkipRetry)
}

// shareAfter is how long tasks that came together wait for slots here; then the rest is
// for whichever process has one.
const shareAfter = 200 * time.Millisecond

// processDurable begins the tasks of some rows, the first in the slot that it has.
func (t *Tasks) processDurable(queue string, ids []int64) error {
	have := 1
	late := time.NewTimer(shareAfter)
	defer late.Stop()
	for {
		have += t.slots.more(len(ids) - have)
		claims := make([]claim, min(have, len(ids)))
		for i := range claims {
			claims[i].id = ids[i]
		}
		asked := t.o.Clock()
		taken, err := t.claims.call(t.ctx, claims...)
		if err != nil {
			t.slots.free(have)
			return &errLater{err}
		}
		for _, row := range taken {
			switch {
			case row == nil: // somebody else has it, or it has ended
			case row.claim == 0:
				t.carrier.hand(delivery{id: row.id, queue: row.queue, runMS: row.runMS}) // it came too early
			default:
				t.begin(row, asked)
				have--
			}
		}
		if ids = ids[len(claims):]; len(ids) == 0 {
			t.slots.free(have)
			return nil
		}
		if have > 0 {
			continue
		}
		if !t.slots.until(late.C, t.gate.stopped) {
			break
		}
		have = 1
	}
	if err := t.carrier.deliverBundle(t.ctx, queue, ids); err != nil {
		return &errLater{err}
	}
	return nil
}

// begin runs the task of a row that this process has asked for and taken, in a slot of the
// caller's.
func (t *Tasks) begin(taken *row, asked time.Time) {
	ctx, stop := context.WithCancelCause(t.ctx)
	r := &run{id: taken.id, claim: taken.claim, name: taken.name, queue: taken.queue, key: durableID(taken.id), stop: stop}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		stop(nil)
		t.slots.free(1)
		return // its lease will be over
	}
	if old := t.running[r.id]; old != nil {
		t.taken(old)
	}
	t.running[r.id] = r
	r.lease = time.AfterFunc(t.leaseLeft(asked), func() { t.leaseOver(r) })
	t.runs.Go(func() {
		defer stop(nil)
		defer r.lease.Stop()
		defer t.forget(r)
		t.runDurable(ctx, r, taken)
	})
}

// bind finds the function of a task, with its arguments, which come from a store and may
// be anything.
func (t *Tasks) bind(name string, args []byte) (body func(*Call) ([]byte, error), err error) {
	def := t.define(name)
	if def == nil {
		return nil, fmt.Errorf("there is no task %q in this version of the daemon", name)
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("task %s: its arguments cannot be read: panic: %v\n%s", name, v, debug.Stack())
		}
	}()
	return def.Bind(args)
}

func (t *Tasks) forget(r *run) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running[r.id] == r {
		delete(t.running, r.id)
	}
}

// maxUnwritten is how many runs may have ended whose ends wait for SQL: the next keeps
// its slot until there is room.
const maxUnwritten = 1024

// runDurable runs a task and writes its end, for which it needs no slot any more.
func (t *Tasks) runDurable(ctx context.Context, r *run, taken *row) {
	e := ending{row: taken}
	body, err := t.bind(taken.name, taken.args)
	var result []byte
	broken := err != nil
	if !broken {
		result, err = t.call(ctx, body, &Call{
			Parts: t.o.Parts, ID: r.key, Name: r.name, Attempt: int(taken.attempts), Tasks: t,
		}, r.queue, taken.runMS, time.Duration(taken.timeoutMS)*time.Millisecond)
	}
	select {
	case t.unwritten <- struct{}{}:
		defer func() { <-t.unwritten }()
	case <-t.ctx.Done():
	}
	t.slots.free(1)
	switch {
	case r.fateIs(errHandBack) || r.fateIs(errLost):
		return // its row is somebody else's
	case err == nil:
		e.state, e.result = Done, result
	case broken:
		e.state, e.problem = Archived, err.Error()
	case taken.failures >= taken.retries || errors.Is(err, ErrGiveUp) || errors.Is(err, errStray):
		e.state, e.problem, e.failed = Archived, err.Error(), true
	default:
		e.state, e.problem, e.failed = Waiting, err.Error(), true
		e.runMS = t.o.Clock().Add(taken.backoff(taken.failures + 1)).UnixMilli()
	}
	if r.fateIs(errRevoked) {
		e.state = Revoked
	}
	t.finish(r, e)
}

func (t *Tasks) processEphemeral(carried context.Context, task *asynq.Task) error {
	id, _ := asynq.GetTaskID(carried)
	failures, _ := asynq.GetRetryCount(carried)
	e, err := readEnvelope(task.Payload())
	if err != nil {
		t.countArchived(unknownTask)
		t.o.Log.Error("a task cannot be read: it is kept in redis' archive", zap.String("task", id), zap.Error(err))
		return fmt.Errorf("tasks: %w: %w", err, asynq.SkipRetry)
	}
	if wait := e.RunMS - t.o.Clock().UnixMilli(); wait > 0 {
		return &errEarly{time.Duration(wait) * time.Millisecond}
	}
	body, err := t.bind(e.Name, e.Args)
	if err != nil {
		t.countArchived(e.Name)
		t.o.Log.Error("a task cannot be run: it is kept in redis' archive", zap.String("task", id), zap.String("name", e.Name), zap.Error(err))
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	}
	ctx, stop := context.WithCancelCause(t.ctx)
	defer stop(nil)
	r := &run{name: e.Name, key: ID(id), stop: stop}
	t.mu.Lock()
	t.ephemeral[id] = r
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.ephemeral[id] == r { // asynq may have brought it again
			delete(t.ephemeral, id)
		}
	}()
	// After it can be found by who revokes it.
	if gone, err := t.revokedEphemeral(t.ctx, ID(id)); err != nil {
		return &errLater{err}
	} else if gone {
		t.countRevoked(e.Name)
		return asynq.RevokeTask
	}
	// asynq takes a worker for dead that Redis has not heard of: then it is another's.
	defer context.AfterFunc(carried, func() { r.end(errLost) })()
	queue, _ := asynq.GetQueueName(carried)
	_, err = t.call(ctx, body, &Call{Parts: t.o.Parts, ID: r.key, Name: e.Name, Attempt: failures + 1, Tasks: t}, queue, e.RunMS, time.Duration(e.TimeoutMS)*time.Millisecond)
	return t.endEphemeral(r, &e, failures, err)
}

// endEphemeral tells asynq what has become of an ephemeral task.
func (t *Tasks) endEphemeral(r *run, e *envelope, failures int, err error) error {
	switch {
	case r.fateIs(errRevoked):
		t.countRevoked(r.name)
		return asynq.RevokeTask
	case err == nil:
		t.counts.done.Add(1)
		t.statsOf(r.name).done.Add(1)
		return nil
	case r.fateIs(errHandBack) || r.fateIs(errLost) || t.ctx.Err() != nil:
		return &errLater{err}
	case errors.Is(err, ErrGiveUp) || errors.Is(err, errStray) || failures >= e.Retries:
		t.counts.failed.Add(1)
		t.countArchived(r.name)
		t.o.Log.Error("task given up: it is kept in redis' archive", zap.String("task", string(r.key)), zap.String("name", r.name), zap.Error(err))
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	}
	t.counts.failed.Add(1)
	t.statsOf(r.name).failed.Add(1)
	return &errFailed{err.Error(), (&row{backoffMS: e.BackoffMS}).backoff(int64(failures) + 1)}
}

// shutTime bounds the wait for asynq's own goroutines, which wait for Redis when it is
// away.
const shutTime = 2 * time.Second

// shutServer ends asynq, and waits until it has ended, or ctx has, or for long enough.
func (t *Tasks) shutServer(ctx context.Context) {
	t.shutOnce.Do(func() {
		go func() {
			t.server.Shutdown()
			close(t.shut)
		}()
	})
	late := time.NewTimer(shutTime)
	defer late.Stop()
	select {
	case <-t.shut:
	case <-ctx.Done(): // Close waits for the rest
	case <-late.C:
		t.o.Log.Warn("what carries the tasks does not end: redis does not answer")
	}
}

// asynqLog is asynq's log: what it says twice within a minute is said once.
type asynqLog struct {
	log  *zap.Logger
	mu   *sync.Mutex
	said map[string]time.Time
}

func (l asynqLog) say(level zapcore.Level, args []any) {
	text := fmt.Sprint(args...)
	key := text[:min(len(text), 24)]
	l.mu.Lock()
	now := time.Now()
	again := now.Sub(l.said[key]) < time.Minute
	if !again {
		if len(l.said) > 1000 {
			clear(l.said)
		}
		l.said[key] = now
	}
	l.mu.Unlock()
	if !again {
		l.log.Log(level, "asynq", zap.String("says", text))
	}
}

// The levels of asynq's log. Redis being away has a line of store.Health.
func (l asynqLog) Debug(...any)      {}
func (l asynqLog) Info(...any)       {}
func (l asynqLog) Warn(args ...any)  { l.say(zap.DebugLevel, args) }
func (l asynqLog) Error(args ...any) { l.say(zap.InfoLevel, args) }
func (l asynqLog) Fatal(args ...any) { l.say(zap.ErrorLevel, args) }
