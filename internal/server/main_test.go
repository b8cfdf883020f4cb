package server

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/client"
	"gameserverd/internal/config"
	"gameserverd/internal/handlers"
	"gameserverd/internal/rpc"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// childEnv, set to a folder for its data, makes the test binary a server of its own, for tests that want both
// ends in separate processes.
const childEnv = "GAMESERVERD_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(runChild())
	}
	before := openFDs()
	code := m.Run()
	if err := storetest.Shutdown(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		if after := openFDs(); len(after) > len(before) {
			fmt.Fprintf(os.Stderr, "file descriptors before the tests: %q, after: %q\n", before, after)
			code = 1
		}
	}
	os.Exit(code)
}

// openFDs are this process's descriptors. The first look makes those that the
// runtime keeps for good.
func openFDs() (real []string) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.Contains(target, "eventpoll") && !strings.Contains(target, "eventfd") {
			real = append(real, target)
		}
	}
	return real
}

// runChild serves on a free port, prints it, and drains on SIGTERM.
func runChild() int {
	cfg, o := childOptions()
	s, err := NewWith(cfg, zap.NewNop(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		s.Shutdown("SIGTERM")
	}()
	if o.Worker {
		fmt.Println("working") // a task that is applied before waits
	} else {
		fmt.Println(s.Addrs()[0])
	}
	report, err := s.Run()
	if err != nil || !report.Clean {
		fmt.Fprintln(os.Stderr, report, err)
		return 1
	}
	return 0
}

// testConfig is a configuration for tests that keeps its data in dir.
func testConfig(dir string) *config.Config {
	cfg := config.Default()
	cfg.DataDir = dir
	cfg.Listen.TCP = []string{"127.0.0.1:0"}
	cfg.Listen.Admin = ""
	cfg.Loop.Count = 3
	cfg.Loop.SlowCallback = 10 * time.Second // a busy machine is no slow handler
	return cfg
}

// testServer is a running daemon.
type testServer struct {
	*Server
	t    testing.TB
	logs *observer.ObservedLogs

	ended  chan struct{}
	report Report
	err    error
}

// start runs a daemon until the test ends. A log at Warn or above that the test
// does not name in mayLog fails it.
func start(t testing.TB, cfg *config.Config, areas func(*handlers.Parts) []rpc.Method, mayLog ...string) *testServer {
	t.Helper()
	return startWith(t, cfg, Options{Areas: areas}, mayLog...)
}

// startWith is start with other options.
func startWith(t testing.TB, cfg *config.Config, o Options, mayLog ...string) *testServer {
	t.Helper()
	return startLogging(t, zapcore.InfoLevel, cfg, o, mayLog...)
}

// startLogging is startWith with another level of the log.
func startLogging(t testing.TB, level zapcore.Level, cfg *config.Config, o Options, mayLog ...string) *testServer {
	t.Helper()
	core, logs := observer.New(level)
	s, err := NewWith(cfg, zap.New(core), o)
	if err != nil {
		t.Fatal(err)
	}
	ts := &testServer{Server: s, t: t, logs: logs, ended: make(chan struct{})}
	go func() {
		ts.report, ts.err = s.Run()
		close(ts.ended)
	}()
	t.Cleanup(func() {
		ts.drain()
		for _, e := range logs.All() {
			if e.Level >= zapcore.WarnLevel && !slices.Contains(mayLog, e.Message) {
				t.Errorf("unexpected log: %s %v", e.Message, e.ContextMap())
			}
		}
		if n := s.peers.Connections(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
	return ts
}

// drain shuts the daemon down and waits for its end.
func (s *testServer) drain() Report {
	s.t.Helper()
	s.Shutdown("the test is over")
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		s.t.Fatal("the drain never ends")
	}
	if s.err != nil {
		s.t.Error(s.err)
	}
	return s.report
}

// dial connects a client that is closed with the test.
func (s *testServer) dial(o ...client.Option) *client.Client {
	s.t.Helper()
	c, err := client.Dial(testContext(s.t), s.Addrs()[0], o...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

func (s *testServer) login(uid uint64, o ...client.Option) *client.Client {
	s.t.Helper()
	c := s.dial(o...)
	if _, err := c.Login(testContext(s.t), fmt.Sprint("dev:", uid)); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// testContext ends well after any test should have.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	over := time.After(20 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("never: %s", what)
		}
	}
}

// blocking is a method, for every client, that runs fn on a worker.
func blocking(name string, fn func(c *rpc.Call) error) rpc.Method {
	return rpc.Method{Name: name, Public: true, Blocking: func(c *rpc.Call, _ *rpc.Args) (func([]byte) ([]byte, error), error) {
		return func(out []byte) ([]byte, error) { return wire.AppendNil(out), fn(c) }, nil
	}}
}

func only(methods ...rpc.Method) func(*handlers.Parts) []rpc.Method {
	return func(*handlers.Parts) []rpc.Method { return methods }
}
