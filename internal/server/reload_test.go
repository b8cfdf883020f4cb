package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/client"
	"gameserverd/internal/config"
	"gameserverd/internal/handlers"
	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// with is a copy of a configuration with something else in it.
func with(cfg *config.Config, change func(*config.Config)) *config.Config {
	out := *cfg
	change(&out)
	return &out
}

// reload fails the test when it is refused.
func (s *testServer) reload(cfg *config.Config) (changed []config.Change, restart []string) {
	s.t.Helper()
	changed, restart, err := s.Reload(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return changed, restart
}

const restartLine = "settings that differ from the file until the daemon is restarted"

// What a reload changes counts for those who are connected as well.
func TestReloadOfLimitsCountsForThoseWhoAreThere(t *testing.T) {
	cfg := testConfig(t.TempDir())
	release := make(chan struct{})
	s := start(t, cfg, only(rpc.Method{Name: "wait", Public: true, Concurrent: true, Blocking: func(*rpc.Call, *rpc.Args) (func([]byte) ([]byte, error), error) {
		return func(out []byte) ([]byte, error) { <-release; return wire.AppendNil(out), nil }, nil
	}}))
	defer close(release)
	ctx := testContext(t)
	c := s.login(7)
	changed, restart := s.reload(with(cfg, func(c *config.Config) {
		c.Limits.MaxConcurrent, c.Limits.MaxConnections, c.Limits.RatePerSecond, c.Limits.RateBurst = 2, 2, 1000000, 1000
	}))
	if len(changed) != 4 || restart != nil {
		t.Errorf("changed %v, restart %v", changed, restart)
	}
	// A hub takes limits in its next turn, at the latest before what comes behind
	// the answer to a call that was made since.
	if err := c.Call(ctx, "sum", nil, 1, 2); err != nil {
		t.Fatal(err)
	}
	var late atomic.Int64
	for range 3 {
		go func() {
			if err := c.Call(ctx, "wait", nil); client.CodeOf(err) == client.ResourceExhausted {
				late.Add(1)
			}
		}()
	}
	eventually(t, "one call more than max_concurrent is refused", func() bool { return late.Load() == 1 })
	s.login(8)
	eventually(t, "a third connection is refused, on whichever hub", func() bool {
		third := s.dial(client.WithoutReconnect())
		defer third.Close()
		var closing *client.ClosingError
		_, err := third.Login(ctx, "dev:9")
		return errors.As(err, &closing) && closing.Code == wire.TooManyConnections
	})
}

// listen.protocols counts for new connections; old ones go on.
func TestReloadOfProtocols(t *testing.T) {
	cfg := testConfig(t.TempDir())
	s := start(t, cfg, nil)
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", s.Addrs()[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	// A bare request: [0, 1, "sum", [1, 2]] is answered by [1, 1, nil, 3].
	request, want := "\x94\x00\x01\xa3sum\x92\x01\x02", "\x94\x01\x01\xc0\x03"
	ask := func(c net.Conn) string {
		t.Helper()
		if _, err := c.Write([]byte(request)); err != nil {
			return err.Error()
		}
		b := make([]byte, len(want))
		n, err := c.Read(b)
		if err != nil {
			return err.Error()
		}
		return string(b[:n])
	}
	old := dial()
	if got := ask(old); got != want {
		t.Fatalf("before: %q", got)
	}
	s.reload(with(cfg, func(c *config.Config) { c.Listen.Protocols = []string{"frames"} }))
	if got := ask(old); got != want {
		t.Errorf("the old connection: %q", got)
	}
	if got := ask(dial()); got == want {
		t.Error("a new one is answered")
	}
}

// limits.max_write_buffer_bytes counts for connections that are there.
func TestReloadOfWriteBuffers(t *testing.T) {
	cfg := testConfig(t.TempDir())
	answer := strings.Repeat("x", 20<<10)
	s := start(t, cfg, only(rpc.Method{Name: "big", Public: true, Sync: func(_ *rpc.Call, _ *rpc.Args, out []byte) ([]byte, error) {
		return wire.AppendString(out, answer), nil
	}}))
	c, err := net.Dial("tcp", s.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// 200 MiB of answers, of which none is read: those to the 64 requests that are
	// handled in a turn stay within 4 MiB, and then the server stops to read more.
	if _, err := c.Write([]byte(strings.Repeat("\x94\x00\x01\xa3big\x90", 10_000))); err != nil {
		t.Fatal(err)
	}
	closed := func() bool { return s.peers.Counters.Closed()[wire.SlowConsumer] == 1 }
	eventually(t, "answers wait", func() bool { return s.budget.Used() > 100<<10 })
	if closed() {
		t.Fatal("closed before the reload")
	}
	s.reload(with(cfg, func(c *config.Config) {
		c.Limits.MaxWriteBufferBytes, c.Limits.MaxTotalWriteBufferBytes = 1<<10, 100<<20
	}))
	if s.budget.Limit() != 100<<20 {
		t.Errorf("all together may have %d", s.budget.Limit())
	}
	// Reading a little lets the server write the next answer.
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection is closed", func() bool {
		_, err := c.Read(make([]byte, 64<<10))
		return closed() || err != nil
	})
	eventually(t, "it is counted", closed)
}

// All that is wrong is found before anything changes.
func TestReloadIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	cfg := testConfig(dir)
	s := start(t, cfg, nil)
	before := s.settings.Load()
	pem := filepath.Join(dir, "no.pem")
	if err := os.WriteFile(pem, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.Reload(with(cfg, func(c *config.Config) {
		c.Game.StartGold, c.Limits.MaxConnections, c.Log.Level = 1, 5, "debug"
		c.Game.Shop = []string{"axe"}
		c.Listen.TLS = config.TLS{CertFile: pem, KeyFile: pem, Plain: "allow"}
	}))
	var problems config.Problems
	if !errors.As(err, &problems) || len(problems) != 2 || !strings.Contains(err.Error(), pem) || !strings.Contains(err.Error(), "game.shop") {
		t.Errorf("the error is %v", err)
	}
	if s.settings.Load() != before || s.maxConnections.Load() == 5 {
		t.Error("something has changed")
	}
	if n := s.logs.FilterMessage("setting changed").Len(); n != 0 {
		t.Errorf("%d lines say that something has changed", n)
	}
}

// A file with which the daemon could not be started again is refused, also when
// what is wrong with it would only count after the restart.
func TestReloadRefusesWhatARestartWould(t *testing.T) {
	cfg := testConfig(t.TempDir())
	s := start(t, cfg, nil)
	_, _, err := s.Reload(with(cfg, func(c *config.Config) {
		c.Auth.Mode, c.Auth.JWT.SecretFile, c.Game.StartGold = "jwt", []string{"/nonexistent/key"}, 1
	}))
	if err == nil || !strings.Contains(err.Error(), "auth.jwt.secret_file: open /nonexistent/key") || s.config().Game.StartGold == 1 {
		t.Errorf("%v, and a new player gets %d", err, s.config().Game.StartGold)
	}
}

// Before clients are served a reload waits.
func TestReloadWaitsForTheStart(t *testing.T) {
	cfg := testConfig(t.TempDir())
	core, logs := observer.New(zap.InfoLevel)
	s, err := New(cfg, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	reloaded := make(chan error, 1)
	go func() {
		_, _, err := s.Reload(with(cfg, func(c *config.Config) { c.Game.StartGold = 1 }))
		reloaded <- err
	}()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Run()
		ended <- err
	}()
	if err := <-reloaded; err != nil || s.config().Game.StartGold != 1 {
		t.Errorf("%v, and a new player gets %d", err, s.config().Game.StartGold)
	}
	if all := logs.All(); logs.FilterMessage("serving").Len() != 1 || all[len(all)-1].Message == "serving" {
		t.Errorf("the log is %v", all)
	}
	s.Shutdown("the test is over")
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, _, err := s.Reload(cfg); err != ErrDraining {
		t.Errorf("after the end: %v", err)
	}
}

// A reload that waits for a start that fails is let go.
func TestReloadOfAStartThatFails(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Store.Redis.URL, cfg.Store.StartTimeout = "redis://127.0.0.1:1", 50*time.Millisecond
	s, err := New(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	reloaded := make(chan error, 1)
	go func() {
		_, _, err := s.Reread("test")
		reloaded <- err
	}()
	if _, err := s.Run(); err == nil {
		t.Error("it started")
	}
	if err := <-reloaded; err != ErrDraining {
		t.Errorf("the reload: %v", err)
	}
}

// Reloads that come at once, from several sides and while the drain begins, each
// come whole; after the drain has begun none does.
func TestReloadsAtOnce(t *testing.T) {
	cfg := testConfig(t.TempDir())
	s := start(t, cfg, nil, restartLine)
	c := s.login(7)
	ctx := testContext(t)
	var reloading sync.WaitGroup
	var done atomic.Int64
	for i := range 4 {
		reloading.Go(func() {
			for n := 0; ; n++ {
				gold := int64(i*1_000_000 + n)
				_, restart, err := s.Reload(with(cfg, func(c *config.Config) {
					c.Game.StartGold, c.Game.WelcomeGold, c.Limits.MaxMailbox, c.Loop.Workers = gold, gold, 10+n%10, 3
				}))
				if errors.Is(err, ErrDraining) {
					return
				}
				if err != nil || fmt.Sprint(restart) != "[loop.workers]" {
					t.Errorf("restart %v, %v", restart, err)
					return
				}
				done.Add(1)
			}
		})
	}
	for n := 0; n < 200 || done.Load() < 20; n++ {
		if g := s.config().Game; g.StartGold != g.WelcomeGold && g.StartGold != cfg.Game.StartGold {
			t.Fatalf("half of a reload: %d and %d", g.StartGold, g.WelcomeGold)
		}
		if err := c.Call(ctx, "sum", nil, 1, 2); err != nil {
			t.Fatal(err)
		}
	}
	if report := s.drain(); !report.Clean {
		t.Errorf("the drain: %+v", report)
	}
	reloading.Wait()
}

// The areas of tests see what is in force by the same functions.
func TestAreasSeeWhatIsInForce(t *testing.T) {
	cfg := testConfig(t.TempDir())
	var parts *handlers.Parts
	s := start(t, cfg, func(p *handlers.Parts) []rpc.Method { parts = p; return nil })
	s.reload(with(cfg, func(c *config.Config) {
		c.Game.Shop, c.Game.DuelTimeout, c.Game.RoomMaxTextBytes = []string{"axe:7"}, time.Second, 9
		c.Limits.IdleTimeout = 9 * time.Second
	}))
	items := parts.Shop().Items()
	if len(items) != 1 || items[0].Price != 7 || parts.Duel().Timeout != time.Second || parts.Room().MaxTextBytes != 9 || parts.Auth().Heartbeat != 3*time.Second {
		t.Errorf("%v, %+v, %+v, %+v", items, parts.Duel(), parts.Room(), parts.Auth())
	}
	if n := testing.AllocsPerRun(100, func() { _ = parts.Duel().Timeout }); n != 0 {
		t.Errorf("asking costs %v allocations", n)
	}
}
