package server

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap/zapcore"

	"gameserverd/internal/conn"
	"gameserverd/internal/metrics"
	"gameserverd/internal/store"
	"gameserverd/internal/tasks"
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
	queues   []string // that tasks are taken from, sorted
	depths   *depths

	// any goroutine
	lines lineCounts
}

// makeMetrics makes what collects. After everything that it asks.
func (s *Server) makeMetrics() {
	n := &s.numbers
	for i, l := range s.loops {
		n.loops = append(n.loops, newLoopCopy(l, func(into *loopNumbers) { s.copyLoop(i, into) }))
	}
	n.queues = slices.Sorted(maps.Keys(weights(s.cfg.Worker.Queues)))
	n.depths = &depths{ask: s.tasks.Depths, up: func() bool { up, _, _ := s.stores.redisUp.State(); return up }}
	n.collect = metrics.Share(s.collectAll, collectEvery)
	n.registry = metrics.NewRegistry(n.collect)
}

// copyLoop copies what loop i has counted. Loop only.
func (s *Server) copyLoop(i int, into *loopNumbers) {
	into.conns = s.sets[i].Stats()
}

// collectAll is a metrics.Collect: everything that is measured now. Any goroutine,
// one at a time.
func (s *Server) collectAll(ctx context.Context, b *metrics.Batch) {
	askLoops(ctx, s.numbers.loops, collectTime)
	s.addProcess(b)
	s.addCalls(b)
	s.addLoops(b)
	s.addConnections(b)
	s.addMemory(b)
	s.addStores(b)
	s.addCommits(b)
	s.addTasks(ctx, b)
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

func (s *Server) addCalls(b *metrics.Batch) {
	c := &s.peers.Counters
	b.Set(metrics.Underway, float64(s.peers.Underway()))
	b.Set(metrics.Stray, float64(c.StrayResponses.Load()))
	b.Set(metrics.Panics, float64(c.Panics.Load()))
	b.Set(metrics.FailedNotes, float64(c.FailedNotifications.Load()))
	b.Set(metrics.MailboxFull, float64(c.MailboxFull.Load()))
	b.Set(metrics.OverRate, float64(c.OverRate.Load()), "request")
	b.Set(metrics.OverRate, float64(c.OverRateDropped.Load()), "notification")
	b.Set(metrics.OverRate, float64(s.gate.Counters.Logins.Load()), "login")
}

func (s *Server) addLoops(b *metrics.Batch) {
	for i, l := range s.loops {
		index := strconv.Itoa(i)
		b.Set(metrics.LoopConns, float64(s.sets[i].Len()), index)
		b.Set(metrics.LoopCallbacks, float64(l.Pending()), index)
	}
}

func (s *Server) addConnections(b *metrics.Batch) {
	var in, out, gone uint64
	for _, c := range s.numbers.loops {
		n := &c.newest().conns
		in, out = in+n.BytesIn, out+n.BytesOut
		gone += n.Closed[conn.PeerClosed] + n.Closed[conn.Reset] + n.Closed[conn.Timeout] + n.Closed[conn.Broken]
	}
	b.Set(metrics.ConnectionMax, float64(s.maxConnections.Load()))
	b.Set(metrics.Online, float64(s.peers.Online()))
	accepted := s.accept.Stats()
	b.Set(metrics.Accepted, float64(accepted.Accepted))
	below := s.transport.Counters()
	for _, why := range slices.Sorted(maps.Keys(below.Ended)) { // so that a page finds each where it was
		b.Set(metrics.Refused, float64(below.Ended[why]), why)
	}
	b.Set(metrics.Refused, float64(accepted.Refused), "crowd")
	closed := s.peers.Counters.Closed()
	for _, code := range slices.Sorted(maps.Keys(closed)) {
		b.Set(metrics.Closed, float64(closed[code]), code)
	}
	b.Set(metrics.Closed, float64(gone), "gone")
	b.Set(metrics.Handshakes, float64(below.Handshakes))
	b.Set(metrics.Received, float64(in))
	b.Set(metrics.Sent, float64(out))
}

// addMemory adds what clients' bytes take, and who was shed for want of it.
func (s *Server) addMemory(b *metrics.Batch) {
	b.Set(metrics.WaitingBytes, float64(s.budget.Used()))
	b.Set(metrics.WaitingMax, float64(s.budget.Limit()))
	b.Set(metrics.InputBytes, float64(s.input.Used()))
	b.Set(metrics.InputMax, float64(s.input.Limit()))
	c := &s.peers.Counters
	b.Set(metrics.Shed, float64(c.ShedNew.Load()), "new")
	b.Set(metrics.Shed, float64(c.ShedStrangers.Load()), "stranger")
	b.Set(metrics.Shed, float64(c.ShedInput.Load()), "input")
	b.Set(metrics.Shed, float64(s.pressure.shed.Load()), "output")
}

func (s *Server) addStores(b *metrics.Batch) {
	for _, of := range []struct {
		name   string
		health *store.Health
	}{{"sql", s.stores.sqlUp}, {"redis", s.stores.redisUp}} {
		up, _, _ := of.health.State()
		b.Set(metrics.StoreUp, yes(up), of.name)
	}
}

func (s *Server) addCommits(b *metrics.Batch) {
	n := s.stores.group.Stats()
	b.Set(metrics.Commits, float64(n.Batches))
	b.Set(metrics.CommitWait, float64(n.Waiting))
	b.Set(metrics.CommitMax, float64(s.cfg.Store.Queue))
	b.Set(metrics.Changes, float64(n.Changes), "stored")
	b.Set(metrics.Changes, float64(n.LostRaces), "lost_race")
	b.Set(metrics.Changes, float64(n.Abandoned), "abandoned")
	b.Set(metrics.CommitAgain, float64(n.Retries))
}

func (s *Server) addTasks(ctx context.Context, b *metrics.Batch) {
	known, ok := s.numbers.depths.get(ctx)
	for _, queue := range s.numbers.queues {
		if !ok {
			break // Redis does not say
		}
		d := tasks.Depth{Queue: queue} // a queue that Redis has never heard of is empty
		for _, k := range known {
			if k.Queue == queue {
				d = k
			}
		}
		b.Set(metrics.QueueDepth, float64(d.Waits), d.Queue, "waiting")
		b.Set(metrics.QueueDepth, float64(d.Active), d.Queue, "active")
		b.Set(metrics.QueueDepth, float64(d.Later), d.Queue, "later")
		b.Set(metrics.QueueOldest, d.Oldest.Seconds(), d.Queue)
	}
}
