package commit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/internal/commit"
	"gameserverd/internal/store"
	"gameserverd/internal/storetest"
)

// What a server says of a transaction that it has rolled back, and of a lock that somebody else has.
var (
	errDeadlock = fmt.Errorf("for the test: %w", &mysql.MySQLError{Number: 1213, Message: "Deadlock found"})
	errLockWait = fmt.Errorf("for the test: %w", &mysql.MySQLError{Number: 1205, Message: "Lock wait timeout exceeded"})
)

// clockAt is a clock that stands so many seconds after 1970.
func clockAt(seconds int64) func() time.Time {
	return func() time.Time { return time.Unix(seconds, 0) }
}

// everything is a change that is not stored twice without notice: its Insert would fail, and its Take count twice.
func everything(uid uint64) *commit.Change {
	return &commit.Change{UID: uid, Fence: commit.Take, Seen: 9, Rows: []commit.Row{
		{Op: commit.Insert, Table: names, Values: []any{fmt.Sprint("name ", uid), int64(uid)}},
		{Op: commit.Delete, Table: saves, Values: []any{int64(uid), "gone"}},
		save(uid, "k", []byte("v"), 1),
	}}
}

// expectEverything looks whether everything was stored so many times, 0 or 1.
func expectEverything(t *testing.T, db *store.SQL, uid uint64, times int) {
	t.Helper()
	want := []string{"gone;", "1", ""}
	if times == 1 {
		want = []string{"k;", "2", fmt.Sprint("name ", uid)}
	}
	expect(t, db, strings.TrimSuffix(want[0], ";"), "SELECT save_key FROM saves WHERE uid = ?", int64(uid))
	expect(t, db, want[1], "SELECT version FROM players WHERE uid = ?", int64(uid))
	expect(t, db, want[2], "SELECT name_key FROM names WHERE uid = ?", int64(uid))
}

// beforeEverything makes the players for everything, version 1.
func beforeEverything(t *testing.T, g *commit.Group, uids ...uint64) {
	t.Helper()
	c := &commit.Change{}
	for _, uid := range uids {
		c.Rows = append(c.Rows, player(commit.Insert, uid, 0, 1), save(uid, "gone", nil, 1))
	}
	submit(t, g, c).stored()
}

func TestCommitWithoutAnswerIsLookedUp(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		commits []fault // of the batch, then of the looking up
		looks   []fault
		first   bool // the first COMMIT took effect
		known   bool // its answer says that it did not
	}{
		{name: "committed", commits: []fault{loseReply}, first: true},
		{name: "not committed", commits: []fault{loseRequest}},
		{name: "committed, nobody tells at first", commits: []fault{loseReply}, looks: []fault{loseRequest, answer(errLockWait), loseReply}, first: true},
		{name: "not committed, nobody tells at first", commits: []fault{loseRequest}, looks: []fault{answer(errLockWait), loseReply, loseRequest}},
		{name: "committed, looking up is lost", commits: []fault{loseReply, loseRequest}, first: true},
		{name: "committed, looking up has no answer", commits: []fault{loseReply, loseReply, loseReply}, first: true},
		{name: "committed, a strange answer", commits: []fault{strange}, first: true},
		{name: "not committed, a strange answer", commits: []fault{answer(errors.New("strange"))}},
		{name: "rolled back", commits: []fault{answer(errDeadlock)}, known: true},
	}
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		uid := uint64(0)
		for _, c := range cases {
			for _, abandoned := range []bool{false, true} {
				uid++
				f := &faults{}
				g := group(t, commit.Options{DB: db}, f)
				beforeEverything(t, g, uid)
				r := prepare(t, everything(uid))
				commits, looks := c.commits, slices.Clone(c.looks)
				abandon := func(then fault) fault {
					return func(ctx context.Context, call func() error) error {
						if r.c.Abandon() {
							t.Errorf("%s: Abandon, while it is not known, returned true", c.name)
						}
						return then(ctx, call)
					}
				}
				if abandoned && c.known {
					commits = []fault{abandon(commits[0])}
				} else if abandoned {
					looks = append(looks, abandon(func(_ context.Context, call func() error) error { return call() }))
				}
				f.set(func(call string, _ int) (found fault) {
					switch {
					case call == "COMMIT" && len(commits) > 0:
						found, commits = commits[0], commits[1:]
					case strings.HasPrefix(call, "SELECT seq") && len(looks) > 0:
						found, looks = looks[0], looks[1:]
					}
					return found
				})
				if err := g.Submit(r.c); err != nil {
					t.Fatal(err)
				}
				times := 1
				if abandoned && !c.first {
					times = 0
					r.fails(commit.ErrAbandoned)
				} else if o := r.stored(); o.Version != 2 || o.Missing {
					t.Errorf("%s: %+v", c.name, o)
				}
				expectEverything(t, db, uid, times)
				closeGroup(t, g)
				if len(commits)+len(looks) > 0 {
					t.Errorf("%s: %d COMMITs and %d looks were not broken", c.name, len(commits), len(looks))
				}
				if n := g.Stats(); (n.Resolved == 1) == c.known {
					t.Errorf("%s: %+v", c.name, n)
				}
			}
		}
	})
}

// strange commits and then says what no server says.
func strange(_ context.Context, call func() error) error {
	return errors.Join(errors.New("strange"), call())
}

func TestNothingElseIsStoredWhileACommitIsUnknown(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		f := &faults{}
		g := group(t, commit.Options{DB: db}, f)
		beforeEverything(t, g, 1)
		looks := 0
		f.set(func(call string, _ int) fault {
			switch {
			case call == "COMMIT" && looks == 0:
				return loseReply
			case strings.HasPrefix(call, "SELECT seq"):
				if looks++; looks < 4 {
					return answer(errLockWait)
				}
			}
			return nil
		})
		first := submit(t, g, everything(1))
		eventually(t, "it is unknown", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return looks > 0 })
		f.heard()
		other := submit(t, g, &commit.Change{Rows: []commit.Row{save(5, "k", nil, 1)}})
		unwanted := submit(t, g, &commit.Change{Rows: []commit.Row{save(6, "k", nil, 1)}})
		if !unwanted.c.Abandon() {
			t.Error("what no transaction has could not be abandoned")
		}
		unwanted.fails(commit.ErrAbandoned)
		first.stored()
		other.stored()
		calls := f.heard()
		at := slices.IndexFunc(calls, func(c string) bool { return strings.HasPrefix(c, "INSERT INTO saves") })
		if last := strings.Join(calls[:at], " "); strings.Count(last, "SELECT seq") < 1 || strings.Count(last, "COMMIT") != 1 {
			t.Errorf("before the next batch: %s", last)
		}
		expectEverything(t, db, 1, 1)
	})
}

// TestEveryCallBreaksInEveryWay breaks each call of a transaction, one after the other.
func TestEveryCallBreaksInEveryWay(t *testing.T) {
	t.Parallel()
	ways := []struct {
		name string
		fault
	}{{"request lost", loseRequest}, {"reply lost", loseReply}, {"deadlock", answer(errDeadlock)}, {"lock wait", answer(errLockWait)}, {"silence", hang}}
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		f := &faults{}
		whole := group(t, commit.Options{DB: db}, f)
		beforeEverything(t, whole, 1)
		f.heard()
		submit(t, whole, everything(1)).stored()
		calls := f.heard()
		if len(calls) != 8 {
			t.Fatalf("calls: %q", calls)
		}
		uid := uint64(1)
		for i, call := range calls {
			for _, way := range ways {
				uid++
				beforeEverything(t, whole, uid)
				f := &faults{}
				timeout := patience
				if way.name == "silence" {
					timeout = 60 * time.Millisecond
				}
				g := group(t, commit.Options{DB: db, Timeout: timeout}, f)
				submit(t, g, &commit.Change{Rows: []commit.Row{save(uid+1000, "warm", nil, 1)}}).stored()
				seen := 0
				f.set(func(string, int) fault {
					if seen++; seen == i+1 {
						return way.fault
					}
					return nil
				})
				if o := submit(t, g, everything(uid)).stored(); o.Version != 2 {
					t.Errorf("%s at %s: %+v", way.name, call, o)
				}
				expectEverything(t, db, uid, 1)
				n := g.Stats()
				unknown := call == "COMMIT" && (way.name != "deadlock" && way.name != "lock wait")
				if timeout == patience && (n.Resolved != 0) != unknown {
					t.Errorf("%s at %s: %+v", way.name, call, n)
				}
				closeGroup(t, g)
			}
		}
	})
}

func TestStoreTooSlowForAWholeBatchGetsSmallerOnes(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		f := &faults{}
		g := group(t, commit.Options{DB: db, Timeout: 300 * time.Millisecond}, f)
		met, let := make(chan struct{}), make(chan struct{})
		f.next("COMMIT", hold(met, let))
		first := submit(t, g, &commit.Change{Rows: []commit.Row{save(1, "k", nil, 1)}})
		<-met
		var all []*result
		for i := range 200 {
			all = append(all, submit(t, g, &commit.Change{Rows: []commit.Row{save(uint64(i)+2, "k", nil, 1)}}))
		}
		values := 0
		f.set(func(call string, args int) fault {
			if call == "BEGIN" {
				values = 0
			}
			if values += args; values > 300 { // 60 rows
				values = 0
				return hang
			}
			return nil
		})
		close(let)
		first.stored()
		for _, r := range all {
			r.stored()
		}
		f.set(nil)
		expect(t, db, "201", "SELECT COUNT(*) FROM saves")
	})
}

func TestDeadlockCostsNoConnectionAndNoPause(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		f := &faults{}
		sessions := 0
		g := commit.NewAround(commit.Options{DB: db, Timeout: patience}, func(s commit.Session) commit.Session {
			sessions++
			return &faulty{Session: s, faults: f}
		})
		f.next("INSERT INTO saves", answer(errDeadlock))
		submit(t, g, &commit.Change{Rows: []commit.Row{save(1, "k", nil, 1)}}).stored()
		closeGroup(t, g)
		if n := g.Stats(); n.Retries != 1 || sessions != 1 {
			t.Errorf("%d sessions, %+v", sessions, n)
		}
	})
}

// logged collects what is logged, by level and message.
func logged() (*zap.Logger, func() string) {
	core, logs := observer.New(zap.InfoLevel)
	return zap.New(core), func() string {
		var all []string
		for _, e := range logs.All() {
			all = append(all, e.Level.String()+": "+e.Message)
		}
		return strings.Join(all, "\n")
	}
}

func TestStoreThatIsAwayIsLoggedOnce(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		log, lines := logged()
		f := &faults{}
		g := group(t, commit.Options{DB: db, Timeout: 500 * time.Millisecond, Log: log, Health: store.NewHealth("sql", log, nil)}, f)
		f.next("BEGIN", loseRequest, loseRequest, loseRequest, hang)
		submit(t, g, &commit.Change{Rows: []commit.Row{save(1, "k", nil, 1)}}).stored()
		eventually(t, "it is back", func() bool {
			submit(t, g, &commit.Change{Rows: []commit.Row{save(1, "k", nil, 1)}}).stored()
			return strings.Contains(lines(), "back")
		})
		if got := lines(); got != "warn: store is unreachable\ninfo: store is back" {
			t.Errorf("log:\n%s", got)
		}
		if n := g.Stats(); n.Retries != 4 {
			t.Errorf("%+v", n)
		}
	})
}

func TestStoreThatRefusesIsLoggedOnceAndNoChangeBlamed(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		log, lines := logged()
		f := &faults{}
		g := group(t, commit.Options{DB: db, Log: log, Health: store.NewHealth("sql", log, nil)}, f)
		refused := answer(errors.New("no such table: writers"))
		f.next("INSERT INTO writers", refused, refused, refused)
		submit(t, g, &commit.Change{Rows: []commit.Row{save(1, "k", nil, 1)}}).stored()
		if got := lines(); got != "error: the store refuses changes; they wait\ninfo: the store takes changes again" {
			t.Errorf("log:\n%s", got)
		}
	})
}

func TestConnectionThatDiedUnusedIsNoNewsOfTheStore(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		log, lines := logged()
		f := &faults{}
		now := time.Unix(1e9, 0)
		sessions := 0
		g := commit.NewAround(commit.Options{DB: db, Timeout: patience, Log: log, Health: store.NewHealth("sql", log, nil), Clock: func() time.Time { return now }},
			func(s commit.Session) commit.Session {
				sessions++
				return &faulty{Session: s, faults: f}
			})
		one := func() { submit(t, g, &commit.Change{Rows: []commit.Row{save(1, "k", nil, 1)}}).stored() }
		one()
		f.next("BEGIN", loseRequest)
		one()
		if n := g.Stats(); n.Retries != 0 || sessions != 2 || lines() != "" {
			t.Errorf("%d sessions, %+v, log: %s", sessions, n, lines())
		}
		now = now.Add(2 * time.Minute) // and one that is old is not used at all
		f.heard()
		one()
		if calls := f.heard(); sessions != 3 || calls[0] == "BEGIN" { // a new one is set up first
			t.Errorf("%d sessions, %q", sessions, calls)
		}
		closeGroup(t, g)
	})
}

// TestDuplicateOfWhatIsNotStoredAfterAll: one change duplicates another of the same transaction, which then is lost and the other
// abandoned. So there is nothing to duplicate.
func TestDuplicateOfWhatIsNotStoredAfterAll(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		g, f, let := blocked(t, commit.Options{DB: db})
		first := submit(t, g, &commit.Change{Rows: []commit.Row{letter(1, 1, "gift")}})
		second := submit(t, g, &commit.Change{Rows: []commit.Row{letter(1, 2, "gift")}})
		commits := 0
		f.set(func(call string, _ int) fault {
			if call != "COMMIT" {
				return nil
			}
			if commits++; commits > 1 {
				return nil
			}
			return func(context.Context, func() error) error {
				if first.c.Abandon() || second.known() {
					t.Error("decided before the transaction was")
				}
				return errLost
			}
		})
		let()
		first.fails(commit.ErrAbandoned)
		second.stored()
		expect(t, db, "2", "SELECT id FROM mail")
	})
}
