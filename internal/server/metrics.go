package server

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"time"

	"go.uber.org/zap/zapcore"

	"gameserverd/internal/metrics"
	"gameserverd/internal/rpc"
)

const (
	// collectTime is how long a loop may take to tell its numbers; then its last ones
	// are shown.
	collectTime = time.Second
	// collectEvery is how long one collection is good for.
	collectEvery = 100 * time.Millisecond
)

// numbers is what the daemon is asked for its metrics.
type numbers struct {
	// immutable after New
	collect  metrics.Collect // shared by all who ask
	registry *metrics.Registry
	loops    []*loopCopy
	hubs     []*rpc.Hub
	methods  []string        // in the order of Registry.Methods
	waits    []bool          // by method: it waits for a client
	queues   []string        // that tasks are taken from, sorted
	influx   *metrics.Influx // nil: nothing is pushed

	// one goroutine at a time, which collects
	totals totals

	// any goroutine
	lines lineCounts
}

// makeMetrics makes what collects. After everything that it asks.
func (s *Server) makeMetrics() (err error) {
	n := &s.numbers
	for i, l := range s.loops {
		n.loops = append(n.loops, newLoopCopy(l, func(into *loopNumbers) { s.copyLoop(i, into) }))
	}
	for _, m := range s.registry.Methods() {
		n.methods, n.waits = append(n.methods, m.Name), append(n.waits, m.Waits)
	}
	n.queues = slices.Sorted(maps.Keys(weights(s.cfg.Worker.Queues)))
	n.collect = metrics.Share(s.collectAll, collectEvery)
	n.registry = metrics.NewRegistry(n.collect)
	n.influx, err = newInflux(s.cfg, s.instance(), n.registry, s.log)
	return err
}

// copyLoop copies what loop i has counted. Loop only.
func (s *Server) copyLoop(i int, into *loopNumbers) {
	into.conns, into.loop = s.sets[i].Stats(), s.loops[i].Stats()
	s.numbers.hubs[i].Stats(&into.hub)
	into.players = s.stores.players.Loaded(i)
}

// collectAll is a metrics.Collect: everything that is measured now. Any goroutine,
// one at a time.
func (s *Server) collectAll(ctx context.Context, b *metrics.Batch) {
	n := &s.numbers
	askLoops(ctx, n.loops, collectTime)
	loops := make([]*loopNumbers, len(n.loops))
	for i, c := range n.loops {
		loops[i] = c.newest()
	}
	n.totals.sum(loops)
	s.addProcess(b)
	s.addCalls(b, &n.totals)
	s.addLoops(b, loops)
	s.addConnections(b, &n.totals)
	s.addMemory(b)
	s.addStores(b)
	s.addCommits(b, &n.totals)
	s.addTasks(ctx, b)
	s.addPush(b)
}

func yes(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func (s *Server) addProcess(b *metrics.Batch) {
	b.Set(metrics.BuildInfo, 1, s.o.Version, runtime.Version())
	ready, _ := s.Ready()
	b.Set(metrics.Ready, yes(ready))
	drain, took, limit := s.control.drain.Load(), time.Duration(0), s.config().Shutdown.Deadline
	if drain != nil {
		took, limit = time.Since(drain.at), drain.deadline
		if r := s.control.report.Load(); r != nil {
			took = r.Took
		}
	}
	b.Set(metrics.Draining, yes(drain != nil))
	b.Set(metrics.DrainSeconds, took.Seconds())
	b.Set(metrics.DrainLimit, limit.Seconds())
	end := 0.0
	if c := &s.settings.Load().certificate; c.cert != "" {
		end = float64(c.until.Unix())
	}
	b.Set(metrics.Certificate, end)
	b.Set(metrics.Reloads, float64(s.reloads.done.Load()), "ok")
	b.Set(metrics.Reloads, float64(s.reloads.refused.Load()), "refused")
	if s.console != nil {
		b.Set(metrics.ConsolePages, float64(s.console.Pages()))
	}
	for level := zapcore.DebugLevel; level <= zapcore.ErrorLevel; level++ {
		b.Set(metrics.LogLines, float64(s.numbers.lines.of(level)), level.String())
	}
}
