package boards

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// back is how soon an index has to be whole after Redis has come back.
const back = 5 * time.Second

// rows are n entries in the order of their ranks.
func rows(n int) []Entry {
	all := make([]Entry, n)
	for i := range all {
		all[i] = Entry{UID: uint64(i)*3 + 1, Name: fmt.Sprintf("player%d", i), Score: int64(1_000_000 - i), Came: int64(i)}
	}
	return all
}

func modelOf(entries []Entry) *model { return &model{entries: append([]Entry{}, entries...)} }

// empty empties the Redis as if another had been started in its place.
func (r *rig) empty() {
	if r.place.dial != nil {
		r.place.dial.Flush()
		return
	}
	r.server("FLUSHDB")
}

// whole waits until the boards answer. The first answer must be from all.
func (r *rig) whole(b *Boards, m *model) {
	r.t.Helper()
	began := time.Now()
	var top []Ranked
	until(r.t, "the index is whole", func() (is bool) {
		var err error
		if top, err = result(r.t, b.Top("main", MaxRows)); err != nil {
			wantUnavailable(r.t, err)
		}
		return err == nil
	})
	if took := time.Since(began); took > back {
		r.t.Errorf("the index was whole after %v", took)
	}
	same(r.t, "Top", top, m.top(MaxRows))
}

func (r *rig) logged(text string) (n int) { return r.logs.FilterMessageSnippet(text).Len() }

// TestEmptiedWhileInUse empties Redis again and again under two processes that put and read without a pause. Nobody may ever see a part
// of the board, and at the end everything is there.
func TestEmptiedWhileInUse(t *testing.T) {
	overRedis(t, func(t *testing.T, g *rig) {
		t.Parallel()
		r := seeded(t)
		const before = 520
		entries := rows(before)
		g.storeAll("main", entries)
		m := modelOf(entries)
		processes := []*Boards{g.loaded(), g.boards()}
		g.redis = g.connect()
		g.load(processes[1])
		var reading []*future.Future[[]Ranked]
		answered, seen := 0, 0
		look := func() {
			for _, f := range reading {
				if top, err := result(t, f); err != nil {
					wantUnavailable(t, err)
				} else if seen++; len(top) < before {
					t.Errorf("%d rows of %d", len(top), before)
				}
			}
			reading = nil
		}
		for step := range 150 {
			if step%50 == 25 {
				look()
				g.empty()
			}
			b := processes[r.IntN(2)]
			e := Entry{UID: r.Uint64N(1000), Name: fmt.Sprint("step ", step), Score: r.Int64N(2_000_000), Came: int64(step) + 1000}
			if i := m.find(e.UID); i >= 0 && m.compare(m.entries[i], e) < 0 {
				continue
			}
			m.put(e)
			g.store("main", e)
			if step%3 == 0 {
				reading = append(reading, processes[r.IntN(2)].Top("main", before))
			}
			if _, err := result(t, b.Put("main", e)); err == nil {
				answered++
			} else {
				wantUnavailable(t, err)
			}
		}
		look()
		for _, b := range processes {
			g.whole(b, m)
		}
		if answered == 0 || seen == 0 {
			t.Errorf("%d ranks were known, %d pages seen", answered, seen)
		}
	})
}

// TestEmptiedWhileBeingFilled empties Redis when some of the rows are there, or all but the last word, and another process has said
// hello to it since: what reads the rows must begin again, and nobody may see what is there before it has.
func TestEmptiedWhileBeingFilled(t *testing.T) {
	overRedis(t, func(t *testing.T, g *rig) {
		t.Parallel()
		entries := rows(1000)
		order, meta := keysOf("main")[0], keysOf("main")[2]
		x := g.index(never)
		g.redis = g.connect()
		other := g.index(never)
		times := 0
		lose := func() {
			until(t, "the first rows are there", func() bool {
				n, _ := g.server("ZCARD", order).Int()
				return n >= 300
			})
			g.empty()
			until(t, "the other has said hello", func() bool { return !g.server("HGET", meta, "epoch").Nil() })
		}
		err := x.fill(context.Background(), func(ctx context.Context, row func(Entry) error) error {
			times++
			for _, x := range []index{x, other} {
				_, err := result(t, x.top(1))
				wantUnavailable(t, err)
			}
			for i, e := range entries {
				if i == 700 && times == 1 {
					lose()
				}
				if err := row(e); err != nil {
					return err
				}
			}
			if times == 2 {
				lose()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if times != 3 {
			t.Errorf("the rows were read %d times", times)
		}
		for _, x := range []index{x, other} {
			same(t, "Top", must(t, x.top(MaxRows)), modelOf(entries).top(MaxRows))
		}
	})
}

// TestPartIsNotShown keeps the rows of SQL back after a loss: no process answers before it has them.
func TestPartIsNotShown(t *testing.T) {
	overRedis(t, func(t *testing.T, g *rig) {
		t.Parallel()
		meta := keysOf("main")[2]
		x := g.index(never)
		mine := x.(*remote)
		entries := rows(10)
		fill := func() {
			t.Helper()
			err := x.fill(context.Background(), func(_ context.Context, row func(Entry) error) error {
				for _, e := range entries {
					if err := row(e); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		fill()
		g.redis = g.connect()
		other := g.index(never)
		for what, lose := range map[string]func(){
			"older":         func() { g.server("HSET", meta, mine.process, 0) },
			"without keys":  func() { g.server("DEL", keysOf("main")[0], keysOf("main")[1]) },
			"without all":   g.empty,
			"the queue was": func() { mine.mu.Lock(); mine.full = true; mine.mu.Unlock(); mine.stir() },
		} {
			before := g.server("HGET", meta, "epoch")
			must(t, other.top(1))
			lose()
			_, err := result(t, x.put(entries[0])) // which must not hide it
			wantUnavailable(t, err)
			until(t, what+": it is noticed", func() bool {
				now := g.server("HGET", meta, "epoch")
				return !now.Nil() && now.Value() != before.Value()
			})
			for range 3 {
				for _, y := range []index{x, other} {
					_, err := result(t, y.top(1))
					wantUnavailable(t, err)
				}
				if _, err := result(t, x.put(entries[1])); err == nil {
					t.Errorf("%s: the rank was known", what)
				}
			}
			fill()
			same(t, what, must(t, other.top(MaxRows)), modelOf(entries).top(MaxRows))
		}
	})
}

// TestKeysGone takes one of the keys away, as a Redis does that was told to evict.
func TestKeysGone(t *testing.T) {
	overRedis(t, func(t *testing.T, g *rig) {
		t.Parallel()
		entries := rows(20)
		g.storeAll("main", entries)
		m := modelOf(entries)
		b := g.loaded()
		for i, key := range keysOf("main")[:3] {
			g.server("DEL", key)
			_, err := result(t, b.Top("main", 1))
			wantUnavailable(t, err)
			e := Entry{UID: 2, Name: "after " + key, Score: int64(i), Came: int64(i)}
			m.put(e)
			g.store("main", e)
			_, err = result(t, b.Put("main", e))
			wantUnavailable(t, err)
			g.whole(b, m)
		}
		// A member is gone, though the keys are there.
		g.server("ZREM", keysOf("main")[0], cameText(0)+" "+uidText(1))
		_, err := result(t, b.Top("main", 1))
		wantUnavailable(t, err)
		g.whole(b, m)
	})
}

// TestComesBackOlder gives Redis what it held some time ago, as one does that starts from a dump or takes over as a replica.
func TestComesBackOlder(t *testing.T) {
	t.Parallel()
	g := newRig(t, redisPlace{url: storetest.Redis(t).URL})
	entries := rows(20)
	g.storeAll("main", entries)
	m := modelOf(entries)
	b := g.loaded()
	keys := keysOf("main")[:3]
	dumps := make([][]byte, len(keys))
	for i, key := range keys {
		dumps[i], _ = g.server("DUMP", key).Bytes()
	}
	for i := range int64(3) {
		e := Entry{UID: 4, Name: "newer", Score: 5_000_000 + i, Came: i}
		m.put(e)
		g.store("main", e)
		must(t, b.Put("main", e))
	}
	for i, key := range keys {
		g.server("RESTORE", key, 0, dumps[i], "REPLACE")
	}
	_, err := result(t, b.Top("main", 1))
	wantUnavailable(t, err)
	g.whole(b, m)
	// Another process that has known Redis as it was learns it from the first and takes its word.
	epoch := g.server("HGET", keys[2], "epoch")
	g.whole(g.loaded(), m)
	if now := g.server("HGET", keys[2], "epoch"); now.Value() != epoch.Value() {
		t.Error("one loss was noticed twice")
	}
}

// TestWriteComesLate has a write that was given up reach Redis after those that came later: nothing was lost, so nothing is read again.
func TestWriteComesLate(t *testing.T) {
	overRedis(t, func(t *testing.T, g *rig) {
		t.Parallel()
		entries := rows(10)
		g.storeAll("main", entries)
		b := g.loaded()
		x := b.indexes["main"].(*remote)
		must(t, b.Put("main", entries[3]))
		x.mu.Lock()
		epoch := x.known.epoch
		x.mu.Unlock()
		late := []any{x.process, epoch, 0, 1, uidText(4), -5, cameText(9), "worse and late", "rank"}
		if a, err := parseAnswer(must(t, g.connect().Script(putScript, x.keys, late...))); err != nil || a.state != whole || a.rest[0] != int64(1) {
			t.Fatalf("%+v, %v", a, err)
		}
		same(t, "Top", must(t, b.Top("main", MaxRows)), modelOf(entries).top(MaxRows))
		if n := g.logged("lacks rows"); n != 0 {
			t.Error("the rows were read again")
		}
	})
}

// TestKilled kills Redis, which comes back empty.
func TestKilled(t *testing.T) {
	t.Parallel()
	server := storetest.RedisAlone(t)
	g := hasty(t, server)
	entries := rows(900)
	g.storeAll("main", entries)
	m := modelOf(entries)
	b := g.loaded()
	server.Kill()
	if err := b.Load(context.Background(), nil); wire.CodeOf(err) != wire.Unavailable {
		t.Errorf("Load without Redis: %v", err)
	}
	for i := range 20 {
		e := Entry{UID: uint64(i) + 5000, Name: "while away", Score: int64(i) * 100_000, Came: int64(i)}
		m.put(e)
		g.store("main", e)
		inTime(t, g, b.Put("main", e))
		inTime(t, g, b.Top("main", 10))
		inTime(t, g, b.Around("main", e.UID, 10))
	}
	g.storeName(1, "renamed while away")
	b.Rename(1, "renamed while away")
	m.rename(1, "renamed while away")
	server.Start()
	g.whole(b, m)
	if n := g.logged("refuses"); n != 0 {
		t.Errorf("%d lines that Redis refuses", n)
	}
}

// inTime fails unless f fails with unavailable within the timeout.
func inTime[T any](t *testing.T, g *rig, f *future.Future[T]) {
	t.Helper()
	began := time.Now()
	_, err := result(t, f)
	wantUnavailable(t, err)
	if took := time.Since(began); took > g.timeout+time.Second/2 {
		t.Errorf("unavailable after %v", took)
	}
}

// TestStalled stops Redis and lets it go on: what was put meanwhile is there, and no row was read from SQL again.
func TestStalled(t *testing.T) {
	t.Parallel()
	server := storetest.RedisAlone(t)
	g := hasty(t, server)
	entries := rows(900)
	g.storeAll("main", entries)
	m := modelOf(entries)
	b := g.loaded()
	more := make([]Entry, 5*maxBatch)
	for i := range more {
		more[i] = Entry{UID: uint64(i) + 5000, Name: "while stalled", Score: int64(i) * 10_000, Came: int64(i)}
	}
	m.entries = append(m.entries, more...)
	slices.SortFunc(m.entries, m.compare)
	g.storeAll("main", more)
	server.Stall()
	began := time.Now()
	var waiting []*future.Future[int64]
	for _, e := range more {
		waiting = append(waiting, b.Put("main", e))
	}
	b.Rename(5001, "renamed while stalled")
	g.storeName(5001, "renamed while stalled")
	m.rename(5001, "renamed while stalled")
	top := b.Top("main", 10)
	for _, f := range waiting {
		inTime(t, g, f)
	}
	inTime(t, g, top)
	if took := time.Since(began); took > g.timeout+time.Second {
		t.Errorf("all were answered after %v", took)
	}
	server.Resume()
	g.whole(b, m)
	if n := g.logged("lacks rows"); n != 0 {
		t.Errorf("the rows were read again")
	}
}

// TestGivesTheQueueUp puts more while Redis is away than the queue holds.
func TestGivesTheQueueUp(t *testing.T) {
	t.Parallel()
	server := storetest.RedisAlone(t)
	g := hasty(t, server)
	entries := rows(100)
	g.storeAll("main", entries)
	m := modelOf(entries)
	b := g.loaded()
	x := b.indexes["main"].(*remote)
	x.mu.Lock()
	x.most = 10
	x.mu.Unlock()
	server.Stall()
	for i := range 40 {
		e := Entry{UID: uint64(i) + 5000, Name: "while stalled", Score: int64(i) * 10_000, Came: int64(i)}
		m.put(e)
		g.store("main", e)
		f := b.Put("main", e)
		if i > 30 {
			inTime(t, g, f)
		}
	}
	server.Resume()
	until(t, "the rows are read again", func() bool { return g.logged("lacks rows") == 1 })
	g.whole(b, m)
	e := Entry{UID: 5000, Name: "afterwards", Score: 9_000_000, Came: 1}
	if rank := must(t, b.Put("main", e)); rank != 1 {
		t.Errorf("rank %d", rank)
	}
}

// TestRefused has something else where a board's key should be: it is logged once, and over when that is gone.
func TestRefused(t *testing.T) {
	overRedis(t, func(t *testing.T, g *rig) {
		t.Parallel()
		entries := rows(10)
		g.storeAll("main", entries)
		b := g.loaded()
		key := keysOf("main")[1]
		g.server("SET", key, "something else")
		until(t, "it is logged", func() bool { return g.logged("redis refuses") == 1 })
		for range 20 {
			inTime(t, g, b.Top("main", 1))
			inTime(t, g, b.Put("main", entries[0]))
		}
		g.server("DEL", key)
		g.whole(b, modelOf(entries))
		if n := g.logged("redis refuses"); n != 1 {
			t.Errorf("logged %d times", n)
		}
	})
}

// TestSQLAwayToo finds the index empty while SQL cannot be read: it tries until it can.
func TestSQLAwayToo(t *testing.T) {
	overRedis(t, func(t *testing.T, g *rig) {
		t.Parallel()
		entries := rows(10)
		var mu sync.Mutex
		times := 0
		read := func(_ context.Context, row func(Entry) error) error {
			mu.Lock()
			defer mu.Unlock()
			times++
			for i, e := range entries {
				if i == 5 && times < 4 {
					return errors.New("SQL went away")
				}
				if err := row(e); err != nil {
					return err
				}
			}
			return nil
		}
		x := g.index(read)
		if err := x.fill(context.Background(), read); err == nil || err.Error() != "SQL went away" {
			t.Errorf("filled: %v", err)
		}
		until(t, "it is whole", func() bool {
			top, err := result(t, x.top(100))
			if err == nil && len(top) != len(entries) {
				t.Fatalf("%d rows of %d", len(top), len(entries))
			}
			return err == nil
		})
		mu.Lock()
		defer mu.Unlock()
		if n := g.logged("SQL cannot be read"); n != 1 || times != 4 {
			t.Errorf("logged %d times, read %d times", n, times)
		}
	})
}

// TestManyFillAtOnce starts several processes together on a Redis that is empty.
func TestManyFillAtOnce(t *testing.T) {
	overRedis(t, func(t *testing.T, g *rig) {
		t.Parallel()
		entries := rows(1200)
		g.storeAll("main", entries)
		m := modelOf(entries)
		var all sync.WaitGroup
		for range 4 {
			g.redis = g.connect()
			b := g.boards()
			all.Go(func() {
				if err := b.Load(context.Background(), nil); err != nil {
					t.Error(err)
					return
				}
				same(t, "Top", must(t, b.Top("main", MaxRows)), m.top(MaxRows))
			})
		}
		all.Wait()
		if n, _ := g.server("ZCARD", keysOf("main")[0]).Int(); n != int64(len(entries)) {
			t.Errorf("%d rows, want %d", n, len(entries))
		}
	})
}

// TestCluster runs on a server that refuses a script whose keys are not all on one node.
func TestCluster(t *testing.T) {
	t.Parallel()
	server := storetest.RedisAlone(t, "--cluster-enabled", "yes")
	g := newRig(t, redisPlace{url: "redis-cluster://" + server.Addr})
	g.server("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
	until(t, "the cluster is ready", func() bool {
		info, err := g.redis.ExecuteContext(context.Background(), "CLUSTER", "INFO")
		text, _ := info.String()
		return err == nil && strings.Contains(text, "cluster_state:ok")
	})
	entries := rows(600)
	g.storeAll("main", entries)
	b := g.loaded(twoBoards...)
	same(t, "Top", must(t, b.Top("main", MaxRows)), modelOf(entries).top(MaxRows))
	for _, board := range twoBoards {
		e := Entry{UID: 4, Name: "before", Score: 1 << 50, Came: 1}
		must(t, b.Put(board.Name, e))
		b.Rename(4, "after")
		must(t, b.Put(board.Name, e))
		got := must(t, b.Around(board.Name, 4, 1))
		same(t, board.Name, got, []Ranked{{Rank: 1, UID: 4, Name: "after", Score: 1 << 50}})
	}
}

// TestClose ends boards in the middle of things: what waits is sent, everybody is answered, nothing is left.
func TestClose(t *testing.T) {
	t.Run("sends", func(t *testing.T) {
		overRedis(t, func(t *testing.T, g *rig) {
			b := g.loaded()
			for i := range uint64(maxBatch + 50) {
				b.Put("main", Entry{UID: i, Score: int64(i)})
			}
			g.closed(b.Close)
			if n, _ := g.server("ZCARD", keysOf("main")[0]).Int(); n != maxBatch+50 {
				t.Errorf("%d entries were sent", n)
			}
			if n, _ := g.server("HLEN", keysOf("main")[2]).Int(); n != 4 {
				t.Errorf("%d fields are left, which includes the process's own", n)
			}
			_, err := result(t, b.Put("main", Entry{UID: 1}))
			wantUnavailable(t, err)
			if err := b.Load(context.Background(), nil); wire.CodeOf(err) != wire.Unavailable {
				t.Errorf("Load after Close: %v", err)
			}
		})
	})
	t.Run("stalled", func(t *testing.T) {
		server := storetest.RedisAlone(t)
		g := hasty(t, server)
		b := g.loaded()
		server.Stall()
		f := b.Put("main", Entry{UID: 1})
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		if err := b.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("Close took %v", took)
		}
		_, err := result(t, f)
		wantUnavailable(t, err)
		server.Resume()
	})
	t.Run("filling", func(t *testing.T) {
		overRedis(t, func(t *testing.T, g *rig) {
			x := g.index(nil)
			under := make(chan struct{})
			filled := make(chan error, 1)
			go func() {
				filled <- x.fill(context.Background(), func(ctx context.Context, _ func(Entry) error) error {
					close(under)
					<-ctx.Done()
					return ctx.Err()
				})
			}()
			<-under
			g.closed(x.close)
			if err := <-filled; err == nil {
				t.Error("filled without rows")
			}
		})
	})
}

// TestRandomFaults lets two processes put, rename and read while Redis is killed, stalled and emptied at random moments. What was
// committed is on the board in the end, and no answer was from a part.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	server := storetest.RedisAlone(t)
	g := hasty(t, server)
	const before = 600
	entries := rows(before)
	g.storeAll("main", entries)
	m := modelOf(entries)
	processes := []*Boards{g.loaded(), nil}
	g.redis = g.connect()
	processes[1] = g.loaded()
	mend := func() {} // ends the fault that there is
	var waiting []func()
	known := 0
	for step := range 300 {
		which := r.IntN(2)
		b := processes[which]
		uid := r.Uint64N(1000)*2 + uint64(which) // a player is on one process
		switch r.IntN(20) {
		case 0:
			mend()
			mend = func() {}
			switch r.IntN(4) {
			case 0:
				server.Kill()
				mend = server.Start
			case 1:
				server.Stall()
				mend = server.Resume
			case 2:
				g.server("FLUSHDB")
			}
		case 1:
			for _, wait := range waiting {
				wait()
			}
			waiting = nil
		case 2, 3, 4:
			name := fmt.Sprint("renamed in step ", step)
			g.storeName(uid, name)
			b.Rename(uid, name)
			m.rename(uid, name)
		case 5, 6, 7:
			top := b.Top("main", MaxRows)
			waiting = append(waiting, func() {
				if got, err := result(t, top); err != nil {
					wantUnavailable(t, err)
				} else if len(got) < before {
					t.Errorf("step %d: %d rows", step, len(got))
				}
			})
		default:
			e := Entry{UID: uid, Name: fmt.Sprint("step ", step), Score: r.Int64N(2_000_000), Came: int64(step) + 1000}
			if i := m.find(uid); i >= 0 && m.compare(m.entries[i], e) < 0 {
				continue
			}
			g.store("main", e)
			m.put(e)
			rank := b.Put("main", e)
			waiting = append(waiting, func() {
				if _, err := result(t, rank); err != nil {
					wantUnavailable(t, err)
					return
				}
				known++
			})
		}
	}
	mend()
	for _, wait := range waiting {
		wait()
	}
	for _, b := range processes {
		// Behind all that this process has in its queue.
		until(t, "it puts again", func() bool {
			_, err := result(t, b.Put("main", m.entries[0]))
			return err == nil
		})
	}
	for _, b := range processes {
		g.whole(b, m)
	}
	t.Logf("%d ranks were known at once", known)
}
