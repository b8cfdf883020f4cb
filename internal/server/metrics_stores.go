package server

import (
	"context"
	"maps"
	"slices"

	"gameserverd/internal/metrics"
	"gameserverd/internal/store"
	"gameserverd/internal/tasks"
)

func (s *Server) addStores(b *metrics.Batch) {
	for _, of := range []struct {
		name   string
		health *store.Health
		first  *firstWord
		stats  store.Stats
	}{
		{"sql", s.stores.sqlUp, &s.stores.atStart.sql, s.stores.sql.Stats()},
		{"redis", s.stores.redisUp, &s.stores.atStart.redis, s.stores.redis.Stats()},
	} {
		if of.first.asked.Load() { // else nobody knows, and it is not away
			up, _, _ := of.health.State()
			b.Set(metrics.StoreUp, yes(up && of.first.answered.Load()), of.name)
		}
		b.Histogram(metrics.StoreTime, &of.stats.Time, nil, of.name)
		for _, code := range slices.Sorted(maps.Keys(of.stats.Errors)) {
			b.Set(metrics.StoreErrors, float64(of.stats.Errors[code]), of.name, string(code))
		}
		b.Set(metrics.StoreConns, float64(of.stats.Busy), of.name, "busy")
		b.Set(metrics.StoreConns, float64(of.stats.Idle), of.name, "idle")
		b.Set(metrics.StoreWaiting, float64(of.stats.Waiting), of.name)
	}
}

func (s *Server) addCommits(b *metrics.Batch, t *totals) {
	n := s.stores.group.Stats()
	b.Set(metrics.Commits, float64(n.Batches))
	b.Histogram(metrics.CommitTime, &n.Time, nil)
	b.Histogram(metrics.CommitRows, &n.BatchRows, nil)
	b.Set(metrics.CommitWait, float64(n.Waiting))
	b.Set(metrics.CommitMax, float64(s.cfg.Store.Queue))
	b.Set(metrics.Changes, float64(n.Changes), "stored")
	b.Set(metrics.Changes, float64(n.LostRaces), "lost_race")
	b.Set(metrics.Changes, float64(n.Abandoned), "abandoned")
	b.Set(metrics.CommitAgain, float64(n.Retries))
	b.Set(metrics.Players, float64(t.players))
}

func (s *Server) addTasks(ctx context.Context, b *metrics.Batch) {
	all := s.tasks.Stats()
	for i := range all.Tasks {
		t := &all.Tasks[i]
		for _, of := range []struct {
			outcome string
			runs    uint64
		}{{"done", t.Done}, {"failed", t.Failed}, {"archived", t.Archived}, {"revoked", t.Revoked}, {"lost", t.Lost}} {
			b.Set(metrics.TaskRuns, float64(of.runs), t.Name, of.outcome)
		}
		b.Histogram(metrics.TaskTime, &t.Time, nil, t.Name)
		b.Set(metrics.TasksMade, float64(t.Applied), t.Name)
	}
	b.Set(metrics.TasksNow, float64(all.Running))
	b.Set(metrics.TaskStrays, float64(all.Strays))
	s.addQueues(ctx, b)
}

// addQueues adds how much waits, if Redis tells it soon: the next collection has the
// answer if it comes later. What is not known is no number: above all not 0.
func (s *Server) addQueues(ctx context.Context, b *metrics.Batch) {
	ctx, cancel := context.WithTimeout(ctx, depthTime)
	defer cancel()
	known := s.tasks.Depths(ctx)
	for _, queue := range s.numbers.queues {
		i := slices.IndexFunc(known, func(d tasks.Depth) bool { return d.Queue == queue })
		if i < 0 {
			continue
		}
		d := &known[i]
		b.Set(metrics.QueueDepth, float64(d.Waits), d.Queue, "waiting")
		b.Set(metrics.QueueDepth, float64(d.Active), d.Queue, "active")
		b.Set(metrics.QueueDepth, float64(d.Later), d.Queue, "later")
		b.Set(metrics.QueueOldest, d.Oldest.Seconds(), d.Queue)
	}
}
