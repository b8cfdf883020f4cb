package tasks

import (
	"fmt"
	"time"

	"gameserverd/wire"
)

// Option says how a task is applied.
type Option func(*options)

// options are what the options of one apply come to.
type options struct {
	at      time.Time // zero: now
	in      time.Duration
	queue   string
	retries int
	backoff time.Duration
	timeout time.Duration
	keep    time.Duration
	unique  string
	window  time.Duration
}

// In lets the task wait: it runs no sooner than d from now, and at low load no more
// than two seconds later.
func In(d time.Duration) Option { return func(o *options) { o.in = d } }

// At is In for a time; one that has passed is now.
func At(t time.Time) Option { return func(o *options) { o.at = t } }

// Queue is where the task waits for a worker; worker.queues has those there are.
func Queue(name string) Option { return func(o *options) { o.queue = name } }

// Retries is how many times the task is tried again when its function fails, the
// first time after backoff, then each time after twice as long, ten minutes at most.
// backoff 0: DefaultBackoff.
func Retries(n int, backoff time.Duration) Option {
	return func(o *options) {
		o.retries = n
		if backoff > 0 {
			o.backoff = backoff
		}
	}
}

// Timeout is how long one run may take before its context ends.
func Timeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// Keep keeps the task and its result for d when it has ended. Without it a task that
// is done is forgotten at once.
func Keep(d time.Duration) Option { return func(o *options) { o.keep = d } }

// Unique refuses the task, with already_exists, if one with the same key was applied
// less than window ago. In Write, a task that is refused fails the whole change. The key
// is 1 to 200 bytes.
func Unique(key string, window time.Duration) Option {
	return func(o *options) { o.unique, o.window = key, window }
}

// What options may be at most.
const (
	maxRetries = 1_000_000
	maxTimeout = 30 * 24 * time.Hour
	latestMS   = 7_258_118_400_000 // the year 2200, in UTC milliseconds
)

// collect applies options to what the definition says, and checks them.
func (j *job) collect(t *Tasks, list []Option) (options, error) {
	o := options{queue: j.def.queue(), retries: j.def.Retries, backoff: DefaultBackoff, timeout: j.def.Timeout}
	if o.retries < 0 {
		o.retries = DefaultRetries
	}
	if o.timeout == 0 {
		o.timeout = DefaultTimeout
	}
	for _, option := range list {
		option(&o)
	}
	if j.err != nil {
		return o, j.err
	}
	wrong := func(format string, args ...any) error {
		return wire.Errorf(wire.InvalidArgument, "task %s: %s", j.def.Name, fmt.Sprintf(format, args...))
	}
	_, known := t.o.Queues[o.queue]
	switch {
	case !known:
		return o, wrong("there is no queue %q in worker.queues", o.queue)
	case o.retries < 0 || o.retries > maxRetries:
		return o, wrong("retries from 0 to %d are possible, not %d", maxRetries, o.retries)
	case o.timeout < time.Millisecond || o.timeout > maxTimeout:
		return o, wrong("a timeout from 1ms to 30 days is possible, not %v", o.timeout)
	case o.keep < 0 || o.in < 0 || o.window < 0:
		return o, wrong("a duration is negative")
	case o.unique != "" && o.window == 0 || o.unique == "" && o.window != 0 || len(o.unique) > 200:
		return o, wrong("Unique takes a key of 1 to 200 bytes and a window")
	}
	now := t.o.Clock()
	if o.in > 0 {
		o.at = now.Add(o.in)
	}
	if o.at.Before(now) {
		o.at = now
	}
	if o.at.UnixMilli() > latestMS {
		return o, wrong("it cannot wait until %v", o.at)
	}
	o.backoff = min(o.backoff, maxBackoff)
	return o, nil
}

// queue is where the task waits unless an option says otherwise.
func (d *Definition) queue() string {
	if d.Queue == "" {
		return DefaultQueue
	}
	return d.Queue
}

// Task is the name of the task that s applies, and the queue that it waits in. Any
// goroutine.
func (s Schedule) Task() (name, queue string) {
	def := s.make(time.UnixMilli(0)).def
	return def.Name, def.queue()
}
