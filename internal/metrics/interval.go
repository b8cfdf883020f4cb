package metrics

import (
	"math"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// intervals remembers the histograms of the last push, so that of the next one the
// time in between can be told: a database that is given counts since the start can
// make quantiles of them only with much work. One goroutine at a time.
type intervals struct {
	last, now map[string][]uint64 // by series: its cumulative counts
	key       strings.Builder
}

// next begins a push: what was now becomes last.
func (v *intervals) next() {
	v.last, v.now = v.now, v.last
	if v.now == nil {
		v.now = make(map[string][]uint64)
	}
	clear(v.now)
}

// since returns how many values of h each bucket has got since the last push, not
// cumulative, and their number. n is 0 at the first push.
func (v *intervals) since(name string, m *dto.Metric) (counts []uint64, n uint64) {
	v.key.Reset()
	v.key.WriteString(name)
	for _, l := range m.GetLabel() {
		v.key.WriteByte(0)
		v.key.WriteString(l.GetValue())
	}
	key := v.key.String()
	buckets := m.GetHistogram().GetBucket()
	total := make([]uint64, len(buckets), len(buckets)+1)
	for i, b := range buckets {
		total[i] = b.GetCumulativeCount()
	}
	// Some have the last bucket, which is all, and some have not.
	if len(buckets) == 0 || !math.IsInf(buckets[len(buckets)-1].GetUpperBound(), 1) {
		total = append(total, m.GetHistogram().GetSampleCount())
	}
	v.now[key] = total
	if v.last == nil {
		return nil, 0
	}
	before := v.last[key]
	counts = make([]uint64, len(total))
	below := uint64(0)
	for i := range total {
		upTo := total[i]
		if i < len(before) {
			upTo -= before[i]
		}
		counts[i], below = upTo-below, upTo
	}
	return counts, below
}

// quantile is as histogram_quantile of Prometheus has it: in a bucket values are
// taken to lie evenly, and those above the last bound to equal it. n is the sum of
// counts, which is not 0.
func quantile(q float64, buckets []*dto.Bucket, counts []uint64, n uint64) float64 {
	rank, below, lower := q*float64(n), uint64(0), 0.0
	for i, b := range buckets {
		upper, in := b.GetUpperBound(), counts[i]
		if math.IsInf(upper, 1) {
			break
		}
		if in > 0 && float64(below+in) >= rank {
			if upper <= 0 && i == 0 {
				return upper
			}
			return lower + (upper-lower)*(rank-float64(below))/float64(in)
		}
		below, lower = below+in, upper
	}
	return lower
}
