package store

import (
	"context"
	"testing"

	"gameserverd/internal/future"
	"gameserverd/internal/storetest"
)

// inFlight is how many futures a benchmark keeps unresolved, as a loop with many players does.
const inFlight = 64

// eachBench runs fn over both databases, with a table of four counters.
func eachBench(b *testing.B, fn func(b *testing.B, r *rig)) {
	b.Run("sqlite", func(b *testing.B) {
		r := openSQLite(b, nil)
		r.counter(b, 1, 2, 3, 4)
		fn(b, r)
	})
	b.Run("mariadb", func(b *testing.B) {
		r := openRig(b, "mysql", storetest.MariaDB(b).DSN, nil)
		r.counter(b, 1, 2, 3, 4)
		fn(b, r)
	})
}

// pipelined keeps inFlight futures unresolved.
func pipelined[T any](b *testing.B, call func(i int) *future.Future[T]) {
	free := make(chan struct{}, inFlight)
	var posted inOrder
	for i := range b.N {
		free <- struct{}{}
		call(i).Then(&posted, func(_ T, err error) {
			if err != nil {
				b.Error(err)
			}
			<-free
		})
	}
	for range inFlight {
		free <- struct{}{}
	}
}

// BenchmarkFetchOne compares a read by primary key: with database/sql alone, with a Context form, and with futures.
func BenchmarkFetchOne(b *testing.B) {
	ctx := context.Background()
	eachBench(b, func(b *testing.B, r *rig) {
		b.Run("bare", func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				var n int64
				if err := r.readDB.QueryRowContext(ctx, readN, i%4+1).Scan(&n); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("context", func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				if _, err := r.FetchOneContext(ctx, readN, i%4+1); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("futures", func(b *testing.B) {
			b.ReportAllocs()
			pipelined(b, func(i int) *future.Future[Row] { return r.FetchOne(readN, i%4+1) })
		})
	})
}

// BenchmarkExec compares a durable write of one row in the same ways.
func BenchmarkExec(b *testing.B) {
	ctx := context.Background()
	eachBench(b, func(b *testing.B, r *rig) {
		b.Run("bare", func(b *testing.B) {
			for i := range b.N {
				if _, err := r.writeDB.ExecContext(ctx, increment, i%4+1); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("context", func(b *testing.B) {
			for i := range b.N {
				if _, err := r.ExecContext(ctx, increment, i%4+1); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("futures", func(b *testing.B) {
			pipelined(b, func(i int) *future.Future[Result] { return r.Exec(increment, i%4+1) })
		})
	})
}

// BenchmarkLane is what a call costs beside its database.
func BenchmarkLane(b *testing.B) {
	b.ReportAllocs()
	l := newLane(16, 4096)
	for b.Loop() {
		f := submit(l, context.Background(), never, nil, func(*call) (int, error) { return 0, nil })
		if _, err := f.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFetchAll reads 400 rows of two columns.
func BenchmarkFetchAll(b *testing.B) {
	ctx := context.Background()
	eachBench(b, func(b *testing.B, r *rig) {
		r.big(b)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.FetchAllContext(ctx, "SELECT k, b FROM big"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
