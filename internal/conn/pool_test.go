package conn

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func TestClasses(t *testing.T) {
	for n := range 70_000 {
		size := sizeFor(n)
		if size < n {
			t.Fatalf("sizeFor(%d) = %d", n, size)
		}
		if c := classOf(n); n <= maxClass && (size != classSize(c) || c > 0 && classSize(c-1) >= n) {
			t.Fatalf("%d bytes: class %d of %d bytes", n, c, size)
		}
	}
	if classOf(maxClass+1) < classes {
		t.Error("more than the largest class has a class")
	}
}

// A model: whatever is taken, grown and put back, each buffer keeps its bytes
// and the counts agree.
func TestPoolAgainstModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	var p pool
	model := make(map[uint32]byte)
	pick := func() uint32 {
		for n := range model {
			return n
		}
		return 0
	}
	for step := range 20_000 {
		switch n := pick(); {
		case n == 0 || rnd.IntN(3) == 0 && len(model) < 200:
			size := 1 + rnd.IntN(100_000)>>rnd.IntN(12)
			n = p.take(size)
			if _, lent := model[n]; lent || n == 0 {
				t.Fatalf("seed %d step %d: number %d is lent twice", seed, step, n)
			}
			b := p.at(n)
			if len(b.b) != 0 || b.room() < size || b.off != 0 || b.next != 0 {
				t.Fatalf("seed %d step %d: take(%d) lends %d of %d, off %d", seed, step, size, len(b.b), cap(b.b), b.off)
			}
			model[n] = byte(rnd.Uint32())
			b.b = append(b.b, model[n], model[n])
			b.off = rnd.IntN(2)
		case rnd.IntN(2) == 0:
			if got := p.at(n).data(); got[0] != model[n] || got[len(got)-1] != model[n] {
				t.Fatalf("seed %d step %d: buffer %d was changed", seed, step, n)
			}
			p.put(n)
			delete(model, n)
		case rnd.IntN(50) == 0:
			p.trim()
		default:
			p.grow(n, len(p.at(n).data())+rnd.IntN(80_000))
			if p.at(n).off != 0 {
				t.Fatalf("seed %d step %d: grow leaves off", seed, step)
			}
		}
	}
	lent := 0
	for n := range model {
		lent += cap(p.at(n).b)
	}
	held := 0
	for c := range p.spare {
		for _, b := range p.spare[c].bufs {
			held += cap(b)
		}
	}
	if p.used != len(model) || p.bytes != lent || p.held != held {
		t.Errorf("seed %d: used %d bytes %d held %d, want %d %d %d", seed, p.used, p.bytes, p.held, len(model), lent, held)
	}
}

func TestTrimDropsWhatABurstLeft(t *testing.T) {
	var p pool
	burst := make([]uint32, 10_000)
	for i := range burst {
		burst[i] = p.take(1000)
	}
	for _, n := range burst {
		p.put(n)
	}
	if p.held != len(burst)*1024 {
		t.Fatalf("%d bytes are held after the burst", p.held)
	}
	p.trim() // the interval of the burst: they were in use
	for range 100 {
		n, m := p.take(1000), p.take(1000)
		p.put(n)
		p.put(m)
	}
	if !p.trim() || p.held != 2*1024 {
		t.Errorf("%d bytes are held, want the two buffers that are used", p.held)
	}
	if p.trim() || p.held != 0 || p.bufs != nil {
		t.Errorf("%d bytes are held after an idle interval", p.held)
	}
}

func TestLargeBuffersAreNotKept(t *testing.T) {
	var p pool
	for _, n := range []int{maxClass + 1, 1 << 20} {
		b := p.take(n)
		if got := cap(p.at(b).b); got != n {
			t.Errorf("take(%d) lends %d bytes", n, got)
		}
		p.put(b)
	}
	if p.held != 0 || p.bytes != 0 {
		t.Errorf("%d bytes are held, %d counted as lent", p.held, p.bytes)
	}
}

func TestBudget(t *testing.T) {
	b := NewBudget(100)
	if !b.take(60) || b.take(41) || b.Used() != 60 {
		t.Errorf("used %d after taking 60 and 41 of 100", b.Used())
	}
	if !b.take(40) || b.take(1) {
		t.Error("the last byte cannot be taken, or one more can")
	}
	b.give(100)
	if b.Used() != 0 || b.Limit() != 100 {
		t.Errorf("used %d of %d after all was given back", b.Used(), b.Limit())
	}
	var nobody *Budget
	if !nobody.take(1 << 40) {
		t.Error("no budget refuses")
	}
	nobody.give(1)
	nobody.Add(1)
}

func TestReasonNames(t *testing.T) {
	seen := make(map[string]bool)
	for r := range reasons {
		if r.String() == "" || seen[r.String()] {
			t.Errorf("reason %d is called %q", r, r)
		}
		seen[r.String()] = true
	}
	if got := fmt.Sprint(reasons); got != "reason 8" {
		t.Errorf("an unknown reason is called %q", got)
	}
}
