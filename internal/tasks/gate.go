package tasks

import (
	"slices"
	"sync"
	"time"
)

// asynq asks Redis again and again whether there is work. In the Redis of this process
// that costs more than all else when nobody plays, so asynq's questions wait here until
// there is a reason: somebody has put something into a queue, here or, as the bus says,
// in another process. The net is for what was not told.
const (
	netAlone  = 5 * time.Second // nobody else can put anything there
	netOthers = time.Second
	// asynqRests is how long asynq sleeps when all queues were empty, from half of it to
	// one and a half: so much later a task may begin that comes then.
	asynqRests = 10 * time.Millisecond
	// failRests is how long it rests after an error; it would ask at once.
	failRests = 200 * time.Millisecond
	// laterNet is the net for what is due later.
	laterNet = time.Minute
)

// gate is where asynq's questions for work wait. Any goroutine.
type gate struct {
	// immutable after newGate
	net     time.Duration
	alone   bool          // nobody but this process uses this Redis
	queues  []string      // that asynq asks for
	wake    chan struct{} // one value when somebody who waits is to look
	stopped chan struct{} // closed by stop

	mu    sync.Mutex           // guards what follows
	maybe map[string]bool      // queues that may have something
	rest  time.Time            // nobody asks before
	due   map[string]time.Time // when something of the key may be due; a key that is missing may have anything
	over  bool
}

// newGate makes the gate of a process that runs tasks of queues, by their weights.
func newGate(queues map[string]int, alone bool) *gate {
	g := &gate{
		net: netOthers, alone: alone, wake: make(chan struct{}, 1), stopped: make(chan struct{}),
		maybe: make(map[string]bool), due: make(map[string]time.Time),
	}
	if alone {
		g.net = netAlone
	}
	for queue, weight := range queues {
		if weight > 0 { // nobody would ever ask for it, and find that it has nothing
			g.queues = append(g.queues, queue)
		}
	}
	g.mayAll()
	return g
}

// may says that a queue may have something.
func (g *gate) may(queue string) {
	g.mu.Lock()
	ours := slices.Contains(g.queues, queue)
	if ours {
		g.maybe[queue] = true
	}
	g.mu.Unlock()
	if ours {
		g.signal()
	}
}

func (g *gate) mayAll() {
	g.mu.Lock()
	for _, queue := range g.queues {
		g.maybe[queue] = true
	}
	g.mu.Unlock()
	g.signal()
}

func (g *gate) signal() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// enter waits until some queue may have something, and reports whether it is this one;
// asynq asks for one queue after the other, always on the same goroutine.
func (g *gate) enter(queue string) bool {
	var net *time.Timer
	for {
		g.mu.Lock()
		rest := time.Until(g.rest)
		mine, some := g.maybe[queue], len(g.maybe) > 0
		if mine && rest <= 0 {
			delete(g.maybe, queue)
		}
		over := g.over
		g.mu.Unlock()
		switch {
		case over:
			return false
		case rest <= 0 && some:
			return mine
		case rest > 0:
			g.pause(rest)
			continue
		}
		if net == nil {
			net = time.NewTimer(g.net)
			defer net.Stop()
		}
		select {
		case <-g.wake:
		case <-net.C:
			g.mayAll()
		case <-g.stopped:
			return false
		}
	}
}

func (g *gate) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.stopped:
	}
}

// failed says that Redis has not answered for a queue.
func (g *gate) failed(queue string) {
	g.mu.Lock()
	g.rest = time.Now().Add(failRests)
	g.mu.Unlock()
	g.may(queue)
}

// nothingDue reports whether nothing of a key of what is to run later is due, as far as
// this process can know: only if it is alone.
func (g *gate) nothingDue(key string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	due, known := g.due[key]
	return g.alone && known && now.Before(due)
}

// nextDue sets when the first of a key is due.
func (g *gate) nextDue(key string, at time.Time) {
	g.mu.Lock()
	g.due[key] = at
	g.mu.Unlock()
}

// dueSooner is nextDue, unless something was put there since, or another is due before.
func (g *gate) dueSooner(key string, at time.Time) {
	g.mu.Lock()
	if due, known := g.due[key]; known && at.Before(due) {
		g.due[key] = at
	}
	g.mu.Unlock()
}

// changed says that something was put under a key of what is to run later.
func (g *gate) changed(key string) {
	g.mu.Lock()
	delete(g.due, key)
	g.mu.Unlock()
}

// stop lets nobody enter any more.
func (g *gate) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.over {
		g.over = true
		close(g.stopped)
	}
}
