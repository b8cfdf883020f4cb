package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/client"
	"gameserverd/internal/config"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// storeLogs are what a store that goes away may have logged.
var storeLogs = []string{"store is unreachable", "waiting for a store", "stores did not close cleanly"}

// onMariaDB is a configuration with everything on a server of its own.
func onMariaDB(t *testing.T, dsn string) *config.Config {
	cfg := testConfig(t.TempDir())
	cfg.Listen.Admin = "127.0.0.1:0"
	cfg.Store.SQL.Driver, cfg.Store.SQL.DSN = "mysql", dsn
	return cfg
}

// ready is what /readyz says.
func (s *testServer) ready() (ok bool, text string) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.AdminAddr() + "/readyz")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode == http.StatusOK, string(b)
}

func (s *testServer) untilReady() {
	s.t.Helper()
	eventually(s.t, "ready", func() bool { ok, _ := s.ready(); return ok })
}

// put saves a value and returns its version.
func put(t *testing.T, c *client.Client, key string, value any) (version int64, err error) {
	t.Helper()
	var saved struct {
		Version int64 `msgpack:"version"`
	}
	err = c.Call(testContext(t), "save.put", &saved, key, value)
	return saved.Version, err
}

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != wire.Unavailable || e.RetryAfter <= 0 {
		t.Errorf("%s: %v", what, err)
	}
}

// away runs a daemon through an absence of its SQL server.
func away(t *testing.T, leave, comeBack func(*storetest.Server)) {
	sql := storetest.MariaDBAlone(t)
	s := start(t, onMariaDB(t, sql.DSN), nil, storeLogs...)
	s.untilReady()
	c := s.login(7)
	if v, err := put(t, c, "k", "before"); err != nil || v != 1 {
		t.Fatalf("version %d: %v", v, err)
	}
	leave(sql)

	began := time.Now()
	_, err := put(t, c, "k", "while away")
	wantUnavailable(t, "save.put", err)
	if took := time.Since(began); took > s.cfg.Store.Timeout+3*time.Second {
		t.Errorf("answered after %v", took)
	}
	var sum int64
	var player struct {
		Gold int64 `msgpack:"gold"`
	}
	if err := errors.Join(c.Call(testContext(t), "sum", &sum, 1, 2), c.Call(testContext(t), "player.get", &player)); err != nil || player.Gold != 100 {
		t.Errorf("calls that need no store: %v, %+v", err, player)
	}
	_, err = s.dial().Login(testContext(t), "dev:8")
	wantUnavailable(t, "auth.login", err)
	eventually(t, "not ready", func() bool {
		ok, text := s.ready()
		return !ok && strings.Contains(text, "sql")
	})

	comeBack(sql)
	back := time.Now()
	s.untilReady()
	for {
		v, err := put(t, c, "k", "after")
		if err == nil {
			if v < 2 || v > 3 {
				t.Errorf("version %d", v)
			}
			break
		}
		wantUnavailable(t, "save.put", err)
		if time.Since(back) > 10*time.Second {
			t.Fatal("does not recover")
		}
	}
	t.Logf("recovered %v after the store came back", time.Since(back))
	if n := s.logs.FilterMessage("store is unreachable").Len(); n != 1 {
		t.Errorf("logged %d times that the store is away", n)
	}
}

func TestSQLServerIsKilledAndComesBack(t *testing.T) {
	away(t, (*storetest.Server).Kill, (*storetest.Server).Start)
}

func TestSQLServerStallsAndGoesOn(t *testing.T) {
	away(t, (*storetest.Server).Stall, (*storetest.Server).Resume)
}

func TestRedisGoesAwayAndComesBackEmpty(t *testing.T) {
	redis := storetest.RedisAlone(t)
	cfg := testConfig(t.TempDir())
	cfg.Listen.Admin = "127.0.0.1:0"
	cfg.Store.Redis.URL, cfg.Game.BoardsIndex = redis.URL, "redis"
	s := start(t, cfg, nil, append(storeLogs, "board index is not whole", "board index is made again")...)
	s.untilReady()
	c := s.login(7)
	type best struct {
		Rank int64 `msgpack:"rank"`
		Best int64 `msgpack:"best"`
	}
	var got best
	if err := c.Call(testContext(t), "rank.submit", &got, "main", 50); err != nil || got != (best{1, 50}) {
		t.Fatalf("%+v %v", got, err)
	}
	redis.Kill()
	wantUnavailable(t, "rank.top", c.Call(testContext(t), "rank.top", nil, "main", 10))
	if v, err := put(t, c, "k", 1); err != nil || v != 1 {
		t.Errorf("a save needs no Redis: %v", err)
	}
	eventually(t, "not ready", func() bool {
		ok, text := s.ready()
		return !ok && strings.Contains(text, "redis")
	})
	redis.Start()
	eventually(t, "the board is back", func() bool {
		var top []struct {
			UID   uint64 `msgpack:"uid"`
			Score int64  `msgpack:"score"`
		}
		err := c.Call(testContext(t), "rank.top", &top, "main", 10)
		return err == nil && len(top) == 1 && top[0].UID == 7 && top[0].Score == 50
	})
	s.untilReady()
}

func TestStateSurvivesARestart(t *testing.T) {
	for _, driver := range []string{"sqlite", "mysql"} {
		t.Run(driver, func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			if driver == "mysql" {
				cfg = onMariaDB(t, storetest.MariaDB(t).DSN)
			}
			s := start(t, cfg, nil)
			c := s.login(7)
			ctx := testContext(t)
			if err := errors.Join(
				c.Call(ctx, "player.rename", nil, "Robert O'Brien %_"),
				c.Call(ctx, "shop.buy", nil, "potion", 3),
				c.Call(ctx, "save.put", nil, "slot", map[string]any{"level": 3}),
				c.Call(ctx, "rank.submit", nil, "main", 12),
			); err != nil {
				t.Fatal(err)
			}
			c.Close()
			if report := s.drain(); !report.Clean {
				t.Errorf("drain: %+v", report)
			}

			s = start(t, cfg, nil)
			c = s.login(7)
			var player struct {
				Name  string           `msgpack:"name"`
				Gold  int64            `msgpack:"gold"`
				Items map[string]int64 `msgpack:"items"`
			}
			var save struct {
				Value   map[string]int64 `msgpack:"value"`
				Version int64            `msgpack:"version"`
			}
			var top []struct {
				Rank int64  `msgpack:"rank"`
				Name string `msgpack:"name"`
			}
			if err := errors.Join(c.Call(ctx, "player.get", &player), c.Call(ctx, "save.get", &save, "slot"), c.Call(ctx, "rank.top", &top, "main", 5)); err != nil {
				t.Fatal(err)
			}
			if player.Name != "Robert O'Brien %_" || player.Gold != 70 || player.Items["potion"] != 3 {
				t.Errorf("player %+v", player)
			}
			if save.Version != 1 || save.Value["level"] != 3 || len(top) != 1 || top[0].Rank != 1 || top[0].Name != player.Name {
				t.Errorf("save %+v, top %+v", save, top)
			}
		})
	}
}

func TestOneDaemonForAFolder(t *testing.T) {
	cfg := testConfig(t.TempDir())
	start(t, cfg, nil)
	if s, err := New(cfg, zap.NewNop()); err == nil {
		s.release()
		t.Fatal("two daemons have one data_dir")
	} else if !strings.Contains(err.Error(), cfg.DataDir) || !strings.Contains(err.Error(), "process") {
		t.Errorf("the error does not say who has it: %v", err)
	}
}

func TestStartWaitsForTheStore(t *testing.T) {
	sql := storetest.MariaDBAlone(t)
	sql.Kill()
	s := start(t, onMariaDB(t, sql.DSN), nil, storeLogs...)
	eventually(t, "waiting", func() bool { return s.logs.FilterMessage("waiting for a store").Len() == 1 })
	if ok, text := s.ready(); ok || !strings.Contains(text, "starting") {
		t.Errorf("ready: %v %q", ok, text)
	}
	sql.Start()
	s.untilReady()
	if _, err := put(t, s.login(7), "k", 1); err != nil {
		t.Error(err)
	}
}

func TestStartGivesUpOnTheStore(t *testing.T) {
	sql := storetest.MariaDBAlone(t)
	sql.Kill()
	cfg := onMariaDB(t, sql.DSN)
	cfg.Store.StartTimeout = 300 * time.Millisecond
	core, _ := observer.New(zapcore.InfoLevel)
	s, err := New(cfg, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(); err == nil || !strings.Contains(err.Error(), "store.start_timeout") || !strings.Contains(err.Error(), "sql") {
		t.Errorf("got %v", err)
	}
}

// A server that stops in the middle of the start, when statements without a time
// limit of their own run, does not hold it for good.
func TestStartGivesUpOnAStoreThatStallsWhileItLoads(t *testing.T) {
	sql := storetest.MariaDBAlone(t)
	start(t, onMariaDB(t, sql.DSN), nil).untilReadyThenDrain()
	db := openDB(t, sql.DSN)
	lock, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := lock.ExecContext(t.Context(), "LOCK TABLES ranks WRITE"); err != nil {
		t.Fatal(err)
	}
	cfg := onMariaDB(t, sql.DSN)
	cfg.Store.Timeout, cfg.Store.StartTimeout = 200*time.Millisecond, 500*time.Millisecond
	s, err := New(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := s.Run(); ended <- err }()
	eventually(t, "the boards are being loaded", func() bool {
		var waiting int
		const query = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%'"
		return db.QueryRowContext(t.Context(), query).Scan(&waiting) == nil && waiting > 0
	})
	sql.Stall()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "store.start_timeout") {
			t.Errorf("Run ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the start goes on waiting")
		s.Shutdown("the test ends")
		<-ended
	}
	sql.Resume()
}

// untilReadyThenDrain has the tables made.
func (s *testServer) untilReadyThenDrain() {
	s.t.Helper()
	s.untilReady()
	if report := s.drain(); !report.Clean {
		s.t.Errorf("drain: %+v", report)
	}
}

// openDB is the database without the daemon between.
func openDB(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestSignalWhileWaitingForTheStore(t *testing.T) {
	sql := storetest.MariaDBAlone(t)
	sql.Kill()
	s := start(t, onMariaDB(t, sql.DSN), nil, storeLogs...)
	eventually(t, "waiting", func() bool { return s.logs.FilterMessage("waiting for a store").Len() == 1 })
	if report := s.drain(); !report.Clean {
		t.Errorf("drain: %+v", report)
	}
}

func TestDrainCommitsWhatWasSent(t *testing.T) {
	dir := t.TempDir()
	s := start(t, testConfig(dir), nil)
	const players, each = 20, 10
	type answer struct {
		uid uint64
		key string
		err error
	}
	answers := make(chan answer, players*each)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for uid := uint64(1); uid <= players; uid++ {
		c := s.login(uid)
		for i := range each {
			key := fmt.Sprint("k", i)
			go func() {
				answers <- answer{uid, key, c.Call(ctx, "save.put", nil, key, uid)}
			}()
		}
	}
	first := <-answers
	go func(s *testServer) {
		s.Shutdown("now")
		<-s.ended
		cancel() // calls that came too late to be sent wait for another daemon
	}(s)
	acknowledged := []answer{first}
	for range players*each - 1 {
		if a := <-answers; a.err == nil {
			acknowledged = append(acknowledged, a)
		} else if code := wire.CodeOf(a.err); code != wire.Unavailable && code != wire.Canceled && !errors.Is(a.err, context.Canceled) {
			t.Error(a.err)
		}
	}
	if report := s.drain(); !report.Clean {
		t.Errorf("drain: %+v", report)
	}
	t.Logf("%d of %d acknowledged", len(acknowledged), players*each)

	s = start(t, testConfig(dir), nil)
	clients := map[uint64]*client.Client{}
	for _, a := range acknowledged {
		if a.err != nil {
			continue
		}
		if clients[a.uid] == nil {
			clients[a.uid] = s.login(a.uid)
		}
		if err := clients[a.uid].Call(testContext(t), "save.get", nil, a.key); err != nil {
			t.Errorf("player %d, %s: %v", a.uid, a.key, err)
		}
	}
}

// Who is on another daemon by now is answered first, and then told to go.
func TestTheLastWriteOnALostPlayerIsAborted(t *testing.T) {
	dsn := storetest.MariaDB(t).DSN
	const lost = "lost a player to another process: its change was not stored"
	a, b := start(t, onMariaDB(t, dsn), nil, lost), start(t, onMariaDB(t, dsn), nil)
	old := a.login(7)
	now := b.login(7)
	if _, err := put(t, old, "k", 1); wire.CodeOf(err) != wire.Aborted {
		t.Errorf("a write on the older session: %v", err)
	}
	eventually(t, "the older session's end", func() bool { return a.peers.Connections() == 0 })
	if version, err := put(t, now, "k", 2); err != nil || version != 1 {
		t.Errorf("a write on the newer session: version %d, %v", version, err)
	}
}
