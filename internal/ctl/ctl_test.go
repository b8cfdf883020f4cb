package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a server with a daemon that is made up.
type rig struct {
	*Server
	*Client
	t      *testing.T
	logs   *observer.ObservedLogs
	status atomic.Pointer[Status]
	stuck  atomic.Bool // Kick waits for its context
	mu     sync.Mutex  // guards what follows
	lists  [][]Session
	kicked []wire.Closing
	sink   func(Message)
	said   []string
}

func start(t *testing.T, change ...func(*Server)) *rig {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	r := &rig{t: t, logs: logs}
	r.status.Store(&Status{State: "serving", Ready: true, LogLevel: "info"})
	s, err := New(t.TempDir(), r.daemon(), zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	r.Server, r.Client = s, NewClient(s.Path())
	for _, fn := range change {
		fn(s)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve() }()
	t.Cleanup(func() {
		select {
		case <-s.ending:
		default:
			closeNow(s)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

func closeNow(s *Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.Close(ctx)
}

func (r *rig) daemon() Daemon {
	return Daemon{
		Status: func() Status { return *r.status.Load() },
		Sessions: func(context.Context) ([]Session, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.lists) == 0 {
				return nil, &Error{unavailable, "no list"}
			}
			first := r.lists[0]
			r.lists = r.lists[1:]
			return first, nil
		},
		Kick: func(ctx context.Context, uid uint64, why wire.Closing) (bool, error) {
			if r.stuck.Load() {
				<-ctx.Done()
				return false, ctx.Err()
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.kicked = append(r.kicked, why)
			return uid == 7, nil
		},
		Broadcast: func(method string, params []any) (int, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.said = append(r.said, fmt.Sprint(method, params))
			return 3, nil
		},
		Drain: func(why string) { r.say("drain: " + why) },
		Trace: func(uid uint64, sink func(Message)) (func(), error) {
			if uid == 99 {
				return nil, wire.Errorf(wire.ResourceExhausted, "16 traces run")
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.sink = sink
			return func() { r.say("untraced") }, nil
		},
		SetLevel: func(level string) error {
			if level == "loud" {
				return &Error{invalid, "no such level"}
			}
			s := *r.status.Load()
			s.LogLevel = level
			r.status.Store(&s)
			return nil
		},
		Reload: func() (Reloaded, error) {
			return Reloaded{Changed: []Change{{"a.b", "1", "2"}}, Restart: []string{"c"}}, nil
		},
		Tasks: r.tasks(),
	}
}

func (r *rig) say(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, what)
}

func (r *rig) heard(what string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(strings.Join(r.said, "\n"), what)
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
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

// code is that of the daemon's answer, "" for none.
func code(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}

func TestKick(t *testing.T) {
	r := start(t)
	var done Kicked
	if err := r.Call(testContext(t), "POST", "/kick", Kick{UID: 7, Message: "bye", Reconnect: true, RetryAfterMS: 1500}, &done); err != nil || !done.Kicked {
		t.Errorf("%v %v", done, err)
	}
	if want := (wire.Closing{Code: "kicked", Message: "bye", Reconnect: true, RetryAfter: 1500 * time.Millisecond}); len(r.kicked) != 1 || r.kicked[0] != want {
		t.Errorf("kicked with %+v", r.kicked)
	}
	if err := r.Call(testContext(t), "POST", "/kick", Kick{UID: 8}, &done); err != nil || done.Kicked {
		t.Errorf("%v %v", done, err)
	}
	entry := r.logs.FilterMessage("an operator's command").All()[0].ContextMap()
	if entry["command"] != "kick" || entry["uid"] != uint64(7) || entry["by_uid"] != uint32(os.Getuid()) || entry["by_pid"] != int32(os.Getpid()) {
		t.Errorf("logged %v", entry)
	}
	for _, bad := range []any{Kick{}, Kick{UID: 7, Code: "No!"}, Kick{UID: 7, Message: strings.Repeat("x", 2000)}, Kick{UID: 7, RetryAfterMS: -1},
		map[string]any{"uid": 7, "nonsense": 1}, []int{1}, map[string]any{"uid": -1}} {
		if err := r.Call(testContext(t), "POST", "/kick", bad, &done); code(err) != invalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if len(r.kicked) != 2 {
		t.Errorf("%d kicks", len(r.kicked))
	}
}

// A loop that is held costs the operator a while, and not the command's end.
func TestStuckLoopIsNamed(t *testing.T) {
	r := start(t, func(s *Server) { s.askTime = 50 * time.Millisecond })
	r.stuck.Store(true)
	err := r.Call(testContext(t), "POST", "/kick", Kick{UID: 7}, &Kicked{})
	if code(err) != string(wire.DeadlineExceeded) || !strings.Contains(err.Error(), "slow callback") {
		t.Error(err)
	}
}

func TestBroadcast(t *testing.T) {
	r := start(t)
	var told Told
	big := fmt.Sprintf(`{"method":"m","params":["%s"]}`, strings.Repeat("x", maxBody))
	for body, want := range map[string]string{
		`{"method":"a.b","params":[1,{"$bin":"AQI="},"x"]}`: "",
		`{"method":"","params":[]}`:                         invalid,
		`{"method":"sys.closing","params":[]}`:              invalid,
		`{"method":"m","params":[{"$bin":"?"}]}`:            invalid,
		`"m"`:                                               invalid,
		big:                                                 invalid,
	} {
		err := r.Call(testContext(t), "POST", "/broadcast", raw(body), &told)
		if code(err) != want || want == "" && told.Sessions != 3 {
			t.Errorf("%.60s: %v, %v", body, err, told)
		}
	}
	if !r.heard("a.b[1 [1 2] x]") {
		t.Errorf("said %q", r.said)
	}
}

// raw is JSON as it stands, whatever it is.
type raw string

func (b raw) MarshalJSON() ([]byte, error) { return []byte(b), nil }

func TestLoglevelAndReload(t *testing.T) {
	r := start(t)
	var l Level
	if err := r.Call(testContext(t), "POST", "/loglevel", Level{"debug"}, &l); err != nil || l.Level != "debug" {
		t.Errorf("%v %v", l, err)
	}
	if err := r.Call(testContext(t), "POST", "/loglevel", Level{"loud"}, &l); code(err) != invalid {
		t.Error(err)
	}
	if err := r.Call(testContext(t), "GET", "/loglevel", nil, &l); err != nil || l.Level != "debug" {
		t.Errorf("%v %v", l, err)
	}
	var done Reloaded
	if err := r.Call(testContext(t), "POST", "/reload", nil, &done); err != nil || len(done.Changed) != 1 || done.Changed[0] != (Change{"a.b", "1", "2"}) {
		t.Errorf("%v %v", done, err)
	}
	if err := r.Call(testContext(t), "POST", "/status", nil, &done); code(err) == "" {
		t.Errorf("a wrong method: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	c := NewClient(SocketPath(t.TempDir()))
	err := c.Call(testContext(t), "GET", "/status", nil, &Status{})
	var connecting *ConnectError
	if !errors.As(err, &connecting) || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestTooManyRequestsAreTold(t *testing.T) {
	r := start(t)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	var tracing sync.WaitGroup
	defer tracing.Wait()
	defer cancel()
	var began atomic.Int64
	for range maxRequests {
		tracing.Go(func() {
			_ = r.Lines(ctx, "GET", "/trace?uid=7&for_ms=60000", nil, func() { began.Add(1) }, func([]byte) error { return nil }) // cut by cancel
		})
	}
	eventually(t, "all of them", func() bool { return began.Load() == maxRequests })
	if err := r.Call(testContext(t), "GET", "/status", nil, &Status{}); code(err) != exhausted {
		t.Error(err)
	}
	cancel()
	eventually(t, "room again", func() bool { return r.Call(testContext(t), "GET", "/status", nil, &Status{}) == nil })
}

// A client that connects and says nothing, or half a request, is not waited for.
func TestSilentClientDoesNotHoldTheEnd(t *testing.T) {
	r := start(t)
	for _, text := range []string{"", "POST /kick HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"} {
		c, err := net.Dial("unix", r.Path())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, text)
	}
	if err := r.Call(testContext(t), "GET", "/status", nil, &Status{}); err != nil { // the two are in by now
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	r.Close(ctx)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// Whatever is sent, the answer is JSON, and nothing is done that was not asked for
// in full.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{`{"uid":7,"code":"x","message":"m"}`, `{"method":"a.b","params":[1,{"$bin":"AA=="}]}`, `{"level":"debug"}`, `{}`, `[`, `{"uid":1e3}`, `{"params":null,"method":"sys.closing"}`} {
		f.Add("/kick", s)
		f.Add("/broadcast", s)
		f.Add("/loglevel", s)
	}
	f.Fuzz(func(t *testing.T, path, body string) {
		kicked, said := 0, 0
		s := &Server{log: zap.NewNop(), askTime: time.Second, daemon: Daemon{
			Status: func() Status { return Status{} },
			Kick: func(_ context.Context, uid uint64, why wire.Closing) (bool, error) {
				if kicked++; uid == 0 || why.Code == "" || why.Message == "" || why.RetryAfter < 0 {
					t.Fatalf("kick %d %+v", uid, why)
				}
				return true, nil
			},
			Broadcast: func(method string, params []any) (int, error) {
				if said++; method == "" || method == wire.ClosingMethod {
					t.Fatalf("broadcast %q", method)
				}
				return 1, nil
			},
			SetLevel: func(string) error { return nil },
		}}
		for _, known := range []string{"/kick", "/broadcast", "/loglevel"} {
			if path == known {
				w := httptest.NewRecorder()
				s.routes().ServeHTTP(w, httptest.NewRequest("POST", path, strings.NewReader(body)))
				if done := w.Code == 200; !json.Valid(w.Body.Bytes()) || done != (kicked+said == 1) && path != "/loglevel" {
					t.Fatalf("%s %q: %d %s", path, body, w.Code, w.Body)
				}
			}
		}
	})
}
