package loop_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/loop"
)

func newPool(t testing.TB, workers, queue int) *loop.Pool {
	t.Helper()
	p := loop.NewPool(workers, queue)
	t.Cleanup(func() {
		p.Close()
		drain(t, p)
	})
	return p
}

func drain(t testing.TB, p *loop.Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := p.Drain(ctx); err != nil {
		t.Errorf("Drain: %v", err)
	}
}

func TestPoolRunsAsManyAsItHasWorkersAndQueuesTheRest(t *testing.T) {
	p := newPool(t, 2, 3)
	release := make(chan struct{})
	var running, most, ran atomic.Int64
	work := func() {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-release
		running.Add(-1)
		ran.Add(1)
	}
	for i := range 5 {
		if !p.Submit(work) {
			t.Fatalf("number %d was refused", i)
		}
	}
	if p.Submit(work) {
		t.Error("taken with two workers busy and three waiting")
	}
	close(release)
	drain(t, p)
	if ran.Load() != 5 || most.Load() > 2 {
		t.Errorf("%d ran, %d at once; want 5, at most 2", ran.Load(), most.Load())
	}
	if !p.Submit(func() {}) {
		t.Error("refused after it had room again")
	}
}

func TestPoolWithoutQueueTakesWhatAFreeWorkerCanRun(t *testing.T) {
	p := newPool(t, 1, 0)
	for range 100 {
		release := make(chan struct{})
		if !p.Submit(func() { <-release }) {
			t.Fatal("refused with the worker free")
		}
		if p.Submit(func() {}) {
			t.Fatal("taken with the worker busy")
		}
		close(release)
		drain(t, p)
	}
}

func TestPoolQueueKeepsItsOrder(t *testing.T) {
	p := newPool(t, 1, 7)
	var ran []int // by the one worker
	for base := 0; base < 70; base += 7 {
		gate := make(chan struct{})
		waitUntil(t, "the worker is free", func() bool { return p.Submit(func() { <-gate }) })
		for i := range 7 {
			if !p.Submit(func() { ran = append(ran, base+i) }) {
				t.Fatal("refused")
			}
		}
		close(gate)
		drain(t, p)
	}
	for i, n := range ran {
		if i != n {
			t.Fatalf("ran %v", ran)
		}
	}
	if len(ran) != 70 {
		t.Errorf("%d of 70 ran", len(ran))
	}
}

func TestPoolIdleWorkersEnd(t *testing.T) {
	p := newPool(t, 4, 4)
	var gate sync.WaitGroup
	gate.Add(4)
	for range 4 {
		p.Submit(func() { gate.Done(); gate.Wait() })
	}
	drain(t, p)
	if running, idle := loop.Workers(p); running != idle || running == 0 {
		t.Errorf("%d workers, %d idle", running, idle)
	}
	waitUntil(t, "the idle workers have ended", func() bool { running, idle := loop.Workers(p); return running == 0 && idle == 0 })
	ran := make(chan struct{})
	p.Submit(func() { close(ran) })
	receive(t, ran, "a function after all workers had ended")
}

func TestPoolCloseRefusesAndDrainRunsWhatWasTaken(t *testing.T) {
	p := loop.NewPool(1, 10)
	release := make(chan struct{})
	ran := 0
	p.Submit(func() { <-release })
	for range 10 {
		p.Submit(func() { ran++ })
	}
	p.Close()
	p.Close()
	if p.Submit(func() {}) {
		t.Error("a closed pool takes a function")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain with work left: %v", err)
	}
	close(release)
	drain(t, p)
	if ran != 10 {
		t.Errorf("%d of 10 ran", ran)
	}
	waitUntil(t, "the worker has ended", func() bool { running, _ := loop.Workers(p); return running == 0 })
}

func TestPoolPanicAndGoexitCostOneFunction(t *testing.T) {
	p := newPool(t, 1, 10)
	var panics []any
	p.OnPanic = func(v any, stack []byte) {
		panics = append(panics, v)
		if len(stack) == 0 {
			t.Error("no stack")
		}
	}
	ran := 0
	p.Submit(func() { panic("one") })
	p.Submit(func() { ran++ })
	p.Submit(func() { runtimeGoexit() })
	p.Submit(func() { ran++ })
	drain(t, p)
	p.Submit(func() { runtimeGoexit() })
	drain(t, p)
	p.Submit(func() { ran++ })
	drain(t, p)
	if ran != 3 || len(panics) != 1 {
		t.Errorf("%d of 3 ran, panics %v", ran, panics)
	}
}

// TestPoolStress submits from many goroutines while workers come and go: each function that was taken runs once.
func TestPoolStress(t *testing.T) {
	rnd := seeded(t)
	for range 5 {
		p := loop.NewPool(1+rnd.IntN(8), rnd.IntN(20))
		var taken, ran atomic.Int64
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for range 5000 {
					if p.Submit(func() { ran.Add(1) }) {
						taken.Add(1)
					}
				}
			})
		}
		group.Wait()
		p.Close()
		drain(t, p)
		if taken.Load() != ran.Load() || ran.Load() == 0 {
			t.Errorf("%d taken, %d ran", taken.Load(), ran.Load())
		}
	}
}

func TestUnblockContinuesOnTheLoop(t *testing.T) {
	l, p := goLoop(t, loop.Options{}), newPool(t, 2, 10)
	got := make(chan int, 1)
	on(t, l, func() {
		f := loop.Unblock(l, p, func() (int, error) {
			if l.OnLoop() {
				t.Error("the blocking function ran on the loop")
			}
			return 7, nil
		})
		f.Then(l, func(v int, err error) {
			if !l.OnLoop() || err != nil {
				t.Errorf("on the loop: %v, error: %v", l.OnLoop(), err)
			}
			got <- v
		})
	})
	if v := receive(t, got, "the result"); v != 7 {
		t.Error(v)
	}
}

func TestUnblockDoesNotHoldTheLoop(t *testing.T) {
	l, p := goLoop(t, loop.Options{}), newPool(t, 1, 1)
	release := make(chan struct{})
	f := loop.Unblock(l, p, func() (int, error) { <-release; return 1, nil })
	for range 100 {
		on(t, l, func() {})
	}
	if f.Done() {
		t.Error("done before it was released")
	}
	close(release)
	if v, err := wait(t, f); v != 1 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
}

func wait[T any](t testing.TB, f *future.Future[T]) (T, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	return f.Wait(ctx)
}

func TestUnblockFails(t *testing.T) {
	l, p := newLoop(t, loop.Options{}), newPool(t, 1, 0)
	boom := errors.New("boom")
	if _, err := wait(t, loop.Unblock(l, p, func() (int, error) { return 0, boom })); err != boom {
		t.Errorf("an error: %v", err)
	}
	drain(t, p)
	var pe *future.PanicError
	if _, err := wait(t, loop.Unblock(l, p, func() (int, error) { panic(boom) })); !errors.As(err, &pe) || !errors.Is(err, boom) || len(pe.Stack) == 0 {
		t.Errorf("a panic: %v", err)
	}
	drain(t, p)
	if _, err := wait(t, loop.Unblock(l, p, func() (int, error) { runtimeGoexit(); return 0, nil })); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("runtime.Goexit: %v", err)
	}
	drain(t, p)
	release := make(chan struct{})
	busy := loop.Unblock(l, p, func() (int, error) { <-release; return 0, nil })
	if _, err := wait(t, loop.Unblock(l, p, func() (int, error) { return 0, nil })); !errors.Is(err, loop.ErrPoolFull) {
		t.Errorf("a full pool: %v", err)
	}
	close(release)
	wait(t, busy)
	p.Close()
	if _, err := wait(t, loop.Unblock(l, p, func() (int, error) { return 0, nil })); !errors.Is(err, loop.ErrPoolClosed) {
		t.Errorf("a closed pool: %v", err)
	}
	drain(t, p)
	if n := l.Pending(); n != 0 {
		t.Errorf("%d pending", n)
	}
}

func TestLoopLetsAWorkerStartBeforeItBlocks(t *testing.T) {
	// On one processor, a worker that a turn has started would wait until the processor is taken from the blocked loop. The scheduler
	// may now and then let the loop go first, so this asks for most of the time.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := newPool(t, 1, 1)
	const rounds = 50
	soon := 0
	var began atomic.Bool
	looking := false // on the loop
	before := make(chan bool, 1)
	l := goLoop(t, loop.Options{Poller: watchWaits(t, func(d time.Duration) {
		if looking && d < 0 {
			looking = false
			before <- began.Load()
		}
	})})
	for range rounds {
		began.Store(false)
		l.AddCallback(func() {
			looking = true
			loop.Unblock(l, p, func() (int, error) { began.Store(true); return 1, nil })
		})
		if receive(t, before, "the loop to block") {
			soon++
		}
		drain(t, p)
		if !began.Load() {
			t.Fatal("the worker did not start at all")
		}
	}
	if soon < rounds/2 {
		t.Errorf("%d of %d workers started before the loop blocked", soon, rounds)
	}
}
