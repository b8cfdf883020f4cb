package tasks

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"gameserverd/internal/storetest"
)

// runs are the contexts of a task's runs, in their order.
type runs struct {
	mu   sync.Mutex
	list []context.Context
}

func (r *runs) n() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.list)
}

// cause is why the context of the nth run has ended, nil if it has not.
func (r *runs) cause(n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return context.Cause(r.list[n])
}

// long is a task that runs until its context ends.
func (r *runs) long(ephemeral bool) *Definition {
	return &Definition{Name: "test.long", Ephemeral: ephemeral, Bind: func([]byte) (func(*Call) ([]byte, error), error) {
		return func(c *Call) ([]byte, error) {
			r.mu.Lock()
			r.list = append(r.list, c.Context)
			r.mu.Unlock()
			<-c.Done()
			return nil, context.Cause(c)
		}, nil
	}}
}

// A run goes on for as long as its lease is renewed, and no longer: when SQL cannot be
// asked its context ends, before another worker may have the task.
func TestRunEndsWhenItsLeaseIsOver(t *testing.T) {
	t.Parallel()
	server := storetest.MariaDB(t)
	link := storetest.Proxy(t, server.Addr)
	p := onServers(t, server, storetest.Redis(t))
	watch := p.openSQL()
	defer watch.Close(limited(t))
	p.dsn = server.At(link.Addr)
	var r runs
	const lease = time.Second
	pr := p.begin(2, func(o *Options) { o.Lease, o.Definitions = lease, append(o.Definitions, r.long(false)) })
	task := must(pr, Make[string](pr.define("test.long")))
	until := func() int64 { return p.count(watch, "SELECT look_ms FROM tasks") }
	eventually(t, "it runs", 10*time.Second, func() bool { return r.n() == 1 })
	begun := until()
	eventually(t, "its lease is renewed", 20*time.Second, func() bool { return until() > begun+2*lease.Milliseconds() })
	if err := r.cause(0); err != nil {
		t.Fatalf("it has ended: %v", err)
	}
	link.Stall()
	over := until()
	eventually(t, "it ends", 20*time.Second, func() bool { return r.cause(0) != nil })
	if late := time.Now().UnixMilli() - over; !errors.Is(r.cause(0), errLost) || late > lease.Milliseconds() { // the half is for a slow machine
		t.Errorf("it has ended %d ms after its lease: %v", late, r.cause(0))
	}
	link.Resume()
	eventually(t, "it runs again", 30*time.Second, func() bool { return r.n() == 2 })
	pr.stopRun(task.ID) // so that the end need not wait for it
}

// A process that takes a row again that it runs already ends the run that it had.
func TestOldRunInTheSameProcessEnds(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		var r runs
		pr := p.begin(4, func(o *Options) { o.Definitions = append(o.Definitions, r.long(false)) })
		task := must(pr, Make[string](pr.define("test.long")))
		eventually(t, "it runs", 10*time.Second, func() bool { return r.n() == 1 })
		// Another process finds the lease over.
		id, _ := task.ID.row()
		now := time.Now().UnixMilli()
		if _, err := pr.sql.ExecContext(limited(t), takeOver, int64(Waiting), now, now+pr.handGrace(), int64(0), []byte(""), id, p.count(pr.sql, "SELECT look_ms FROM tasks")); err != nil {
			t.Fatal(err)
		}
		pr.carrier.hand(delivery{id: id, queue: "default", runMS: now})
		eventually(t, "it runs again", 10*time.Second, func() bool { return r.n() == 2 })
		eventually(t, "the first run ends", 10*time.Second, func() bool { return r.cause(0) != nil })
		if !errors.Is(r.cause(0), errLost) || r.cause(1) != nil {
			t.Errorf("the first has ended as %v, the second as %v", r.cause(0), r.cause(1))
		}
		if _, err := pr.Revoke(limited(t), task.ID); err != nil {
			t.Error(err)
		}
		pr.becomes(task.ID, Revoked, 10*time.Second)
	})
}

// An ephemeral task that asynq brings again to the process that still runs it is known by
// its newer run.
func TestOldRunOfAnEphemeralTaskDoesNotHideTheNew(t *testing.T) {
	t.Parallel()
	p := onEmbedded(t)
	var begun atomic.Int64
	first := make(chan struct{})
	def := &Definition{Name: "test.deaf", Ephemeral: true, Bind: func([]byte) (func(*Call) ([]byte, error), error) {
		return func(c *Call) ([]byte, error) {
			if begun.Add(1) == 1 {
				<-first
				return nil, nil
			}
			<-c.Done()
			return nil, c.Err()
		}, nil
	}}
	pr := p.begin(4, func(o *Options) { o.Definitions = append(o.Definitions, def) })
	id := wait(t, ApplyEphemeral(pr.Tasks, MakeEphemeral[string](def)))
	eventually(t, "it runs", 10*time.Second, func() bool { return begun.Load() == 1 })
	pr.redis.Client().ZAdd(limited(t), asynqKey("default", "lease"), redis.Z{Score: 1, Member: string(id)})
	if err := pr.recoverOne("default", string(id), time.Now().Unix()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it runs again", 10*time.Second, func() bool { return begun.Load() == 2 })
	handling := pr.handling.Load()
	close(first)
	eventually(t, "the first run ends", 10*time.Second, func() bool { return pr.handling.Load() < handling })
	if n := pr.Running(); n != 1 {
		t.Errorf("%d are known to run", n)
	}
	pr.stopRun(id) // so that the end need not wait for it
}

// A task that was revoked elsewhere while its run came to an end is revoked, and
// whoever ran it is told so: it neither tries it again nor says that it is done.
func TestEndOfARunThatWasRevokedElsewhereIsRevoked(t *testing.T) {
	for _, as := range []State{Waiting, Archived, Done} {
		t.Run(as.String(), func(t *testing.T) {
			eachPlace(t, func(t *testing.T, p *place) {
				pr := p.begin(1, nil)
				receipt := must(pr, of(pr, "test.wait", "held"))
				eventually(t, "it runs", 10*time.Second, func() bool { return p.times("held") == 1 })
				id, _ := receipt.ID.row()
				if _, err := pr.sql.ExecContext(limited(t), stopOne, id); err != nil {
					t.Fatal(err)
				}
				found, err := pr.sql.FetchAllContext(limited(t), readClaims+"?)", id)
				if err != nil || len(found) != 1 {
					t.Fatal(found, err)
				}
				r := new(row)
				var revoked int64
				if err := found[0].Scan(&r.id, &r.claim, &revoked); err != nil || revoked != 1 {
					t.Fatal(revoked, err)
				}
				states, err := pr.endRows(limited(t), []ending{{row: r, state: as, runMS: time.Now().UnixMilli()}})
				if err != nil || states[0] != Revoked {
					t.Errorf("%v %v", states, err)
				}
				if info, err := pr.Show(limited(t), receipt.ID); err != nil || info.State != Revoked.String() {
					t.Errorf("%+v %v", info, err)
				}
			})
		})
	}
}
