package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"gameserverd/internal/conn"
	"gameserverd/internal/future"
	"gameserverd/internal/loop"
	"gameserverd/wire"
)

// open makes the workers and starts their loops.
func (r *run) open() error {
	r.total, r.interval = newTally(), newTally()
	r.dialer = conn.NewDialer(conn.DialOptions{})
	r.dialing, r.stopDialing = context.WithCancel(context.Background())
	if r.o.Total > 0 {
		r.budget = new(atomic.Int64)
		r.budget.Store(int64(min(r.o.Total, 1<<62)))
	}
	first := 0
	for i := range r.o.Loops {
		count := (r.o.Connections + i) / r.o.Loops // the shares add up to all
		w, err := r.newWorker(fmt.Sprintf("bench%d", i), first, count)
		if err != nil {
			return err
		}
		first += count
		r.workers = append(r.workers, w)
		r.spare = append(r.spare, newTally())
		r.snaps = append(r.snaps, snapshot{tally: newTally()})
		ended := make(chan error, 1)
		r.ended = append(r.ended, ended)
		go func() { ended <- w.loop.Start() }()
	}
	return nil
}

// newWorker makes the worker of count connections, of which the first has the number first.
func (r *run) newWorker(name string, first, count int) (*worker, error) {
	expect, err := newExpectation(r.o.Expect)
	if err != nil {
		return nil, err
	}
	l, err := loop.New(loop.Options{Name: name})
	if err != nil {
		return nil, err
	}
	w := &worker{
		loop: l, target: target{method: r.o.Method, params: r.o.Params}, depth: r.o.Depth,
		tls: r.o.TLS, dialing: r.dialing,
		clock: r.now, poke: r.poke, budget: r.budget, sessions: make([]session, count),
		in:     intake{window: window{from: unlimitedNS, until: unlimitedNS}, expect: expect, tally: newTally()},
		failed: map[string]int{}, closed: map[string]int{}, early: map[uint64]error{},
	}
	for at := range w.sessions {
		w.sessions[at].calls = newOutstanding(r.o.Depth)
	}
	if r.o.Login != "" || r.o.Logins != nil {
		w.token = func(at int) string { return r.o.token(first + at) }
	}
	w.dial = func() *future.Future[uint64] { return r.dialer.DialSet(r.dialing, w.set, r.o.Addr) }
	w.set = conn.NewSet(l, w, conn.Options{MaxInput: wire.HeaderLen + wire.MaxFrame, MaxOutput: maxOutput})
	if w.timer, err = newAlarm(l, func() { w.pump(w.clock()) }); err != nil {
		return nil, errors.Join(err, l.Close(false))
	}
	return w, nil
}

// maxOutput bounds what waits on one connection for a server that does not read; more ends it.
const maxOutput = 64 << 20

// collect takes from each worker what it has counted.
func (r *run) collect(end bool) {
	answers := make([]chan snapshot, len(r.workers))
	for i, w := range r.workers {
		answer, empty := make(chan snapshot, 1), r.spare[i]
		if w.loop.AddCallback(func() { answer <- w.collect(empty, end) }) {
			answers[i] = answer
		}
	}
	for i, answer := range answers {
		if answer == nil {
			continue
		}
		s := <-answer
		r.total.merge(s.tally)
		r.interval.merge(s.tally)
		s.tally.reset()
		r.spare[i], r.snaps[i] = s.tally, s
	}
}

// close ends all connections and loops.
func (r *run) close() {
	r.stopDialing()
	for i, w := range r.workers {
		w.loop.AddCallback(w.end)
		w.loop.Stop()
		<-r.ended[i]
		w.shaking.Wait()
		w.set.Release()
		// Nothing was written to its descriptors, and the run is over.
		_ = w.loop.Close(true)
	}
}
