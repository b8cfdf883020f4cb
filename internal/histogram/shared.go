package histogram

import "sync/atomic"

// Shared is a Histogram that many goroutines observe. Each observation is two
// atomic additions to cache lines that they share, so it is for what takes longer
// than that by far: calls of a store, tasks. The zero value is empty. Not to be
// copied.
type Shared struct {
	// any goroutine
	counts [Classes]atomic.Uint64
	sum    atomic.Uint64
}

// Observe adds v, on the scale by; what is less than 0 counts as 0. All
// observations of one Shared are on one scale. Any goroutine.
func (s *Shared) Observe(by *Scale, v int64) {
	v = max(v, 0)
	s.counts[by.Class(v)].Add(1)
	s.sum.Add(uint64(v))
}

// Snapshot copies the counts. What is observed meanwhile may be in it with its
// class and not with its value; no number in it is less than in an earlier one.
// Any goroutine.
func (s *Shared) Snapshot() Histogram {
	var h Histogram
	h.Sum = s.sum.Load()
	for i := range s.counts {
		h.Counts[i] = s.counts[i].Load()
	}
	return h
}
