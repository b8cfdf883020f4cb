package tasks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// rounds are how many seeds the test of faults has: TASKS_SEEDS, or few.
func rounds() int {
	n, err := strconv.Atoi(os.Getenv("TASKS_SEEDS"))
	if err != nil {
		return fewRounds
	}
	return n
}

const fewRounds = 2

// Whatever is killed, stalled or emptied, and whenever: each task whose row was committed
// has exactly one effect, and ends as it should. Workers are processes, and die by
// kill -9.
func TestNothingIsLostWhateverFails(t *testing.T) {
	t.Parallel()
	f := &faults{t: t, sql: storetest.MariaDBAlone(t), redis: storetest.RedisAlone(t)}
	f.p = onServers(t, f.sql, f.redis).withEffects()
	f.applier = f.p.begin(0, func(o *Options) { o.Lease, o.Definitions = childLease, effects() })
	for n := range rounds() {
		f.rng = seeded(t)
		if t.Run(fmt.Sprint("round", n), func(t *testing.T) { f.round(t) }); t.Failed() {
			return
		}
	}
	f.checkTicks(t)
}

// checkTicks lets what is left end, and compares with what is promised of schedules: each
// tick that was taken has run, in one task.
func (f *faults) checkTicks(t *testing.T) {
	last := startChild(t, childOptions{DSN: f.sql.DSN, Redis: f.redis.URL, Lease: childLease, Lost: 8 * time.Second, Concurrency: 4})
	defer last.kill()
	ticks := f.p.count(f.applier.sql, countTicks)
	eventually(t, "each tick that was taken has run", 30*time.Second, func() bool { return f.p.count(f.applier.sql, countTicked) == ticks })
	if n := f.p.count(f.applier.sql, countTickings); n != ticks || ticks == 0 {
		t.Errorf("%d tasks have run for %d ticks", n, ticks)
	}
	t.Logf("%d ticks", ticks)
	if rounds() > fewRounds { // it takes as long as asynq's leases
		f.checkRedis(t)
	}
}

// checkRedis waits until nothing of what dead workers had is left as if it ran.
func (f *faults) checkRedis(t *testing.T) {
	eventually(t, "redis has nothing that waits or runs", 60*time.Second, func() bool {
		left := int64(0)
		for _, queue := range []string{"default", "low"} {
			for _, part := range []string{"pending", "active"} {
				n, err := f.applier.redis.Client().LLen(limited(f.t), asynqKey(queue, part)).Result()
				if err != nil {
					t.Fatal(err)
				}
				left += n
			}
			for _, part := range []string{"lease", "retry", "scheduled", "archived"} {
				n, err := f.applier.redis.Client().ZCard(limited(f.t), asynqKey(queue, part)).Result()
				if err != nil {
					t.Fatal(err)
				}
				left += n
			}
		}
		return left == 0
	})
}

const childLease = 2 * time.Second

// faults are the servers and processes of the test.
type faults struct {
	t          testing.TB
	sql, redis *storetest.Server
	p          *place
	applier    *process
	rng        *rand.Rand
	workers    [2]*child
}

// applied is a task of a round.
type applied struct {
	receipt  *Receipt[struct{}]
	hopeless bool
}

func (f *faults) start(i int) {
	f.workers[i] = startChild(f.t, childOptions{DSN: f.sql.DSN, Redis: f.redis.URL, Lease: childLease, Concurrency: 1 + f.rng.IntN(6), Ticks: true})
}

func (f *faults) pause(upTo time.Duration) {
	timer := time.NewTimer(time.Duration(f.rng.Int64N(int64(upTo))))
	<-timer.C
}

func (f *faults) apply(n int) (list []applied) {
	for range n {
		name, retries := "test.effect", 50
		switch f.rng.IntN(8) {
		case 0:
			name, retries = "test.hopeless", 1
		case 1:
			name = "test.parent"
		}
		queue := []string{"default", "low"}[f.rng.IntN(2)]
		in := time.Duration(max(0, f.rng.IntN(1500)-500)) * time.Millisecond
		task := Make[struct{}](f.applier.define(name), fmt.Sprint(f.rng.IntN(60)))
		r, err := Apply(f.applier.Tasks, task, In(in), Queue(queue), Retries(retries, 50*time.Millisecond), Keep(time.Hour))
		if err != nil {
			f.t.Fatal(err)
		}
		list = append(list, applied{r, name == "test.hopeless"})
	}
	return list
}

// fault does one harm, and makes good what is not another process.
func (f *faults) fault(t *testing.T) {
	i := f.rng.IntN(len(f.workers))
	w := f.workers[i]
	switch f.rng.IntN(10) {
	case 0:
		t.Log("redis is killed, and comes back empty")
		f.redis.Kill()
		f.pause(800 * time.Millisecond)
		f.redis.Start()
	case 1:
		t.Log("redis stalls")
		f.redis.Stall()
		f.pause(1500 * time.Millisecond)
		f.redis.Resume()
	case 2:
		t.Log("redis is emptied")
		f.applier.redis.Client().FlushAll(limited(f.t))
	case 3:
		t.Log("mariadb is killed")
		f.sql.Kill()
		f.pause(800 * time.Millisecond)
		f.sql.Start()
	case 4:
		t.Log("mariadb stalls")
		f.sql.Stall()
		f.pause(1500 * time.Millisecond)
		f.sql.Resume()
	case 5:
		t.Logf("worker %d stands still for longer than its leases", i)
		w.signal(syscall.SIGSTOP)
		f.pause(5 * time.Second)
		w.signal(syscall.SIGCONT)
	case 6:
		t.Logf("both workers die, and redis with them")
		for i := range f.workers {
			f.workers[i].kill()
		}
		f.redis.Kill()
		f.redis.Start()
		for i := range f.workers {
			f.start(i)
		}
	case 7:
		t.Logf("worker %d drains, with redis away: %v", i, f.rng.IntN(2) == 0 && f.stall())
		w.end()
		f.redis.Resume()
		f.start(i)
	default:
		t.Logf("worker %d dies", i)
		w.kill()
		f.start(i)
	}
}

func (f *faults) stall() bool {
	f.redis.Stall()
	return true
}

func (f *faults) round(t *testing.T) {
	for i := range f.workers {
		f.start(i)
	}
	var all []applied
	for range 4 {
		all = append(all, f.apply(20)...)
		f.pause(600 * time.Millisecond)
		f.fault(t)
	}
	f.check(t, all)
	for _, w := range f.workers {
		w.kill()
	}
}

// check waits for the end of all, and compares with what is promised.
func (f *faults) check(t *testing.T, all []applied) {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	defer func() {
		if !t.Failed() {
			return
		}
		for _, state := range []State{Waiting, Running} {
			list, err := f.applier.List(limited(f.t), state, 20)
			t.Logf("%v at %d: %+v, %v", state, time.Now().UnixMilli(), list, err)
		}
		t.Logf("%+v", f.applier.Depths(limited(f.t)))
	}()
	stored := 0
	for _, a := range all {
		_, err := a.receipt.Stored().Wait(ctx)
		if err != nil && err != errNotKnown {
			if info, err := f.applier.Show(limited(t), a.receipt.ID); wire.CodeOf(err) != wire.NotFound {
				t.Errorf("refused with %v, but there: %+v", err, info)
			}
			continue // it never runs
		}
		info, err := f.applier.Show(limited(t), a.receipt.ID)
		if err != nil {
			continue // its outcome was not known, and it is not there
		}
		stored++
		want, effect := Done, int64(1)
		if a.hopeless {
			want, effect = Archived, 0
		}
		eventually(t, fmt.Sprintf("task %s is %v", a.receipt.ID, want), time.Until(deadlineOf(ctx)), func() bool {
			info, err = f.applier.Show(ctx, a.receipt.ID)
			return err == nil && info.state == want
		})
		n := f.p.count(f.applier.sql, countEffect, "task:"+string(a.receipt.ID))
		if n != effect || a.hopeless && info.Failures != 2 {
			t.Errorf("%d effects of %+v", n, info)
		}
	}
	// What a task has applied ends too; nothing is left, and nothing runs for ever.
	eventually(t, "nothing waits or runs", time.Until(deadlineOf(ctx)), func() bool { return f.p.count(f.applier.sql, countOpen) == 0 })
	parents := f.p.count(f.applier.sql, `SELECT COUNT(*) FROM tasks WHERE name = 'test.parent' AND state = 2`)
	keys := f.p.count(f.applier.sql, `SELECT COUNT(*) FROM tasks_keys`)
	effects := f.p.count(f.applier.sql, `SELECT COUNT(*) FROM effects WHERE id LIKE 'task:%'`)
	done := f.p.count(f.applier.sql, `SELECT COUNT(*) FROM tasks WHERE name NOT IN ('test.hopeless', 'test.tick') AND state = 2`)
	// The children of parents are forgotten when they are done.
	if keys < parents || effects != done+keys {
		t.Errorf("%d parents have applied %d tasks; %d effects of %d tasks that are kept", parents, keys, effects, done)
	}
	t.Logf("%d of %d tasks were stored", stored, len(all))
}

func deadlineOf(ctx context.Context) time.Time {
	d, _ := ctx.Deadline()
	return d
}

// An ephemeral task has no retry, and its worker dies by kill -9: another worker runs it
// all the same. (asynq alone archives it.)
func TestEphemeralRunsAgainWhenItsWorkerIsKilled(t *testing.T) {
	t.Parallel()
	p := onServers(t, storetest.MariaDB(t), storetest.Redis(t)).withEffects()
	o := childOptions{DSN: p.dsn, Redis: p.redis, Lost: 8 * time.Second, Concurrency: 2}
	applier := p.begin(0, func(o *Options) { o.Definitions = effects() })
	first := startChild(t, o)
	id := wait(t, ApplyEphemeral(applier.Tasks, MakeEphemeral[struct{}](applier.define("test.hang"), "h"), Retries(0, 0)))
	begun := func(n int64) func() bool {
		return func() bool { return p.count(applier.sql, countBegun, "h") >= n }
	}
	eventually(t, "it runs", 10*time.Second, begun(1))
	first.kill()
	at := time.Now()
	startChild(t, o)
	eventually(t, "it runs again", 30*time.Second, begun(2))
	t.Logf("begun again after %v", time.Since(at))
	if _, err := applier.Revoke(limited(t), id); err != nil {
		t.Error(err)
	}
	eventually(t, "it is revoked: redis has nothing of it", 10*time.Second, func() bool {
		_, err := asynq.NewInspectorFromRedisClient(applier.redis.Client()).GetTaskInfo("default", string(id))
		return err != nil
	})
	if n := p.count(applier.sql, countBegun, "h"); n != 2 {
		t.Errorf("begun %d times", n)
	}
}
