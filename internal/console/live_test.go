package console

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/internal/ctl"
	"gameserverd/internal/histogram"
	"gameserverd/internal/metrics"
)

// tick is an event of the live stream.
type tick struct {
	P        []*float64         `json:"p"`
	Warnings int                `json:"warnings"`
	Status   ctl.Status         `json:"status"`
	F        map[string][][]any `json:"f"`
}

func parse(t *testing.T, data string) (one tick) {
	t.Helper()
	if err := json.Unmarshal([]byte(data), &one); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return one
}

// All open pages are served by one collection, and without a page nothing is collected.
func TestOneCollectionForAllPages(t *testing.T) {
	r := start(t)
	if n := r.collects.Load(); n != 0 {
		t.Fatalf("%d collections without a page", n)
	}
	one, two := r.stream("/console/live"), r.stream("/console/live")
	for _, e := range []*events{one, two} {
		if history := e.until("history"); !strings.Contains(history, `"columns":["t","calls"`) {
			t.Errorf("history %s", history)
		}
		r.calls.Add(100)
		first := parse(t, e.until("tick"))
		if first.Status.Online != 3 || len(first.P) != len(columns) {
			t.Errorf("%+v", first)
		}
	}
	eventually(t, "calls are seen", func() bool {
		now := parse(t, one.until("tick"))
		rows := now.F["rpc_calls_total"]
		return len(rows) == 1 && rows[0][0] == "sum" && rows[0][1] == "ok" && rows[0][2] == 200.0
	})
	if r.Pages() != 2 {
		t.Errorf("%d pages", r.Pages())
	}
	one.close()
	two.close()
	eventually(t, "the pages are gone", func() bool { return r.Pages() == 0 })
	r.live.running.Wait()
	n := r.collects.Load()
	if r.live.stop != nil || n == 0 {
		t.Error("it still collects")
	}
	three := r.stream("/console/live")
	var history struct{ Points [][]*float64 }
	if err := json.Unmarshal([]byte(three.until("history")), &history); err != nil || len(history.Points) == 0 {
		t.Errorf("a page that is loaded again has no history: %v", err)
	}
	three.until("tick")
	if r.collects.Load() == n {
		t.Error("nothing is collected for it")
	}
}

func TestPagesAreBounded(t *testing.T) {
	r := start(t)
	var open []*events
	for range maxPages {
		e := r.stream("/console/live")
		e.until("history")
		open = append(open, e)
	}
	r.want("one more", r.get("/console/live"), 503, "too many pages")
	open[0].close()
	eventually(t, "there is room", func() bool { return r.Pages() < maxPages })
	r.stream("/console/live").until("tick")
}

// A page that does not read holds up neither the others nor the end.
func TestASlowPageHoldsNobodyUp(t *testing.T) {
	r := start(t)
	slow, quick := r.stream("/console/live"), r.stream("/console/live")
	slow.until("history")
	for range 10 * pageBuffer {
		quick.until("tick")
	}
	began := time.Now()
	r.Console.Close()
	quick.until("end")
	if name, _ := quick.next(); name != "" || time.Since(began) > 3*time.Second {
		t.Errorf("%s after %v", name, time.Since(began))
	}
	r.want("after the end", r.get("/console/live"), 503, "")
}

func TestAPageEndsWithItsSession(t *testing.T) {
	r := start(t, withToken)
	r.signInWith(testToken)
	live, trace := r.stream("/console/live"), r.stream("/console/trace?uid=7")
	live.until("tick")
	trace.until("begun")
	r.settings.Store(&Settings{Token: "another token of some length"})
	live.until("signedout")
	if end := trace.until("end"); !strings.Contains(end, "signed out") {
		t.Error(end)
	}
}

func TestTheHistoryIsTenMinutes(t *testing.T) {
	var l live
	l.init(Options{}, nil)
	at := float64(time.Now().UnixMilli())
	for i := range 2000 {
		l.tell(point{at + 1000*float64(i)}, true, nil)
	}
	if n := len(l.history); n != int(historyFor/time.Second)+1 || cap(l.history) > 4*n {
		t.Errorf("%d points, room for %d", n, cap(l.history))
	}
}

func TestRatesAndQuantiles(t *testing.T) {
	d := newDigest()
	now := time.UnixMilli(1_000_000)
	var sum, duels, queue histogram.Histogram
	var calls, errors float64
	step := func(wait time.Duration, b func(*metrics.Batch)) (p point, ready bool, one tick) {
		now = now.Add(wait)
		var batch metrics.Batch
		batch.Set(metrics.Calls, calls-errors, "sum", metrics.OK)
		batch.Set(metrics.Calls, errors, "sum", "aborted")
		batch.Histogram(metrics.CallRun, &sum, nil, "sum", "")
		batch.Histogram(metrics.CallRun, &duels, nil, "duel", metrics.WaitsClient)
		batch.Set(metrics.LoopConns, 5, "0")
		batch.Set(metrics.Calls, 0, "never", metrics.OK)
		batch.Histogram(metrics.CallQueue, &queue, nil, "sum")
		if b != nil {
			b(&batch)
		}
		p, ready = d.take(now, &batch, &ctl.Status{Connections: 9, HeapBytes: 77})
		return p, ready, parse(t, string(d.event([]byte("{}"), 3)))
	}
	calls, sum.Counts[15] = 10, 10 // slow ones, before anybody looked
	p, ready, one := step(0, nil)
	if ready || !math.IsNaN(p[1]) || one.P[1] != nil || one.Warnings != 3 || *one.P[7] != 9 || *one.P[12] != 77 {
		t.Errorf("the first: %v %v", ready, p)
	}
	if rows := one.F["rpc_calls_total"]; len(rows) != 1 || rows[0][3] != nil {
		t.Errorf("a method that was never called, or a rate of nothing: %v", rows)
	}
	calls, errors = 30, 4
	for range 20 {
		histogram.Durations.Observe(&sum, int64(80*time.Microsecond))
		histogram.Durations.Observe(&duels, int64(5*time.Second)) // for a client, which is no time of ours
	}
	p, ready, one = step(2*time.Second, func(b *metrics.Batch) { b.Set(metrics.Calls, 6, "new", metrics.OK) })
	if !ready || p[1] != 13 || p[2] != 2 || p[3] < 0.05 || p[3] > 0.1 || p[4] > 0.1 || !math.IsNaN(p[5]) {
		t.Errorf("rates %v", p)
	}
	rows := one.F["rpc_run_seconds"]
	if len(rows) != 2 || rows[0][2] != 30.0 || rows[0][3] != 10.0 || rows[0][5].(float64) > 0.1 || rows[1][1] != "client" || rows[1][5].(float64) < 1000 {
		t.Errorf("quantiles are of the last seconds: %v", rows)
	}
	if rows := one.F["rpc_calls_total"]; len(rows) != 3 || rows[1][1] != "aborted" || rows[1][3] != 2.0 {
		t.Errorf("errors %v", rows)
	}
	if len(one.F["rpc_queue_seconds"]) != 0 {
		t.Error("an empty histogram is sent")
	}
	for range 4 { // the window passes
		_, _, one = step(window, nil)
	}
	if rows := one.F["rpc_run_seconds"]; rows[0][4] != nil || rows[0][3] != 0.0 {
		t.Errorf("old values count as new: %v", rows)
	}
	for range 150 {
		now = now.Add(time.Second)
		d.take(now, new(metrics.Batch), &ctl.Status{})
	}
	if len(d.series) != 0 {
		t.Errorf("%d values that are gone are remembered", len(d.series))
	}
}

// Prometheus has asked 90 ms before every other tick, and the collection was its: rates
// were wrong by as much.
func TestRatesAreOfWhenItWasCounted(t *testing.T) {
	d := newDigest()
	began := time.UnixMilli(1_000_000)
	for i := range 6 {
		now := began.Add(time.Duration(i) * time.Second)
		counted := now.Add(-time.Duration(i%2) * 90 * time.Millisecond)
		var b metrics.Batch
		b.SetTime(counted)
		b.Set(metrics.Calls, float64(counted.Sub(began).Milliseconds()), "sum", metrics.OK) // 1000 a second
		p, ready := d.take(now, &b, &ctl.Status{})
		if ready != (i > 0) || ready && math.Round(p[1]) != 1000 || p[0] != float64(counted.UnixMilli()) {
			t.Errorf("tick %d: %v calls a second, of 1000, at %v", i, p[1], p[0])
		}
	}
	var same metrics.Batch // the collection before once more: nothing is known about the time since
	same.SetTime(d.at)
	same.Set(metrics.Calls, 9999, "sum", metrics.OK)
	if p, ready := d.take(began.Add(time.Hour), &same, &ctl.Status{}); ready || !math.IsNaN(p[1]) {
		t.Errorf("a rate of no time: %v", p)
	}
}

func TestTheLastWarningsAreKept(t *testing.T) {
	core, written := observer.New(zapcore.InfoLevel)
	w := new(Warnings)
	log := w.Watch(zap.New(core))
	log.Info("not kept")
	log.With(zap.Uint64("uid", 7)).Error("broken", zap.Duration("took", time.Second), zap.ByteString("stack", []byte("main.go:1")), zap.Any("odd", func() {}))
	n, all := w.last()
	if n != 1 || len(all) != 1 || all[0].Level != "error" || all[0].Message != "broken" || written.Len() != 2 {
		t.Fatalf("%d %+v, %d written", n, all, written.Len())
	}
	for _, part := range []string{"uid", "1s", "main.go:1"} {
		if !strings.Contains(string(all[0].Fields), part) {
			t.Errorf("fields %s lack %s", all[0].Fields, part)
		}
	}
	for range 3 * maxWarnings {
		log.Warn(strings.Repeat("x", 2*maxField), zap.String("long", strings.Repeat("y", 4*maxWarning)))
	}
	log.Warn("the last")
	n, all = w.last()
	if n != 3*maxWarnings+2 || len(all) != maxWarnings || all[0].Message != "the last" || len(all[1].Fields) > 2*maxWarning || len(all[1].Message) > 2*maxField {
		t.Errorf("%d, %d kept, the newest %q", n, len(all), all[0].Message)
	}
	quiet, _ := observer.New(zapcore.ErrorLevel)
	w = new(Warnings)
	w.Watch(zap.New(quiet)).Warn("below the level")
	if n, _ := w.last(); n != 0 || zap.New(quiet).Level() != w.Watch(zap.New(quiet)).Level() {
		t.Error("the level is another")
	}
	r := start(t, func(o *Options, _ *rig) {
		o.Warnings.Watch(zap.NewNop().WithOptions(zap.WrapCore(func(zapcore.Core) zapcore.Core { return core }))).Warn("seen")
	})
	r.want("the list", r.get("/console/warnings"), 200, `"seq":1,"warnings":[{"at":`)
}
