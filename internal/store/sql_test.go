package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/wire"
)

func TestOpenSQLSaysWhatIsWrong(t *testing.T) {
	const password = "s3cr3t"
	for name, o := range map[string]SQLOptions{
		"no driver":      {DSN: "x"},
		"other driver":   {Driver: "postgres", DSN: "x"},
		"no file":        {Driver: SQLite},
		"in memory":      {Driver: SQLite, DSN: ":memory:"},
		"a URI":          {Driver: SQLite, DSN: "file:x.db?mode=memory"},
		"a NUL":          {Driver: SQLite, DSN: "x\x00y"},
		"negative":       {Driver: SQLite, DSN: "x", Queue: -1},
		"no DSN":         {Driver: MySQL},
		"no slash":       {Driver: MySQL, DSN: "root:" + password + "@tcp(127.0.0.1:3306)"},
		"no at":          {Driver: MySQL, DSN: "root:" + password + "/game"},
		"no database":    {Driver: MySQL, DSN: "root:" + password + "@tcp(127.0.0.1:3306)/"},
		"open brace":     {Driver: MySQL, DSN: "root:" + password + "@tcp(127.0.0.1:3306/game"},
		"slash and more": {Driver: MySQL, DSN: "root@tcp(h)/game" + password + "%zz"},
		"parameter":      {Driver: MySQL, DSN: "root:" + password + "@tcp(127.0.0.1:3306)/game?timeout=" + password},
		"tls":            {Driver: MySQL, DSN: "root:" + password + "@tcp(127.0.0.1:3306)/game?tls=" + password},
		"network":        {Driver: MySQL, DSN: password + "/game"},
	} {
		_, err := OpenSQL(o)
		if err == nil || !strings.HasPrefix(err.Error(), "store: ") || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// occupy takes all workers of a lane until release.
func occupy(t *testing.T, r *rig, l *lane) (release func()) {
	t.Helper()
	end := make(chan struct{})
	for range l.workers {
		begun := make(chan struct{})
		submit(l, context.Background(), never, nil, func(*call) (struct{}, error) {
			close(begun)
			<-end
			return struct{}{}, nil
		})
		receive(t, begun, "a worker")
	}
	var once sync.Once
	release = func() { once.Do(func() { close(end) }) }
	t.Cleanup(release)
	return release
}

func TestOverload(t *testing.T) {
	eachStore(t, func(o *SQLOptions) { o.MaxOpen, o.Queue = 2, 3 }, func(t *testing.T, r *rig) {
		r.counter(t, 1)
		release := occupy(t, r, r.write)
		var waiting []*future.Future[Result]
		for range 3 {
			waiting = append(waiting, r.Exec(increment, 1))
		}
		_, err, done := r.Exec(increment, 1).Result()
		if wantCode(t, "too much", err, wire.ResourceExhausted); !done {
			t.Error("no answer at once")
		}
		wantCode(t, "too much, with a context", r.TransactContext(within(t, deadline), nil), wire.ResourceExhausted)
		release()
		for _, f := range waiting {
			if _, err := wait(t, f); err != nil {
				t.Error(err)
			}
		}
		if n := r.one(t, readN, 1); n != int64(3) {
			t.Errorf("%v were stored, want 3", n)
		}
		wantUp(t, r)
	})
}

func TestDeadlineInTheQueue(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, patient *rig) {
		patient.counter(t, 1)
		r := patient.hurried(t, 20*time.Millisecond)
		release := occupy(t, r, r.write)
		for what, err := range map[string]error{
			"Exec":     second(wait(t, r.Exec(increment, 1))),
			"Transact": second(wait(t, r.Transact(func(context.Context, *Tx) error { t.Error("it ran"); return nil }))),
			"context":  second(r.ExecContext(context.Background(), increment, 1)),
		} {
			wantCode(t, what, err, wire.Unavailable)
			if !IsRetryable(err) || IsLost(err) || !strings.Contains(err.Error(), "nothing was changed") {
				t.Errorf("%s: it was not begun: %v", what, err)
			}
		}
		wantUp(t, r) // to have too much to do is not to be away
		release()
		if n := patient.one(t, readN, 1); n != int64(0) {
			t.Errorf("%v was stored", n)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestCloseUnderLoad(t *testing.T) {
	for _, graceful := range []bool{true, false} {
		t.Run(fmt.Sprintf("graceful %v", graceful), func(t *testing.T) {
			eachStore(t, func(o *SQLOptions) { o.MaxOpen, o.Queue = 4, 5000 }, func(t *testing.T, r *rig) {
				r.counter(t, 1)
				var posted inOrder
				var stored, refused, unknown atomic.Int64
				var all sync.WaitGroup
				answered := func(err error) {
					defer all.Done() // panics if it is once too often
					switch {
					case err == nil:
						stored.Add(1)
					case IsLost(err):
						unknown.Add(1)
					default:
						refused.Add(1)
					}
					if err != nil && wire.CodeOf(err) != wire.Unavailable {
						t.Errorf("%v", err)
					}
				}
				begun := make(chan struct{})
				for i := range 400 {
					all.Add(1)
					switch i % 2 {
					case 0:
						r.Exec(increment, 1).Then(&posted, func(_ Result, err error) { answered(err) })
					case 1:
						r.Transact(func(_ context.Context, tx *Tx) error {
							if i == 1 {
								close(begun)
							}
							_, err := tx.Exec(increment, 1)
							return err
						}).Then(&posted, func(_ struct{}, err error) { answered(err) })
					}
				}
				receive(t, begun, "a transaction")
				ctx, cancel := context.WithCancel(context.Background())
				if !graceful {
					cancel()
				}
				err := r.SQL.Close(ctx)
				cancel()
				if graceful != (err == nil) {
					t.Errorf("Close: %v", err)
				}
				ended := make(chan struct{})
				go func() { all.Wait(); close(ended) }()
				receive(t, ended, "every answer")
				if graceful && stored.Load() != 400 || !graceful && refused.Load() == 0 {
					t.Errorf("%d stored, %d refused, %d unknown", stored.Load(), refused.Load(), unknown.Load())
				}
				for what, err := range map[string]error{
					"Exec":     second(r.ExecContext(context.Background(), increment, 1)),
					"FetchOne": second(wait(t, r.FetchOne(readN, 1))),
					"Each":     r.Each(context.Background(), readN, []any{1}, nil),
					"Conn":     second(r.Conn(context.Background())),
					"DB":       second(r.DB()),
					"Ping":     r.Ping(context.Background()),
				} {
					wantCode(t, what+" after Close", err, wire.Unavailable)
				}
				again := openRig(t, string(r.driver), r.dsn, nil)
				n := again.one(t, readN, 1).(int64)
				if n < stored.Load() || n > stored.Load()+unknown.Load() {
					t.Errorf("%d are stored; %d were acknowledged, %d unknown", n, stored.Load(), unknown.Load())
				}
			})
		})
	}
}

func TestManyAtATime(t *testing.T) {
	eachStore(t, func(o *SQLOptions) { o.MaxOpen = 8 }, func(t *testing.T, r *rig) {
		r.counter(t, 1, 2, 3, 4)
		var all sync.WaitGroup
		var failed atomic.Pointer[error]
		check := func(err error) {
			if err != nil {
				failed.Store(&err)
			}
		}
		for g := range int64(8) {
			all.Go(func() {
				ctx := context.Background()
				for i := range int64(25) {
					check(second(r.ExecContext(ctx, increment, (g+i)%4+1)))
					check(second(r.FetchOneContext(ctx, readN, g%4+1)))
					check(second(r.FetchAllContext(ctx, "SELECT k, n FROM counter")))
					check(r.TransactContext(ctx, func(_ context.Context, tx *Tx) error {
						_, err := tx.Exec(increment, g%4+1)
						return err
					}))
				}
			})
		}
		all.Wait()
		if err := failed.Load(); err != nil {
			t.Error(*err)
		}
		if n := r.one(t, "SELECT sum(n) FROM counter"); n != int64(400) {
			t.Errorf("%v were stored, want 400", n)
		}
		wantUp(t, r)
		until(t, "no worker is left", func() bool { return idle(r.read) && idle(r.write) })
	})
}

func TestTransactionsAreNotBegunByHand(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		for _, query := range []string{"BEGIN", "COMMIT", " rollback ", "-- why\nSTART TRANSACTION"} {
			if _, err := wait(t, r.Exec(query)); !errors.Is(err, errControl) {
				t.Errorf("%q: %v", query, err)
			}
		}
	})
}

func TestDBIsAPoolOfItsOwn(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		db, err := r.DB()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := r.DB(); again != db || err != nil {
			t.Errorf("again: %v", err)
		}
		ctx := within(t, deadline)
		if _, err := db.ExecContext(ctx, "CREATE TABLE counter (k BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL)"); err != nil {
			t.Fatal(err)
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO counter VALUES (1, 0)"); err != nil {
			t.Fatal(err)
		}
		f := r.Exec("INSERT INTO counter VALUES (2, 0)") // SQLite: waits
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if _, err := wait(t, f); err != nil {
			t.Error(err)
		}
		if n := r.one(t, "SELECT count(*) FROM counter"); n != int64(2) {
			t.Errorf("%v rows", n)
		}
	})
}
