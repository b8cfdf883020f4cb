package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/wire"
)

func openSQLite(t testing.TB, change func(*SQLOptions)) *rig {
	t.Helper()
	return openRig(t, "sqlite", filepath.Join(t.TempDir(), "game.db"), change)
}

// TestSQLiteWritersTakeTurns has two group commits that never pause, and everything else beside them.
func TestSQLiteWritersTakeTurns(t *testing.T) {
	r := openSQLite(t, nil)
	r.counter(t, 1, 2, 3, 4)
	const rounds = 40
	ctx, cancel := context.WithCancel(within(t, deadline))
	var expected, execs, transactions, reads atomic.Int64
	var committers, others sync.WaitGroup
	for range 2 {
		c := r.conn(t)
		committers.Go(func() {
			add, err := c.Prepare(ctx, increment)
			for range rounds {
				if err == nil {
					err = c.Begin(ctx)
				}
				for k := range 20 {
					if err == nil {
						_, err = add.Exec(ctx, k%4+1)
					}
				}
				if err == nil {
					err = c.Commit(ctx)
				}
				if err != nil {
					t.Errorf("committer: %v", err)
					return
				}
				expected.Add(20)
			}
		})
	}
	loop := func(what string, done *atomic.Int64, call func() error) {
		others.Go(func() {
			for ctx.Err() == nil {
				if err := call(); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
				done.Add(1)
			}
		})
	}
	outside := context.Background()
	for range 2 {
		loop("Exec", &execs, func() error { return second(r.ExecContext(outside, increment, 1)) })
		loop("Transact", &transactions, func() error {
			return r.TransactContext(outside, func(_ context.Context, tx *Tx) error { return second(tx.Exec(increment, 2)) })
		})
		loop("FetchAll", &reads, func() error { return second(r.FetchAllContext(outside, "SELECT k, n FROM counter")) })
		loop("Each", &reads, func() error {
			return r.Each(outside, "SELECT k FROM counter", nil, func(Row) error { return nil })
		})
	}
	committers.Wait()
	cancel()
	others.Wait()
	want := expected.Load() + execs.Load() + transactions.Load()
	if n := r.one(t, "SELECT sum(n) FROM counter"); n != want {
		t.Errorf("%v were stored, want %d", n, want)
	}
	// The four callers share one turn with two committers, first come first served: about one for each round of one of them.
	if n := execs.Load() + transactions.Load(); n < rounds/3 || reads.Load() < rounds/3 {
		t.Errorf("in %d rounds %d writes and %d reads came through", rounds, n, reads.Load())
	}
	wantUp(t, r)
}

func TestSQLiteSettings(t *testing.T) {
	r := openSQLite(t, nil)
	r.must(t, "CREATE TABLE t (x BIGINT)")
	c := r.conn(t)
	db, err := r.DB()
	if err != nil {
		t.Fatal(err)
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "10000", "foreign_keys": "0"} {
		ctx := within(t, deadline)
		pinned, err := c.FetchOne(ctx, "PRAGMA "+pragma)
		if err != nil || fmt.Sprint(pinned.values[0]) != want {
			t.Errorf("%s of a Conn: %v, %v", pragma, pinned.values, err)
		}
		if got := fmt.Sprint(r.one(t, "PRAGMA "+pragma)); got != want {
			t.Errorf("%s of a reader: %s", pragma, got)
		}
		if err := r.TransactContext(ctx, func(_ context.Context, tx *Tx) error {
			row, err := tx.FetchOne("PRAGMA " + pragma)
			if err == nil && fmt.Sprint(row.values[0]) != want {
				t.Errorf("%s of the writer: %v", pragma, row.values)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
		var got string
		if err := db.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s for migrations: %s, %v", pragma, got, err)
		}
	}
	_, err = wait(t, r.FetchOne("INSERT INTO t (x) VALUES (1) RETURNING x"))
	wantOrdinary(t, "a FetchOne that writes", err)
	_, err = wait(t, r.FetchOne(`SELECT "text"`))
	wantOrdinary(t, "a string in double quotes", err)
	wantUp(t, r)
}

func TestSQLiteOddPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?mode=memory#c%41&d;é.db")
	r := openRig(t, "sqlite", path, nil)
	r.counter(t, 1)
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		t.Error(err)
	}
	if n := openRig(t, "sqlite", path, nil).one(t, readN, 1); n != int64(0) {
		t.Errorf("%v", n)
	}
}

// TestSQLiteWaitsForOtherPrograms has somebody who is not of this SQL hold the file: for a while, and for too long.
func TestSQLiteWaitsForOtherPrograms(t *testing.T) {
	r := openSQLite(t, nil)
	r.counter(t, 1)
	other := openRig(t, "sqlite", r.dsn, nil).conn(t)
	ctx := within(t, deadline)
	hold := func() {
		t.Helper()
		if err := other.Begin(ctx); err != nil {
			t.Fatal(err)
		}
	}
	hold()
	f := r.Exec(increment, 1)
	until(t, "it has begun", func() bool { return len(r.gate) == 1 })
	if n := r.one(t, readN, 1); n != int64(0) { // readers do not wait
		t.Errorf("%v", n)
	}
	if err := other.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := wait(t, f); err != nil {
		t.Error(err)
	}
	hold()
	hurried := r.hurried(t, 30*time.Millisecond)
	_, err := wait(t, hurried.Exec(increment, 1))
	wantCode(t, "held for too long", err, wire.Unavailable)
	if err := other.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, "the gate is free", func() bool { return len(hurried.gate) == 0 })
	r.must(t, increment, 1)
}

func TestSQLiteWhoWaitsForHimself(t *testing.T) {
	patient := openSQLite(t, nil)
	patient.counter(t, 1)
	r := patient.hurried(t, 50*time.Millisecond)
	c := r.conn(t)
	if err := c.Begin(within(t, deadline)); err != nil {
		t.Fatal(err)
	}
	_, err := r.ExecContext(context.Background(), increment, 1)
	if wantCode(t, "Exec beside one's own transaction", err, wire.Unavailable); !IsRetryable(err) || IsLost(err) {
		t.Errorf("nothing was begun: %v", err)
	}
	d := r.conn(t)
	if err := d.Begin(within(t, 10*time.Millisecond)); wire.CodeOf(err) != wire.Unavailable || IsLost(err) || !IsRetryable(err) {
		t.Errorf("Begin beside one's own transaction: %v", err)
	}
	wantUp(t, r)
	if err := c.Commit(within(t, deadline)); err != nil {
		t.Fatal(err)
	}
	if err := d.Begin(within(t, deadline)); err != nil { // it was not lost
		t.Error(err)
	}
}

func TestSQLiteDiskFull(t *testing.T) {
	r := openSQLite(t, nil)
	r.counter(t, 1)
	r.must(t, "CREATE TABLE wide (k BIGINT NOT NULL PRIMARY KEY, b BLOB)")
	limit := func(pages int) { r.must(t, fmt.Sprintf("PRAGMA max_page_count = %d", pages)) } // of the one connection that writes
	limit(20)
	_, err := wait(t, r.Transact(func(_ context.Context, tx *Tx) error {
		if _, err := tx.Exec(increment, 1); err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO wide (k, b) VALUES (1, ?)", make([]byte, 1<<20)); !IsLost(err) {
			t.Errorf("a full disk: %v", err)
		}
		_, _ = tx.Exec(increment, 1) // SQLite would commit this one alone: it has rolled back
		return nil
	}))
	wantCode(t, "a full disk", err, wire.Unavailable)
	if up, why, _ := r.health.State(); up || why == "" {
		t.Errorf("up: %v, %s", up, why)
	}
	if n := r.one(t, readN, 1); n != int64(0) {
		t.Errorf("%v was stored", n)
	}
	limit(1 << 30)
	r.must(t, "INSERT INTO wide (k, b) VALUES (1, ?)", make([]byte, 1<<20))
}

func TestSQLiteFileThatCannotBeOpened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not there")
	r := openRig(t, "sqlite", filepath.Join(dir, "game.db"), nil)
	_, err := wait(t, r.FetchOne("SELECT 1"))
	if wantCode(t, "no folder", err, wire.Unavailable); !IsLost(err) {
		t.Errorf("no folder: %v", err)
	}
	wantCode(t, "Ping", r.Ping(within(t, deadline)), wire.Unavailable)
	if up, _, _ := r.health.State(); up {
		t.Error("up")
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.Ping(within(t, deadline)); err != nil {
		t.Error(err)
	}
	until(t, "it is back", func() bool { r.one(t, "SELECT 1"); up, _, _ := r.health.State(); return up })

	path := filepath.Join(t.TempDir(), "game.db")
	if err := os.WriteFile(path, []byte("this is a letter to my mother and no database at all, and it is longer than a header"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = wait(t, openRig(t, "sqlite", path, nil).FetchOne("SELECT 1"))
	wantCode(t, "no database", err, wire.Unavailable)
}
