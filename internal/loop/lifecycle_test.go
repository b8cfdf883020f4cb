package loop_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/future"
	"gameserverd/internal/loop"
)

func TestLoopStopBeforeStartMakesStartReturnAtOnce(t *testing.T) {
	l := newLoop(t, loop.Options{})
	ran := false
	l.AddCallback(func() { ran = true; l.Stop() })
	l.Stop()
	start(t, l)
	if ran {
		t.Error("a callback ran in a Start that was stopped before")
	}
	// The stop was used up: the next Start runs.
	start(t, l)
	if !ran {
		t.Error("the callback did not run in the second Start")
	}
}

func TestLoopSecondStartFailsWhileRunning(t *testing.T) {
	l := goLoop(t, loop.Options{})
	if err := l.Start(); !errors.Is(err, loop.ErrRunning) {
		t.Errorf("from another goroutine: %v", err)
	}
	on(t, l, func() {
		if err := l.Start(); !errors.Is(err, loop.ErrRunning) {
			t.Errorf("from a callback: %v", err)
		}
	})
}

func TestLoopStartsAgainAfterStop(t *testing.T) {
	l := newLoop(t, loop.Options{})
	for i := range 3 {
		ran := 0
		l.AddCallback(func() { ran++; l.Stop() })
		start(t, l)
		if ran != 1 {
			t.Errorf("start %d: the callback ran %d times", i, ran)
		}
	}
}

func TestLoopStopFromOtherGoroutineEndsBlockedLoop(t *testing.T) {
	for range 100 {
		l := newLoop(t, loop.Options{})
		ended := make(chan error, 1)
		go func() { ended <- l.Start() }()
		on(t, l, func() {})
		l.Stop()
		if err := receive(t, ended, "the end of Start"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLoopStopFinishesTheTurn(t *testing.T) {
	l, _, _ := fakeLoop(t, loop.Options{})
	var ran []string
	l.BeforeWait(func() { ran = append(ran, "hook") })
	l.CallLater(0, func() { ran = append(ran, "timer") })
	l.AddCallback(func() {
		l.Stop()
		l.AddCallback(func() { ran = append(ran, "too late") })
	})
	l.AddCallback(func() { ran = append(ran, "callback") })
	start(t, l)
	expectOrder(t, ran, "callback", "timer", "hook")
}

func TestLoopStopFromHandlerRunsTheCallbacksItAdds(t *testing.T) {
	l := newLoop(t, loop.Options{})
	a, b := socketpair(t)
	write(t, b, "x")
	var ran []string
	check(t, l.AddHandler(a, loop.Read, loop.HandlerFunc(func(int, loop.Events) {
		l.Stop()
		l.AddCallback(func() { ran = append(ran, "callback") })
	})))
	l.BeforeWait(func() {
		if len(ran) == 1 {
			ran = append(ran, "hook")
		}
	})
	start(t, l)
	expectOrder(t, ran, "callback", "hook")
	l.RemoveHandler(a)
}

func TestLoopCloseFailsWhileRunning(t *testing.T) {
	l := goLoop(t, loop.Options{})
	if err := l.Close(true); !errors.Is(err, loop.ErrRunning) {
		t.Errorf("Close of a running loop: %v", err)
	}
	on(t, l, func() {}) // it still runs
}

func TestLoopClosedRefusesEverything(t *testing.T) {
	l := newLoop(t, loop.Options{})
	a, _ := socketpair(t)
	l.AddCallback(func() { t.Error("a callback ran that Close has dropped") })
	loop.AddFuture(l, future.Resolved(1), func(int, error) { t.Error("a continuation ran that Close has dropped") })
	late := future.New[int]()
	loop.AddFuture(l, late, func(int, error) { t.Error("a continuation ran after Close") })
	if got := l.Pending(); got != 3 {
		t.Errorf("%d pending before Close, want 3", got)
	}
	check(t, l.Close(false))
	check(t, l.Close(true)) // again: nothing
	late.Resolve(1)
	if got := l.Pending(); got != 0 {
		t.Errorf("%d pending after Close, want 0", got)
	}
	if l.AddCallback(func() {}) || l.SpawnCallback(func() {}) || l.AddCallbackFromSignal(func() {}) {
		t.Error("a closed loop takes a callback")
	}
	if err := l.Start(); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("Start: %v", err)
	}
	if err := l.AddHandler(a, loop.Read, &nothingHandler{}); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("AddHandler: %v", err)
	}
	if _, err := loop.RunSync(l, func() *future.Future[int] { return nil }, 0); !errors.Is(err, loop.ErrClosed) {
		t.Errorf("RunSync: %v", err)
	}
	l.Stop()
	l.RemoveHandler(a)
	l.RemoveTimeout(l.CallLater(0, func() {}))
	l.NotifySignals(nil, unix.SIGUSR1)()
}

func TestLoopCloseAllFDsClosesHandledDescriptors(t *testing.T) {
	for _, all := range []bool{false, true} {
		l := newLoop(t, loop.Options{})
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		check(t, err)
		handled, other := fds[0], fds[1]
		check(t, l.AddHandler(handled, loop.Read, &nothingHandler{}))
		check(t, l.Close(all))
		_, err = unix.FcntlInt(uintptr(handled), unix.F_GETFD, 0)
		if closed := err == unix.EBADF; closed != all {
			t.Errorf("Close(%v): the handled descriptor is closed: %v", all, closed)
		}
		if _, err = unix.FcntlInt(uintptr(other), unix.F_GETFD, 0); err != nil {
			t.Errorf("Close(%v) touched a descriptor without a handler: %v", all, err)
		}
		if !all {
			check(t, unix.Close(handled))
		}
		check(t, unix.Close(other))
	}
}

func TestLoopCloseAllFDsReportsWhatCannotBeClosed(t *testing.T) {
	l := newLoop(t, loop.Options{})
	a, _ := socketpair(t)
	check(t, l.AddHandler(a, loop.Read, &nothingHandler{}))
	closeFD(t, a) // behind the loop's back
	if err := l.Close(true); !errors.Is(err, unix.EBADF) {
		t.Errorf("Close: %v, want EBADF", err)
	}
}

func TestLoopsInitAndCloseConcurrently(t *testing.T) {
	before := openFiles()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				l, err := loop.New(loop.Options{})
				if err != nil {
					t.Error(err)
					return
				}
				l.AddCallback(l.Stop)
				if err := l.Start(); err != nil {
					t.Error(err)
				}
				if err := l.Close(true); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if after := openFiles(); after != before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
}

func TestLoopAddCallbackWhileClosing(t *testing.T) {
	for range 50 {
		l := newLoop(t, loop.Options{})
		ended := make(chan error, 1)
		go func() { ended <- l.Start() }()
		var group sync.WaitGroup
		var taken, ran atomic.Int64
		for range 2 {
			group.Go(func() {
				for l.AddCallback(func() { ran.Add(1) }) {
					taken.Add(1)
				}
			})
		}
		on(t, l, func() {})
		l.Stop()
		check(t, receive(t, ended, "the loop's end"))
		check(t, l.Close(false))
		group.Wait() // ends because AddCallback turns false
		if ran.Load() > taken.Load() {
			t.Fatalf("%d ran, %d were taken", ran.Load(), taken.Load())
		}
		if got := l.Pending(); got != 0 {
			t.Fatalf("%d pending after Close", got)
		}
	}
}

func TestLoopLateWakeUpDoesNotReachAReusedDescriptor(t *testing.T) {
	l := newLoop(t, loop.Options{})
	number := loop.WakeFD(l)
	check(t, l.Close(false))
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	check(t, err)
	defer unix.Close(number)
	if fd != number {
		check(t, unix.Dup3(fd, number, unix.O_CLOEXEC))
		defer unix.Close(fd)
	}
	loop.Wake(l) // by a goroutine that was about to when the loop was closed
	var b [8]byte
	if _, err := unix.Read(number, b[:]); err != unix.EAGAIN {
		t.Errorf("the wake-up was written to the descriptor's next owner: %v", err)
	}
}

func TestLoopStopWhileStartingEndsOrIsKept(t *testing.T) {
	// However the two fall, one Stop ends one Start.
	for range 300 {
		l := newLoop(t, loop.Options{})
		ended := make(chan error, 1)
		go func() { ended <- l.Start() }()
		l.Stop()
		check(t, receive(t, ended, "the end of Start"))
	}
}

func TestLoopSurvivesGoexitInACallback(t *testing.T) {
	l := newLoop(t, loop.Options{})
	left := make(chan struct{})
	ran := 0
	l.CallLater(0, func() { ran++; runtimeGoexit() })
	l.CallLater(0, func() { ran++ })
	l.AddCallback(func() { ran++; runtimeGoexit() })
	l.AddCallback(func() { ran++ })
	for range 2 {
		go func() {
			defer func() { left <- struct{}{} }()
			l.Start()
		}()
		receive(t, left, "the end of the goroutine")
	}
	l.AddCallback(l.Stop)
	start(t, l) // it is not taken for running
	if ran != 4 {
		t.Errorf("%d of 4 ran", ran)
	}
}

func TestRunSyncReturnsResultThatIsThereAlready(t *testing.T) {
	l := newLoop(t, loop.Options{})
	v, err := loop.RunSync(l, func() *future.Future[int] { return future.Resolved(42) }, 0)
	if v != 42 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
}

func TestRunSyncReturnsResultThatComesLater(t *testing.T) {
	l := newLoop(t, loop.Options{})
	v, err := loop.RunSync(l, func() *future.Future[string] {
		f := future.New[string]()
		l.CallLater(time.Millisecond, func() { f.Resolve("done") })
		return f
	}, deadline)
	if v != "done" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if held, removed, err := loop.Timers(l); held != removed || err != nil {
		t.Errorf("%d timers left, %d of them removed, %v", held, removed, err)
	}
}

func TestRunSyncReturnsErrors(t *testing.T) {
	l := newLoop(t, loop.Options{})
	boom := errors.New("boom")
	if _, err := loop.RunSync(l, func() *future.Future[int] { return future.Failed[int](boom) }, 0); err != boom {
		t.Errorf("failed already: %v", err)
	}
	_, err := loop.RunSync(l, func() *future.Future[int] {
		f := future.New[int]()
		l.AddCallback(func() { f.Fail(boom) })
		return f
	}, 0)
	if err != boom {
		t.Errorf("failed later: %v", err)
	}
	if _, err := loop.RunSync(l, func() *future.Future[int] { return nil }, 0); err == nil {
		t.Error("no future: no error")
	}
	var p *future.PanicError
	if _, err := loop.RunSync(l, func() *future.Future[int] { panic(boom) }, 0); !errors.As(err, &p) || !errors.Is(err, boom) {
		t.Errorf("panic: %v", err)
	}
}

func TestRunSyncTimesOut(t *testing.T) {
	l, clock, _ := fakeLoop(t, loop.Options{})
	began := clock.Now()
	_, err := loop.RunSync(l, func() *future.Future[int] { return future.New[int]() }, 3*time.Second)
	if !errors.Is(err, loop.ErrTimeout) {
		t.Errorf("%v", err)
	}
	if took := clock.Now().Sub(began); took != 3*time.Second {
		t.Errorf("after %v", took)
	}
}

func TestRunSyncStoppedBySomethingElse(t *testing.T) {
	l := newLoop(t, loop.Options{})
	f := future.New[int]()
	_, err := loop.RunSync(l, func() *future.Future[int] {
		l.Stop()
		return f
	}, 0)
	if !errors.Is(err, loop.ErrStopped) {
		t.Errorf("%v", err)
	}
	// What that left behind does not stop a later run.
	f.Resolve(1)
	v, err := loop.RunSync(l, func() *future.Future[int] {
		later := future.New[int]()
		l.CallLater(time.Millisecond, func() { later.Resolve(2) })
		return later
	}, 0)
	if v != 2 || err != nil {
		t.Errorf("the next run: %d, %v", v, err)
	}
	// Stopped before it began: fn does not run, in this run or a later one.
	l.Stop()
	if _, err := loop.RunSync(l, func() *future.Future[int] { t.Error("fn ran"); return nil }, 0); !errors.Is(err, loop.ErrStopped) {
		t.Errorf("stopped before: %v", err)
	}
	l.AddCallback(l.Stop)
	start(t, l)
}

func TestRunSyncRunsOnTheLoop(t *testing.T) {
	l := newLoop(t, loop.Options{})
	v, err := loop.RunSync(l, func() *future.Future[bool] { return future.Resolved(l.OnLoop()) }, 0)
	if !v || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if l.OnLoop() {
		t.Error("OnLoop of a loop that has stopped")
	}
}

func TestRunSyncFailsWhileRunning(t *testing.T) {
	l := goLoop(t, loop.Options{})
	if _, err := loop.RunSync(l, func() *future.Future[int] { t.Error("fn ran"); return nil }, 0); !errors.Is(err, loop.ErrRunning) {
		t.Errorf("%v", err)
	}
	on(t, l, func() {})
}

func TestLoopOnLoopTellsGoroutinesApart(t *testing.T) {
	l, other := goLoop(t, loop.Options{}), goLoop(t, loop.Options{})
	if l.OnLoop() {
		t.Error("true on the test's goroutine")
	}
	on(t, l, func() {
		if !l.OnLoop() || other.OnLoop() {
			t.Error("wrong on the loop's goroutine")
		}
	})
}

func TestLoopNewFailsWithoutLeaking(t *testing.T) {
	before := openFiles()
	if _, err := loop.New(loop.Options{Poller: refusingPoller{}}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("%v", err)
	}
	if after := openFiles(); after != before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
}

type refusingPoller struct{ loop.Poller }

func (refusingPoller) Control(int, int, *unix.EpollEvent) error { return unix.ENOSPC }
func (refusingPoller) Close() error                             { return nil }

func TestAddFutureRunsOnTheLoop(t *testing.T) {
	l := goLoop(t, loop.Options{})
	f := future.New[int]()
	got := make(chan int, 2)
	cb := func(v int, err error) {
		if !l.OnLoop() || err != nil {
			t.Errorf("on the loop: %v, error: %v", l.OnLoop(), err)
		}
		got <- v
	}
	loop.AddFuture(l, f, cb)
	f.Resolve(5) // on another goroutine
	if v := receive(t, got, "the continuation"); v != 5 {
		t.Error(v)
	}
	loop.AddFuture(l, f, cb) // already done
	receive(t, got, "the continuation of a finished future")
	on(t, l, func() { // never inline
		inline := true
		loop.AddFuture(l, f, func(int, error) {
			if inline {
				t.Error("ran inside AddFuture")
			}
		})
		inline = false
	})
}

func TestPendingCountsWhatADrainWaitsFor(t *testing.T) {
	l := newLoop(t, loop.Options{OnPanic: func(any, []byte) {}})
	expect := func(want int, when string) {
		t.Helper()
		if got := l.Pending(); got != want {
			t.Errorf("%s: %d pending, want %d", when, got, want)
		}
	}
	expect(0, "at first")
	l.AddCallback(func() { panic("counted all the same") })
	l.AddCallback(func() {})
	l.SpawnCallback(func() {})
	expect(2, "two callbacks, one spawned")
	f := future.New[int]()
	loop.AddFuture(l, f, func(int, error) {})
	expect(3, "a continuation")

	release := make(chan struct{})
	pool := loop.NewPool(1, 1)
	defer pool.Close()
	loop.AddFuture(l, loop.Unblock(l, pool, func() (int, error) { <-release; return 0, nil }), func(int, error) {})
	expect(5, "a result owed and its continuation")

	ended := make(chan error, 1)
	go func() { ended <- l.Start() }()
	on(t, l, func() {})
	on(t, l, func() {}) // the turn of the one before has ended
	waitUntil(t, "the callbacks have run", func() bool { return l.Pending() == 3 })
	close(release)
	waitUntil(t, "the worker's result was taken", func() bool { return l.Pending() == 1 })
	f.Resolve(1)
	waitUntil(t, "all is done", func() bool { return l.Pending() == 0 })
	l.Stop()
	check(t, receive(t, ended, "the loop's end"))
	check(t, pool.Drain(context.Background()))
}

// waitUntil waits for a condition that other goroutines bring about, without missing it for long.
func waitUntil(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %v until %s", deadline, what)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
