package metrics

import "gameserverd/internal/histogram"

// histogram tells whether a value is a histogram.
func (k Kind) histogram() bool { return k == Durations || k == Sizes }

// Scale is that of the family's histograms; nil: they are none. Any goroutine.
func (f *Family) Scale() *histogram.Scale {
	switch f.Kind {
	case Durations:
		return histogram.Durations
	case Sizes:
		return histogram.Sizes
	}
	return nil
}

// Shown is v, of the family's scale or a sum of such, in the unit that people see:
// nanoseconds in seconds. Any goroutine.
func (f *Family) Shown(v float64) float64 {
	if f.Kind == Durations {
		return v / 1e9 // not times 1e-9, which is not exact: a bound is 0.001
	}
	return v
}

// bounds are the upper bounds of a histogram's classes as they are written; the last
// is +Inf. nil: no histogram.
type bounds []string

func (f *Family) textBounds(open bool) (list bounds) {
	scale := f.Scale()
	if scale == nil {
		return nil
	}
	for _, bound := range scale.Bounds() {
		list = append(list, string(appendValue(nil, f.Shown(float64(bound)), open)))
	}
	return append(list, "+Inf")
}
