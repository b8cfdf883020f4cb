package commit_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/commit"
	"gameserverd/internal/store"
	"gameserverd/internal/store/schema"
	"gameserverd/internal/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// deadline is how long a test waits for what must happen.
const deadline = 60 * time.Second

var (
	players = commit.NewTable("players", []string{"uid"}, "name", "level", "gold", "items", "created_ms", "seen_ms", "version")
	saves   = commit.NewTable("saves", []string{"uid", "save_key"}, "value", "version", "updated_ms")
	mail    = commit.NewTable("mail", []string{"uid", "id"}, "source", "title", "gold", "items", "sent_ms", "expires_ms")
	claims  = commit.NewTable("claims", []string{"uid", "id"}, "claimed_ms")
	names   = commit.NewTable("names", []string{"name_key"}, "uid")
	keys    = commit.NewTable("tasks_keys", []string{"unique_key"}, "id", "until_ms").Expiring("until_ms")
	ranks   = commit.NewTable("ranks", []string{"uid", "board"}, "score", "came")
)

func player(op commit.Op, uid uint64, gold, version int64) commit.Row {
	return commit.Row{Op: op, Table: players, Values: []any{int64(uid), "somebody", int64(1), gold, []byte("{}"), int64(1), int64(2), version}}
}

func save(uid uint64, key string, value []byte, version int64) commit.Row {
	return commit.Row{Table: saves, Values: []any{int64(uid), key, value, version, int64(7)}}
}

func letter(uid uint64, id int64, source string) commit.Row {
	return commit.Row{Op: commit.Insert, Table: mail, Values: []any{int64(uid), id, source, "hello", int64(5), []byte("{}"), int64(1), int64(2)}}
}

// direct is a Poster that runs what it gets at once. The zero value is ready.
type direct struct{}

func (direct) AddCallback(fn func()) bool { fn(); return true }

// open opens a database that has the tables.
func open(t testing.TB, driver, dsn string) *store.SQL {
	t.Helper()
	db, err := store.OpenSQL(store.SQLOptions{Driver: store.Driver(driver), DSN: dsn, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := db.Close(ctx); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return db
}

func migrated(t testing.TB, driver, dsn string) *store.SQL {
	t.Helper()
	db := open(t, driver, dsn)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if _, err := schema.Up(ctx, db, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	return db
}

// patience is the Timeout of Groups that are not to time out, on a busy machine either.
const patience = 20 * time.Second

// group makes a Group, breakable if faults is not nil, that the test's end closes.
func group(t testing.TB, o commit.Options, faults *faults) *commit.Group {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = patience
	}
	g := commit.NewAround(o, func(s commit.Session) commit.Session {
		if faults == nil {
			return s
		}
		return &faulty{Session: s, faults: faults}
	})
	t.Cleanup(func() { closeGroup(t, g) })
	return g
}

func closeGroup(t testing.TB, g *commit.Group) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := g.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// result is what a change's Done was given. A second Done fails the test.
type result struct {
	t       testing.TB
	c       *commit.Change
	ch      chan commit.Outcome
	mu      sync.Mutex
	outcome commit.Outcome
	done    bool
}

func prepare(t testing.TB, c *commit.Change) *result {
	r := &result{t: t, c: c, ch: make(chan commit.Outcome, 1)}
	if c.Home == nil {
		c.Home = direct{}
	}
	c.Done = func(o commit.Outcome) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.done {
			t.Errorf("Done was called twice: %+v after %+v", o, r.outcome)
		}
		r.outcome, r.done = o, true
		close(r.ch)
	}
	return r
}

func submit(t testing.TB, g *commit.Group, c *commit.Change) *result {
	t.Helper()
	r := prepare(t, c)
	if err := g.Submit(c); err != nil {
		t.Fatalf("Submit: %v", err)
	}
	return r
}

// wait returns the outcome, for as long as it takes.
func (r *result) wait() commit.Outcome {
	r.t.Helper()
	select {
	case <-r.ch:
		return r.outcome
	case <-time.After(deadline):
		r.t.Fatalf("no outcome of a change of %d in %v", r.c.UID, deadline)
		return commit.Outcome{}
	}
}

func (r *result) known() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done
}

func (r *result) stored() commit.Outcome {
	r.t.Helper()
	o := r.wait()
	if o.Err != nil {
		r.t.Errorf("a change of %d: %v", r.c.UID, o.Err)
	}
	return o
}

func (r *result) fails(want error) {
	r.t.Helper()
	if o := r.wait(); !errors.Is(o.Err, want) {
		r.t.Errorf("a change of %d: %+v, want %v", r.c.UID, o, want)
	}
}

// eventually waits for a condition that no channel tells.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(deadline)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("it never was so that %s", what)
		}
		<-ticker.C
	}
}

// rows returns what a query finds, as text: values with commas, rows with semicolons.
func rows(t testing.TB, db *store.SQL, query string, args ...any) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	found, err := db.FetchAllContext(ctx, query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	var all []string
	for _, row := range found {
		values := make([]any, row.Len())
		dst := make([]any, row.Len())
		for i := range values {
			dst[i] = &values[i]
		}
		if err := row.Scan(dst...); err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, v := range values {
			if b, ok := v.([]byte); ok {
				v = string(b)
			}
			words = append(words, fmt.Sprint(v))
		}
		all = append(all, strings.Join(words, ","))
	}
	return strings.Join(all, ";")
}

func expect(t testing.TB, db *store.SQL, want, query string, args ...any) {
	t.Helper()
	if got := rows(t, db, query, args...); got != want {
		t.Errorf("%s: %s, want %s", query, got, want)
	}
}

// errLost is what a session says whose connection went.
var errLost = fmt.Errorf("for the test: %w", driver.ErrBadConn)

// A fault says what is done to one call of a session. It is asked before the call, with "BEGIN", "COMMIT", "ROLLBACK" or the text of a
// statement.
type fault func(ctx context.Context, call func() error) error

// The faults. After each but slow the connection is as good as lost.
func loseRequest(context.Context, func() error) error { return errLost }
func loseReply(_ context.Context, call func() error) error {
	if err := call(); err != nil {
		return err
	}
	return errLost
}

// hang never calls, and ends with ctx.
func hang(ctx context.Context, _ func() error) error {
	<-ctx.Done()
	return fmt.Errorf("for the test: %w", ctx.Err())
}

// answer says err in place of calling.
func answer(err error) fault { return func(context.Context, func() error) error { return err } }

// hold calls when let is closed; met is closed before.
func hold(met, let chan struct{}) fault {
	return func(ctx context.Context, call func() error) error {
		close(met)
		select {
		case <-let:
			return call()
		case <-ctx.Done():
			return fmt.Errorf("for the test: %w", ctx.Err())
		}
	}
}

// faults decides which calls are broken. The zero value breaks none.
type faults struct {
	mu     sync.Mutex
	decide func(call string, args int) fault // nil: none
	calls  []string
}

// set gives the decision from now on; nil: no fault.
func (f *faults) set(decide func(call string, args int) fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decide = decide
}

// next breaks the next calls whose text begins so, one with each fault; the others stay whole.
func (f *faults) next(call string, list ...fault) {
	f.set(func(got string, _ int) fault {
		if len(list) == 0 || !strings.HasPrefix(got, call) {
			return nil
		}
		first := list[0]
		list = list[1:]
		return first
	})
}

// heard returns the calls since the last heard.
func (f *faults) heard() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *faults) meet(ctx context.Context, text string, args int, call func() error) error {
	f.mu.Lock()
	f.calls = append(f.calls, text)
	var found fault
	if f.decide != nil {
		found = f.decide(text, args)
	}
	f.mu.Unlock()
	if found == nil {
		return call()
	}
	return found(ctx, call)
}

// faulty is a session that breaks as faults say. A call that is lost leaves the real connection as it is until Discard, as a network
// does.
type faulty struct {
	commit.Session
	faults *faults
}

func (s *faulty) Begin(ctx context.Context) error {
	return s.faults.meet(ctx, "BEGIN", 0, func() error { return s.Session.Begin(ctx) })
}

func (s *faulty) Commit(ctx context.Context) error {
	return s.faults.meet(ctx, "COMMIT", 0, func() error { return s.Session.Commit(ctx) })
}

func (s *faulty) Rollback(ctx context.Context) error {
	return s.faults.meet(ctx, "ROLLBACK", 0, func() error { return s.Session.Rollback(ctx) })
}

func (s *faulty) Exec(ctx context.Context, st *commit.Statement, args ...any) error {
	return s.faults.meet(ctx, st.Text(), len(args), func() error { return s.Session.Exec(ctx, st, args...) })
}

func (s *faulty) FetchAll(ctx context.Context, st *commit.Statement, args ...any) (found []store.Row, err error) {
	err = s.faults.meet(ctx, st.Text(), len(args), func() error {
		found, err = s.Session.FetchAll(ctx, st, args...)
		return err
	})
	return found, err
}

// blocked makes a Group whose first COMMIT waits, with a change in it, so that what is submitted meanwhile is one batch. It returns
// the function that lets it go on.
func blocked(t testing.TB, o commit.Options) (g *commit.Group, f *faults, let func()) {
	t.Helper()
	f = &faults{}
	g = group(t, o, f)
	met, free := make(chan struct{}), make(chan struct{})
	f.next("COMMIT", hold(met, free))
	first := submit(t, g, &commit.Change{Rows: []commit.Row{save(1<<40, "first", nil, 1)}})
	select {
	case <-met:
	case <-time.After(deadline):
		t.Fatal("the first batch has not come to its COMMIT")
	}
	return g, f, sync.OnceFunc(func() {
		close(free)
		first.stored()
	})
}
