package metrics

import (
	"math"
	"math/rand/v2"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"gameserverd/internal/histogram"
)

// histogramOf is h in the form that is gathered.
func histogramOf(f *Family, h *histogram.Histogram, labels ...string) *dto.Metric {
	var b Batch
	b.Histogram(f, h, nil, labels...)
	return newPage().fill(&b)[0].Metric[0]
}

// TestIntervalsAreDifferences: what is told of an interval is what was observed in
// it, and quantiles are those of package histogram.
func TestIntervalsAreDifferences(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	var total histogram.Histogram
	var v intervals
	v.next()
	if _, n := v.since("f", histogramOf(CallRun, &total, "m")); n != 0 {
		t.Errorf("the first interval has %d", n)
	}
	for range 50 {
		var part histogram.Histogram
		for range random.IntN(200) {
			histogram.Durations.Observe(&part, int64(math.Exp(random.Float64()*25)))
		}
		total.Add(&part)
		v.next()
		m := histogramOf(CallRun, &total, "m")
		counts, n := v.since("f", m)
		if n != part.Count() {
			t.Fatalf("%d in the interval, want %d", n, part.Count())
		}
		if n == 0 {
			continue
		}
		for i, c := range counts {
			if c != part.Counts[i] {
				t.Fatalf("class %d has %d, want %d", i, c, part.Counts[i])
			}
		}
		for _, q := range []float64{0.5, 0.9, 0.99, 1} {
			got, want := quantile(q, m.Histogram.Bucket, counts, n), histogram.Durations.Quantile(&part, q)/1e9
			if math.Abs(got-want) > 1e-9*want {
				t.Fatalf("p%v is %v, want %v", q*100, got, want)
			}
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
	v.since("f", histogramOf(CommitRows, &h))
	v.next()
	if _, n := v.since("g", histogramOf(CommitRows, &h)); n != 1 {
		t.Errorf("the new one has %d, want 1", n)
	}
	v.next()
	if len(v.last) != 1 || len(v.now) != 0 {
		t.Errorf("remembered: %v, %v", v.last, v.now)
	}
}
