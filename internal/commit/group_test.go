package commit_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gameserverd/internal/commit"
	"gameserverd/internal/storetest"
)

func TestStoresRowsOfEveryKind(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		g := group(t, commit.Options{DB: db}, nil)
		submit(t, g, &commit.Change{UID: 7, Rows: []commit.Row{
			player(commit.Insert, 7, 10, 1),
			save(7, "a", []byte("x"), 1), save(7, "b", nil, 1), save(7, "c", []byte{0, 255, '\''}, 1),
			{Op: commit.Insert, Table: names, Values: []any{"bob'; DROP TABLE players; --", int64(7)}},
			letter(7, 1, "daily"),
			{Table: ranks, Values: []any{int64(7), "main", int64(-5), int64(9)}},
			{Op: commit.Delete, Table: saves, Values: []any{int64(7), "was never there"}},
		}}).stored()
		submit(t, g, &commit.Change{UID: 7, Rows: []commit.Row{
			player(commit.Upsert, 7, 11, 1), save(7, "a", []byte("y"), 2),
			{Op: commit.Delete, Table: saves, Values: []any{int64(7), "b"}},
			{Op: commit.Delete, Table: mail, Values: []any{int64(7), int64(1)}},
			{Op: commit.Insert, Table: claims, Values: []any{int64(7), int64(1), int64(3)}},
		}}).stored()
		expect(t, db, "7,somebody,1,11,{},1,2,1", "SELECT * FROM players")
		expect(t, db, "7,a,y,2,7;7,c,\x00\xff',1,7", "SELECT * FROM saves ORDER BY save_key")
		expect(t, db, "bob'; DROP TABLE players; --,7", "SELECT * FROM names")
		expect(t, db, "", "SELECT * FROM mail")
		expect(t, db, "7,1,3", "SELECT * FROM claims")
		expect(t, db, "7,main,-5,9", "SELECT * FROM ranks")
		expect(t, db, fmt.Sprint(g.Writer(), ",2"), "SELECT writer, seq FROM writers")
		n := g.Stats()
		if n.Batches != 2 || n.Changes != 2 || n.Rows != 13 || n.Waiting != 0 || n.LastCommit <= 0 || n.Retries != 0 {
			t.Errorf("%+v", n)
		}
		if n.Time.Count() != 2 || n.Time.Sum < uint64(n.LastCommit) || n.BatchRows.Count() != 2 || n.BatchRows.Sum != 13 {
			t.Errorf("times %+v, rows %+v", n.Time, n.BatchRows)
		}
	})
}

// counting is a Home that counts its posts.
type counting struct{ posts atomic.Int64 }

func (h *counting) AddCallback(fn func()) bool {
	h.posts.Add(1)
	fn()
	return true
}

func TestWhatWaitsIsOneTransactionAndOnePostForEachHome(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		g, f, let := blocked(t, commit.Options{DB: db, BatchRows: 100})
		f.heard()
		var homes [3]counting
		var all []*result
		for i := range 300 {
			all = append(all, submit(t, g, &commit.Change{Home: &homes[i%3], Rows: []commit.Row{save(uint64(i), "k", []byte("v"), 1)}}))
		}
		if n := g.Stats().Waiting; n != 301 {
			t.Errorf("%d wait", n)
		}
		let()
		for _, r := range all {
			r.stored()
		}
		for i := range homes {
			if n := homes[i].posts.Load(); n != 3 {
				t.Errorf("home %d had %d posts for 3 batches", i, n)
			}
		}
		if n := g.Stats(); n.Batches != 4 || n.Changes != 301 {
			t.Errorf("%+v", n)
		}
		upserts := 0
		for _, call := range f.heard() {
			if strings.HasPrefix(call, "INSERT INTO saves") {
				upserts++
			}
		}
		if want := map[string]int{"sqlite": 3 * 3 /* 64, 32 and 4 rows */, "mysql": 3}[s.Driver]; upserts != want {
			t.Errorf("%d statements, want %d", upserts, want)
		}
		expect(t, db, "301", "SELECT COUNT(*) FROM saves")
	})
}

func TestRowsAreWrittenInTheOrderOfTheirKeys(t *testing.T) {
	t.Parallel()
	db := sqlite(t)
	g, _, let := blocked(t, commit.Options{DB: db})
	var all []*result
	for uid := uint64(150); uid > 0; uid -= 10 {
		all = append(all, submit(t, g, &commit.Change{Rows: []commit.Row{
			save(uid, "b", nil, 1), save(uid, "c", nil, 1), save(uid, "a", nil, 1)}}))
	}
	let()
	for _, r := range all {
		r.stored()
	}
	// SQLite numbers rows as they come.
	expect(t, db, "45", "SELECT COUNT(*) FROM saves WHERE save_key <> 'first'")
	expect(t, db, "0", "SELECT COUNT(*) FROM saves x JOIN saves y ON y.rowid = x.rowid + 1 WHERE x.save_key <> 'first' AND (y.uid, y.save_key) < (x.uid, x.save_key)")
}

func TestStatementsAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		f := &faults{}
		g := group(t, commit.Options{DB: db, BatchBytes: 10_000}, f)
		big := &commit.Change{}
		for i := range 33 {
			big.Rows = append(big.Rows, save(1, fmt.Sprint(i), make([]byte, 1000), 1))
		}
		submit(t, g, big).stored() // more than a batch has: alone, in several statements
		expect(t, db, "33", "SELECT COUNT(*) FROM saves")
		statements := 0
		for _, call := range f.heard() {
			if strings.HasPrefix(call, "INSERT INTO saves") {
				statements++
			}
		}
		if statements != 5 { // 4 times 8 rows, and 1
			t.Errorf("%d statements", statements)
		}
		tooBig := &commit.Change{Rows: []commit.Row{save(1, "x", make([]byte, 10_000), 1)}}
		prepare(t, tooBig)
		if err := g.Submit(tooBig); err == nil || !strings.Contains(err.Error(), "saves") {
			t.Errorf("a row that no statement can have: %v", err)
		}
	})
}

func TestChangesOfOneKeyAreAppliedInOrder(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		g, _, let := blocked(t, commit.Options{DB: db})
		var mu sync.Mutex
		var order []int
		var all []*result
		for i := range 11 {
			// Two keys that cross: each change shares one with the one before it.
			c := &commit.Change{Rows: []commit.Row{save(1, fmt.Sprint(i), []byte{'0' + byte(i)}, 1), save(1, fmt.Sprint(i+1), []byte{'0' + byte(i)}, 1)}}
			if i == 10 {
				c.Rows = []commit.Row{save(2, "not in their way", nil, 1)}
			}
			r := prepare(t, c)
			done := c.Done
			c.Done = func(o commit.Outcome) {
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				done(o)
			}
			if err := g.Submit(c); err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
		let()
		for _, r := range all {
			r.stored()
		}
		if fmt.Sprint(order) != "[0 10 1 2 3 4 5 6 7 8 9]" { // the last one shares no key, and waits for none
			t.Errorf("order %v", order)
		}
		expect(t, db, "0,0;1,1;10,9;2,2;3,3;4,4;5,5;6,6;7,7;8,8;9,9", "SELECT save_key, value FROM saves WHERE uid = 1 ORDER BY save_key")
		if n := g.Stats().Batches; n != 11 {
			t.Errorf("%d batches, want one for each change of the key", n)
		}
	})
}

func TestOneFailingChangeFailsAlone(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		g, _, let := blocked(t, commit.Options{DB: db})
		var all []*result
		for i := range 100 {
			row := save(uint64(i), "k", []byte("v"), 1)
			if i == 33 || i == 71 {
				row.Values[3] = "not a number"
			}
			all = append(all, submit(t, g, &commit.Change{Rows: []commit.Row{row, {Table: ranks, Values: []any{int64(i), "main", int64(1), int64(1)}}}}))
		}
		let()
		for i, r := range all {
			o := r.wait()
			if bad := i == 33 || i == 71; bad != (o.Err != nil) {
				t.Errorf("%d: %v", i, o.Err)
			}
		}
		expect(t, db, "98", "SELECT COUNT(*) FROM saves WHERE save_key = 'k'")
		expect(t, db, "98", "SELECT COUNT(*) FROM ranks")
		if n := g.Stats(); n.Splits == 0 || n.Splits > 14 || n.Changes != 99 || n.Retries != 0 {
			t.Errorf("%+v", n)
		}
	})
}

func TestDuplicateFailsAloneAndWhole(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		g, _, let := blocked(t, commit.Options{DB: db})
		before := submit(t, g, &commit.Change{Rows: []commit.Row{letter(1, 1, "daily"), player(commit.Insert, 4, 0, 1), {Op: commit.Insert, Table: names, Values: []any{"old", int64(4)}}}})
		let()
		before.stored()

		met, free := make(chan struct{}), make(chan struct{})
		f := &faults{}
		g = group(t, commit.Options{DB: db, Timeout: deadline}, f)
		f.next("COMMIT", hold(met, free))
		first := submit(t, g, &commit.Change{Rows: []commit.Row{save(9, "x", nil, 1)}})
		<-met
		again := submit(t, g, &commit.Change{Rows: []commit.Row{letter(1, 2, "daily"), save(1, "s", nil, 1)}}) // the same source
		once := submit(t, g, &commit.Change{Rows: []commit.Row{letter(2, 1, "gift")}})
		twice := submit(t, g, &commit.Change{Rows: []commit.Row{letter(2, 2, "gift")}}) // in the same batch
		rename := submit(t, g, &commit.Change{UID: 4, Fence: commit.Take, Rows: []commit.Row{
			{Op: commit.Delete, Table: names, Values: []any{"old"}},
			{Op: commit.Insert, Table: mail, Values: letter(1, 1, "other").Values}, // the same key
			save(4, "s", nil, 1)}})
		other := submit(t, g, &commit.Change{Rows: []commit.Row{save(5, "s", nil, 1)}})
		close(free)
		first.stored()
		again.fails(commit.ErrDuplicate)
		once.stored()
		twice.fails(commit.ErrDuplicate)
		rename.fails(commit.ErrDuplicate)
		other.stored()
		expect(t, db, "5;9", "SELECT uid FROM saves WHERE uid < 100 ORDER BY uid")
		expect(t, db, "1,1;2,1", "SELECT uid, id FROM mail ORDER BY uid, id")
		expect(t, db, "old", "SELECT name_key FROM names")
		expect(t, db, "1,2", "SELECT version, seen_ms FROM players WHERE uid = 4")
		if n := g.Stats(); n.Batches != 2 || n.Splits != 0 || n.Changes != 3 {
			t.Errorf("%+v", n)
		}
		// One that is alone in its batch needs no second look.
		f.heard()
		submit(t, g, &commit.Change{Rows: []commit.Row{letter(1, 3, "daily")}}).fails(commit.ErrDuplicate)
		if calls := strings.Join(f.heard(), " "); strings.Count(calls, "BEGIN") != 1 || strings.Contains(calls, "SAVEPOINT") {
			t.Errorf("calls: %s", calls)
		}
		// A source that was given up in the same change is free.
		submit(t, g, &commit.Change{Rows: []commit.Row{{Op: commit.Delete, Table: mail, Values: []any{int64(1), int64(1)}}, letter(1, 4, "daily")}}).stored()
		expect(t, db, "1,4;2,1", "SELECT uid, id FROM mail ORDER BY uid, id")
	})
}

func TestFences(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		g := group(t, commit.Options{DB: db}, nil)
		const high = 1<<64 - 3 // uids are unsigned, the store's numbers are not
		if o := submit(t, g, &commit.Change{UID: high, Fence: commit.Take, Seen: 5}).stored(); !o.Missing || o.Version != 0 {
			t.Errorf("Take of nobody: %+v", o)
		}
		submit(t, g, &commit.Change{UID: high, Fence: commit.Hold, Version: 0, Rows: []commit.Row{save(high, "a", nil, 1)}}).fails(commit.ErrLostRace)
		submit(t, g, &commit.Change{UID: high, Rows: []commit.Row{player(commit.Insert, high, 1, 1)}}).stored()
		submit(t, g, &commit.Change{UID: high, Fence: commit.Hold, Version: 1, Rows: []commit.Row{player(commit.Upsert, high, 2, 1), save(high, "a", nil, 1)}}).stored()
		if o := submit(t, g, &commit.Change{UID: high, Fence: commit.Take, Seen: 6, Rows: []commit.Row{save(high, "b", nil, 1)}}).stored(); o.Missing || o.Version != 2 {
			t.Errorf("Take: %+v", o)
		}
		submit(t, g, &commit.Change{UID: high, Fence: commit.Hold, Version: 1, Rows: []commit.Row{player(commit.Upsert, high, 3, 1), save(high, "c", nil, 1)}}).fails(commit.ErrLostRace)
		submit(t, g, &commit.Change{UID: high, Fence: commit.Hold, Version: 2, Rows: []commit.Row{save(high, "d", nil, 1)}}).stored()
		expect(t, db, "-3,2,6,2", "SELECT uid, gold, seen_ms, version FROM players")
		expect(t, db, "a;b;d", "SELECT save_key FROM saves ORDER BY save_key")
		if n := g.Stats(); n.LostRaces != 2 || n.Changes != 5 || n.BatchRows.Sum != uint64(n.Rows) || n.Time.Count() != uint64(n.Batches) {
			t.Errorf("%+v", n)
		}
	})
}

func TestManyFencesInOneBatch(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		g := group(t, commit.Options{DB: db}, nil)
		c := &commit.Change{}
		for uid := range uint64(60) {
			c.Rows = append(c.Rows, player(commit.Insert, uid, 0, int64(uid)))
		}
		submit(t, g, c).stored()
		g, _, let := blocked(t, commit.Options{DB: db})
		var takes, holds, late []*result
		for uid := range uint64(70) {
			if uid%2 == 0 {
				takes = append(takes, submit(t, g, &commit.Change{UID: uid, Fence: commit.Take, Seen: 1000 + int64(uid)}))
				// In the order of Submit: it is for the version before the Take, which comes first.
				late = append(late, submit(t, g, &commit.Change{UID: uid, Fence: commit.Hold, Version: int64(uid), Rows: []commit.Row{save(uid, "late", nil, 1)}}))
			} else {
				version := int64(uid)
				if uid%3 == 0 {
					version++
				}
				holds = append(holds, submit(t, g, &commit.Change{UID: uid, Fence: commit.Hold, Version: version, Rows: []commit.Row{save(uid, "hold", nil, 1)}}))
			}
		}
		let()
		for _, r := range takes {
			o := r.stored()
			if missing := r.c.UID >= 60; o.Missing != missing || !missing && o.Version != int64(r.c.UID)+1 {
				t.Errorf("Take of %d: %+v", r.c.UID, o)
			}
		}
		for _, r := range holds {
			if r.c.UID%3 == 0 || r.c.UID >= 60 {
				r.fails(commit.ErrLostRace)
			} else {
				r.stored()
			}
		}
		for _, r := range late {
			r.fails(commit.ErrLostRace)
		}
		expect(t, db, "30,30", "SELECT COUNT(*), SUM(CASE WHEN seen_ms = 1000 + uid AND version = uid + 1 THEN 1 ELSE 0 END) FROM players WHERE seen_ms > 999")
		expect(t, db, "20", "SELECT COUNT(*) FROM saves WHERE save_key = 'hold'")
		if n := g.Stats(); n.Batches != 2 { // the late ones are all lost races: no commit
			t.Errorf("%+v", n)
		}
	})
}

func TestStaleWritersAreForgotten(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		g := group(t, commit.Options{DB: db, Clock: clockAt(48 * 3600)}, nil)
		writers := commit.NewTable("writers", []string{"writer"}, "seq", "at_ms")
		submit(t, g, &commit.Change{Rows: []commit.Row{
			{Table: writers, Values: []any{int64(-1), int64(5), int64(23*3600) * 1000}},
			{Table: writers, Values: []any{int64(-2), int64(5), int64(25*3600) * 1000}},
		}}).stored()
		other := group(t, commit.Options{DB: db, Clock: clockAt(48 * 3600)}, nil)
		submit(t, other, &commit.Change{Rows: []commit.Row{save(1, "a", nil, 1)}}).stored()
		expect(t, db, "1", "SELECT COUNT(*) FROM writers WHERE writer = -2")
		expect(t, db, "0", "SELECT COUNT(*) FROM writers WHERE writer = -1")
		expect(t, db, "2", "SELECT COUNT(*) FROM writers WHERE writer IN (?, ?)", g.Writer(), other.Writer())
	})
}

// A row that is over makes room for one of the same key, in the same transaction, and only then.
func TestInsertTakesThePlaceOfARowThatIsOver(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := migrated(t, s.Driver, s.DSN)
		f := &faults{}
		g := group(t, commit.Options{DB: db, Timeout: deadline}, f)
		key := func(name string, now, until int64) commit.Row {
			return commit.Row{Op: commit.Insert, Table: keys, Values: []any{name, int64(1), until}, Now: now}
		}
		expectUntil := func(want string) {
			t.Helper()
			expect(t, db, want, "SELECT unique_key, until_ms FROM tasks_keys ORDER BY unique_key")
		}
		one := func(rows ...commit.Row) *commit.Change { return &commit.Change{Rows: rows} }
		submit(t, g, one(key("a", 0, 100), letter(1, 1, "daily"))).stored()
		f.heard()
		submit(t, g, one(key("b", 50, 100))).stored()
		if calls := strings.Join(f.heard(), " "); strings.Contains(calls, "DELETE") || strings.Contains(calls, "SAVEPOINT") {
			t.Errorf("nothing was in the way: %s", calls)
		}
		early := submit(t, g, one(key("a", 99, 200)))
		if early.fails(commit.ErrDuplicate); !commit.DuplicateIn(early.wait().Err, keys) || commit.DuplicateIn(early.wait().Err, mail) {
			t.Errorf("it is not said what is there: %v", early.wait().Err)
		}
		submit(t, g, one(key("a", 0, 200))).fails(commit.ErrDuplicate)
		submit(t, g, one(key("a", 100, 200))).stored()
		expectUntil("a,200;b,100")
		other := submit(t, g, one(key("a", 300, 400), letter(1, 2, "daily")))
		if other.fails(commit.ErrDuplicate); !commit.DuplicateIn(other.wait().Err, mail) {
			t.Errorf("it is not said what is there: %v", other.wait().Err)
		}
		expectUntil("a,200;b,100") // nothing of it is left
		// In one batch: one that is over, one that is not, and one for which it makes no difference.
		met, free := make(chan struct{}), make(chan struct{})
		f.next("COMMIT", hold(met, free))
		first := submit(t, g, one(save(9, "x", nil, 1)))
		<-met
		over, not, third := submit(t, g, one(key("a", 200, 500))), submit(t, g, one(key("b", 99, 500))), submit(t, g, one(save(5, "s", nil, 1)))
		close(free)
		first.stored()
		over.stored()
		not.fails(commit.ErrDuplicate)
		third.stored()
		expectUntil("a,500;b,100")
	})
}
