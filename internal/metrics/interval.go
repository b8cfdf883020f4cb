package metrics

import (
	"strings"

	"gameserverd/internal/histogram"
)

// intervals remembers the histograms of the last push, so that of the next one the
// time in between can be told: a database that is given counts since the start can
// make quantiles of them only with much work. One goroutine at a time.
type intervals struct {
	last, now map[string]histogram.Histogram // by series
	key       strings.Builder
}

// next begins a push: what was now becomes last.
func (v *intervals) next() {
	v.last, v.now = v.now, v.last
	if v.now == nil {
		v.now = make(map[string]histogram.Histogram)
	}
	clear(v.now)
}

// since returns what a histogram has counted since the last push. At the first push it
// is empty; a series that was not there at the last one has begun at 0.
func (v *intervals) since(s *Sample) histogram.Histogram {
	v.key.Reset()
	v.key.WriteString(s.Family.Name)
	for _, l := range s.Labels {
		v.key.WriteByte(0)
		v.key.WriteString(l)
	}
	key := v.key.String()
	now := *s.Histogram
	v.now[key] = now
	if v.last == nil {
		return histogram.Histogram{}
	}
	last := v.last[key]
	now.Sub(&last)
	return now
}
