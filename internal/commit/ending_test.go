package commit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"gameserverd/internal/commit"
	"gameserverd/internal/store"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

func sqlite(t *testing.T) *store.SQL {
	t.Helper()
	return migrated(t, "sqlite", t.TempDir()+"/gameserverd.db")
}

func TestAbandonedChangesLeaveAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	db := sqlite(t)
	f := &faults{}
	g := group(t, commit.Options{DB: db, Timeout: 100 * time.Millisecond, QueueBytes: 3 << 20}, f)
	f.set(func(string, int) fault { return loseRequest })
	var pointers []weak.Pointer[commit.Change]
	func() {
		var all []*result
		for i := range 100 { // twice each key: half of them stand behind others
			c := &commit.Change{Rows: []commit.Row{save(uint64(i/2), "k", make([]byte, 25_000), 1)}}
			all = append(all, submit(t, g, c))
			pointers = append(pointers, weak.Make(c))
		}
		full := &commit.Change{Rows: []commit.Row{save(0, "x", make([]byte, 1<<20), 1)}}
		prepare(t, full)
		if err := g.Submit(full); wire.CodeOf(err) != wire.ResourceExhausted {
			t.Errorf("Submit to a full queue: %v", err)
		}
		eventually(t, "a batch was tried", func() bool { return g.Stats().Retries > 2 })
		for _, r := range all {
			for range 2 { // the second time it says the same
				if !r.c.Abandon() {
					t.Error("not abandoned")
				}
			}
		}
		for _, r := range all {
			r.fails(commit.ErrAbandoned)
		}
		// There is room again, and the same change may be submitted now.
		r := submit(t, g, &commit.Change{Rows: full.Rows})
		if !r.c.Abandon() {
			t.Error("not abandoned")
		}
		r.fails(commit.ErrAbandoned)
	}()
	if n := g.Stats(); n.Waiting != 0 || n.Abandoned != 101 || n.Changes != 0 {
		t.Errorf("%+v", n)
	}
	eventually(t, "the memory of abandoned changes is released", func() bool {
		runtime.GC()
		for _, p := range pointers {
			if p.Value() != nil {
				return false
			}
		}
		return true
	})
	f.set(nil)
	submit(t, g, &commit.Change{Rows: []commit.Row{save(0, "k", []byte("after"), 1)}}).stored()
	expect(t, db, "0,after", "SELECT uid, value FROM saves")
}

// TestChangeThatIsKeptKeepsNoOther: a caller may hold on to its Change for long.
func TestChangeThatIsKeptKeepsNoOther(t *testing.T) {
	t.Parallel()
	g, _, let := blocked(t, commit.Options{DB: sqlite(t)})
	kept := &commit.Change{Rows: []commit.Row{save(1, "k", nil, 1)}}
	var neighbour weak.Pointer[commit.Change]
	func() {
		r := submit(t, g, kept)
		other := submit(t, g, &commit.Change{Rows: []commit.Row{save(1, "k", nil, 2)}})
		neighbour = weak.Make(other.c)
		if !kept.Abandon() || !other.c.Abandon() {
			t.Error("not abandoned")
		}
		r.fails(commit.ErrAbandoned)
		other.fails(commit.ErrAbandoned)
	}()
	eventually(t, "its neighbour is released", func() bool {
		runtime.GC()
		return neighbour.Value() == nil
	})
	runtime.KeepAlive(kept)
	let()
}

func TestAbandonSaysWhatItCanKeep(t *testing.T) {
	t.Parallel()
	db := sqlite(t)
	g, _, let := blocked(t, commit.Options{DB: db})
	never := &commit.Change{Rows: []commit.Row{save(1, "never", nil, 1)}}
	prepare(t, never)
	if !never.Abandon() {
		t.Error("a change that was not submitted")
	}
	if err := g.Submit(never); err != commit.ErrAbandoned {
		t.Errorf("Submit of an abandoned change: %v", err)
	}
	one := submit(t, g, &commit.Change{Rows: []commit.Row{save(2, "k", []byte("1"), 1)}})
	two := submit(t, g, &commit.Change{Rows: []commit.Row{save(2, "k", []byte("2"), 1)}})
	three := submit(t, g, &commit.Change{Rows: []commit.Row{save(2, "k", []byte("3"), 1)}})
	if !two.c.Abandon() { // from the middle of its key's order
		t.Error("not abandoned")
	}
	two.fails(commit.ErrAbandoned)
	if err := g.Submit(one.c); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a second Submit: %v", err)
	}
	let()
	one.stored()
	three.stored()
	if three.c.Abandon() || !two.c.Abandon() {
		t.Error("Abandon after the end")
	}
	expect(t, db, "3", "SELECT value FROM saves WHERE uid = 2")
}

func TestAbandonRaces(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		f := &faults{}
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 1))
		f.set(func(call string, _ int) fault { // under the faults' lock
			switch n := random.IntN(200); {
			case n < 2:
				return loseRequest
			case n < 4:
				return loseReply
			}
			return nil
		})
		g := group(t, commit.Options{DB: db, BatchRows: 16}, f)
		var all sync.WaitGroup
		for worker := range 8 {
			all.Go(func() {
				random := rand.New(rand.NewPCG(seed, uint64(worker)+2))
				for i := range 60 {
					uid := uint64(worker*1000 + i)
					r := submit(t, g, &commit.Change{Rows: []commit.Row{save(uid, "k", nil, 1), save(uint64(i%5), "shared", nil, 1)}})
					for range random.IntN(2000) {
						runtime.Gosched()
					}
					never := i%10 > 0 && r.c.Abandon() // some are waited for, however slow the store
					o := r.wait()
					if never && o.Err != commit.ErrAbandoned || o.Err != nil && o.Err != commit.ErrAbandoned {
						t.Errorf("Abandon %v, outcome %v", never, o.Err)
					}
					want := "1"
					if o.Err != nil {
						want = "0"
					}
					expect(t, db, want, "SELECT COUNT(*) FROM saves WHERE uid = ? AND save_key = 'k'", int64(uid))
				}
			})
		}
		all.Wait()
		f.set(nil)
		if n := g.Stats(); n.Waiting != 0 || n.Abandoned == 0 || n.Changes == 0 {
			t.Errorf("%+v", n)
		}
	})
}

func TestCloseStoresWhatWaits(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		g, _, let := blocked(t, commit.Options{DB: db})
		var all []*result
		for i := range 600 {
			all = append(all, submit(t, g, &commit.Change{Rows: []commit.Row{save(uint64(i%550), "k", []byte(fmt.Sprint(i)), 1)}}))
		}
		let()
		closeGroup(t, g)
		for _, r := range all {
			r.stored()
		}
		expect(t, db, "551", "SELECT COUNT(*) FROM saves")
		expect(t, db, "550", "SELECT value FROM saves WHERE uid = 0")
		late := &commit.Change{Rows: []commit.Row{save(1, "late", nil, 1)}}
		prepare(t, late)
		var e *wire.Error
		if err := g.Submit(late); !errors.As(err, &e) || e.Code != wire.Unavailable || e.RetryAfter <= 0 {
			t.Errorf("Submit after Close: %v", err)
		}
		closeGroup(t, g)
	})
}

// closeSoon closes g with little time, and fails if that takes much longer.
func closeSoon(t *testing.T, g *commit.Group) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := g.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
}

func TestCloseWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]fault{"lost": loseRequest, "silent": hang} {
		t.Run(name, func(t *testing.T) {
			db := sqlite(t)
			f := &faults{}
			g := commit.NewAround(commit.Options{DB: db, Timeout: 20 * time.Second}, func(s commit.Session) commit.Session { return &faulty{s, f} })
			f.set(func(call string, _ int) fault {
				if call == "BEGIN" {
					return broken
				}
				return nil
			})
			var all []*result
			for i := range 700 {
				all = append(all, submit(t, g, &commit.Change{Rows: []commit.Row{save(uint64(i%300), "k", nil, 1)}}))
			}
			closeSoon(t, g)
			for _, r := range all {
				r.fails(commit.ErrClosed)
			}
			expect(t, db, "0", "SELECT COUNT(*) FROM saves")
			if n := g.Stats().Retries; n > 20 {
				t.Errorf("%d tries in 50 ms", n)
			}
		})
	}
}

func TestCloseWhileACommitIsUnknown(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		for name, first := range map[string]fault{"stored": loseReply, "not stored": loseRequest} {
			db := migrated(t, s.Driver, s.DSN)
			f := &faults{}
			g := commit.NewAround(commit.Options{DB: db}, func(s commit.Session) commit.Session { return &faulty{s, f} })
			submit(t, g, &commit.Change{UID: 7, Rows: []commit.Row{player(commit.Upsert, 7, 0, 1)}}).stored()
			met, let := make(chan struct{}), make(chan struct{})
			commits := 0
			f.set(func(call string, _ int) fault {
				switch {
				case call == "COMMIT":
					if commits++; commits == 1 {
						return hold(met, let)
					}
					return first
				case strings.HasPrefix(call, "SELECT seq"):
					return hang
				}
				return nil
			})
			ahead := submit(t, g, &commit.Change{Rows: []commit.Row{save(1, "k", nil, 1)}})
			<-met
			unknown := submit(t, g, &commit.Change{Rows: []commit.Row{save(2, "k", nil, 1)}})
			lost := submit(t, g, &commit.Change{UID: 7, Fence: commit.Hold, Version: 5, Rows: []commit.Row{save(3, "k", nil, 1)}})
			unwanted := submit(t, g, &commit.Change{Rows: []commit.Row{save(4, "k", nil, 1)}})
			behind := submit(t, g, &commit.Change{Rows: []commit.Row{save(2, "k", nil, 2)}})
			close(let)
			ahead.stored()
			eventually(t, "its outcome is unknown", func() bool { return g.Stats().Retries == 1 })
			if unwanted.c.Abandon() {
				t.Errorf("%s: Abandon while it is not known", name)
			}
			closeSoon(t, g)
			unknown.fails(commit.ErrUnknown)
			unwanted.fails(commit.ErrUnknown)
			lost.fails(commit.ErrLostRace)
			behind.fails(commit.ErrClosed)
			want := map[string]string{"stored": "1;2;4", "not stored": "1"}[name]
			expect(t, db, want, "SELECT uid FROM saves ORDER BY uid")
			if s.Driver == "mysql" {
				expect(t, db, want, "SELECT uid FROM saves ORDER BY uid")
				_, err := db.ExecContext(context.Background(), "DELETE FROM saves")
				if err != nil {
					t.Fatal(err)
				}
				_, err = db.ExecContext(context.Background(), "DELETE FROM players")
				if err != nil {
					t.Fatal(err)
				}
			} else {
				s.DSN += "2"
			}
		}
	})
}

func TestCloseReturnsThoughADriverHangs(t *testing.T) {
	t.Parallel()
	db := sqlite(t)
	f := &faults{}
	g := commit.NewAround(commit.Options{DB: db}, func(s commit.Session) commit.Session { return &faulty{s, f} })
	let := make(chan struct{})
	f.next("BEGIN", func(ctx context.Context, call func() error) error {
		<-let
		return call()
	})
	r := submit(t, g, &commit.Change{Rows: []commit.Row{save(1, "k", nil, 1)}})
	closeSoon(t, g)
	if r.known() {
		t.Error("Done was called while the driver may still be at it")
	}
	close(let)
	r.fails(commit.ErrClosed)
	if err := g.Close(context.Background()); err != commit.ErrClosed {
		t.Errorf("Close after one that gave up: %v", err)
	}
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	g, _, let := blocked(t, commit.Options{DB: sqlite(t), Queue: 3})
	one := submit(t, g, &commit.Change{Rows: []commit.Row{save(1, "k", nil, 1)}})
	two := submit(t, g, &commit.Change{Rows: []commit.Row{save(1, "k", nil, 2)}})
	three := prepare(t, &commit.Change{Rows: []commit.Row{save(1, "k", nil, 3)}})
	var e *wire.Error
	if err := g.Submit(three.c); !errors.As(err, &e) || e.Code != wire.ResourceExhausted || e.RetryAfter <= 0 {
		t.Errorf("Submit to a full queue: %v", err)
	}
	let()
	one.stored()
	two.stored()
	eventually(t, "there is room", func() bool { return g.Submit(three.c) == nil })
	three.stored()
}

func TestSubmitRefusesWhatCannotBeWritten(t *testing.T) {
	t.Parallel()
	g := group(t, commit.Options{DB: sqlite(t), QueueBytes: 100_000}, nil)
	done := func(commit.Outcome) { t.Error("Done was called") }
	row := save(1, "k", nil, 1)
	many := make([]commit.Row, 10)
	for i := range many {
		many[i] = save(1, fmt.Sprint(i), make([]byte, 10_000), 1)
	}
	for name, c := range map[string]*commit.Change{
		"no rows":      {Home: direct{}, Done: done},
		"no home":      {Done: done, Rows: []commit.Row{row}},
		"no Done":      {Home: direct{}, Rows: []commit.Row{row}},
		"no table":     {Home: direct{}, Done: done, Rows: []commit.Row{{}}},
		"operation":    {Home: direct{}, Done: done, Rows: []commit.Row{{Op: 9, Table: saves, Values: row.Values}}},
		"fence":        {Home: direct{}, Done: done, Fence: 9, Rows: []commit.Row{row}},
		"few values":   {Home: direct{}, Done: done, Rows: []commit.Row{{Table: saves, Values: row.Values[:3]}}},
		"many values":  {Home: direct{}, Done: done, Rows: []commit.Row{{Op: commit.Delete, Table: saves, Values: row.Values}}},
		"nil":          {Home: direct{}, Done: done, Rows: []commit.Row{{Op: commit.Delete, Table: saves, Values: []any{int64(1), nil}}}},
		"int":          {Home: direct{}, Done: done, Rows: []commit.Row{{Op: commit.Delete, Table: saves, Values: []any{1, "k"}}}},
		"a key twice":  {Home: direct{}, Done: done, Rows: []commit.Row{row, {Op: commit.Delete, Table: saves, Values: []any{int64(1), []byte("k")}}}},
		"many bytes":   {Home: direct{}, Done: done, Rows: many},
		"home in room": {Home: strangeHome{func() {}}, Done: done, Rows: []commit.Row{row}},
	} {
		if err := g.Submit(c); err == nil {
			t.Errorf("%s: accepted", name)
		} else if c := wire.CodeOf(err); c != wire.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := g.Stats().Waiting; n != 0 {
		t.Errorf("%d wait", n)
	}
}

// strangeHome cannot be compared, so nobody can tell whether two are one.
type strangeHome struct{ f func() }

func (h strangeHome) AddCallback(fn func()) bool { h.f(); fn(); return true }

// closedHome takes nothing any more.
type closedHome struct{}

func (closedHome) AddCallback(func()) bool { return false }

func TestDoneThatPanicsAndHomeThatIsGoneCostNobodyElse(t *testing.T) {
	t.Parallel()
	log, lines := logged()
	db := sqlite(t)
	g, _, let := blocked(t, commit.Options{DB: db, Log: log})
	bad := &commit.Change{Home: direct{}, Done: func(commit.Outcome) { panic("a bug") }, Rows: []commit.Row{save(1, "k", nil, 1)}}
	gone := &commit.Change{Home: closedHome{}, Done: func(commit.Outcome) { t.Error("Done without a home") }, Rows: []commit.Row{save(2, "k", nil, 1)}}
	for _, c := range []*commit.Change{bad, gone} {
		if err := g.Submit(c); err != nil {
			t.Fatal(err)
		}
	}
	good := submit(t, g, &commit.Change{Rows: []commit.Row{save(3, "k", nil, 1)}})
	let()
	good.stored()
	submit(t, g, &commit.Change{Rows: []commit.Row{save(1, "k", nil, 2)}}).stored()
	expect(t, db, "1;2;3", "SELECT uid FROM saves WHERE uid < 9 ORDER BY uid")
	if got := lines(); got != "error: panic after a commit" {
		t.Errorf("log: %s", got)
	}
}
