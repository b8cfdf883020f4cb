package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// schemaVersion is that of the model in grafana.go.
const schemaVersion = 42

// source is what a board asks.
type source struct {
	kind string // Grafana's name of the plugin, and the folder of the boards
	name string
	uid  string // of the data source in deploy/grafana/provisioning
}

var (
	prometheus = source{"prometheus", "Prometheus", "gameserverd-prometheus"}
	influxDB   = source{"influxdb", "InfluxDB", "gameserverd-influxdb"}
)

// theSource is the data source that the board's first variable names.
func (s source) theSource() dataSource { return dataSource{s.kind, "${datasource}"} }

// encode is the JSON of a board, with one value a line so that changes can be read.
func encode(d *dashboard) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(d)
	return out.Bytes(), err
}

// render makes the board for one source.
func (b *board) render(s source) *dashboard {
	d := &dashboard{
		UID: "gameserverd-" + b.name + "-" + s.kind, Title: b.title, Description: b.description, Tags: []string{"gameserverd", s.kind},
		SchemaVersion: schemaVersion, GraphTooltip: 1, Refresh: "10s", Time: timeRange{"now-1h", "now"}, Timezone: "browser",
		Links: []link{
			{Title: "gameserverd", Type: "dashboards", Icon: "external link", Tags: []string{"gameserverd", s.kind}, IncludeVars: true, KeepTime: true},
			runbookLink("Operations", "At 3 a.m."),
		},
		Annotations: annotations{s.annotations()},
		Templating:  templating{s.variables(b)},
	}
	id, y := 0, 0
	next := func() int { id++; return id }
	for _, r := range b.rows {
		if r.title != "" {
			d.Panels = append(d.Panels, gRow{Type: "row", ID: next(), Title: r.title, GridPos: gridPos{0, y, 24, 1}, Panels: []any{}})
			y++
		}
		x, height := 0, 0
		for _, p := range r.panels {
			w, h := p.size()
			if x+w > 24 {
				x, y, height = 0, y+height, 0
			}
			g := p.render(b, s)
			g.ID, g.GridPos = next(), gridPos{x, y, w, h}
			d.Panels = append(d.Panels, g)
			x, height = x+w, max(height, h)
		}
		y += height
	}
	return d
}

func (p *panel) size() (w, h int) {
	w, h = p.width, 8
	if p.show == number {
		h = 4
	}
	if w == 0 {
		w = map[show]int{number: 4, table: 24}[p.show]
	}
	if w == 0 {
		w = 8
	}
	return w, h
}

// over is what the panel asks an expression over.
func (p *panel) over(e expr) span {
	switch {
	case p.show == table || e.op == opIncrease:
		return whole
	case p.show == number:
		return latest
	}
	return perPoint
}

func (p *panel) render(b *board, s source) gPanel {
	g := gPanel{
		Type:  map[show]string{lines: "timeseries", areas: "timeseries", number: "stat", table: "table"}[p.show],
		Title: p.title, Description: p.description, Datasource: s.theSource(),
		FieldConfig: fieldConfig{Defaults: p.defaults(), Overrides: []override{}},
	}
	if p.runbook != "" {
		g.Links = []link{runbookLink("What to do", p.runbook)}
	}
	switch p.show {
	case lines, areas:
		g.Options = linesOptions{
			Legend:  legend{ShowLegend: true, DisplayMode: "table", Placement: "bottom", Calcs: []string{"lastNotNull", "max"}, SortBy: "Max", SortDesc: true},
			Tooltip: tooltip{Mode: "multi", Sort: "desc"},
		}
	case number:
		g.Options = statOptions()
		if s == influxDB {
			g.MaxDataPoints = freshPoints
		}
	case table:
		g.Options = tableOptions{ShowHeader: true, CellHeight: "sm", SortBy: []sortBy{{p.series[0].legend, true}}}
		g.FieldConfig.Overrides = p.columns()
		g.Transformations = p.joined(s)
	}
	for i := range p.series {
		targets, overrides := p.series[i].targets(p, b, s, i)
		g.Targets = append(g.Targets, targets...)
		g.FieldConfig.Overrides = append(g.FieldConfig.Overrides, overrides...)
	}
	if s == influxDB && p.asks(opQuantile) {
		g.Description += " InfluxDB has the quantiles of each series; the worst of those is shown."
	}
	if s == influxDB && p.asks(opAway) {
		g.Description += " Away is who has pushed in the time shown, and not in the last three intervals."
	}
	return g
}

func (p *panel) asks(o op) bool {
	for _, s := range p.series {
		if s.value.op == o {
			return true
		}
	}
	return false
}

func (p *panel) defaults() fieldDefaults {
	d := fieldDefaults{
		Unit: string(p.unit), Color: fieldColor{"palette-classic-by-name"}, NoValue: p.none,
		Thresholds: thresholds{Mode: "absolute", Steps: []threshold{{nil, green}}},
	}
	if p.unit != fromNow {
		d.Min = new(float64)
	}
	if p.max != 0 {
		d.Max = &p.max
	}
	for _, st := range p.steps {
		if st.from == 0 {
			d.Thresholds.Steps[0].Color = st.color
			continue
		}
		d.Thresholds.Steps = append(d.Thresholds.Steps, threshold{&st.from, st.color})
	}
	if len(p.words) > 0 {
		m := mapping{Type: "value", Options: map[string]mappedText{}}
		for i, w := range p.words {
			m.Options[fmt.Sprint(w.value)] = mappedText{w.text, w.color, i}
		}
		d.Mappings = []mapping{m}
	}
	switch p.show {
	case lines, areas:
		c := &graphConfig{
			DrawStyle: "line", LineWidth: 1, FillOpacity: 5, ShowPoints: "never",
			Stacking: stacking{"none", "A"}, ThresholdsStyle: modeField{"off"},
		}
		if p.show == areas {
			c.FillOpacity, c.Stacking.Mode = 30, "normal"
		}
		if len(p.steps) > 0 {
			c.ThresholdsStyle.Mode = "dashed"
		}
		d.Custom = c
	case number:
		d.Color.Mode = "thresholds"
	}
	return d
}

// statOptions have no small picture: what is asked is one value, that of now.
func statOptions() numberOptions {
	return numberOptions{
		ReduceOptions: reduce{Calcs: []string{"lastNotNull"}}, ColorMode: "value", GraphMode: "none", JustifyMode: "auto",
		Orientation: "auto", TextMode: "value", WideLayout: true, PercentChangeColorMode: "standard",
	}
}

// columns give a table's columns their units.
func (p *panel) columns() []override {
	var all []override
	for _, s := range p.series {
		if s.unit != "" {
			all = append(all, override{matcher{"byName", s.legend}, []property{{"unit", string(s.unit)}}})
		}
	}
	return all
}

// joined makes one table of the queries' tables, a line for each value of p.by, the
// columns named by the legends.
func (p *panel) joined(s source) []transformation {
	hidden := map[string]bool{"Time": true}
	renamed := map[string]string{}
	for i, q := range p.series {
		hidden[fmt.Sprintf("Time %d", i+1)] = true
		if s == prometheus {
			renamed["Value #"+refID(i)] = q.legend
		}
	}
	return []transformation{
		{"joinByField", map[string]any{"byField": p.by, "mode": "outer"}},
		{"organize", map[string]any{"excludeByName": hidden, "indexByName": map[string]int{}, "renameByName": renamed}},
	}
}

// refID names the i-th query of a panel; what it is calculated of has a digit more.
func refID(i int) string { return string(rune('A' + i)) }

// targets are the queries of one series, and what gives them a legend.
func (q *series) targets(p *panel, b *board, s source, i int) ([]any, []override) {
	ref := refID(i)
	over := p.over(q.value)
	if s == prometheus {
		t := promTarget{
			RefID: ref, Datasource: s.theSource(), Expr: promQL(q.value, b, over), LegendFormat: q.legend, EditorMode: "code",
			Range: over == perPoint, Instant: over != perPoint, Format: "time_series",
		}
		t.Exemplar = p.show == lines && q.value.op == opQuantile
		if p.show == table {
			t.Format = "table"
		}
		return []any{t}, nil
	}
	t := influxTarget{
		RefID: ref, Datasource: s.theSource(), RawQuery: true, ResultFormat: "time_series", Alias: influxAlias(q.legend),
	}
	if p.show == table {
		t.ResultFormat, t.Alias = "table", ""
	}
	if q.value.op != opRatio {
		t.Query = influxQL(q.value, b, over)
		if p.show == table {
			t.Query = strings.Replace(t.Query, " FROM ", ` AS "`+q.legend+`" FROM `, 1)
		}
		return []any{t}, nil
	}
	above, below := t, t
	above.RefID, below.RefID = ref+"1", ref+"2"
	above.Hide, below.Hide = true, true
	above.Alias, below.Alias = "", ""
	above.Query, below.Query = influxQL(q.value.of[0], b, over), influxQL(q.value.of[1], b, over)
	math := mathTarget{RefID: ref, Datasource: dataSource{"__expr__", "__expr__"}, Type: "math", Expression: "$" + above.RefID + " / $" + below.RefID}
	return []any{above, below, math}, []override{
		{Matcher: matcher{"byFrameRefID", ref}, Properties: []property{{"displayName", mathLegend(q.legend)}}},
	}
}

// influxAlias is a legend in the form that InfluxDB's plugin knows.
func influxAlias(legend string) string {
	return strings.NewReplacer("{{", "$tag_", "}}", "").Replace(legend)
}

// mathLegend is a legend for what Grafana has calculated.
func mathLegend(legend string) string {
	return strings.NewReplacer("{{", "${__field.labels.", "}}", "}").Replace(legend)
}

// runbookBase is where the installed package has the pages. Who reads them elsewhere
// replaces it in all files: docs/monitoring.md.
const runbookBase = "file:///usr/share/doc/gameserverd/operations.md"

// runbook is the address of a heading of docs/operations.md.
func runbook(heading string) string { return runbookBase + "#" + anchor(heading) }

func runbookLink(title, heading string) link {
	return link{Title: title, Type: "link", Icon: "doc", Tooltip: "docs/operations.md: " + heading, URL: runbook(heading), Tags: []string{}, TargetBlank: true}
}

// anchor is what Markdown's renderers make of a heading.
func anchor(heading string) string {
	var out strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case r == ' ':
			out.WriteByte('-')
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_':
			out.WriteRune(r)
		}
	}
	return out.String()
}
