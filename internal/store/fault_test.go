package store

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// faultTimeout is the calls' time in tests of servers that do not answer.
const faultTimeout = 500 * time.Millisecond

// TestMySQLServerThatGoesAway stalls the server, and kills it, under load: calls are answered in time, each once, what was acknowledged
// is there afterwards, calls succeed again by themselves, and the log has a line for each change.
func TestMySQLServerThatGoesAway(t *testing.T) {
	server := storetest.MariaDBAlone(t)
	r := openRig(t, "mysql", server.DSN, func(o *SQLOptions) { o.Timeout, o.MaxOpen = faultTimeout, 8 })
	patient := openRig(t, "mysql", server.DSN, nil) // is not told of faults before it is asked
	patient.counter(t, 1, 2, 3, 4)
	watched, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { r.health.Watch(watched, 100*time.Millisecond, r.Ping) })
	defer watching.Wait()
	defer stop()
	isUp := func() bool { up, _, _ := r.health.State(); return up }
	for _, fault := range []struct {
		name         string
		break_, mend func()
	}{{"stalled", server.Stall, server.Resume}, {"killed", server.Kill, server.Start}} {
		load := callAlways(r)
		until(t, "calls succeed", func() bool { return load.succeeded.Load() > 50 })
		fault.break_()
		until(t, "the health tells", func() bool { return !isUp() })
		before := load.failed.Load()
		until(t, "calls fail", func() bool { return load.failed.Load() > before+20 })
		for what, call := range map[string]func() error{
			"Conn": func() error { return second(r.Conn(within(t, deadline))) }, // to open one takes no longer than a call
			"Ping": func() error { return r.Ping(context.Background()) },
		} {
			began := time.Now()
			err := call()
			if wantCode(t, what+", "+fault.name, err, wire.Unavailable); time.Since(began) > 10*faultTimeout {
				t.Errorf("%s, %s: took %v", what, fault.name, time.Since(began))
			}
		}
		fault.mend()
		began := time.Now()
		until(t, "the store is back", isUp)
		before = load.succeeded.Load()
		until(t, "calls succeed again", func() bool { return load.succeeded.Load() > before+50 })
		if took := time.Since(began); took > 10*faultTimeout {
			t.Errorf("%s: it took %v to recover", fault.name, took)
		}
		load.stop()
		if slowest := time.Duration(load.slowest.Load()); slowest > 10*faultTimeout {
			t.Errorf("%s: an answer took %v", fault.name, slowest)
		}
		if code := load.wrong.Load(); code != nil {
			t.Errorf("%s: a call failed with %v", fault.name, *code)
		}
		least, most := load.acknowledged.Load(), load.acknowledged.Load()+load.unknown.Load()
		// What was sent and not answered may still be on its way in the server.
		if n := patient.one(t, "SELECT sum(n) FROM counter").(int64); n < least || n > most {
			t.Errorf("%s: %d are stored, acknowledged were %d, and %d are unknown", fault.name, n, least, most-least)
		}
		patient.must(t, "UPDATE counter SET n = 0")
	}
	if n := r.logs.Len(); n < 4 || n > 8 { // two for each fault; at its edges it may come and go once more
		t.Errorf("%d lines in the log: %v", n, lines(r.logs))
	}
	until(t, "no worker is left", func() bool { return idle(r.read) })
}

// callers counts what callers saw who never pause.
type callers struct {
	succeeded, failed     atomic.Int64
	acknowledged, unknown atomic.Int64 // increments
	slowest               atomic.Int64 // ns
	wrong                 atomic.Pointer[error]
	ended                 atomic.Bool
	all                   sync.WaitGroup
}

func callAlways(r *rig) *callers {
	l := &callers{}
	ctx := context.Background()
	for g := range int64(16) {
		l.all.Go(func() {
			for i := g; !l.ended.Load(); i++ {
				began := time.Now()
				var err error
				writes := true
				switch i % 3 {
				case 0:
					_, err = r.ExecContext(ctx, increment, g%4+1)
				case 1:
					err = r.TransactContext(ctx, func(_ context.Context, tx *Tx) error { return second(tx.Exec(increment, g%4+1)) })
				case 2:
					_, err = r.FetchOneContext(ctx, readN, g%4+1)
					writes = false
				}
				l.saw(err, writes, time.Since(began))
			}
		})
	}
	return l
}

func (l *callers) saw(err error, writes bool, took time.Duration) {
	l.slowest.Store(max(l.slowest.Load(), int64(took)))
	switch {
	case err == nil:
		l.succeeded.Add(1)
		if writes {
			l.acknowledged.Add(1)
		}
		return
	case wire.CodeOf(err) != wire.Unavailable:
		l.wrong.Store(&err)
	case IsLost(err) && writes:
		l.unknown.Add(1)
	}
	l.failed.Add(1)
}

func (l *callers) stop() {
	l.ended.Store(true)
	l.all.Wait()
}
