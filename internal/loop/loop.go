// Package loop is the epoll loop: file descriptors, callbacks, timers, signals and a worker pool, on one goroutine. It is Tornado's
// IOLoop in Go.
//
// It knows nothing of bytes or connections (internal/conn does), starts no goroutine per descriptor, and uses no lock for what it
// owns. A Loop is not a scheduler: what runs on it runs to its end, and everything else waits meanwhile.
//
// Its one invariant: whatever was given to a loop (handlers, callbacks, timers, hooks) runs on the goroutine inside Start, one piece
// at a time, and AddCallback and its relatives are the only way in from elsewhere.
//
// Every exported method says where it may be called. "Loop only." means: on the loop's goroutine, or while the loop is not running
// and nobody else uses it. "Any goroutine." means what it says. Built with the tag `invariants`, a call from elsewhere panics.
package loop

import (
	"errors"
	"fmt"
	"log"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Errors of a Loop. They are returned as they are or wrapped; use errors.Is.
var (
	ErrRunning       = errors.New("loop: already running")
	ErrClosed        = errors.New("loop: closed")
	ErrStopped       = errors.New("loop: stopped before there was a result")
	ErrTimeout       = errors.New("loop: timed out")
	ErrHandlerExists = errors.New("loop: the descriptor already has a handler")
	ErrNoHandler     = errors.New("loop: the descriptor has no handler")
)

// DefaultMaxCallbacks is how many callbacks run in one turn when Options.MaxCallbacks is 0.
const DefaultMaxCallbacks = 4096

// Options says how a Loop is made. The zero value is a loop on epoll and the real clock, without a watchdog.
type Options struct {
	Name   string // for logs, Slow and goroutine labels
	Clock  Clock  // nil: the real clock
	Poller Poller // nil: epoll; the loop closes it

	// SlowCallback is how long one callback, timer or handler may hold the loop before OnSlow is told. 0: no watchdog.
	SlowCallback time.Duration
	// OnSlow is called once per stall, while it lasts, on the watchdog's goroutine. nil: it is logged with package log.
	OnSlow func(Slow)
	// OnPanic is called on the loop for every panic that the loop has caught. nil: it is logged with package log.
	OnPanic func(v any, stack []byte)
	// MaxCallbacks is how many callbacks run in one turn, before I/O and timers get theirs. 0: DefaultMaxCallbacks.
	MaxCallbacks int
}

// Loop is one epoll loop. Make one with New; the goroutine that calls Start is its goroutine until Start returns.
type Loop struct {
	// immutable after New
	name         string
	clock        Clock
	poller       Poller
	wake         *waker
	onPanic      func(v any, stack []byte)
	onSlow       func(Slow)
	slow         time.Duration
	maxCallbacks int
	base         time.Time // Monotonic counts from here
	real         bool      // clock is the real one

	// any goroutine
	mu       sync.Mutex // guards queue, running, closed, signals
	queue    []callback
	running  bool
	closed   bool
	signals  map[*signalFeed]struct{}
	queued   atomic.Bool   // queue is not empty; set under mu
	waiting  atomic.Bool   // the loop blocks or is about to: whoever turns it off owes the wake
	stopping atomic.Bool   // Stop was called
	started  atomic.Bool   // a goroutine was started for this loop since the last wait
	pending  atomic.Int64  // see Pending
	gid      atomic.Uint64 // the goroutine inside Start, 0 if none
	pace     pace          // what the watchdog looks at
	record   record        // what Stats tells

	// loop only
	batch   []callback // the callbacks being run, from batchAt on
	batchAt int
	hooks   []func()
	hookAt  int
	timers  timers
	fds     handlers
	asked   unix.EpollEvent   // what control hands over; here, since it would be allocated each time
	events  []unix.EpollEvent // fetched by the last wait; eventAt is the next to report
	eventAt int
	eventsN int
	now     time.Time // this turn's clock
	mono    int64     // the same, in ns since base
	busy    bool      // the last wait returned few events: worth a look before blocking
}

// New makes a loop. It has two descriptors, which Close gives back.
func New(o Options) (*Loop, error) {
	l := &Loop{
		name:         o.Name,
		clock:        o.Clock,
		poller:       o.Poller,
		onPanic:      o.OnPanic,
		onSlow:       o.OnSlow,
		slow:         o.SlowCallback,
		maxCallbacks: o.MaxCallbacks,
		signals:      make(map[*signalFeed]struct{}),
		events:       make([]unix.EpollEvent, minEvents),
	}
	if l.clock == nil {
		l.clock, l.real = realClock{}, true
	}
	if l.maxCallbacks <= 0 {
		l.maxCallbacks = DefaultMaxCallbacks
	}
	if l.onPanic == nil {
		l.onPanic = func(v any, stack []byte) { log.Printf("loop %s: panic: %v\n%s", l.name, v, stack) }
	}
	if l.onSlow == nil {
		l.onSlow = func(s Slow) { log.Print(s) }
	}
	l.pace.on = l.slow > 0
	l.fds.init()
	l.base = l.clock.Now()
	l.now = l.base

	if l.poller == nil {
		p, err := newEpoll()
		if err != nil {
			return nil, fmt.Errorf("loop %s: %w", o.Name, err)
		}
		l.poller = p
	}
	w, err := newWaker()
	if err == nil {
		if err = l.AddHandler(w.fd, Read|edgeTriggered, w); err != nil {
			w.close()
		}
	}
	if err != nil {
		l.poller.Close()
		return nil, fmt.Errorf("loop %s: %w", o.Name, err)
	}
	l.wake = w
	return l, nil
}

// Name returns Options.Name. Any goroutine.
func (l *Loop) Name() string { return l.name }

// Start runs the loop on the calling goroutine until Stop. A Stop that came before makes it return at once. It returns nil after a
// Stop, ErrRunning or ErrClosed if it cannot run, or the error that made waiting for events impossible. It may be called again
// after it has returned. Any goroutine.
func (l *Loop) Start() error {
	if err := l.begin(); err != nil {
		return err
	}
	return l.run()
}

// begin claims the loop for the calling goroutine.
func (l *Loop) begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return ErrClosed
	case l.running:
		return ErrRunning
	}
	l.running = true
	l.gid.Store(goroutineID())
	return nil
}

// run is Start after begin. It also ends properly when a callback calls runtime.Goexit (a failing test does).
func (l *Loop) run() error {
	defer l.end()
	if l.stopping.Load() {
		return nil
	}
	defer l.watch()()
	l.readClock()
	l.record.began = l.mono
	for {
		if stopped, err := l.turn(); stopped || err != nil {
			return err
		}
	}
}

func (l *Loop) end() {
	l.mu.Lock()
	l.gid.Store(0)
	l.running = false
	l.stopping.Store(false)
	l.mu.Unlock()
}

// Stop makes Start return: after the current turn's callbacks, timers and hooks have run, before the loop would wait again. Events
// that were already fetched are handled, and the callbacks they add run. Before Start, it makes the next Start return at once. Any
// goroutine.
func (l *Loop) Stop() {
	l.stopping.Store(true)
	l.wakeUp()
}

// Close gives back the loop's descriptors and drops what is queued: callbacks, timers, handlers. With allFDs it also closes every
// descriptor that has a handler. It returns ErrRunning if Start has not returned; a second Close does nothing. Any goroutine.
func (l *Loop) Close(allFDs bool) error {
	l.mu.Lock()
	if l.running {
		l.mu.Unlock()
		return ErrRunning
	}
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	dropped := append(l.batch[l.batchAt:], l.queue...)
	l.queue, l.batch, l.batchAt = nil, nil, 0
	feeds := l.signals
	l.signals = nil
	l.mu.Unlock()

	for _, cb := range dropped {
		if cb.counted {
			l.pending.Add(-1)
		}
	}
	for feed := range feeds {
		feed.stop()
	}
	l.timers = timers{}
	l.hooks = nil
	var errs []error
	if allFDs {
		errs = l.fds.closeAll(l.wake.fd)
	}
	l.fds.init()
	errs = append(errs, l.wake.close(), l.poller.Close())
	return errors.Join(errs...)
}

// OnLoop tells whether the caller is on the loop's goroutine. It costs a microsecond: for checks and tests. Any goroutine.
func (l *Loop) OnLoop() bool {
	gid := l.gid.Load()
	return gid != 0 && gid == goroutineID()
}

// assertLoop is the check behind "Loop only.". A loop that nobody runs may be prepared by anyone.
func (l *Loop) assertLoop(what string) {
	if !invariants {
		return
	}
	if gid := l.gid.Load(); gid != 0 && gid != goroutineID() {
		panic(fmt.Sprintf("loop %s: %s called from another goroutine", l.name, what))
	}
}

// BeforeWait adds a hook that runs in every turn after the callbacks and timers, right before the loop waits, in the order of
// adding. A hook may add callbacks: then the turn does not block. It stays until Close. Loop only.
func (l *Loop) BeforeWait(fn func()) {
	l.assertLoop("BeforeWait")
	l.hooks = append(l.hooks, fn)
}

// caught is deferred around everything that was given to the loop: a panic costs the one function that had it.
func (l *Loop) caught() {
	if v := recover(); v != nil {
		l.onPanic(v, debug.Stack())
	}
}
