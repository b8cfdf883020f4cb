package console

import (
	"math"
	"strconv"
	"strings"
	"time"

	"gameserverd/internal/ctl"
	"gameserverd/internal/histogram"
	"gameserverd/internal/metrics"
	"gameserverd/internal/msgjson"
)

// columns names what a point has.
var columns = []string{"t", "calls", "errors", "p50", "p99", "queue99", "lag99", "connections", "online", "received", "sent", "commits", "heap", "underway"}

// point is one second of the charts: rates a second, times in milliseconds. A value
// that there is none of is NaN.
type point [14]float64

// MarshalJSON writes NaN as null.
func (p point) MarshalJSON() ([]byte, error) {
	b := []byte{'['}
	for i, v := range p {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendNumber(b, v)
	}
	return append(b, ']'), nil
}

// appendNumber writes what people look at: six digits.
func appendNumber(b []byte, v float64) []byte {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return append(b, "null"...)
	case v == math.Trunc(v) && math.Abs(v) < 1e15:
		return strconv.AppendInt(b, int64(v), 10)
	}
	return strconv.AppendFloat(b, v, 'g', 6, 64)
}

// window is how often what histograms are compared with is renewed: quantiles are of
// the last 5 to 10 seconds.
const window = 5 * time.Second

// series is what a digest remembers of one value of a family.
type series struct {
	value    float64             // a tick ago; of a histogram its count
	mid, old histogram.Histogram // of a histogram, up to one window ago and up to two
	seen     int                 // the tick it was in last
}

// digest makes events of collections: rates and quantiles. One goroutine.
type digest struct {
	series map[string]*series
	tick   int
	at     time.Time     // of the last collection
	since  time.Duration // between the last two; 0: there was one
	turned time.Time     // when mid became old
	key    []byte
	rows   map[*metrics.Family][]byte               // of the event, so far
	all    map[*metrics.Family]*histogram.Histogram // sums of a tick ago, of those that points have
	p      point
}

func newDigest() *digest {
	return &digest{series: make(map[string]*series), all: make(map[*metrics.Family]*histogram.Histogram), rows: make(map[*metrics.Family][]byte)}
}

// take makes the event of a collection. ready is false for the first, and for one that is
// the same as before, which have no rates. now counts where the collection, which may
// have been made for somebody else a moment before, does not say when that was.
func (d *digest) take(now time.Time, b *metrics.Batch, st *ctl.Status) (p point, ready bool) {
	if at := b.Time(); !at.IsZero() {
		now = at
	}
	d.since = 0
	if !d.at.IsZero() {
		d.since = now.Sub(d.at)
	}
	d.at = now
	d.tick++
	turn := now.Sub(d.turned) >= window
	if turn {
		d.turned = now
	}
	for i := range d.p {
		d.p[i] = math.NaN()
	}
	d.p[0] = float64(now.UnixMilli())
	d.p[7], d.p[8], d.p[12], d.p[13] = float64(st.Connections), float64(st.Online), float64(st.HeapBytes), float64(st.Underway)
	for f, rows := range d.rows {
		d.rows[f] = rows[:0]
	}
	sums := make(map[*metrics.Family]*histogram.Histogram)
	for i := range b.Len() {
		d.sample(b.At(i), turn, sums)
	}
	d.quantiles(sums)
	if d.tick%60 == 0 { // values that are no longer there
		for key, one := range d.series {
			if one.seen < d.tick-60 {
				delete(d.series, key)
			}
		}
	}
	return d.p, d.since > 0
}

// sample appends one row, those of counters and histograms only if they have counted
// anything:
//
//	[labels..., value]                      a gauge
//	[labels..., total, a second]            a counter
//	[labels..., total, a second, p50, p99]  a histogram; the quantiles in milliseconds, or as they are
func (d *digest) sample(s metrics.Sample, turn bool, sums map[*metrics.Family]*histogram.Histogram) {
	if s.Family.Kind == metrics.Gauge {
		d.row(s, s.Value)
		return
	}
	value := s.Value
	if s.Histogram != nil {
		value = float64(s.Histogram.Count())
		d.sum(s, sums)
	}
	one := d.find(s)
	rate := math.NaN()
	if d.since > 0 {
		rate = max(value-one.value, 0) / d.since.Seconds()
	}
	one.value = value
	d.counter(s, rate)
	if value == 0 {
		return
	}
	if s.Histogram == nil {
		d.row(s, value, rate)
		return
	}
	if turn {
		one.old, one.mid = one.mid, *s.Histogram
	}
	recent := *s.Histogram
	recent.Sub(&one.old)
	d.row(s, value, rate, quantile(s.Family, &recent, 0.5), quantile(s.Family, &recent, 0.99))
}

// quantile is NaN where there was nothing; times are in milliseconds.
func quantile(f *metrics.Family, h *histogram.Histogram, q float64) float64 {
	if h.Count() == 0 {
		return math.NaN()
	}
	v := f.Scale().Quantile(h, q)
	if f.Kind == metrics.Durations {
		return v / 1e6
	}
	return v
}

// row appends a row to those of its family.
func (d *digest) row(s metrics.Sample, values ...float64) {
	b := d.rows[s.Family]
	if len(b) > 0 {
		b = append(b, ',')
	}
	b = append(b, '[')
	for _, label := range s.Labels {
		b = append(msgjson.AppendText(b, label), ',')
	}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendNumber(b, v)
	}
	d.rows[s.Family] = append(b, ']')
}

func (d *digest) find(s metrics.Sample) *series {
	d.key = append(d.key[:0], s.Family.Name...)
	for _, label := range s.Labels {
		d.key = append(append(d.key, 0), label...)
	}
	one := d.series[string(d.key)]
	if one == nil {
		one = new(series)
		d.series[string(d.key)] = one
		if d.tick > 1 { // it has begun since
			one.value = 0
		} else if s.Histogram != nil { // what was before the page is not recent
			one.mid, one.old = *s.Histogram, *s.Histogram
		}
	}
	one.seen = d.tick
	return one
}

// The families that points have.
var (
	pointCounters = map[*metrics.Family]int{metrics.Calls: 1, metrics.Received: 9, metrics.Sent: 10, metrics.Commits: 11}
	pointTimes    = map[*metrics.Family][2]int{metrics.CallRun: {3, 4}, metrics.CallQueue: {-1, 5}, metrics.LoopLag: {-1, 6}}
)

// pointErrors is the column of those calls that failed.
const pointErrors = 2

func (d *digest) counter(s metrics.Sample, rate float64) {
	if math.IsNaN(rate) {
		return
	}
	if i, ok := pointCounters[s.Family]; ok {
		d.add(i, rate)
	}
	if s.Family == metrics.Calls && s.Labels[1] != metrics.OK {
		d.add(pointErrors, rate)
	}
}

func (d *digest) add(i int, v float64) {
	if math.IsNaN(d.p[i]) {
		d.p[i] = 0
	}
	d.p[i] += v
}

func (d *digest) sum(s metrics.Sample, sums map[*metrics.Family]*histogram.Histogram) {
	if _, ok := pointTimes[s.Family]; !ok {
		return
	}
	if s.Family == metrics.CallRun && s.Labels[1] != "" {
		return // it waits for a client, however long that takes
	}
	if sums[s.Family] == nil {
		sums[s.Family] = new(histogram.Histogram)
	}
	sums[s.Family].Add(s.Histogram)
}

// quantiles are those of the last second.
func (d *digest) quantiles(sums map[*metrics.Family]*histogram.Histogram) {
	for f, now := range sums {
		if was := d.all[f]; was != nil {
			last := *now
			last.Sub(was)
			at := pointTimes[f]
			if at[0] >= 0 {
				d.p[at[0]] = quantile(f, &last, 0.5)
			}
			d.p[at[1]] = quantile(f, &last, 0.99)
		}
	}
	d.all = sums
}

// event is the line for the pages: {"p":point,"status":{...},"warnings":n,"f":{family:rows}}.
// It is the caller's.
func (d *digest) event(status []byte, warnings int) []byte {
	size := len(status) + 512
	for _, rows := range d.rows {
		size += len(rows) + 48
	}
	b := append(make([]byte, 0, size), `{"p":`...)
	p, _ := d.p.MarshalJSON() // which cannot fail
	b = append(append(b, p...), `,"status":`...)
	b = append(append(b, status...), `,"warnings":`...)
	b = append(strconv.AppendInt(b, int64(warnings), 10), `,"f":{`...)
	first := true
	for f, rows := range d.rows {
		if len(rows) == 0 {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(append(b, '"'), strings.TrimPrefix(f.Name, "gameserverd_")...), `":[`...)
		b = append(append(b, rows...), ']')
	}
	return append(b, "}}"...)
}
