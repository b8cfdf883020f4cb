package metrics

import (
	"cmp"
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// page is a batch in the form of client_golang's encoders. It is filled again and
// again: as long as the samples of a family come in the same order, which they do,
// only the numbers are written. One goroutine at a time.
type page struct {
	families map[*Family]*pageFamily
	sorted   []*dto.MetricFamily // those that have samples, by name
}

// pageFamily has the metrics of a family, of which the first used are this time's.
type pageFamily struct {
	family *Family
	dto    dto.MetricFamily
	all    []*metric
	used   int
}

// metric is one series, with room for what changes.
type metric struct {
	dto    dto.Metric
	labels []string // those that dto.Label shows
	pairs  []dto.LabelPair
	value  float64

	histogram *histogramRoom // nil: a counter or gauge
}

type histogramRoom struct {
	dto     dto.Histogram
	buckets []dto.Bucket
	counts  []uint64
	total   uint64
	sum     float64
	shown   Exemplars // what the buckets' exemplars are made of
}

func newPage() *page { return &page{families: make(map[*Family]*pageFamily)} }

// fill makes the page show b, and nothing else.
func (p *page) fill(b *Batch) []*dto.MetricFamily {
	for _, f := range p.families {
		f.used = 0
	}
	for i := range b.Len() {
		s := b.At(i)
		f := p.families[s.Family]
		if f == nil {
			f = newPageFamily(s.Family)
			p.families[s.Family] = f
		}
		f.next(s.Labels).set(&s)
	}
	p.sorted = p.sorted[:0]
	for _, f := range p.families {
		if f.used == 0 {
			continue
		}
		f.dto.Metric = f.dto.Metric[:0]
		for _, m := range f.all[:f.used] {
			f.dto.Metric = append(f.dto.Metric, &m.dto)
		}
		p.sorted = append(p.sorted, &f.dto)
	}
	slices.SortFunc(p.sorted, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return p.sorted
}

var kindsOf = map[Kind]dto.MetricType{
	Counter: dto.MetricType_COUNTER, Gauge: dto.MetricType_GAUGE, Durations: dto.MetricType_HISTOGRAM, Sizes: dto.MetricType_HISTOGRAM,
}

func newPageFamily(f *Family) *pageFamily {
	return &pageFamily{family: f, dto: dto.MetricFamily{Name: proto.String(f.Name), Help: proto.String(f.Help), Type: kindsOf[f.Kind].Enum()}}
}

// next is the family's next metric, with these labels.
func (f *pageFamily) next(labels []string) *metric {
	if f.used == len(f.all) {
		f.all = append(f.all, newMetric(f.family))
	}
	m := f.all[f.used]
	f.used++
	if !slices.Equal(m.labels, labels) {
		copy(m.labels, labels)
	}
	return m
}

func newMetric(f *Family) *metric {
	m := &metric{labels: make([]string, len(f.Labels)), pairs: make([]dto.LabelPair, len(f.Labels))}
	for i := range f.Labels {
		m.pairs[i].Name, m.pairs[i].Value = &f.Labels[i], &m.labels[i]
		m.dto.Label = append(m.dto.Label, &m.pairs[i])
	}
	switch f.Kind {
	case Counter:
		m.dto.Counter = &dto.Counter{Value: &m.value}
	case Gauge:
		m.dto.Gauge = &dto.Gauge{Value: &m.value}
	default:
		m.histogram = newHistogramRoom(f)
		m.dto.Histogram = &m.histogram.dto
	}
	return m
}

func newHistogramRoom(f *Family) *histogramRoom {
	bounds := f.Scale().Bounds()
	h := &histogramRoom{buckets: make([]dto.Bucket, len(bounds)+1), counts: make([]uint64, len(bounds)+1)}
	h.dto.SampleCount, h.dto.SampleSum = &h.total, &h.sum
	for i := range h.buckets {
		bound := math.Inf(1)
		if i < len(bounds) {
			bound = f.Shown(float64(bounds[i]))
		}
		h.buckets[i].UpperBound, h.buckets[i].CumulativeCount = &bound, &h.counts[i]
		h.dto.Bucket = append(h.dto.Bucket, &h.buckets[i])
	}
	return h
}

// set makes m show the sample's value.
func (m *metric) set(s *Sample) {
	m.value = s.Value
	r := m.histogram
	if r == nil {
		return
	}
	r.total = 0
	for i := range r.counts {
		r.total += s.Histogram.Counts[i]
		r.counts[i] = r.total
	}
	r.sum = s.Family.Shown(float64(s.Histogram.Sum))
	switch {
	case s.Exemplars != nil:
		r.show(s.Family, s.Exemplars)
	case r.shown != Exemplars{}:
		r.show(s.Family, &Exemplars{})
	}
}

// show sets the buckets' exemplars, as far as they have changed.
func (r *histogramRoom) show(f *Family, ex *Exemplars) {
	for i := range r.buckets {
		e := &ex[i]
		if r.shown[i] == *e {
			continue
		}
		r.shown[i] = *e
		r.buckets[i].Exemplar = nil
		if e.Trace != "" {
			r.buckets[i].Exemplar = &dto.Exemplar{
				Label:     []*dto.LabelPair{{Name: proto.String(traceLabel), Value: proto.String(e.Trace)}},
				Value:     proto.Float64(f.Shown(float64(e.Value))),
				Timestamp: timestamppb.New(e.At),
			}
		}
	}
}

// traceLabel is the label of an exemplar's trace, as Grafana expects it.
const traceLabel = "trace_id"
