package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"

	"gameserverd/client"
	"gameserverd/internal/config"
	"gameserverd/internal/rpc"
	"gameserverd/internal/spantest"
	"gameserverd/internal/tasks"
	"gameserverd/wire"
)

const (
	aTrace  = "0af7651916cd43dd8448eb211c80319c"
	aParent = "b7ad6b7169203331"
	sampled = "00-" + aTrace + "-" + aParent + "-01"
)

// traced is a configuration whose spans go to r: those that clients ask for.
func traced(t *testing.T, r *spantest.Receiver) *config.Config {
	cfg := testConfig(t.TempDir())
	cfg.Tracing = config.Tracing{Endpoint: r.URL(), OneIn: 0, MaxPerSecond: 1000}
	cfg.Metrics.Instance = "here"
	return cfg
}

// ask calls a method with a traceparent, over a connection of its own way.
func ask(t *testing.T, c *client.Client, traceparent, method string, params ...any) error {
	t.Helper()
	return c.Call(client.WithTraceparent(testContext(t), traceparent), method, nil, params...)
}

// of is a condition for spans of one trace by name.
func of(trace, name string) func(spantest.Span) bool {
	return func(s spantest.Span) bool { return s.Trace == trace && s.Name == name }
}

// What a client traces is traced on: the call, the change of the player inside of it,
// and the call to another client, which is told.
func TestTraceOfACall(t *testing.T) {
	r := spantest.New(t)
	cfg := traced(t, r)
	cfg.Game.StartGold = 1000
	s := start(t, cfg, nil)
	a, b := s.login(1), s.login(2)
	told := make(chan string, 1)
	client.HandleFunc(b, "duel.offer", func(ctx context.Context, from uint64) (bool, error) {
		told <- client.Traceparent(ctx)
		return true, nil
	})
	if err := ask(t, a, sampled, "shop.buy", "sword", 1); err != nil {
		t.Fatal(err)
	}
	call := r.Wait(1, of(aTrace, "shop.buy"))[0]
	if call.Parent != aParent || call.Kind != otlp.Span_SPAN_KIND_SERVER || call.Attributes["enduser.id"] != "1" || call.Failed ||
		call.Resource["service.instance.id"] != "here" || fmt.Sprint(call.Events) != "[begun]" {
		t.Errorf("%+v", call)
	}
	change := r.Wait(1, of(aTrace, "players.change"))[0]
	if change.Parent != call.ID || change.Start.Before(call.Start) || change.End.After(call.End) {
		t.Errorf("%+v in %+v", change, call)
	}
	if err := ask(t, a, sampled, "duel.challenge", 2); err != nil {
		t.Fatal(err)
	}
	challenge := r.Wait(1, of(aTrace, "duel.challenge"))[0]
	offer := r.Wait(1, of(aTrace, "duel.offer"))[0]
	if offer.Parent != challenge.ID || offer.Kind != otlp.Span_SPAN_KIND_CLIENT || offer.Attributes["enduser.id"] != "2" {
		t.Errorf("%+v in %+v", offer, challenge)
	}
	if got := <-told; got != "00-"+aTrace+"-"+offer.ID+"-01" {
		t.Errorf("the other client was told %q", got)
	}
}

// The kinds of calls, and how they end: what a worker did, errors of the caller and of
// the server, a panic, a time that was over, and a call that was refused before it
// began. One that is not sampled has no span.
func TestHowTracedCallsEnd(t *testing.T) {
	r := spantest.New(t)
	s := start(t, traced(t, r), only(
		blocking("t.worker", func(c *rpc.Call) error { return nil }),
		plain("t.refuses", func(c *rpc.Call) error { return rpc.Errorf(rpc.NotFound, "no such thing") }),
		plain("t.fails", func(c *rpc.Call) error { return errors.New("the disk is full") }),
		plain("t.panics", func(c *rpc.Call) error { panic("oh") }),
		blocking("t.slow", func(c *rpc.Call) error { <-c.Context().Done(); return nil }),
	), "method failed", "method panicked")
	c := s.dial()
	for _, name := range []string{"t.worker", "t.refuses", "t.fails", "t.panics"} {
		_ = ask(t, c, sampled, name)
	}
	short, cancel := context.WithTimeout(client.WithTraceparent(testContext(t), sampled), 20*time.Millisecond)
	defer cancel()
	_ = c.Call(short, "t.slow", nil)
	_ = ask(t, c, sampled, "shop.buy", "sword", 1)
	_ = ask(t, c, sampled, "there.is.none")
	_ = ask(t, c, strings.TrimSuffix(sampled, "1")+"0", "t.refuses")
	_ = ask(t, c, "", "t.refuses")
	for _, want := range []struct {
		name, code, status string
		failed             bool
		events             string
	}{
		{"t.worker", "", "", false, "[begun worker]"},
		{"t.refuses", "not_found", "", false, "[begun]"},
		{"t.fails", "internal", "the disk is full", true, "[begun]"},
		{"t.panics", "internal", "panic: oh", true, "[begun]"},
		{"t.slow", "deadline_exceeded", "deadline_exceeded", true, "[begun worker]"},
		{"shop.buy", "unauthenticated", "", false, "[begun]"},
	} {
		got := r.Wait(1, of(aTrace, want.name))[0]
		if got.Attributes["error.type"] != want.code || got.Failed != want.failed || got.Status != want.status || fmt.Sprint(got.Events) != want.events || got.Parent != aParent {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if report := s.drain(); !report.Clean {
		t.Errorf("%+v", report)
	}
	if n := len(r.Spans()); n != 6 {
		t.Errorf("%d spans: %+v", n, r.Spans())
	}
}

// plain is a method, for every client, that runs fn on the loop.
func plain(name string, fn func(c *rpc.Call) error) rpc.Method {
	return rpc.Method{Name: name, Public: true, Sync: func(c *rpc.Call, _ *rpc.Args, out []byte) ([]byte, error) {
		return wire.AppendNil(out), fn(c)
	}}
}

// A reload changes how many are traced, and a call without a traceparent then has the
// trace id that its log lines have.
func TestReloadChangesWhatIsTraced(t *testing.T) {
	r := spantest.New(t)
	cfg := traced(t, r)
	ids := make(chan string, 10)
	s := start(t, cfg, only(plain("t.id", func(c *rpc.Call) error { ids <- c.Trace() + c.Traceparent(); return nil })))
	c := s.dial()
	if err := ask(t, c, "", "t.id"); err != nil {
		t.Fatal(err)
	}
	if id := <-ids; len(id) != 32 {
		t.Errorf("an id without a span is %q", id)
	}
	next := *cfg
	next.Tracing.OneIn = 1
	if _, restart, err := s.Reload(&next); err != nil || len(restart) > 0 {
		t.Fatal(err, restart)
	}
	if err := ask(t, c, "", "t.id"); err != nil {
		t.Fatal(err)
	}
	got := r.Wait(1, spantest.Named("t.id"))
	if id := <-ids; id != got[0].Trace+"00-"+got[0].Trace+"-"+got[0].ID+"-01" || len(got) != 1 || got[0].Parent != "" {
		t.Errorf("%s is not %+v", id, got)
	}
	next.Tracing.MaxPerSecond = 1
	if _, _, err := s.Reload(&next); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	asked := 0
	eventually(t, "a ping is traced", func() bool { // the call above may have been this second's
		_ = ask(t, c, sampled, "sys.ping")
		asked++
		return asked >= 50 && slices.ContainsFunc(r.Spans(), spantest.Named("sys.ping"))
	})
	_ = s.drain()
	pings := len(r.Wait(1, spantest.Named("sys.ping")))
	if most := int(time.Since(began).Seconds()) + 2; pings > most {
		t.Errorf("%d were traced, not more than %d may be", pings, most)
	}
}

// A drain sends what is there, the calls that it abandons among it, and no endpoint
// holds it up.
func TestDrainSendsSpans(t *testing.T) {
	r := spantest.New(t)
	cfg := traced(t, r)
	cfg.Shutdown.Deadline = 300 * time.Millisecond
	begun, free := make(chan struct{}, 1), make(chan struct{})
	defer close(free)
	s := start(t, cfg, only(
		plain("t.done", func(c *rpc.Call) error { return nil }),
		blocking("t.stuck", func(c *rpc.Call) error { begun <- struct{}{}; <-free; return nil }),
	), "call abandoned")
	c := s.dial()
	go func() { _ = c.Call(client.WithTraceparent(context.Background(), sampled), "t.stuck", nil) }()
	<-begun
	if err := ask(t, s.dial(), sampled, "t.done"); err != nil {
		t.Fatal(err)
	}
	s.drain()
	done, stuck := r.Spans(), 0
	for _, span := range done {
		if span.Name == "t.stuck" && span.Attributes["error.type"] == "canceled" {
			stuck++
		}
	}
	if len(done) != 2 || stuck != 1 {
		t.Errorf("%+v", done)
	}
}

// An endpoint that takes requests and never answers costs the end half a second.
func TestDrainDoesNotWaitForTheEndpoint(t *testing.T) {
	r := spantest.New(t)
	r.Hold()
	s := start(t, traced(t, r), nil, "spans were lost at the end")
	if err := ask(t, s.dial(), sampled, "sys.ping"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if report := s.drain(); !report.Clean {
		t.Errorf("%+v", report)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the drain took %v", took)
	}
	if lines := s.logs.FilterMessage("spans were lost at the end").All(); len(lines) != 1 {
		t.Errorf("%v", lines)
	}
}

// A run of a task has a span of its own.
func TestTraceOfATask(t *testing.T) {
	r := spantest.New(t)
	cfg := traced(t, r)
	cfg.Tracing.OneIn = 1
	def := &tasks.Definition{Name: "test.fails", Params: []string{}, Retries: 0, Bind: func([]byte) (func(*tasks.Call) ([]byte, error), error) {
		return func(c *tasks.Call) ([]byte, error) { return nil, errors.New("no luck") }, nil
	}}
	s := startWith(t, cfg, Options{Tasks: []*tasks.Definition{def}}, "task given up: it is kept in the archive")
	eventually(t, "the tables are there", func() bool { ok, _ := s.Ready(); return ok })
	receipt, err := tasks.Apply(s.tasks, tasks.Make[struct{}](def))
	if err != nil {
		t.Fatal(err)
	}
	run := r.Wait(1, spantest.Named("test.fails"))[0]
	if run.Attributes["task.id"] != string(receipt.ID) || run.Attributes["task.queue"] != "default" || !run.Failed || run.Status != "no luck" || run.Kind != otlp.Span_SPAN_KIND_CONSUMER {
		t.Errorf("%+v", run)
	}
}

// Without an endpoint there is nobody to ask.
func TestTracingIsOff(t *testing.T) {
	s := start(t, testConfig(t.TempDir()), only(plain("t.id", func(c *rpc.Call) error {
		if c.Traceparent() != "" || c.Trace() != aTrace {
			return errors.New("it is traced")
		}
		return nil
	})))
	if s.tracer != nil || s.callTracer() != nil || s.traceRun() != nil {
		t.Error("there is a tracer")
	}
	if err := ask(t, s.dial(), sampled, "t.id"); err != nil {
		t.Error(err)
	}
}

// What a client reports of a failure leads to everything there is of it: the error
// answer, the log, the exemplar of the metric and the span have the same trace id,
// the client's own or, of a call without one, one of ours.
func TestOneTraceIDJoinsEverything(t *testing.T) {
	for name, traceparent := range map[string]string{"the client's": sampled, "ours": ""} {
		t.Run(name, func(t *testing.T) {
			r := spantest.New(t)
			cfg := traced(t, r)
			cfg.Listen.Admin = "127.0.0.1:0"
			cfg.Tracing.OneIn = 1
			s := start(t, cfg, only(plain("t.fails", func(c *rpc.Call) error {
				c.Log().Info("a line of the handler's own")
				return errors.New("the disk is full")
			})), "method failed")
			err := ask(t, s.dial(), traceparent, "t.fails")
			var answer *client.Error
			if !errors.As(err, &answer) || answer.Code != client.Internal {
				t.Fatal(err)
			}
			var data struct {
				Trace string `msgpack:"trace"`
			}
			raw, _ := answer.Data.(wire.Raw)
			if err := wire.Unmarshal(raw, &data); err != nil {
				t.Fatalf("%v in %#v", err, answer.Data)
			}
			id := data.Trace
			if len(id) != 32 || traceparent != "" && id != aTrace {
				t.Errorf("the client is told the trace %q", id)
			}
			if span := r.Wait(1, spantest.Named("t.fails"))[0]; span.Trace != id || !span.Failed {
				t.Errorf("the span is %+v", span)
			}
			for _, message := range []string{"method failed", "a line of the handler's own"} {
				if lines := s.logs.FilterMessage(message).All(); len(lines) != 1 || lines[0].ContextMap()["trace"] != id || lines[0].ContextMap()["method"] != "t.fails" {
					t.Errorf("the log has %v", lines)
				}
			}
			if want := `# {trace_id="` + id + `"}`; !strings.Contains(exemplarsOf(t, s, "t.fails"), want) {
				t.Errorf("no exemplar %s:\n%s", want, exemplarsOf(t, s, "t.fails"))
			}
		})
	}
}

// exemplarsOf are the lines of a method's run time in OpenMetrics.
func exemplarsOf(t *testing.T, s *testServer, method string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, "http://"+s.AdminAddr()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "gameserverd_rpc_run_seconds_bucket") && strings.Contains(line, `"`+method+`"`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}
