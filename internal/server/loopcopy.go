package server

import (
	"context"
	"sync"
	"time"

	"gameserverd/internal/conn"
	"gameserverd/internal/loop"
	"gameserverd/internal/rpc"
)

// loopNumbers is what one loop has counted, all of one moment.
type loopNumbers struct {
	conns conn.Stats
	loop  loop.Stats
	hub   rpc.HubStats

	players int // in memory
}

// loopCopy brings a loop's numbers to where they are summed. The loop writes one
// copy while another is read; a third changes hands between them. So neither waits
// for the other, and who asks a loop that a callback holds has what it last said.
type loopCopy struct {
	// immutable after New
	loop *loop.Loop
	copy func(into *loopNumbers) // loop only

	// loop only
	back *loopNumbers

	// one goroutine at a time, which collects
	front *loopNumbers

	mu    sync.Mutex    // guards what follows
	ready *loopNumbers  // the newest, or memory
	fresh bool          // ready is newer than front
	asked chan struct{} // closed when the loop has answered; nil: nothing was asked, or it has
}

func newLoopCopy(l *loop.Loop, copy func(into *loopNumbers)) *loopCopy {
	return &loopCopy{loop: l, copy: copy, back: new(loopNumbers), ready: new(loopNumbers), front: new(loopNumbers)}
}

// ask has the loop copy its numbers, unless it was asked and has not answered.
// answered is closed when it has; nil: it never will.
func (c *loopCopy) ask() (answered <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked != nil {
		return c.asked
	}
	answer := make(chan struct{})
	// Not counted in Pending: a drain does not wait for it.
	if !c.loop.SpawnCallback(c.tell) {
		return nil
	}
	c.asked = answer
	return answer
}

// tell answers. Loop only.
func (c *loopCopy) tell() {
	c.copy(c.back)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.back, c.ready, c.fresh = c.ready, c.back, true
	close(c.asked)
	c.asked = nil
}

// newest is the last answer, all 0 if there was none: the collector's until it asks
// again.
func (c *loopCopy) newest() *loopNumbers {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fresh {
		c.front, c.ready, c.fresh = c.ready, c.front, false
	}
	return c.front
}

// askLoops asks all loops and waits until they have answered, for wait at most or
// until ctx ends. It returns how many have not.
func askLoops(ctx context.Context, loops []*loopCopy, wait time.Duration) (held int) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answers := make([]<-chan struct{}, len(loops))
	for i, c := range loops {
		answers[i] = c.ask()
	}
	for _, answered := range answers {
		if answered == nil {
			continue
		}
		select {
		case <-answered:
		case <-ctx.Done():
			held++
		}
	}
	return held
}
