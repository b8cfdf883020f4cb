package dashboards

import (
	"testing"
	"time"

	"gameserverd/internal/metrics"
)

// everyPromQL asks Prometheus all that the boards for it and the rules ask.
func everyPromQL(t *testing.T, s *scene) {
	w := &window{from: s.began, to: time.Now()}
	server, asked := s.prometheus.URL, 0
	check := func(where, query string, w *window, over bool) {
		asked++
		p, err := askPrometheus(server, w.fill(query, inPromQL), w, over)
		if err != nil {
			t.Errorf("%s: %v: %s", where, err, query)
		} else if p.n == 0 {
			t.Errorf("%s is empty: %s", where, query)
		}
	}
	for _, b := range boards() {
		d := b.render(prometheus)
		chosen := prometheusWindow(t, server, w, d)
		for _, a := range d.Annotations.List {
			check(b.name+": "+a.Name, a.Expr, chosen, true)
		}
		for _, p := range d.Panels {
			p, ok := p.(gPanel)
			if !ok {
				continue
			}
			for _, q := range p.Targets {
				q := q.(promTarget)
				check(b.name+": "+p.Title+", "+q.LegendFormat, q.Expr, chosen, q.Range)
			}
		}
	}
	for _, r := range records() {
		check(r.name, r.expr, w, true)
		check(r.name+", recorded", r.name, w, true)
	}
	for _, a := range alerts() {
		check(a.name, a.expr, w, true)
	}
	t.Logf("%d queries", asked)
}

// everyFamily holds that each family that counts has counted: what the daemons did is
// seen to be measured. A gauge may be 0 whenever it is looked at.
func everyFamily(t *testing.T, s *scene) {
	w := &window{from: s.began, to: time.Now()}
	for _, f := range metrics.Families() {
		name := f.Name
		switch {
		case f.Kind == metrics.Gauge, f == metrics.AcceptPaused: // which takes a machine without descriptors
			continue
		case histogram(f):
			name += "_count"
		}
		p, err := askPrometheus(s.prometheus.URL, "max_over_time("+name+"[5m])", w, false)
		if err != nil || p.most == 0 {
			t.Errorf("%s was never above 0: %v", name, err)
		}
	}
}

// everyInfluxQL asks InfluxDB all that the boards for it ask.
func everyInfluxQL(t *testing.T, s *scene) {
	w := &window{from: s.began, to: time.Now()}
	server, asked := s.influx.URL, 0
	check := func(where, query string, w *window) {
		asked++
		query = w.fill(query, inInfluxQL)
		all, err := askInfluxDB(server, query)
		if err != nil {
			t.Errorf("%s: %v: %s", where, err, query)
		} else if numbers(all).n == 0 {
			t.Errorf("%s is empty: %s", where, query)
		}
	}
	for _, b := range boards() {
		d := b.render(influxDB)
		chosen := influxWindow(t, server, w, d)
		for _, a := range d.Annotations.List {
			check(b.name+": "+a.Name, a.Query, chosen)
		}
		for _, p := range d.Panels {
			p, ok := p.(gPanel)
			if !ok {
				continue
			}
			for _, q := range p.Targets {
				if q, ok := q.(influxTarget); ok {
					check(b.name+": "+p.Title+", "+q.Alias, q.Query, chosen)
				}
			}
		}
	}
	t.Logf("%d queries", asked)
}
