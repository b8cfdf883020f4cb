package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// settle is how long a store that was away must have had no failure before a success means that it is back. Without it a store that
// answers some calls and not others would change its state, and write a line to the log, with every call. It is longer than the pause
// between two tries of a group commit: a database on a full disk answers every read and no write.
const settle = time.Second

// pingWhileDown is how often Watch looks after a store that is away.
const pingWhileDown = 250 * time.Millisecond

// Health is whether one store can be reached, as its calls and pings found it. It writes a line to the log when that changes, and
// only then. It is up until the first failure.
type Health struct {
	// immutable after NewHealth
	name  string
	log   *zap.Logger
	clock func() time.Time

	// any goroutine
	down     atomic.Bool // what Ok looks at without the lock
	mu       sync.Mutex  // guards what follows
	why      string      // of the first failure of this absence; "" while up
	since    time.Time   // of the last change
	failed   time.Time   // of the last failure
	failures int         // of this absence
}

// NewHealth returns the Health of the store called name ("sql", "redis"), which is up. A nil log writes nothing, a nil clock is
// time.Now.
func NewHealth(name string, log *zap.Logger, clock func() time.Time) *Health {
	if log == nil {
		log = zap.NewNop()
	}
	if clock == nil {
		clock = time.Now
	}
	return &Health{name: name, log: log, clock: clock, since: clock()}
}

// Ok says that the store has answered. A store that was away is back with the first answer that comes a second or more after its last
// failure. While the store is up it costs one atomic load. Any goroutine.
func (h *Health) Ok() {
	if !h.down.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.clock()
	if !h.down.Load() || now.Sub(h.failed) < settle {
		return
	}
	h.log.Info("store is back", zap.String("store", h.name), zap.Duration("away", now.Sub(h.since)), zap.Int("failures", h.failures))
	h.down.Store(false)
	h.why, h.since, h.failures = "", now, 0
}

// Failed says that the store could not be reached, or did not answer in time, and why. One such failure is enough for down. It is not
// for calls that the store has answered with an error. Any goroutine.
func (h *Health) Failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.clock()
	h.failed = now
	h.failures++
	if h.down.Load() {
		return
	}
	h.why, h.since = err.Error(), now
	h.down.Store(true)
	h.log.Warn("store is unreachable", zap.String("store", h.name), zap.Error(err))
}

// State tells whether the store can be reached, why not ("" while it can), and since when that is so. Any goroutine.
func (h *Health) State() (up bool, why string, since time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.down.Load(), h.why, h.since
}

// Watch calls ping every so often, and every 250 ms while the store is away, so that both changes are noticed without traffic. It
// returns when ctx ends. A ping bounds itself in time. Any goroutine, which it blocks.
func (h *Health) Watch(ctx context.Context, every time.Duration, ping func(ctx context.Context) error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		err := ping(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			h.Failed(err)
		default:
			h.Ok()
		}
		if h.down.Load() {
			timer.Reset(min(every, pingWhileDown))
		} else {
			timer.Reset(every)
		}
	}
}
