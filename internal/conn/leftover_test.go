package conn

import (
	"testing"
	"time"
)

// Closed does not say that everything was delivered when the budget has taken
// the rest of a connection that was being shut down.
func TestBudgetEvictionTellsWhatWasUndelivered(t *testing.T) {
	g := newRig(t, Options{Budget: NewBudget(300_000)})
	ending, _ := g.narrow("pair")
	other, _ := g.narrow("pair")
	g.do(func() {
		g.set.Write(ending, pattern(200_000))
		g.set.Shutdown(ending, Local)
	})
	g.until("waiting for room", func() bool { return g.set.at(Slot(ending)).flags&isArmed != 0 })
	g.do(func() { g.set.Write(other, pattern(150_000)) })
	g.wantClosed(ending, Local, ErrUndelivered)
	g.wantNothingClosed()
}

// A burst of pushes that the sockets took at once leaves no log and no list behind.
func TestPushLogIsTrimmed(t *testing.T) {
	clock := newFakeClock()
	g := newRigOn(t, Options{}, clock)
	id, p := g.pair()
	g.do(func() { g.set.Write(id, pattern(150_000)) })
	p.want(pattern(150_000))
	g.do(func() { g.set.dirty = make([]uint64, 0, 10_000) })
	g.until("idle", func() bool { return g.set.Pending(id) == 0 })
	for range 4 {
		clock.advance(trimEvery + time.Second)
		g.turns(2)
	}
	g.do(func() {
		if n, m := cap(g.set.log), cap(g.set.dirty); n > maxClass || m > 4096 {
			t.Errorf("room for %d bytes of pushes and %d connections is kept", n, m)
		}
		if g.set.trimmer {
			t.Error("the timer goes on with nothing to trim")
		}
	})
}

// A turn that has filled the log leaves it empty for the next.
func TestPushLogIsEmptyAfterTheFlush(t *testing.T) {
	g := newRig(t, Options{})
	a, p := g.pair()
	b, q := g.pair()
	first, second := pattern(maxPushLog-10), pattern(1000)
	g.do(func() { g.set.Write(a, first) })
	p.want(first)
	g.until("flushed", func() bool { return g.set.Pending(a) == 0 })
	g.do(func() {
		g.set.Write(a, second)
		g.set.Write(b, second)
		if g.set.logged != 2 || len(g.set.log) != len(second) {
			t.Errorf("%d connections share a log of %d bytes; want 2 and %d", g.set.logged, len(g.set.log), len(second))
		}
	})
	p.want(second)
	q.want(second)
}
