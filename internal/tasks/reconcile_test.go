package tasks

import (
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
