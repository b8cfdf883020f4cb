package tracing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/internal/rpc"
	"gameserverd/internal/spantest"
	"gameserverd/wire"
)

const (
	traceHex  = "0123456789abcdef0123456789abcdef"
	parentHex = "00f067aa0ba902b7"
)

// newTracer is a Tracer that ends with the test, and its log.
func newTracer(t *testing.T, endpoint string, rates Rates) (*Tracer, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	tr, err := New(Options{Endpoint: endpoint, Rates: rates, Instance: "here", Version: "v1", Log: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		_ = tr.Close(ctx)
	})
	return tr, logs
}

// shut closes a tracer, which must send all it has.
func shut(t *testing.T, tr *Tracer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := tr.Close(ctx); err != nil {
		t.Error(err)
	}
}

func beginning(method, traceparent string) rpc.Beginning {
	return rpc.Beginning{Method: method, Parent: rpc.ParseTraceparent([]byte(traceparent)), Arrived: time.Now()}
}

// All that is told of a call arrives, with its place in the client's trace.
func TestSpanOfACall(t *testing.T) {
	r := spantest.New(t)
	tr, _ := newTracer(t, r.URL(), Rates{OneIn: 0, MaxPerSecond: 10})
	b := beginning("shop.buy", "00-"+traceHex+"-"+parentHex+"-01")
	b.UID, b.Arrived = 7, time.Now().Add(-time.Minute)
	s := tr.Begin(b)
	if s == nil || s.TraceID() != traceHex {
		t.Fatal("the client's trace is not continued")
	}
	inside := s.Child("players.change", rpc.SpanInside)
	inside.End("", nil)
	client := s.Child("duel.offer", rpc.SpanClient)
	on := rpc.ParseTraceparent([]byte(client.Traceparent()))
	client.End(wire.Aborted, wire.Errorf(wire.Aborted, "no"))
	s.Event("worker")
	s.End(wire.Internal, errors.New("disk "+strings.Repeat("full", maxText)))
	s.End("", nil) // which counts no more
	shut(t, tr)

	spans := r.Spans()
	if len(spans) != 3 {
		t.Fatalf("%+v", spans)
	}
	call := spans[2]
	if call.Name != "shop.buy" || call.Trace != traceHex || call.Parent != parentHex || call.Kind != otlp.Span_SPAN_KIND_SERVER {
		t.Errorf("%+v", call)
	}
	if took := call.End.Sub(call.Start); took < time.Minute || took > 2*time.Minute {
		t.Errorf("it took %v, its waiting included", took)
	}
	for key, want := range map[string]string{"rpc.system": "msgpack-rpc", "rpc.service": "shop", "rpc.method": "buy", "enduser.id": "7", "error.type": "internal"} {
		if call.Attributes[key] != want {
			t.Errorf("%s is %q, want %q", key, call.Attributes[key], want)
		}
	}
	if !call.Failed || !strings.HasPrefix(call.Status, "disk full") || len(call.Status) != maxText || fmt.Sprint(call.Events) != "[begun worker]" {
		t.Errorf("%+v", call)
	}
	if call.Resource["service.name"] != "gameserverd" || call.Resource["service.version"] != "v1" || call.Resource["service.instance.id"] != "here" {
		t.Errorf("%v", call.Resource)
	}
	if s := spans[0]; s.Name != "players.change" || s.Parent != call.ID || s.Trace != traceHex || s.Kind != otlp.Span_SPAN_KIND_INTERNAL || s.Failed {
		t.Errorf("%+v", s)
	}
	if s := spans[1]; s.Name != "duel.offer" || s.Parent != call.ID || s.Kind != otlp.Span_SPAN_KIND_CLIENT || s.Failed || s.Attributes["error.type"] != "aborted" {
		t.Errorf("%+v", s)
	}
	if fmt.Sprintf("%x %x %v", on.Trace, on.Parent, on.Sampled) != traceHex+" "+spans[1].ID+" true" {
		t.Errorf("the client is told %+v", on)
	}
	if st := tr.Stats(); st != (Stats{Sent: 3}) {
		t.Errorf("%+v", st)
	}
}

// A method that asks for a thousand things is no trace of a thousand spans.
func TestChildrenAreBounded(t *testing.T) {
	r := spantest.New(t)
	tr, _ := newTracer(t, r.URL(), Rates{OneIn: 1, MaxPerSecond: 10})
	s := tr.Begin(beginning("a.b", ""))
	for range 1000 {
		c := s.Child("asks", rpc.SpanInside)
		c.Child("further", rpc.SpanClient).End("", nil)
		c.End("", nil)
	}
	s.End("", nil)
	shut(t, tr)
	if n := len(r.Spans()); n != 2*maxChildren+1 {
		t.Errorf("%d spans", n)
	}
}

func TestWhichAreTraced(t *testing.T) {
	r := spantest.New(t)
	sampled, not := "00-"+traceHex+"-"+parentHex+"-01", "00-"+traceHex+"-"+parentHex+"-00"
	count := func(rates Rates, n int, traceparent string) (traced int) {
		tr, _ := newTracer(t, r.URL(), rates)
		for range n {
			if s := tr.Begin(beginning("a", traceparent)); s != nil {
				traced++
				s.End("", nil)
			}
		}
		return traced
	}
	for _, c := range []struct {
		name        string
		rates       Rates
		traceparent string
		min, max    int
	}{
		{"every one", Rates{1, 1e6}, "", 10_000, 10_000},
		{"none", Rates{0, 1e6}, "", 0, 0},
		{"one in ten", Rates{10, 1e6}, "", 700, 1300},
		{"the client says so", Rates{0, 1e6}, sampled, 10_000, 10_000},
		{"the client says no", Rates{1, 1e6}, not, 0, 0},
		{"what is no traceparent is none", Rates{1, 1e6}, sampled + "x", 10_000, 10_000},
		{"bounded though the client says so", Rates{1, 20}, sampled, 20, 200}, // the test may last some seconds
		{"bounded though all are wanted", Rates{1, 20}, "", 20, 200},
	} {
		if n := count(c.rates, 10_000, c.traceparent); n < c.min || n > c.max {
			t.Errorf("%s: %d of 10000", c.name, n)
		}
	}
}

// The bound is that of a second, and a reload changes it.
func TestRateOfASecond(t *testing.T) {
	var l limits
	l.set(Rates{OneIn: 1, MaxPerSecond: 3})
	now := time.Unix(1_800_000_000, 0)
	allowed := func(n int) (yes int) {
		for range n {
			if l.allowed(now) {
				yes++
			}
		}
		return yes
	}
	if n := allowed(10); n != 3 {
		t.Errorf("%d in the first second", n)
	}
	now = now.Add(time.Second)
	if n := allowed(10); n != 3 {
		t.Errorf("%d in the second second", n)
	}
	l.set(Rates{OneIn: 1, MaxPerSecond: 5})
	if n := allowed(10); n != 2 {
		t.Errorf("%d more after it was raised to 5", n)
	}
	now = now.Add(time.Second)
	if n := allowed(10); n != 5 {
		t.Errorf("%d of 5", n)
	}
	if n := l.limited.Load(); n != 7+7+8+5 {
		t.Errorf("%d were counted as limited", n)
	}
}

// messages are the log's lines of a message.
func messages(logs *observer.ObservedLogs, message string) int {
	return logs.FilterMessage(message).Len()
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	over := time.After(15 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("never: %s", what)
		}
	}
}

// Nobody there: calls go on, the log says it once, what does not fit the queue is
// dropped and counted, and what does is sent when somebody is there again.
func TestEndpointGoesAndComesBack(t *testing.T) {
	r := spantest.New(t)
	tr, logs := newTracer(t, r.URL(), Rates{OneIn: 1, MaxPerSecond: 1e6})
	r.Stop()
	tr.Begin(beginning("first", "")).End("", nil)
	eventually(t, "a line says that it is away", func() bool { return messages(logs, "spans cannot be sent") == 1 })
	const n = maxQueue + 1000
	began := time.Now()
	for range n {
		tr.Begin(beginning("while.away", "")).End("", nil)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("%d spans took %v", n, took)
	}
	st := tr.Stats()
	if st.Dropped < 1000-1 || st.Waiting == 0 {
		t.Errorf("%+v", st)
	}
	r.Start()
	eventually(t, "a line says that it is back", func() bool { return messages(logs, "spans are sent again") == 1 })
	r.Wait(1, spantest.Named("first"))
	eventually(t, "everything is sent", func() bool { st := tr.Stats(); return st.Waiting == 0 && st.Sent+st.Dropped == n+1 })
	if got := len(r.Spans()); uint64(got) != tr.Stats().Sent {
		t.Errorf("%d came, %+v", got, tr.Stats())
	}
	if messages(logs, "spans cannot be sent") != 1 {
		t.Error("more than one line says that it is away")
	}
}

// An endpoint that refuses for good costs these spans, one that has too much to do
// does not.
func TestEndpointRefuses(t *testing.T) {
	r := spantest.New(t)
	tr, logs := newTracer(t, r.URL(), Rates{OneIn: 1, MaxPerSecond: 1e6})
	r.Answer(http.StatusUnauthorized)
	tr.Begin(beginning("refused", "")).End("", nil)
	eventually(t, "it is counted", func() bool { return tr.Stats().Failed == 1 })
	line := logs.FilterMessage("spans cannot be sent").All()
	if len(line) != 1 || line[0].ContextMap()["error"] != "the endpoint answers 401 Unauthorized" {
		t.Errorf("%v", line)
	}
	r.Answer(http.StatusServiceUnavailable)
	seen := len(r.Requests())
	tr.Begin(beginning("later", "")).End("", nil)
	eventually(t, "it is tried", func() bool { return len(r.Requests()) > seen })
	r.Answer(http.StatusOK)
	r.Wait(1, spantest.Named("later"))
	eventually(t, "it is counted", func() bool { return tr.Stats() == Stats{Sent: 1, Failed: 1} })
	r.Reject(1)
	tr.Begin(beginning("partly", "")).End("", nil)
	eventually(t, "a line tells of it", func() bool { return messages(logs, "some spans were refused") == 1 })
	if n := len(r.Requests()); n > seen+8 {
		t.Errorf("%d requests", n)
	}
}

// The end sends what there is, and no endpoint can hold it up.
func TestCloseIsBounded(t *testing.T) {
	r := spantest.New(t)
	tr, _ := newTracer(t, r.URL(), Rates{OneIn: 1, MaxPerSecond: 1e6})
	for range 3 * maxBatch {
		tr.Begin(beginning("last", "")).End("", nil)
	}
	shut(t, tr)
	if n := len(r.Spans()); n != 3*maxBatch {
		t.Errorf("%d spans came", n)
	}
	tr.Begin(beginning("too.late", "")).End("", nil)
	if st := tr.Stats(); st.Dropped != 1 {
		t.Errorf("%+v", st)
	}

	r.Hold()
	tr, logs := newTracer(t, r.URL(), Rates{OneIn: 1, MaxPerSecond: 1e6})
	for range 10 {
		tr.Begin(beginning("held", "")).End("", nil)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := tr.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if st := tr.Stats(); st.Dropped != 10 || messages(logs, "spans were lost at the end") != 1 {
		t.Errorf("%+v, %v", st, logs.All())
	}
}

// What is in the URL goes where it belongs, and never into the log.
func TestEndpointWithAPassword(t *testing.T) {
	r := spantest.New(t)
	tr, logs := newTracer(t, strings.Replace(r.URL(), "http://", "http://me:secret@", 1)+"?token=hidden", Rates{OneIn: 1, MaxPerSecond: 10})
	tr.Begin(beginning("a", "")).End("", nil)
	r.Wait(1, spantest.Named("a"))
	req := r.Requests()[0]
	if user, password, _ := req.BasicAuth(); user != "me" || password != "secret" || req.URL.String() != "/v1/traces?token=hidden" {
		t.Errorf("%s %s %s", user, password, req.URL)
	}
	r.Stop()
	tr.Begin(beginning("b", "")).End("", nil)
	eventually(t, "a line says that it is away", func() bool { return messages(logs, "spans cannot be sent") == 1 })
	if text := fmt.Sprint(logs.All()); strings.Contains(text, "secret") || strings.Contains(text, "hidden") {
		t.Error(text)
	}
	if _, err := New(Options{Endpoint: "http://me:secret@[", Log: zap.NewNop()}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// The library's own errors are lines of our log.
func TestErrorsOfTheLibrary(t *testing.T) {
	_, logs := newTracer(t, "http://127.0.0.1:9/", Rates{})
	otel.Handle(errors.New("odd"))
	if line := logs.FilterMessage("opentelemetry").All(); len(line) != 1 || line[0].ContextMap()["error"] != "odd" {
		t.Errorf("%v", logs.All())
	}
}

// What is missing is told of once a minute.
func TestMissingSpansAreToldOf(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	var limited uint64
	s, err := newSender("http://127.0.0.1:9/", func() uint64 { return limited }, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	for _, step := range []struct {
		limited, dropped uint64
		after            time.Duration
		lines            int
	}{{0, 0, 0, 0}, {5, 0, time.Second, 1}, {9, 9, time.Second, 1}, {9, 9, time.Minute, 2}, {9, 9, time.Hour, 2}} {
		now = now.Add(step.after)
		limited = step.limited
		s.dropped.Store(step.dropped)
		s.tell(now)
		if logs.Len() != step.lines {
			t.Errorf("%+v: %v", step, logs.All())
		}
	}
	if got := logs.All()[1].ContextMap(); got["limited"] != uint64(4) || got["dropped"] != uint64(9) {
		t.Errorf("%v", got)
	}
}

func TestRunOfATask(t *testing.T) {
	r := spantest.New(t)
	tr, _ := newTracer(t, r.URL(), Rates{OneIn: 1, MaxPerSecond: 1})
	ctx, end := tr.BeginRun(context.Background(), Run{Task: "reward.daily", ID: "17", Queue: "low", Attempt: 2, Due: time.Now()})
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		t.Error("the context has no span")
	}
	end(wire.Errorf(wire.NotFound, "no such player"))
	tr.SetRates(Rates{OneIn: 0, MaxPerSecond: 10})
	_, end = tr.BeginRun(context.Background(), Run{Task: "reward.other"})
	end(nil)
	shut(t, tr)
	spans := r.Spans()
	if len(spans) != 1 {
		t.Fatalf("%+v", spans)
	}
	if s := spans[0]; s.Name != "reward.daily" || s.Parent != "" || !s.Failed || s.Status != "no such player" || s.Attributes["task.id"] != "17" ||
		s.Attributes["task.queue"] != "low" || s.Kind != otlp.Span_SPAN_KIND_CONSUMER {
		t.Errorf("%+v", s)
	}
}

// A call that is not traced costs no memory.
func TestNotTracedAllocatesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tr, _ := newTracer(t, "http://"+l.Addr().String(), Rates{OneIn: 1e9, MaxPerSecond: 1})
	b := beginning("a.b", "")
	if n := testing.AllocsPerRun(1000, func() { _ = tr.Begin(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNotTraced(b *testing.B) {
	tr, err := New(Options{Endpoint: "http://127.0.0.1:9/", Rates: Rates{OneIn: 1e9, MaxPerSecond: 1}, Log: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	defer tr.Close(context.Background())
	at := beginning("a.b", "")
	for b.Loop() {
		_ = tr.Begin(at)
	}
}

func BenchmarkTraced(b *testing.B) {
	tr, err := New(Options{Endpoint: "http://127.0.0.1:9/", Rates: Rates{OneIn: 1, MaxPerSecond: 1e6}, Log: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	defer tr.Close(context.Background())
	at := beginning("a.b", "")
	b.ReportAllocs()
	for b.Loop() {
		if s := tr.Begin(at); s != nil {
			s.End("", nil)
		}
	}
}
