package commit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gameserverd/internal/commit"
	"gameserverd/internal/storetest"
)

// proxied is a Group whose connections go through a proxy, and a database that does not.
func proxied(t *testing.T, s *storetest.Server, o commit.Options) (*storetest.Link, *commit.Group) {
	t.Helper()
	migrated(t, "mysql", s.DSN)
	link := storetest.Proxy(t, s.Addr)
	o.DB = open(t, "mysql", s.At(link.Addr))
	return link, group(t, o, nil)
}

func TestCommitLostOnTheWay(t *testing.T) {
	t.Parallel()
	s := storetest.MariaDB(t)
	direct := open(t, "mysql", s.DSN)
	link, g := proxied(t, s, commit.Options{})
	beforeEverything(t, g, 1, 2, 3)
	for i, break_ := range []func(string) *storetest.Fault{link.LoseReply, link.LoseRequest, link.CutAt} {
		uid := uint64(i + 1)
		fault := break_("COMMIT")
		r := submit(t, g, everything(uid))
		<-fault.Met
		if o := r.stored(); o.Version != 2 {
			t.Errorf("%+v", o)
		}
		expectEverything(t, direct, uid, 1)
	}
	if n := g.Stats(); n.Resolved < 3 || n.Changes != 4 {
		t.Errorf("%+v", n)
	}
}

// TestCommitThatComesLate: the connection is lost, and the server gets the COMMIT long after. Until then nothing is known, and nothing
// else can be written.
func TestCommitThatComesLate(t *testing.T) {
	t.Parallel()
	s := storetest.MariaDB(t)
	direct := open(t, "mysql", s.DSN)
	link, g := proxied(t, s, commit.Options{Timeout: 300 * time.Millisecond})
	beforeEverything(t, g, 1)
	fault := link.HoldRequest("COMMIT")
	r := submit(t, g, everything(1))
	<-fault.Met
	other := submit(t, g, &commit.Change{Rows: []commit.Row{save(5, "k", nil, 1)}})
	tries := g.Stats().Retries
	eventually(t, "it was looked up in vain", func() bool { return g.Stats().Retries > tries+2 })
	if r.known() || other.known() {
		t.Error("an outcome, before there is one")
	}
	expectEverything(t, direct, 1, 0)
	fault.Release()
	r.stored()
	other.stored()
	expectEverything(t, direct, 1, 1)
	if n := g.Stats(); n.Resolved == 0 || n.Batches != 3 {
		t.Errorf("%+v", n)
	}
}

// TestTransactionThatLivesOnInTheServer: the connection is lost before COMMIT, so it is known that nothing is stored; but the server
// still has the transaction with its locks, until it notices.
func TestTransactionThatLivesOnInTheServer(t *testing.T) {
	t.Parallel()
	s := storetest.MariaDB(t)
	direct := open(t, "mysql", s.DSN)
	link, g := proxied(t, s, commit.Options{Timeout: 300 * time.Millisecond})
	beforeEverything(t, g, 1, 2)
	fault := link.HoldRequest("needle")
	change := everything(1)
	change.Rows = append(change.Rows, save(1, "z needle", nil, 1))
	r := submit(t, g, change)
	<-fault.Met
	eventually(t, "it was tried again in vain", func() bool { return g.Stats().Retries > 2 })
	unwanted := submit(t, g, everything(2))
	if r.known() || !unwanted.c.Abandon() {
		t.Error("an outcome, or an Abandon that came late")
	}
	fault.Release()
	if o := r.stored(); o.Version != 2 {
		t.Errorf("%+v", o)
	}
	expect(t, direct, "k;z needle", "SELECT save_key FROM saves WHERE uid = 1 ORDER BY save_key")
	expectEverything(t, direct, 2, 0)
}

// TestServerDiesWithACommitOnItsWay: it has the whole transaction and not the COMMIT.
func TestServerDiesWithACommitOnItsWay(t *testing.T) {
	t.Parallel()
	s := storetest.MariaDBAlone(t)
	link, g := proxied(t, s, commit.Options{Timeout: 300 * time.Millisecond})
	beforeEverything(t, g, 1, 2)
	fault := link.HoldRequest("COMMIT")
	r := submit(t, g, everything(1))
	<-fault.Met
	s.Kill()
	fault.Release()
	tries := g.Stats().Retries
	eventually(t, "it was looked up in vain", func() bool { return g.Stats().Retries > tries+2 })
	abandoned := submit(t, g, everything(2))
	if r.c.Abandon() || !abandoned.c.Abandon() {
		t.Error("what may be stored was abandoned, or what cannot be was not")
	}
	s.Start()
	r.fails(commit.ErrAbandoned) // it is known now that it is not stored, and nobody wants it
	again := submit(t, g, everything(1))
	again.stored()
	direct := open(t, "mysql", s.DSN)
	expectEverything(t, direct, 1, 1)
	expectEverything(t, direct, 2, 0)
}

func TestServerStalls(t *testing.T) {
	t.Parallel()
	s := storetest.MariaDBAlone(t)
	db := migrated(t, "mysql", s.DSN)
	g := group(t, commit.Options{DB: db, Timeout: 200 * time.Millisecond}, nil)
	beforeEverything(t, g, 1, 2)
	s.Stall()
	r, gone := submit(t, g, everything(1)), submit(t, g, everything(2))
	eventually(t, "it was tried in vain", func() bool { return g.Stats().Retries > 2 })
	if !gone.c.Abandon() {
		t.Error("what the server cannot have could not be abandoned")
	}
	gone.fails(commit.ErrAbandoned)
	s.Resume()
	r.stored()
	expectEverything(t, db, 1, 1)
	expectEverything(t, db, 2, 0)
}

func TestCloseWhileTheServerStalls(t *testing.T) {
	t.Parallel()
	s := storetest.MariaDBAlone(t)
	db := migrated(t, "mysql", s.DSN)
	g := commit.New(commit.Options{DB: db})
	beforeEverything(t, g, 1)
	s.Stall()
	r, behind := submit(t, g, everything(1)), submit(t, g, everything(1))
	closeSoon(t, g)
	r.fails(commit.ErrClosed) // it was at its first statement at most
	behind.fails(commit.ErrClosed)
	s.Resume()
	expectEverything(t, db, 1, 0)
}

// TestIndexesAreUsed asks MariaDB how it finds the rows of the statements that look for more than one: in a table where most are
// asked for, and for deletes, which cannot be told, in one with a few thousand rows.
func TestIndexesAreUsed(t *testing.T) {
	t.Parallel()
	s := storetest.MariaDB(t)
	db := migrated(t, "mysql", s.DSN)
	g := group(t, commit.Options{DB: db}, nil)
	c := &commit.Change{}
	for i := range uint64(3000) {
		c.Rows = append(c.Rows, save(i, "k", nil, 1), commit.Row{Table: names, Values: []any{fmt.Sprint(i), int64(i)}})
	}
	var keys, folded, uids, takes []any
	for i := range uint64(512) {
		c.Rows = append(c.Rows, player(commit.Insert, i, 0, 1))
		keys = append(keys, int64(i), "k")
		folded = append(folded, fmt.Sprint(i))
		uids = append(uids, int64(i))
		takes = append(takes, int64(i), int64(i))
	}
	submit(t, g, c).stored()
	rows(t, db, "ANALYZE TABLE saves, players, names")
	for query, args := range map[string][]any{
		commit.DeleteText(saves, 64): keys[:128],
		commit.DeleteText(names, 64): folded[:64],
		commit.FenceText(512):        uids,
		commit.TakeText(512):         append(takes, uids...),
	} {
		// The columns: id, select_type, table, type, possible_keys, key, key_len, ref, rows, Extra.
		if plan := strings.Split(rows(t, db, "EXPLAIN "+query, args...), ","); plan[3] != "range" || plan[5] != "PRIMARY" {
			t.Errorf("%.60s...: %v", query, plan)
		}
	}
}
