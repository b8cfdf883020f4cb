package admin

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client gives up before the test binary does.
var client = &http.Client{Timeout: 20 * time.Second}

// start serves on a free port until the test ends.
func start(t *testing.T, ready Readiness) *Server {
	t.Helper()
	s, err := New(Options{Addr: "127.0.0.1:0", Ready: ready, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if err := s.Close(ctx); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
	return s
}

func get(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	resp, err := client.Get("http://" + s.Addr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestHealthAndReadiness(t *testing.T) {
	var reason atomic.Value
	reason.Store("starting")
	s := start(t, func() (bool, string) {
		r := reason.Load().(string)
		return r == "", r
	})
	for _, step := range []struct {
		reason, body string
		status       int
	}{
		{"starting", "starting\n", 503},
		{"", "ok\n", 200},
		{"draining", "draining\n", 503},
	} {
		reason.Store(step.reason)
		if status, body := get(t, s, "/readyz"); status != step.status || body != step.body {
			t.Errorf("readyz when %q: %d %q, want %d %q", step.reason, status, body, step.status, step.body)
		}
		if status, body := get(t, s, "/healthz"); status != 200 || body != "ok\n" {
			t.Errorf("healthz when %q: %d %q", step.reason, status, body)
		}
	}
}

func TestProfiles(t *testing.T) {
	s := start(t, func() (bool, string) { return true, "" })
	for path, want := range map[string]string{
		"/debug/pprof/":                   "goroutine",
		"/debug/pprof/goroutine?debug=1":  "goroutine profile:",
		"/debug/pprof/heap?debug=1":       "heap profile:",
		"/debug/pprof/cmdline":            "admin.test",
		"/debug/pprof/symbol":             "num_symbols",
		"/debug/pprof/trace?seconds=0.01": "go 1.",
	} {
		if _, body := get(t, s, path); !strings.Contains(body, want) {
			t.Errorf("%s: %q does not hold %q", path, body[:min(len(body), 200)], want)
		}
	}
}

// The daemon prints the server's address at its start: who opens it learns what
// is there.
func TestRootListsThePages(t *testing.T) {
	s := start(t, func() (bool, string) { return true, "" })
	status, body := get(t, s, "/")
	if status != http.StatusOK {
		t.Errorf("/ answers %d", status)
	}
	pages := strings.Fields(body)
	for _, page := range pages {
		if status, _ := get(t, s, page); status != http.StatusOK {
			t.Errorf("%s is listed and answers %d", page, status)
		}
	}
	if len(pages) < 3 {
		t.Errorf("the pages are %q", pages)
	}
}

func TestNothingElseAnswers(t *testing.T) {
	s := start(t, func() (bool, string) { return true, "" })
	if status, _ := get(t, s, "/metric"); status != http.StatusNotFound {
		t.Errorf("/metric answers %d", status)
	}
	resp, err := client.Post("http://"+s.Addr()+"/healthz", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST /healthz answers %d", resp.StatusCode)
	}
	if s.http.ReadHeaderTimeout == 0 || s.http.IdleTimeout == 0 {
		t.Error("a silent client is kept for ever")
	}
}

func TestPortInUse(t *testing.T) {
	s := start(t, func() (bool, string) { return true, "" })
	_, err := New(Options{Addr: s.Addr(), Log: zap.NewNop()})
	if err == nil || !strings.Contains(err.Error(), "address already in use") || !strings.Contains(err.Error(), s.Addr()) {
		t.Errorf("second listener: %v", err)
	}
}

func TestCloseWithoutServeFreesTheAddress(t *testing.T) {
	s, err := New(Options{Addr: "127.0.0.1:0", Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	again, err := net.Listen("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// A request that does not end is cut when Close's context ends.
func TestCloseCutsWhatDoesNotEnd(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s, err := New(Options{Addr: "127.0.0.1:0", Log: zap.NewNop(), Ready: func() (bool, string) {
		close(entered)
		<-release
		return true, ""
	}})
	if err != nil {
		t.Fatal(err)
	}
	served, got := make(chan error, 1), make(chan error, 1)
	go func() { served <- s.Serve() }()
	go func() {
		resp, err := client.Get("http://" + s.Addr() + "/readyz")
		if err == nil {
			resp.Body.Close()
		}
		got <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Close(ctx); err != context.Canceled {
		t.Errorf("close: %v", err)
	}
	if err := <-got; err == nil || os.IsTimeout(err) {
		t.Errorf("the request was not cut: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	close(release)
}

// Whoever gives pages decides who sees profiles; health asks nobody.
func TestPagesAndTheirGuard(t *testing.T) {
	var bound string
	s, err := New(Options{Addr: "127.0.0.1:0", Log: zap.NewNop(), Ready: func() (bool, string) { return true, "" }, Pages: func(addr string) Pages {
		bound = addr
		return Pages{
			Console: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusTeapot, "console "+r.URL.Path) }),
			Guard: func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusForbidden, "guarded") })
			},
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	if bound != s.Addr() {
		t.Errorf("the pages were told %s, not %s", bound, s.Addr())
	}
	for path, want := range map[string]int{
		"/": http.StatusTeapot, "/console/x": http.StatusTeapot, "/console/": http.StatusTeapot, "/healthz": 200, "/readyz": 200, "/consolex": 404,
		"/debug/pprof/": 403, "/debug/pprof/heap": 403, "/debug/pprof/cmdline": 403, "/debug/pprof/profile": 403, "/debug/pprof/symbol": 403, "/debug/pprof/trace": 403,
	} {
		if status, body := get(t, s, path); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	client.CloseIdleConnections()
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
	<-served
}
