package store

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"gameserverd/internal/future"
)

// lane runs calls that block, at most so many at a time, each on a worker goroutine; workers start when there is work and end when
// there is none. The others wait in order, at most so many. One deadline covers waiting and running, and when it comes the call is
// answered then, even if its driver does not return.
//
// Invariant: every call is answered exactly once: refused, expired while it waited or ran, ended, or cut off by close.
type lane struct {
	// immutable after newLane
	workers int
	limit   int // of calls that wait

	// any goroutine
	counts  callCounts
	mu      sync.Mutex // guards what follows
	first   *call      // of those that wait, which are a list so that one that expires leaves its place to another
	last    *call
	waiting int
	running map[*call]struct{}
	open    int // calls that were accepted, and are not answered or still hold a worker
	closed  bool
	quiet   chan struct{} // closed when nothing is open; nil: nobody waits for that
}

// call is one call of a lane.
type call struct {
	// immutable once it is submitted
	ctx    context.Context // ends with the deadline (its cause is errTimeout then), the caller, or close
	cancel context.CancelFunc
	work   func()      // runs it and answers; on a worker
	fail   func(error) // answers, unless it was answered
	late   func()      // told when the time is over while the driver has it; may be nil

	// any goroutine
	started atomic.Bool // the driver has it, or may have

	// guarded by lane.mu
	waits      bool
	prev, next *call
}

func newLane(workers, limit int) *lane {
	return &lane{workers: max(1, workers), limit: max(0, limit), running: make(map[*call]struct{})}
}

// begin says that the database gets to see the call from now on, so that its outcome will be unknown if it gets no answer.
func (c *call) begin() { c.started.Store(true) }

// expired is the error of a call whose context has ended.
func (c *call) expired() error {
	cause := context.Cause(c.ctx)
	started := c.started.Load()
	switch {
	case cause == errTimeout && started:
		return unavailable("the store did not answer in time; the outcome is not known", errTimeout)
	case cause == errTimeout:
		return unavailable("the store had too much to do; nothing was changed", errNotBegun)
	case started:
		return &callerGone{context.Cause(c.ctx), nil}
	default:
		return &callerGone{context.Cause(c.ctx), errNotBegun}
	}
}

// callerGone is the error of a call whose caller's context has ended.
type callerGone struct {
	cause error
	begun error // errNotBegun, or nil if the outcome is not known
}

func (e *callerGone) Error() string { return "store: the caller gave up: " + e.cause.Error() }

// Unwrap also says what IsLost and IsRetryable look for, whatever the context's cause is.
func (e *callerGone) Unwrap() []error {
	if e.begun != nil {
		return []error{e.cause, e.begun}
	}
	return []error{e.cause, context.Canceled}
}

// submit gives work to the lane and returns the future of its result. It does not block. The future fails with unavailable when
// timeout is over, however far the call has come, and with parent's error when that ends; work's ctx ends at the same moment. late is
// called if the time ended a call that had begun. A panic of work fails the future with a *future.PanicError.
func submit[T any](l *lane, parent context.Context, timeout time.Duration, late func(), work func(c *call) (T, error)) *future.Future[T] {
	f := future.New[T]()
	began := time.Now()
	answer := func(v T, err error) {
		if err != nil && f.Fail(err) || err == nil && f.Resolve(v) {
			l.counts.answered(began, err)
		}
	}
	var none T
	c := &call{late: late, fail: func(err error) { answer(none, err) }}
	c.ctx, c.cancel = context.WithTimeoutCause(parent, timeout, errTimeout)
	c.work = func() {
		defer c.fail(errGoexit) // when work has neither returned nor panicked
		defer func() {
			if v := recover(); v != nil {
				c.fail(&future.PanicError{Value: v, Stack: debug.Stack()})
			}
		}()
		if c.ctx.Err() != nil {
			c.fail(c.expired()) // it was still waiting when its time was over
			return
		}
		answer(work(c))
	}
	if err := l.accept(c); err != nil {
		c.cancel()
		l.counts.failed(err)
		return future.Failed[T](err)
	}
	return f
}

// accept starts c or lets it wait.
func (l *lane) accept(c *call) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	free := len(l.running) < l.workers
	switch {
	case l.closed:
		return unavailable("the server is shutting down; nothing was changed", errNotBegun)
	case !free && l.waiting >= l.limit:
		return resourceExhausted("too many calls wait for the store", errNotBegun)
	}
	// The lock is held, so that expire finds the call in its place even if the context has ended already.
	stop := context.AfterFunc(c.ctx, func() { l.expire(c) })
	cancel := c.cancel
	c.cancel = func() { stop(); cancel() }
	l.open++
	if free {
		l.running[c] = struct{}{}
		go l.run(c)
	} else {
		l.pushLocked(c)
	}
	return nil
}

// expire answers a call whose context has ended, and takes it out if it waits.
func (l *lane) expire(c *call) {
	l.mu.Lock()
	waited := c.waits
	if waited {
		l.removeLocked(c)
	}
	l.mu.Unlock()
	if c.late != nil && c.started.Load() && context.Cause(c.ctx) == errTimeout {
		c.late()
	}
	c.fail(c.expired())
	if waited {
		l.mu.Lock()
		l.answeredLocked()
		l.mu.Unlock()
	}
}

// run is a worker: it begins with c and ends when nothing waits.
func (l *lane) run(c *call) {
	for c != nil {
		c = l.runOne(c)
	}
}

func (l *lane) runOne(c *call) (next *call) {
	returned := false
	defer func() {
		c.cancel()
		next = l.nextAfter(c)
		if !returned && next != nil {
			go l.run(next) // a function of the caller's has ended this goroutine
		}
	}()
	c.work()
	returned = true
	return nil
}

// nextAfter gives c's worker to the call that has waited longest; nil: the worker ends.
func (l *lane) nextAfter(c *call) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, c)
	l.answeredLocked()
	next := l.first
	if next != nil {
		l.removeLocked(next)
		l.running[next] = struct{}{}
	}
	return next
}

func (l *lane) pushLocked(c *call) {
	c.waits, c.prev = true, l.last
	if l.last == nil {
		l.first = c
	} else {
		l.last.next = c
	}
	l.last = c
	l.waiting++
}

func (l *lane) removeLocked(c *call) {
	if c.prev == nil {
		l.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.waits, c.prev, c.next = false, nil, nil
	l.waiting--
}

func (l *lane) answeredLocked() {
	if l.open--; l.open == 0 && l.quiet != nil {
		close(l.quiet)
		l.quiet = nil
	}
}

// close refuses calls from now on and waits for those that were accepted. When ctx ends it answers those that are left and returns
// ctx's error; their drivers may still be at work then, told to stop.
func (l *lane) close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	if l.open == 0 {
		l.mu.Unlock()
		return nil
	}
	if l.quiet == nil {
		l.quiet = make(chan struct{})
	}
	quiet := l.quiet
	l.mu.Unlock()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
	}
	waiting, running := l.left()
	for _, c := range append(waiting, running...) {
		if c.started.Load() {
			c.fail(unavailable("the server is shutting down; the outcome is not known", errClosed))
		} else {
			c.fail(unavailable("the server is shutting down; nothing was changed", errNotBegun))
		}
		c.cancel()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for range waiting {
		l.answeredLocked()
	}
	return ctx.Err()
}

// left takes out the calls that wait and returns them, and those that run.
func (l *lane) left() (waiting, running []*call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.first != nil {
		waiting = append(waiting, l.first)
		l.removeLocked(l.first)
	}
	for c := range l.running {
		running = append(running, c)
	}
	return waiting, running
}
