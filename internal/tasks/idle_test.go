package tasks

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"gameserverd/internal/storetest"
)

// commandCount counts the commands that a process sends to Redis.
type commandCount struct{ n, scripts atomic.Int64 }

func (c *commandCount) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *commandCount) count(cmd redis.Cmder) {
	c.n.Add(1)
	if name := cmd.Name(); name == "eval" || name == "evalsha" {
		c.scripts.Add(1)
	}
}

func (c *commandCount) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.count(cmd)
		return next(ctx, cmd)
	}
}

func (c *commandCount) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			c.count(cmd)
		}
		return next(ctx, cmds)
	}
}

// A process that has nothing to do hardly asks Redis, least of all the one in this
// process, whose scripts cost a hundred times what they cost elsewhere.
func TestIdleProcessHardlyAsksRedis(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		if p.embedded == nil { // one of its own: on one that is shared others' processes tell this one to look
			p = onServers(t, storetest.MariaDB(t), storetest.RedisAlone(t))
		}
		c := new(commandCount)
		pr := p.begin(4, func(o *Options) { o.Redis.Client().AddHook(c) })
		must(pr, of(pr, "test.double", "first"), Keep(time.Minute))
		eventually(t, "it has run", 10*time.Second, func() bool { return p.times("first") == 1 })
		commands, scripts := int64(2), int64(1) // a second
		if p.embedded == nil {
			commands, scripts = 20, 15
		}
		const seconds = 5
		var all, ran int64
		over := time.NewTicker(time.Second)
		defer over.Stop()
		for i := range seconds + 1 {
			if <-over.C; i == 0 { // what belongs to the first is over
				all, ran = c.n.Load(), c.scripts.Load()
			}
		}
		all, ran = c.n.Load()-all, c.scripts.Load()-ran
		t.Logf("%d commands, of which %d are scripts, in %d s", all, ran, seconds)
		if all > seconds*commands || ran > seconds*scripts {
			t.Errorf("more than %d commands, or %d scripts, a second", commands, scripts)
		}
	})
}

// A task that is applied now begins at once, here and in another process, though nobody
// polls.
func TestTaskBeginsAtOnce(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		here := p.begin(4, nil)
		appliers := []*process{here}
		if p.embedded == nil {
			appliers = append(appliers, p.begin(0, nil))
		}
		for i, applier := range appliers {
			var took []time.Duration
			for range 15 {
				before := p.times("now")
				r, err := Apply(applier.Tasks, of(applier, "test.double", "now"))
				if err != nil {
					t.Fatal(err)
				}
				wait(t, r.Stored())
				begun := time.Now()
				eventually(t, "it begins", 10*time.Second, func() bool { return p.times("now") > before })
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			t.Logf("applier %d: median %v, longest %v", i, took[len(took)/2], took[len(took)-1])
			if took[len(took)/2] > 60*time.Millisecond {
				t.Errorf("half of them took longer than %v to begin", took[len(took)/2])
			}
		}
	})
}

// asynq asks again at once when Redis does not answer; here it rests.
func TestRedisThatIsAwayIsNotAskedInALoop(t *testing.T) {
	t.Parallel()
	server := storetest.RedisAlone(t)
	p := onServers(t, storetest.MariaDB(t), server)
	c := new(commandCount)
	pr := p.begin(4, func(o *Options) { o.Redis.Client().AddHook(c) })
	server.Kill()
	before, over := c.n.Load(), time.NewTimer(2*time.Second)
	<-over.C
	n := c.n.Load() - before
	t.Logf("%d commands in 2 s", n)
	if n > 80 {
		t.Errorf("%d commands in 2 s for a Redis that is away", n)
	}
	server.Start()
	must(pr, of(pr, "test.double", "after"))
	eventually(t, "tasks run again", 10*time.Second, func() bool { return p.times("after") == 1 })
}
