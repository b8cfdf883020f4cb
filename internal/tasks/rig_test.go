package tasks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"gameserverd/internal/commit"
	"gameserverd/internal/future"
	"gameserverd/internal/store"
	"gameserverd/internal/store/embedded"
	"gameserverd/internal/store/schema"
	"gameserverd/internal/storetest"
)

// place is where the tasks of one or more processes are.
type place struct {
	t           testing.TB
	driver, dsn string
	redis       string // URL; "" is one embedded Redis for all
	embedded    *embedded.Server
	mu          sync.Mutex
	ran         map[string]int // runs that began, by name and argument
	order       []string
}

// eachPlace runs fn over SQLite with the embedded Redis, and over real servers.
func eachPlace(t *testing.T, fn func(t *testing.T, p *place)) {
	t.Parallel() // they wait more than they work
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		fn(t, onEmbedded(t))
	})
	t.Run("servers", func(t *testing.T) {
		t.Parallel()
		fn(t, onServers(t, storetest.MariaDB(t), storetest.Redis(t)))
	})
}

func onEmbedded(t testing.TB) *place {
	p := &place{t: t, driver: "sqlite", dsn: t.TempDir() + "/g.db", ran: make(map[string]int)}
	server, err := embedded.Start(embedded.Options{Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	p.embedded = server
	p.migrate()
	return p
}

func onServers(t testing.TB, sql, redis *storetest.Server) *place {
	p := &place{t: t, driver: "mysql", dsn: sql.DSN, redis: redis.URL, ran: make(map[string]int)}
	p.migrate()
	return p
}

func (p *place) openSQL() *store.SQL {
	p.t.Helper()
	sql, err := store.OpenSQL(store.SQLOptions{Driver: store.Driver(p.driver), DSN: p.dsn, Timeout: 2 * time.Second})
	if err != nil {
		p.t.Fatal(err)
	}
	return sql
}

func (p *place) migrate() {
	p.t.Helper()
	sql := p.openSQL()
	if _, err := schema.Up(limited(p.t), sql, zap.NewNop()); err != nil {
		p.t.Fatal(err)
	}
	if err := sql.Close(limited(p.t)); err != nil {
		p.t.Fatal(err)
	}
}

func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// process is one process that applies and runs tasks.
type process struct {
	*Tasks
	place *place
	sql   *store.SQL
	group *commit.Group
	redis *store.Redis
	once  sync.Once
}

// begin starts a process. The definitions' functions see the place's counts.
func (p *place) begin(concurrency int, change func(*Options)) *process {
	p.t.Helper()
	pr := &process{place: p, sql: p.openSQL()}
	log := zap.NewNop()
	if os.Getenv("TASKS_LOG") != "" {
		log = zaptest.NewLogger(p.t)
	}
	pr.group = commit.New(commit.Options{DB: pr.sql, Log: log})
	ro := store.RedisOptions{URL: p.redis, Timeout: 2 * time.Second, PoolSize: 50}
	if p.embedded != nil {
		ro.URL = "embedded"
		ro.Dial = func(ctx context.Context) (net.Conn, error) { return p.embedded.Dial(ctx) }
	}
	var err error
	if pr.redis, err = store.OpenRedis(ro); err != nil {
		p.t.Fatal(err)
	}
	o := Options{
		SQL: pr.sql, Group: pr.group, Redis: pr.redis, Concurrency: concurrency, Queues: map[string]int{"default": 3, "low": 1},
		CatchUp: time.Hour, Parts: &Parts{SQL: pr.sql, Log: log, Clock: time.Now}, Log: log, Clock: time.Now, Definitions: p.definitions(),
	}
	if change != nil {
		change(&o)
	}
	if pr.Tasks, err = New(o); err != nil {
		p.t.Fatal(err)
	}
	if err := pr.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(pr.end)
	return pr
}

// end drains the process and closes it.
func (pr *process) end() {
	pr.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		pr.Drain(ctx)
		pr.closeStores()
	})
}

func (pr *process) closeStores() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := pr.Close(ctx); err != nil {
		pr.place.t.Errorf("closing: %v", err)
	}
	_ = pr.group.Close(ctx)
	_ = pr.redis.Close(ctx)
	_ = pr.sql.Close(ctx)
}

// note counts a run.
func (p *place) note(what string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ran[what]++
	p.order = append(p.order, what)
	return p.ran[what]
}

func (p *place) times(what string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ran[what]
}

// definitions are as the generator would write them.
func (p *place) definitions() []*Definition {
	one := func(name string, ephemeral bool, fn func(c *Call, s string) (string, error)) *Definition {
		return &Definition{Name: name, Params: []string{"s string"}, Retries: 2, Ephemeral: ephemeral,
			Bind: func(args []byte) (func(*Call) ([]byte, error), error) {
				var s string
				if err := Decode(name, args, Arg{"s", &s}); err != nil {
					return nil, err
				}
				return func(c *Call) ([]byte, error) {
					result, err := fn(c, s)
					if err != nil {
						return nil, err
					}
					return EncodeResult(result)
				}, nil
			}}
	}
	double := func(_ *Call, s string) (string, error) {
		p.note(s)
		return s + s, nil
	}
	fail := func(_ *Call, s string) (string, error) {
		n := p.note(s)
		if left, err := strconv.Atoi(s); err == nil && n > left {
			return "at last", nil
		}
		return "", fmt.Errorf("failure %d", n)
	}
	wait := func(c *Call, s string) (string, error) {
		p.note(s)
		<-c.Done()
		return "", c.Err()
	}
	poison := func(_ *Call, s string) (string, error) {
		p.note(s)
		return s[:len(s)+p.times(s)], nil
	}
	return []*Definition{
		one("test.double", false, double), one("test.fail", false, fail), one("test.wait", false, wait), one("test.poison", false, poison),
		one("test.quick", true, double), one("test.quickfail", true, fail), one("test.quickwait", true, wait),
		{Name: "test.tick", Params: []string{"ms int64"}, Retries: 3, Bind: func(args []byte) (func(*Call) ([]byte, error), error) {
			var ms int64
			if err := Decode("test.tick", args, Arg{"ms", &ms}); err != nil {
				return nil, err
			}
			return func(*Call) ([]byte, error) {
				p.note("tick " + strconv.FormatInt(ms, 10))
				return nil, nil
			}, nil
		}},
	}
}

// of is a task of the place's definitions.
func of(pr *process, name string, args ...any) Task[string] {
	return Make[string](pr.define(name), args...)
}

// must applies a task and waits for its row.
func must(pr *process, task Task[string], list ...Option) *Receipt[string] {
	pr.place.t.Helper()
	r, err := Apply(pr.Tasks, task, list...)
	if err != nil {
		pr.place.t.Fatal(err)
	}
	wait(pr.place.t, r.Stored())
	return r
}

func wait[T any](t testing.TB, f *future.Future[T]) T {
	t.Helper()
	v, err := f.Wait(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func eventually(t testing.TB, what string, within time.Duration, ok func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(within); !ok(); <-look.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// ended waits until a task is in a state.
func (pr *process) becomes(id ID, state State, within time.Duration) (info Info) {
	pr.place.t.Helper()
	eventually(pr.place.t, fmt.Sprintf("task %s is %v", id, state), within, func() bool {
		var err error
		info, err = pr.Show(limited(pr.place.t), id)
		return err == nil && info.state == state
	})
	return info
}

func seeded(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	if text := os.Getenv("SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	t.Logf("SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}
