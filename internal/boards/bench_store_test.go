package boards

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/storetest"
)

// millionEntries are what synthetic reads.
func millionEntries() []Entry {
	all := make([]Entry, 0, million)
	_ = synthetic(million)(context.Background(), func(e Entry) error {
		all = append(all, e)
		return nil
	})
	return all
}

// BenchmarkLoad loads a million rows from both databases into both kinds of index; the one in Redis is empty at first, then has them.
func BenchmarkLoad(b *testing.B) {
	for _, kind := range []string{"sqlite", "mariadb"} {
		b.Run(kind, func(b *testing.B) {
			s := storetest.Store{Driver: "sqlite", DSN: filepath.Join(b.TempDir(), "db")}
			if kind == "mariadb" {
				s = storetest.Store{Driver: "mysql", DSN: storetest.MariaDB(b).DSN}
			}
			g := newRigOver(b, redisPlace{url: storetest.RedisAlone(b).URL}, s)
			began := time.Now()
			g.storeAll("main", millionEntries())
			b.Logf("writing took %v", time.Since(began))
			redis := g.redis
			g.redis = nil
			b.Run("memory", func(b *testing.B) { load(b, g, func() {}) })
			g.redis = redis
			b.Run("redis-empty", func(b *testing.B) { load(b, g, g.empty) })
			b.Run("redis-again", func(b *testing.B) { load(b, g, func() {}) })
			text, _ := g.server("INFO", "memory").String()
			b.Logf("Redis has %.60s", text)
		})
	}
}

func load(b *testing.B, g *rig, before func()) {
	for b.Loop() {
		b.StopTimer()
		before()
		all := g.boards()
		b.StartTimer()
		if err := all.Load(context.Background(), nil); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		g.closed(all.Close)
		b.StartTimer()
	}
}

// BenchmarkRedis asks an index of a million entries in Redis, one call at a time, and puts with many at once.
func BenchmarkRedis(b *testing.B) {
	g := newRig(b, redisPlace{url: storetest.RedisAlone(b).URL})
	x := g.index(never)
	if err := x.fill(context.Background(), synthetic(million)); err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(11, 12))
	next := int64(1 << 30)
	better := func() Entry {
		next++
		return Entry{UID: anyUID(r), Name: "somebody", Score: next, Came: 1}
	}
	b.Run("Put/one", func(b *testing.B) {
		for b.Loop() {
			must(b, x.put(better()))
		}
	})
	b.Run("Put/1000 at once", func(b *testing.B) {
		var waiting []*future.Future[int64]
		for b.Loop() {
			if waiting = append(waiting, x.put(better())); len(waiting) == 1000 {
				for _, f := range waiting {
					must(b, f)
				}
				waiting = waiting[:0]
			}
		}
	})
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprint("Top/", n), func(b *testing.B) {
			for b.Loop() {
				must(b, x.top(n))
			}
		})
		b.Run(fmt.Sprint("Around/", n), func(b *testing.B) {
			for b.Loop() {
				must(b, x.around(anyUID(r), n))
			}
		})
	}
	b.Run("Top/100 from 8 goroutines", func(b *testing.B) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range b.N / 8 {
					must(b, x.top(100))
				}
			})
		}
		all.Wait()
	})
}
