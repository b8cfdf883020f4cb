// Package histogram counts values in a few classes, so that quantiles can be told
// later without keeping the values.
//
// It is no registry and knows no names: internal/metrics has those. It imports
// nothing that does I/O, and reads no clock.
//
// Its one invariant: counts only go up. So the difference of two copies of one
// histogram is the histogram of what was observed in between.
package histogram

import (
	"math"
	"math/bits"
)

// Classes is the number of classes of every histogram. A Scale with fewer bounds
// leaves those between its last bound and the last class empty.
const Classes = 20

// Scale is where the classes of a histogram end. Immutable; any goroutine.
type Scale struct {
	bounds []int64        // ascending, at most Classes-1
	upper  [Classes]int64 // the same, and the greatest int64 from there on
	first  [65]uint8      // by a value's length in bits: the first class that it can be of
}

// Durations is the scale of times in nanoseconds: 10 us to 10 s, each bound 2 or
// 2.5 times the one before. Immutable.
var Durations = scale(
	10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
	1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000, 100_000_000, 250_000_000, 500_000_000,
	1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000)

// Sizes is the scale of counts, of rows or messages: 1 to 5,000. Immutable.
var Sizes = scale(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)

// scale makes a Scale. The bounds are positive and ascending, fewer than Classes.
func scale(bounds ...int64) *Scale {
	s := &Scale{bounds: bounds}
	for i := range s.upper {
		s.upper[i] = math.MaxInt64
	}
	copy(s.upper[:], bounds)
	for n := 1; n < len(s.first); n++ {
		least := uint64(1) << (n - 1) // of n bits
		for uint64(s.upper[s.first[n]]) < least && int(s.first[n]) < len(bounds) {
			s.first[n]++
		}
	}
	return s
}

// Bounds are the upper bounds of the classes but the last, ascending; a value that
// equals a bound is of its class. Not to be changed. Any goroutine.
func (s *Scale) Bounds() []int64 { return s.bounds }

// Class is the class of v, from 0 to len(Bounds()), which is the class of all
// above the last bound. Any goroutine.
//
// Bounds are at least twice the one before, so that after a look at the length of
// v one comparison decides.
func (s *Scale) Class(v int64) int {
	c := int(s.first[bits.Len64(uint64(max(v, 0)))])
	for v > s.upper[c] {
		c++
	}
	return c
}

// Histogram counts the values of one kind, which one goroutine observes. The zero
// value is empty. It holds no pointers: assignment copies it.
type Histogram struct {
	Counts [Classes]uint64 // by class
	Sum    uint64          // of the values
}

// Observe adds v to h; what is less than 0 counts as 0. The goroutine of h only.
func (s *Scale) Observe(h *Histogram, v int64) {
	v = max(v, 0)
	h.Counts[s.Class(v)]++
	h.Sum += uint64(v)
}

// Count is the number of values. The goroutine of h only.
func (h *Histogram) Count() uint64 {
	n := uint64(0)
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Add adds what o has counted. The goroutine of both only.
func (h *Histogram) Add(o *Histogram) {
	for i, c := range o.Counts {
		h.Counts[i] += c
	}
	h.Sum += o.Sum
}

// Sub takes away what o has counted: an earlier copy of h. The goroutine of both
// only.
func (h *Histogram) Sub(o *Histogram) {
	for i, c := range o.Counts {
		h.Counts[i] -= c
	}
	h.Sum -= o.Sum
}

// Quantile is about the value below which the share q, from 0 to 1, of the values
// of h lies, as histogram_quantile of Prometheus has it: a class's values are taken
// to lie evenly between its bounds, and those above the last bound to equal it.
// It is NaN when h is empty or q is none, and infinite for a q outside of 0 to 1.
// The goroutine of h only.
func (s *Scale) Quantile(h *Histogram, q float64) float64 {
	n := h.Count()
	switch {
	case n == 0 || math.IsNaN(q):
		return math.NaN()
	case q < 0:
		return math.Inf(-1)
	case q > 1:
		return math.Inf(1)
	}
	rank, below := q*float64(n), uint64(0)
	for i, upper := range s.bounds {
		in := h.Counts[i]
		if in > 0 && float64(below+in) >= rank {
			lower := int64(0)
			if i > 0 {
				lower = s.bounds[i-1]
			}
			return float64(lower) + float64(upper-lower)*(rank-float64(below))/float64(in)
		}
		below += in
	}
	return float64(s.bounds[len(s.bounds)-1])
}
