package tasks

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"gameserverd/internal/storetest"
)

// look makes the process look after rows now, and waits until it has done so twice.
func (pr *process) look() {
	pr.place.t.Helper()
	before := pr.looks.Load()
	eventually(pr.place.t, "it looks", 20*time.Second, func() bool {
		select {
		case pr.nudge <- struct{}{}:
		default:
		}
		return pr.looks.Load() >= before+2
	})
}

// What stands in a long queue is left there, however long it waits; what Redis has lost
// of it is handed over anew.
func TestLongQueueIsNotHandedOverAgain(t *testing.T) {
	t.Parallel()
	p := onServers(t, storetest.MariaDB(t), storetest.Redis(t))
	pr := p.begin(0, func(o *Options) { o.Lease = 200 * time.Millisecond })
	waits := func(n int) {
		t.Helper()
		eventually(t, strconv.Itoa(n)+" wait in redis", 10*time.Second, func() bool {
			depths, err := pr.askDepths(limited(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range depths {
				if d.Queue == "default" {
					return d.Waits == n
				}
			}
			return false
		})
	}
	must(pr, of(pr, "test.double", "head"))
	waits(1)
	over := time.NewTimer(50 * time.Millisecond) // so that the next are later by the clock
	<-over.C
	for i := range 30 {
		must(pr, of(pr, "test.double", strconv.Itoa(i)))
	}
	waits(31)
	over.Reset(400 * time.Millisecond)
	<-over.C
	pr.look()
	if n := pr.Counters().Handed; n < 31 || n > 35 { // the head cannot be told from one that was lost
		t.Errorf("%d were handed over, of 31", n)
	}
	if err := pr.redis.Client().Del(limited(t), asynqKey("default", "pending")).Err(); err != nil {
		t.Fatal(err)
	}
	waits(31) // again, when their next look is due
	worker := p.begin(4, nil)
	eventually(t, "all run", 20*time.Second, func() bool { return worker.Counters().Done == 31 })
}

// What was applied while Redis could not be reached begins when it can again, and not
// when somebody wonders why it waits.
func TestTasksAppliedWhileRedisIsAwayBeginSoonAfter(t *testing.T) {
	t.Parallel()
	server := storetest.Redis(t)
	link := storetest.Proxy(t, server.Addr)
	p := onServers(t, storetest.MariaDB(t), server)
	p.redis = server.At(link.Addr)
	pr := p.begin(4, func(o *Options) { o.Lease = time.Minute })
	must(pr, of(pr, "test.double", "first"))
	eventually(t, "it runs", 10*time.Second, func() bool { return p.times("first") == 1 })
	link.Refuse(true)
	link.Cut()
	for i := range 40 {
		must(pr, of(pr, "test.double", strconv.Itoa(i)))
	}
	pr.look()
	link.Refuse(false)
	begun := time.Now()
	eventually(t, "all run", 20*time.Second, func() bool { return pr.Counters().Done == 41 })
	t.Logf("all had run %v after redis was back", time.Since(begun))
}

// dies makes a task look as if a worker that is dead had taken it long ago.
func (pr *process) dies(id ID) {
	pr.place.t.Helper()
	if _, err := pr.sql.ExecContext(limited(pr.place.t), "UPDATE tasks SET state = 1, claim = 77, attempts = attempts + 1, look_ms = 1 WHERE id = ?", string(id)); err != nil {
		pr.place.t.Fatal(err)
	}
}

func (pr *process) state(id ID) State {
	pr.place.t.Helper()
	info, err := pr.Show(limited(pr.place.t), id)
	if err != nil {
		pr.place.t.Fatal(err)
	}
	return info.state
}

// Whatever goes wrong when what has ended is deleted: who has died is found all the same.
func TestDeadWorkersAreFoundThoughNothingCanBeCleaned(t *testing.T) {
	t.Parallel()
	p := onEmbedded(t)
	c := new(clock)
	pr := p.begin(0, func(o *Options) { o.Clock = c.now })
	task := must(pr, of(pr, "test.double", "x"), In(time.Hour))
	if _, err := pr.sql.ExecContext(limited(t), "DROP TABLE tasks_keys"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c.jump(11 * time.Second) // it is time to clean
		pr.look()
	}
	pr.dies(task.ID)
	pr.look()
	if s := pr.state(task.ID); s != Waiting {
		t.Errorf("the task of a dead worker is %v", s)
	}
}

// As long as SQL is away nobody can renew a lease: who lives is given the time to.
func TestNobodyIsTakenForDeadAtOnceWhenSQLIsBack(t *testing.T) {
	t.Parallel()
	server := storetest.MariaDB(t)
	link := storetest.Proxy(t, server.Addr)
	p := onServers(t, server, storetest.Redis(t))
	direct := p.begin(0, func(o *Options) { o.Lease = time.Hour }) // it takes nobody for dead
	p.dsn = server.At(link.Addr)
	c := new(clock)
	pr := p.begin(0, func(o *Options) { o.Clock = c.now })
	task := must(direct, of(direct, "test.double", "x"), In(time.Hour))
	link.Refuse(true)
	link.Cut()
	pr.look()
	c.jump(defaultLease - 2*time.Second)
	pr.look()
	link.Refuse(false)
	direct.dies(task.ID)
	eventually(t, "SQL is back", 20*time.Second, func() bool {
		_, err := pr.Show(limited(t), task.ID)
		return err == nil
	})
	c.jump(4 * time.Second) // a lease has passed since SQL went
	pr.look()
	if s := direct.state(task.ID); s != Running {
		t.Errorf("it is %v", s)
	}
	c.jump(defaultLease)
	pr.look()
	if s := direct.state(task.ID); s != Waiting {
		t.Errorf("a lease later it is %v", s)
	}
}

// Cleaning goes in steps, between which dead workers are looked for; but as long as there
// is something to be cleaned nobody rests.
func TestCleaningManyHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	p := onEmbedded(t)
	c := new(clock)
	pr := p.begin(0, func(o *Options) { o.Clock = c.now })
	const many = 6000
	at := time.Now().Add(time.Hour)
	for _, text := range []string{
		"INSERT INTO tasks SELECT x, 'test.double', 'default', x'91a178', 2, 1, %d, 0, 1, 0, 0, 2, 1000, 60000, 0, 1, 1, x'', x'' FROM s",
		"INSERT INTO tasks_keys SELECT 'key ' || x, x, %d FROM s",
	} {
		text = fmt.Sprintf("WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM s WHERE x < %d) "+text, many, at.UnixMilli())
		if _, err := pr.sql.ExecContext(limited(t), text); err != nil {
			t.Fatal(err)
		}
	}
	left := func() [2]int64 {
		return [2]int64{p.count(pr.sql, "SELECT COUNT(*) FROM tasks"), p.count(pr.sql, "SELECT COUNT(*) FROM tasks_keys")}
	}
	if more, err := pr.clean(at); err != nil || !more || left() != [2]int64{many - lookStep, many - lookStep} {
		t.Errorf("after one step %d are left, more %v: %v", left(), more, err)
	}
	looks := pr.looks.Load()
	c.jump(2 * time.Hour)
	pr.look()
	eventually(t, "all is cleaned, without a rest", 10*time.Second, func() bool { return left() == [2]int64{} })
	if n := pr.looks.Load() - looks; n < many/lookStep/2 {
		t.Errorf("in %d looks", n)
	}
}

// Redis fails between the look at what it has lost and the handing over: it is looked at
// again soon, however long it has waited. Each task waits for its own next look.
func TestRedisThatFailsWhileHandingOverDelaysLittle(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		c := new(clock)
		h := new(failHook)
		h.left.Store(1 << 60)
		pr := p.begin(0, func(o *Options) {
			o.Clock = c.now
			o.Redis.Client().AddHook(h)
		})
		pr.look()
		grace := defaultLease
		h.left.Store(0)
		p.seed(1, 1, time.Now().Add(-2*time.Hour), 0) // they are to be looked at when they were due, and a lease
		p.seed(2, 1, time.Now().Add(-40*time.Second), 0)
		p.seed(3, 1, time.Now().Add(-grace), 0)
		pr.look()
		next := func(id ID) time.Duration {
			return time.UnixMilli(p.count(pr.sql, "SELECT look_ms FROM tasks WHERE id = ?", string(id))).Sub(c.now())
		}
		for _, id := range []ID{"1", "2", "3"} {
			if in := next(id); in > grace {
				t.Errorf("when redis has failed task %s is looked at again in %v", id, in)
			}
		}
		h.left.Store(1 << 60)
		c.jump(grace + time.Second)
		eventually(t, "they are handed over", 20*time.Second, func() bool {
			pr.look()
			return pr.Counters().Handed == 3
		})
		pr.look()
		for id, most := range map[ID]time.Duration{"1": time.Hour, "2": 2 * time.Minute, "3": time.Minute} {
			if in := next(id); in > most || in < most/4 {
				t.Errorf("task %s is looked at again in %v", id, in)
			}
		}
	})
}
