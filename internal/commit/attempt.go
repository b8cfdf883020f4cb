package commit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gameserverd/internal/histogram"
	"gameserverd/internal/store"
)

// attempt tries to store a part of a batch in one transaction:
//
//	begin, this run's mark, the versions of fenced players with their locks, the rows, commit
//
// The mark comes first. So a transaction of this run that still lives in the server, though its connection is lost, is waited for
// before anything is read or written; and a store that takes no writes at all says so before a change can be blamed for it.
//
// Changes are claimed after the last thing that is not about them, so that they can be abandoned for as long as the store does not
// answer. oneByOne is for after the verdict alone.
func (r *runner) attempt(part []*Change, oneByOne bool) (verdict, error) {
	if r.g.ctx.Err() != nil {
		return gaveUp, nil
	}
	ctx, cancel := context.WithTimeout(r.g.ctx, r.g.o.Timeout)
	defer cancel()
	defer func() { clear(r.args[:cap(r.args)]) }() // or it would keep what was abandoned
	r.began = time.Now()
	if err := r.begin(ctx, part); err != nil {
		r.failed(ctx, err)
		return r.againUnlessClosed(), nil
	}
	claimed := claim(part)
	if live := r.checkFences(claimed); live == 0 {
		r.rollback(ctx)
		r.succeeded()
		r.end(claimed)
		return ended, nil
	}
	if err := r.write(ctx, claimed, oneByOne); err != nil {
		return r.notWritten(ctx, claimed, oneByOne, err)
	}
	if err := r.session.Commit(ctx); err != nil {
		if !store.IsRetryable(err) {
			return r.unknown(ctx, claimed, err), nil
		}
		r.failed(ctx, err) // it was refused before it took effect
		r.unclaim(claimed)
		return r.againUnlessClosed(), nil
	}
	r.committed(claimed)
	return ended, nil
}

// committed ends changes whose transaction is known to have committed.
func (r *runner) committed(claimed []*Change) {
	r.succeeded()
	r.lookedUp = false
	r.most = min(r.most+r.most/8+1, r.g.o.BatchRows) // slowly, since what was too much costs Timeout
	took := int64(time.Since(r.began))
	n := &r.g.counts
	n.batches.Add(1)
	n.lastCommit.Store(took)
	n.time.Observe(histogram.Durations, took)
	n.batchRows.Observe(histogram.Sizes, storedRows(claimed))
	r.end(claimed)
}

// storedRows is how many rows of the changes are stored, now that their transaction has committed.
func storedRows(claimed []*Change) (rows int64) {
	for _, c := range claimed {
		if c.outcome.Err == nil {
			rows += int64(len(c.Rows))
		}
	}
	return rows
}

// notWritten decides what follows from an error in a transaction whose COMMIT was not sent: nothing of it is stored.
func (r *runner) notWritten(ctx context.Context, claimed []*Change, oneByOne bool, err error) (verdict, error) {
	switch {
	case store.IsLost(err) || store.IsRetryable(err) || r.g.ctx.Err() != nil:
		if ctx.Err() != nil {
			r.most = max(1, len(claimed)/2) // a store that is too slow for all of them may have time for fewer
		}
		r.failed(ctx, err)
		r.unclaim(claimed)
		return r.againUnlessClosed(), nil
	case store.IsDuplicate(err):
		r.rollback(ctx)
		r.unclaim(claimed)
		if !oneByOne && (len(claimed) > 1 || claimed[0].replaces()) {
			return alone, nil
		}
		return bad, err
	}
	r.rollback(ctx)
	r.unclaim(claimed)
	return bad, fmt.Errorf("commit: the store refuses the change: %w", err)
}

func (r *runner) againUnlessClosed() verdict {
	if r.g.ctx.Err() != nil {
		return gaveUp
	}
	return again
}

// begin opens the transaction: all of it that is not about single changes.
func (r *runner) begin(ctx context.Context, part []*Change) error {
	old := r.session
	s, err := r.open(ctx)
	if err != nil {
		return err
	}
	err = s.Begin(ctx)
	if err != nil && s == old && store.IsLost(err) && ctx.Err() == nil {
		// The server has closed a connection that was not used for a while. That is no news of the store.
		r.discard()
		if s, err = r.open(ctx); err == nil {
			err = s.Begin(ctx)
		}
	}
	if err != nil {
		return err
	}
	r.seq++
	if err := s.Exec(ctx, r.dialect.mark, r.g.writer, r.seq, r.g.o.Clock().UnixMilli()); err != nil {
		return err
	}
	return r.readFences(ctx, s, part)
}

// readFences fills versions with those of the fenced players that are there, and locks their rows.
func (r *runner) readFences(ctx context.Context, s session, part []*Change) error {
	clear(r.versions)
	r.uids = r.uids[:0]
	for _, c := range part {
		if c.Fence != NoFence {
			r.uids = append(r.uids, int64(c.UID))
		}
	}
	if len(r.uids) == 0 {
		return nil
	}
	slices.Sort(r.uids) // two processes that lock the same players do so in the same order
	args := r.args[:0]
	for _, uid := range r.uids {
		args = append(args, uid)
	}
	size := r.dialect.up(len(args))
	for len(args) < size {
		args = append(args, r.uids[0]) // again, so that there are few sizes of statements
	}
	r.args = args
	rows, err := s.FetchAll(ctx, r.dialect.statement(fenceRows, nil, size), args...)
	if err != nil {
		return err
	}
	for _, row := range rows {
		var uid, version int64
		if err := row.Scan(&uid, &version); err != nil {
			return err
		}
		r.versions[uid] = version
	}
	return nil
}

// checkFences sets the outcome of changes by what readFences has found, and returns how many are still to be stored.
func (r *runner) checkFences(claimed []*Change) (live int) {
	for _, c := range claimed {
		version, there := r.versions[int64(c.UID)]
		switch {
		case c.Fence == Hold && (!there || version != c.Version):
			c.outcome = Outcome{Err: ErrLostRace}
		case c.Fence == Take && there:
			c.outcome = Outcome{Version: version + 1}
		case c.Fence == Take:
			c.outcome = Outcome{Missing: true}
		}
		if c.outcome.Err == nil {
			live++
		}
	}
	return live
}
