package metrics

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// text writes batches in the two forms that Prometheus reads: its own, and
// OpenMetrics, which has exemplars. It is what client_golang's encoders write, to the
// byte, a few times faster: a histogram is two dozen lines that differ by two numbers.
// A label that is empty is left out: to Prometheus it is none.
// One goroutine at a time.
type text struct {
	buf  []byte
	open bool // OpenMetrics

	order  []int  // the batch's samples, family by family
	ends   []int  // of each family in order
	labels []byte // of the series that is written, without braces
}

// reset empties it and keeps its memory.
func (t *text) reset(open bool) { t.buf, t.open = t.buf[:0], open }

// batch writes all samples of b: those of a family together, as both forms want them,
// in the order of the catalogue.
func (t *text) batch(b *Batch) {
	t.sort(b)
	begin := 0
	for i, end := range t.ends {
		if end > begin {
			t.family(families[i], b, t.order[begin:end])
		}
		begin = end
	}
}

// sort fills order: by family, and within one as they are in b.
func (t *text) sort(b *Batch) {
	t.ends = append(t.ends[:0], make([]int, len(families))...)
	for i := range b.samples {
		t.ends[b.samples[i].family.index]++
	}
	at := 0
	for i, n := range t.ends { // first where each begins
		t.ends[i], at = at, at+n
	}
	t.order = append(t.order[:0], make([]int, len(b.samples))...)
	for i := range b.samples {
		end := &t.ends[b.samples[i].family.index]
		t.order[*end] = i
		*end++
	}
}

func (t *text) family(f *Family, b *Batch, samples []int) {
	name := f.Name
	if t.open && f.Kind == Counter {
		name = strings.TrimSuffix(name, "_total")
	}
	t.buf = append(append(append(t.buf, "# HELP "...), name...), ' ')
	t.buf = appendEscaped(t.buf, f.Help, t.open)
	t.buf = append(append(append(t.buf, "\n# TYPE "...), name...), ' ')
	t.buf = append(append(t.buf, f.Kind.typeName()...), '\n')
	for _, i := range samples {
		s := b.At(i)
		t.labels = t.labels[:0]
		for i, name := range f.Labels {
			if s.Labels[i] == "" {
				continue // which means the same, and is most of them
			}
			if len(t.labels) > 0 {
				t.labels = append(t.labels, ',')
			}
			t.labels = append(append(t.labels, name...), '=', '"')
			t.labels = append(appendEscaped(t.labels, s.Labels[i], true), '"')
		}
		if s.Histogram != nil {
			t.histogram(&s)
			continue
		}
		t.begin(f.Name, "")
		t.buf = append(appendValue(t.buf, s.Value, t.open), '\n')
	}
}

// begin writes a line up to its value.
func (t *text) begin(name, suffix string) {
	t.buf = append(append(t.buf, name...), suffix...)
	if len(t.labels) > 0 {
		t.buf = append(append(append(t.buf, '{'), t.labels...), '}')
	}
	t.buf = append(t.buf, ' ')
}

func (t *text) histogram(s *Sample) {
	f, n := s.Family, uint64(0)
	which := 0
	if t.open {
		which = 1
	}
	for i, bound := range f.bounds[which] {
		n += s.Histogram.Counts[i]
		t.buf = append(append(t.buf, f.Name...), "_bucket{"...)
		if len(t.labels) > 0 {
			t.buf = append(append(t.buf, t.labels...), ',')
		}
		t.buf = append(append(append(t.buf, `le="`...), bound...), `"} `...)
		t.buf = strconv.AppendUint(t.buf, n, 10)
		if t.open && s.Exemplars != nil && s.Exemplars[i].Trace != "" {
			t.exemplar(f, &s.Exemplars[i])
		}
		t.buf = append(t.buf, '\n')
	}
	t.begin(f.Name, "_sum")
	t.buf = append(appendValue(t.buf, f.Shown(float64(s.Histogram.Sum)), t.open), '\n')
	t.begin(f.Name, "_count")
	t.buf = append(strconv.AppendUint(t.buf, n, 10), '\n')
}

func (t *text) exemplar(f *Family, e *Exemplar) {
	t.buf = appendEscaped(append(t.buf, ` # {trace_id="`...), e.Trace, true) // the name that Grafana expects
	t.buf = append(t.buf, `"} `...)
	t.buf = append(appendValue(t.buf, f.Shown(float64(e.Value)), true), ' ')
	t.buf = appendValue(t.buf, float64(e.At.UnixNano())/1e9, true)
}

// typeName is the kind in both forms.
func (k Kind) typeName() string {
	switch k {
	case Counter:
		return "counter"
	case Gauge:
		return "gauge"
	}
	return "histogram"
}

// appendValue writes a number; for OpenMetrics so that it is seen to be a float.
func appendValue(b []byte, v float64, open bool) []byte {
	switch {
	case math.IsNaN(v):
		return append(b, "NaN"...)
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	case math.IsInf(v, -1):
		return append(b, "-Inf"...)
	case v == 0:
		v = 0 // not -0
	}
	begin := len(b)
	b = strconv.AppendFloat(b, v, 'g', -1, 64)
	if open && !bytes.ContainsAny(b[begin:], "e.") {
		b = append(b, '.', '0')
	}
	return b
}

// appendEscaped writes s with backslashes before backslashes, line ends and, where it
// is within quotes, quotes.
func appendEscaped(b []byte, s string, quoted bool) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			b = append(b, '\\', '\\')
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '"' && quoted:
			b = append(b, '\\', '"')
		default:
			b = append(b, c)
		}
	}
	return b
}
