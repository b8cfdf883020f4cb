package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/internal/future"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// deadline is how long a test waits for what must happen; only a failing one waits it out.
const deadline = 60 * time.Second

func TestMain(m *testing.M) {
	if dir := os.Getenv(lockChild); dir != "" {
		lockUntilKilled(dir)
		return
	}
	storetest.Main(m)
}

// rig is an SQL over one of the databases, and the log of its health.
type rig struct {
	*SQL
	dsn    string
	health *Health
	logs   *observer.ObservedLogs
}

// openRig opens the database with options changed by change (may be nil); the test's end closes it.
func openRig(t testing.TB, driver, dsn string, change func(*SQLOptions)) *rig {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	log := zap.New(core)
	health := NewHealth("sql", log, nil)
	o := SQLOptions{Driver: Driver(driver), DSN: dsn, Log: log, Health: health, Timeout: 20 * time.Second}
	if change != nil {
		change(&o)
	}
	s, err := OpenSQL(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return &rig{s, dsn, health, logs}
}

// hurried opens the same database again, for calls with a short time.
func (r *rig) hurried(t testing.TB, timeout time.Duration) *rig {
	t.Helper()
	return openRig(t, string(r.driver), r.dsn, func(o *SQLOptions) { o.Timeout = timeout })
}

// eachStore runs fn over both databases.
func eachStore(t *testing.T, change func(*SQLOptions), fn func(t *testing.T, r *rig)) {
	t.Helper()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) { fn(t, openRig(t, s.Driver, s.DSN, change)) })
}

// must runs a statement that has to succeed.
func (r *rig) must(t testing.TB, query string, args ...any) Result {
	t.Helper()
	result, err := wait(t, r.Exec(query, args...))
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return result
}

// one returns the single value of the single row of a query.
func (r *rig) one(t testing.TB, query string, args ...any) any {
	t.Helper()
	row, err := wait(t, r.FetchOne(query, args...))
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	var v any
	if err := row.Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// conn returns a connection that the test's end discards if it is still open.
func (r *rig) conn(t testing.TB) *Conn {
	t.Helper()
	c, err := r.Conn(within(t, deadline))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Discard)
	return c
}

// counter makes a table of numbers by key, with these keys, all 0.
func (r *rig) counter(t testing.TB, keys ...int64) {
	t.Helper()
	r.must(t, "CREATE TABLE counter (k BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)")
	for _, k := range keys {
		r.must(t, "INSERT INTO counter (k, n) VALUES (?, 0)", k)
	}
}

const (
	increment = "UPDATE counter SET n = n + 1 WHERE k = ?" // one row, by primary key
	readN     = "SELECT n FROM counter WHERE k = ?"        // one row, by primary key
)

func wait[T any](t testing.TB, f *future.Future[T]) (T, error) {
	t.Helper()
	v, err := f.Wait(within(t, deadline))
	if !f.Done() {
		t.Fatalf("no answer after %v", deadline)
	}
	return v, err
}

func receive[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	select {
	case v := <-from:
		return v
	case <-timer.C:
		t.Fatalf("waited %v for %s", deadline, what)
		panic("unreachable")
	}
}

// until calls done until it returns true, every few milliseconds.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	limit := time.NewTimer(deadline)
	defer limit.Stop()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited %v until %s", deadline, what)
		}
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func wantCode(t testing.TB, what string, err error, code wire.Code) {
	t.Helper()
	if wire.CodeOf(err) != code {
		t.Errorf("%s: got %v (%s), want %s", what, err, wire.CodeOf(err), code)
	}
}

// seeded returns a random source whose seed is in the test's log.
func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// inOrder is a Poster that runs what it gets at once, one after the other.
type inOrder struct{ mu sync.Mutex }

func (p *inOrder) AddCallback(fn func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
	return true
}

// fakeClock is moved by hand.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// lines are the messages that were logged, with the values of their fields.
func lines(logs *observer.ObservedLogs) (out []string) {
	for _, e := range logs.All() {
		out = append(out, fmt.Sprint(e.Message, " ", e.ContextMap()))
	}
	return out
}
