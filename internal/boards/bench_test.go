package boards

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const million = 1_000_000

// synthetic reads n entries of random scores, in the order of uids as SQL does.
func synthetic(n int) reader {
	return func(_ context.Context, row func(Entry) error) error {
		r := rand.New(rand.NewPCG(1, 2))
		for i := range n {
			uid := uint64(i)*7 + 1
			if err := row(Entry{UID: uid, Name: fmt.Sprintf("player%d", uid), Score: r.Int64N(1 << 30), Came: int64(i) + 1e15}); err != nil {
				return err
			}
		}
		return nil
	}
}

// filled is a board of a million entries in memory, made once for all benchmarks that leave it at that.
var filled = sync.OnceValue(func() *memory {
	m := newMemory(Board{Name: "main"})
	if err := m.fill(context.Background(), synthetic(million)); err != nil {
		panic(err)
	}
	return m
})

func anyUID(r *rand.Rand) uint64 { return r.Uint64N(million)*7 + 1 }

func BenchmarkMemoryPut(b *testing.B) {
	m := filled()
	b.Run("better", func(b *testing.B) {
		r := rand.New(rand.NewPCG(3, 4))
		for i := int64(0); b.Loop(); i++ {
			m.put(Entry{UID: anyUID(r), Name: "somebody", Score: 1<<30 + i, Came: 1})
		}
	})
	b.Run("worse", func(b *testing.B) {
		r := rand.New(rand.NewPCG(3, 4))
		for b.Loop() {
			m.put(Entry{UID: anyUID(r), Name: "somebody", Score: -1, Came: 1})
		}
	})
	b.Run("new", func(b *testing.B) {
		r := rand.New(rand.NewPCG(3, 4))
		for b.Loop() {
			m.put(Entry{UID: r.Uint64(), Name: "somebody", Score: r.Int64N(1 << 30), Came: 1})
		}
	})
}

func BenchmarkMemoryRank(b *testing.B) {
	m, r := filled(), rand.New(rand.NewPCG(5, 6))
	for b.Loop() {
		m.live.rankOf(anyUID(r))
	}
}

func BenchmarkMemoryTop(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := filled()
			b.ReportAllocs()
			for b.Loop() {
				m.top(n)
			}
		})
	}
}

func BenchmarkMemoryAround(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m, r := filled(), rand.New(rand.NewPCG(7, 8))
			b.ReportAllocs()
			for b.Loop() {
				m.around(anyUID(r), n)
			}
		})
	}
}

// BenchmarkMemoryTopUnderLoad is the first hundred rows read from all CPUs while another goroutine puts better scores without a pause;
// puts/op is how many it got in.
func BenchmarkMemoryTopUnderLoad(b *testing.B) {
	m := filled()
	stop, done := make(chan struct{}), make(chan struct{})
	var puts, worst atomic.Int64
	go func() {
		defer close(done)
		r := rand.New(rand.NewPCG(9, 10))
		for i := int64(0); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			began := time.Now()
			m.put(Entry{UID: anyUID(r), Name: "somebody", Score: 1<<40 + i, Came: 1})
			worst.Store(max(worst.Load(), int64(time.Since(began))))
			puts.Add(1)
		}
	}()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.top(100)
		}
	})
	close(stop)
	<-done
	b.ReportMetric(float64(puts.Load())/float64(b.N), "puts/op")
	b.ReportMetric(float64(worst.Load())/1e6, "worst-put-ms")
}

// BenchmarkMemoryFill makes the index of a million rows that are there: what Load costs beside SQL.
func BenchmarkMemoryFill(b *testing.B) {
	for b.Loop() {
		m := newMemory(Board{Name: "main"})
		if err := m.fill(context.Background(), synthetic(million)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMemoryHeap tells the bytes an entry, and how long a full collection takes with a million of them and stops the world.
func BenchmarkMemoryHeap(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := newMemory(Board{Name: "main"})
	if err := m.fill(context.Background(), synthetic(million)); err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	for b.Loop() {
		runtime.GC()
	}
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/million, "B/entry")
	b.ReportMetric(float64(after.HeapObjects-before.HeapObjects), "objects")
	b.ReportMetric(float64(gc.Pause[0])/1e3, "pause-us")
	runtime.KeepAlive(m)
}
