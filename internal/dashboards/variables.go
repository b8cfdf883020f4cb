package dashboards

import (
	"fmt"

	"gameserverd/internal/metrics"
)

// variables are what can be chosen at the top of a board. Everything is chosen at
// first.
func (s source) variables(b *board) []variable {
	all := []variable{{
		Name: "datasource", Label: "Source", Type: "datasource", Query: s.kind, Current: option{"gameserverd " + s.name, s.uid},
	}}
	info, calls := metrics.BuildInfo.Name, metrics.Calls.Name
	if s == prometheus {
		all = append(all,
			s.chosen("job", "Job", fmt.Sprintf("label_values(%s, job)", info)),
			s.chosen("instance", "Process", fmt.Sprintf(`label_values(%s{job=~"$job"}, instance)`, info)))
	} else {
		all = append(all, s.chosen("instance", "Process", fmt.Sprintf(`SHOW TAG VALUES FROM "%s" WITH KEY = "instance"`, info)))
	}
	if !b.method {
		return all
	}
	if s == prometheus {
		return append(all, s.chosen("method", "Method", fmt.Sprintf(`label_values(%s{job=~"$job",instance=~"$instance"}, method)`, calls)))
	}
	return append(all, s.chosen("method", "Method", fmt.Sprintf(`SHOW TAG VALUES FROM "%s" WITH KEY = "method"`, calls)))
}

// chosen is a variable whose values the source knows.
func (s source) chosen(name, label, query string) variable {
	from := s.theSource()
	v := variable{
		Name: name, Label: label, Type: "query", Query: query, Datasource: &from, Multi: true, IncludeAll: true, AllValue: ".*",
		Current: option{[]string{"All"}, []string{"$__all"}}, Refresh: 2, Sort: 1,
	}
	if name == "job" {
		v.AllValue = "" // those of the list: up and process_... other programs have too
	}
	return v
}

// annotations mark drains, reloads and starts in all pictures.
func (s source) annotations() []annotation {
	mark := func(name, color string) annotation {
		return annotation{Name: name, Datasource: s.theSource(), Enable: true, IconColor: color}
	}
	drains, reloads, starts := mark("Drains", red), mark("Reloads", blue), mark("Starts", green)
	if s == prometheus {
		const keep = `{job=~"$job",instance=~"$instance"}`
		drains.Expr = metrics.Draining.Name + keep + " == 1"
		drains.TitleFormat, drains.TextFormat = "drain", "{{instance}} drains"
		reloads.Expr = fmt.Sprintf("sum by (instance, result) (increase(%s%s[$__rate_interval])) > 0", metrics.Reloads.Name, keep)
		reloads.TitleFormat, reloads.TextFormat = "reload", "{{instance}}: {{result}}"
		starts.Expr = fmt.Sprintf("changes(%s%s[$__rate_interval]) > 0", processStart.Name, keep)
		starts.TitleFormat, starts.TextFormat = "start", "{{instance}} was started"
		return []annotation{drains, reloads, starts}
	}
	const keep = `"instance" =~ /^$instance$/ AND $timeFilter`
	query := func(name, what, field, tags string) string {
		return fmt.Sprintf(`SELECT "%s", %s FROM (SELECT %s FROM "%s" WHERE %s GROUP BY *) WHERE "%s" > 0`, field, tags, what, name, keep, field)
	}
	drains.Query = query(metrics.Draining.Name, `"value"`, "value", `"instance"`)
	reloads.Query = query(metrics.Reloads.Name, `difference("value") AS "n"`, "n", `"instance", "result"`)
	starts.Query = query(processStart.Name, `difference("value") AS "n"`, "n", `"instance"`)
	for _, a := range []*annotation{&drains, &reloads, &starts} {
		a.TextColumn = "instance"
	}
	reloads.TagsColumn = "result"
	return []annotation{drains, reloads, starts}
}
