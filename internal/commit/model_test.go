package commit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/internal/commit"
	"gameserverd/internal/store"
	"gameserverd/internal/storetest"
)

// times is how often the random tests go round: COMMIT_TIMES as often as usual.
func times(n int) int {
	if f, err := strconv.Atoi(os.Getenv("COMMIT_TIMES")); err == nil {
		n *= f
	}
	return n
}

// seedOf is random, printed, and what COMMIT_SEED says if it is set.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("COMMIT_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("COMMIT_SEED=%d", seed)
	return seed
}

// chaos breaks about one call in so many, in every way, and every tenth COMMIT by losing its answer.
func chaos(random *rand.Rand, oneIn int) func(string, int) fault {
	ways := []fault{loseRequest, loseReply, answer(errDeadlock), answer(errLockWait), loseRequest, loseReply, answer(errDeadlock), hang}
	commits := 0
	return func(call string, _ int) fault {
		if call == "COMMIT" {
			if commits++; commits%10 == 0 {
				return loseReply
			}
		}
		if random.IntN(oneIn) > 0 {
			return nil
		}
		return ways[random.IntN(len(ways))]
	}
}

// world is what one submitter believes the store has of its players: the outcome of each change, applied in the order of Submit.
type world struct {
	t       *testing.T
	g       *commit.Group
	random  *rand.Rand
	uids    []uint64
	version map[uint64]int64  // players
	rows    map[string]string // by key: the values
	pending []*step
}

// step is one submitted change, with what it does to the world.
type step struct {
	*result
	bad   bool // the store cannot take it
	rows  []commit.Row
	never bool // Abandon said so
}

// key names a row of a player in world.rows.
func key(uid uint64, r commit.Row) string {
	return fmt.Sprint(uid, "/", r.Table.Name(), "/", r.Values[1])
}

// submitOne submits a random change of one player, several of which may be under way.
func (w *world) submitOne() {
	uid := w.uids[w.random.IntN(len(w.uids))]
	c := &commit.Change{UID: uid}
	s := &step{}
	switch w.random.IntN(8) {
	case 0:
		c.Fence, c.Seen = commit.Take, w.random.Int64N(1000)
	case 1, 2, 3:
		c.Fence, c.Version = commit.Hold, w.version[uid]+int64(w.random.IntN(6)/4) // what it will be is not known while others are under way
	}
	for range w.random.IntN(4) + 1 {
		row := commit.Row{Op: commit.Op(w.random.IntN(3)), Table: saves, Values: []any{int64(uid), fmt.Sprint("key", w.random.IntN(4))}}
		if w.random.IntN(3) == 0 {
			row.Table = ranks
		}
		if row.Op != commit.Delete {
			if row.Table == ranks {
				row.Values = append(row.Values, w.random.Int64(), int64(1))
			} else {
				row.Values = append(row.Values, []byte(strings.Repeat("v", w.random.IntN(50))+strconv.Itoa(w.random.IntN(1000))), w.random.Int64N(100), int64(0))
			}
		}
		if !slices.ContainsFunc(c.Rows, row.SameKey) {
			c.Rows = append(c.Rows, row)
		}
	}
	if w.random.IntN(10) == 0 && c.Rows[0].Op != commit.Delete {
		s.bad = true
		c.Rows[0].Values[3] = "not a number"
	}
	s.rows = c.Rows
	s.result = submit(w.t, w.g, c)
	w.pending = append(w.pending, s)
	if w.random.IntN(6) == 0 {
		victim := w.pending[w.random.IntN(len(w.pending))]
		victim.never = victim.c.Abandon() || victim.never
	}
}

// settle waits for all outcomes, checks each against the world as it was then, and applies those that were stored.
func (w *world) settle() {
	for _, s := range w.pending {
		o := s.wait()
		uid := s.c.UID
		if s.never && o.Err != commit.ErrAbandoned {
			w.t.Errorf("Abandon of a change of %d said never, and it ended with %v", uid, o.Err)
		}
		if o.Err == commit.ErrAbandoned {
			continue
		}
		if want := w.expected(s); !want(o) {
			w.t.Errorf("change of %d, fence %d, version %d of %d, bad %v, rows %v: %+v", uid, s.c.Fence, s.c.Version, w.version[uid], s.bad, s.rows, o)
		}
		if o.Err != nil {
			continue
		}
		if s.c.Fence == commit.Take {
			w.version[uid]++
		}
		for _, row := range s.rows {
			if row.Op == commit.Delete {
				delete(w.rows, key(uid, row))
			} else {
				w.rows[key(uid, row)] = text(row)
			}
		}
	}
	w.pending = w.pending[:0]
}

// expected tells what outcome a change has that was not abandoned.
func (w *world) expected(s *step) func(commit.Outcome) bool {
	duplicate := slices.ContainsFunc(s.rows, func(r commit.Row) bool { return r.Op == commit.Insert && w.rows[key(s.c.UID, r)] != "" })
	switch {
	case s.c.Fence == commit.Hold && s.c.Version != w.version[s.c.UID]:
		return func(o commit.Outcome) bool { return o.Err == commit.ErrLostRace }
	case s.bad && duplicate:
		return func(o commit.Outcome) bool { return o.Err != nil && o.Err != commit.ErrLostRace }
	case s.bad:
		return func(o commit.Outcome) bool {
			return o.Err != nil && o.Err != commit.ErrLostRace && !errors.Is(o.Err, commit.ErrDuplicate)
		}
	case duplicate:
		return func(o commit.Outcome) bool { return errors.Is(o.Err, commit.ErrDuplicate) }
	}
	return func(o commit.Outcome) bool {
		return o.Err == nil && !o.Missing && (s.c.Fence == commit.Take) == (o.Version == w.version[s.c.UID]+1)
	}
}

// text is a row's values beside its key, as rows has them.
func text(r commit.Row) string {
	var words []string
	for _, v := range r.Values[2:] {
		if b, ok := v.([]byte); ok {
			v = string(b)
		}
		words = append(words, fmt.Sprint(v))
	}
	return strings.Join(words, ",")
}

// compare looks whether the tables have what the worlds believe.
func compare(t *testing.T, db *store.SQL, worlds []*world) {
	t.Helper()
	var want, got []string
	for _, w := range worlds {
		for k, v := range w.rows {
			want = append(want, k+"="+v)
		}
		for uid, version := range w.version {
			want = append(want, fmt.Sprint(uid, "=", version))
		}
	}
	add := func(found, table string, keys int) {
		for line := range strings.SplitSeq(found, ";") {
			if line == "" {
				continue
			}
			words := strings.SplitN(line, ",", keys+1)
			if keys == 1 {
				got = append(got, words[0]+"="+words[1])
			} else {
				got = append(got, words[0]+"/"+table+"/"+words[1]+"="+words[2])
			}
		}
	}
	add(rows(t, db, "SELECT uid, version FROM players"), "", 1)
	add(rows(t, db, "SELECT uid, save_key, value, version, updated_ms FROM saves"), "saves", 2)
	add(rows(t, db, "SELECT uid, board, score, came FROM ranks"), "ranks", 2)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the tables have\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// run has submitters change players at random, ends what disturbs them with calm, and compares the tables with what they believe.
func run(t *testing.T, db *store.SQL, g *commit.Group, seed uint64, rounds int, calm func()) {
	t.Helper()
	var worlds []*world
	var all sync.WaitGroup
	for i := range 4 {
		w := &world{t: t, g: g, random: rand.New(rand.NewPCG(seed, uint64(i))), version: map[uint64]int64{}, rows: map[string]string{}}
		made := &commit.Change{}
		for j := range 3 {
			uid := uint64(i*10 + j + 1)
			w.uids = append(w.uids, uid)
			w.version[uid] = 1
			made.Rows = append(made.Rows, player(commit.Insert, uid, 0, 1))
		}
		worlds = append(worlds, w)
		all.Go(func() {
			submit(t, g, made).stored()
			for range rounds {
				for range 1 + w.random.IntN(12) {
					w.submitOne()
				}
				w.settle()
			}
		})
	}
	all.Wait()
	calm()
	compare(t, db, worlds)
	t.Logf("%+v", g.Stats())
}

func TestAgainstAModel(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		seed := seedOf(t)
		db := migrated(t, s.Driver, s.DSN)
		f := &faults{}
		f.set(chaos(rand.New(rand.NewPCG(seed, 99)), 60))
		g := group(t, commit.Options{DB: db, BatchRows: 20, Timeout: 100 * time.Millisecond}, f)
		run(t, db, g, seed, times(12), func() { f.set(nil) })
		if n := g.Stats(); n.Retries == 0 || n.Resolved == 0 || n.Abandoned == 0 || n.LostRaces == 0 || n.Splits == 0 {
			t.Errorf("not all has happened that was to be tested: %+v", n)
		}
	})
}

// TestAgainstAModelWithARealServerThatDies is the same with a server that is killed, stalled and cut off.
func TestAgainstAModelWithARealServerThatDies(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	s := storetest.MariaDBAlone(t)
	link := storetest.Proxy(t, s.Addr)
	direct := migrated(t, "mysql", s.DSN)
	db := open(t, "mysql", s.At(link.Addr))
	g := group(t, commit.Options{DB: db, BatchRows: 20, Timeout: 300 * time.Millisecond}, nil)
	var stop atomic.Bool
	var disturber sync.WaitGroup
	disturber.Go(func() {
		random := rand.New(rand.NewPCG(seed, 77))
		for i := 0; !stop.Load(); i++ {
			done := g.Stats().Batches + 1 + random.Int64N(15)
			eventually(t, "something is stored", func() bool { return g.Stats().Batches >= done || stop.Load() })
			tries := g.Stats().Retries
			tried := func() { eventually(t, "it is tried", func() bool { return g.Stats().Retries > tries || stop.Load() }) }
			switch random.IntN(6) {
			case 0:
				s.Kill()
				s.Start()
			case 1:
				s.Stall()
				tried()
				s.Resume()
			case 2:
				link.Cut()
			case 3:
				<-met(link.CutAt("COMMIT"), &stop)
			case 4:
				<-met(link.LoseReply("COMMIT"), &stop)
			case 5:
				fault := link.HoldRequest("COMMIT")
				<-met(fault, &stop)
				if !stop.Load() {
					tried()
					fault.Release()
				}
			}
		}
	})
	run(t, direct, g, seed, times(12), func() {
		stop.Store(true)
		disturber.Wait()
	})
}

// met is closed when the fault has happened or will not.
func met(f *storetest.Fault, stop *atomic.Bool) <-chan struct{} {
	ch := make(chan struct{})
	go func() {
		defer close(ch)
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for !stop.Load() {
			select {
			case <-f.Met:
				return
			case <-ticker.C:
			}
		}
	}()
	return ch
}

// TestTwoProcessesNeverWriteOldStateOverNew: two Groups on one database stand for two processes. Each takes players over, loads them, and
// counts their gold up from what it has in memory, until it has lost them.
func TestTwoProcessesNeverWriteOldStateOverNew(t *testing.T) {
	t.Parallel()
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		seed := seedOf(t)
		first := migrated(t, s.Driver, s.DSN)
		second := open(t, s.Driver, s.DSN)
		const uids, workers, takes = 4, 3, 25
		var counted [uids]atomic.Int64
		var lost, took atomic.Int64
		f := &faults{}
		options := func(db *store.SQL) commit.Options { return commit.Options{DB: db, Timeout: time.Second} }
		g := group(t, options(first), f)
		for uid := range uint64(uids) {
			submit(t, g, &commit.Change{Rows: []commit.Row{player(commit.Insert, uid, 0, 1)}}).stored()
		}
		f.set(chaosWithoutSilence(rand.New(rand.NewPCG(seed, 98)), 100))
		var all sync.WaitGroup
		for i, p := range []struct {
			*commit.Group
			*store.SQL
		}{{g, first}, {group(t, options(second), f), second}} {
			for worker := range workers {
				random := rand.New(rand.NewPCG(seed, uint64(i*workers+worker)))
				all.Go(func() {
					for range times(takes) {
						uid := random.Uint64N(uids)
						o := submit(t, p.Group, &commit.Change{UID: uid, Fence: commit.Take, Seen: 1}).stored()
						took.Add(1)
						gold := goldOf(t, p.SQL, uid)
						for range random.IntN(12) {
							o := submit(t, p.Group, &commit.Change{UID: uid, Fence: commit.Hold, Version: o.Version, Rows: []commit.Row{player(commit.Upsert, uid, gold+1, o.Version)}}).wait()
							if o.Err != nil {
								if o.Err != commit.ErrLostRace {
									t.Errorf("%v", o.Err)
								}
								lost.Add(1)
								break
							}
							gold++
							counted[uid].Add(1)
						}
					}
				})
			}
		}
		all.Wait()
		f.set(nil)
		for uid := range uint64(uids) {
			if gold := goldOf(t, first, uid); gold != counted[uid].Load() {
				t.Errorf("player %d has %d, and %d were stored", uid, gold, counted[uid].Load())
			}
		}
		expect(t, first, fmt.Sprint(took.Load()+uids), "SELECT SUM(version) FROM players")
		if lost.Load() == 0 {
			t.Error("no race was lost")
		}
		t.Logf("%d taken, %d races lost, %+v", took.Load(), lost.Load(), g.Stats())
	})
}

// chaosWithoutSilence is chaos that does not take time.
func chaosWithoutSilence(random *rand.Rand, oneIn int) func(string, int) fault {
	ways := []fault{loseRequest, loseReply, answer(errDeadlock)}
	return func(string, int) fault {
		if random.IntN(oneIn) > 0 {
			return nil
		}
		return ways[random.IntN(len(ways))]
	}
}

func goldOf(t *testing.T, db *store.SQL, uid uint64) (gold int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for {
		row, err := db.FetchOneContext(ctx, "SELECT gold FROM players WHERE uid = ?", int64(uid))
		if err == nil {
			err = row.Scan(&gold)
		}
		if err == nil {
			return gold
		}
		if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
			return 0
		}
	}
}
