package console

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/internal/admin"
	"gameserverd/internal/ctl"
	"gameserverd/internal/metrics"
	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testToken = "0123456789abcdef"

// rig is a console on a real admin listener, with a daemon that is made up, and a
// browser of it.
type rig struct {
	*Console
	t        testing.TB
	logs     *observer.ObservedLogs
	url      string
	client   *http.Client
	csrf     string
	auditAt  string
	settings atomic.Pointer[Settings]
	collects atomic.Int64
	calls    atomic.Int64 // counted by Collect
	held     chan struct{}

	mu       sync.Mutex // guards what follows
	did      []string
	sessions []ctl.Session
	sink     func(ctl.Message)
}

type option func(*Options, *rig)

// beyond makes the listener one that other machines reach.
func beyond(o *Options, _ *rig) { o.Addr = "192.0.2.7:5780" }

func withToken(o *Options, r *rig) { r.settings.Store(&Settings{Token: testToken}) }

func start(t testing.TB, options ...option) *rig {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	r := &rig{t: t, logs: logs, auditAt: filepath.Join(t.TempDir(), "audit.log"), held: make(chan struct{})}
	r.settings.Store(&Settings{})
	audit, err := OpenAudit(r.auditAt)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Daemon: r.daemon(), Collect: r.collect, Methods: r.methodList, Player: r.onePlayer, Message: r.messageTo, Call: r.callOf,
		Settings: func() Settings { return *r.settings.Load() }, Warnings: new(Warnings), Audit: audit, Log: zap.New(core)}
	server, err := admin.New(admin.Options{Addr: "127.0.0.1:0", Log: zap.NewNop(), Ready: func() (bool, string) { return true, "" },
		Pages: func(addr string) admin.Pages {
			o.Addr = addr
			for _, change := range options {
				change(&o, r)
			}
			r.Console = New(o)
			r.Console.live.every = 10 * time.Millisecond
			return admin.Pages{Console: r.Console, Guard: r.Console.Guard}
		}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	jar, _ := cookiejar.New(nil)
	r.url, r.client = "http://"+server.Addr(), &http.Client{Jar: jar, Transport: &http.Transport{}}
	t.Cleanup(func() {
		began := time.Now()
		r.Console.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		r.client.CloseIdleConnections()
		if err := server.Close(ctx); err != nil || time.Since(began) > 5*time.Second {
			t.Errorf("the end took %v: %v", time.Since(began), err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.did = append(r.did, fmt.Sprintf(format, args...))
}

// done is what was done to the daemon since the last look.
func (r *rig) done() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := strings.Join(r.did, "\n")
	r.did = nil
	return all
}

func (r *rig) daemon() ctl.Daemon {
	return ctl.Daemon{
		Status: func() ctl.Status { return ctl.Status{State: "serving", Ready: true, PID: os.Getpid(), Online: 3} },
		Sessions: func(context.Context) ([]ctl.Session, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return append([]ctl.Session{}, r.sessions...), nil
		},
		Kick: func(_ context.Context, uid uint64, why wire.Closing) (bool, error) {
			r.say("kick %d %s %q %v", uid, why.Code, why.Message, why.Reconnect)
			return uid == 7, nil
		},
		Trace: func(uid uint64, sink func(ctl.Message)) (func(), error) {
			if uid == 99 {
				return nil, wire.Errorf(wire.ResourceExhausted, "16 traces run already")
			}
			r.mu.Lock()
			r.sink = sink
			r.mu.Unlock()
			return func() { r.say("untraced %d", uid) }, nil
		},
		Tasks: ctl.Tasks{
			List: func(_ context.Context, state string, n int) (ctl.TaskList, error) {
				return ctl.TaskList{Counts: map[string]int64{state: int64(n)}, Tasks: []ctl.Task{}}, nil
			},
			Show: func(_ context.Context, id string) (ctl.Task, error) {
				return ctl.Task{ID: id}, nil
			},
			Run: func(_ context.Context, name string, args []any) (string, error) {
				r.say("run %s %v", name, args)
				return "42", nil
			},
			Act: func(_ context.Context, action, id string) (string, error) {
				if id == "0" {
					return "", wire.Errorf(wire.NotFound, "there is no task 0")
				}
				r.say("%s %s", action, id)
				return "it is done", nil
			},
		},
	}
}

func (r *rig) collect(_ context.Context, b *metrics.Batch) {
	r.collects.Add(1)
	b.Set(metrics.Calls, float64(r.calls.Load()), "sum", metrics.OK)
}

func (r *rig) methodList() []rpc.MethodInfo { return []rpc.MethodInfo{{Name: "sum", Doc: "Adds."}} }

func (r *rig) onePlayer(_ context.Context, uid uint64) (Player, bool, error) {
	return Player{Session: NewSession(ctl.Session{UID: uid, Conn: 1 << 60}), RoomNames: []string{"lobby"}, Calls: []PlayerCall{}}, uid == 7, nil
}

func (r *rig) messageTo(uid uint64, text string) error {
	r.say("message %d %q", uid, text)
	return nil
}

func (r *rig) callOf(ctx context.Context, c Call) (Answer, error) {
	r.say("call %d %s %v", c.UID, c.Method, c.Params)
	switch c.Method {
	case "hold":
		<-r.held
	case "fail":
		return Answer{Way: "so"}, &wire.Error{Code: wire.Aborted, Message: "no", Data: map[string]any{"version": 3}, RetryAfter: time.Second}
	case "crash":
		return Answer{}, errors.New("broken")
	}
	raw, _ := wire.AppendAny(nil, []any{uint64(1) << 63, "x"})
	return Answer{Result: raw, Way: "so"}, nil
}

// got is an answer.
type got struct {
	status int
	header http.Header
	body   string
}

// do sends a request; change may make it another.
func (r *rig) do(method, path, body string, change ...func(*http.Request)) got {
	r.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, in)
	if err != nil {
		r.t.Fatal(err)
	}
	if method == "POST" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-CSRF-Token", r.csrf)
	}
	for _, fn := range change {
		fn(req)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return got{resp.StatusCode, resp.Header, string(b)}
}

func (r *rig) get(path string, change ...func(*http.Request)) got {
	r.t.Helper()
	return r.do("GET", path, "", change...)
}

func (r *rig) post(path, body string, change ...func(*http.Request)) got {
	r.t.Helper()
	return r.do("POST", path, body, change...)
}

// want holds what an answer is.
func (r *rig) want(what string, g got, status int, holds string) {
	r.t.Helper()
	if g.status != status || !strings.Contains(g.body, holds) {
		r.t.Errorf("%s: %d %s, want %d with %q", what, g.status, strings.TrimSpace(g.body), status, holds)
	}
}

// hello fetches the token for changes.
func (r *rig) hello() Hello {
	r.t.Helper()
	var h Hello
	if g := r.get("/console/hello"); g.status != 200 || json.Unmarshal([]byte(g.body), &h) != nil {
		r.t.Fatalf("hello: %d %s", g.status, g.body)
	}
	r.csrf = h.CSRF
	return h
}

func (r *rig) signInWith(token string) got {
	r.t.Helper()
	g := r.post("/console/signin", fmt.Sprintf(`{"token":%q}`, token))
	if g.status == 200 {
		r.hello()
	}
	return g
}

// lines are those of the audit log.
func (r *rig) lines() (all []entry) {
	r.t.Helper()
	b, err := os.ReadFile(r.auditAt)
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			r.t.Fatalf("%s: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

func header(key, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(key, value) }
}

// events is an open stream.
type events struct {
	t      testing.TB
	status int
	body   io.ReadCloser
	scan   *bufio.Scanner
	cancel context.CancelFunc
}

func (r *rig) stream(path string) *events {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	req, _ := http.NewRequestWithContext(ctx, "GET", r.url+path, nil)
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	e := &events{r.t, resp.StatusCode, resp.Body, bufio.NewScanner(resp.Body), cancel}
	e.scan.Buffer(nil, 1<<20)
	r.t.Cleanup(e.close)
	return e
}

func (e *events) close() {
	e.cancel()
	e.body.Close()
}

// next is the next event, "" at the end.
func (e *events) next() (name, data string) {
	for e.scan.Scan() {
		switch line := e.scan.Text(); {
		case strings.HasPrefix(line, "event: "):
			name = line[len("event: "):]
		case strings.HasPrefix(line, "data: "):
			data = line[len("data: "):]
		case line == "":
			return name, data
		}
	}
	return "", ""
}

// until reads up to an event of that name.
func (e *events) until(want string) string {
	e.t.Helper()
	for {
		switch name, data := e.next(); name {
		case want:
			return data
		case "":
			e.t.Fatalf("the stream ended before %s: %v", want, e.scan.Err())
		}
	}
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
