package commit

import (
	"context"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/store"
)

// runner is the goroutine that stores batches, and what only it touches.
type runner struct {
	g       *Group
	dialect *dialect

	session    session   // nil: there is none
	used       time.Time // when session last ended something well
	registered bool      // the row in writers was made by this run
	began      time.Time // the last attempt
	seq        int64     // of the last transaction begun
	most       int       // changes of one attempt: fewer when the store is too slow for a whole batch
	failures   int       // attempts in a row that came to nothing
	lookedUp   bool      // it was logged that a commit had no answer, and none was stored since
	refused    bool      // the store answers, and refuses what is not about a change; logged

	// scratch, kept for its memory
	args     []any
	versions map[int64]int64
	uids     []int64
}

// idleSession is how old an unused connection may be before another takes its place: servers and firewalls close such
// connections without a word.
const idleSession = time.Minute

func newRunner(g *Group) *runner {
	return &runner{g: g, dialect: newDialect(g.o.DB.Driver(), g.o.BatchRows), most: g.o.BatchRows, versions: make(map[int64]int64)}
}

// run stores what comes until the Group is closed.
func (r *runner) run() {
	defer close(r.g.ended)
	defer r.g.giveUp()
	var batch []*Change
	for {
		batch = r.g.await(batch[:0])
		if len(batch) == 0 {
			break
		}
		r.settle(batch)
		clear(batch)
	}
	r.discard()
	r.endAll()
}

// endAll ends what is left in the queue once the Group gave up: none of it is in a transaction any more.
func (r *runner) endAll() {
	g := r.g
	for {
		g.mu.Lock()
		for len(g.queue.ready) == 0 && g.queue.length > 0 {
			g.changed.Wait() // an Abandon has settled a change and is about to take it out
		}
		left := g.queue.take(nil, g.o.Queue, g.o.QueueBytes)
		g.mu.Unlock()
		if len(left) == 0 {
			return
		}
		r.finish(left, ErrClosed)
	}
}

// verdict is what an attempt to store changes has come to.
type verdict uint8

const (
	ended  verdict = iota // each has ended, or was abandoned
	again                 // none is stored, for reasons of the store's: all are to be tried again
	bad                   // none is stored, and one of them cannot be
	alone                 // none is stored, and one has a row to insert that is there: the inserts are to be tried one by one
	gaveUp                // Close's time is over; those whose outcome is not known have ended
)

// settle brings every change of a batch to its end, in parts if it must. Changes of one batch have no key in common, so the order of
// the parts says nothing.
func (r *runner) settle(batch []*Change) {
	parts := [][]*Change{batch}
	oneByOne := false // of the last part
	for len(parts) > 0 {
		last := len(parts) - 1
		part := stillWaiting(parts[last])
		parts = parts[:last]
		if len(part) == 0 {
			oneByOne = false
			continue
		}
		if len(part) > r.most {
			parts, part = append(parts, part[r.most:]), part[:r.most]
		}
		what, err := r.attempt(part, oneByOne)
		oneByOne = what == alone || what == again && oneByOne
		switch {
		case what == gaveUp:
			r.finish(part, ErrClosed)
			for _, p := range parts {
				r.finish(p, ErrClosed)
			}
			return
		case what == again:
			r.pause()
			parts = append(parts, part)
		case what == alone:
			parts = append(parts, part)
		case what == bad && len(part) == 1:
			r.finish(part, err)
		case what == bad:
			r.g.counts.splits.Add(1)
			parts = append(parts, part[len(part)/2:], part[:len(part)/2])
		}
	}
}

// stillWaiting drops, in place, the changes that have ended: by Abandon, or by an attempt.
func stillWaiting(part []*Change) []*Change {
	kept := part[:0]
	for _, c := range part {
		if c.state.Load() == waiting {
			kept = append(kept, c)
		}
	}
	clear(part[len(kept):])
	return kept
}

// finish ends those of the changes that wait, with err.
func (r *runner) finish(changes []*Change, err error) {
	var done []*Change
	for _, c := range changes {
		if c.state.CompareAndSwap(waiting, settled) {
			c.outcome = Outcome{Err: err}
			done = append(done, c)
		}
	}
	if err == ErrClosed && len(done) > 0 {
		r.g.cut.Store(true)
	}
	r.g.end(done)
}

// claim makes changes running, from when on Abandon cannot stop them; those that were abandoned drop out.
func claim(part []*Change) []*Change {
	claimed := make([]*Change, 0, len(part))
	for _, c := range part {
		if c.state.CompareAndSwap(waiting, running) {
			c.outcome = Outcome{}
			claimed = append(claimed, c)
		}
	}
	return claimed
}

// unclaim makes changes wait again when it is known that they are not stored; those that were abandoned meanwhile end here.
func (r *runner) unclaim(claimed []*Change) {
	var done []*Change
	for _, c := range claimed {
		if !c.state.CompareAndSwap(running, waiting) {
			c.state.Store(settled)
			c.outcome = Outcome{Err: ErrAbandoned}
			done = append(done, c)
		}
	}
	r.g.counts.abandoned.Add(int64(len(done)))
	r.g.end(done)
}

// end ends claimed changes with the outcome that each has.
func (r *runner) end(claimed []*Change) {
	n := &r.g.counts
	for _, c := range claimed {
		c.state.Store(settled)
		switch c.outcome.Err {
		case nil:
			n.changes.Add(1)
			n.rows.Add(int64(len(c.Rows)))
		case ErrLostRace:
			n.lostRaces.Add(1)
		}
	}
	r.g.end(claimed)
}

// failed ends a transaction after an error of the store's that is not about a change, and says what it means for the health and the
// log.
func (r *runner) failed(ctx context.Context, err error) {
	r.g.counts.retries.Add(1)
	r.failures++
	switch {
	case r.g.ctx.Err() != nil: // our own doing
		r.discard()
	case store.IsLost(err):
		r.discard()
		r.g.o.Health.Failed(err)
	case store.IsRetryable(err):
		r.rollback(ctx)
	default:
		r.discard() // whatever is open in it
		if !r.refused {
			r.refused = true
			r.g.o.Log.Error("the store refuses changes; they wait", zap.Error(err))
		}
	}
}

// succeeded is the opposite of failed.
func (r *runner) succeeded() {
	r.failures = 0
	r.used = r.g.o.Clock()
	r.g.o.Health.Ok()
	if r.refused {
		r.refused = false
		r.g.o.Log.Info("the store takes changes again")
	}
}

// How long a batch waits before it is tried again: not at all after the first failure, since a deadlock is over and a connection that
// had died is replaced; then longer and longer.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

func (r *runner) pause() {
	if r.failures < 2 {
		return
	}
	d := lastPause
	if doublings := r.failures - 2; doublings < 4 {
		d = min(firstPause<<doublings, lastPause)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.g.ctx.Done():
	}
}

// open returns the session, and makes one if there is none.
func (r *runner) open(ctx context.Context) (session, error) {
	if r.session != nil && r.g.o.Clock().Sub(r.used) > idleSession {
		r.discard()
	}
	if r.session != nil {
		return r.session, nil
	}
	s, err := r.g.connect(ctx)
	if err != nil {
		return nil, err
	}
	setup := pageCache
	if r.dialect.mysql {
		setup = lockWait
	}
	err = s.Exec(ctx, setup)
	if err == nil && !r.registered {
		err = r.register(ctx, s)
	}
	if err != nil {
		s.Discard()
		return nil, err
	}
	r.session, r.used = s, r.g.o.Clock()
	return s, nil
}

// register makes this run's row in writers, and forgets runs that are long over. It may be repeated.
func (r *runner) register(ctx context.Context, s session) error {
	now := r.g.o.Clock()
	before := now.Add(-writerKept).UnixMilli()
	rows, err := s.FetchAll(ctx, staleWriters, before)
	if err != nil {
		return err
	}
	for _, row := range rows {
		var writer int64
		if err := row.Scan(&writer); err != nil {
			return err
		}
		if err := s.Exec(ctx, deleteWriter, writer, before); err != nil {
			return err
		}
	}
	if err := s.Exec(ctx, r.dialect.mark, r.g.writer, int64(0), now.UnixMilli()); err != nil {
		return err
	}
	r.registered = true
	return nil
}

// writerKept is how long the row of a run is kept that writes nothing any more: longer than any outcome stays unknown.
const writerKept = 24 * time.Hour

// discard ends the session, and with it whatever transaction is open in it.
func (r *runner) discard() {
	if r.session != nil {
		r.session.Discard()
		r.session = nil
	}
}

// rollback undoes a transaction whose connection is well.
func (r *runner) rollback(ctx context.Context) {
	if r.session != nil && r.session.Rollback(ctx) != nil {
		r.discard()
	}
}
