package histogram

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var scales = map[string]*Scale{"durations": Durations, "sizes": Sizes}

// TestBounds: what the catalogue promises of the scales. Dashboards and alerts name
// some of these bounds.
func TestBounds(t *testing.T) {
	for name, s := range scales {
		b := s.Bounds()
		if len(b) == 0 || len(b) >= Classes {
			t.Fatalf("%s: %d bounds", name, len(b))
		}
		for i := 1; i < len(b); i++ {
			if b[i] < 2*b[i-1] {
				t.Errorf("%s: %d is less than twice %d", name, b[i], b[i-1])
			}
		}
	}
	d := Durations.Bounds()
	if len(d) != Classes-1 || d[0] != int64(10*time.Microsecond) || d[6] != int64(time.Millisecond) || d[15] != int64(time.Second) || d[18] != int64(10*time.Second) {
		t.Errorf("durations: %v", d)
	}
}

// TestClassOfEveryEdge: around each bound, and around each power of two, the class
// is that of a plain search.
func TestClassOfEveryEdge(t *testing.T) {
	for name, s := range scales {
		check := func(v int64) {
			want := 0
			for want < len(s.bounds) && v > s.bounds[want] {
				want++
			}
			if got := s.Class(v); got != want {
				t.Errorf("%s: %d is of class %d, want %d", name, v, got, want)
			}
		}
		for _, b := range s.bounds {
			for v := b - 2; v <= b+2; v++ {
				check(v)
			}
		}
		for n := range 63 {
			for d := int64(-2); d <= 2; d++ {
				check(int64(1)<<n + d)
			}
		}
		check(math.MaxInt64)
		check(math.MinInt64)
		if got := s.Class(math.MaxInt64); got != len(s.bounds) {
			t.Errorf("%s: the greatest value is of class %d", name, got)
		}
	}
}

func TestObserve(t *testing.T) {
	var h Histogram
	for _, v := range []int64{-5, 0, 1, 2, 3, 5, 6, 5000, 5001, 1 << 40} {
		Sizes.Observe(&h, v)
	}
	want := Histogram{Counts: [Classes]uint64{0: 3, 1: 1, 2: 2, 3: 1, 11: 1, 12: 2}, Sum: 0 + 0 + 1 + 2 + 3 + 5 + 6 + 5000 + 5001 + 1<<40}
	if h != want {
		t.Errorf("got %+v, want %+v", h, want)
	}
	if h.Count() != 10 {
		t.Errorf("%d values", h.Count())
	}
}

// TestDifferenceIsWhatCameBetween: the invariant of the package.
func TestDifferenceIsWhatCameBetween(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	random := func() int64 { return r.Int64() >> r.IntN(63) }
	var all, between Histogram
	for range 1000 {
		Durations.Observe(&all, random())
	}
	before := all
	for range 1000 {
		v := random()
		Durations.Observe(&all, v)
		Durations.Observe(&between, v)
	}
	sum := before
	sum.Add(&between)
	if sum != all {
		t.Errorf("Add: got %+v, want %+v", sum, all)
	}
	all.Sub(&before)
	if all != between {
		t.Errorf("Sub: got %+v, want %+v", all, between)
	}
}

// TestQuantile: the answers that Prometheus gives for the same classes.
func TestQuantile(t *testing.T) {
	fill := func(counts map[int64]int) (h Histogram) {
		for v, n := range counts {
			for range n {
				Sizes.Observe(&h, v)
			}
		}
		return h
	}
	cases := []struct {
		name string
		h    Histogram
		q    float64
		want float64
	}{
		{"empty", Histogram{}, 0.5, math.NaN()},
		{"no q", fill(map[int64]int{1: 1}), math.NaN(), math.NaN()},
		{"below", fill(map[int64]int{1: 1}), -0.1, math.Inf(-1)},
		{"above", fill(map[int64]int{1: 1}), 1.1, math.Inf(1)},
		{"first class from 0", fill(map[int64]int{1: 10}), 0.5, 0.5},
		{"evenly in its class", fill(map[int64]int{5: 10}), 0.5, 3.5},
		{"the end of a class", fill(map[int64]int{5: 10}), 1, 5},
		{"the start of the first that has any", fill(map[int64]int{5: 10}), 0, 2},
		{"second of two classes", fill(map[int64]int{1: 5, 10: 5}), 0.9, 5 + 5*4.0/5},
		{"exactly at the end of the first", fill(map[int64]int{1: 5, 10: 5}), 0.5, 1},
		{"above the last bound", fill(map[int64]int{1: 1, 1 << 30: 9}), 0.9, 5000},
	}
	for _, c := range cases {
		got := Sizes.Quantile(&c.h, c.q)
		if got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) && math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestQuantileIsNearTheValue: for random values, the estimate is in the class of
// the true quantile.
func TestQuantileIsNearTheValue(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var h Histogram
	var values []int64
	for range 10_001 {
		v := int64(float64(time.Millisecond) * math.Exp(r.NormFloat64()))
		values = append(values, v)
		Durations.Observe(&h, v)
	}
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99} {
		less := 0
		got := Durations.Quantile(&h, q)
		for _, v := range values {
			if Durations.Class(v) < Durations.Class(int64(math.Ceil(got))) {
				less++
			}
		}
		in := int(h.Counts[Durations.Class(int64(math.Ceil(got)))])
		if rank := q * float64(len(values)); float64(less) > rank || float64(less+in) < rank {
			t.Errorf("q %v: %v is of a class with the ranks %d to %d, not %v", q, got, less, less+in, rank)
		}
	}
}

// TestShared: nothing is lost among goroutines, and no number ever falls.
func TestShared(t *testing.T) {
	const each, writers = 2000, 4
	var s Shared
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				s.Observe(Durations, int64(w*i)*1000-1)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var last Histogram
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		h := s.Snapshot()
		for i := range h.Counts {
			if h.Counts[i] < last.Counts[i] || h.Sum < last.Sum {
				t.Fatalf("class %d fell: %+v after %+v", i, h, last)
			}
		}
		last = h
	}
	var want Histogram
	for w := range writers {
		for i := range each {
			Durations.Observe(&want, int64(w*i)*1000-1)
		}
	}
	if got := s.Snapshot(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h Histogram
	for i := 0; b.Loop(); i++ {
		Durations.Observe(&h, int64(i&0xff)<<10)
	}
}

func BenchmarkSharedObserve(b *testing.B) {
	var s Shared
	for i := 0; b.Loop(); i++ {
		s.Observe(Durations, int64(i&0xff)<<10)
	}
}
