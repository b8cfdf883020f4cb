package rpc

import (
	"testing"
	"time"

	"gameserverd/internal/loop"
)

// quietLoop is a real loop that does not run: for benchmarks, whose calls cost what
// they cost on a loop.
type quietLoop struct{ *loop.Loop }

func (l quietLoop) Now() time.Time { return l.Time() }
func (l quietLoop) After(d time.Duration, fn func()) (cancel func()) {
	t := l.CallLater(d, fn)
	return func() { l.RemoveTimeout(t) }
}

func realLoop(b *testing.B) Loop {
	l, err := loop.New(loop.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close(false) })
	return quietLoop{l}
}

// BenchmarkRecord is what the recording of a call costs, by itself: what begins it,
// and what counts it at its end.
func BenchmarkRecord(b *testing.B) {
	r := newRig(b, 1, []Method{sumMethod()})
	h := r.links[0].hub
	h.loop = realLoop(b)
	c := &h.call
	c.method = h.methods["sum"]
	b.ReportAllocs()
	for b.Loop() {
		in := incoming{arrived: h.clock()}
		c.begin(h, &in)
		h.record(c, "")
	}
}
