package loop

import (
	"context"
	"errors"
	"log"
	"runtime/debug"
	"sync"
	"time"

	"gameserverd/internal/future"
)

// Errors of Unblock's future when the pool did not take the function.
var (
	ErrPoolFull   = errors.New("loop: all workers are busy and the queue is full")
	ErrPoolClosed = errors.New("loop: the worker pool is closed")
)

// idleWorker is how long a worker without work stays.
const idleWorker = time.Second

// Pool runs functions that may block, on at most so many goroutines. They start when there is work and end when there is none for
// a while. It keeps no order between functions.
type Pool struct {
	// OnPanic is called on the worker for a panic of a submitted function; nil: it is logged with package log. Set it before the first
	// Submit. (A panic inside Unblock fails its future and does not come here.)
	OnPanic func(v any, stack []byte)

	// immutable after NewPool
	workers int
	limit   int

	// any goroutine
	mu      sync.Mutex // guards what follows
	queue   []func()   // a ring of `limit`, made by the first function that has to wait
	head    int
	waiting int // in queue
	running int // goroutines, idle ones included
	idle    []*worker
	refused uint64 // not taken since all workers were busy and the queue was full
	closed  bool
	quiet   chan struct{} // closed when nothing is accepted and unfinished; nil: nobody waits for that
}

type worker struct {
	work chan func() // one place, filled by whoever took the worker from Pool.idle; nil ends it
}

// NewPool makes a pool of at most `workers` goroutines (at least one) and a queue of at most `queue` functions that wait for one.
func NewPool(workers, queue int) *Pool {
	return &Pool{workers: max(1, workers), limit: max(0, queue)}
}

// Submit runs fn on a worker, sooner or later. It returns false, and fn never runs, if the pool is closed or all workers are busy
// and the queue is full. It does not block. Any goroutine.
func (p *Pool) Submit(fn func()) bool { return p.submit(fn) == nil }

func (p *Pool) submit(fn func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return ErrPoolClosed
	case len(p.idle) > 0:
		// The last to become idle, so that the others end when this one is enough.
		w := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		w.work <- fn
	case p.running < p.workers:
		p.running++
		go p.run(&worker{work: make(chan func(), 1)}, fn)
	case p.waiting < p.limit:
		if p.queue == nil {
			p.queue = make([]func(), p.limit)
		}
		p.queue[(p.head+p.waiting)%p.limit] = fn
		p.waiting++
	default:
		p.refused++
		return ErrPoolFull
	}
	return nil
}

// PoolStats is what a Pool does now, and what it has refused since it was made.
type PoolStats struct {
	Running int    // functions
	Idle    int    // workers without one
	Waiting int    // functions in the queue
	Refused uint64 // functions, since all workers were busy and the queue was full
}

// Stats returns the counts, all of one moment. Any goroutine.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return PoolStats{Running: p.running - len(p.idle), Idle: len(p.idle), Waiting: p.waiting, Refused: p.refused}
}

// Close makes Submit refuse from now on. What was accepted still runs; see Drain. Any goroutine.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, w := range p.idle {
		w.work <- nil
	}
	p.idle = nil
}

// Drain waits until everything that was accepted has run; more may be accepted meanwhile unless the pool is closed. It returns
// ctx's error if that comes first. Any goroutine but a worker.
func (p *Pool) Drain(ctx context.Context) error {
	p.mu.Lock()
	if p.quietLocked() {
		p.mu.Unlock()
		return nil
	}
	if p.quiet == nil {
		p.quiet = make(chan struct{})
	}
	quiet := p.quiet
	p.mu.Unlock()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Pool) quietLocked() bool { return p.waiting == 0 && p.running == len(p.idle) }

func (p *Pool) run(w *worker, fn func()) {
	defer p.left(w)
	for fn != nil {
		p.call(fn)
		fn = p.nextFor(w)
	}
}

// call runs fn; its panic costs nobody else anything.
func (p *Pool) call(fn func()) {
	defer func() {
		v := recover()
		switch {
		case v == nil:
		case p.OnPanic != nil:
			p.OnPanic(v, debug.Stack())
		default:
			log.Printf("loop: panic on a worker: %v\n%s", v, debug.Stack())
		}
	}()
	fn()
}

// nextFor returns what w runs next, waiting for it as an idle worker; nil: w ends.
func (p *Pool) nextFor(w *worker) func() {
	p.mu.Lock()
	if fn := p.takeLocked(); fn != nil || p.closed {
		p.mu.Unlock()
		return fn
	}
	p.idle = append(p.idle, w)
	p.settleLocked()
	p.mu.Unlock()

	timer := time.NewTimer(idleWorker)
	defer timer.Stop()
	select {
	case fn := <-w.work:
		return fn
	case <-timer.C:
	}
	p.mu.Lock()
	for i, other := range p.idle {
		if other == w {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			p.running-- // here, so that Drain never sees it as neither idle nor gone
			w.work = nil
			break
		}
	}
	p.mu.Unlock()
	if w.work == nil {
		return nil
	}
	return <-w.work // somebody took it just now
}

// takeLocked returns the function that has waited longest, nil if none waits.
func (p *Pool) takeLocked() func() {
	if p.waiting == 0 {
		return nil
	}
	fn := p.queue[p.head]
	p.queue[p.head] = nil
	p.head = (p.head + 1) % p.limit
	p.waiting--
	return fn
}

// settleLocked tells Drain if there is nothing left to do.
func (p *Pool) settleLocked() {
	if p.quiet != nil && p.quietLocked() {
		close(p.quiet)
		p.quiet = nil
	}
}

// left is deferred in a worker: it also comes here when a function has called runtime.Goexit, and then what waits needs another.
func (p *Pool) left(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.work == nil {
		return // idle for too long, and counted out there
	}
	if fn := p.takeLocked(); fn != nil {
		go p.run(&worker{work: make(chan func(), 1)}, fn)
		return
	}
	p.running--
	p.settleLocked()
}

// Unblock runs fn, which may block, on a worker of p, and returns the future of its result: the way from a loop to blocking code
// and back (`unblock` in Tornado's book, run_on_executor). Continue on the loop with Then, Map or AddFuture. The future fails with
// ErrPoolFull or ErrPoolClosed if p did not take fn, and with a *future.PanicError if fn panicked. The result counts in l.Pending
// until it is there. Any goroutine.
func Unblock[T any](l *Loop, p *Pool, fn func() (T, error)) *future.Future[T] {
	f := future.New[T]()
	l.pending.Add(1)
	err := p.submit(func() {
		// Deferred, so that a panic or runtime.Goexit in fn leaves nobody waiting; and the count falls only after the continuations
		// were posted, so that a drain sees one or the other.
		defer l.pending.Add(-1)
		defer f.Fail(errGoexit)
		defer func() {
			if v := recover(); v != nil {
				f.Fail(&future.PanicError{Value: v, Stack: debug.Stack()})
			}
		}()
		if v, err := fn(); err != nil {
			f.Fail(err)
		} else {
			f.Resolve(v)
		}
	})
	if err != nil {
		l.pending.Add(-1)
		return future.Failed[T](err)
	}
	l.started.Store(true)
	return f
}

var errGoexit = errors.New("loop: the function ended its goroutine")
