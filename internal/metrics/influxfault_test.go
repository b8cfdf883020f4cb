package metrics

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// sink is a server that takes line protocol as a test tells it to.
type sink struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex                                      // guards what follows
	answer func(n int, w http.ResponseWriter, body string) // nil: 204; n counts requests from 1
	bodies []string                                        // all that came, uncompressed
	heads  []http.Header
	paths  []string
}

func newSink(t *testing.T, answer func(n int, w http.ResponseWriter, body string)) *sink {
	s := &sink{t: t, answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *sink) serve(w http.ResponseWriter, r *http.Request) {
	zip, err := gzip.NewReader(r.Body)
	if err != nil {
		s.t.Errorf("the body: %v", err)
		return
	}
	b, err := io.ReadAll(zip)
	if err != nil {
		return // the daemon has gone
	}
	s.mu.Lock()
	s.bodies, s.heads, s.paths = append(s.bodies, string(b)), append(s.heads, r.Header), append(s.paths, r.URL.RequestURI())
	n, answer := len(s.bodies), s.answer
	s.mu.Unlock()
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(n, w, string(b))
}

func (s *sink) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bodies)
}

// values are those of rpc_calls_total in the bodies from the given one on.
func (s *sink) values(from int) (values []float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, body := range s.bodies[from:] {
		for _, line := range strings.Split(strings.TrimSuffix(body, "\n"), "\n") {
			if p := readLine(s.t, line); p.measurement == "gameserverd_rpc_calls_total" {
				values = append(values, p.fields["value"])
			}
		}
	}
	return values
}

// rising says whether values are 1, 2, 3 and so on.
func rising(values []float64, from float64) bool {
	for i, v := range values {
		if v != from+float64(i) {
			return false
		}
	}
	return len(values) > 0
}

// TestInfluxIsNoWebPage: a server that says 200 to everything has not taken the metrics.
// They are kept, somebody is told, and all of them arrive when the right one answers.
func TestInfluxIsNoWebPage(t *testing.T) {
	const pages = 3
	s := newSink(t, func(n int, w http.ResponseWriter, _ string) {
		switch {
		case n <= pages:
			io.WriteString(w, "<!DOCTYPE html><title>Welcome</title>")
		case n == pages+1:
			w.WriteHeader(http.StatusAccepted)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	p := startPush(t, InfluxOptions{URL: s.URL + "/write?db=game"}, "metrics do not reach InfluxDB")
	eventually(t, "pushes", func() bool { return p.Stats().Sent >= 3 })
	p.stop()
	if !rising(s.values(pages+1), 1) {
		t.Errorf("what the web page got is lost: %v", s.values(pages+1))
	}
	if st := p.Stats(); st.Failed != pages+1 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
	if p.logged("metrics do not reach InfluxDB") != 1 {
		t.Fatal("nobody is told")
	}
	if words := p.logs.FilterMessageSnippet("do not reach").All()[0].ContextMap(); words["status"] != int64(200) || words["answer"] != "<!DOCTYPE html><title>Welcome</title>" {
		t.Errorf("the log says %v", words)
	}
}

// TestInfluxErrors: a body that the server fails at is sent again until it is taken,
// before those after it.
func TestInfluxErrors(t *testing.T) {
	s := newSink(t, func(n int, w http.ResponseWriter, _ string) {
		if n <= 4 {
			http.Error(w, "no room on the disk", http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	p := startPush(t, InfluxOptions{URL: s.URL + "/write?db=game&precision=ns&u=x"}, "metrics do not reach InfluxDB")
	eventually(t, "pushes", func() bool { return p.Stats().Sent >= 3 })
	p.stop()
	if s.bodies[0] != s.bodies[4] || !rising(s.values(4), 1) {
		t.Errorf("values %v", s.values(4))
	}
	if st := p.Stats(); st.Failed != 4 || st.Dropped != 0 || st.Buffered != 0 {
		t.Errorf("%+v", st)
	}
	if s.paths[0] != "/write?db=game&precision=ms&u=x" {
		t.Errorf("the path is %s", s.paths[0])
	}
	if h := s.heads[0]; h.Get("Content-Encoding") != "gzip" || h.Get("Authorization") != "" {
		t.Errorf("headers %v", h)
	}
	if away, back := p.logged("metrics do not reach InfluxDB"), p.logged("metrics reach InfluxDB again"); away != 1 || back != 1 {
		t.Errorf("%d and %d lines, want 1 and 1", away, back)
	}
	if words := p.logs.FilterMessageSnippet("do not reach").All()[0].ContextMap(); words["answer"] != "no room on the disk" || words["url"] != s.URL+"/write" {
		t.Errorf("the log says %v", words)
	}
}

// TestInfluxSlow: a server that does not answer holds neither the collections up nor
// the end, and gets the same again.
func TestInfluxSlow(t *testing.T) {
	hang, again := make(chan struct{}), atomic.Bool{}
	s := newSink(t, func(n int, w http.ResponseWriter, _ string) {
		if n == 1 || again.Load() {
			<-hang
		}
		w.WriteHeader(http.StatusNoContent)
	})
	t.Cleanup(sync.OnceFunc(func() { close(hang) })) // before the server's end, which waits for them
	p := preparePush(t, InfluxOptions{URL: s.URL + "/write"}, "metrics do not reach InfluxDB")
	p.pushTime, p.last = 200*time.Millisecond, lastTime
	p.run()
	eventually(t, "it goes on", func() bool { return p.calls.Load() > 5 && p.Stats().Sent >= 2 })
	if values := s.values(0); values[0] != 1 || values[1] != 1 || !rising(slices.Compact(values), 1) {
		t.Errorf("values %v, want 1 1 2 3 and so on", values)
	}
	again.Store(true)
	failed, seen := p.Stats().Failed, s.requests()
	eventually(t, "it hangs again", func() bool { return s.requests() > seen && p.Stats().Failed > failed })
	began := time.Now()
	p.stop()
	if took := time.Since(began); took > lastTime+5*time.Second {
		t.Errorf("the end took %v", took)
	}
	if p.Stats().Buffered == 0 {
		t.Error("nothing is left, though nobody took it")
	}
}

// TestInfluxTooMany: Retry-After is obeyed.
func TestInfluxTooMany(t *testing.T) {
	var first, second time.Time
	s := newSink(t, func(n int, w http.ResponseWriter, _ string) {
		switch n {
		case 1:
			first = time.Now()
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		case 2:
			second = time.Now()
		}
		w.WriteHeader(http.StatusNoContent)
	})
	p := startPush(t, InfluxOptions{URL: s.URL + "/write"}, "metrics do not reach InfluxDB")
	eventually(t, "it goes on", func() bool { return p.Stats().Sent > 0 })
	p.stop()
	if waited := second.Sub(first); waited < time.Second {
		t.Errorf("it came again after %v, want 1 s", waited)
	}
	if !rising(s.values(1), 1) {
		t.Errorf("values %v", s.values(1))
	}
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "nonsense": 0, "99999999": obeyMost, "Thu, 01 Jan 1970 00:01:00 GMT": 30 * time.Second, "Thu, 01 Jan 1970 00:00:10 GMT": 0,
	} {
		if got := retryAfter(text, time.Unix(30, 0)); got != want {
			t.Errorf("Retry-After %q is %v, want %v", text, got, want)
		}
	}
}

// TestInfluxRefused: what the server will never take is not sent again.
func TestInfluxRefused(t *testing.T) {
	s := newSink(t, func(n int, w http.ResponseWriter, _ string) {
		if n%2 == 1 {
			http.Error(w, `{"error":"partial write: points beyond retention policy dropped=1"}`, http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	p := startPush(t, InfluxOptions{URL: s.URL + "/write"}, "InfluxDB refuses metrics")
	eventually(t, "some of both", func() bool { st := p.Stats(); return st.Dropped >= 3 && st.Sent >= 3 })
	p.stop()
	if !rising(s.values(0), 1) {
		t.Errorf("values %v: something was sent twice", s.values(0))
	}
	if n := p.logged("InfluxDB refuses metrics"); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
}

// TestInfluxBound: however long nobody takes anything, no more waits than may, and what
// is kept is the newest.
func TestInfluxBound(t *testing.T) {
	took := make(chan struct{})
	s := newSink(t, func(_ int, w http.ResponseWriter, _ string) {
		select {
		case <-took:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	const bound = 16 << 10
	p := startPush(t, InfluxOptions{URL: s.URL + "/write", MaxBuffer: bound, Interval: time.Millisecond}, "metrics do not reach InfluxDB", "metrics for InfluxDB are dropped")
	most := 0
	eventually(t, "much is dropped", func() bool {
		most = max(most, p.Stats().Buffered)
		return p.Stats().Dropped > 50
	})
	if most > bound || most < bound/2 {
		t.Errorf("%d bytes waited, of %d", most, bound)
	}
	close(took)
	eventually(t, "it goes on", func() bool { return p.logged("metrics reach InfluxDB again") == 1 })
	p.stop()
	st := p.Stats()
	if st.Sent+st.Dropped != p.calls.Load() || st.Buffered != 0 {
		t.Errorf("%+v of %d", st, p.calls.Load())
	}
	if n := p.logged("metrics for InfluxDB are dropped"); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
	values := s.values(len(s.bodies) - int(st.Sent))
	// What was next when one was dropped while another was being sent may be missing.
	if !slices.IsSorted(values) || values[len(values)-1] != float64(p.calls.Load()) {
		t.Errorf("values %v", values)
	}
}

// TestInfluxLast: Run pushes once more when it is told to end.
func TestInfluxLast(t *testing.T) {
	s := newSink(t, nil)
	p := startPush(t, InfluxOptions{URL: s.URL + "/write", Interval: time.Hour})
	eventually(t, "the first push", func() bool { return p.Stats().Sent == 1 })
	p.stop()
	if values := s.values(0); len(values) != 2 || !rising(values, 1) {
		t.Errorf("values %v, want 1 and 2", values)
	}
}

// TestInfluxRedirect: a password goes to nobody but the server that is configured.
func TestInfluxRedirect(t *testing.T) {
	other := newSink(t, nil)
	s := newSink(t, func(_ int, w http.ResponseWriter, _ string) {
		w.Header().Set("Location", other.URL+"/write")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("who:secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startPush(t, InfluxOptions{URL: s.URL + "/write", TokenFile: file}, "metrics do not reach InfluxDB")
	eventually(t, "some tries", func() bool { return p.Stats().Failed >= 2 })
	p.stop()
	if other.requests() != 0 {
		t.Error("it followed")
	}
	if a := s.heads[0].Get("Authorization"); a != "Basic d2hvOnNlY3JldA==" {
		t.Errorf("authorization %q", a)
	}
}

// TestInfluxWrongToken: a token's file that cannot be used is found at the start.
func TestInfluxWrongToken(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": " \n", "lines": "a\nb", "binary": "a\x00b", "long": strings.Repeat("x", 5000)} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := NewInflux(nil, InfluxOptions{URL: "http://127.0.0.1:1/write", TokenFile: file}); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error %v", name, err)
		} else if strings.Contains(err.Error(), content) && content != " \n" {
			t.Errorf("%s: the error shows what is in it: %v", name, err)
		}
	}
	if _, err := NewInflux(nil, InfluxOptions{URL: "http://127.0.0.1:1/write", TokenFile: filepath.Join(dir, "none")}); err == nil {
		t.Error("no error for a file that is not there")
	}
}

// TestQueueNeverDropsWhatIsSent: what is being sent stays while others are dropped.
func TestQueueNeverDropsWhatIsSent(t *testing.T) {
	q := newPushQueue(10)
	for i := range byte(3) {
		if n := q.add(bytes.Repeat([]byte{i}, 3)); n != 0 {
			t.Fatalf("body %d: %d dropped", i, n)
		}
	}
	if b := q.first(); b[0] != 0 {
		t.Fatalf("first is %v", b)
	}
	if n := q.add([]byte{3, 3, 3}); n != 1 || q.size() != 9 {
		t.Errorf("%d dropped, %d bytes; want 1, 9", n, q.size())
	}
	if n := q.add(make([]byte, 8)); n != 3 || q.size() != 3 {
		t.Errorf("%d dropped, %d bytes; want 3 with itself, 3", n, q.size())
	}
	q.sent(true)
	if q.size() != 0 || q.first() != nil {
		t.Errorf("%d bytes are left", q.size())
	}
	if n := q.add(make([]byte, 11)); n != 1 {
		t.Errorf("one that is too large: %d dropped, want 1", n)
	}
}
