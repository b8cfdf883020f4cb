package server

import (
	"context"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/conn"
	"gameserverd/internal/loop"
	"gameserverd/internal/rpc"
)

// drain is the one way the daemon stops. Producers stop before their consumers:
//
//  1. readiness turns false, and systemd is told
//  2. the listeners stop accepting
//  3. sessions get sys.closing, spread with jitter
//  4. what was read whole is answered, new requests get unavailable
//  5. stop hooks: there is nothing that is not written yet
//  6. tasks: none is begun from step 2 on; those that run may end, the rest is handed back
//  7. callbacks and futures drain until none is left or shutdown.deadline passes
//  8. write buffers flush, connections close with FIN
//  9. stores close, and spans that wait are sent
//  10. loops stop
//  11. the admin server closes
//  12. the socket of gameserverd ctl closes, where all of this can be watched
//
// Steps 3, 4 and 8 are one wait here: the hubs close each session when it is
// done; a change that waits for its commit is a call that is under way. Steps 10
// to 12 are what Run defers.
func (s *Server) drain(why string) Report {
	began := time.Now()
	s.endReloads()
	deadline := s.config().Shutdown.Deadline
	s.control.drain.Store(&drainBegun{why: why, at: began, deadline: deadline})
	s.log.Info("draining", zap.String("why", why), zap.Int("connections", s.peers.Connections()),
		zap.Int("calls", s.peers.Underway()), zap.Duration("deadline", deadline))
	ctx, cancel := context.WithDeadline(context.Background(), began.Add(deadline))
	defer cancel()
	s.announce.stopping(deadline)
	report := Report{Clean: true, Deadline: deadline}
	stopped := s.accept.StopListening()
	go s.tasks.Stop()
	// Not after a wait for it: a callback that holds the first loop, where the
	// listeners are, would leave the players of the others without a goodbye.
	s.peers.Drain(drainTimes(deadline, s.peers.Connections()))
	_, late := stopped.Wait(ctx)
	quiet := s.peers.Quiet(ctx)
	s.drainTasks(ctx, began.Add(deadline-deadline/10))
	if late != nil || quiet != nil || s.pool.Drain(ctx) != nil || settle(ctx, s.loops) != nil {
		left := s.cut()
		report.Clean, report.Abandoned = left.None(), left.Calls
	}
	s.closeStores(ctx)
	s.closeTracer()
	report.Took = time.Since(began)
	s.control.report.Store(&report)
	s.log.Info("drained", zap.Bool("clean", report.Clean), zap.Int("abandoned", len(report.Abandoned)),
		zap.Duration("took", report.Took), zap.Stringer("counters", &s.peers.Counters))
	return report
}

// drainTimes spreads the goodbyes by how many there are, over a fifth of the
// deadline at most, and leaves a session a tenth of it to end what it has sent.
func drainTimes(deadline time.Duration, connections int) rpc.Drain {
	const each = 100 * time.Microsecond
	return rpc.Drain{
		Spread: min(time.Duration(connections)*each, deadline/5),
		Grace:  min(500*time.Millisecond, deadline/10),
	}
}

// cutTime is how long a loop may take to tell what it has not done.
const cutTime = 250 * time.Millisecond

// maxNamed bounds the lines that cut logs: what a client has stuffed the server
// with must not make its end take long.
const maxNamed = 10_000

// cut ends what the deadline did not wait for, and logs each call by name.
func (s *Server) cut() rpc.Leftover {
	ctx, cancel := context.WithTimeout(context.Background(), cutTime)
	defer cancel()
	left := s.peers.Leftover(ctx)
	for _, c := range left.Calls[:min(len(left.Calls), maxNamed)] {
		keys := []zap.Field{zap.String("method", c.Method), zap.Uint64("uid", c.UID), zap.Duration("age", c.Age)}
		if c.Trace != "" {
			keys = append(keys, zap.String("trace", c.Trace))
		}
		s.log.Warn("call abandoned", keys...)
	}
	if more := len(left.Calls) - maxNamed; more > 0 {
		s.log.Warn("more calls abandoned", zap.Int("calls", more))
	}
	if left.Stuck > 0 {
		s.log.Error("loops do not answer: a callback holds them", zap.Int("loops", left.Stuck))
	}
	if left.Unflushed > 0 {
		s.log.Warn("connections closed with bytes unsent", zap.Int("connections", left.Unflushed))
	}
	for i, l := range s.loops {
		l.AddCallback(func() { s.sets[i].CloseAll(conn.Local) })
	}
	return left
}

// settleStep is how often settle looks again.
const settleStep = 5 * time.Millisecond

// settle waits until the loops have no callbacks and futures left.
func settle(ctx context.Context, loops []*loop.Loop) error {
	for {
		left := 0
		for _, l := range loops {
			left += l.Pending()
		}
		if left == 0 {
			return nil
		}
		for _, l := range loops {
			turned := make(chan struct{})
			look := func() { l.CallLater(settleStep, func() { close(turned) }) }
			if !l.SpawnCallback(look) {
				continue
			}
			select {
			case <-turned:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}
