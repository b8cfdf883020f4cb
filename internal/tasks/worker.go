package tasks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// errLater is what asynq is told when SQL or Redis could not be asked: bring it again.
type errLater struct{ cause error }

func (e *errLater) Error() string { return fmt.Sprintf("to be brought again: %v", e.cause) }

// errEarly is what asynq is told when it brings a task too early, by this clock.
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
		Concurrency: t.o.Concurrency, Queues: t.o.Queues,
		TaskCheckInterval: 150 * time.Millisecond, DelayedTaskCheckInterval: 500 * time.Millisecond,
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

// process runs what asynq brings. It returns nil when asynq need not bring it again.
func (t *Tasks) process(ctx context.Context, task *asynq.Task) error {
	switch task.Type() {
	case durableType:
		if len(task.Payload()) == 8 {
			return t.processDurable(int64(binary.BigEndian.Uint64(task.Payload())))
		}
	case ephemeralType:
		return t.processEphemeral(ctx, task)
	}
	t.o.Log.Error("redis has something that is no task of ours: it is kept in the archive there", zap.String("type", task.Type()))
	return fmt.Errorf("tasks: this is no task of type %q: %w", task.Type(), asynq.SkipRetry)
}

func (t *Tasks) processDurable(id int64) error {
	taken, err := t.claims.call(t.ctx, claim{id})
	switch {
	case err != nil:
		return &errLater{err}
	case taken == nil:
		return nil // somebody else has it, or it has ended
	case taken.claim == 0:
		return &errEarly{time.Duration(max(0, taken.runMS-t.o.Clock().UnixMilli())) * time.Millisecond}
	}
	t.runDurable(taken)
	return nil
}

// runDurable runs the task of a row that this process has taken, and writes its end.
func (t *Tasks) runDurable(taken *row) {
	ctx, stop := context.WithCancelCause(t.ctx)
	defer stop(nil)
	r := &run{id: taken.id, claim: taken.claim, name: taken.name, queue: taken.queue, key: durableID(taken.id), stop: stop}
	t.mu.Lock()
	t.running[r.id] = r
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		if t.running[r.id] == r {
			delete(t.running, r.id)
		}
		t.mu.Unlock()
	}()
	e := ending{row: taken}
	var body func(*Call) ([]byte, error)
	err := fmt.Errorf("there is no task %q in this version of the daemon", taken.name)
	if def := t.define(taken.name); def != nil {
		body, err = def.Bind(taken.args)
	}
	if err != nil {
		e.state, e.problem = Archived, err.Error()
		t.finish(r, e)
		return
	}
	result, err := t.call(ctx, body, &Call{
		Parts: t.o.Parts, ID: r.key, Name: r.name, Attempt: int(taken.attempts), Tasks: t,
	}, r.queue, taken.runMS, time.Duration(taken.timeoutMS)*time.Millisecond)
	switch {
	case r.fateIs(errHandBack) || r.fateIs(errLost):
		return // its row is somebody else's
	case err == nil:
		e.state, e.result = Done, result
	case taken.failures >= taken.retries || errors.Is(err, ErrGiveUp):
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
		t.o.Log.Error("a task cannot be read: it is kept in redis' archive", zap.String("task", id), zap.Error(err))
		return fmt.Errorf("tasks: %w: %w", err, asynq.SkipRetry)
	}
	if wait := e.RunMS - t.o.Clock().UnixMilli(); wait > 0 {
		return &errEarly{time.Duration(wait) * time.Millisecond}
	}
	var body func(*Call) ([]byte, error)
	err = fmt.Errorf("there is no task %q in this version of the daemon", e.Name)
	if def := t.define(e.Name); def != nil {
		body, err = def.Bind(e.Args)
	}
	if err != nil {
		t.o.Log.Error("a task cannot be run: it is kept in redis' archive", zap.String("task", id), zap.String("name", e.Name), zap.Error(err))
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	}
	if gone, err := t.revokedEphemeral(t.ctx, ID(id)); err != nil {
		return &errLater{err}
	} else if gone {
		return asynq.RevokeTask
	}
	ctx, stop := context.WithCancelCause(t.ctx)
	defer stop(nil)
	r := &run{name: e.Name, key: ID(id), stop: stop}
	t.mu.Lock()
	t.ephemeral[id] = r
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		delete(t.ephemeral, id)
		t.mu.Unlock()
	}()
	queue, _ := asynq.GetQueueName(carried)
	_, err = t.call(ctx, body, &Call{Parts: t.o.Parts, ID: r.key, Name: e.Name, Attempt: failures + 1, Tasks: t}, queue, e.RunMS, time.Duration(e.TimeoutMS)*time.Millisecond)
	return t.endEphemeral(r, &e, failures, err)
}

// endEphemeral tells asynq what has become of an ephemeral task.
func (t *Tasks) endEphemeral(r *run, e *envelope, failures int, err error) error {
	switch {
	case r.fateIs(errRevoked):
		t.counts.revoked.Add(1)
		return asynq.RevokeTask
	case err == nil:
		t.counts.done.Add(1)
		return nil
	case r.fateIs(errHandBack):
		return &errLater{err}
	case errors.Is(err, ErrGiveUp) || failures >= e.Retries:
		t.counts.failed.Add(1)
		t.counts.archived.Add(1)
		t.o.Log.Error("task given up: it is kept in redis' archive", zap.String("task", string(r.key)), zap.String("name", r.name), zap.Error(err))
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
	}
	t.counts.failed.Add(1)
	return &errFailed{err.Error(), (&row{backoffMS: e.BackoffMS}).backoff(int64(failures) + 1)}
}

// shutTime bounds the end of asynq's own goroutines: with Redis away they wait for it.
const shutTime = 2 * time.Second

func (t *Tasks) shutServer() {
	ended := make(chan struct{})
	go func() {
		t.server.Shutdown()
		close(ended)
	}()
	late := time.NewTimer(shutTime)
	defer late.Stop()
	select {
	case <-ended:
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
