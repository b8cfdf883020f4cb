package store

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"gameserverd/internal/storetest"
)

// benchRedis runs fn over both kinds of server.
func benchRedis(b *testing.B, fn func(b *testing.B, r *redisRig)) {
	b.Run("embedded", func(b *testing.B) {
		r, _ := openEmbedded(b, nil)
		fn(b, r)
	})
	b.Run("unix", func(b *testing.B) {
		server := storetest.Redis(b)
		fn(b, openRedisRig(b, server.At(server.Socket), nil))
	})
}

// BenchmarkRedisExecute is one command after the other: through a future, blocking, and with bare go-redis.
func BenchmarkRedisExecute(b *testing.B) {
	benchRedis(b, func(b *testing.B, r *redisRig) {
		ctx := context.Background()
		b.Run("future", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Execute("SET", "k", "v").Wait(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("bare", func(b *testing.B) {
			b.ReportAllocs()
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			for b.Loop() {
				if err := r.Client().Do(ctx, "SET", "k", "v").Err(); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// BenchmarkRedisExecuteMany is commands from one goroutine that waits for none, 200 under way, as a loop issues them.
func BenchmarkRedisExecuteMany(b *testing.B) {
	benchRedis(b, func(b *testing.B, r *redisRig) {
		var failed atomic.Int64
		free := make(chan struct{}, 200)
		on := &inOrder{}
		for b.Loop() {
			free <- struct{}{}
			r.Execute("SET", "k", "v").Then(on, func(_ Reply, err error) {
				if err != nil {
					failed.Add(1)
				}
				<-free
			})
		}
		for range cap(free) {
			free <- struct{}{}
		}
		if failed.Load() > 0 {
			b.Errorf("%d failed", failed.Load())
		}
	})
}

// BenchmarkRedisBatch is pipelines of 100; an operation is one command.
func BenchmarkRedisBatch(b *testing.B) {
	benchRedis(b, func(b *testing.B, r *redisRig) {
		ctx := context.Background()
		cmds := make([]Command, 100)
		for i := range cmds {
			cmds[i] = Command{"SET", "k", "v"}
		}
		perCommand := func(b *testing.B) {
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(cmds)), "ns/command")
		}
		b.Run("future", func(b *testing.B) {
			for b.Loop() {
				if _, err := r.Batch(cmds...).Wait(ctx); err != nil {
					b.Fatal(err)
				}
			}
			perCommand(b)
		})
		b.Run("bare", func(b *testing.B) {
			for b.Loop() {
				_, err := r.Client().Pipelined(ctx, func(pipe redis.Pipeliner) error {
					for _, cmd := range cmds {
						pipe.Do(ctx, cmd...)
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			perCommand(b)
		})
	})
}
