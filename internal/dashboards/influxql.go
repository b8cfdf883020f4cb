package dashboards

import (
	"fmt"
	"slices"
	"strings"
)

// influxQL renders an expression that is no ratio, of which InfluxQL has none over
// two measurements: Grafana divides.
//
// What was pushed is each series' total since its process began, so the inner query
// makes of each series what is asked for, and the outer one takes them together.
func influxQL(e expr, b *board, over span) string {
	if over == latest {
		return influxLatest(e, b)
	}
	if e.op == opQuantile {
		// Quantiles come ready made for each series; the worst of them is shown.
		field := fmt.Sprintf("p%v", e.quantile*100)
		return influxSelect(`max("`+field+`")`+influxTimes(e), influxFrom(e), influxWhere(e, b), e.by, over == perPoint)
	}
	change := func(field string) string {
		if over == whole {
			return `non_negative_difference(last("` + field + `"))`
		}
		return `non_negative_derivative(last("` + field + `"), 1s)`
	}
	field := "value"
	if histogram(e.family) {
		field = "count"
	}
	var each, together string
	switch e.op {
	case opSum, opMin, opMax:
		each = `last("value") AS "v"`
		together = map[op]string{opSum: "sum", opMin: "min", opMax: "max"}[e.op] + `("v")`
	case opRate, opIncrease:
		each, together = change(field)+` AS "v"`, `sum("v")`
	case opSeconds:
		each, together = change("sum")+` AS "v"`, `sum("v")`
	case opMean:
		each, together = change("sum")+` AS "s", `+change("count")+` AS "n"`, `sum("s") / sum("n")`
	}
	inner := influxSelect(each, influxFrom(e), influxWhere(e, b), []string{"*"}, true)
	return influxSelect(together+influxTimes(e), "("+inner+")", []string{"$timeFilter"}, e.by, over == perPoint)
}

// fresh keeps what was pushed lately: processes push at other moments, so that in one
// interval some have not yet. A process that has not pushed for three is away.
const fresh = "time > ${__to}ms - $__interval * 3"

// freshPoints makes $__interval the interval of the pushes, which Grafana takes for the
// least, however long the time shown is: up to twelve days for pushes every 10 s.
const freshPoints = 100_000

// influxLatest asks for the number of now: the newest of each series that is fresh, all
// taken together. It has no points over time: the last of those would be of an interval
// that is not over.
func influxLatest(e expr, b *board) string {
	lately := append(influxWhere(e, b), fresh)
	each := func(what string) string { return influxSelect(what, influxFrom(e), lately, []string{"*"}, false) }
	all := func(what, from string) string {
		return influxSelect(what, "("+from+")", []string{"$timeFilter"}, e.by, false)
	}
	switch e.op {
	case opAway: // one for each process of the time shown, less one for each that is well
		seen := influxSelect(`last("value") * 0 + 1 AS "v"`, influxFrom(e), influxWhere(e, b), []string{"*"}, false)
		return influxSelect(`sum("v")`, "("+seen+"), ("+each(`last("value") * -1 AS "v"`)+")", []string{"$timeFilter"}, nil, false)
	case opQuantile:
		return all(`max("v")`+influxTimes(e), each(fmt.Sprintf(`last("p%v") AS "v"`, e.quantile*100)))
	case opRate:
		field := "value"
		if histogram(e.family) {
			field = "count"
		}
		rates := each(`non_negative_derivative("` + field + `", 1s) AS "d"`)
		return all(`sum("v")`+influxTimes(e), influxSelect(`last("d") AS "v"`, "("+rates+")", []string{"$timeFilter"}, []string{"*"}, false))
	default:
		together := map[op]string{opSum: "sum", opMin: "min", opMax: "max"}[e.op]
		return all(together+`("v")`+influxTimes(e), each(`last("value") AS "v"`))
	}
}

func influxFrom(e expr) string { return `"` + e.family.Name + `"` }

func influxTimes(e expr) string {
	if e.times == 0 {
		return ""
	}
	return fmt.Sprintf(" * %v", e.times)
}

// influxWhere keeps what the variables and the expression ask for.
func influxWhere(e expr, b *board) []string {
	keep := []string{`"instance" =~ /^$instance$/`}
	if filtersMethod(e, b) {
		keep = append(keep, `"method" =~ /^$method$/`)
	}
	for _, m := range e.where {
		if len(m.values) == 1 {
			how := map[bool]string{false: "=", true: "!="}[m.not]
			keep = append(keep, fmt.Sprintf(`"%s" %s '%s'`, m.label, how, m.values[0]))
		} else {
			how := map[bool]string{false: "=~", true: "!~"}[m.not]
			keep = append(keep, fmt.Sprintf(`"%s" %s /^(%s)$/`, m.label, how, strings.Join(m.values, "|")))
		}
	}
	if e.above {
		keep = append(keep, `"value" > 0`)
	}
	return append(keep, "$timeFilter")
}

// influxSelect puts a query together; overTime makes a point for each interval.
func influxSelect(what, from string, where, by []string, overTime bool) string {
	text := "SELECT " + what + " FROM " + from + " WHERE " + strings.Join(where, " AND ")
	var group []string
	if overTime {
		group = append(group, "time($__interval)")
	}
	for _, label := range by {
		if label != "*" {
			label = `"` + label + `"`
		}
		group = append(group, label)
	}
	if len(group) > 0 {
		text += " GROUP BY " + strings.Join(group, ", ")
	}
	if slices.Contains(group, "time($__interval)") {
		text += " fill(none)"
	}
	return text
}
