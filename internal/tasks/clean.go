package tasks

import (
	"slices"
	"time"
)

// keepTicks is how long the ticks of schedules are remembered, the newest of each for
// ever: by it a tick that was missed is told from a schedule that is new.
const keepTicks = 14 * 24 * time.Hour

// Statements of clean. Those that select find a step by an index; those that delete do it
// by the primary key: with the + 0 no other index fits, which MariaDB would take now and
// then and read all that is over.
const (
	selectEnded = `SELECT id FROM tasks WHERE state = ? AND look_ms <= ? ORDER BY look_ms LIMIT 500` // tasks_look
	deleteEnded = `DELETE FROM tasks WHERE state + 0 >= 2 AND look_ms <= ? AND id IN (`
	selectKeys  = `SELECT unique_key FROM tasks_keys WHERE until_ms <= ? ORDER BY until_ms LIMIT 500` // tasks_keys_until
	deleteKeys  = `DELETE FROM tasks_keys WHERE until_ms + 0 <= ? AND unique_key IN (`
	// selectNewestTick walks backwards through the schedules that have ticks: one row.
	selectNewestTick = `SELECT schedule, tick_ms FROM tasks_ticks WHERE schedule < ? ORDER BY schedule DESC, tick_ms DESC LIMIT 1` // primary key
	selectOldTicks   = `SELECT tick_ms FROM tasks_ticks WHERE schedule = ? AND tick_ms <= ? ORDER BY tick_ms LIMIT 500`            // primary key
	deleteTicks      = `DELETE FROM tasks_ticks WHERE schedule = ? AND tick_ms IN (`
)

// afterNames comes after the name of every schedule.
const afterNames = "\U0010FFFF"

// clean deletes what has ended and was kept for long enough, and what is remembered of
// keys and ticks for no longer: one step of each, because others wait for the reconciler.
// more tells that there may be more.
func (t *Tasks) clean(now time.Time) (more bool, err error) {
	ms := now.UnixMilli()
	for _, state := range []State{Done, Archived, Revoked} {
		some, err := t.deleteOver(selectEnded, []any{int64(state), ms}, deleteEnded, ms)
		if err != nil {
			return false, err
		}
		more = more || some
	}
	some, err := t.deleteOver(selectKeys, []any{ms}, deleteKeys, ms)
	if err != nil {
		return false, err
	}
	ticks, err := t.cleanTicks(now.Add(-max(keepTicks, 2*t.o.CatchUp)).UnixMilli())
	return more || some || ticks, err
}

// cleanTicks deletes ticks until before, also of schedules that are not there any more.
func (t *Tasks) cleanTicks(before int64) (more bool, err error) {
	name := afterNames
	for {
		found, err := t.o.SQL.FetchOneContext(t.ctx, selectNewestTick, name)
		if err != nil || found.None() {
			return more, err
		}
		var newest int64
		if err := found.Scan(&name, &newest); err != nil {
			return false, err
		}
		some, err := t.deleteOver(selectOldTicks, []any{name, min(before, newest-1)}, deleteTicks, name)
		if err != nil {
			return false, err
		}
		more = more || some
	}
}

// deleteOver deletes the rows whose keys find finds, at most maxBatch in one transaction.
// only is what deletes takes before the keys.
func (t *Tasks) deleteOver(find string, args []any, deletes string, only any) (more bool, err error) {
	rows, err := t.o.SQL.FetchAllContext(t.ctx, find, args...)
	if err != nil {
		return false, err
	}
	for some := range slices.Chunk(rows, maxBatch) {
		keys := make([]any, 1+len(some), 1+4*len(some))
		keys[0] = only
		for i, row := range some {
			if err := row.Scan(&keys[1+i]); err != nil {
				return false, err
			}
		}
		text, size := marks(len(some))
		if _, err := t.o.SQL.ExecContext(t.ctx, deletes+text+`)`, fill(keys, 1, size)...); err != nil {
			return false, err
		}
	}
	return len(rows) == lookStep, nil
}
