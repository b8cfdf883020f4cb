package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// TestRedisCallsWaitForAConnection: there are never more than PoolSize.
func TestRedisCallsWaitForAConnection(t *testing.T) {
	t.Parallel()
	server := storetest.RedisAlone(t)
	r := openRedisRig(t, server.URL, func(o *RedisOptions) { o.PoolSize = 5 })
	for range 5 {
		r.Execute("BLPOP", "nothing", 0.1)
	}
	if err := r.Ping(context.Background()); err != nil {
		t.Errorf("Ping, which has to wait for a connection: %v", err)
	}
	watch := openRedisRig(t, server.URL, func(o *RedisOptions) { o.PoolSize = 1 })
	var futures []*future.Future[Reply]
	var batches []*future.Future[[]Reply]
	for range 200 {
		futures = append(futures, r.Execute("BLPOP", "nothing", 0.02))
		batches = append(batches, r.Batch(Command{"INCR", "n"}, Command{"INCR", "n"}))
	}
	most := int64(0)
	until(t, "all were answered", func() bool {
		info := str(t, watch.do(t, "INFO", "clients"))
		_, rest, _ := strings.Cut(info, "connected_clients:")
		var n int64
		fmt.Sscan(rest, &n)
		most = max(most, n-1) // without the watch
		return !slices.ContainsFunc(futures, func(f *future.Future[Reply]) bool { return !f.Done() })
	})
	if got := codes(t, futures); got["ok"] != 200 {
		t.Errorf("%v", got)
	}
	if got := codes(t, batches); got["ok"] != 200 || num(t, r.do(t, "GET", "n")) != 400 {
		t.Errorf("%v", got)
	}
	if most < 2 || most > 5 {
		t.Errorf("up to %d connections, want 5", most)
	}
	r.quiet(t)
}

// TestRedisTooManyCalls: those that find no place in the queue are refused at once, and each call is answered once.
func TestRedisTooManyCalls(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(o *RedisOptions) { o.PoolSize, o.Queue = 2, 3 }, func(t *testing.T, r *redisRig) {
		var answers atomic.Int64
		var futures []*future.Future[Reply]
		for range 20 {
			f := r.Execute("BLPOP", "nothing", 0.1)
			f.Then(&inOrder{}, func(Reply, error) { answers.Add(1) })
			futures = append(futures, f)
		}
		refused := 0
		for _, f := range futures {
			if _, err, done := f.Result(); done && wire.CodeOf(err) == wire.ResourceExhausted {
				refused++
				var seen *wire.Error
				if !errors.As(err, &seen) || seen.RetryAfter <= 0 {
					t.Errorf("no time to come back in %v", err)
				}
			}
		}
		if got := codes(t, futures); refused != 15 || got["ok"] != 5 {
			t.Errorf("%d refused at once; %v", refused, got)
		}
		until(t, "all were told", func() bool { return answers.Load() == 20 })
		r.quiet(t)
	})
}

func TestRedisEndsWithTheCaller(t *testing.T) {
	t.Parallel()
	eachRedis(t, nil, func(t *testing.T, r *redisRig) {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() {
			_, err := r.ExecuteContext(ctx, "BLPOP", "nothing", 0.3)
			ended <- err
		}()
		r.do(t, "SET", "k", "v")
		cancel()
		if err := receive(t, ended, "the call"); !errors.Is(err, context.Canceled) || wire.CodeOf(err) != wire.Canceled {
			t.Errorf("%v", err)
		}
		if _, err := r.BatchContext(ctx, Command{"SET", "k", "w"}); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %v", err)
		}
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				short, cancel := context.WithTimeout(context.Background(), time.Duration(5+i)*time.Millisecond)
				defer cancel()
				if _, err := r.ExecuteContext(short, "BLPOP", "nothing", 15); !errors.Is(err, context.DeadlineExceeded) || wire.CodeOf(err) != wire.DeadlineExceeded {
					t.Errorf("with a deadline of the caller's: %v", err)
				}
			})
		}
		all.Wait()
		if got := str(t, r.do(t, "GET", "k")); got != "v" {
			t.Errorf("got %q", got)
		}
		r.quiet(t) // it says nothing of the server
		begun := time.Now()
		if err := r.Close(within(t, deadline)); err != nil || time.Since(begun) > 5*time.Second {
			t.Errorf("their connections were still in use: Close returned %v after %v", err, time.Since(begun))
		}
	})
}

// TestRedisClose: what is under way is waited for, what comes later is refused.
func TestRedisClose(t *testing.T) {
	t.Parallel()
	eachRedis(t, func(o *RedisOptions) { o.PoolSize = 2 }, func(t *testing.T, r *redisRig) {
		var futures []*future.Future[Reply]
		for range 6 {
			futures = append(futures, r.Execute("BLPOP", "nothing", 0.1))
		}
		if err := r.Close(within(t, deadline)); err != nil {
			t.Errorf("Close: %v", err)
		}
		for i, f := range futures {
			if _, err, done := f.Result(); err != nil || !done {
				t.Errorf("call %d: %v, answered: %v", i, err, done)
			}
		}
		_, one := wait(t, r.Execute("GET", "k"))
		_, all := wait(t, r.Batch(Command{"GET", "k"}))
		_, script := wait(t, r.Script(counting, []string{"k"}, 1))
		for _, err := range []error{one, all, script, r.Ping(context.Background())} {
			wantCode(t, "after Close", err, wire.Unavailable)
		}
		if err := r.Close(within(t, deadline)); err != nil {
			t.Errorf("closing again: %v", err)
		}
		r.quiet(t)
	})
}

// TestRedisCloseGivesUp: when its time is over, all calls are answered, and the connections go.
func TestRedisCloseGivesUp(t *testing.T) {
	eachRedis(t, func(o *RedisOptions) { o.PoolSize = 2 }, func(t *testing.T, r *redisRig) {
		var answers atomic.Int64
		var futures []*future.Future[Reply]
		for range 6 {
			f := r.Execute("BLPOP", "nothing", 15)
			f.Then(&inOrder{}, func(Reply, error) { answers.Add(1) })
			futures = append(futures, f)
		}
		if err := r.Close(within(t, 50*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if got := codes(t, futures); got[wire.Unavailable] != 6 {
			t.Errorf("%v", got)
		}
		until(t, "all were told", func() bool { return answers.Load() == 6 })
	})
}

// TestRedisIdleKeepsLittle: no goroutine for a real server, a few for the embedded one, and few connections.
func TestRedisIdleKeepsLittle(t *testing.T) {
	server := storetest.RedisAlone(t)
	inProcess, _ := openEmbedded(t, nil)
	for name, c := range map[string]struct {
		r                 *redisRig
		goroutines, conns int
	}{"real": {openRedisRig(t, server.URL, nil), 0, 150}, "embedded": {inProcess, keptConnsInProcess, keptConnsInProcess}} {
		before := runtime.NumGoroutine()
		var futures []*future.Future[Reply]
		for range 150 {
			futures = append(futures, c.r.Execute("BLPOP", "nothing", 0.2))
		}
		if got := codes(t, futures); got["ok"] != 150 {
			t.Errorf("%s: %v", name, got)
		}
		until(t, "the goroutines have gone", func() bool { return runtime.NumGoroutine() <= before+c.goroutines })
		if got := int(c.r.Client().PoolStats().TotalConns); got > c.conns {
			t.Errorf("%s keeps %d connections", name, got)
		}
	}
}
