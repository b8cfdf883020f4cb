package loop_test

// What Tornado's own tests promise of IOLoop and no other test here shows; see docs/tornado.md.

import (
	"errors"
	"slices"
	"testing"

	"gameserverd/internal/future"
	"gameserverd/internal/loop"
)

// test_read_while_writeable: a socket that is writeable all the time is reported when there is something to read, and as that only.
func TestLoopReadHandlerIsNotToldOfWriteable(t *testing.T) {
	l := newLoop(t, loop.Options{})
	a, b := socketpair(t)
	var got []loop.Events
	check(t, l.AddHandler(a, loop.Read, loop.HandlerFunc(func(_ int, ev loop.Events) {
		got = append(got, ev)
		l.Stop()
	})))
	turns := 0
	l.BeforeWait(func() {
		if turns++; turns < 5 {
			l.AddCallback(func() {}) // five looks at the socket before anything is there
		} else if turns == 5 {
			write(t, b, "x")
		}
	})
	start(t, l)
	if want := []loop.Events{loop.Read}; !slices.Equal(got, want) || turns < 5 {
		t.Errorf("got %v after %d turns, want %v", got, turns, want)
	}
	l.RemoveHandler(a)
}

// test_add_future_stack_context: the worker's error is the continuation's argument, and the continuation's own failure is reported
// where all are.
func TestAddFuturePassesTheErrorAndItsPanicIsReported(t *testing.T) {
	panics := make(chan any, 1)
	l, p := goLoop(t, loop.Options{OnPanic: func(v any, _ []byte) { panics <- v }}), newPool(t, 1, 1)
	worker, ready := errors.New("worker"), make(chan struct{})
	got := make(chan error, 1)
	on(t, l, func() {
		f := loop.Unblock(l, p, func() (int, error) { <-ready; return 0, worker })
		loop.AddFuture(l, f, func(_ int, err error) {
			got <- err
			panic("callback")
		})
	})
	close(ready) // the continuation was there before the result
	if err := receive(t, got, "the continuation"); err != worker {
		t.Errorf("the continuation got %v", err)
	}
	if v := receive(t, panics, "the report"); v != "callback" {
		t.Errorf("reported %v", v)
	}
}

// test_run_in_executor: two functions that wait for one another would never end if they did not run side by side.
func TestUnblockRunsFunctionsSideBySide(t *testing.T) {
	l, p := goLoop(t, loop.Options{}), newPool(t, 2, 0)
	events := []chan struct{}{make(chan struct{}), make(chan struct{})}
	both := func(own int) *future.Future[int] {
		return loop.Unblock(l, p, func() (int, error) {
			close(events[own])
			<-events[1-own]
			return own, nil
		})
	}
	var first, second *future.Future[int]
	on(t, l, func() { first, second = both(0), both(1) })
	for i, f := range []*future.Future[int]{first, second} {
		if v, err := wait(t, f); v != i || err != nil {
			t.Errorf("result %d: %d, %v", i, v, err)
		}
	}
}

// test_current of TestIOLoopRunSync and TestIOLoopCurrent, and a loop that is started again and again: what runs on it finds itself
// on it each time, and nobody does when it has stopped.
func TestLoopIsCurrentOnlyWhileItRuns(t *testing.T) {
	l := newLoop(t, loop.Options{})
	for range 3 {
		ran := false
		l.AddCallback(func() {
			ran = l.OnLoop()
			l.Stop()
		})
		start(t, l)
		if !ran || l.OnLoop() {
			t.Errorf("on the loop inside: %v, after: %v", ran, l.OnLoop())
		}
	}
}
