package tasks

import (
	"time"

	"go.uber.org/zap"
)

// Statements of leases, by the primary key.
const (
	renewOne    = `UPDATE tasks SET look_ms = ? WHERE state = 1 AND claim = ? AND id = ?`
	readClaims  = `SELECT id, claim, revoked FROM tasks WHERE id IN (`
	maxRenewals = maxBatch
)

// leaseLeft is how long a lease lasts that was asked for at a time. Unlike the rows' times
// it does not depend on what the clock is set to meanwhile.
func (t *Tasks) leaseLeft(asked time.Time) time.Duration { return t.o.Lease - t.o.Clock().Sub(asked) }

// leaseOver ends a run whose lease could not be renewed: soon another worker may have it.
func (t *Tasks) leaseOver(r *run) {
	if !r.ending.Load() && r.end(errLost) {
		t.o.Log.Warn("a task's lease could not be renewed: its context ends", zap.String("task", string(r.key)), zap.String("name", r.name))
	}
}

// taken ends a run whose row another has, in this process or another.
func (t *Tasks) taken(r *run) {
	if !r.ending.Load() && r.end(errLost) {
		t.o.Log.Warn("another worker has a task that runs here: its lease was over", zap.String("task", string(r.key)), zap.String("name", r.name))
	}
}

// renewLeases says of everything that runs here that it does, until Close; so it
// learns what was revoked elsewhere, and what another worker has taken.
func (t *Tasks) renewLeases() {
	every := time.NewTicker(t.o.Lease / 4)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-t.ctx.Done():
			return
		}
		t.mu.Lock()
		runs := make([]*run, 0, len(t.running))
		for _, r := range t.running {
			if !r.fateIs(errLost) {
				runs = append(runs, r)
			}
		}
		t.mu.Unlock()
		for len(runs) > 0 {
			n := min(len(runs), maxRenewals)
			if err := t.renew(runs[:n]); err != nil {
				t.o.Log.Debug("leases could not be renewed", zap.Int("tasks", n), zap.Error(err))
			}
			runs = runs[n:]
		}
	}
}

// renew renews leases and reads what has become of the rows.
func (t *Tasks) renew(runs []*run) error {
	args := make([]any, 0, len(runs))
	for _, r := range runs {
		// One by one: what runs for longer than that is rare.
		asked := t.o.Clock()
		result, err := t.o.SQL.ExecContext(t.ctx, renewOne, asked.Add(t.o.Lease).UnixMilli(), r.claim, r.id)
		if err != nil {
			return err
		}
		if result.RowsAffected == 1 {
			r.lease.Reset(t.leaseLeft(asked))
		}
		args = append(args, r.id)
	}
	text, size := marks(len(args))
	rows, err := t.o.SQL.FetchAllContext(t.ctx, readClaims+text+`)`, fill(args, 0, size)...)
	if err != nil {
		return err
	}
	claims := make(map[int64]int64)
	revoked := make(map[int64]bool)
	for _, found := range rows {
		var id, claim, stop int64
		if err := found.Scan(&id, &claim, &stop); err != nil {
			return err
		}
		claims[id], revoked[id] = claim, stop == 1
	}
	for _, r := range runs {
		switch {
		case claims[r.id] != r.claim:
			t.mu.Lock()
			still := t.running[r.id] == r
			t.mu.Unlock()
			if still {
				t.taken(r)
			}
		case revoked[r.id]:
			r.end(errRevoked)
		}
	}
	return nil
}
