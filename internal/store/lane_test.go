package store

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/wire"
)

// never is the timeout of calls whose time is not to be over.
const never = time.Hour

// hold submits a call that has begun and lasts until release.
func hold(t *testing.T, l *lane, timeout time.Duration, late func()) (f *future.Future[int], release func()) {
	t.Helper()
	running, released := make(chan struct{}), make(chan struct{})
	f = submit(l, context.Background(), timeout, late, func(c *call) (int, error) {
		c.begin()
		close(running)
		<-released // like a driver that does not heed its context
		return 1, nil
	})
	receive(t, running, "a call that runs")
	return f, func() { close(released) }
}

func quick(l *lane, timeout time.Duration) *future.Future[int] {
	return submit(l, context.Background(), timeout, nil, func(c *call) (int, error) { c.begin(); return 2, nil })
}

func idle(l *lane) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open == 0 && len(l.running) == 0 && l.waiting == 0
}

func TestLaneRefusesWhatIsTooMuch(t *testing.T) {
	l := newLane(1, 2)
	first, release := hold(t, l, never, nil)
	waiting := []*future.Future[int]{quick(l, never), quick(l, never)}
	_, err, done := quick(l, never).Result()
	if !done {
		t.Fatal("a call that is too much is not answered at once")
	}
	wantCode(t, "the fourth", err, wire.ResourceExhausted)
	if !IsRetryable(err) || IsLost(err) {
		t.Errorf("it was not begun: %v", err)
	}
	var e *wire.Error
	if errors.As(err, &e); e.RetryAfter != time.Second {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	release()
	if v, err := wait(t, first); v != 1 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
	for _, f := range waiting {
		if v, err := wait(t, f); v != 2 || err != nil {
			t.Errorf("%d, %v", v, err)
		}
	}
	until(t, "no worker is left", func() bool { return idle(l) })
}

func TestLaneDeadlineCoversWaiting(t *testing.T) {
	l := newLane(1, 1)
	_, release := hold(t, l, never, nil)
	ran := atomic.Bool{}
	f := submit(l, context.Background(), 10*time.Millisecond, func() { t.Error("late, and was not begun") }, func(*call) (int, error) {
		ran.Store(true)
		return 0, nil
	})
	_, err := wait(t, f)
	wantCode(t, "a call that waited too long", err, wire.Unavailable)
	if !IsRetryable(err) || IsLost(err) {
		t.Errorf("it was not begun: %v", err)
	}
	after := quick(l, never) // the place is free again
	release()
	if _, err := wait(t, after); err != nil {
		t.Error(err)
	}
	if ran.Load() {
		t.Error("it ran after it was answered")
	}
	until(t, "no worker is left", func() bool { return idle(l) })
}

func TestLaneAnswersInTimeWhenTheDriverHangs(t *testing.T) {
	l := newLane(1, 1)
	late := atomic.Int64{}
	f, release := hold(t, l, 10*time.Millisecond, func() { late.Add(1) })
	_, err := wait(t, f)
	wantCode(t, "a call that hangs", err, wire.Unavailable)
	if IsRetryable(err) || !IsLost(err) || late.Load() != 1 {
		t.Errorf("its outcome is not known: %v; late: %d", err, late.Load())
	}
	next := quick(l, never)
	if next.Done() {
		t.Error("the hanging call has lost its worker")
	}
	release()
	if _, err := wait(t, next); err != nil {
		t.Error(err)
	}
	until(t, "no worker is left", func() bool { return idle(l) })
}

func TestLaneEndsWithTheCaller(t *testing.T) {
	l := newLane(1, 1)
	ctx, cancel := context.WithCancelCause(context.Background())
	begun := make(chan struct{})
	running := submit(l, ctx, never, func() { t.Error("late") }, func(c *call) (int, error) {
		c.begin()
		close(begun)
		<-c.ctx.Done()
		return 0, c.ctx.Err()
	})
	receive(t, begun, "a call that runs")
	waiting := submit(l, ctx, never, nil, func(*call) (int, error) { t.Error("it ran"); return 0, nil })
	reason := errors.New("somebody pulled the plug")
	cancel(reason)
	for what, f := range map[string]*future.Future[int]{"running": running, "waiting": waiting} {
		if _, err := wait(t, f); !errors.Is(err, reason) && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := wait(t, waiting); !IsRetryable(err) || IsLost(err) {
		t.Errorf("waiting: %v", err)
	}
	if err := (&callerGone{reason, nil}); !IsLost(err) || IsRetryable(err) {
		t.Errorf("a call that was running: %v", err)
	}
	if _, err := wait(t, submit(l, ctx, never, nil, func(*call) (int, error) { t.Error("it ran"); return 0, nil })); !errors.Is(err, reason) {
		t.Errorf("a context that has ended before: %v", err)
	}
	free := newLane(1, 0)
	if _, err := wait(t, submit(free, ctx, never, nil, func(*call) (int, error) { t.Error("it ran"); return 0, nil })); !errors.Is(err, reason) {
		t.Errorf("a context that has ended before, and a free worker: %v", err)
	}
	until(t, "no worker is left", func() bool { return idle(free) })
	soon, cancelSoon := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancelSoon()
	_, err := wait(t, submit(l, soon, never, nil, func(c *call) (int, error) { <-c.ctx.Done(); return 0, c.ctx.Err() }))
	wantCode(t, "the caller's deadline", err, wire.DeadlineExceeded)
	until(t, "no worker is left", func() bool { return idle(l) })
}

func TestLaneSurvivesFunctionsThatPanicOrExit(t *testing.T) {
	l := newLane(1, 10)
	_, release := hold(t, l, never, nil)
	panics := submit(l, context.Background(), never, nil, func(*call) (int, error) { panic("oh") })
	exits := submit(l, context.Background(), never, nil, func(*call) (int, error) { runtime.Goexit(); return 0, nil })
	after := quick(l, never)
	release()
	var p *future.PanicError
	if _, err := wait(t, panics); !errors.As(err, &p) || p.Value != "oh" {
		t.Errorf("panic: %v", err)
	}
	if _, err := wait(t, exits); err != errGoexit {
		t.Errorf("Goexit: %v", err)
	}
	if _, err := wait(t, after); err != nil {
		t.Error(err)
	}
	until(t, "no worker is left", func() bool { return idle(l) })
}

func TestLaneClose(t *testing.T) {
	l := newLane(1, 10)
	first, release := hold(t, l, never, nil)
	second := quick(l, never)
	closed := make(chan error, 2)
	for range 2 {
		go func() { closed <- l.close(within(t, deadline)) }()
	}
	until(t, "it refuses", func() bool {
		_, err, done := quick(l, never).Result()
		return done && wire.CodeOf(err) == wire.Unavailable && IsRetryable(err)
	})
	if first.Done() || second.Done() {
		t.Error("close did not wait")
	}
	release()
	for range 2 {
		if err := receive(t, closed, "close"); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if !first.Done() || !second.Done() {
		t.Error("close has ended before the calls")
	}
	if err := l.close(within(t, deadline)); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestLaneCloseGivesUp(t *testing.T) {
	l := newLane(1, 10)
	hangs, release := hold(t, l, never, func() { t.Error("late") })
	waits := quick(l, never)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.close(ctx); err != context.Canceled {
		t.Errorf("close: %v", err)
	}
	_, err, done := hangs.Result()
	if wantCode(t, "the running call", err, wire.Unavailable); !done || !IsLost(err) {
		t.Errorf("the running call: %v", err)
	}
	_, err, done = waits.Result()
	if wantCode(t, "the waiting call", err, wire.Unavailable); !done || IsLost(err) {
		t.Errorf("the waiting call: %v", err)
	}
	release()
	until(t, "no worker is left", func() bool { return idle(l) })
}

// TestLaneAnswersEachCallOnce lets expiry, work, callers who give up and close meet at random.
func TestLaneAnswersEachCallOnce(t *testing.T) {
	rnd := seeded(t)
	for range 20 {
		l := newLane(1+rnd.IntN(4), rnd.IntN(50))
		var inside, most atomic.Int64
		var answers [300]atomic.Int64
		ctx, cancel := context.WithCancel(context.Background())
		var posted inOrder
		var all sync.WaitGroup
		for i := range answers {
			timeout := time.Duration(rnd.IntN(3000)) * time.Microsecond
			lasts := time.Duration(rnd.IntN(300)) * time.Microsecond
			parent := context.Background()
			if i%3 == 0 {
				parent = ctx
			}
			all.Add(1)
			submit(l, parent, timeout, func() {}, func(c *call) (int, error) {
				c.begin()
				most.Store(max(most.Load(), inside.Add(1)))
				defer inside.Add(-1)
				timer := time.NewTimer(lasts)
				defer timer.Stop()
				select {
				case <-timer.C:
				case <-c.ctx.Done():
				}
				return 0, c.ctx.Err()
			}).Then(&posted, func(int, error) {
				if answers[i].Add(1) == 1 {
					all.Done()
				}
			})
			switch i {
			case 150:
				cancel()
			case 290:
				short, stop := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(1000))*time.Microsecond)
				all.Go(func() { defer stop(); _ = l.close(short) })
			}
		}
		ended := make(chan struct{})
		go func() { all.Wait(); close(ended) }()
		receive(t, ended, "every answer")
		for i := range answers {
			if n := answers[i].Load(); n != 1 {
				t.Fatalf("call %d was answered %d times", i, n)
			}
		}
		if most.Load() > int64(l.workers) {
			t.Errorf("%d ran at a time, want at most %d", most.Load(), l.workers)
		}
		until(t, "no worker is left", func() bool { return idle(l) })
		cancel()
	}
}
