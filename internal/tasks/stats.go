package tasks

import (
	"sync/atomic"

	"gameserverd/internal/histogram"
)

// Stats are what this process has done since New, for each task.
type Stats struct {
	Running int         // runs now
	Strays  int         // functions that run now though their runs were given up: they do not heed their context
	Tasks   []TaskStats // in the order of Definitions; last, "unknown": those that this version does not know, and messages in Redis that cannot be told to be of any
}

// TaskStats are of one task. Runs are by how they have ended: Failed ones are tried
// again, Archived ones were the last.
type TaskStats struct {
	Name                                  string
	Applied                               uint64
	Done, Failed, Archived, Revoked, Lost uint64
	Time                                  histogram.Histogram // of runs, on histogram.Durations
}

// taskCounts are the counts behind TaskStats. Any goroutine.
type taskCounts struct {
	applied, done, failed, archived, revoked, lost atomic.Uint64
	time                                           histogram.Shared
}

// unknownTask is the name under which tasks are counted that have no definition.
const unknownTask = "unknown"

// statsOf finds where a task is counted.
func (t *Tasks) statsOf(name string) *taskCounts {
	if c := t.stats[name]; c != nil {
		return c
	}
	return t.stats[unknownTask]
}

// countArchived counts a task that is in the archive now, for Counters and Stats.
func (t *Tasks) countArchived(name string) {
	t.counts.archived.Add(1)
	t.statsOf(name).archived.Add(1)
}

// countRevoked is the same for one that was revoked.
func (t *Tasks) countRevoked(name string) {
	t.counts.revoked.Add(1)
	t.statsOf(name).revoked.Add(1)
}

func newStats(definitions []*Definition) map[string]*taskCounts {
	stats := map[string]*taskCounts{unknownTask: new(taskCounts)}
	for _, d := range definitions {
		stats[d.Name] = new(taskCounts)
	}
	return stats
}

// Stats copies the counts. They are not all of one moment. Any goroutine.
func (t *Tasks) Stats() Stats {
	s := Stats{Running: t.Running(), Strays: int(t.strays.Load()), Tasks: make([]TaskStats, 0, len(t.stats))}
	add := func(name string) {
		c := t.statsOf(name)
		s.Tasks = append(s.Tasks, TaskStats{
			Name: name, Applied: c.applied.Load(), Done: c.done.Load(), Failed: c.failed.Load(), Archived: c.archived.Load(),
			Revoked: c.revoked.Load(), Lost: c.lost.Load(), Time: c.time.Snapshot(),
		})
	}
	for _, d := range t.o.Definitions {
		add(d.Name)
	}
	add(unknownTask)
	return s
}
