package metrics

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gameserverd/internal/histogram"
)

// Collect fills an empty batch with what is measured now. It bounds itself in time:
// a part that does not answer is as it was before, or left out. Any goroutine.
type Collect func(ctx context.Context, b *Batch)

// Exemplar is a call that a class of a histogram has counted, and its trace.
type Exemplar struct {
	Trace string // "": there is none
	Value time.Duration
	At    time.Time
}

// Exemplars has the latest of each class of a histogram.
type Exemplars [histogram.Classes]Exemplar

// Batch is one collection: samples in the order in which they were set. It has
// copies of what it was given, but for the texts, and is used again after Reset.
// The zero value is empty. One goroutine at a time.
type Batch struct {
	samples    []sample
	labels     []string
	histograms []histogram.Histogram
	exemplars  []Exemplars
	problem    error
	at         time.Time
}

// sample says where in the batch its parts are: they may move while it grows.
type sample struct {
	family    *Family
	labels    int // the first of len(family.Labels)
	histogram int // -1: value counts
	exemplars int // -1: none
	value     float64
}

// Sample is one value of a family. What it points to belongs to the batch, and is
// valid until its Reset.
type Sample struct {
	Family    *Family
	Labels    []string // as many as Family.Labels
	Value     float64  // of a counter or gauge
	Histogram *histogram.Histogram
	Exemplars *Exemplars // of Histogram; nil: none
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.samples, b.labels, b.histograms, b.exemplars, b.problem = b.samples[:0], b.labels[:0], b.histograms[:0], b.exemplars[:0], nil
	b.at = time.Time{}
}

// Set adds a counter's or gauge's value.
func (b *Batch) Set(f *Family, v float64, labels ...string) {
	if f.Kind.histogram() {
		b.wrong(f, "is a histogram and was given one value")
		return
	}
	if b.add(f, labels) {
		b.samples[len(b.samples)-1].value = v
	}
}

// Histogram adds a histogram. h and ex, which may be nil, are copied.
func (b *Batch) Histogram(f *Family, h *histogram.Histogram, ex *Exemplars, labels ...string) {
	if !f.Kind.histogram() {
		b.wrong(f, "was given a histogram and is none")
		return
	}
	if !b.add(f, labels) {
		return
	}
	s := &b.samples[len(b.samples)-1]
	s.histogram = len(b.histograms)
	b.histograms = append(b.histograms, *h)
	if ex != nil {
		s.exemplars = len(b.exemplars)
		b.exemplars = append(b.exemplars, *ex)
	}
}

func (b *Batch) add(f *Family, labels []string) bool {
	if len(labels) != len(f.Labels) {
		b.wrong(f, fmt.Sprintf("has %d labels and was given %d", len(f.Labels), len(labels)))
		return false
	}
	b.samples = append(b.samples, sample{family: f, labels: len(b.labels), histogram: -1, exemplars: -1})
	b.labels = append(b.labels, labels...)
	return true
}

// wrong notes the first mistake of who fills the batch: that sample is left out,
// and the others are still worth having.
func (b *Batch) wrong(f *Family, what string) {
	if b.problem == nil {
		b.problem = fmt.Errorf("metrics: %s %s", f.Name, what)
	}
	failed(b.problem)
}

// Problem is the first sample that was refused, nil if none was.
func (b *Batch) Problem() error { return b.problem }

// Time is when it was counted, which may be before it was asked for (Share); zero: nobody
// has said.
func (b *Batch) Time() time.Time { return b.at }

// SetTime says when it was counted.
func (b *Batch) SetTime(at time.Time) { b.at = at }

// Len is how many samples there are.
func (b *Batch) Len() int { return len(b.samples) }

// At returns the sample i, from 0 to Len()-1.
func (b *Batch) At(i int) Sample {
	s := &b.samples[i]
	out := Sample{Family: s.family, Value: s.value, Labels: b.labels[s.labels : s.labels+len(s.family.Labels) : s.labels+len(s.family.Labels)]}
	if s.histogram >= 0 {
		out.Histogram = &b.histograms[s.histogram]
	}
	if s.exemplars >= 0 {
		out.Exemplars = &b.exemplars[s.exemplars]
	}
	return out
}

// copyTo makes into the same as b.
func (b *Batch) copyTo(into *Batch) {
	into.Reset()
	into.samples = append(into.samples, b.samples...)
	into.labels = append(into.labels, b.labels...)
	into.histograms = append(into.histograms, b.histograms...)
	into.exemplars = append(into.exemplars, b.exemplars...)
	into.problem, into.at = b.problem, b.at
}

// String names the samples with their labels, for logs and tests.
func (s Sample) String() string {
	var t strings.Builder
	t.WriteString(s.Family.Name)
	for i, name := range s.Family.Labels {
		fmt.Fprintf(&t, "{%s=%q}", name, s.Labels[i])
	}
	return t.String()
}
