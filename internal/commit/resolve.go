package commit

import (
	"context"

	"go.uber.org/zap"
)

// unknown deals with a COMMIT that was sent and has no answer, or one that does not say what became of it: nothing is guessed, and
// nothing else is written, until the store has told.
func (r *runner) unknown(ctx context.Context, claimed []*Change, err error) verdict {
	seq := r.seq
	r.failed(ctx, err)
	for r.g.ctx.Err() == nil {
		stored, err := r.resolve(seq)
		if err == nil {
			r.g.counts.resolved.Add(1)
			if stored || !r.lookedUp { // not each time that a full disk refuses the same batch
				r.lookedUp = true
				r.g.o.Log.Info("a commit without an answer was looked up", zap.Bool("stored", stored), zap.Int("changes", len(claimed)))
			}
			if stored {
				r.committed(claimed)
				return ended
			}
			r.unclaim(claimed)
			return again
		}
		r.pause()
	}
	for _, c := range claimed {
		if c.outcome.Err != ErrLostRace { // an ErrDuplicate may be due to a row of this very transaction
			c.outcome = Outcome{Err: ErrUnknown}
		}
	}
	r.g.cut.Store(true)
	r.end(claimed)
	return gaveUp
}

// resolve tells whether the transaction seq committed. Reading this run's mark with its lock waits for that transaction, which has the
// lock from its beginning to its end; if it waits too long, that is an error, and nothing is known yet.
//
// If it committed, it may have done so a moment ago, and the server may crash before that is on its disk: locks are given back before the
// log is flushed. So the mark is changed and that committed as well, which flushes all that was before. If it did not commit,
// nothing can bring it back.
func (r *runner) resolve(seq int64) (stored bool, err error) {
	ctx, cancel := context.WithTimeout(r.g.ctx, r.g.o.Timeout)
	defer cancel()
	defer func() {
		if err != nil {
			r.failed(ctx, err)
		}
	}()
	s, err := r.open(ctx)
	if err != nil {
		return false, err
	}
	if err := s.Begin(ctx); err != nil {
		return false, err
	}
	rows, err := s.FetchAll(ctx, r.dialect.marked, r.g.writer)
	if err != nil {
		return false, err
	}
	found := int64(-1)
	if len(rows) > 0 {
		if err := rows[0].Scan(&found); err != nil {
			return false, err
		}
	}
	if found < seq {
		r.rollback(ctx)
		return false, nil
	}
	if err := s.Exec(ctx, touchWriter, r.g.writer); err != nil {
		return false, err
	}
	if err := s.Commit(ctx); err != nil {
		r.discard()
		return false, err
	}
	return true, nil
}
