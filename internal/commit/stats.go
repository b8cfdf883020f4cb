package commit

import (
	"sync/atomic"
	"time"

	"gameserverd/internal/histogram"
)

// Stats is what a Group has done since New.
type Stats struct {
	Batches    int64         // transactions that committed
	Changes    int64         // stored
	Rows       int64         // of these
	Retries    int64         // transactions that were rolled back or lost, and tried again
	Splits     int64         // batches halved to find the change that fails
	LostRaces  int64         // changes that failed with ErrLostRace
	Resolved   int64         // COMMITs without an answer whose outcome was found by reading
	Abandoned  int64         // changes that ended with ErrAbandoned
	LastCommit time.Duration // what the last batch took, from its begin to the answer to its COMMIT
	Waiting    int           // changes that have not ended, those of the batch under way included

	Time      histogram.Histogram // what batches took, as LastCommit, looking up an unknown outcome included; nanoseconds, on histogram.Durations
	BatchRows histogram.Histogram // how many rows batches had, on histogram.Sizes
}

type counts struct {
	batches, changes, rows, retries, splits, lostRaces, resolved, abandoned, lastCommit atomic.Int64

	time, batchRows histogram.Shared
}

// Stats returns the counts. They are not all of one moment. Any goroutine.
func (g *Group) Stats() Stats {
	g.mu.Lock()
	waits := g.queue.length
	g.mu.Unlock()
	n := &g.counts
	return Stats{
		Batches: n.batches.Load(), Changes: n.changes.Load(), Rows: n.rows.Load(), Retries: n.retries.Load(), Splits: n.splits.Load(),
		LostRaces: n.lostRaces.Load(), Resolved: n.resolved.Load(), Abandoned: n.abandoned.Load(),
		LastCommit: time.Duration(n.lastCommit.Load()), Waiting: waits,
		Time: n.time.Snapshot(), BatchRows: n.batchRows.Snapshot(),
	}
}
