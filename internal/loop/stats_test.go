package loop_test

import (
	"maps"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/histogram"
	"gameserverd/internal/loop"
)

// A turn lasts from when it has its events until the loop could wait: what it waits is not part of it.
func TestTurnsAreTimedWithoutTheirWaits(t *testing.T) {
	l, clock, poller := fakeLoop(t, loop.Options{})
	events := 3
	fd, _ := socketpair(t)
	check(t, l.AddHandler(fd, loop.Read, loop.HandlerFunc(func(int, loop.Events) { clock.advance(20 * time.Millisecond) })))
	poller.ready = func(ev []unix.EpollEvent) int {
		if events == 0 || poller.waits[len(poller.waits)-1] == 0 { // a look is no wait
			return 0
		}
		events--
		clock.advance(time.Hour) // the wait
		ev[0] = unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd), Pad: poller.gens[fd]}
		return 1
	}
	l.AddCallback(func() { clock.advance(5 * time.Millisecond) })
	start(t, l)
	s := l.Stats()
	if got, want := time.Duration(s.Turn.Sum), 5*time.Millisecond+3*20*time.Millisecond; got != want {
		t.Errorf("turns took %v together, want %v: %v", got, want, s.Turn.Counts)
	}
	if n := s.Turn.Counts[histogram.Durations.Class(int64(20*time.Millisecond))]; n != 3 {
		t.Errorf("%d turns with an event: %v", n, s.Turn.Counts)
	}
	if s.Turns != s.Turn.Count() || s.Turns < 4 || s.Turns > 6 {
		t.Errorf("%d turns: %v", s.Turns, s.Turn.Counts)
	}
}

// A turn whose callbacks leave others does not block; it is timed all the same.
func TestTurnsThatDoNotWaitAreTimed(t *testing.T) {
	l, clock, _ := fakeLoop(t, loop.Options{})
	left := 10
	var again func()
	again = func() {
		clock.advance(time.Millisecond)
		if left--; left > 0 {
			l.AddCallback(again)
		}
	}
	l.AddCallback(again)
	start(t, l)
	if s := l.Stats(); time.Duration(s.Turn.Sum) != 10*time.Millisecond || s.Turn.Counts[6] != 10 {
		t.Errorf("ten turns of a millisecond: %v, %v", time.Duration(s.Turn.Sum), s.Turn.Counts)
	}
}

// Lag is what a timer waits for what ran before it, in its turn too.
func TestLagIsHowLateTimersRun(t *testing.T) {
	l, clock, _ := fakeLoop(t, loop.Options{})
	l.CallLater(100*time.Millisecond, func() { clock.advance(30 * time.Millisecond) }) // in time
	l.CallLater(110*time.Millisecond, func() {                                         // 20 ms late
		l.CallLater(0, func() {}) // as late as the callback is long
		l.AddCallback(func() { clock.advance(7 * time.Millisecond) })
	})
	l.RemoveTimeout(l.CallLater(time.Millisecond, func() {}))
	start(t, l)
	s := l.Stats()
	if got, want := time.Duration(s.Lag.Sum), 27*time.Millisecond; got != want || s.Lag.Count() != 3 {
		t.Errorf("%d timers were %v late, want 3 and %v", s.Lag.Count(), got, want)
	}
}

func TestSlowFunctionsAreCountedByLabel(t *testing.T) {
	told := make(chan loop.Slow, 100)
	l := goLoop(t, loop.Options{SlowCallback: slow, OnSlow: tell(told)})
	label := "shop.buy"
	for _, label := range []*string{&label, nil, &label} {
		held := make(chan struct{})
		l.AddCallback(func() {
			defer close(held)
			if label != nil {
				l.Enter(label, 7)
			}
			blockUntilReported(t, told)
		})
		receive(t, held, "the stall's end")
	}
	var s loop.Stats
	on(t, l, func() { s = l.Stats() })
	if s.Slow["shop.buy"] < 2 || s.Slow[""] < 1 { // a busy machine may stall it elsewhere too
		t.Errorf("slow: %v", s.Slow)
	}
	before := maps.Clone(s.Slow)
	clear(s.Slow)
	on(t, l, func() { s = l.Stats() })
	for label, n := range before {
		if s.Slow[label] < n {
			t.Errorf("a copy is not the caller's: %v after %v", s.Slow, before)
		}
	}
}

func TestWaitingCallbacksAreCounted(t *testing.T) {
	l := newLoop(t, loop.Options{})
	var within int
	l.AddCallback(func() {
		l.SpawnCallback(func() {}) // for the next turn, which does not come
		within = l.Stats().Waiting // with the two below
	})
	l.AddCallback(func() {})
	l.AddCallback(l.Stop)
	if n := l.Stats().Waiting; n != 3 {
		t.Errorf("%d callbacks wait, want 3", n)
	}
	start(t, l)
	if left := l.Stats().Waiting; within != 3 || left != 1 {
		t.Errorf("%d callbacks waited within, %d are left; want 3, 1", within, left)
	}
}

// Recent is good for the function that reads it and the next: work in a row needs one reading each.
func TestRecentIsCutByWhatRunsInBetween(t *testing.T) {
	l, clock, _ := fakeLoop(t, loop.Options{})
	const step = time.Millisecond
	var marks []int64
	mark := func() { marks = append(marks, l.Recent()) }
	clock.advance(time.Minute)
	l.AddCallback(func() {
		if r, m := l.Recent(), l.Monotonic(); r != m {
			t.Errorf("the first of a turn begins at %d, the turn at %d", r, m)
		}
		mark() // 0: the turn's clock, nothing has run
		clock.advance(step)
		mark() // 0: still that reading
		l.Nanotime()
		mark()              // 1 ms
		clock.advance(step) // what belongs to nobody
	})
	l.AddCallback(func() { mark(); clock.advance(step) }) // 1 ms: it follows on the one that has read the clock
	l.AddCallback(func() { mark() })                      // 3 ms: there was one in between
	start(t, l)
	want := []time.Duration{0, 0, step, step, 3 * step}
	for i, m := range marks {
		if time.Duration(m-marks[0]) != want[i] {
			t.Errorf("mark %d is %v after the first, want %v", i, time.Duration(m-marks[0]), want[i])
		}
	}
	if len(marks) != len(want) {
		t.Errorf("%d marks", len(marks))
	}
}

func TestNanotimeNeverGoesBack(t *testing.T) {
	for name, o := range map[string]loop.Options{"real": {}, "fake": {Clock: newFakeClock()}} {
		l := newLoop(t, o)
		first := l.Nanotime()
		if first < l.Monotonic() {
			t.Errorf("%s: %d, before the turn's clock %d", name, first, l.Monotonic())
		}
		if o.Clock != nil {
			o.Clock.(*fakeClock).advance(-time.Hour)
		}
		if second := l.Nanotime(); second < first {
			t.Errorf("%s: %d after %d", name, second, first)
		}
	}
}

func TestPoolStats(t *testing.T) {
	p := newPool(t, 2, 1)
	release := make(chan struct{})
	for range 4 {
		p.Submit(func() { <-release })
	}
	if s := p.Stats(); s != (loop.PoolStats{Running: 2, Waiting: 1, Refused: 1}) {
		t.Errorf("busy: %+v", s)
	}
	close(release)
	drain(t, p)
	if s := p.Stats(); s.Running != 0 || s.Waiting != 0 || s.Refused != 1 {
		t.Errorf("at rest: %+v", s)
	}
	p.Submit(func() {})
	drain(t, p)
	if s := p.Stats(); s.Idle < 1 || s.Running != 0 {
		t.Errorf("after one more: %+v", s)
	}
}
