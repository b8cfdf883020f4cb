package loop_test

import (
	"strings"
	"testing"
	"time"

	"gameserverd/internal/loop"
)

const slow = 20 * time.Millisecond

// blockUntilReported is what a stall looks like: its name is what the stack must show.
//
// A busy machine may hold up the loop elsewhere, too; such a report is not the one.
//
//go:noinline
func blockUntilReported(t testing.TB, told <-chan loop.Slow) loop.Slow {
	for {
		if s := receive(t, told, "the watchdog's report"); strings.Contains(s.Stack, "loop_test.blockUntilReported ") {
			return s
		}
	}
}

// tell does not wait for a test that has heard enough.
func tell(told chan loop.Slow) func(loop.Slow) {
	return func(s loop.Slow) {
		select {
		case told <- s:
		default:
		}
	}
}

func TestWatchdogReportsAHeldLoopWithItsStack(t *testing.T) {
	told := make(chan loop.Slow, 100)
	l := goLoop(t, loop.Options{Name: "game", SlowCallback: slow, OnSlow: tell(told)})
	a, b := socketpair(t)
	label := "sum"
	for name, c := range map[string]struct {
		hold  func(fn func())
		label string
		who   uint64
	}{
		"callback": {hold: func(fn func()) { l.AddCallback(fn) }},
		"timer":    {hold: func(fn func()) { l.AddCallback(func() { l.CallLater(0, fn) }) }},
		"handler that says what it does": {label: "sum", who: 7, hold: func(fn func()) {
			l.AddCallback(func() {
				check(t, l.AddHandler(a, loop.Read, loop.HandlerFunc(func(int, loop.Events) {
					l.RemoveHandler(a)
					l.Enter(&label, 7)
					fn()
				})))
			})
			write(t, b, "x")
		}},
		"callback after one that said what it did": {hold: func(fn func()) {
			l.AddCallback(func() { l.Enter(&label, 8) })
			l.AddCallback(fn)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan loop.Slow, 1)
			c.hold(func() { got <- blockUntilReported(t, told) })
			s := receive(t, got, "the stall's end")
			if s.Loop != "game" || s.Label != c.label || s.Who != c.who {
				t.Errorf("loop %q, label %q, who %d", s.Loop, s.Label, s.Who)
			}
			if s.Took < slow/2 {
				t.Errorf("took %v, slow is %v", s.Took, slow)
			}
			if !strings.Contains(s.Stack, "watchdog_test.go:") {
				t.Errorf("the stack does not show where the loop is held:\n%s", s.Stack)
			}
			if !strings.Contains(s.String(), "game") {
				t.Errorf("String: %s", s)
			}
		})
	}
}

// watched is a loop whose own watchdog is too patient to matter: these tests look themselves.
func watched(t testing.TB) (*loop.Loop, *loop.Watcher) {
	return goLoop(t, loop.Options{SlowCallback: time.Hour}), &loop.Watcher{}
}

func TestWatchdogReportsAStallOnce(t *testing.T) {
	l, w := watched(t)
	on(t, l, func() {
		for i := range 5 * loop.Looks {
			if told := w.Look(l); told != (i == loop.Looks) {
				t.Errorf("look %d: reported: %v", i, told)
			}
		}
	})
	on(t, l, func() {
		for i := range 2 * loop.Looks {
			if told := w.Look(l); told != (i == loop.Looks) {
				t.Errorf("a second stall, look %d: reported: %v", i, told)
			}
		}
	})
}

func TestWatchdogDoesNotReportProgress(t *testing.T) {
	l, w := watched(t)
	look := func() {
		for range loop.Looks { // as many as can be without being one too many
			if w.Look(l) {
				t.Error("reported")
			}
		}
	}
	on(t, l, func() { // one turn with many callbacks and timers, none of which is long
		for range 100 {
			l.AddCallback(look)
			l.CallLater(0, look)
		}
	})
	on(t, l, func() { // one callback that says again and again what it does, be it the same
		label := "sum"
		for i := range 100 {
			l.Enter(&label, uint64(i/2))
			look()
		}
	})
	on(t, l, func() {})
}

func TestWatchdogDoesNotReportAnIdleLoop(t *testing.T) {
	rests := make(chan struct{}, 100)
	l := goLoop(t, loop.Options{SlowCallback: time.Hour, Poller: watchWaits(t, func(d time.Duration) {
		if d < 0 {
			rests <- struct{}{}
		}
	})})
	on(t, l, func() {
		for len(rests) > 0 {
			<-rests
		}
	})
	receive(t, rests, "the loop's rest")
	var w loop.Watcher
	for range 10 * loop.Looks {
		if w.Look(l) {
			t.Fatal("reported")
		}
	}
}

//go:noinline
func holdOne(release <-chan struct{}) { <-release }

//go:noinline
func holdTwo(release <-chan struct{}) { <-release }

func TestWatchdogShowsTheStackOfItsOwnLoop(t *testing.T) {
	// Two loops of the same name, held at the same time.
	release := make(chan struct{})
	defer close(release)
	reports := make(map[string]chan loop.Slow)
	for name, hold := range map[string]func(<-chan struct{}){"holdOne": holdOne, "holdTwo": holdTwo} {
		told := make(chan loop.Slow, 1000)
		reports[name] = told
		l := goLoop(t, loop.Options{Name: "twin", SlowCallback: slow, OnSlow: tell(told)})
		l.AddCallback(func() { hold(release) })
	}
	for name, told := range reports {
		s := receive(t, told, "the report")
		for !strings.Contains(s.Stack, ".hold") { // of something that was slow before
			s = receive(t, told, "the report")
		}
		if !strings.Contains(s.Stack, "."+name+" ") {
			t.Errorf("the report of the loop in %s shows another's stack:\n%s", name, s.Stack)
		}
	}
}

func TestWatchdogEndsWithStart(t *testing.T) {
	// That its goroutine has ended is what TestMain checks; and that the loop can be watched again, this.
	told := make(chan loop.Slow, 100)
	l := newLoop(t, loop.Options{SlowCallback: slow, OnSlow: tell(told)})
	for range 2 {
		l.AddCallback(func() {
			blockUntilReported(t, told)
			l.Stop()
		})
		start(t, l)
	}
}

func TestEnterWithoutWatchdogDoesNothing(t *testing.T) {
	l, _, _ := fakeLoop(t, loop.Options{})
	label := "sum"
	l.AddCallback(func() { l.Enter(&label, 1); l.Enter(nil, 0) })
	start(t, l)
}
