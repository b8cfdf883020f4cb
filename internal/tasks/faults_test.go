package tasks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"gameserverd/internal/storetest"
)

// crash ends a process as kill -9 does, as far as SQL can see: nothing of it is written
// any more.
func (pr *process) crash() {
	pr.once.Do(func() {
		pr.cancel()
		pr.closeStores()
	})
}

// rounds are how many seeds the test of faults has: TASKS_SEEDS, or one.
func rounds() int {
	n, err := strconv.Atoi(os.Getenv("TASKS_SEEDS"))
	if err != nil {
		return 1
	}
	return n
}

// Whatever is killed, stalled or emptied, and whenever: each task whose row was committed
// runs, and ends as it should.
func TestNothingIsLostWhateverFails(t *testing.T) {
	t.Parallel()
	for range rounds() {
		rng := seeded(t)
		t.Run("faults", func(t *testing.T) { faultRound(t, rng) })
	}
}

func faultRound(t *testing.T, rng *rand.Rand) {
	sql, redis := storetest.MariaDBAlone(t), storetest.RedisAlone(t)
	p := onServers(t, sql, redis)
	quick := func(o *Options) { o.Lease = 2 * time.Second }
	all := []*process{p.begin(0, quick), p.begin(4, quick), p.begin(4, quick)}
	var receipts []*Receipt[string]
	var names []string
	apply := func(n int) {
		for range n {
			pr := all[0]
			name := fmt.Sprintf("task %d", len(receipts))
			task := of(pr, "test.double", name)
			if rng.IntN(5) == 0 {
				name = strconv.Itoa(10_000 + len(receipts)) // fails for ever, without these retries
				task = of(pr, "test.fail", name)
			}
			r, err := Apply(pr.Tasks, task, In(time.Duration(rng.IntN(1500))*time.Millisecond), Retries(1, 100*time.Millisecond), Keep(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			receipts, names = append(receipts, r), append(names, name)
		}
	}
	pause := func() {
		timer := time.NewTimer(time.Duration(rng.IntN(800)) * time.Millisecond)
		<-timer.C
	}
	for range 6 {
		apply(15)
		pause()
		switch fault := rng.IntN(6); fault {
		case 0:
			t.Log("redis is killed, and comes back empty")
			redis.Kill()
			pause()
			redis.Start()
		case 1:
			t.Log("redis stalls")
			redis.Stall()
			pause()
			redis.Resume()
		case 2:
			t.Log("mariadb is killed")
			sql.Kill()
			pause()
			sql.Start()
		case 3:
			t.Log("mariadb stalls")
			sql.Stall()
			pause()
			sql.Resume()
		default:
			i := 1 + rng.IntN(2)
			t.Logf("worker %d dies", i)
			all[i].crash()
			all[i] = p.begin(4, quick)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	stored := 0
	for i, r := range receipts {
		if _, err := r.Stored().Wait(ctx); err != nil {
			continue // SQL was away: it was refused, and may have run
		}
		stored++
		want := Done
		if names[i][0] != 't' {
			want = Archived
		}
		info := all[0].becomes(r.ID, want, time.Until(deadlineOf(ctx)))
		if n := p.times(names[i]); n < 1 || want == Archived && info.Failures != 2 {
			t.Errorf("%s: %d runs, %+v", names[i], n, info)
		}
	}
	t.Logf("%d of %d tasks were stored", stored, len(receipts))
	for i := len(all) - 1; i >= 0; i-- {
		all[i].end()
	}
}

func deadlineOf(ctx context.Context) time.Time {
	d, _ := ctx.Deadline()
	return d
}
