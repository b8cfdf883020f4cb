package store

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

func TestTransactCommitsOrRollsBack(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.counter(t, 1, 2)
		both := func(tx *Tx) error {
			for k := range int64(2) {
				if got, err := tx.Exec(increment, k+1); err != nil || got.RowsAffected != 1 {
					return errors.Join(err, errors.New("no row"))
				}
			}
			row, err := tx.FetchOne(readN, 1)
			if err != nil || row.None() {
				return errors.Join(err, errors.New("no row"))
			}
			rows, err := tx.FetchAll("SELECT n FROM counter")
			if err != nil || len(rows) != 2 {
				return errors.Join(err, errors.New("not two rows"))
			}
			return nil
		}
		own := &wire.Error{Code: wire.FailedPrecondition, Message: "not enough gold"}
		var kept *Tx
		for what, c := range map[string]struct {
			fn   func(ctx context.Context, tx *Tx) error
			want func(err error) bool
		}{
			"an error": {
				func(_ context.Context, tx *Tx) error { return errors.Join(both(tx), own) },
				func(err error) bool { return errors.Is(err, own) },
			},
			"a panic": {
				func(_ context.Context, tx *Tx) error { panic(both(tx) == nil) },
				func(err error) bool { var p *future.PanicError; return errors.As(err, &p) && p.Value == true },
			},
			"the goroutine's end": {
				func(_ context.Context, tx *Tx) error { _ = both(tx); runtime.Goexit(); return nil },
				func(err error) bool { return err == errGoexit },
			},
			"a COMMIT of its own": {
				func(_ context.Context, tx *Tx) error {
					kept = tx
					_, err := tx.Exec("COMMIT")
					return errors.Join(both(tx), err)
				},
				func(err error) bool { return errors.Is(err, errControl) },
			},
		} {
			if _, err := wait(t, r.Transact(c.fn)); !c.want(err) {
				t.Errorf("%s: %v", what, err)
			}
			if n := r.one(t, "SELECT sum(n) FROM counter"); n != int64(0) {
				t.Fatalf("%s: %v was stored", what, n)
			}
		}
		if _, err := kept.Exec(increment, 1); !errors.Is(err, errTxOver) {
			t.Errorf("after the transaction: %v", err)
		}
		if _, err := wait(t, r.Transact(func(_ context.Context, tx *Tx) error { return both(tx) })); err != nil {
			t.Error(err)
		}
		if err := r.TransactContext(within(t, deadline), func(_ context.Context, tx *Tx) error { return both(tx) }); err != nil {
			t.Error(err)
		}
		if n := r.one(t, "SELECT sum(n) FROM counter"); n != int64(4) {
			t.Errorf("%v was stored, want 4", n)
		}
		wantUp(t, r)
	})
}

func TestATransactionSurvivesADuplicate(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.counter(t, 1)
		_, err := wait(t, r.Transact(func(_ context.Context, tx *Tx) error {
			if _, err := tx.Exec(increment, 1); err != nil {
				return err
			}
			if _, err := tx.Exec("INSERT INTO counter (k, n) VALUES (1, 5)"); !IsDuplicate(err) {
				t.Errorf("a duplicate: %v", err)
			}
			_, err := tx.Exec(increment, 1)
			return err
		}))
		if n := r.one(t, readN, 1); err != nil || n != int64(2) {
			t.Errorf("%v, %v", n, err)
		}
	})
}

// meet returns a function that returns when it was called n times, or ctx has ended.
func meet(n int) func(ctx context.Context) {
	all := make(chan struct{})
	var came atomic.Int64
	return func(ctx context.Context) {
		if came.Add(1) == int64(n) {
			close(all)
		}
		select {
		case <-all:
		case <-ctx.Done():
		}
	}
}

func TestDeadlockIsTriedAgain(t *testing.T) {
	server := storetest.MariaDB(t)
	r := openRig(t, "mysql", server.DSN, nil)
	r.counter(t, 1, 2)
	for _, hides := range []bool{false, true} {
		both := meet(2)
		var runs, deadlocks atomic.Int64
		transact := func(first, second int64) *future.Future[struct{}] {
			return r.Transact(func(ctx context.Context, tx *Tx) error {
				runs.Add(1)
				if _, err := tx.Exec(increment, first); err != nil {
					return err
				}
				both(ctx)
				_, err := tx.Exec(increment, second)
				if IsRetryable(err) {
					deadlocks.Add(1)
					if _, again := tx.Exec(increment, second); !errors.Is(again, err) {
						t.Errorf("a statement after the deadlock: %v", again)
					}
					if hides {
						return nil // and must not be taken for a success
					}
				}
				return err
			})
		}
		one, two := transact(1, 2), transact(2, 1)
		for _, f := range []*future.Future[struct{}]{one, two} {
			if _, err := wait(t, f); err != nil {
				t.Error(err)
			}
		}
		if deadlocks.Load() != 1 || runs.Load() != 3 {
			t.Errorf("%d deadlocks in %d runs, want 1 in 3", deadlocks.Load(), runs.Load())
		}
	}
	if n := r.one(t, "SELECT sum(n) FROM counter"); n != int64(8) {
		t.Errorf("%v was stored, want 8", n)
	}
	wantUp(t, r)
}

func TestDeadlocksForEverEndAsUnavailable(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		runs := 0
		_, err := wait(t, r.Transact(func(context.Context, *Tx) error {
			runs++
			return unavailable("as if it was a deadlock", errNotBegun)
		}))
		if wantCode(t, "deadlocks", err, wire.Unavailable); !IsRetryable(err) || runs != 1+retries {
			t.Errorf("%d runs, %v", runs, err)
		}
	})
}

// TestExecIsTriedAgain has a statement wait for a lock longer than the server lets it.
func TestLockWaitIsUnavailable(t *testing.T) {
	server := storetest.MariaDB(t)
	r := openRig(t, "mysql", server.DSN, func(o *SQLOptions) { o.Timeout = 20 * time.Second })
	r.counter(t, 1)
	c := r.conn(t)
	ctx := within(t, deadline)
	if err := c.Begin(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(ctx, increment, 1); err != nil {
		t.Fatal(err)
	}
	other := r.conn(t)
	if _, err := other.Exec(ctx, "SET SESSION innodb_lock_wait_timeout = 0"); err != nil {
		t.Fatal(err)
	}
	_, err := other.Exec(ctx, increment, 1)
	if wantCode(t, "a lock", err, wire.Unavailable); !IsRetryable(err) || IsLost(err) || !strings.Contains(err.Error(), "1205") {
		t.Errorf("a lock: %v", err)
	}
	wantUp(t, r)
}

// TestTransactContextWaitsForItsFunction: what fn captures belongs to the caller again when TransactContext has returned.
func TestTransactContextWaitsForItsFunction(t *testing.T) {
	eachStore(t, func(o *SQLOptions) { o.MaxOpen = 1 }, func(t *testing.T, r *rig) {
		r.counter(t, 1)
		ctx, cancel := context.WithCancel(context.Background())
		running := 0 // the race detector looks on
		err := r.TransactContext(ctx, func(ctx context.Context, tx *Tx) error {
			running++
			cancel()
			<-ctx.Done()
			for range 100 {
				runtime.Gosched()
			}
			running++
			return ctx.Err()
		})
		if wantCode(t, "cancelled", err, wire.Canceled); running != 2 {
			t.Errorf("fn has come to %d", running)
		}
		// One that waits for a worker is left alone for good.
		blocked, release := make(chan struct{}), make(chan struct{})
		holder := r.Transact(func(context.Context, *Tx) error { close(blocked); <-release; return nil })
		receive(t, blocked, "a transaction")
		ctx, cancel = context.WithCancel(context.Background())
		var all sync.WaitGroup
		all.Go(func() {
			err := r.TransactContext(ctx, func(context.Context, *Tx) error { t.Error("it ran"); return nil })
			if wantCode(t, "cancelled", err, wire.Canceled); !IsRetryable(err) {
				t.Errorf("nothing was begun: %v", err)
			}
		})
		until(t, "it waits", func() bool { r.write.mu.Lock(); defer r.write.mu.Unlock(); return r.write.waiting == 1 })
		cancel()
		all.Wait()
		close(release)
		if _, err := wait(t, holder); err != nil {
			t.Error(err)
		}
	})
}
