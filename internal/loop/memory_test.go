package loop_test

import (
	"runtime"
	"testing"
	"time"
	"weak"

	"gameserverd/internal/loop"
)

func TestLoopForgetsWhatItNoLongerNeeds(t *testing.T) {
	// What a callback, timer or handler holds can be collected once it has run or was removed, though the loop lives on.
	l := goLoop(t, loop.Options{})
	a, _ := socketpair(t)
	b, _ := socketpair(t)
	type ballast struct {
		nothingHandler
		_ [1 << 10]byte
	}
	held := make(map[string]weak.Pointer[ballast])
	hold := func(name string) *ballast {
		p := new(ballast)
		held[name] = weak.Make(p)
		return p
	}
	var fired *loop.Timeout // Timeouts may be kept by their makers
	on(t, l, func() {
		p := hold("a timer that fires")
		fired = l.CallLater(0, func() { _ = p.nothingHandler })
		q := hold("a timer that is removed")
		l.RemoveTimeout(l.CallLater(time.Hour, func() { _ = q.nothingHandler }))
		h := hold("a handler")
		check(t, l.AddHandler(a, loop.Read, h))
		check(t, l.AddHandler(b, loop.Read, h))
		l.RemoveHandler(a)
		check(t, l.AddHandler(a, loop.Read, h))
		l.RemoveHandler(b)
		l.RemoveHandler(a)
	})
	on(t, l, func() { // in the middle of a batch, where those that follow one at a time do not overwrite it
		p := hold("a callback")
		for range 3 {
			l.AddCallback(func() { _ = p.nothingHandler })
		}
	})
	on(t, l, func() {})
	on(t, l, func() {})
	for name, w := range held {
		waitUntil(t, name+" is collected", func() bool { runtime.GC(); return w.Value() == nil })
	}
	runtime.KeepAlive(fired)
}

func TestLoopBurstDoesNotStayResident(t *testing.T) {
	l := goLoop(t, loop.Options{})
	const burst = 50_000
	var removed []weak.Pointer[loop.Timeout]
	on(t, l, func() {
		for range burst {
			l.AddCallback(func() {})
			l.CallLater(0, func() {})
			to := l.CallLater(time.Hour, func() {})
			l.RemoveTimeout(to)
			removed = append(removed, weak.Make(to))
		}
		l.RemoveTimeout(l.CallLater(time.Hour, func() {}))
	})
	for range 20 { // MaxCallbacks a turn
		on(t, l, func() {})
	}
	on(t, l, func() {
		timeouts := make([]*loop.Timeout, burst)
		for i := range timeouts {
			timeouts[i] = l.CallLater(time.Hour, func() {})
			removed = append(removed, weak.Make(timeouts[i]))
		}
		for _, to := range timeouts {
			l.RemoveTimeout(to)
		}
	})
	on(t, l, func() {
		if callbacks, timers := loop.Room(l); callbacks > 3*4096 || timers > 3*4096 {
			t.Errorf("room for %d callbacks and %d timers is kept", callbacks, timers)
		}
	})
	waitUntil(t, "the removed timers are collected", func() bool {
		runtime.GC()
		left := 0
		for _, w := range removed {
			if w.Value() != nil {
				left++
			}
		}
		return left <= 513 // as many may wait for a rebuild
	})
}

func TestTimersThatWereCalledDoNotStayResident(t *testing.T) {
	// None is removed, so nothing but the calling itself can give the heap's room back.
	l := goLoop(t, loop.Options{})
	on(t, l, func() {
		for range 50_000 {
			l.CallLater(0, func() {})
		}
		l.CallLater(time.Hour, func() {})
	})
	on(t, l, func() {})
	on(t, l, func() {
		if _, timers := loop.Room(l); timers > 2*4096 {
			t.Errorf("room for %d timers is kept for one", timers)
		}
		if held, _, err := loop.Timers(l); held != 1 || err != nil {
			t.Errorf("%d timers are left, %v; want one", held, err)
		}
	})
}
