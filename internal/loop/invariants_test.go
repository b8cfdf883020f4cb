//go:build invariants

package loop_test

import (
	"testing"
	"time"

	"gameserverd/internal/loop"
)

func TestInvariantsLoopOnlyMethodsPanicOnOtherGoroutines(t *testing.T) {
	l := goLoop(t, loop.Options{})
	a, _ := socketpair(t)
	stop := func() {}
	on(t, l, func() { stop = l.Periodic(time.Hour, func() {}) })
	h := &nothingHandler{}
	for name, call := range map[string]func(){
		"AddHandler":    func() { l.AddHandler(a, loop.Read, h) },
		"UpdateHandler": func() { l.UpdateHandler(a, loop.Read) },
		"RemoveHandler": func() { l.RemoveHandler(a) },
		"CallAt":        func() { l.CallAt(time.Now(), func() {}) },
		"CallLater":     func() { l.CallLater(time.Hour, func() {}) },
		"AddTimeout":    func() { l.AddTimeout(time.Hour, func() {}) },
		"RemoveTimeout": func() { l.RemoveTimeout(nil) },
		"Periodic":      func() { l.Periodic(time.Hour, func() {}) },
		"stop":          stop,
		"Time":          func() { l.Time() },
		"Monotonic":     func() { l.Monotonic() },
		"Nanotime":      func() { l.Nanotime() },
		"Recent":        func() { l.Recent() },
		"Stats":         func() { l.Stats() },
		"BeforeWait":    func() { l.BeforeWait(func() {}) },
		"Enter":         func() { l.Enter(nil, 0) },
	} {
		if !panics(call) {
			t.Errorf("%s may be called from another goroutine", name)
		}
		on(t, l, func() { // and not on the loop
			if panics(call) {
				t.Errorf("%s panics on the loop", name)
			}
		})
	}
	on(t, l, func() { l.RemoveHandler(a) })
}

func panics(fn func()) (did bool) {
	defer func() { did = recover() != nil }()
	fn()
	return false
}
