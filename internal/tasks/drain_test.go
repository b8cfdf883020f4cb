package tasks

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/internal/storetest"
)

func TestDrainHandsBackWhatDoesNotEnd(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		first := p.begin(4, nil)
		long := must(first, of(first, "test.wait", "long"), Retries(0, 0))
		eventually(t, "it runs", 10*time.Second, func() bool { return p.times("long") == 1 })
		second := p.begin(0, nil)
		begun := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		back := first.Drain(ctx)
		if took := time.Since(begun); len(back) != 1 || took > 2*time.Second {
			t.Errorf("handed back %q after %v", back, took)
		}
		info, err := second.Show(limited(t), long.ID)
		if err != nil || info.state != Waiting || info.Attempts != 0 || info.Failures != 0 {
			t.Errorf("%+v: %v", info, err)
		}
		first.end()
		begun = time.Now()
		third := p.begin(4, nil)
		eventually(t, "another process runs it", 10*time.Second, func() bool { return p.times("long") == 2 })
		t.Logf("begun again after %v", time.Since(begun))
		if _, err := third.Revoke(limited(t), long.ID); err != nil {
			t.Error(err)
		}
		third.becomes(long.ID, Revoked, 10*time.Second)
	})
}

// A process that ends while Redis is away keeps to the times that it was given, and says
// once that Redis is away.
func TestDrainAndCloseKeepToTheirTimesWithRedisAway(t *testing.T) {
	t.Parallel()
	server := storetest.RedisAlone(t)
	p := onServers(t, storetest.MariaDB(t), server)
	core, lines := observer.New(zap.WarnLevel)
	for _, drainTime := range []time.Duration{300 * time.Millisecond, shutTime + 500*time.Millisecond} {
		pr := p.begin(2, func(o *Options) { o.Log = zap.New(core) })
		must(pr, of(pr, "test.double", "before "+drainTime.String()))
		eventually(t, "it works", 10*time.Second, func() bool { return p.times("before "+drainTime.String()) == 1 })
		server.Stall()
		within := func(what string, limit time.Duration, fn func(ctx context.Context)) {
			t.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			begun := time.Now()
			fn(ctx)
			if took := time.Since(begun); took > limit+500*time.Millisecond {
				t.Errorf("%s took %v of %v", what, took, limit)
			}
		}
		within("the drain", drainTime, func(ctx context.Context) { pr.Drain(ctx) })
		within("the end", 300*time.Millisecond, func(ctx context.Context) {
			if err := pr.Close(ctx); err != nil {
				t.Log(err)
			}
		})
		server.Resume()
		pr.end()
		if n := lines.FilterMessageSnippet("redis does not answer").Len(); n > 1 {
			t.Errorf("it was said %d times", n)
		}
		lines.TakeAll()
	}
}

// However many tasks run, and whichever store stands still: what is handed back at the end
// takes a second for all of them, not for each.
func TestDrainKeepsToItsTimeWithManyRunsAndAStoreAway(t *testing.T) {
	for _, away := range []string{"sql", "redis"} {
		t.Run(away, func(t *testing.T) {
			t.Parallel()
			sql, redis := storetest.MariaDB(t), storetest.Redis(t)
			p := onServers(t, sql, redis)
			link := storetest.Proxy(t, map[string]string{"sql": sql.Addr, "redis": redis.Addr}[away])
			if away == "sql" {
				p.dsn = sql.At(link.Addr)
			} else {
				p.redis = redis.At(link.Addr)
			}
			const many = 8
			pr := p.begin(many, nil)
			for i := range many {
				must(pr, of(pr, "test.wait", fmt.Sprint(i)))
			}
			eventually(t, "all run", 10*time.Second, func() bool { return pr.Running() == many })
			link.Stall()
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			begun := time.Now()
			back := pr.Drain(ctx)
			took := time.Since(begun)
			link.Resume()
			if len(back) != many || took > 2500*time.Millisecond {
				t.Errorf("a drain of 300 ms took %v, and handed back %d of %d", took, len(back), many)
			}
			left := p.count(pr.sql, "SELECT COUNT(*) FROM tasks WHERE state = 0 AND attempts = 0")
			if away == "redis" && left != many {
				t.Errorf("%d of %d wait again", left, many)
			}
		})
	}
}

// What is due within a minute waits in the process that applied it: when that ends, asynq
// has it for another one.
func TestCountdownOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	p := onServers(t, storetest.MariaDB(t), storetest.Redis(t))
	worker, applier := p.begin(4, nil), p.begin(0, nil)
	const in = 2 * time.Second
	begun := time.Now()
	r := must(applier, of(applier, "test.double", "x"), In(in), Keep(time.Minute))
	applier.end()
	info := worker.becomes(r.ID, Done, 60*time.Second)
	if took := time.UnixMilli(info.EndedMS).Sub(begun); took < in-time.Millisecond || took > in+2500*time.Millisecond {
		t.Errorf("in %v: ended after %v", in, took)
	}
}
