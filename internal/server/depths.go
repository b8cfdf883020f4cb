package server

import (
	"context"
	"sync"
	"time"

	"gameserverd/internal/tasks"
)

// depths is how much waits in the queues of Redis, as it was last told. Asking is
// some commands for each queue, which a Redis that is away holds up: who collects
// waits depthTime for it, and nobody asks twice at once.
type depths struct {
	// immutable after New
	ask func() []tasks.Depth // nothing of a queue that Redis has never heard of, or when it does not answer
	up  func() bool          // Redis answers

	mu    sync.Mutex // guards what follows
	last  []tasks.Depth
	at    time.Time     // when Redis answered last
	under chan struct{} // closed when an answer has come; nil: nobody asks
}

// depthsFor is how long an answer is shown while no other comes: a queue that
// nobody can look into has no depth.
const depthsFor = 10 * time.Second

// get asks, and returns the newest answer, which is not to be changed; ok is false
// when there is none. Any goroutine.
func (d *depths) get(ctx context.Context) (list []tasks.Depth, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, depthTime)
	defer cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.under == nil {
		d.under = make(chan struct{})
		go d.run()
	}
	over := d.under
	d.mu.Unlock()
	select {
	case <-over:
	case <-ctx.Done():
	}
	d.mu.Lock()
	return d.last, time.Since(d.at) <= depthsFor
}

func (d *depths) run() {
	list := d.ask()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(list) > 0 || d.up() {
		d.last, d.at = list, time.Now()
	}
	close(d.under)
	d.under = nil
}
