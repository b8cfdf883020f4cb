package boards

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/internal/future"
	"gameserverd/internal/store"
	"gameserverd/internal/store/embedded"
	"gameserverd/internal/store/schema"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// patience is how long a test waits for what is sure to come.
const patience = 20 * time.Second

// rig is what boards stand on in a test: a database with the tables, and a Redis or none.
type rig struct {
	t      testing.TB
	db     *store.SQL
	redis  *store.Redis                              // nil: in memory
	server func(cmd string, args ...any) store.Reply // runs a command in Redis, as somebody else
	logs   *observer.ObservedLogs
	log    *zap.Logger
	place  redisPlace

	timeout time.Duration // of calls to Redis
}

// redisPlace is where a Redis is.
type redisPlace struct {
	url  string // "": there is none
	dial *embedded.Server
}

// overIndexes runs fn over each kind of index as a subtest.
func overIndexes(t *testing.T, fn func(t *testing.T, r *rig)) {
	t.Run("memory", func(t *testing.T) { fn(t, newRig(t, redisPlace{})) })
	overRedis(t, fn)
}

// overRedis runs fn over the embedded and a real Redis, each fresh.
func overRedis(t *testing.T, fn func(t *testing.T, r *rig)) {
	t.Run("embedded", func(t *testing.T) { fn(t, newRig(t, embeddedRedis(t))) })
	t.Run("redis", func(t *testing.T) { fn(t, newRig(t, redisPlace{url: storetest.Redis(t).URL})) })
}

func embeddedRedis(t testing.TB) redisPlace {
	server, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return redisPlace{url: "embedded", dial: server}
}

func newRig(t testing.TB, place redisPlace) *rig {
	t.Helper()
	return newRigOver(t, place, storetest.Store{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "db")})
}

// hasty is a rig for tests that wait for calls to be given up.
func hasty(t testing.TB, server *storetest.Server) *rig {
	t.Helper()
	g := newRig(t, redisPlace{url: server.URL})
	g.timeout = 700 * time.Millisecond
	g.redis = g.connect()
	return g
}

func newRigOver(t testing.TB, place redisPlace, s storetest.Store) *rig {
	core, logs := observer.New(zap.InfoLevel)
	r := &rig{t: t, logs: logs, log: zap.New(core), place: place, timeout: 10 * time.Second}
	var err error
	if r.db, err = store.OpenSQL(store.SQLOptions{Driver: store.Driver(s.Driver), DSN: s.DSN, Timeout: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.closed(r.db.Close) })
	if _, err := schema.Up(context.Background(), r.db, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	if place.url != "" {
		r.redis = r.connect()
		other := r.connect()
		r.server = func(cmd string, args ...any) store.Reply {
			t.Helper()
			reply, err := other.ExecuteContext(context.Background(), cmd, args...)
			if err != nil {
				t.Fatalf("%s: %v", cmd, err)
			}
			return reply
		}
	}
	return r
}

// connect opens one more client of the Redis, as another process has.
func (r *rig) connect() *store.Redis {
	o := store.RedisOptions{URL: r.place.url, Timeout: r.timeout, PoolSize: 8}
	if r.place.dial != nil {
		o.Dial = r.place.dial.Dial
	}
	c, err := store.OpenRedis(o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { r.closed(c.Close) })
	return c
}

func (r *rig) closed(closing func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := closing(ctx); err != nil {
		r.t.Errorf("closing: %v", err)
	}
}

// boards are those of one process. They are not loaded.
func (r *rig) boards(all ...Board) *Boards {
	if len(all) == 0 {
		all = []Board{{Name: "main"}}
	}
	b := New(Options{Boards: all, DB: r.db, Redis: r.redis, Timeout: r.timeout, Log: r.log})
	r.t.Cleanup(func() { r.closed(b.Close) })
	return b
}

// index is one index alone, of the board main, which reads with read.
func (r *rig) index(read reader) index {
	var x index = newMemory(Board{Name: "main"})
	if r.redis != nil {
		remote := newRemote(Options{Redis: r.redis, Timeout: r.timeout, Log: r.log}, Board{Name: "main"}, read)
		remote.part = 300 // so that a test's few rows are many parts; only a pass looks at it
		x = remote
	}
	r.t.Cleanup(func() { r.closed(x.close) })
	return x
}

// loaded are boards of one process, after Load.
func (r *rig) loaded(all ...Board) *Boards {
	r.t.Helper()
	b := r.boards(all...)
	r.load(b)
	return b
}

func (r *rig) load(b *Boards) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Load(ctx, nil); err != nil {
		r.t.Fatalf("Load: %v", err)
	}
}

// store writes an entry to SQL, as the player's transaction does before Put.
func (r *rig) store(board string, e Entry) {
	r.t.Helper()
	uid := int64(e.UID)
	r.transact(func(tx *store.Tx) error {
		if _, err := tx.Exec(`DELETE FROM ranks WHERE uid = ? AND board = ?`, uid, board); err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO ranks (uid, board, score, came) VALUES (?, ?, ?, ?)`, uid, board, e.Score, e.Came); err != nil {
			return err
		}
		return insertPlayer(tx, e.UID, e.Name)
	})
}

func (r *rig) storeName(uid uint64, name string) {
	r.t.Helper()
	r.transact(func(tx *store.Tx) error { return insertPlayer(tx, uid, name) })
}

func insertPlayer(tx *store.Tx, uid uint64, name string) error {
	if _, err := tx.Exec(`DELETE FROM players WHERE uid = ?`, int64(uid)); err != nil {
		return err
	}
	const insert = `INSERT INTO players (uid, name, level, gold, items, created_ms, seen_ms, version) VALUES (?, ?, 1, 0, ?, 0, 0, 1)`
	_, err := tx.Exec(insert, int64(uid), name, []byte("{}"))
	return err
}

func (r *rig) transact(fn func(tx *store.Tx) error) {
	r.t.Helper()
	if err := r.db.TransactContext(context.Background(), func(_ context.Context, tx *store.Tx) error { return fn(tx) }); err != nil {
		r.t.Fatal(err)
	}
}

// storeAll writes many new entries in few statements.
func (r *rig) storeAll(board string, entries []Entry) {
	r.t.Helper()
	const some = 500
	for len(entries) > 0 {
		n := min(some, len(entries))
		var players, ranks []any
		for _, e := range entries[:n] {
			players = append(players, int64(e.UID), e.Name, 1, 100, []byte(`{"potion":3}`), 0, 0, 1)
			ranks = append(ranks, int64(e.UID), board, e.Score, e.Came)
		}
		r.transact(func(tx *store.Tx) error {
			if _, err := tx.Exec(`INSERT INTO players (uid, name, level, gold, items, created_ms, seen_ms, version) VALUES `+times(n, "(?,?,?,?,?,?,?,?)"), players...); err != nil {
				return err
			}
			_, err := tx.Exec(`INSERT INTO ranks (uid, board, score, came) VALUES `+times(n, "(?,?,?,?)"), ranks...)
			return err
		})
		entries = entries[n:]
	}
}

func times(n int, s string) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }

// result waits for a future's.
func result[T any](t testing.TB, f *future.Future[T]) (T, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	v, err := f.Wait(ctx)
	if ctx.Err() != nil {
		t.Fatal("a future has no result")
	}
	return v, err
}

// must is the result of a future that does not fail.
func must[T any](t testing.TB, f *future.Future[T]) T {
	t.Helper()
	v, err := result(t, f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// wantUnavailable fails unless err tells a client to come back in a second.
func wantUnavailable(t testing.TB, err error) {
	t.Helper()
	if wire.CodeOf(err) != wire.Unavailable {
		t.Errorf("%v, want unavailable", err)
		return
	}
	if e := asWire(err); e.RetryAfter <= 0 {
		t.Errorf("%v does not say when to come back", err)
	}
}

// until waits for a condition.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(late) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
