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
//go:noinline
func blockUntilReported(t testing.TB, told <-chan loop.Slow) loop.Slow {
	return receive(t, told, "the watchdog's report")
}

func TestWatchdogReportsAHeldLoopWithItsStack(t *testing.T) {
	told := make(chan loop.Slow, 100)
	l := goLoop(t, loop.Options{Name: "game", SlowCallback: slow, OnSlow: func(s loop.Slow) { told <- s }})
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
			release := make(chan struct{})
			c.hold(func() {
				got <- blockUntilReported(t, told)
				<-release
			})
			s := receive(t, got, "the stall's end")
			close(release)
			if s.Loop != "game" || s.Label != c.label || s.Who != c.who {
				t.Errorf("loop %q, label %q, who %d", s.Loop, s.Label, s.Who)
			}
			if s.Took < slow/2 {
				t.Errorf("took %v, slow is %v", s.Took, slow)
			}
			if !strings.Contains(s.Stack, "loop_test.blockUntilReported ") || !strings.Contains(s.Stack, "watchdog_test.go:") {
				t.Errorf("the stack does not show what holds the loop:\n%s", s.Stack)
			}
			if !strings.Contains(s.String(), "game") {
				t.Errorf("String: %s", s)
			}
		})
	}
}

func TestWatchdogReportsAStallOnce(t *testing.T) {
	told := make(chan loop.Slow, 100)
	l := goLoop(t, loop.Options{SlowCallback: slow, OnSlow: func(s loop.Slow) { told <- s }})
	on(t, l, func() {
		receive(t, told, "the report")
		// Held on for as long again and again, by a clock that stands beside the watchdog's.
		<-time.After(5 * slow)
	})
	on(t, l, func() {})
	if n := len(told); n != 0 {
		t.Errorf("%d more reports of the same stall", n)
	}
}

func TestWatchdogDoesNotReportProgress(t *testing.T) {
	// One turn that lasts long, of callbacks that are each short, and one callback that calls Enter all the time: no stall. The
	// loop's own clock is not asked for it.
	told := make(chan loop.Slow, 1000)
	const patient = 400 * time.Millisecond
	l := goLoop(t, loop.Options{SlowCallback: patient, OnSlow: func(s loop.Slow) { told <- s }})
	short := func() {
		for began := time.Now(); time.Since(began) < patient/100; {
		}
	}
	on(t, l, func() {
		for range 200 {
			l.AddCallback(short)
		}
	})
	on(t, l, func() {
		for range 200 {
			l.Enter(nil, 1)
			short()
		}
	})
	if n := len(told); n != 0 {
		t.Errorf("%d reports, the first: %v", n, <-told)
	}
}

func TestWatchdogDoesNotReportAnIdleLoop(t *testing.T) {
	told := make(chan loop.Slow, 100)
	l := goLoop(t, loop.Options{SlowCallback: slow, OnSlow: func(s loop.Slow) { told <- s }})
	other := goLoop(t, loop.Options{SlowCallback: slow, OnSlow: func(s loop.Slow) { told <- s }})
	// The other loop is held and reported: the watchdogs had the time to report this one, too.
	on(t, other, func() { receive(t, told, "the held loop's report") })
	on(t, l, func() {})
	if n := len(told); n != 0 {
		t.Errorf("%d reports of an idle loop", n)
	}
}

func TestWatchdogEndsWithStart(t *testing.T) {
	// That its goroutine has ended is what TestMain checks; and that the loop can be watched again, this.
	told := make(chan loop.Slow, 1)
	l := newLoop(t, loop.Options{SlowCallback: slow, OnSlow: func(s loop.Slow) { told <- s }})
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
