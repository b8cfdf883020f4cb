package dashboards

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// promQL renders an expression: over all the time shown, or else over as much of it as
// a point of the picture stands for.
func promQL(e expr, b *board, over span) string {
	text := promValue(e, b, over)
	if e.times != 0 {
		text += " * " + strconv.FormatFloat(e.times, 'f', -1, 64)
	}
	return text
}

func promValue(e expr, b *board, over span) string {
	window := "[$__rate_interval]"
	if over == whole {
		window = "[$__range]"
	}
	name := func(suffix string) string { return e.family.Name + suffix + promSelector(e, b) }
	total := func(suffix string, more ...string) string {
		return promAggregate("sum", slices.Concat(more, e.by), "rate("+name(suffix)+window+")")
	}
	suffix := ""
	if e.op != opRatio && histogram(e.family) {
		suffix = "_count"
	}
	above := ""
	if e.above {
		above = " > 0"
	}
	switch e.op {
	case opSum:
		return promAggregate("sum", e.by, name("")+above)
	case opMin:
		return promAggregate("min", e.by, name("")+above)
	case opMax:
		return promAggregate("max", e.by, name("")+above)
	case opRate:
		return total(suffix)
	case opIncrease:
		return promAggregate("sum", e.by, "increase("+name(suffix)+"[$__range])")
	case opSeconds:
		return total("_sum")
	case opMean:
		return total("_sum") + " / " + total("_count")
	case opQuantile:
		return fmt.Sprintf("histogram_quantile(%v, %s)", e.quantile, total("_bucket", "le"))
	case opAway: // who is down has no series but up
		count := func(of string) string { return "(count(" + of + " != 1) or vector(0))" }
		return count(name("")) + " + " + count("up"+promSelector(e, b))
	default:
		return promQL(e.of[0], b, over) + " / " + promQL(e.of[1], b, over)
	}
}

func promAggregate(how string, by []string, of string) string {
	if len(by) == 0 {
		return how + "(" + of + ")"
	}
	return how + " by (" + strings.Join(by, ", ") + ") (" + of + ")"
}

// promSelector keeps what the variables and the expression ask for.
func promSelector(e expr, b *board) string {
	keep := []string{`job=~"$job"`, `instance=~"$instance"`}
	if filtersMethod(e, b) {
		keep = append(keep, `method=~"$method"`)
	}
	for _, m := range e.where {
		how := map[bool]string{false: "=", true: "!="}[m.not]
		if len(m.values) > 1 {
			how = map[bool]string{false: "=~", true: "!~"}[m.not]
		}
		keep = append(keep, m.label+how+strconv.Quote(strings.Join(m.values, "|")))
	}
	return "{" + strings.Join(keep, ",") + "}"
}

// filtersMethod says whether the variable method is about the expression.
func filtersMethod(e expr, b *board) bool {
	about := func(m match) bool { return m.label == "method" && !m.not }
	return b.method && slices.Contains(e.family.Labels, "method") && !slices.ContainsFunc(e.where, about)
}
