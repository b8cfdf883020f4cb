package metrics

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/zap"

	"gameserverd/internal/histogram"
)

// scrape asks h for the page in the format that accept names.
func scrape(t testing.TB, h http.Handler, accept string) (body string, header http.Header) {
	t.Helper()
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String(), w.Header()
}

const openMetrics = "application/openmetrics-text; version=1.0.0"

// parse reads Prometheus' text.
func parse(t testing.TB, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// one is the only metric of a family that has these label values.
func one(t testing.TB, families map[string]*dto.MetricFamily, name string, labels ...string) *dto.Metric {
	t.Helper()
	var found *dto.Metric
	for _, m := range families[name].GetMetric() {
		var has []string
		for _, l := range m.GetLabel() {
			has = append(has, l.GetValue())
		}
		if fmt.Sprint(has) == fmt.Sprint(labels) {
			if found != nil {
				t.Errorf("%s%v is there twice", name, labels)
			}
			found = m
		}
	}
	if found == nil {
		t.Fatalf("there is no %s%v", name, labels)
	}
	return found
}

func TestPageShowsTheBatch(t *testing.T) {
	var h histogram.Histogram
	for _, v := range []time.Duration{5 * time.Microsecond, 10 * time.Microsecond, 3 * time.Millisecond, time.Minute} {
		histogram.Durations.Observe(&h, int64(v))
	}
	var rows histogram.Histogram
	histogram.Sizes.Observe(&rows, 7)
	histogram.Sizes.Observe(&rows, 70000)
	var ex Exemplars
	at := time.UnixMilli(1700000000123)
	ex[histogram.Durations.Class(int64(3*time.Millisecond))] = Exemplar{Trace: "0af7651916cd43dd8448eb211c80319c", Value: 3 * time.Millisecond, At: at}
	r := NewRegistry(func(_ context.Context, b *Batch) {
		b.Set(Calls, 4, "game.play", OK)
		b.Set(Calls, 1e15, "game.\"odd\"\n\\", OK)
		b.Set(LoopCallbacks, -1.5, "0")
		b.Histogram(CallRun, &h, &ex, "game.play", "")
		b.Histogram(CommitRows, &rows, nil)
	})
	text, _ := scrape(t, r.Handler(), "")
	all := parse(t, text)
	if v := one(t, all, "gameserverd_rpc_calls_total", "game.play", "ok").GetCounter().GetValue(); v != 4 {
		t.Errorf("rpc_calls_total = %v, want 4", v)
	}
	if v := one(t, all, "gameserverd_rpc_calls_total", "game.\"odd\"\n\\", "ok").GetCounter().GetValue(); v != 1e15 {
		t.Errorf("rpc_calls_total of the odd one = %v, want 1e15", v)
	}
	if v := one(t, all, "gameserverd_loop_callbacks_waiting", "0").GetGauge().GetValue(); v != -1.5 {
		t.Errorf("the gauge = %v, want -1.5", v)
	}
	run := one(t, all, "gameserverd_rpc_run_seconds", "game.play").GetHistogram()
	if run.GetSampleCount() != 4 || run.GetSampleSum() != 60.003015 {
		t.Errorf("run: count %d, sum %v; want 4, 60.003015", run.GetSampleCount(), run.GetSampleSum())
	}
	want := map[float64]uint64{1e-5: 2, 0.001: 2, 0.0025: 2, 0.005: 3, 10: 3}
	for _, b := range run.GetBucket() {
		if n, ok := want[b.GetUpperBound()]; ok && b.GetCumulativeCount() != n {
			t.Errorf("run: %d up to %v, want %d", b.GetCumulativeCount(), b.GetUpperBound(), n)
		}
		delete(want, b.GetUpperBound())
	}
	if len(want) > 0 {
		t.Errorf("run: no buckets for %v", want)
	}
	size := one(t, all, "gameserverd_commit_rows").GetHistogram()
	if size.GetSampleCount() != 2 || size.GetSampleSum() != 70007 || len(size.GetBucket()) != 13 {
		t.Errorf("rows: %v", size)
	}
	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total"} {
		if len(all[name].GetMetric()) == 0 {
			t.Errorf("no %s", name)
		}
	}

	open, header := scrape(t, r.Handler(), openMetrics)
	if !strings.HasPrefix(header.Get("Content-Type"), openMetrics) {
		t.Errorf("content type %q", header.Get("Content-Type"))
	}
	line := `gameserverd_rpc_run_seconds_bucket{method="game.play",le="0.005"} 3 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.003 1.700000000123`
	for _, want := range []string{line, "# TYPE gameserverd_rpc_calls counter\n", "\n# EOF\n"} {
		if !strings.Contains(open, want) {
			t.Errorf("OpenMetrics lacks %q", want)
		}
	}
	if n := strings.Count(open, "trace_id"); n != 1 {
		t.Errorf("%d exemplars, want 1", n)
	}
}

// TestPageForgets: what the memory of an earlier page showed is not in the next.
func TestPageForgets(t *testing.T) {
	var h histogram.Histogram
	histogram.Durations.Observe(&h, 1)
	ex := Exemplars{0: {Trace: "t", Value: 1, At: time.Now()}}
	step := 0
	r := NewRegistry(func(_ context.Context, b *Batch) {
		switch step {
		case 0:
			b.Set(Calls, 1, "a", OK)
			b.Set(Calls, 2, "b", OK)
			b.Histogram(CallRun, &h, &ex, "a", "")
			b.Set(Online, 5)
		case 1:
			b.Set(Calls, 3, "b", OK)
			b.Histogram(CallRun, new(histogram.Histogram), nil, "c", "")
		}
	})
	handler := r.Handler()
	first, _ := scrape(t, handler, openMetrics)
	step = 1
	second, _ := scrape(t, handler, openMetrics)
	for _, text := range []string{`rpc_calls_total{method="a",code="ok"} 1.0`, `rpc_calls_total{method="b",code="ok"} 2.0`, `trace_id="t"`, "players_online 5.0"} {
		if !strings.Contains(first, text) {
			t.Errorf("the first page lacks %q", text)
		}
		if strings.Contains(second, text) {
			t.Errorf("the second page has %q still", text)
		}
	}
	for _, text := range []string{`rpc_calls_total{method="b",code="ok"} 3.0`, `rpc_run_seconds_count{method="c"} 0`} {
		if !strings.Contains(second, text) {
			t.Errorf("the second page lacks %q", text)
		}
	}
	if strings.Contains(second, `method="a"`) || strings.Contains(second, "players_online") {
		t.Error("the second page has what is not in its batch")
	}
}

// TestPageIsBounded: one scrape more than there may be at once is refused, and those
// before it are served.
func TestPageIsBounded(t *testing.T) {
	hold, in := make(chan struct{}), make(chan struct{}, maxScrapes)
	r := NewRegistry(func(context.Context, *Batch) {
		in <- struct{}{}
		<-hold
	})
	h := r.Handler()
	codes := make(chan int, maxScrapes)
	for range maxScrapes {
		go func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			codes <- w.Code
		}()
	}
	for range maxScrapes {
		<-in
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("one too many: status %d, want 503", w.Code)
	}
	if r.refused.Load() != 1 {
		t.Errorf("%d are counted as refused, want 1", r.refused.Load())
	}
	close(hold)
	for range maxScrapes {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("status %d, want 200", code)
		}
	}
}

// TestSlowReadersKeepNobodyOut: who asks for the page and does not read it is in the
// way of nobody, and so many of them are not kept for long.
func TestSlowReadersKeepNobodyOut(t *testing.T) {
	r := NewRegistry(func(_ context.Context, b *Batch) { fill(b, 3000) }) // more than the kernel takes at once
	server := httptest.NewServer(r.Handler())
	t.Cleanup(server.Close) // after its clients
	slow := func() {
		c, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
		fmt.Fprint(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
		_ = c.SetDeadline(time.Now().Add(scrapeTime))
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for range 1 + maxScrapes + maxSending {
		slow()
	}
	client := http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	resp, err := client.Get(server.URL) // with gzip, as Prometheus
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	whole, err := io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK || whole < 1<<20 || err != nil {
		t.Errorf("status %d, %d bytes, %v", resp.StatusCode, whole, err)
	}
	tick, over := time.NewTicker(5*time.Millisecond), time.After(scrapeTime/2)
	defer tick.Stop()
	for r.cut.Load() <= maxScrapes {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("%d are counted as cut", r.cut.Load())
		}
	}
}

// fill is a collection of a daemon with so many methods, all of which are called.
func fill(b *Batch, methods int) {
	var h histogram.Histogram
	for v := int64(1); v < int64(time.Minute); v *= 2 {
		for range v%7 + 100 {
			histogram.Durations.Observe(&h, v)
		}
	}
	for i := range methods {
		name := fmt.Sprintf("area%d.method_%d", i%20, i)
		b.Set(Calls, float64(i*1000), name, OK)
		b.Set(Calls, float64(i), name, "internal")
		b.Histogram(CallQueue, &h, nil, name)
		b.Histogram(CallRun, &h, nil, name, "")
	}
}

// cpuTime is what this process has had of the processors: on a machine that does
// other things too it tells more than the time that has passed. Both ends of the
// connection are in it, and what collects the garbage.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkScrape500Methods is one scrape: collecting 500 methods with two
// histograms each, and writing the page.
func BenchmarkScrape500Methods(b *testing.B) {
	batch := new(Batch)
	fill(batch, 500)
	r := NewRegistry(func(_ context.Context, into *Batch) { batch.copyTo(into) })
	for _, format := range []struct{ name, accept, encoding string }{
		{"text", "", "identity"}, {"openmetrics", openMetrics, "identity"}, {"openmetrics-gzip", openMetrics, "gzip"},
	} {
		b.Run(format.name, func(b *testing.B) {
			server := httptest.NewServer(r.Handler())
			defer server.Close()
			transport := &http.Transport{DisableCompression: true}
			defer transport.CloseIdleConnections()
			bytes := int64(0)
			before := cpuTime(b)
			for b.Loop() {
				request, err := http.NewRequest(http.MethodGet, server.URL, nil)
				if err != nil {
					b.Fatal(err)
				}
				request.Header.Set("Accept", format.accept)
				request.Header.Set("Accept-Encoding", format.encoding)
				response, err := transport.RoundTrip(request)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, response.Body)
				if err != nil {
					b.Fatal(err)
				}
				response.Body.Close()
				bytes = n
			}
			b.ReportMetric(float64(bytes), "B/scrape")
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// TestPageIsCompressed: for who takes it, and it is the same.
func TestPageIsCompressed(t *testing.T) {
	r := NewRegistry(func(_ context.Context, b *Batch) { fill(b, 20) })
	ours := func(text string) string { // the rest changes from page to page
		before, _, _ := strings.Cut(text, "# HELP gameserverd_scrapes")
		return before
	}
	plain, _ := scrape(t, r.Handler(), openMetrics)
	for encoding, zipped := range map[string]bool{"gzip": true, "deflate, gzip;q=1.0": true, "": false, "gzip;q=0": false, "br": false} {
		request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		request.Header.Set("Accept", openMetrics)
		request.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		r.Handler().ServeHTTP(w, request)
		body := io.Reader(w.Body)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != zipped {
			t.Errorf("%q: compressed: %v, want %v", encoding, got, zipped)
		} else if got {
			var err error
			if body, err = gzip.NewReader(w.Body); err != nil {
				t.Fatal(err)
			}
		}
		text, err := io.ReadAll(body)
		if err != nil || ours(string(text)) != ours(plain) || !strings.HasSuffix(string(text), "\n# EOF\n") {
			t.Errorf("%q: %v, %d bytes", encoding, err, len(text))
		}
	}
}

// BenchmarkPush500Methods is what one push computes: lines of 500 methods, compressed.
func BenchmarkPush500Methods(b *testing.B) {
	batch := new(Batch)
	fill(batch, 500)
	r := NewRegistry(func(_ context.Context, into *Batch) { batch.copyTo(into) })
	x, err := NewInflux(r, InfluxOptions{URL: "http://127.0.0.1:1/write", Instance: "game-1", MaxBuffer: 1 << 20, Log: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	var h histogram.Histogram
	histogram.Durations.Observe(&h, 1)
	before := cpuTime(b)
	bytes := 0
	for b.Loop() {
		for i := range batch.histograms {
			batch.histograms[i].Add(&h)
		}
		x.queue = newPushQueue(1 << 20)
		x.gather()
		bytes = x.queue.size()
	}
	b.ReportMetric(float64(bytes), "B/push")
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}
