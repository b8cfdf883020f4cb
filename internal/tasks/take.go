package tasks

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/store"
)

// defaultLease is how long a worker has a row after it last said so. It says so four
// times as often; whoever finds a lease over by a third takes its worker for dead: the
// clocks of machines differ.
const defaultLease = 15 * time.Second

// claim asks for a row.
type claim struct{ id int64 }

// Statements. Index: all find their rows by the primary key; with a + 0 no other fits,
// which MariaDB would take now and then and read all that wait.
const (
	takeSome   = `UPDATE tasks SET state = 1, claim = ?, attempts = attempts + 1, look_ms = ? WHERE state + 0 = 0 AND run_ms <= ? AND id IN (`
	readSome   = `SELECT ` + columns + ` FROM tasks WHERE claim = ? AND id IN (`
	readEarly  = `SELECT ` + columns + ` FROM tasks WHERE state + 0 = 0 AND id IN (`
	forgetSome = `DELETE FROM tasks WHERE revoked = 0 AND (`
	endOne     = `UPDATE tasks SET state = ?, run_ms = ?, look_ms = ?, ended_ms = ?, claim = 0, failures = failures + ?, result = ?, problem = ?
		WHERE id = ? AND claim = ? AND revoked = 0`
	endRevoked  = `UPDATE tasks SET state = 4, look_ms = ?, ended_ms = ?, claim = 0, failures = failures + ?, problem = ? WHERE id = ? AND claim = ?`
	putBackSome = `UPDATE tasks SET state = 0, claim = 0, attempts = attempts - 1, run_ms = ?, look_ms = ? WHERE state + 0 = 1 AND (`
)

// takeRows takes those of the rows that wait and whose time has come. A nil stands for
// one that is not to be had; one whose time has not come is without a claim.
func (t *Tasks) takeRows(ctx context.Context, in []claim) ([]*row, error) {
	token := rand.Int64N(1<<62) + 1
	now := t.o.Clock()
	text, size := marks(len(in))
	args := []any{token, now.Add(t.o.Lease).UnixMilli(), now.UnixMilli()}
	for _, c := range in {
		args = append(args, c.id)
	}
	args = fill(args, 3, size)
	if _, err := t.o.SQL.ExecContext(ctx, takeSome+text+`)`, args...); err != nil {
		return nil, err
	}
	rows, err := t.o.SQL.FetchAllContext(ctx, readSome+text+`)`, append([]any{token}, args[3:]...)...)
	if err != nil {
		return nil, err // what was taken is begun when its lease is over
	}
	if len(rows) < len(in) {
		early, err := t.o.SQL.FetchAllContext(ctx, readEarly+text+`)`, args[3:]...)
		if err != nil {
			t.o.Log.Debug("tasks that came early are left to the reconciler", zap.Error(err))
		}
		rows = append(rows, early...)
	}
	byID := make(map[int64]*row, len(rows))
	for _, found := range rows {
		r, err := scan(found)
		if err != nil {
			return nil, err
		}
		byID[r.id] = r
	}
	out := make([]*row, len(in))
	for i, c := range in {
		out[i] = byID[c.id]
		delete(byID, c.id) // brought twice: one run
	}
	return out, nil
}

// ending is how a run has ended.
type ending struct {
	row     *row
	state   State // Waiting: it is tried again at runMS
	runMS   int64
	failed  bool
	result  []byte
	problem string
}

// What has ended is kept for so long, and for Keep if that is more.
const (
	keepArchived = 30 * 24 * time.Hour
	keepRevoked  = 24 * time.Hour
)

// endRows writes ends. It returns the state that each row has then, -1 for one that
// another worker has.
func (t *Tasks) endRows(ctx context.Context, in []ending) ([]State, error) {
	out := make([]State, len(in))
	forgotten := 0
	for i, e := range in {
		out[i] = e.state
		if e.forgotten() {
			forgotten++
		}
	}
	// Most tasks end well and are forgotten: one statement does for all of them.
	forgot, err := t.forgetRows(ctx, in)
	if err != nil || forgot == len(in) {
		return out, err
	}
	err = t.o.SQL.TransactContext(ctx, func(_ context.Context, tx *store.Tx) (err error) {
		for i, e := range in {
			if e.forgotten() && forgot == forgotten {
				continue
			}
			if out[i], err = t.endRow(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// forgotten: of a task that is done and not kept nothing stays.
func (e *ending) forgotten() bool { return e.state == Done && e.row.keepMS == 0 }

// forgetRows deletes those of the forgotten that are there as they should be, and tells
// how many; which, cannot be told.
func (t *Tasks) forgetRows(ctx context.Context, in []ending) (int, error) {
	var args []any
	for i := range in {
		if in[i].forgotten() {
			args = append(args, in[i].row.id, in[i].row.claim)
		}
	}
	if len(args) == 0 {
		return 0, nil
	}
	text, args := pairs(forgetTexts, args, 0)
	result, err := t.o.SQL.ExecContext(ctx, text, args...)
	return int(result.RowsAffected), err
}

// The statements for so many rows, each with its claim.
var (
	forgetTexts  = pairTexts(forgetSome)
	putBackTexts = pairTexts(putBackSome)
)

func pairTexts(statement string) map[int]string {
	texts := make(map[int]string)
	for size := 1; size <= 4*maxBatch; size *= 4 {
		text := []byte(statement)
		for i := range size {
			if i > 0 {
				text = append(text, ` OR `...)
			}
			text = append(text, `id = ? AND claim = ?`...)
		}
		texts[size] = string(append(text, ')'))
	}
	return texts
}

// pairs is the statement for the pairs that args has after others, and its arguments.
func pairs(texts map[int]string, args []any, others int) (string, []any) {
	size := 1
	for size < (len(args)-others)/2 {
		size *= 4
	}
	for len(args) < others+2*size {
		args = append(args, args[others], args[others+1])
	}
	return texts[size], args
}

// endRow writes one end.
func (t *Tasks) endRow(tx *store.Tx, e ending) (State, error) {
	now := t.o.Clock()
	r := e.row
	keep := time.Duration(r.keepMS) * time.Millisecond
	ended, failed := now.UnixMilli(), int64(0)
	look := now.Add(max(keep, keepArchived)).UnixMilli()
	switch e.state {
	case Waiting:
		ended, look = 0, e.runMS+t.handGrace()
	case Done:
		look = now.Add(keep).UnixMilli()
	}
	if e.failed {
		failed = 1
	}
	result, err := tx.Exec(endOne, int64(e.state), max(e.runMS, r.runMS), look, ended, failed, e.result, []byte(e.problem), r.id, r.claim)
	if err != nil || result.RowsAffected == 1 {
		return e.state, err
	}
	result, err = tx.Exec(endRevoked, now.Add(max(keep, keepRevoked)).UnixMilli(), now.UnixMilli(), failed, []byte(e.problem), r.id, r.claim)
	if err != nil || result.RowsAffected == 1 {
		return Revoked, err
	}
	if e.forgotten() {
		return e.state, nil // forgetRows has deleted it, or another worker has it
	}
	return -1, nil
}

// finish writes the end of a run, however long SQL is away: until another worker may
// have begun the task anew.
func (t *Tasks) finish(r *run, e ending) {
	r.ending.Store(true)
	for {
		state, err := t.ends.call(t.ctx, e)
		switch {
		case err == nil && state[0] < 0:
			t.o.Log.Warn("a task ended, but another worker has it by now", zap.String("task", string(r.key)), zap.String("name", r.name))
			return
		case err == nil:
			t.ended(r, e, state[0])
			return
		}
		t.o.Log.Debug("the end of a task could not be written; it is tried again", zap.String("task", string(r.key)), zap.Error(err))
		pause := time.NewTimer(500 * time.Millisecond)
		select {
		case <-pause.C:
		case <-t.ctx.Done():
			pause.Stop()
			return // its lease will be over
		}
	}
}

// ended counts and logs what has become of a run, whose row has a state now, and hands
// over what is tried again.
func (t *Tasks) ended(r *run, e ending, state State) {
	revoked := state == Revoked || r.fateIs(errRevoked)
	if state == Done && !revoked {
		t.counts.done.Add(1)
		t.statsOf(r.name).done.Add(1)
		return
	}
	log := t.o.Log.With(zap.String("task", string(r.key)), zap.String("name", r.name), zap.Int64("attempt", e.row.attempts))
	switch {
	case revoked:
		t.countRevoked(r.name)
		log.Info("task revoked while it ran")
	case state == Archived:
		t.counts.failed.Add(1)
		t.countArchived(r.name)
		log.Error("task given up: it is kept in the archive", zap.String("error", e.problem))
	default:
		t.counts.failed.Add(1)
		t.statsOf(r.name).failed.Add(1)
		log.Warn("task failed; it is tried again", zap.String("error", e.problem), zap.Duration("again_in", time.Duration(e.runMS-t.o.Clock().UnixMilli())*time.Millisecond))
		t.carrier.hand(delivery{id: r.id, queue: e.row.queue, runMS: e.runMS})
	}
}

// putBackTime bounds putBack, and how long Redis may take then: the process wants to end.
const putBackTime = time.Second

// putBack makes the rows of runs that were told to stop wait again, as if they had not
// begun, and hands them over.
func (t *Tasks) putBack(runs []*run) {
	ctx, cancel := context.WithTimeout(t.ctx, putBackTime)
	defer cancel()
	for some := range slices.Chunk(runs, maxBatch) {
		now := t.o.Clock().UnixMilli()
		args := []any{now, now + t.handGrace()}
		for _, r := range some {
			args = append(args, r.id, r.claim)
		}
		text, args := pairs(putBackTexts, args, 2)
		_, err := t.o.SQL.ExecContext(ctx, text, args...)
		for _, r := range some {
			if err != nil {
				t.o.Log.Warn("a task could not be handed back; it is begun again when its lease is over", zap.String("task", string(r.key)), zap.String("name", r.name), zap.Error(err))
				continue
			}
			t.carrier.push(delivery{id: r.id, queue: r.queue, runMS: now})
		}
	}
}
