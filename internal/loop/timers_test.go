package loop_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"gameserverd/internal/loop"
)

func TestLoopTimersRunInOrderOfTimeThenOfAdding(t *testing.T) {
	l, clock, _ := fakeLoop(t, loop.Options{})
	at := clock.Now().Add(time.Second)
	var ran []string
	add := func(name string, when time.Time) {
		l.CallAt(when, func() {
			ran = append(ran, name)
			if now := l.Time(); now.Before(when) {
				t.Errorf("%s ran %v early", name, when.Sub(now))
			}
		})
	}
	add("b1", at)
	add("c", at.Add(time.Nanosecond))
	add("b2", at)
	add("a", at.Add(-time.Nanosecond))
	add("b3", at)
	start(t, l)
	expectOrder(t, ran, "a", "b1", "b2", "b3", "c")
}

func TestLoopCallAtAndCallLaterAgree(t *testing.T) {
	l, clock, _ := fakeLoop(t, loop.Options{})
	began := clock.Now()
	var at []time.Duration
	note := func() { at = append(at, clock.Now().Sub(began)) }
	l.AddTimeout(began.Add(4*time.Second), note)
	l.AddTimeout(3*time.Second, note)
	l.CallAt(began.Add(2*time.Second), note)
	l.CallLater(1*time.Second, note)
	start(t, l)
	want := []time.Duration{1 * time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second}
	if !slices.Equal(at, want) {
		t.Errorf("ran at %v, want %v", at, want)
	}
}

func TestLoopAddTimeoutPanicsOnOtherDeadlines(t *testing.T) {
	l := newLoop(t, loop.Options{})
	defer func() {
		if recover() == nil {
			t.Error("a deadline of type int was taken")
		}
	}()
	l.AddTimeout(5, func() {})
}

func TestLoopTimeoutsAreReturnedForRemoval(t *testing.T) {
	l, clock, _ := fakeLoop(t, loop.Options{})
	never := func() { t.Error("a removed timer ran") }
	for _, to := range []*loop.Timeout{
		l.CallAt(clock.Now().Add(time.Second), never),
		l.CallLater(time.Second, never),
		l.AddTimeout(time.Second, never),
		l.AddTimeout(clock.Now().Add(time.Second), never),
	} {
		l.RemoveTimeout(to)
		l.RemoveTimeout(to) // again: nothing
	}
	l.RemoveTimeout(nil)
	start(t, l)
}

func TestLoopRemoveTimeoutAfterFire(t *testing.T) {
	l, _, _ := fakeLoop(t, loop.Options{})
	var to, next *loop.Timeout
	ran := 0
	to = l.CallLater(time.Second, func() {
		ran++
		l.RemoveTimeout(to) // while it fires
		next = l.CallLater(time.Second, func() { ran++ })
		l.RemoveTimeout(to) // and with another in its place
	})
	start(t, l)
	l.RemoveTimeout(to)
	l.RemoveTimeout(next)
	if ran != 2 {
		t.Errorf("%d of 2 ran", ran)
	}
}

func TestLoopRemoveTimeoutFromTimeoutOfTheSameRound(t *testing.T) {
	l, clock, _ := fakeLoop(t, loop.Options{})
	at := clock.Now().Add(time.Second)
	var second *loop.Timeout
	l.CallAt(at, func() { l.RemoveTimeout(second) })
	second = l.CallAt(at, func() { t.Error("a timer ran that one of the same round had removed") })
	third := false
	l.CallAt(at, func() { third = true })
	start(t, l)
	if !third {
		t.Error("the one after it did not run")
	}
}

func TestLoopTimerAddedInARoundWaitsForTheNext(t *testing.T) {
	l, _, _ := fakeLoop(t, loop.Options{})
	var ran []string
	l.CallLater(time.Second, func() {
		ran = append(ran, "first")
		l.CallLater(-time.Hour, func() { ran = append(ran, "added, long due") })
	})
	l.CallLater(time.Second, func() { ran = append(ran, "second") })
	l.BeforeWait(func() {
		if len(ran) > 0 {
			ran = append(ran, "hook")
		}
	})
	start(t, l)
	expectOrder(t, ran[:4], "first", "second", "hook", "added, long due")
}

func TestLoopTimeoutInThePastRunsInTheNextTurn(t *testing.T) {
	l, clock, poller := fakeLoop(t, loop.Options{})
	began := clock.Now()
	ran := 0
	l.CallLater(-time.Hour, func() { ran++ })
	l.CallAt(began.Add(-time.Hour), func() { ran++ })
	l.CallAt(time.Time{}, func() { ran++ })
	start(t, l)
	if ran != 3 || !clock.Now().Equal(began) || len(poller.waits) != 1 {
		t.Errorf("%d of 3 ran, in %v and %d waits", ran, clock.Now().Sub(began), len(poller.waits))
	}
}

func TestLoopTimeoutFarInTheFutureDoesNotRunNow(t *testing.T) {
	l, clock, poller := fakeLoop(t, loop.Options{})
	clock.advance(time.Hour) // so that now + the longest duration is beyond what fits
	poller.idle = func() { t.Error("no timer was waited for"); l.Stop() }
	for _, to := range []*loop.Timeout{
		l.CallLater(1<<63-1, func() { t.Error("CallLater's ran") }),
		l.CallAt(clock.Now().AddDate(1000, 0, 0), func() { t.Error("CallAt's ran") }),
	} {
		defer l.RemoveTimeout(to)
	}
	stopped := false
	l.BeforeWait(func() {
		if stopped {
			l.Stop()
		}
		stopped = true
	})
	poller.clock = newFakeClock() // the wait does not advance the loop's
	start(t, l)
	if len(poller.waits) != 1 || poller.waits[0] < 100*365*24*time.Hour {
		t.Errorf("waits %v", poller.waits)
	}
}

func TestLoopWaitsAsLongAsTheNextTimerNeeds(t *testing.T) {
	// A turn that takes long does not put off the timers behind it: what is left is reckoned when the wait begins.
	l, clock, poller := fakeLoop(t, loop.Options{})
	l.CallLater(100*time.Millisecond, func() {})
	l.AddCallback(func() { clock.advance(70 * time.Millisecond) })
	start(t, l)
	if want := []time.Duration{30 * time.Millisecond, -1}; !slices.Equal(poller.waits, want) {
		t.Errorf("waits %v, want %v", poller.waits, want)
	}
}

func TestLoopRemovedTimersAreNotWaitedFor(t *testing.T) {
	l, _, poller := fakeLoop(t, loop.Options{})
	to := l.CallLater(time.Second, func() {})
	l.CallLater(time.Minute, func() {})
	l.RemoveTimeout(to)
	start(t, l)
	if want := []time.Duration{time.Minute, -1}; !slices.Equal(poller.waits, want) {
		t.Errorf("waits %v, want %v", poller.waits, want)
	}
}

func TestLoopTimersNeverRunEarlyAndDoNotSpin(t *testing.T) {
	waits := 0
	l := newLoop(t, loop.Options{Poller: watchWaits(t, func(time.Duration) { waits++ })})
	left := 20
	var next func()
	next = func() {
		if left--; left < 0 {
			l.Stop()
			return
		}
		d := 300 * time.Microsecond
		began := time.Now()
		l.CallLater(d, func() {
			if took := time.Since(began); took < d {
				t.Errorf("ran after %v, not %v", took, d)
			}
			next()
		})
	}
	l.AddCallback(next)
	start(t, l)
	if waits > 2*20+2 {
		t.Errorf("%d waits for 20 timers: rounding the remainder down makes it spin", waits)
	}
}

func TestLoopCallLaterReckonsFromTheCall(t *testing.T) {
	l, clock, _ := fakeLoop(t, loop.Options{})
	l.AddCallback(func() {
		clock.advance(time.Second) // a callback that takes long
		called := clock.Now()
		l.CallLater(100*time.Millisecond, func() {
			if took := clock.Now().Sub(called); took != 100*time.Millisecond {
				t.Errorf("ran after %v, not 100ms", took)
			}
		})
	})
	start(t, l)
}

func TestLoopTimeIsReadOncePerTurn(t *testing.T) {
	l, clock, _ := fakeLoop(t, loop.Options{})
	l.AddCallback(func() {
		before, mono := l.Time(), l.Monotonic()
		clock.advance(time.Second)
		if !l.Time().Equal(before) || l.Monotonic() != mono {
			t.Error("Time changed within a callback")
		}
		l.AddCallback(func() {
			if got := l.Time().Sub(before); got != time.Second {
				t.Errorf("Time is %v later in the next turn, want 1s", got)
			}
			if got := l.Monotonic() - mono; got != int64(time.Second) {
				t.Errorf("Monotonic is %d ns later", got)
			}
		})
	})
	start(t, l)

	// Over many callbacks it is refreshed now and then, and not for each.
	l, clock, _ = fakeLoop(t, loop.Options{})
	began := clock.Now()
	reads := clock.readCount()
	for range 640 {
		l.AddCallback(func() { clock.advance(time.Millisecond) })
	}
	l.AddCallback(func() {
		if late := clock.Now().Sub(l.Time()); late > 64*time.Millisecond {
			t.Errorf("after %v of callbacks, Time is %v behind", clock.Now().Sub(began), late)
		}
	})
	start(t, l)
	if n := clock.readCount() - reads; n > 20 {
		t.Errorf("the clock was read %d times for 641 callbacks", n)
	}
}

func TestLoopTimeNeverGoesBack(t *testing.T) {
	l, clock, _ := fakeLoop(t, loop.Options{})
	last, mono := l.Time(), l.Monotonic()
	l.BeforeWait(func() {
		if now := l.Time(); now.Before(last) || l.Monotonic() < mono {
			t.Errorf("Time went from %v to %v", last, now)
		}
		last, mono = l.Time(), l.Monotonic()
	})
	ran := 0
	l.CallLater(time.Second, func() { ran++ })
	for i := range 3 {
		l.CallLater(time.Duration(i)*time.Millisecond, func() {
			clock.advance(-10 * time.Millisecond)
			l.AddCallback(func() {}) // so that a turn begins before the clock has caught up
		})
	}
	start(t, l)
	if ran != 1 {
		t.Error("the timer was lost")
	}
}

func TestLoopRemovedTimersAreCleanedUp(t *testing.T) {
	l, clock, _ := fakeLoop(t, loop.Options{})
	kept := 0
	for i := range 100 {
		l.CallLater(time.Hour+time.Duration(i), func() { kept++ })
	}
	most := 0
	for i := range 20_000 {
		to := l.CallAt(clock.Now().Add(time.Duration(i)*time.Second), func() { t.Error("a removed timer ran") })
		l.RemoveTimeout(to)
		held, _, _ := loop.Timers(l)
		most = max(most, held)
	}
	if most > 100+2*512+2 {
		t.Errorf("the heap held up to %d timers for 100 that count", most)
	}
	start(t, l)
	if kept != 100 {
		t.Errorf("%d of 100 kept timers ran", kept)
	}
}

func TestLoopRebuiltHeapIsAHeap(t *testing.T) {
	rnd := seeded(t)
	for n := range 30 {
		l, clock, _ := fakeLoop(t, loop.Options{})
		var drop []*loop.Timeout
		for _, i := range rnd.Perm(600 + n) {
			to := l.CallAt(clock.Now().Add(time.Duration(rnd.IntN(100))*time.Second), func() {})
			if i >= n {
				drop = append(drop, to)
			}
		}
		for _, to := range drop {
			l.RemoveTimeout(to)
			if _, _, err := loop.Timers(l); err != nil {
				t.Fatalf("%d kept: %v", n, err)
			}
		}
		if held, _, _ := loop.Timers(l); held == 600+n {
			t.Errorf("%d kept: the heap was not rebuilt", n)
		}
	}
}

// TestLoopTimersAgainstAModel does at random what one can do with timers, before and while they run, and compares what runs with a
// list that is searched from end to end.
func TestLoopTimersAgainstAModel(t *testing.T) {
	rnd := seeded(t)
	type entry struct {
		id   int
		when time.Time
		to   *loop.Timeout
	}
	for range 10 {
		l, clock, _ := fakeLoop(t, loop.Options{})
		var model []*entry // in the order of adding
		ids, ran := 0, 0
		span := 1 + rnd.IntN(5000)
		var add func()
		drop := func() {
			if len(model) > 0 {
				i := rnd.IntN(len(model))
				l.RemoveTimeout(model[i].to)
				model = slices.Delete(model, i, i+1)
			}
		}
		add = func() {
			ids++
			e := &entry{id: ids, when: l.Time().Add(time.Duration(1+rnd.IntN(span)) * time.Millisecond)}
			e.to = l.CallAt(e.when, func() {
				ran++
				first := slices.MinFunc(model, func(a, b *entry) int {
					if c := a.when.Compare(b.when); c != 0 {
						return c
					}
					return a.id - b.id
				})
				if first != e {
					t.Fatalf("ran %d of %v, the model has %d of %v first", e.id, e.when, first.id, first.when)
				}
				if !clock.Now().Equal(e.when) {
					t.Errorf("ran at %v, not %v", clock.Now(), e.when)
				}
				model = slices.DeleteFunc(model, func(x *entry) bool { return x == e })
				for n := rnd.IntN(3); n > 0 && ids < 2000; n-- {
					add()
				}
				if rnd.IntN(3) == 0 {
					drop()
				}
			})
			model = append(model, e)
		}
		for range 200 + rnd.IntN(1000) {
			add()
		}
		for range rnd.IntN(len(model)) {
			drop()
		}
		l.BeforeWait(func() {
			if _, _, err := loop.Timers(l); err != nil {
				t.Fatal(err)
			}
		})
		start(t, l)
		if len(model) != 0 {
			t.Fatalf("%d timers did not run", len(model))
		}
		if ran == 0 {
			t.Fatal("no timer ran")
		}
	}
}

func TestPeriodicKeepsItsPhase(t *testing.T) {
	l, clock, _ := fakeLoop(t, loop.Options{})
	began := clock.Now()
	var at []time.Duration
	var stop func()
	stop = l.Periodic(10*time.Second, func() {
		at = append(at, clock.Now().Sub(began))
		if len(at) == 4 {
			stop()
			stop()
		}
	})
	start(t, l)
	if want := fmt.Sprint([]time.Duration{10e9, 20e9, 30e9, 40e9}); fmt.Sprint(at) != want {
		t.Errorf("at %v, want %v", at, want)
	}
}

func TestPeriodicSkipsWhatItHasMissed(t *testing.T) {
	// As Tornado's test_overrun: how long each call takes, and when the calls begin.
	l, clock, _ := fakeLoop(t, loop.Options{})
	began := clock.Now()
	takes := []time.Duration{9e9, 9e9, 10e9, 11e9, 20e9, 20e9, 35e9, 35e9, 0, 0, 0}
	var at []time.Duration
	var stop func()
	stop = l.Periodic(10*time.Second, func() {
		at = append(at, clock.Now().Sub(began))
		if len(takes) == 0 {
			stop()
			return
		}
		clock.advance(takes[0])
		takes = takes[1:]
	})
	start(t, l)
	want := fmt.Sprint([]time.Duration{10e9, 20e9, 30e9, 50e9, 70e9, 100e9, 130e9, 170e9, 210e9, 220e9, 230e9, 240e9})
	if fmt.Sprint(at) != want {
		t.Errorf("at %v\nwant %v", at, want)
	}
}

func TestPeriodicSurvivesClockGoingBackwards(t *testing.T) {
	l, clock, _ := fakeLoop(t, loop.Options{})
	calls := 0
	var stop func()
	stop = l.Periodic(10*time.Second, func() {
		if calls++; calls == 5 {
			stop()
		}
		if calls < 3 {
			clock.advance(-7 * time.Second)
		}
	})
	start(t, l)
	if calls != 5 {
		t.Errorf("%d calls", calls)
	}
}

func TestPeriodicSurvivesAPanic(t *testing.T) {
	panics := 0
	l, _, _ := fakeLoop(t, loop.Options{OnPanic: func(any, []byte) { panics++ }})
	calls := 0
	var stop func()
	stop = l.Periodic(time.Second, func() {
		if calls++; calls == 3 {
			stop()
		}
		panic("again")
	})
	start(t, l)
	if calls != 3 || panics != 3 {
		t.Errorf("%d calls, %d panics, want 3 of each", calls, panics)
	}
}

func TestPeriodicStopsBeforeItsFirstCall(t *testing.T) {
	l, _, poller := fakeLoop(t, loop.Options{})
	l.Periodic(time.Second, func() { t.Error("called") })()
	start(t, l)
	if len(poller.waits) != 1 || poller.waits[0] >= 0 {
		t.Errorf("waits %v", poller.waits)
	}
}

func TestPeriodicNeedsAPositivePeriod(t *testing.T) {
	l := newLoop(t, loop.Options{})
	defer func() {
		if recover() == nil {
			t.Error("a period of 0 was taken")
		}
	}()
	l.Periodic(0, func() {})
}
