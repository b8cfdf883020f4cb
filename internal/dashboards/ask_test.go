package dashboards

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// window is the time that a board shows, and what its variables are.
type window struct {
	from, to time.Time
	chosen   map[string][]string // job, instance, method
}

// fill replaces the variables of a query as Grafana does.
func (w *window) fill(query string, regexpChosen func(string) string) string {
	span := w.to.Sub(w.from)
	pairs := []string{
		"$__rate_interval", "4s", "$__range", fmt.Sprintf("%ds", int(span.Seconds())), "$__interval", "1s", "${__to}", fmt.Sprint(w.to.UnixMilli()),
		"$timeFilter", fmt.Sprintf("time >= %dms and time <= %dms", w.from.UnixMilli(), w.to.UnixMilli()),
	}
	for name, values := range w.chosen {
		pairs = append(pairs, "$"+name, regexpChosen("("+strings.Join(quotedMeta(values), "|")+")"))
	}
	return strings.NewReplacer(pairs...).Replace(query)
}

func quotedMeta(values []string) []string {
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = regexp.QuoteMeta(v)
	}
	return all
}

// inPromQL is a regular expression in a text of PromQL, inInfluxQL between slashes.
func inPromQL(re string) string   { return strings.ReplaceAll(re, `\`, `\\`) }
func inInfluxQL(re string) string { return strings.ReplaceAll(re, `/`, `\/`) }

// fetch decodes the JSON that a server answers a GET with, whatever its status.
func fetch(address string, params url.Values, into any) error {
	response, err := http.Get(address + "?" + params.Encode())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %s: %w", response.Status, b, err)
	}
	return nil
}

// points counts the numbers of an answer, and the largest of them.
type points struct {
	n    int
	most float64
}

func (p *points) add(v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	p.n++
	p.most = max(p.most, v)
}

// askPrometheus runs a query: over the window with a point a second, or at its end.
func askPrometheus(server, query string, w *window, over bool) (p points, err error) {
	at := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
	address, params := server+"/api/v1/query", url.Values{"query": {query}, "time": {at(w.to)}}
	if over {
		address, params = server+"/api/v1/query_range", url.Values{"query": {query}, "start": {at(w.from)}, "end": {at(w.to)}, "step": {"1"}}
	}
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Value  [2]any
				Values [][2]any
			}
		}
	}
	if err := fetch(address, params, &answer); err != nil {
		return p, err
	}
	if answer.Status != "success" {
		return p, errors.New(answer.Error)
	}
	for _, r := range answer.Data.Result {
		for _, pair := range append(r.Values, r.Value) {
			text, _ := pair[1].(string) // nil: the other form was answered
			if v, err := strconv.ParseFloat(text, 64); err == nil {
				p.add(v)
			}
		}
	}
	return p, nil
}

// labelValues answers label_values(metric, label), as Grafana makes it a request.
func labelValues(server, query string, w *window) ([]string, error) {
	inner, ok := strings.CutPrefix(strings.TrimSuffix(query, ")"), "label_values(")
	i := strings.LastIndex(inner, ", ")
	if !ok || i < 0 {
		return nil, fmt.Errorf("%s is no label_values", query)
	}
	var answer struct {
		Status, Error string
		Data          []string
	}
	params := url.Values{"match[]": {w.fill(inner[:i], inPromQL)}, "start": {fmt.Sprint(w.from.Unix())}, "end": {fmt.Sprint(w.to.Unix() + 1)}}
	if err := fetch(server+"/api/v1/label/"+inner[i+2:]+"/values", params, &answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, errors.New(answer.Error)
	}
	return answer.Data, nil
}

// influxSeries is what InfluxDB answers.
type influxSeries struct {
	Columns []string
	Values  [][]any
}

func askInfluxDB(server, query string) ([]influxSeries, error) {
	var answer struct {
		Error   string
		Results []struct {
			Error  string
			Series []influxSeries
		}
	}
	if err := fetch(server+"/query", url.Values{"db": {"game"}, "q": {query}}, &answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	var all []influxSeries
	for _, r := range answer.Results {
		if r.Error != "" {
			return nil, errors.New(r.Error)
		}
		all = append(all, r.Series...)
	}
	return all, nil
}

// numbers are those of InfluxDB's answer, the times aside.
func numbers(all []influxSeries) (p points) {
	for _, s := range all {
		for _, row := range s.Values {
			for i, v := range row {
				if f, ok := v.(float64); ok && s.Columns[i] != "time" {
					p.add(f)
				}
			}
		}
	}
	return p
}

// influxWindow is the window with what InfluxDB's variables can be.
func influxWindow(t *testing.T, server string, w *window, b *dashboard) *window {
	t.Helper()
	filled := *w
	filled.chosen = map[string][]string{}
	for _, v := range b.Templating.List {
		if v.Type != "query" {
			continue
		}
		all, err := askInfluxDB(server, v.Query)
		if err != nil {
			t.Errorf("%s: the variable %s: %v", b.UID, v.Name, err)
		}
		for _, s := range all {
			for _, row := range s.Values {
				filled.chosen[v.Name] = append(filled.chosen[v.Name], fmt.Sprint(row[1]))
			}
		}
		if len(filled.chosen[v.Name]) == 0 {
			t.Errorf("%s: the variable %s can be nothing: %s", b.UID, v.Name, v.Query)
		}
	}
	return &filled
}

// prometheusWindow is the same for Prometheus.
func prometheusWindow(t *testing.T, server string, w *window, b *dashboard) *window {
	t.Helper()
	filled := *w
	filled.chosen = map[string][]string{}
	for _, v := range b.Templating.List {
		if v.Type != "query" {
			continue
		}
		values, err := labelValues(server, v.Query, &filled)
		if err != nil || len(values) == 0 {
			t.Errorf("%s: the variable %s can be %q: %v: %s", b.UID, v.Name, values, err, v.Query)
		}
		filled.chosen[v.Name] = values
	}
	return &filled
}

// A filled query has no variable left, and dots of addresses stay dots.
func TestFill(t *testing.T) {
	w := &window{from: time.UnixMilli(1000), to: time.UnixMilli(61000), chosen: map[string][]string{"instance": {"127.0.0.1:5780", "b"}}}
	for query, want := range map[string]string{
		`rate(x{instance=~"$instance"}[$__rate_interval])`: `rate(x{instance=~"(127\\.0\\.0\\.1:5780|b)"}[4s])`,
		`increase(x[$__range])`:                            `increase(x[60s])`,
	} {
		if got := w.fill(query, inPromQL); got != want {
			t.Errorf("%s became %s, not %s", query, got, want)
		}
	}
	const query, want = `"instance" =~ /^$instance$/ AND $timeFilter GROUP BY time($__interval)`, `"instance" =~ /^(127\.0\.0\.1:5780|b)$/ AND time >= 1000ms and time <= 61000ms GROUP BY time(1s)`
	if got := w.fill(query, inInfluxQL); got != want {
		t.Errorf("%s became %s, not %s", query, got, want)
	}
}
