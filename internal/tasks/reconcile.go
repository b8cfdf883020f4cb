package tasks

import (
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
)

const (
	reconcileEvery = 2 * time.Second
	cleanEvery     = 10 * time.Second
	lookStep       = 500 // rows of one step
	maxLooks       = 20  // steps at once
	maxIdleLooks   = 4   // of those, steps in which everything stands in a queue
	maxLookAfter   = time.Hour
	// maxLost is how many workers may die with a task before it is taken for their
	// murderer.
	maxLost = 8
)

// Statements. Index: tasks_look, but where another is named. With a + 0 no other fits.
const (
	selectLooks = `SELECT id, queue, run_ms FROM tasks WHERE state = 0 AND look_ms <= ? ORDER BY look_ms LIMIT 500`
	updateLooks = `UPDATE tasks SET look_ms = ? WHERE state + 0 = 0 AND look_ms <= ? AND id IN (`                                                                        // primary key
	updateWaits = `UPDATE tasks SET look_ms = CASE WHEN run_ms <= ? THEN ? WHEN run_ms >= ? THEN ? ELSE ? - run_ms END WHERE state + 0 = 0 AND look_ms <= ? AND id IN (` // primary key
	selectDead  = `SELECT id, attempts, failures, queue, name, look_ms FROM tasks WHERE state = 1 AND look_ms <= ? ORDER BY look_ms LIMIT 500`
	takeOver    = `UPDATE tasks SET state = CASE WHEN revoked = 1 THEN 4 ELSE ? END, claim = 0, run_ms = ?, look_ms = ?, ended_ms = ?, problem = ? WHERE id = ? AND state = 1 AND look_ms = ?` // primary key
)

// reconcile looks after rows until Close: those that nobody has taken are handed over
// again, those whose worker has died wait again, those that have ended are deleted.
func (t *Tasks) reconcile() {
	var state reconciler
	every := time.NewTicker(reconcileEvery)
	defer every.Stop()
	for {
		more, err := t.reconcileOnce(&state)
		if err != nil {
			t.o.Log.Debug("tasks are looked after later", zap.Error(err))
		}
		t.looks.Add(1)
		if more && t.ctx.Err() == nil {
			continue
		}
		select {
		case <-every.C:
		case <-t.nudge:
		case <-t.ctx.Done():
			return
		}
	}
}

// reconciler is what a reconciler remembers.
type reconciler struct {
	epoch     string // of the Redis that has what waits, but what of handing it has not yet
	handing   handing
	notBefore time.Time // nobody is taken for dead before
	cleaned   time.Time // when ended rows were last looked for
	unclean   bool      // there were more
	recovered time.Time // when ephemeral tasks of dead workers were
}

// reconcileOnce looks once. more tells that the next look is to be at once.
func (t *Tasks) reconcileOnce(s *reconciler) (more bool, err error) {
	now := t.o.Clock()
	if err := t.takeOverDead(now, now.After(s.notBefore)); err != nil {
		s.notBefore = t.o.Clock().Add(t.o.Lease) // those who live renew their leases first
		return false, err
	}
	handing, redisErr := t.checkEpoch(s)
	if redisErr == nil {
		redisErr = t.recoverLost(s, now)
	}
	if redisErr == nil && !handing { // Redis has a health of its own
		if err := t.handAgain(s, now); err != nil {
			return false, err
		}
	}
	if s.unclean || now.Sub(s.cleaned) > cleanEvery || now.Before(s.cleaned) {
		s.cleaned = now
		s.unclean, err = t.clean(now)
	}
	return handing || s.unclean, err
}

// handAgain hands over what waits longer than it should: the longer it does, the less
// often. What stands in a long queue in Redis is left there.
func (t *Tasks) handAgain(s *reconciler, now time.Time) error {
	var heads map[string]int64 // nil: not asked for yet
	for idle, looks := 0, 0; looks < maxLooks && idle < maxIdleLooks; looks++ {
		rows, err := t.o.SQL.FetchAllContext(t.ctx, selectLooks, now.UnixMilli())
		if err != nil || len(rows) == 0 {
			return err
		}
		if heads == nil {
			if heads, err = t.heads(); err != nil {
				return nil // Redis is away; the epoch, or the next look, brings it
			}
		}
		var stand, lost []delivery
		for _, found := range rows {
			var d delivery
			if err := found.Scan(&d.id, &d.queue, &d.runMS); err != nil {
				return err
			}
			// A queue is first in, first out: what was handed over after its head waits there.
			if head, waits := heads[d.queue]; waits && max(d.runMS, epochBegan(s.epoch)) > head {
				stand = append(stand, d)
			} else {
				lost = append(lost, d)
			}
		}
		if err := t.lookLater(stand, now); err != nil {
			return err
		}
		if len(lost) == 0 {
			idle++
		} else if handed, err := t.handLost(lost, now); err != nil || !handed {
			return err
		}
		if len(rows) < lookStep {
			return nil
		}
	}
	return nil
}

// handLost hands over what Redis has lost, in bundles: it may have what was carried alone,
// as if a worker had it. handed: Redis has taken it.
func (t *Tasks) handLost(list []delivery, now time.Time) (handed bool, err error) {
	// First, so that other processes leave them alone, and nothing is handed over again and
	// again while SQL takes no writes; and soon, in case that Redis does not take them.
	if err := t.lookSoon(list, now); err != nil {
		return false, err
	}
	byQueue := make(map[string][]int64)
	for _, d := range list {
		byQueue[d.queue] = append(byQueue[d.queue], d.id)
	}
	for queue, ids := range byQueue {
		for some := range slices.Chunk(ids, maxBundle) {
			if err := t.carrier.deliverBundle(t.ctx, queue, some); err != nil {
				return false, nil
			}
		}
	}
	return true, t.lookLater(list, now)
}

// heads are when the first of each queue was put there, in milliseconds; nothing of an
// empty one.
func (t *Tasks) heads() (map[string]int64, error) {
	depths, err := t.askDepths(t.ctx)
	if err != nil {
		return nil, err
	}
	heads := make(map[string]int64)
	for _, d := range depths {
		if d.headMS != 0 {
			heads[d.Queue] = d.headMS
		}
	}
	return heads, nil
}

// lookSoon lets the rows of list be looked at again when they could have been taken.
func (t *Tasks) lookSoon(list []delivery, now time.Time) error {
	return t.setLooks(updateLooks, []any{now.UnixMilli() + t.handGrace(), now.UnixMilli()}, list)
}

// lookLater lets each row of list be looked at again when it has waited for twice as long,
// but not sooner than lookSoon, and within maxLookAfter.
func (t *Tasks) lookLater(list []delivery, now time.Time) error {
	ms, soon, late := now.UnixMilli(), t.handGrace(), maxLookAfter.Milliseconds()
	return t.setLooks(updateWaits, []any{ms - late, ms + late, ms - soon, ms + soon, 2 * ms, ms + soon}, list)
}

// setLooks runs one of the statements that set when rows are looked at again.
func (t *Tasks) setLooks(statement string, first []any, list []delivery) error {
	for some := range slices.Chunk(list, maxBatch) {
		args := slices.Clone(first)
		for _, d := range some {
			args = append(args, d.id)
		}
		text, size := marks(len(some))
		if _, err := t.o.SQL.ExecContext(t.ctx, statement+text+`)`, fill(args, len(first), size)...); err != nil {
			return err
		}
	}
	return nil
}

// takeOverDead makes the rows of workers wait again who have not renewed their leases, or
// only finds out whether SQL answers.
func (t *Tasks) takeOverDead(now time.Time, really bool) error {
	rows, err := t.o.SQL.FetchAllContext(t.ctx, selectDead, now.Add(-t.o.Lease/3).UnixMilli())
	if err != nil || !really {
		return err
	}
	for _, found := range rows {
		var d delivery
		var attempts, failures, look int64
		var name string
		if err := found.Scan(&d.id, &attempts, &failures, &d.queue, &name, &look); err != nil {
			return err
		}
		t.mu.Lock()
		own := t.running[d.id]
		t.mu.Unlock()
		if own != nil && !own.fateIs(errLost) {
			continue // it lives, and renews its lease next
		}
		d.runMS = now.UnixMilli()
		state, next, ended, problem := Waiting, d.runMS+t.handGrace(), int64(0), ""
		if attempts-failures > maxLost {
			state, next, ended = Archived, now.Add(keepArchived).UnixMilli(), d.runMS
			problem = fmt.Sprintf("%d workers died while they ran it", attempts-failures)
		}
		result, err := t.o.SQL.ExecContext(t.ctx, takeOver, int64(state), d.runMS, next, ended, []byte(problem), d.id, look)
		if err != nil {
			return err
		}
		if result.RowsAffected == 0 {
			continue // another process was faster
		}
		t.counts.lost.Add(1)
		log := t.o.Log.With(zap.String("task", string(durableID(d.id))), zap.String("name", name), zap.Int64("attempt", attempts))
		if state == Archived {
			t.countArchived(name)
			log.Error("task given up: it is kept in the archive", zap.String("error", problem))
			continue
		}
		t.statsOf(name).lost.Add(1)
		log.Warn("a task's worker is gone: the task is begun again")
		t.carrier.hand(d)
	}
	return nil
}
