package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"gameserverd/wire"
)

func sampleResult() *Result {
	t := newTally()
	for us := int64(1); us <= 1000; us++ {
		_ = t.latency.RecordValue(us * 1000)
	}
	return &Result{
		Addr: "127.0.0.1:5700", Method: "sum", Params: json.RawMessage("[1,2]"), Connections: 10, Loops: 1, Depth: 1,
		Seconds: 10, Warmup: 1, Throughput: 151204.4, Answered: 1512044, OK: 1512000, LatencyFrom: "send", Latency: t.summary(),
		FirstResult: json.RawMessage("3"), Errors: map[string]uint64{"unavailable": 4, "resource_exhausted": 40},
		FirstError: "resource_exhausted: slow down", Lost: 2, Closed: map[string]int{"sys.closing rate_limited": 2},
		CPUSeconds: 9.3, CPUs: 0.93,
	}
}

func TestTextReport(t *testing.T) {
	var b strings.Builder
	if err := sampleResult().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := `sum[1,2] on 127.0.0.1:5700: 10 connections, 1 outstanding on each, 10.0 s after 1.0 s of warm-up

  throughput    151,204 calls/s  (1,512,044 answered in 10.0 s)
  latency       p50 500 µs  p90 900 µs  p99 990 µs  p99.9 999 µs  max 1.00 ms
                from sending to answer: a stalled server is asked less, so tails are a lower bound (--rate has none of this)
  first result  3
  errors        resource_exhausted 40, unavailable 4
  first error   resource_exhausted: slow down
  lost          2 calls whose connection ended before the answer
  closed        sys.closing rate_limited 2
  this process  0.93 CPUs; busy nearly all the time: it may be what limits the throughput (--loops 2)
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}

func TestJSONReport(t *testing.T) {
	var b strings.Builder
	if err := sampleResult().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"calls_per_second", "answered", "ok", "wrong", "lost", "unanswered", "not_sent", "errors", "first_result",
		"latency_from", "connections_closed", "connections_failed", "cpu_seconds", "cpus", "interrupted", "seconds"} {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	latency, _ := got["latency_us"].(map[string]any)
	for _, name := range []string{"min", "mean", "p50", "p90", "p99", "p99.9", "max"} {
		if _, ok := latency[name].(float64); !ok {
			t.Errorf("latency_us.%s is missing", name)
		}
	}
	if got["first_result"] != 3.0 {
		t.Errorf("first_result is %v", got["first_result"])
	}
}

func TestNumbersForPeople(t *testing.T) {
	for us, want := range map[float64]string{
		0: "0.00 µs", 9.5: "9.50 µs", 62.34: "62.3 µs", 999.4: "999 µs", 999.6: "1.00 ms", 12_345: "12.3 ms", 999_499: "999 ms",
		999_600: "1.00 s", 61e6: "61.0 s",
	} {
		if got := micros(us); got != want {
			t.Errorf("%v µs: %q, want %q", us, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestProgressLine(t *testing.T) {
	for want, p := range map[string]Progress{
		"connecting: 5 of 10 ready, 1 failed": {Phase: phaseConnecting, Ready: 5, Settled: 6, All: 10},
		"measuring  3 s: 1,000 calls/s, p50 62.0 µs, p99 110 µs, 2 errors, 10 connections": {Phase: phaseMeasuring, Elapsed: 3 * time.Second,
			Ready: 10, Settled: 10, All: 10, Throughput: 1000, P50: 62, P99: 110, Errors: 2},
	} {
		if got := p.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestOptionsReportAllProblems(t *testing.T) {
	_, err := Options{Connections: -1, Depth: -1, Rate: -1, Duration: -1, Method: strings.Repeat("m", 256), Expect: wire.Raw{0xc1}, Params: wire.Raw{0xc0}}.resolve()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, key := range []string{"connections", "depth", "rate", "duration", "method", "params", "expect"} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
	if _, err := (Options{Connections: 1 << 30}).resolve(); err == nil || !strings.Contains(err.Error(), "descriptors") {
		t.Errorf("more connections than descriptors: %v", err)
	}
	o, err := Options{Login: "dev:{i}"}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	if o.Addr != "127.0.0.1:5700" || o.Connections != 10 || o.Depth != 1 || o.Duration != 10*time.Second || o.Warmup != time.Second ||
		o.Method != "sum" || !bytes.Equal(o.Params, []byte{0x92, 1, 2}) || o.Loops != 1 {
		t.Errorf("defaults: %+v", o)
	}
	if got := o.token(6); got != "dev:7" {
		t.Errorf("the token of the seventh connection is %q", got)
	}
	if o, _ := (Options{Rate: 5}).resolve(); o.Depth != defaultRateDepth {
		t.Errorf("depth with a rate: %d", o.Depth)
	}
	if o, _ := (Options{Total: 5}).resolve(); o.Duration != 0 {
		t.Errorf("a total is also bounded by %v", o.Duration)
	}
}

func TestMergeAddsUp(t *testing.T) {
	expect, err := newExpectation(wire.Raw{3})
	if err != nil {
		t.Fatal(err)
	}
	sum := newTally()
	for i, result := range []wire.Raw{{3}, {4}, {3}} {
		part := newTally()
		part.answered(0, int64(i+1)*1000, &wire.Message{Result: result}, expect)
		part.lost, part.unasked, part.notifications, part.requests, part.seen = 1, 2, 3, 4, 5
		sum.merge(part)
		part.reset()
		if part.calls() != 0 || part.latency.TotalCount() != 0 || part.seen != 0 || part.firstResult != nil {
			t.Fatalf("not empty after reset: %+v", part)
		}
	}
	if sum.ok != 2 || sum.wrong != 1 || sum.calls() != 3 || sum.failures() != 1+3 || sum.latency.TotalCount() != 3 || sum.last != 3000 ||
		sum.lost != 3 || sum.unasked != 6 || sum.notifications != 9 || sum.requests != 12 || sum.seen != 15 || sum.firstWrong[0] != 4 {
		t.Errorf("%+v", sum)
	}
}
