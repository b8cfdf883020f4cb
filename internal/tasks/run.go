package tasks

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/histogram"
)

// The causes for which the context of a run ends.
var (
	errRevoked  = errors.New("the task was revoked")
	errHandBack = errors.New("the process shuts down; the task is handed back")
	errLost     = errors.New("another worker has the task, or may have it: its lease is over")
	errTimedOut = errors.New("the task's timeout is over")
	errClosed   = errors.New("tasks: closed")
)

// ErrGiveUp, wrapped in what a task's function returns, sends the task to the archive
// without further retries.
var ErrGiveUp = errors.New("given up")

// run is one run of a task in this process. Any goroutine.
type run struct {
	// immutable
	id    int64 // of a durable one
	claim int64
	name  string
	queue string
	key   ID
	stop  context.CancelCauseFunc
	lease *time.Timer // of a durable one: ends it when the lease is over

	fate   atomic.Pointer[error] // the first of the causes above that came; nil: it may end as it likes
	ending atomic.Bool           // it has returned, and its end is being written
}

// end makes why the fate of the run, if it has none yet.
func (r *run) end(why error) bool {
	first := r.fate.CompareAndSwap(nil, &why)
	if first {
		r.stop(why)
	}
	return first
}

func (r *run) fateIs(why error) bool {
	fate := r.fate.Load()
	return fate != nil && *fate == why
}

// How long a function may go on when its context has ended: then its run is given up,
// and its slot is another's.
const (
	defaultGrace = 30 * time.Second
	closeGrace   = 200 * time.Millisecond // at Close
)

// errStray is the end of a run whose function does not stop.
var errStray = errors.New("its function did not stop in time when its context had ended: it was left running")

// outcome is what a function has returned.
type outcome struct {
	result []byte
	err    error
}

// call runs a task's function, from a queue, that was due at runMS, on a goroutine of its
// own, and returns when it has, or when it was waited for long enough.
func (t *Tasks) call(ctx context.Context, body func(*Call) ([]byte, error), c *Call, queue string, runMS int64, timeout time.Duration) (result []byte, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimedOut)
	defer cancel()
	if t.o.Trace != nil {
		traced, end := t.o.Trace(ctx, c, queue, time.UnixMilli(runMS))
		ctx = traced
		defer func() { end(err) }()
	}
	c.Context = ctx
	begun := time.Now()
	defer func() { t.statsOf(c.Name).time.Observe(histogram.Durations, int64(time.Since(begun))) }()
	var settled atomic.Bool // by who comes first: the function, or who waits for it no longer
	ended := make(chan outcome, 1)
	go func() {
		result, err := invoke(ctx, body, c)
		if settled.CompareAndSwap(false, true) {
			ended <- outcome{result, err}
			return
		}
		t.strays.Add(-1)
	}()
	select {
	case o := <-ended:
		return o.result, o.err
	case <-ctx.Done():
	}
	if o := t.awaitStop(ended, c); o != nil {
		return o.result, o.err
	}
	t.strays.Add(1)
	if !settled.CompareAndSwap(false, true) {
		t.strays.Add(-1)
		o := <-ended
		return o.result, o.err
	}
	if t.ctx.Err() == nil {
		t.counts.strayed.Add(1)
		t.o.Log.Error("a task's function does not stop: its slot is given to another", zap.String("task", string(c.ID)), zap.String("name", c.Name))
	}
	return nil, fmt.Errorf("%w (%w)", errStray, context.Cause(ctx))
}

// awaitStop waits for a function whose context has ended; nil: not any longer. As many as
// there are slots may be left running; the next keeps its slot.
func (t *Tasks) awaitStop(ended <-chan outcome, c *Call) *outcome {
	for full := false; ; full = true {
		grace := time.NewTimer(t.o.Grace)
		select {
		case o := <-ended:
			grace.Stop()
			return &o
		case <-grace.C:
			if t.strays.Load() < int64(t.o.Concurrency) {
				return nil
			}
			if !full {
				t.o.Log.Error("a task's function does not stop and keeps its slot", zap.String("task", string(c.ID)), zap.String("name", c.Name))
			}
			continue
		case <-t.ctx.Done():
			grace.Stop()
		}
		last := time.NewTimer(closeGrace)
		defer last.Stop()
		select {
		case o := <-ended:
			return &o
		case <-last.C:
			return nil
		}
	}
}

// invoke calls a task's function; a panic is an error with its stack.
func invoke(ctx context.Context, body func(*Call) ([]byte, error), c *Call) (result []byte, err error) {
	returned := false
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		} else if !returned {
			err = errors.New("its function has ended its goroutine (runtime.Goexit)")
		}
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
		if err != nil && len(err.Error()) > maxProblem {
			err = shortened{strings.ToValidUTF8(err.Error()[:maxProblem], ""), err}
		}
	}()
	result, err = body(c)
	returned = true
	return result, err
}

// shortened is an error whose text is too long to be kept.
type shortened struct {
	text string
	err  error
}

func (s shortened) Error() string { return s.text }
func (s shortened) Unwrap() error { return s.err }

// awaitRuns waits for what runs; what is left when ctx ends is told to stop, and its
// rows are put back.
func (t *Tasks) awaitRuns(ctx context.Context) (handedBack []string) {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		t.mu.Lock()
		n := len(t.running) + len(t.ephemeral)
		t.mu.Unlock()
		if n == 0 && t.handling.Load() == 0 {
			return nil
		}
		select {
		case <-look.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	t.mu.Lock()
	var rows []*run
	for _, r := range t.running {
		if !r.ending.Load() && r.end(errHandBack) {
			rows = append(rows, r)
		}
	}
	for _, r := range t.ephemeral {
		if r.end(errHandBack) {
			handedBack = append(handedBack, string(r.key)+" "+r.name)
		}
	}
	t.mu.Unlock()
	for _, r := range rows {
		handedBack = append(handedBack, string(r.key)+" "+r.name)
	}
	t.putBack(rows)
	return handedBack
}
