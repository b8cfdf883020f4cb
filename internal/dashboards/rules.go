package dashboards

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// generatedBy begins every file that can have a comment.
const generatedBy = "# Made by `make generate` from internal/dashboards; change it there.\n"

// rulesFile is what Prometheus loads. hold makes an alert's time of what it should
// be: tests have none to wait.
func rulesFile(hold func(time.Duration) time.Duration) string {
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	out.WriteString(generatedBy)
	line("groups:")
	line("  - name: %s-rates", job)
	line("    rules:")
	for _, r := range records() {
		line("      - record: %s", r.name)
		line("        expr: %s", quoted(r.expr))
	}
	line("  - name: %s", job)
	line("    rules:")
	for _, a := range alerts() {
		line("      - alert: %s", a.name)
		line("        expr: %s", quoted(a.expr))
		if d := hold(a.hold); d > 0 {
			line("        for: %s", promDuration(d))
		}
		line("        labels:")
		line("          severity: %s", a.severity)
		line("        annotations:")
		line("          summary: %s", quoted(a.summary))
		line("          description: %s", quoted(a.description))
		line("          runbook_url: %s", quoted(runbook(a.runbook)))
	}
	return out.String()
}

// quoted is a text of YAML on one line; JSON's texts are such. HTML's signs stay as
// people write them.
func quoted(s string) string {
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // a string always can be
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// promDuration writes whole units, as people do: 5m, 30s.
func promDuration(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d%u.of == 0 {
			return fmt.Sprintf("%d%s", d/u.of, u.name)
		}
	}
	return fmt.Sprintf("%dms", d.Milliseconds())
}

// scrapeEvery is how often Prometheus is told to ask, and InfluxDB is pushed to by
// default, in seconds: Grafana asks for no finer points.
const (
	scrapeEvery = 5
	pushEvery   = 10
)

// prometheusFile is a Prometheus for one machine, as one begins.
func prometheusFile() string {
	return generatedBy + fmt.Sprintf(`# A Prometheus beside one daemon; more of them are more targets. docs/monitoring.md
global:
  scrape_interval: %[1]ds
  evaluation_interval: %[1]ds
rule_files:
  - rules.yml
scrape_configs:
  - job_name: %[2]s # the rules know it by this name
    static_configs:
      - targets: ["127.0.0.1:5780"] # listen.admin; of a worker worker.admin
`, scrapeEvery, job)
}

// sourceFile makes a data source known to Grafana.
func sourceFile(s source) string {
	head := generatedBy + fmt.Sprintf(`apiVersion: 1
datasources:
  - name: gameserverd %s
    uid: %s
    type: %s
    access: proxy
`, s.name, s.uid, s.kind)
	if s == prometheus {
		return head + fmt.Sprintf(`    url: http://127.0.0.1:9090
    jsonData:
      httpMethod: POST
      timeInterval: %ds # scrape_interval
`, scrapeEvery)
	}
	return head + fmt.Sprintf(`    url: http://127.0.0.1:8086
    # Version 1. Version 2 answers the same queries for a bucket that is mapped to a database:
    # with jsonData.httpHeaderName1: Authorization and secureJsonData.httpHeaderValue1: Token ...
    jsonData:
      version: InfluxQL
      httpMode: POST
      dbName: game
      timeInterval: %ds # metrics.influx.interval
`, pushEvery)
}

// providerFile tells Grafana where the boards are.
func providerFile(s source) string {
	return generatedBy + fmt.Sprintf(`apiVersion: 1
providers:
  - name: gameserverd %[1]s
    folder: gameserverd
    type: file
    allowUiUpdates: false
    options:
      path: /usr/share/gameserverd/grafana/dashboards/%[2]s
`, s.name, s.kind)
}
