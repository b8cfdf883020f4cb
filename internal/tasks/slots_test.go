package tasks

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// deaf is a task whose function does not heed its context until it is let go.
type deaf struct {
	once sync.Once
	go_  chan struct{}
}

func newDeaf(t *testing.T) *deaf {
	d := &deaf{go_: make(chan struct{})}
	t.Cleanup(d.letGo)
	return d
}

func (d *deaf) letGo() { d.once.Do(func() { close(d.go_) }) }

func (d *deaf) definition(p *place, name string, ephemeral bool) *Definition {
	return &Definition{Name: name, Ephemeral: ephemeral, Retries: 5, Bind: func([]byte) (func(*Call) ([]byte, error), error) {
		return func(*Call) ([]byte, error) {
			p.note(name)
			<-d.go_
			return nil, nil
		}, nil
	}}
}

// A function that does not stop when its context has ended costs its slot for the grace
// and no longer; as many as there are slots may, and no more.
func TestFunctionThatDoesNotStopLosesItsSlot(t *testing.T) {
	for _, ephemeral := range []bool{false, true} {
		t.Run("ephemeral "+strconv.FormatBool(ephemeral), func(t *testing.T) {
			eachPlace(t, func(t *testing.T, p *place) {
				d := newDeaf(t)
				pr := p.begin(1, func(o *Options) {
					o.Grace, o.Definitions = 100*time.Millisecond, append(o.Definitions, d.definition(p, "test.deaf", ephemeral))
				})
				def := pr.define("test.deaf")
				apply := func() ID {
					if ephemeral {
						return wait(t, ApplyEphemeral(pr.Tasks, MakeEphemeral[struct{}](def), Timeout(50*time.Millisecond)))
					}
					return must(pr, Make[string](def), Timeout(50*time.Millisecond)).ID
				}
				id := apply()
				eventually(t, "its run is given up", 10*time.Second, func() bool { return pr.Counters().Archived == 1 && pr.Stats().Strays == 1 })
				if !ephemeral {
					if info := pr.becomes(id, Archived, 10*time.Second); !strings.Contains(info.Problem, "did not stop in time") || !strings.Contains(info.Problem, "timeout is over") {
						t.Errorf("%+v", info)
					}
				}
				must(pr, of(pr, "test.double", "other"))
				eventually(t, "another has its slot", 10*time.Second, func() bool { return p.times("other") == 1 })
				apply()
				eventually(t, "the second runs", 10*time.Second, func() bool { return p.times("test.deaf") == 2 })
				must(pr, of(pr, "test.double", "last"))
				long := time.NewTimer(500 * time.Millisecond)
				<-long.C
				if c := pr.Counters(); p.times("last") != 0 || c.Strayed != 1 || p.times("test.deaf") != 2 {
					t.Errorf("the second has not kept its slot: %+v", c)
				}
				d.letGo()
				eventually(t, "the second ends, and the first is no stray any more", 10*time.Second, func() bool {
					return p.times("last") == 1 && pr.Stats().Strays == 0
				})
			})
		})
	}
}

// Tasks that were applied together are carried together; a process that has too few
// slots for them leaves the rest to others.
func TestTasksThatComeTogetherAreSharedOut(t *testing.T) {
	t.Parallel()
	p := onServers(t, storetest.MariaDB(t), storetest.Redis(t))
	applier := p.begin(0, nil)
	var ids []ID
	var rows []int64
	for i := range 6 {
		r := must(applier, of(applier, "test.wait", fmt.Sprint("w", i)), In(time.Hour))
		ids = append(ids, r.ID)
		row, _ := r.ID.row()
		rows = append(rows, row)
	}
	if _, err := applier.sql.ExecContext(limited(t), `UPDATE tasks SET run_ms = 1`); err != nil {
		t.Fatal(err)
	}
	if err := applier.carrier.deliverBundle(limited(t), "default", rows); err != nil {
		t.Fatal(err)
	}
	first, second := p.begin(3, nil), p.begin(3, nil)
	eventually(t, "all run", 20*time.Second, func() bool { return first.Running() == 3 && second.Running() == 3 })
	for _, id := range ids {
		if _, err := applier.Revoke(limited(t), id); err != nil {
			t.Error(err)
		}
	}
	for _, id := range ids {
		applier.becomes(id, Revoked, 10*time.Second)
	}
}

func TestEphemeralUniqueByItsKey(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(4, nil)
		apply := func(s, key string, window time.Duration) error {
			_, err := ApplyEphemeral(pr.Tasks, MakeEphemeral[struct{}](pr.define("test.quick"), s), Unique(key, window)).Wait(limited(t))
			return err
		}
		if err := apply("one", "key", 1500*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "another task with the key", apply("two", "key", 1500*time.Millisecond), wire.AlreadyExists, "key")
		eventually(t, "the first has run", 10*time.Second, func() bool { return p.times("one") == 1 })
		wantCode(t, "when it has run", apply("three", "key", 1500*time.Millisecond), wire.AlreadyExists, "key")
		if err := apply("one", "other", time.Minute); err != nil { // the same task, by another key
			t.Error(err)
		}
		eventually(t, "after the window", 10*time.Second, func() bool { return apply("four", "key", time.Second) == nil })
		eventually(t, "they run", 10*time.Second, func() bool { return p.times("one") == 2 && p.times("four") == 1 })
		if p.times("two")+p.times("three") != 0 {
			t.Error("a task ran that was refused")
		}
	})
}

func TestStatsByTask(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(4, nil)
		of1 := func(name string) (s TaskStats) {
			for _, s = range pr.Stats().Tasks {
				if s.Name == name {
					return s
				}
			}
			t.Fatalf("no %s", name)
			return s
		}
		must(pr, of(pr, "test.double", "a"))
		must(pr, of(pr, "test.double", "b"))
		must(pr, of(pr, "test.fail", "5"), Retries(1, time.Millisecond))
		must(pr, Make[string](&Definition{Name: "test.gone"}))
		wait(t, ApplyEphemeral(pr.Tasks, MakeEphemeral[struct{}](pr.define("test.quick"), "c")))
		long := must(pr, of(pr, "test.wait", "d"))
		eventually(t, "it runs", 10*time.Second, func() bool { return pr.Stats().Running == 1 && p.times("d") == 1 })
		if _, err := pr.Revoke(limited(t), long.ID); err != nil {
			t.Fatal(err)
		}
		eventually(t, "all have ended", 10*time.Second, func() bool {
			return of1("test.double").Done == 2 && of1("test.fail").Archived == 1 && of1(unknownTask).Archived == 1 && of1("test.quick").Done == 1 && of1("test.wait").Revoked == 1
		})
		double, fail, unknown := of1("test.double"), of1("test.fail"), of1(unknownTask)
		if double.Applied != 2 || double.Time.Count() != 2 || fail.Failed != 1 || fail.Time.Count() != 2 || fail.Applied != 1 || unknown.Applied != 1 || of1("test.quick").Applied != 1 {
			t.Errorf("%+v\n%+v\n%+v", double, fail, unknown)
		}
	})
}

func TestDepthsCountTasksAndNeverHang(t *testing.T) {
	t.Parallel()
	server := storetest.RedisAlone(t)
	p := onServers(t, storetest.MariaDB(t), server)
	pr := p.begin(0, nil)
	depth := func() (d Depth) {
		list, err := pr.askDepths(limited(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, d = range list {
			if d.Queue == "default" {
				return d
			}
		}
		return d
	}
	for i := range 40 {
		if _, err := Apply(pr.Tasks, of(pr, "test.double", strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	waits := -1
	t.Cleanup(func() { t.Logf("%d waited", waits) })
	eventually(t, "all are counted", 30*time.Second, func() bool { waits = depth().Waits; return waits == 40 })
	if d := depth(); d.Oldest <= 0 || d.Oldest > time.Minute {
		t.Errorf("%+v", d)
	}
	for from := int64(0); from < 32_000; from += maxBundle {
		ids := make([]int64, maxBundle)
		for i := range ids {
			ids[i] = 1 + from + int64(i)
		}
		if err := pr.carrier.deliverBundle(limited(t), "default", ids); err != nil {
			t.Fatal(err)
		}
	}
	if n := depth().Waits; n < 31_000 || n > 33_000 {
		t.Errorf("%d wait, want about 32040", n)
	}
	c := new(commandCount)
	pr.redis.Client().AddHook(c)
	if n := len(pr.Depths(limited(t))); n != 2 {
		t.Errorf("%d queues", n)
	}
	asked := c.n.Load()
	for range 100 {
		pr.Depths(limited(t))
	}
	if n := c.n.Load() - asked; n > 20 {
		t.Errorf("a hundred looks are %d commands", n)
	}
	server.Stall()
	defer server.Resume()
	long := time.Now().Add(-depthKept + time.Second)
	pr.depths.asked, pr.depths.known = long, long
	soon, cancel := context.WithTimeout(context.Background(), depthTime/5)
	defer cancel()
	begun := time.Now()
	if list := pr.Depths(soon); len(list) != 2 || time.Since(begun) > depthTime {
		t.Errorf("who does not wait has %v after %v", list, time.Since(begun))
	}
	if list := pr.Depths(limited(t)); len(list) != 2 || time.Since(begun) > 2*depthTime {
		t.Errorf("%v after %v", list, time.Since(begun))
	}
	eventually(t, "they are not known any more", 10*time.Second, func() bool { return pr.Depths(limited(t)) == nil })
}
