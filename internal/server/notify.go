package server

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/loop"
	"gameserverd/internal/systemd"
)

const (
	// statusEvery is how often the status line is looked at; it is sent when it
	// has changed.
	statusEvery = 2 * time.Second
	// startMargin is what a start may take beside store.start_timeout, and
	// stopMargin what an end may take beside shutdown.deadline, before systemd
	// counts the daemon as hung.
	startMargin = 5 * time.Minute
	stopMargin  = 15 * time.Second
)

// announcer tells systemd how the daemon is. Without systemd it does nothing. Any
// goroutine.
type announcer struct {
	// immutable after New
	s *Server
	n *systemd.Notifier // nil: no systemd

	mu     sync.Mutex // held while something is sent, so that no older state comes after a newer one
	state  int32      // what systemd was told last: starting, serving, draining
	status string     // likewise
	ends   time.Time  // when the drain is cut
}

// start begins to announce: the start, the status, and that every loop turns. The
// returned function ends that.
func (a *announcer) start() (end func()) {
	if a.n == nil {
		return func() {}
	}
	a.n.Extend(a.s.cfg.Store.StartTimeout + startMargin)
	a.say()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	p := newPulse(a.s.loops, a.s.log)
	running.Go(func() { a.n.Watchdog(ctx, p.alive) })
	running.Go(func() { a.sayAgain(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

func (a *announcer) sayAgain(ctx context.Context) {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.say()
		}
	}
}

// say sends the status if it has changed.
func (a *announcer) say() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if line := a.line(); line != a.status {
		a.status = line
		a.n.Status(line)
	}
}

// line is the status. Under mu.
func (a *announcer) line() string {
	switch a.state {
	case starting:
		return "starting"
	case serving:
		if a.s.o.Worker {
			return fmt.Sprintf("working: tasks running %d, done %d", a.s.tasks.Running(), a.s.tasks.Counters().Done)
		}
		return fmt.Sprintf("serving: connections %d, players online %d", a.s.peers.Connections(), a.s.peers.Online())
	}
	left := max(time.Until(a.ends), 0).Round(time.Second)
	if a.s.o.Worker {
		return fmt.Sprintf("draining: tasks running %d, cut in %v", a.s.tasks.Running(), left)
	}
	return fmt.Sprintf("draining: connections %d, calls %d, cut in %v", a.s.peers.Connections(), a.s.peers.Underway(), left)
}

// serves says that the daemon serves.
func (a *announcer) serves() { a.ready(starting) }

// ready sends READY, unless the daemon is not in the state from any more.
func (a *announcer) ready(from int32) {
	if a.n == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state != from {
		return
	}
	a.state = serving
	a.status = a.line()
	a.n.Ready(a.status)
}

// reloading says that a reload begins; the returned function, that it has ended,
// however it did. Before the daemon serves, and while it drains, systemd hears
// nothing of it: READY would be taken for the end of something else.
func (a *announcer) reloading() (done func()) {
	if a.n == nil {
		return func() {}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state != serving {
		return func() {}
	}
	a.n.Reloading()
	return func() { a.ready(serving) }
}

// stopping says that the daemon drains, for deadline at most.
func (a *announcer) stopping(deadline time.Duration) {
	if a.n == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state, a.ends = draining, time.Now().Add(deadline)
	a.status = a.line()
	a.n.Stopping(a.status)
	a.n.Extend(deadline + stopMargin)
}

// pulse tells whether every loop turns. One goroutine, but for what it hands to
// the loops.
type pulse struct {
	log   *zap.Logger
	beats []*beat
}

type beat struct {
	loop *loop.Loop
	owed atomic.Bool // the loop was asked, and has not answered
}

// newPulse asks the loops for their first sign of life; they need not run yet.
func newPulse(loops []*loop.Loop, log *zap.Logger) *pulse {
	p := &pulse{log: log}
	for _, l := range loops {
		b := &beat{loop: l}
		p.beats = append(p.beats, b)
		b.ask()
	}
	return p
}

func (b *beat) ask() {
	b.owed.Store(true)
	b.loop.SpawnCallback(func() { b.owed.Store(false) })
}

// alive tells whether every loop has turned since the last call, and asks again.
// A loop that has not answered is not asked twice: the question waits in it.
func (p *pulse) alive() bool {
	all := true
	for _, b := range p.beats {
		if b.owed.Load() {
			p.log.Error("a loop does not turn: the watchdog is not fed", zap.String("loop", b.loop.Name()))
			all = false
			continue
		}
		b.ask()
	}
	return all
}
