package tasks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// failHook makes scripts fail, after so many.
type failHook struct{ left atomic.Int64 }

func (h *failHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *failHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") && h.left.Add(-1) < 0 {
			cmd.SetErr(errors.New("EOF"))
			return cmd.Err()
		}
		return next(ctx, cmd)
	}
}

func (h *failHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if strings.HasPrefix(cmd.Name(), "eval") && h.left.Add(-1) < 0 {
				for _, cmd := range cmds {
					cmd.SetErr(errors.New("EOF"))
				}
				return errors.New("EOF")
			}
		}
		return next(ctx, cmds)
	}
}

// seed stores n tasks that wait, as if a process had applied them that is gone, and their
// Redis with it: their ids are from first on, and the nth is due n steps after at.
func (p *place) seed(first, n int, at time.Time, step time.Duration) {
	p.t.Helper()
	sql := p.openSQL()
	defer sql.Close(limited(p.t))
	numbers := fmt.Sprintf("SELECT seq AS x FROM seq_0_to_%d", n-1)
	if p.driver == "sqlite" {
		numbers = fmt.Sprintf("WITH RECURSIVE s(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM s WHERE x < %d) SELECT x FROM s", n-1)
	}
	due := fmt.Sprintf("%d + x * %d", at.UnixMilli(), step.Milliseconds())
	look := fmt.Sprintf("%s + %d", due, defaultLease.Milliseconds())
	if _, err := sql.ExecContext(limited(p.t), fmt.Sprintf("INSERT INTO tasks SELECT %d + x, 'test.double', 'default', x'91a178', 0, %s, %s, 0, 0, 0, 0, 2, 1000, 60000, 0, 1, 0, x'', x'' FROM (%s) numbers",
		first, due, look, numbers)); err != nil {
		p.t.Fatal(err)
	}
}

// later is what asynq has for later.
func (pr *process) later() int64 {
	return pr.redis.Client().ZCard(limited(pr.place.t), asynqKey("default", "scheduled")).Val()
}

// Whatever is to be handed to an empty Redis: the tasks of dead workers are found first.
func TestDeadWorkersAreFoundBeforeEverythingIsHandedOver(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		const many = 2500
		p.seed(1, many, time.Now().Add(10*time.Minute), time.Millisecond)
		p.seed(1_000_000, 1, time.Now().Add(time.Hour), 0)
		direct := p.openSQL()
		defer direct.Close(limited(t))
		if _, err := direct.ExecContext(limited(t), "UPDATE tasks SET state = 1, claim = 77, attempts = 1, look_ms = 1 WHERE id = 1000000"); err != nil {
			t.Fatal(err)
		}
		pr := p.begin(2, nil)
		eventually(t, "what a dead worker had runs", 30*time.Second, func() bool { return p.times("x") == 1 })
		if n := pr.Counters().Handed; n > many {
			t.Errorf("%d were handed over before", n)
		}
		eventually(t, "the others are handed over", 60*time.Second, func() bool { return pr.later() == many })
	})
}

// What is due much later is not handed to an empty Redis now but when its time comes, and
// in time, by whichever process is there then: asynq has it for later.
func TestFarFutureIsHandedOverWhenItIsNear(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		c := new(clock)
		const soon, far = lookStep + 100, lookStep + 50
		p.seed(1, soon, time.Now().Add(30*time.Minute), 0) // all at the same time
		p.seed(10_000, far, time.Now().Add(24*time.Hour), time.Millisecond)
		begin := func() *process { return p.begin(0, func(o *Options) { o.Clock = c.now }) }
		pr := begin()
		eventually(t, "what is due soon is in redis", 30*time.Second, func() bool { return pr.later() == soon })
		pr.look()
		if n := pr.later(); n != soon {
			t.Errorf("redis has %d, want %d", n, soon)
		}
		pr.end()
		pr, other := begin(), begin()
		pr.look()
		other.look()
		if _, err := pr.sql.ExecContext(limited(t), "DELETE FROM tasks WHERE id < 10000"); err != nil { // they would be overdue
			t.Fatal(err)
		}
		c.jump(23*time.Hour + 45*time.Minute)
		pr.look()
		eventually(t, "what is due later is in redis", 30*time.Second, func() bool { return pr.later() == soon+far })
		other.look()
		pr.look()
		if n := pr.Counters().Handed + other.Counters().Handed; n != far {
			t.Errorf("%d were handed over, want %d", n, far)
		}
	})
}

// A task that has waited for long is looked at seldom; an empty Redis gets it at once.
func TestWhatIsLookedAtSeldomIsHandedToAnEmptyRedis(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		p.seed(1, 1, time.Now().Add(maxLookAfter-defaultLease), 0)
		sql := p.openSQL()
		defer sql.Close(limited(t))
		if _, err := sql.ExecContext(limited(t), "UPDATE tasks SET run_ms = 1"); err != nil {
			t.Fatal(err)
		}
		p.begin(1, nil)
		eventually(t, "it runs", 10*time.Second, func() bool { return p.times("x") == 1 })
	})
}

// When Redis fails while everything is handed over it goes on from where it was.
func TestHandingOverGoesOnFromWhereItWas(t *testing.T) {
	t.Parallel()
	p := onEmbedded(t)
	const many = 3 * lookStep
	p.seed(1, many, time.Now().Add(30*time.Minute), time.Millisecond)
	h := new(failHook)
	h.left.Store(many - lookStep/2)
	pr := p.begin(0, func(o *Options) { o.Redis.Client().AddHook(h) })
	eventually(t, "redis fails", 30*time.Second, func() bool { return h.left.Load() < 0 })
	const again = lookStep + lookStep/2
	h.left.Store(again)
	eventually(t, "all are handed over", 30*time.Second, func() bool { return pr.later() == many })
	if h.left.Load() < 0 {
		t.Errorf("it took more than %d scripts", again)
	}
}
