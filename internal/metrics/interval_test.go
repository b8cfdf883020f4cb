package metrics

import (
	"math"
	"math/rand/v2"
	"testing"

	"gameserverd/internal/histogram"
)

// sampleOf is h as it comes from a batch.
func sampleOf(f *Family, h *histogram.Histogram, labels ...string) *Sample {
	b := new(Batch)
	b.Histogram(f, h, nil, labels...)
	s := b.At(0)
	return &s
}

// TestIntervalsAreDifferences: what is told of an interval is what was observed in it.
func TestIntervalsAreDifferences(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	var total, other histogram.Histogram
	var v intervals
	v.next()
	if h := v.since(sampleOf(CallQueue, &total, "m")); h.Count() != 0 {
		t.Errorf("the first interval has %d", h.Count())
	}
	for range 50 {
		var part histogram.Histogram
		for range random.IntN(200) {
			histogram.Durations.Observe(&part, int64(math.Exp(random.Float64()*25)))
		}
		total.Add(&part)
		histogram.Durations.Observe(&other, 1)
		v.next()
		v.since(sampleOf(CallQueue, &other, "another"))
		if got := v.since(sampleOf(CallQueue, &total, "m")); got != part {
			t.Fatalf("the interval is %v, want %v", got, part)
		}
	}
}

// TestIntervalsOfOneThatComesLate: a series that was not there at the last push began
// at 0, and one that goes away is forgotten.
func TestIntervalsOfOneThatComesLate(t *testing.T) {
	var h histogram.Histogram
	histogram.Sizes.Observe(&h, 3)
	var v intervals
	v.next()
	if first := v.since(sampleOf(CommitRows, &h)); first.Count() != 0 {
		t.Errorf("the first push has %d", first.Count())
	}
	v.next()
	if late := v.since(sampleOf(MailboxSize, &h)); late.Count() != 1 {
		t.Errorf("the new one has %d, want 1", late.Count())
	}
	v.next()
	if len(v.last) != 1 || len(v.now) != 0 {
		t.Errorf("remembered: %v, %v", v.last, v.now)
	}
}
