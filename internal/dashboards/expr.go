package dashboards

import (
	"fmt"
	"slices"

	"gameserverd/internal/metrics"
)

// op is what an expression does with a family's values.
type op uint8

const (
	opSum      op = iota // of a gauge, over the series that are taken together
	opMin                // the least of them
	opMax                // the largest
	opRate               // of a counter, or of a histogram's count: per second
	opIncrease           // the same over the whole time shown
	opMean               // of a histogram's values
	opQuantile           // of a histogram's values
	opSeconds            // of a histogram of durations: seconds of them a second
	opRatio              // of two expressions
	opAway               // of a gauge that is 1 while all is well: how many processes are not so, or away
)

// span is what an expression is over.
type span uint8

const (
	perPoint span = iota // a value for each point of a picture
	whole                // one over all the time shown
	latest               // the one of now: of the end of the time shown
)

// expr is a value over time, by some labels. It is immutable; its methods return
// another.
type expr struct {
	op       op
	family   *metrics.Family
	by       []string
	where    []match
	quantile float64
	of       []expr  // of opRatio: above and below
	times    float64 // a factor; 0: none
	above    bool    // only values above 0
}

// match keeps the series whose label has one of the values, or none of them. A series
// without the label has the value "".
type match struct {
	label  string
	values []string
	not    bool
}

func sum(f *metrics.Family, by ...string) expr   { return of(opSum, f, by, metrics.Gauge) }
func least(f *metrics.Family, by ...string) expr { return of(opMin, f, by, metrics.Gauge) }
func most(f *metrics.Family, by ...string) expr  { return of(opMax, f, by, metrics.Gauge) }

func rate(f *metrics.Family, by ...string) expr {
	return of(opRate, f, by, metrics.Counter, metrics.Durations, metrics.Sizes)
}

func increase(f *metrics.Family, by ...string) expr {
	return of(opIncrease, f, by, metrics.Counter, metrics.Durations, metrics.Sizes)
}

// calls are those of methods that there are; of those that there are not anybody can
// make as many as they like, and so make a share as small.
func calls(by ...string) expr { return rate(metrics.Calls, by...).except("method", metrics.NoMethod) }

// failed are the calls that ended with an error.
func failed(by ...string) expr { return rate(metrics.Calls, by...).except("code", metrics.OK) }

// ownTime is a quantile of what methods take that wait for no client: how long a
// human takes says nothing about the server.
func ownTime(q float64, by ...string) expr {
	return quantile(q, metrics.CallRun, by...).only("waits", "")
}

func mean(f *metrics.Family, by ...string) expr {
	return of(opMean, f, by, metrics.Durations, metrics.Sizes)
}

// busy is how much of each second the durations of a histogram add up to.
func busy(f *metrics.Family, by ...string) expr { return of(opSeconds, f, by, metrics.Durations) }

// quantile is one of those that are pushed to InfluxDB: 0.5, 0.9, 0.99.
func quantile(q float64, f *metrics.Family, by ...string) expr {
	e := of(opQuantile, f, by, metrics.Durations, metrics.Sizes)
	e.quantile = q
	return e
}

// away counts the processes whose gauge is not 1, and those that are not heard of.
func away(f *metrics.Family) expr { return of(opAway, f, nil, metrics.Gauge) }

// ratio divides two expressions by the same labels.
func ratio(above, below expr) expr {
	if !slices.Equal(above.by, below.by) {
		panic(fmt.Sprintf("dashboards: a ratio by %v and %v", above.by, below.by))
	}
	return expr{op: opRatio, by: above.by, of: []expr{above, below}}
}

// only keeps the series whose label has one of the values.
func (e expr) only(label string, values ...string) expr {
	mustHave(e.family, label)
	e.where = append(slices.Clone(e.where), match{label: label, values: values})
	return e
}

// except keeps the others.
func (e expr) except(label string, values ...string) expr {
	mustHave(e.family, label)
	e.where = append(slices.Clone(e.where), match{label: label, values: values, not: true})
	return e
}

// scaled multiplies.
func (e expr) scaled(by float64) expr {
	e.times = by
	return e
}

// positive leaves out what is 0, which some gauges are for "none".
func (e expr) positive() expr {
	e.above = true
	return e
}

// of checks what the compiler cannot: a mistake here fails every test.
func of(o op, f *metrics.Family, by []string, kinds ...metrics.Kind) expr {
	if !slices.Contains(kinds, f.Kind) {
		panic(fmt.Sprintf("dashboards: %s has not the kind for this", f.Name))
	}
	for _, label := range by {
		mustHave(f, label)
	}
	return expr{op: o, family: f, by: by}
}

// mustHave checks that the family has the label; instance is everybody's.
func mustHave(f *metrics.Family, label string) {
	if label != "instance" && !slices.Contains(f.Labels, label) {
		panic(fmt.Sprintf("dashboards: %s has no label %s", f.Name, label))
	}
}

// histogram says whether the family's values are histograms.
func histogram(f *metrics.Family) bool {
	return f.Kind == metrics.Durations || f.Kind == metrics.Sizes
}

// families are those that the expression reads.
func (e expr) families() []*metrics.Family {
	if e.op != opRatio {
		return []*metrics.Family{e.family}
	}
	return append(e.of[0].families(), e.of[1].families()...)
}
