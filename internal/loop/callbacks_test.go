package loop_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

func expectOrder(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
}

func runtimeGoexit() { runtime.Goexit() }

func TestLoopAddCallbackRunsInOrderAndNeverInline(t *testing.T) {
	l := newLoop(t, loop.Options{})
	var ran []string
	l.AddCallback(func() {
		l.AddCallback(func() { ran = append(ran, "inner"); l.Stop() })
		ran = append(ran, "first")
	})
	if !l.AddCallback(func() { ran = append(ran, "second") }) {
		t.Error("AddCallback returned false")
	}
	if ran != nil {
		t.Error("ran inside AddCallback")
	}
	start(t, l)
	expectOrder(t, ran, "first", "second", "inner")
}

func TestLoopAddCallbackWakesTheLoop(t *testing.T) {
	// A callback that a timer adds runs in the turn right after, though the loop has another timer to wait for.
	l, clock, _ := fakeLoop(t, loop.Options{})
	began := clock.Now()
	var after time.Duration
	l.CallLater(time.Second, func() {
		l.AddCallback(func() { after = clock.Now().Sub(began) })
	})
	l.CallLater(time.Hour, func() {})
	start(t, l)
	if after != time.Second {
		t.Errorf("ran after %v, want 1s", after)
	}
}

func TestLoopAddCallbackWakesFromOtherGoroutine(t *testing.T) {
	// The callback is added while the loop blocks without end, or is on the very edge of it.
	added := make(chan struct{})
	var l *loop.Loop
	ran := false
	p := watchWaits(t, func(timeout time.Duration) {
		if timeout >= 0 || ran {
			return
		}
		go func() {
			defer close(added)
			l.AddCallback(func() { ran = true; l.Stop() })
		}()
		<-added // before the wait: the wake-up must be there when it begins
	})
	l = newLoop(t, loop.Options{Poller: p})
	start(t, l)
	if !ran {
		t.Error("did not run")
	}
}

func TestLoopAddCallbackBetweenLookAndWaitIsNotMissed(t *testing.T) {
	// With a timer, the clock is read after the loop has looked for callbacks and before it waits: the narrowest place.
	l, clock, poller := fakeLoop(t, loop.Options{})
	l.CallLater(time.Hour, func() { t.Error("the timer came first") })
	armed, ran := false, false
	l.BeforeWait(func() { armed = true })
	clock.onRead = func() {
		if !armed || ran {
			return
		}
		armed = false
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.AddCallback(func() { ran = true; l.Stop() })
		}()
		<-done
	}
	start(t, l)
	if !ran {
		t.Error("did not run")
	}
	for _, w := range poller.waits {
		if w != 0 {
			t.Errorf("waited %v with a callback queued", w)
		}
	}
}

func TestLoopStopBetweenLookAndWaitIsNotMissed(t *testing.T) {
	l, clock, poller := fakeLoop(t, loop.Options{})
	l.CallLater(time.Hour, func() { t.Error("the timer came first") })
	armed := false
	l.BeforeWait(func() { armed = true })
	clock.onRead = func() {
		if armed {
			l.Stop()
		}
	}
	start(t, l)
	for _, w := range poller.waits {
		if w != 0 {
			t.Errorf("waited %v though stopped", w)
		}
	}
}

func TestLoopCallbackThatReaddsItselfStarvesNothing(t *testing.T) {
	l := newLoop(t, loop.Options{})
	a, b := socketpair(t)
	write(t, b, "x")
	var turns, gotEvent, gotTimer int
	var again func()
	again = func() {
		turns++
		l.AddCallback(again)
	}
	l.AddCallback(again)
	enough := func() {
		if gotEvent >= 3 && gotTimer >= 3 {
			l.Stop()
		}
	}
	check(t, l.AddHandler(a, loop.Read, loop.HandlerFunc(func(int, loop.Events) { gotEvent++; enough() })))
	var timer func()
	timer = func() { gotTimer++; l.CallLater(0, timer); enough() }
	l.CallLater(0, timer)
	start(t, l)
	// One event and one timer a turn: the callback had no more turns than that.
	if turns > 10 {
		t.Errorf("the callback ran %d times meanwhile", turns)
	}
	l.RemoveHandler(a)
}

func TestLoopRunsAtMostMaxCallbacksPerTurn(t *testing.T) {
	l, _, _ := fakeLoop(t, loop.Options{MaxCallbacks: 10})
	var ran, inTurn int
	var sizes []int
	l.BeforeWait(func() {
		sizes = append(sizes, inTurn)
		inTurn = 0
	})
	for i := range 25 {
		l.AddCallback(func() {
			if ran != i {
				t.Errorf("callback %d ran as number %d", i, ran)
			}
			ran++
			inTurn++
			if i == 0 {
				l.AddCallback(func() { ran++; inTurn++ }) // behind all of them
			}
		})
	}
	start(t, l)
	if want := []int{10, 10, 5, 1}; !slices.Equal(sizes[:4], want) {
		t.Errorf("callbacks per turn: %v, want %v", sizes, want)
	}
}

func TestLoopSpawnCallbackRunsAndItsPanicIsReported(t *testing.T) {
	var panics []any
	l, _, _ := fakeLoop(t, loop.Options{OnPanic: func(v any, _ []byte) { panics = append(panics, v) }})
	ran := false
	l.SpawnCallback(func() { panic("spawned") })
	l.SpawnCallback(func() { ran = true })
	start(t, l)
	if !ran || len(panics) != 1 || panics[0] != "spawned" {
		t.Errorf("ran %v, panics %v", ran, panics)
	}
}

func TestLoopTurnOrderIsCallbacksTimersHooksEvents(t *testing.T) {
	l := newLoop(t, loop.Options{})
	a, b := socketpair(t)
	write(t, b, "x")
	var ran []string
	l.BeforeWait(func() { ran = append(ran, "hook") })
	l.CallLater(0, func() { ran = append(ran, "timer") })
	l.AddCallback(func() { ran = append(ran, "callback") })
	check(t, l.AddHandler(a, loop.Read, loop.HandlerFunc(func(fd int, _ loop.Events) {
		ran = append(ran, "event")
		l.RemoveHandler(fd)
		l.AddCallback(func() { ran = append(ran, "callback of the event"); l.Stop() })
	})))
	start(t, l)
	expectOrder(t, ran, "callback", "timer", "hook", "event", "callback of the event", "hook")
}

func TestLoopHookMayAddCallbacks(t *testing.T) {
	l, _, poller := fakeLoop(t, loop.Options{})
	left, ran := 3, 0
	l.BeforeWait(func() {
		if left > 0 {
			left--
			l.AddCallback(func() { ran++ })
		}
	})
	start(t, l)
	if ran != 3 {
		t.Errorf("%d callbacks ran", ran)
	}
	if want := []time.Duration{0, 0, 0, -1}; !slices.Equal(poller.waits, want) {
		t.Errorf("waits %v, want %v", poller.waits, want)
	}
}

func TestLoopPanicCostsOneCallback(t *testing.T) {
	var panics []any
	var stacks []string
	l, clock, poller := fakeLoop(t, loop.Options{OnPanic: func(v any, stack []byte) {
		panics = append(panics, v)
		stacks = append(stacks, string(stack))
	}})
	var ran []string
	for i := range 2 {
		l.AddCallback(func() { panic(fmt.Sprint("callback ", i)) })
		l.AddCallback(func() { ran = append(ran, "callback") })
	}
	l.CallAt(clock.Now(), func() { panic("timer") })
	l.CallAt(clock.Now(), func() { ran = append(ran, "timer") })
	hooked := 0
	l.BeforeWait(func() {
		if hooked++; hooked == 1 {
			panic("hook")
		}
	})
	l.BeforeWait(func() {
		if hooked == 1 {
			ran = append(ran, "hook")
		}
	})
	for _, fd := range []int{1000, 1001} {
		check(t, l.AddHandler(fd, loop.Read, loop.HandlerFunc(func(fd int, _ loop.Events) {
			if fd == 1000 {
				panic("handler")
			}
			ran = append(ran, "handler")
			poller.ready = nil
		})))
	}
	poller.ready = func(ev []unix.EpollEvent) int {
		ev[0] = unix.EpollEvent{Fd: 1000, Events: unix.EPOLLIN}
		ev[1] = unix.EpollEvent{Fd: 1001, Events: unix.EPOLLIN}
		return 2
	}
	start(t, l)
	expectOrder(t, ran, "callback", "callback", "timer", "hook", "handler")
	if want := []any{"callback 0", "callback 1", "timer", "hook", "handler"}; !slices.Equal(panics, want) {
		t.Errorf("panics %v, want %v", panics, want)
	}
	for i, s := range stacks {
		if !strings.Contains(s, "TestLoopPanicCostsOneCallback") {
			t.Errorf("the stack of panic %d does not show where:\n%s", i, s)
		}
	}
	if l.Pending() != 0 {
		t.Errorf("%d pending", l.Pending())
	}
}

func TestLoopOffLoopAddsWriteOneWakeUpPerWait(t *testing.T) {
	var waits atomic.Int64
	l := goLoop(t, loop.Options{Poller: watchWaits(t, func(time.Duration) { waits.Add(1) })})
	const producers, adds = 4, 5000
	var ran atomic.Int64
	var group sync.WaitGroup
	for range producers {
		group.Go(func() {
			for i := range adds {
				l.AddCallback(func() { ran.Add(1) })
				if i%64 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	group.Wait()
	waitUntil(t, "all have run", func() bool { return ran.Load() == producers*adds })
	writes := wakeUps(t, l)
	if w := waits.Load(); writes > uint64(w) {
		t.Errorf("%d wake-ups for %d waits", writes, w)
	}
}

func TestLoopAddsToABusyLoopWriteNoWakeUp(t *testing.T) {
	l := goLoop(t, loop.Options{})
	on(t, l, func() {
		wakeUps(t, l) // so far
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for range 1000 {
					l.AddCallback(func() {})
				}
			})
		}
		group.Wait()
		l.AddCallback(func() {})
		if n := wakeUps(t, l); n != 0 {
			t.Errorf("%d wake-ups written to a loop that was not waiting", n)
		}
	})
}

func TestLoopOnLoopAddsWriteNoWakeUp(t *testing.T) {
	l := newLoop(t, loop.Options{})
	left := 1000
	var again func()
	again = func() {
		if left--; left == 0 {
			l.Stop()
			return
		}
		switch left % 3 {
		case 0: // from a callback
			l.AddCallback(again)
		case 1: // from a timer, after a wait
			l.CallLater(10*time.Microsecond, func() { l.AddCallback(again) })
		case 2:
			l.CallLater(0, again)
		}
	}
	l.AddCallback(again)
	start(t, l)
	if n := wakeUps(t, l); n != 0 {
		t.Errorf("%d wake-ups written by the loop to itself", n)
	}
}

func TestLoopIdleWaitsOnceWithoutEnd(t *testing.T) {
	// However often it is woken, an idle loop ends up in one wait that has no end: no polling, no ticks.
	waits := make(chan time.Duration, 1000)
	l := newLoop(t, loop.Options{Poller: watchWaits(t, func(d time.Duration) { waits <- d })})
	endless := func() {
		for receive(t, waits, "a wait without end") >= 0 {
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Start() }()
	defer func() {
		l.Stop()
		check(t, receive(t, ended, "the loop's end"))
	}()
	endless() // from here on, each callback is added to a loop that blocks
	for range 50 {
		on(t, l, func() {
			if n := len(waits); n > 0 {
				t.Errorf("the wait without end was followed by %d more before the next wake-up", n)
			}
		})
		endless()
	}
}

// TestLoopAddCallbackStress is the promise that no callback is lost, doubled or overtaken: producers that add as fast as they can
// keep the loop busy; producers that wait for their own callback let it fall asleep, so that a lost wake-up ends in a deadlock.
func TestLoopAddCallbackStress(t *testing.T) {
	rnd := seeded(t)
	for round, busy := range []int{4, 0, 1} {
		l := goLoop(t, loop.Options{MaxCallbacks: 1 + rnd.IntN(5000)})
		timers := rnd.IntN(2) == 0
		if timers { // timers of their own make the loop go through waits with a timeout
			on(t, l, func() { l.Periodic(50*time.Microsecond, func() {}) })
		}
		const each = 200_000
		ran := make([]int, busy) // by producer, touched on the loop only
		var group sync.WaitGroup
		for p := range busy {
			group.Go(func() {
				for i := range each {
					l.AddCallback(func() {
						if ran[p] != i {
							t.Errorf("producer %d: callback %d ran as number %d", p, i, ran[p])
						}
						ran[p]++
					})
				}
			})
		}
		for range 3 {
			group.Go(func() {
				ack := make(chan struct{}, 1)
				for range 5000 {
					l.AddCallback(func() { ack <- struct{}{} })
					receive(t, ack, "an answer: a wake-up was lost")
				}
			})
		}
		group.Wait()
		on(t, l, func() {
			for p, n := range ran {
				if n != each {
					t.Errorf("round %d: %d callbacks of producer %d ran, want %d", round, n, p, each)
				}
			}
		})
	}
}

func TestLoopsBlockedDoNotHoldUpGarbageCollection(t *testing.T) {
	for range 2 * runtime.GOMAXPROCS(0) {
		goLoop(t, loop.Options{})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 5 {
			runtime.GC()
		}
	}()
	receive(t, done, "runtime.GC while all loops are blocked")
}
