// Package spantest is a receiver of spans over HTTP, for tests: what a collector of
// OpenTelemetry would be. It keeps what comes and can be told to refuse it.
package spantest

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is a span that has come.
type Span struct {
	Name       string
	Kind       otlp.Span_SpanKind
	Trace      string // 32 hex digits
	ID, Parent string // 16 hex digits; Parent "" at the root
	Start, End time.Time
	Attributes map[string]string
	Events     []string
	Failed     bool   // its status is an error
	Status     string // the status' message
	Resource   map[string]string
}

// Receiver takes spans on a port of its own. Any goroutine.
type Receiver struct {
	t testing.TB

	mu       sync.Mutex
	server   *httptest.Server
	addr     string
	answer   int           // 0: 200
	rejected int64         // spans that it says it has refused
	hold     chan struct{} // nil: it answers at once
	spans    []Span
	requests []*http.Request
}

// New starts a receiver, which ends with the test.
func New(t testing.TB) *Receiver {
	r := &Receiver{t: t}
	r.Start()
	t.Cleanup(r.Stop)
	return r
}

// URL is where it listens, as tracing.endpoint.
func (r *Receiver) URL() string { return "http://" + r.addr + "/v1/traces" }

// Start listens again, on the same port, after Stop.
func (r *Receiver) Start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.addr
	if at == "" {
		at = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = l.Addr().String()
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	_ = r.server.Listener.Close()
	r.server.Listener = l
	r.server.Start()
}

// Stop ends it; nobody answers then.
func (r *Receiver) Stop() {
	r.Release()
	r.mu.Lock()
	server := r.server
	r.server = nil
	r.mu.Unlock()
	if server != nil {
		server.Close()
	}
}

// Answer makes it answer with an HTTP status, and keep nothing, unless that is 200.
func (r *Receiver) Answer(status int) { r.mu.Lock(); defer r.mu.Unlock(); r.answer = status }

// Reject makes it say that n spans of each request were refused.
func (r *Receiver) Reject(n int64) { r.mu.Lock(); defer r.mu.Unlock(); r.rejected = n }

// Hold lets requests wait until Release.
func (r *Receiver) Hold() { r.mu.Lock(); defer r.mu.Unlock(); r.hold = make(chan struct{}) }

// Release ends Hold.
func (r *Receiver) Release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hold != nil {
		close(r.hold)
		r.hold = nil
	}
}

// Spans are those that have come so far.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Requests are those that have come so far, without their bodies.
func (r *Receiver) Requests() []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Wait waits until at least n spans have come that fit, and returns those.
func (r *Receiver) Wait(n int, fits func(Span) bool) []Span {
	r.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	over := time.After(15 * time.Second)
	for {
		got := slices.DeleteFunc(r.Spans(), func(s Span) bool { return !fits(s) })
		if len(got) >= n {
			return got
		}
		select {
		case <-tick.C:
		case <-over:
			r.t.Fatalf("%d spans have come that fit, not %d; all: %+v", len(got), n, r.Spans())
		}
	}
}

// Named is a condition for Wait.
func Named(name string) func(Span) bool { return func(s Span) bool { return s.Name == name } }

func (r *Receiver) serve(w http.ResponseWriter, req *http.Request) {
	body := io.Reader(req.Body)
	if req.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(req.Body)
		if err != nil {
			r.t.Error(err)
			return
		}
		body = z
	}
	b, err := io.ReadAll(body)
	var all collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(b, &all)
	}
	if err != nil {
		r.t.Errorf("no request of OTLP: %v", err)
		return
	}
	r.mu.Lock()
	answer, rejected, hold := r.answer, r.rejected, r.hold
	r.requests = append(r.requests, req)
	r.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-req.Context().Done():
			return
		}
	}
	if answer != 0 && answer != http.StatusOK {
		http.Error(w, "told to", answer)
		return
	}
	r.keep(&all)
	reply := &collector.ExportTraceServiceResponse{}
	if rejected > 0 {
		reply.PartialSuccess = &collector.ExportTracePartialSuccess{RejectedSpans: rejected, ErrorMessage: "told to"}
	}
	out, _ := proto.Marshal(reply)
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(out)
}

func (r *Receiver) keep(all *collector.ExportTraceServiceRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range all.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				span := Span{
					Name: s.Name, Kind: s.Kind, Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
					Start: time.Unix(0, int64(s.StartTimeUnixNano)), End: time.Unix(0, int64(s.EndTimeUnixNano)),
					Attributes: values(s.Attributes), Resource: values(of.Resource.Attributes),
					Failed: s.Status.GetCode() == otlp.Status_STATUS_CODE_ERROR, Status: s.Status.GetMessage(),
				}
				for _, e := range s.Events {
					span.Events = append(span.Events, e.Name)
				}
				r.spans = append(r.spans, span)
			}
		}
	}
}

// values are attributes as text.
func values(list []*common.KeyValue) map[string]string {
	out := make(map[string]string, len(list))
	for _, kv := range list {
		switch v := kv.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			out[kv.Key] = v.StringValue
		default:
			out[kv.Key] = kv.Value.String()
		}
	}
	return out
}
