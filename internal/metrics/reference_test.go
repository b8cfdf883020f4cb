package metrics

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gameserverd/internal/histogram"
)

// reference is b in the form of client_golang's encoders: the family's samples in the
// order of the catalogue.
func reference(b *Batch) (all []*dto.MetricFamily) {
	kinds := map[Kind]dto.MetricType{
		Counter: dto.MetricType_COUNTER, Gauge: dto.MetricType_GAUGE, Durations: dto.MetricType_HISTOGRAM, Sizes: dto.MetricType_HISTOGRAM,
	}
	for _, f := range Families() {
		family := &dto.MetricFamily{Name: proto.String(f.Name), Help: proto.String(f.Help), Type: kinds[f.Kind].Enum()}
		for i := range b.Len() {
			if s := b.At(i); s.Family == f {
				family.Metric = append(family.Metric, referenceMetric(s))
			}
		}
		if len(family.Metric) > 0 {
			all = append(all, family)
		}
	}
	return all
}

func referenceMetric(s Sample) *dto.Metric {
	m := new(dto.Metric)
	for i, name := range s.Family.Labels {
		if s.Labels[i] == "" {
			continue
		}
		m.Label = append(m.Label, &dto.LabelPair{Name: proto.String(name), Value: proto.String(s.Labels[i])})
	}
	switch s.Family.Kind {
	case Counter:
		m.Counter = &dto.Counter{Value: proto.Float64(s.Value)}
		return m
	case Gauge:
		m.Gauge = &dto.Gauge{Value: proto.Float64(s.Value)}
		return m
	}
	seconds := func(v float64) float64 {
		if s.Family.Kind == Durations {
			return v / 1e9
		}
		return v
	}
	m.Histogram = &dto.Histogram{SampleCount: proto.Uint64(s.Histogram.Count()), SampleSum: proto.Float64(seconds(float64(s.Histogram.Sum)))}
	below := uint64(0)
	bounds := s.Family.Scale().Bounds()
	for i := range len(bounds) + 1 {
		below += s.Histogram.Counts[i]
		bucket := &dto.Bucket{UpperBound: proto.Float64(math.Inf(1)), CumulativeCount: proto.Uint64(below)}
		if i < len(bounds) {
			bucket.UpperBound = proto.Float64(seconds(float64(bounds[i])))
		}
		if s.Exemplars != nil && s.Exemplars[i].Trace != "" {
			e := s.Exemplars[i]
			bucket.Exemplar = &dto.Exemplar{
				Label: []*dto.LabelPair{{Name: proto.String("trace_id"), Value: proto.String(e.Trace)}},
				Value: proto.Float64(seconds(float64(e.Value))), Timestamp: timestamppb.New(e.At),
			}
		}
		m.Histogram.Bucket = append(m.Histogram.Bucket, bucket)
	}
	return m
}

// randomBatch has samples of all families, in no order.
func randomBatch(random *rand.Rand) *Batch {
	b := new(Batch)
	texts := []string{"", "a", "game.play", `with "quotes"`, "with\nlines", `with\\backslashes\`, "ünïcödé", strings.Repeat("x", 300)}
	text := func() string {
		if random.IntN(4) == 0 {
			return ""
		}
		return texts[random.IntN(len(texts))] + fmt.Sprint(b.Len())
	}
	values := []float64{0, 1, -1, 0.1, 1e6, 1e21, 1e-7, 123456789, math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64, math.Copysign(0, -1)}
	for range 300 {
		f := families[random.IntN(len(families))]
		labels := make([]string, len(f.Labels))
		for i := range labels {
			labels[i] = text()
		}
		if f.Scale() == nil {
			b.Set(f, values[random.IntN(len(values))], labels...)
			continue
		}
		var h histogram.Histogram
		for range random.IntN(50) {
			f.Scale().Observe(&h, int64(math.Exp(random.Float64()*25)))
		}
		var ex *Exemplars
		if random.IntN(3) == 0 {
			ex = new(Exemplars)
			for range 5 {
				ex[random.IntN(len(f.Scale().Bounds())+1)] = Exemplar{Trace: fmt.Sprint("trace", text()), Value: time.Duration(random.Int64N(1e10)), At: time.UnixMilli(random.Int64N(2e12))}
			}
		}
		b.Histogram(f, &h, ex, labels...)
	}
	return b
}

// TestTextIsThatOfClientGolang: both forms, to the byte.
func TestTextIsThatOfClientGolang(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	var page text
	for range 20 {
		b := randomBatch(random)
		for _, format := range []expfmt.Format{expfmt.FmtText, expfmt.FmtOpenMetrics_1_0_0} {
			var want bytes.Buffer
			encoder := expfmt.NewEncoder(&want, format)
			for _, f := range reference(b) {
				if err := encoder.Encode(f); err != nil {
					t.Fatal(err)
				}
			}
			page.reset(format != expfmt.FmtText)
			page.batch(b)
			got, wanted := strings.Split(string(page.buf), "\n"), strings.Split(want.String(), "\n")
			for i := range min(len(got), len(wanted)) {
				if got[i] != wanted[i] {
					t.Fatalf("%s, line %d:\n%s\nwant\n%s", format, i+1, got[i], wanted[i])
				}
			}
			if len(got) != len(wanted) {
				t.Fatalf("%s: %d lines, want %d", format, len(got), len(wanted))
			}
		}
	}
}
