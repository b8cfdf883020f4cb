package commit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/internal/commit"
	"gameserverd/internal/store"
	"gameserverd/internal/storetest"
)

// benchStores runs fn over both stores. SQLite's file is in BENCH_DIR, or the temporary folder: it should be on a disk.
func benchStores(b *testing.B, fn func(b *testing.B, db *store.SQL)) {
	b.Run("sqlite", func(b *testing.B) {
		dir, err := os.MkdirTemp(os.Getenv("BENCH_DIR"), "commit")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(dir) })
		fn(b, migrated(b, "sqlite", dir+"/gameserverd.db"))
	})
	b.Run("mariadb", func(b *testing.B) {
		// With the log and the pages that it has by default; the small ones of tests make it stop to flush.
		s := storetest.MariaDBAlone(b, "--innodb-log-file-size=96M", "--innodb-buffer-pool-size=128M")
		fn(b, migrated(b, "mysql", s.DSN))
	})
}

// The benchmarks write rows of 300 bytes for so many players, one key each.
const (
	benchPlayers = 2000
	benchBatch   = 500
)

var benchVersion atomic.Int64

// benchRow is a row that differs from the one before: a store writes nothing for a row that is the same.
func benchRow(uid uint64, key string) commit.Row {
	n := benchVersion.Add(1)
	return save(uid, key, fmt.Appendf(make([]byte, 0, 272), "%0270d", n), n)
}

// bare is a loop of upserts, 500 to a transaction, with nothing around it: what the store can do.
type bare struct {
	b     *testing.B
	conn  *store.Conn
	stmt  *store.Stmt
	mysql bool
	next  uint64
}

func newBare(b *testing.B, db *store.SQL, rows int) *bare {
	b.Helper()
	conn, err := db.Conn(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	r := &bare{b: b, conn: conn, mysql: db.Driver() == store.MySQL}
	text := "INSERT INTO saves (uid, save_key, value, version, updated_ms) VALUES "
	if r.mysql {
		text += strings.Repeat("(?,?,?,?,?),", rows-1) + "(?,?,?,?,?) ON DUPLICATE KEY UPDATE value=VALUES(value), version=VALUES(version), updated_ms=VALUES(updated_ms)"
	} else {
		text += "(?,?,?,?,?) ON CONFLICT (uid, save_key) DO UPDATE SET value=excluded.value, version=excluded.version, updated_ms=excluded.updated_ms"
	}
	if r.stmt, err = conn.Prepare(b.Context(), text); err != nil {
		b.Fatal(err)
	}
	return r
}

func (r *bare) commit(ctx context.Context, rows int) {
	check := func(err error) {
		if err != nil {
			r.b.Fatal(err)
		}
	}
	check(r.conn.Begin(ctx))
	var args []any
	for range rows {
		row := benchRow(r.next%benchPlayers, "bare")
		r.next++
		args = append(args, row.Values...)
		if !r.mysql {
			_, err := r.stmt.Exec(ctx, args...)
			check(err)
			args = args[:0]
		}
	}
	if r.mysql {
		_, err := r.stmt.Exec(ctx, args...)
		check(err)
	}
	check(r.conn.Commit(ctx))
}

// home is a goroutine that runs what is posted to it, as a loop does.
type home struct {
	mu    sync.Mutex
	queue []func()
	wake  chan struct{}
}

func newHome(ctx context.Context) *home {
	h := &home{wake: make(chan struct{}, 1)}
	go func() {
		for {
			select {
			case <-h.wake:
			case <-ctx.Done():
				return
			}
			h.mu.Lock()
			fns := h.queue
			h.queue = nil
			h.mu.Unlock()
			for _, fn := range fns {
				fn()
			}
		}
	}()
	return h
}

func (h *home) AddCallback(fn func()) bool {
	h.mu.Lock()
	h.queue = append(h.queue, fn)
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
	return true
}

// crowd keeps so many changes waiting: each Done submits the next of its player, as a client that waits for its answers does.
type crowd struct {
	b     *testing.B
	g     *commit.Group
	homes []*home
	rows  func(uid uint64) *commit.Change

	mu       sync.Mutex
	took     []time.Duration
	left     int // to be submitted
	underWay int
	ended    chan struct{}
}

// run has total changes stored, with so many waiting at a time.
func (c *crowd) run(waiting, total int) {
	ended := make(chan struct{})
	c.left, c.underWay, c.ended, c.took = total, 0, ended, c.took[:0]
	for uid := range waiting {
		h := c.homes[uid%len(c.homes)]
		h.AddCallback(func() { c.one(h, uint64(uid)) })
	}
	<-ended
}

func (c *crowd) one(h *home, uid uint64) {
	c.mu.Lock()
	if c.left > 0 {
		c.left--
		c.underWay++
	} else {
		if c.underWay == 0 && c.ended != nil {
			close(c.ended)
			c.ended = nil
		}
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	change := c.rows(uid)
	change.Home = h
	began := time.Now()
	change.Done = func(o commit.Outcome) {
		if o.Err != nil {
			c.b.Errorf("%v", o.Err)
		}
		c.mu.Lock()
		c.took = append(c.took, time.Since(began))
		c.underWay--
		c.mu.Unlock()
		c.one(h, uid)
	}
	if err := c.g.Submit(change); err != nil {
		c.b.Errorf("%v", err)
	}
}

// BenchmarkCrowd has 1,000 players who each wait for their save to be stored and send the next, in turns with the bare loop on the same
// store. of-bare is the part of the bare loop's rows a second that the group reaches, counting the saves alone; p99/commit is the
// latency in commits of the bare loop.
func BenchmarkCrowd(b *testing.B) {
	for _, held := range []bool{false, true} {
		b.Run(map[bool]string{false: "saves", true: "held"}[held], func(b *testing.B) {
			benchStores(b, func(b *testing.B, db *store.SQL) { benchCrowd(b, db, held) })
		})
	}
}

func benchCrowd(b *testing.B, db *store.SQL, held bool) {
	const waiting, rounds, perRound = 1000, 6, 20000
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	g := group(b, commit.Options{DB: db}, nil)
	c := &crowd{b: b, g: g, homes: []*home{newHome(ctx), newHome(ctx)}}
	made := &commit.Change{}
	for uid := range uint64(waiting) {
		made.Rows = append(made.Rows, player(commit.Insert, uid, 0, 1))
	}
	prepare(b, made)
	if err := g.Submit(made); err != nil {
		b.Fatal(err)
	}
	c.rows = func(uid uint64) *commit.Change {
		change := &commit.Change{UID: uid, Rows: []commit.Row{benchRow(uid, "group")}}
		if held {
			change.Fence, change.Version = commit.Hold, 1
		}
		return change
	}
	r := newBare(b, db, benchBatch)
	defer r.conn.Discard()
	r.commit(ctx, benchBatch)
	c.run(waiting, perRound)
	for b.Loop() {
		before := g.Stats()
		var bareRows, groupRows float64
		var bareTook, groupTook time.Duration
		var latency, bareLatency []time.Duration
		for range rounds {
			began := time.Now()
			for range perRound / benchBatch {
				began := time.Now()
				r.commit(ctx, benchBatch)
				bareLatency = append(bareLatency, time.Since(began))
				bareRows += benchBatch
			}
			bareTook += time.Since(began)
			began = time.Now()
			c.run(waiting, perRound)
			groupRows += perRound
			groupTook += time.Since(began)
			latency = append(latency, c.took...)
		}
		slices.Sort(latency)
		slices.Sort(bareLatency)
		commitTime := bareTook / time.Duration(bareRows/benchBatch)
		p99 := latency[len(latency)*99/100]
		b.ReportMetric(groupRows/groupTook.Seconds(), "rows/s")
		b.ReportMetric(bareRows/bareTook.Seconds(), "bare-rows/s")
		b.ReportMetric(groupRows/groupTook.Seconds()/(bareRows/bareTook.Seconds()), "of-bare")
		b.ReportMetric(float64(latency[len(latency)/2])/1e6, "p50-ms")
		b.ReportMetric(float64(p99)/1e6, "p99-ms")
		b.ReportMetric(float64(bareLatency[len(bareLatency)*99/100])/1e6, "bare-p99-ms")
		after := g.Stats()
		b.ReportMetric(float64(after.Retries-before.Retries), "retries")
		b.ReportMetric(float64(after.Changes-before.Changes)/float64(after.Batches-before.Batches), "changes/batch")
		b.ReportMetric(float64(p99)/float64(commitTime), "p99/commit")
	}
}

// BenchmarkLone is one player alone: each change waits for the one before. over-bare is what it takes beyond a bare upsert in a
// transaction, at the median.
func BenchmarkLone(b *testing.B) {
	benchStores(b, func(b *testing.B, db *store.SQL) {
		const each = 500
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		g := group(b, commit.Options{DB: db}, nil)
		h := newHome(ctx)
		made := &commit.Change{Rows: []commit.Row{player(commit.Insert, 1, 0, 1)}}
		prepare(b, made)
		if err := g.Submit(made); err != nil {
			b.Fatal(err)
		}
		r := newBare(b, db, 1)
		defer r.conn.Discard()
		for b.Loop() {
			var alone, bare []time.Duration
			for range each {
				done := make(chan commit.Outcome, 1)
				began := time.Now()
				c := &commit.Change{UID: 1, Fence: commit.Hold, Version: 1, Rows: []commit.Row{benchRow(1, "group")}, Home: h}
				c.Done = func(o commit.Outcome) { done <- o }
				if err := g.Submit(c); err != nil {
					b.Fatal(err)
				}
				if o := <-done; o.Err != nil {
					b.Fatal(o.Err)
				}
				alone = append(alone, time.Since(began))
				began = time.Now()
				r.commit(ctx, 1)
				bare = append(bare, time.Since(began))
			}
			slices.Sort(alone)
			slices.Sort(bare)
			b.ReportMetric(float64(alone[each/2])/1e3, "us")
			b.ReportMetric(float64(bare[each/2])/1e3, "bare-us")
			b.ReportMetric(float64(alone[each/2]-bare[each/2])/1e3, "over-bare-us")
		}
	})
}

// BenchmarkSubmit is what Submit and the way back cost beside the store: changes that are abandoned at once.
func BenchmarkSubmit(b *testing.B) {
	f := &faults{}
	f.set(func(string, int) fault { return hang })
	g := commit.NewAround(commit.Options{DB: migrated(b, "sqlite", b.TempDir()+"/db"), Timeout: time.Hour}, func(s commit.Session) commit.Session { return &faulty{s, f} })
	random := rand.New(rand.NewPCG(1, 2))
	keys := make([]string, 64)
	for i := range keys {
		keys[i] = fmt.Sprint("key", i)
	}
	b.ReportAllocs()
	for b.Loop() {
		uid := random.Uint64()
		c := &commit.Change{UID: uid, Fence: commit.Hold, Rows: []commit.Row{save(uid, keys[uid%64], nil, 1)}, Home: direct{}, Done: func(commit.Outcome) {}}
		if err := g.Submit(c); err != nil {
			b.Fatal(err)
		}
		c.Abandon()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Close(ctx); err == nil {
		b.Error("closed cleanly")
	}
}
