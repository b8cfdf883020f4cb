package conn

import (
	"testing"

	"gameserverd/internal/loop"
)

// The other loop cannot watch the descriptor: it is closed, and whoever moved it
// learns of it on the loop it was moved from, where its state is.
func TestMoveThatIsRefusedEndsWhereItBegan(t *testing.T) {
	a, b := newRig(t, Options{}), newRig(t, Options{})
	id, p := a.pair()
	var fd int
	a.do(func() { fd = int(a.set.at(Slot(id)).fd) })
	b.do(func() { // as if b had it already
		if err := b.l.AddHandler(fd, 0, loop.HandlerFunc(func(int, loop.Events) {})); err != nil {
			t.Error(err)
		}
	})
	type end struct {
		id   uint64
		here bool
	}
	done := make(chan end, 1)
	a.do(func() { a.set.Move(id, b.set, func(id uint64) { done <- end{id, a.l.OnLoop()} }) })
	if e := <-done; e.id != 0 || !e.here {
		t.Errorf("done(%#x), on the loop it was moved from: %v; want 0 there", e.id, e.here)
	}
	if rest, err := readAll(p); len(rest) != 0 || err != nil {
		t.Errorf("the peer got %d bytes, %v; want the end", len(rest), err)
	}
	b.do(func() { b.l.RemoveHandler(fd) })
	if n := a.set.Len() + b.set.Len(); n != 0 {
		t.Errorf("%d connections are counted", n)
	}
}
