package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"gameserverd/wire"
)

func TestConnTransaction(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.counter(t, 1)
		ctx := within(t, deadline)
		c := r.conn(t)
		do := func(what string, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		exec := func(query string, args ...any) {
			t.Helper()
			_, err := c.Exec(ctx, query, args...)
			do(query, err)
		}
		stored := func(want int64) {
			t.Helper()
			if n := r.one(t, readN, 1); n != want {
				t.Fatalf("%v is stored, want %d", n, want)
			}
		}
		do("Begin", c.Begin(ctx))
		exec(increment, 1)
		stored(0)
		do("Commit", c.Commit(ctx))
		stored(1)
		do("Begin", c.Begin(ctx))
		exec(increment, 1)
		do("Rollback", c.Rollback(ctx))
		stored(1)
		for _, begin := range []string{"BEGIN", " -- a comment\n begin", "START TRANSACTION;"} {
			if r.Driver() == SQLite && begin[0] == 'S' {
				continue
			}
			exec(begin)
			exec(increment, 1)
			exec("SAVEPOINT s")
			exec(increment, 1)
			exec("ROLLBACK TO SAVEPOINT s")
			exec("ROLLBACK")
			exec(begin)
			exec("commit;")
		}
		stored(1)
		do("Rollback of nothing", c.Rollback(ctx))
		if _, err := c.Exec(ctx, "BEGIN NONSENSE"); err == nil || IsLost(err) {
			t.Errorf("BEGIN NONSENSE: %v", err)
		}
		r.must(t, "UPDATE counter SET n = 1") // nobody holds the writer's place
		do("Begin", c.Begin(ctx))
		if err := c.Begin(ctx); err == nil || IsLost(err) || IsRetryable(err) {
			t.Errorf("Begin in a transaction: %v", err)
		}
		exec(increment, 1)
		do("Close", c.Close()) // rolls back
		do("Close again", c.Close())
		stored(1)
		r.must(t, increment, 1) // the writer's place is free
		if _, err := c.Exec(ctx, increment, 1); !IsLost(err) || !errors.Is(err, errConnGone) {
			t.Errorf("a closed Conn: %v", err)
		}
		c = r.conn(t)
		do("Begin", c.Begin(ctx))
		exec(increment, 1)
		c.Discard()
		c.Discard()
		r.must(t, increment, 1)
		stored(3)
		wantUp(t, r)
	})
}

func TestPreparedStatements(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.counter(t, 1, 2, 3)
		ctx := within(t, deadline)
		c := r.conn(t)
		add, err1 := c.Prepare(ctx, increment)
		read, err2 := c.Prepare(ctx, "SELECT k, n FROM counter WHERE n > ? ORDER BY k")
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		for range 3 {
			if err := c.Begin(ctx); err != nil {
				t.Fatal(err)
			}
			for k := range 3 {
				if got, err := add.Exec(ctx, k+1); err != nil || got.RowsAffected != 1 {
					t.Fatal(got, err)
				}
			}
			if err := c.Commit(ctx); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := read.FetchAll(ctx, 2)
		if got := fmt.Sprint(rows); err != nil || got != "[{[k n] [1 3]} {[k n] [2 3]} {[k n] [3 3]}]" {
			t.Errorf("%s, %v", got, err)
		}
		if _, err := add.Exec(ctx); err == nil || IsLost(err) {
			t.Errorf("too few arguments: %v", err)
		}
		if _, err := add.Exec(ctx, 1, 2); err == nil || IsLost(err) {
			t.Errorf("too many arguments: %v", err)
		}
		for _, query := range []string{"COMMIT", "SELEC 1"} {
			if _, err := c.Prepare(ctx, query); err == nil || IsLost(err) {
				t.Errorf("preparing %s: %v", query, err)
			}
		}
		for range 2 {
			if err := add.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := add.Exec(ctx, 1); err == nil {
			t.Error("a closed statement runs")
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := read.FetchAll(ctx, 2); !errors.Is(err, errConnGone) {
			t.Errorf("a statement of a closed Conn: %v", err)
		}
		if err := read.Close(); err != nil {
			t.Error(err)
		}
		wantUp(t, r)
	})
}

func TestConnEndsWithItsContext(t *testing.T) {
	// slow is a query that takes seconds, and not longer, since MariaDB ends it in spite of all.
	const slow = "SELECT count(*) FROM big a, big b, big c WHERE a.k + b.k + c.k > 7 AND c.k < 30"
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.big(t)
		ctx, cancel := context.WithCancel(context.Background())
		c := r.conn(t)
		begun := make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			close(begun)
			_, err := c.FetchAll(ctx, slow)
			ended <- err
		}()
		receive(t, begun, "a query")
		cancel()
		wantCode(t, "cancelled", receive(t, ended, "the end of a query"), wire.Canceled)
		wantUp(t, r) // it is no fault of the store's that nobody waits

		c = r.conn(t)
		if _, err := c.FetchAll(within(t, 30*time.Millisecond), slow); !IsLost(err) || wire.CodeOf(err) != wire.Unavailable {
			t.Errorf("a deadline: %v", err)
		}
		if up, _, _ := r.health.State(); up {
			t.Error("a store that is too slow for its writer is not up")
		}
		if _, err := c.FetchAll(within(t, deadline), "SELECT 1"); !IsLost(err) {
			t.Errorf("a lost connection goes on: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		ended2, cancel2 := context.WithCancel(context.Background())
		cancel2()
		if _, err := r.Conn(ended2); wire.CodeOf(err) != wire.Canceled || IsLost(err) {
			t.Errorf("a context that has ended: %v", err)
		}
		c = r.conn(t)
		if _, err := c.Exec(ended2, increment, 1); wire.CodeOf(err) != wire.Canceled || !IsRetryable(err) {
			t.Errorf("a context that has ended: %v", err)
		}
		if _, err := c.FetchAll(within(t, deadline), "SELECT 1"); err != nil {
			t.Errorf("the connection was not used: %v", err)
		}
	})
}

func TestConnsAreBounded(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		for range pinned {
			r.conn(t)
		}
		_, err := r.Conn(within(t, 10*time.Millisecond))
		if wantCode(t, "one too many", err, wire.Unavailable); IsLost(err) || !IsRetryable(err) {
			t.Errorf("one too many: %v", err)
		}
		r.one(t, "SELECT 1") // calls do not need them
		wantUp(t, r)
	})
}

// TestCancelledCallsLeaveNothingBehind cancels calls at random moments, and looks whether the ones after them are answered right.
func TestCancelledCallsLeaveNothingBehind(t *testing.T) {
	eachStore(t, func(o *SQLOptions) { o.MaxOpen = 2 }, func(t *testing.T, r *rig) {
		r.big(t)
		r.counter(t, 1)
		rnd := seeded(t)
		cancelled := 0
		for i := range int64(150) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(1500))*time.Microsecond)
			var err error
			switch i % 4 {
			case 0:
				_, err = r.FetchAllContext(ctx, "SELECT k FROM big WHERE k >= ?", 0)
			case 1:
				_, err = r.ExecContext(ctx, "UPDATE big SET b = ? WHERE k < ?", []byte("x"), 10)
			case 2:
				err = r.TransactContext(ctx, func(_ context.Context, tx *Tx) error {
					_, err := tx.Exec("UPDATE big SET b = ? WHERE k < ?", []byte("y"), 10)
					return err
				})
			case 3:
				_, err = r.FetchOneContext(ctx, "SELECT count(*) FROM big a, big b")
			}
			cancel()
			if err != nil {
				cancelled++
				if code := wire.CodeOf(err); code != wire.DeadlineExceeded && code != wire.Unavailable {
					t.Fatalf("call %d: %v", i, err)
				}
			}
			if got := r.must(t, "UPDATE counter SET n = ? WHERE k = 1", i); got.RowsAffected != 1 {
				t.Fatalf("after call %d: %v", i, got)
			}
			if got := r.one(t, readN, 1); got != i {
				t.Fatalf("after call %d: %v", i, got)
			}
		}
		if cancelled == 0 || cancelled == 150 {
			t.Errorf("%d of 150 were cancelled", cancelled)
		}
		wantUp(t, r)
	})
}
