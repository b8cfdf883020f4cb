package dashboards

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gameserverd/internal/storetest"
)

// numbersOf are the panels of a board that show one number, by their titles.
func numbersOf(d *dashboard) map[string]gPanel {
	all := map[string]gPanel{}
	for _, p := range d.Panels {
		if p, ok := p.(gPanel); ok && p.Type == "stat" {
			all[p.Title] = p
		}
	}
	return all
}

// shownBy is the number that a panel shows at the end of the window. Grafana asks for
// points as far from each other as the panel is wide, but not closer than the interval
// of the pushes.
func shownBy(t *testing.T, server string, p gPanel, w *window, every time.Duration) float64 {
	t.Helper()
	points := 300
	if p.MaxDataPoints > 0 {
		points = p.MaxDataPoints
	}
	interval := max(every, w.to.Sub(w.from)/time.Duration(points)).Truncate(time.Second)
	var values []float64
	for _, q := range p.Targets {
		q, ok := q.(influxTarget)
		if !ok {
			continue
		}
		query := strings.ReplaceAll(q.Query, "$__interval", interval.String())
		all, err := askInfluxDB(server, w.fill(query, inInfluxQL))
		if err != nil {
			t.Fatalf("%s: %v: %s", p.Title, err, query)
		}
		if len(all) != 1 || len(all[0].Values) == 0 {
			t.Fatalf("%s: %v: %s", p.Title, all, query)
		}
		last := all[0].Values[len(all[0].Values)-1]
		v, _ := last[1].(float64)
		values = append(values, v)
	}
	if len(values) == 0 {
		t.Fatalf("%s asks nothing", p.Title)
	}
	if len(values) == 2 { // the share that Grafana calculates
		return values[0] / values[1]
	}
	return values[0]
}

// The numbers at the top are those of all processes at the end of the time shown, at
// whatever moment they are looked at, however long that time is. a and b push every 10 s,
// at other moments; c is away since ten minutes.
func TestHeadlineOfInfluxDB(t *testing.T) {
	in := storetest.InfluxDB(t)
	if _, err := askInfluxDB(in.URL, "CREATE DATABASE game"); err != nil {
		t.Fatal(err)
	}
	const every = 10 * time.Second
	base := time.Now().Truncate(time.Hour).Add(-4 * time.Hour)
	var b strings.Builder
	for who, from := range map[string]time.Duration{"a": 500 * time.Millisecond, "b": 6500 * time.Millisecond, "c": 3 * time.Second} {
		end := 70 * time.Minute
		if who == "c" {
			end = 50 * time.Minute
		}
		for i := 0; time.Duration(i)*every < end; i++ {
			at := base.Add(from + time.Duration(i)*every).UnixMilli()
			line := func(series string, v int) {
				name, labels, _ := strings.Cut(series, ",")
				fmt.Fprintf(&b, "gameserverd_%s,instance=%s,%s value=%d.0 %d\n", name, who, labels, v, at)
			}
			line("ready,x=y", 1)
			line("players_online,x=y", 50)
			line("rpc_calls_total,method=sum,code=ok", i*990)
			line("rpc_calls_total,method=sum,code=internal", i*10)
			line("rpc_calls_total,method=unknown,code=unimplemented", i*1000)
			line("store_up,store=sql", map[bool]int{true: 0, false: 1}[who == "c"])
			fmt.Fprintf(&b, "gameserverd_rpc_run_seconds,instance=%s,method=sum count=%d.0,p99=0.01 %d\n", who, i, at)
			fmt.Fprintf(&b, "gameserverd_rpc_run_seconds,instance=%s,method=duel.challenge,waits=client count=%d.0,p99=9 %d\n", who, i, at)
		}
	}
	response, err := http.Post(in.URL+"/write?db=game&precision=ms", "text/plain", strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		t.Fatal(response.Status)
	}
	board := overviewBoard()
	panels := numbersOf(board.render(influxDB))
	for _, shown := range []time.Duration{15 * time.Minute, time.Hour, 24 * time.Hour} {
		for _, after := range []time.Duration{0, 3 * time.Second, 8 * time.Second, 60 * time.Second, 130 * time.Second, 290 * time.Second} {
			now := base.Add(time.Hour + after)
			w := &window{from: now.Add(-shown), to: now, chosen: map[string][]string{"instance": {"a", "b", "c"}}}
			for title, want := range map[string]float64{
				"Ready": 2, "Not ready or away": 1, "Players online": 100, "Calls": 400, "Errors of ours": 0.01, "p99 of methods": 0.01, "Stores": 1,
			} {
				if got := shownBy(t, in.URL, panels[title], w, every); got < want*0.999 || got > want*1.001 {
					t.Errorf("%v after the hour, of %v: %s is %v, want %v", after, shown, title, got, want)
				}
			}
		}
	}
	now := base.Add(2 * time.Hour) // all are away
	w := &window{from: now.Add(-90 * time.Minute), to: now, chosen: map[string][]string{"instance": {"a", "b", "c"}}}
	if got := shownBy(t, in.URL, panels["Not ready or away"], w, every); got != 3 {
		t.Errorf("all are away: %v", got)
	}
}

// Processes that are down, or wait for a store, are seen in the headline; machines that
// are no daemons are not.
func TestHeadlineOfPrometheus(t *testing.T) {
	board := overviewBoard()
	d := board.render(prometheus)
	w := &window{to: time.UnixMilli(0), chosen: map[string][]string{"job": {job}, "instance": {"a", "b", "c", "d"}}}
	var tests strings.Builder
	fmt.Fprint(&tests, "evaluation_interval: 15s\ntests:\n  - interval: 15s\n    input_series:\n")
	for _, g := range []given{
		{`up{job="gameserverd",instance="a"}`, "1x40"}, {`gameserverd_ready{job="gameserverd",instance="a"}`, "1x40"},
		{`up{job="gameserverd",instance="b"}`, "1x20 0x20"}, {`gameserverd_ready{job="gameserverd",instance="b"}`, "1x20 stale"},
		{`up{job="gameserverd",instance="c"}`, "1x40"}, {`gameserverd_ready{job="gameserverd",instance="c"}`, "0x40"},
		{`up{job="node",instance="d"}`, "0x40"},
	} {
		fmt.Fprintf(&tests, "      - {series: %s, values: %s}\n", quoted(g.series), quoted(g.values))
	}
	fmt.Fprint(&tests, "    promql_expr_test:\n")
	panels := numbersOf(d)
	for title, want := range map[string][2]int{"Ready": {2, 1}, "Not ready or away": {1, 2}} {
		q := panels[title].Targets[0].(promTarget)
		if !q.Instant || q.Range {
			t.Errorf("%s is not of this moment: the last point may be an old one", title)
		}
		for i, at := range []string{"4m", "8m"} {
			fmt.Fprintf(&tests, "      - {expr: %s, eval_time: %s, exp_samples: [{labels: '{}', value: %d}]}\n", quoted(w.fill(q.Expr, inPromQL)), at, want[i])
		}
	}
	path := filepath.Join(t.TempDir(), "test.yml")
	if err := os.WriteFile(path, []byte(tests.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(storetest.Program(t, "promtool"), "test", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	for _, v := range d.Templating.List {
		if v.Name == "job" && v.AllValue != "" {
			t.Errorf("all jobs are %s: those of other programs too", v.AllValue)
		}
	}
}
