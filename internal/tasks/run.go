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
)

// The causes for which the context of a run ends.
var (
	errRevoked  = errors.New("the task was revoked")
	errHandBack = errors.New("the process shuts down; the task is handed back")
	errLost     = errors.New("another worker has the task")
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

// call runs a task's function, from a queue, that was due at runMS; a panic is an
// error with its stack.
func (t *Tasks) call(ctx context.Context, body func(*Call) ([]byte, error), c *Call, queue string, runMS int64, timeout time.Duration) (result []byte, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimedOut)
	defer cancel()
	if t.o.Trace != nil {
		traced, end := t.o.Trace(ctx, c, queue, time.UnixMilli(runMS))
		ctx = traced
		defer func() { end(err) }() // after what follows has made the error
	}
	c.Context = ctx
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
		if err != nil && len(err.Error()) > maxProblem {
			err = errors.New(strings.ToValidUTF8(err.Error()[:maxProblem], ""))
		}
	}()
	return body(c)
}

// awaitRuns waits for what runs; what is left when ctx ends is told to stop, and its
// rows are put back.
func (t *Tasks) awaitRuns(ctx context.Context) (handedBack []string) {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		t.mu.Lock()
		n := len(t.running) + len(t.ephemeral)
		t.mu.Unlock()
		if n == 0 {
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
		if err := t.putBack(r); err != nil {
			t.o.Log.Warn("a task could not be handed back; it is begun again when its lease is over", zap.Int64("task", r.id), zap.String("name", r.name), zap.Error(err))
		}
	}
	return handedBack
}
