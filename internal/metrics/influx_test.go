package metrics

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/internal/histogram"
	"gameserverd/internal/storetest"
)

// push is an Influx that runs until the test ends.
type push struct {
	*Influx
	t     *testing.T
	logs  *observer.ObservedLogs
	calls atomic.Int64 // what rpc_calls_total{method="game.play"} says: how often it was collected
	stop  func()       // ends Run and waits for its end
}

// startPush pushes to where o says. Warnings and errors that the test does not name
// in mayLog fail it.
func startPush(t *testing.T, o InfluxOptions, mayLog ...string) *push {
	t.Helper()
	p := preparePush(t, o, mayLog...)
	p.run()
	return p
}

func preparePush(t *testing.T, o InfluxOptions, mayLog ...string) *push {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	p := &push{t: t, logs: logs, stop: func() {}}
	o.Log = zap.New(core)
	if o.Interval == 0 {
		o.Interval = 20 * time.Millisecond
	}
	if o.MaxBuffer == 0 {
		o.MaxBuffer = 8 << 20
	}
	registry := NewRegistry(func(_ context.Context, b *Batch) {
		n := p.calls.Add(1)
		b.Set(Calls, float64(n), "game.play", OK)
		var h histogram.Histogram
		for range n { // one more each time, of 3 ms
			histogram.Durations.Observe(&h, int64(3*time.Millisecond))
		}
		b.Histogram(CallRun, &h, nil, "game.play", "")
	})
	var err error
	if p.Influx, err = NewInflux(registry, o); err != nil {
		t.Fatal(err)
	}
	p.retry, p.last = 5*time.Millisecond, 20*time.Second
	t.Cleanup(func() {
		p.stop()
		for _, e := range logs.All() {
			if e.Level >= zapcore.WarnLevel && !contains(mayLog, e.Message) {
				t.Errorf("unexpected log: %s %v", e.Message, e.ContextMap())
			}
		}
	})
	return p
}

func contains(list []string, message string) bool {
	for _, one := range list {
		if strings.HasPrefix(message, one) {
			return true
		}
	}
	return false
}

func (p *push) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		p.Run(ctx)
		close(ended)
	}()
	p.stop = func() {
		cancel()
		<-ended
	}
}

// logged is how many lines there are that begin so.
func (p *push) logged(message string) (n int) {
	for _, e := range p.logs.All() {
		if strings.HasPrefix(e.Message, message) {
			n++
		}
	}
	return n
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	over := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("never: %s", what)
		}
	}
}

// fetch asks a real server.
func fetch(t testing.TB, method, address, user, body string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	if name, password, ok := strings.Cut(user, ":"); ok {
		request.SetBasicAuth(name, password)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

// influxQL runs a query, and returns the rows of its only series; none: there is none.
func influxQL(t testing.TB, server, user, query string) (columns []string, rows [][]any) {
	t.Helper()
	status, answer := fetch(t, http.MethodPost, server+"/query?db=game&epoch=ms&q="+url.QueryEscape(query), user, "")
	var a struct {
		Results []struct {
			Error  string
			Series []struct {
				Columns []string
				Values  [][]any
			}
		}
	}
	if err := json.Unmarshal([]byte(answer), &a); err != nil || status != http.StatusOK || len(a.Results) != 1 || a.Results[0].Error != "" {
		t.Fatalf("%s: status %d, %v: %s", query, status, err, answer)
	}
	if len(a.Results[0].Series) == 0 {
		return nil, nil
	}
	return a.Results[0].Series[0].Columns, a.Results[0].Series[0].Values
}

// TestInfluxOne: what is gathered is in a real InfluxDB 1, in floats, with its tags,
// and nothing is missing after it was away.
func TestInfluxOne(t *testing.T) {
	server := storetest.InfluxDB(t)
	influxQL(t, server.URL, "", "CREATE DATABASE game")
	p := startPush(t, InfluxOptions{URL: server.URL + "/write?db=game", Instance: "game 1,a=b"}, "metrics do not reach InfluxDB")
	eventually(t, "three pushes", func() bool { return p.Stats().Sent >= 3 })
	server.Kill()
	eventually(t, "it is noticed", func() bool { return p.logged("metrics do not reach InfluxDB") == 1 })
	before := p.calls.Load()
	eventually(t, "some wait", func() bool { return p.calls.Load() > before+5 && p.Stats().Buffered > 0 })
	server.Start()
	eventually(t, "it is back", func() bool { return p.logged("metrics reach InfluxDB again") == 1 })
	p.stop()
	if st := p.Stats(); st.Buffered != 0 || st.Dropped != 0 || st.Failed == 0 {
		t.Errorf("at the end: %+v", st)
	}
	_, rows := influxQL(t, server.URL, "", `SELECT value FROM gameserverd_rpc_calls_total WHERE method = 'game.play' AND instance = 'game 1,a=b'`)
	if want := int(p.calls.Load()); len(rows) != want {
		t.Fatalf("%d points, want %d", len(rows), want)
	}
	for i, row := range rows {
		if row[1] != float64(i+1) {
			t.Fatalf("point %d is %v", i, row[1])
		}
	}
	_, rows = influxQL(t, server.URL, "", `SELECT "count", "sum", p50, p99, rate FROM gameserverd_rpc_run_seconds WHERE method = 'game.play'`)
	if len(rows) != int(p.calls.Load()) {
		t.Fatalf("%d points of a histogram, want %d", len(rows), p.calls.Load())
	}
	if first := rows[0]; first[1] != 1.0 || first[3] != nil || first[5] != nil {
		t.Errorf("the first point has an interval: %v", first)
	}
	for i, row := range rows[1:] {
		if row[1] != float64(i+2) || row[3] != 0.00375 || row[4] != 0.004975 || row[5].(float64) <= 0 {
			t.Fatalf("point %d: %v", i+1, row)
		}
	}
	types := map[string]bool{}
	_, keys := fetch(t, http.MethodGet, server.URL+"/query?db=game&q="+url.QueryEscape("SHOW FIELD KEYS"), "", "")
	for _, kind := range []string{"float", "integer", "string", "boolean"} {
		types[kind] = strings.Contains(keys, `"`+kind+`"`)
	}
	if !types["float"] || types["integer"] || types["string"] || types["boolean"] {
		t.Errorf("types of fields: %v", types)
	}
	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total", "go_gc_duration_seconds"} {
		if !strings.Contains(keys, name) {
			t.Errorf("there is no %s", name)
		}
	}
}

// TestInfluxToken: a daemon with a wrong password waits for the right one in its file.
func TestInfluxToken(t *testing.T) {
	server := storetest.InfluxDB(t, "auth-enabled = true")
	influxQL(t, server.URL, "", "CREATE USER admin WITH PASSWORD 'right' WITH ALL PRIVILEGES")
	influxQL(t, server.URL, "admin:right", "CREATE DATABASE game")
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("admin:wrong")
	p := startPush(t, InfluxOptions{URL: server.URL + "/write?db=game", TokenFile: file}, "metrics do not reach InfluxDB")
	eventually(t, "it is refused", func() bool { return p.Stats().Failed > 2 })
	if n := p.logged("metrics do not reach InfluxDB"); n != 1 {
		t.Errorf("%d lines about it, want 1", n)
	}
	if words := fmt.Sprint(p.logs.FilterLevelExact(zapcore.WarnLevel).All()[0].ContextMap()); !strings.Contains(words, "authorization failed") || strings.Contains(words, "wrong") {
		t.Errorf("the log says %s", words)
	}
	write("admin:right")
	eventually(t, "it gets in", func() bool { return p.Stats().Sent > 2 })
	p.stop()
	if _, rows := influxQL(t, server.URL, "admin:right", "SELECT value FROM gameserverd_rpc_calls_total"); len(rows) != int(p.calls.Load()) {
		t.Errorf("%d points, want %d", len(rows), p.calls.Load())
	}
}

// TestInfluxConflict: what a real InfluxDB refuses is dropped, and said once with its
// words; the rest of the batch is there.
func TestInfluxConflict(t *testing.T) {
	server := storetest.InfluxDB(t)
	influxQL(t, server.URL, "", "CREATE DATABASE game")
	if status, answer := fetch(t, http.MethodPost, server.URL+"/write?db=game", "", fmt.Sprintf("gameserverd_rpc_calls_total value=1i %d", time.Now().UnixNano())); status != http.StatusNoContent {
		t.Fatalf("status %d: %s", status, answer)
	}
	p := startPush(t, InfluxOptions{URL: server.URL + "/write?db=game"}, "InfluxDB refuses metrics")
	eventually(t, "some are dropped", func() bool { return p.Stats().Dropped > 3 })
	p.stop()
	lines := p.logs.FilterLevelExact(zapcore.WarnLevel).All()
	if len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0].ContextMap()["answer"]), "field type conflict") {
		t.Errorf("the log: %v", lines)
	}
	if _, rows := influxQL(t, server.URL, "", "SELECT rate FROM gameserverd_rpc_run_seconds"); len(rows) < 3 {
		t.Errorf("%d points of the others", len(rows))
	}
}

// TestInfluxTwo: the same by the path of InfluxDB 2, into VictoriaMetrics.
func TestInfluxTwo(t *testing.T) {
	server := storetest.VictoriaMetrics(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("some-token:with-colon=="), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startPush(t, InfluxOptions{URL: server.URL + "/api/v2/write?org=studio&bucket=game", TokenFile: file, Instance: "game-1"})
	if a := *p.authorization.Load(); a != "Token some-token:with-colon==" {
		t.Errorf("authorization %q", a)
	}
	eventually(t, "five pushes", func() bool { return p.Stats().Sent >= 5 })
	p.stop()
	export := func(name string, want int) (values []float64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s has %d values", name, want), func() bool { // what is new is found after a second
			fetch(t, http.MethodGet, server.URL+"/internal/force_flush", "", "")
			_, answer := fetch(t, http.MethodGet, server.URL+"/api/v1/export?match="+url.QueryEscape(name+`{method="game.play",instance="game-1"}`), "", "")
			var a struct{ Values []float64 }
			if err := json.Unmarshal([]byte(answer), &a); err != nil && answer != "" {
				t.Fatalf("%s: %v: %q", name, err, answer)
			}
			values = a.Values
			return len(values) >= want
		})
		return values
	}
	want := int(p.calls.Load())
	if values := export("gameserverd_rpc_calls_total_value", want); len(values) != want || !rising(values, 1) {
		t.Errorf("calls: %v, want 1 to %d", values, want)
	}
	if values := export("gameserverd_rpc_run_seconds_p90", want-1); len(values) != want-1 || values[0] != 0.00475 {
		t.Errorf("p90: %v", values)
	}
}
