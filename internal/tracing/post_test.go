package tracing

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// whatEndpoint answers every request with 200 and this body.
func whatEndpoint(t *testing.T, contentType, body string) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/v1/traces"
}

// Answers that say 200: what they say of the spans counts, and no more than one line
// of the log tells of it, however long it goes on.
func TestReceiptsAreRead(t *testing.T) {
	const batches, perBatch = 3, maxBatch // which is sent at once, and whole
	for _, c := range []struct {
		name, contentType, body string
		failed                  uint64 // of a batch
		line, why               string // of the log; "" none
	}{
		{"nothing", "", "", 0, "", ""},
		{"a receipt", "application/x-protobuf", "\x0a\x00", 0, "", ""},
		{"some were refused", "application/x-protobuf", "\x0a\x06\x08\x03\x12\x02no", 3, "some spans were refused", "no"},
		{"some were refused, in JSON", "application/json; charset=utf-8", `{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no","more":1}}`, 3, "some spans were refused", "no"},
		{"more than there were", "application/x-protobuf", "\x0a\x03\x08\xe8\x07", perBatch, "some spans were refused", ""},
		{"fewer than none", "application/json", `{"partialSuccess":{"rejectedSpans":"-3"}}`, 0, "", ""},
		{"a remark", "application/x-protobuf", "\x0a\x04\x12\x02hm", 0, "the endpoint of spans has a remark", "hm"},
		{"words", "text/plain", "OK", 0, "", ""},
		{"a web page", "text/html; charset=utf-8", "<html>hello</html>", perBatch, "spans cannot be sent", "the endpoint answers 200 OK with a web page"},
		{"a web page by its looks", "", "\n<!DOCTYPE html><html>", perBatch, "spans cannot be sent", "the endpoint answers 200 OK with a web page"},
		{"a web page that says it is a receipt", "application/x-protobuf", "<html>hello</html>", perBatch, "spans cannot be sent", "the endpoint answers 200 OK with what is no application/x-protobuf of OTLP"},
		{"half of JSON", "application/json", `{"partial`, perBatch, "spans cannot be sent", "the endpoint answers 200 OK with what is no application/json of OTLP"},
		{"endless", "application/x-protobuf", strings.Repeat("\xff", 2*maxReceipt), perBatch, "spans cannot be sent", "the endpoint answers 200 OK with what is no application/x-protobuf of OTLP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr, logs := newTracer(t, whatEndpoint(t, c.contentType, c.body), Rates{OneIn: 1, MaxPerSecond: 1e6})
			want := Stats{}
			for range batches {
				for range perBatch {
					tr.Begin(beginning("a", "")).End("", nil)
				}
				want.Failed += c.failed
				want.Sent += perBatch - c.failed
				eventually(t, "it is counted", func() bool { st := tr.Stats(); return st.Failed+st.Sent == want.Failed+want.Sent })
			}
			if got := tr.Stats(); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			var lines []string
			for _, e := range logs.All() {
				said := e.ContextMap()
				lines = append(lines, e.Message)
				if why, _ := said["why"].(string); e.Message != c.line || why != c.why && said["error"] != c.why {
					t.Errorf("the log has %q %v", e.Message, said)
				}
			}
			if most := min(len(c.line), 1); len(lines) != most {
				t.Errorf("the log has %d lines, want %d: %q", len(lines), most, lines)
			}
		})
	}
}

// An endpoint behind which one of two answers with a page is no flood of lines.
func TestAnEndpointThatComesAndGoes(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	s, err := newSender("http://127.0.0.1:9/", func() uint64 { return 0 }, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		s.left(errors.New("a page"))
		s.back()
	}
	if logs.Len() != 2 { // that it is away, and that it is back
		t.Errorf("%d lines: %v", logs.Len(), logs.All())
	}
	s.left(errors.New("a page"))
	s.failing.last = s.failing.last.Add(-failingEvery)
	s.left(errors.New("a page")) // and stays away: that is worth a line
	s.left(errors.New("a page"))
	if n := messages(logs, "spans cannot be sent"); n != 2 {
		t.Errorf("%d lines that it is away, want 2", n)
	}
}

func TestSeldom(t *testing.T) {
	var s seldom
	now := time.Unix(1_800_000_000, 0)
	for _, step := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {0, false}, {time.Hour - 1, false}, {1, true}, {time.Minute, false}} {
		now = now.Add(step.after)
		if got := s.now(now, time.Hour); got != step.want {
			t.Errorf("%v later: %v", step.after, got)
		}
	}
}

// Whatever comes as a receipt, it is read without harm.
func FuzzReceipt(f *testing.F) {
	for _, kind := range []string{"application/x-protobuf", "application/json", "text/html", ";"} {
		f.Add(kind, []byte("\x0a\x06\x08\x03\x12\x02no"))
		f.Add(kind, []byte(`{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}`))
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		got, err := parseReceipt(kind, body)
		if err != nil && got != (receipt{}) || len(got.says) > maxSays {
			t.Errorf("%q, %q: %+v, %v", kind, body, got, err)
		}
	})
}
