package client

import (
	"context"
	"crypto/tls"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"gameserverd/wire"
)

// The defaults of the options.
const (
	DefaultMaxPending     = 16384                  // WithMaxPending
	DefaultMaxWaiting     = 1024                   // WithMaxWaiting
	DefaultQueue          = 1024                   // WithNotificationQueue
	DefaultMaxServing     = 64                     // WithMaxServing
	DefaultHeartbeat      = 30 * time.Second       // WithHeartbeat
	DefaultBackoff        = 100 * time.Millisecond // WithBackoff
	DefaultMaxBackoff     = 30 * time.Second       // WithBackoff
	DefaultConnectTimeout = 10 * time.Second       // WithConnectTimeout
)

// Bounds that are no option: each only keeps a peer that misbehaves from costing memory or time without end.
const (
	maxQueuedBytes = 16 << 20         // calls and notifications encoded and not yet written; replies may use as much again
	maxInboxBytes  = 8 << 20          // notifications received and not yet handled
	stallTimeout   = 5 * time.Second  // how long reading may wait for a full notification queue
	drainTimeout   = 30 * time.Second // how long a closing connection may keep its pending calls
	flushTimeout   = time.Second      // how long Close waits for queued notifications to be written
	minHeartbeat   = time.Second      // the server's heartbeat_ms is held within these two
	maxHeartbeat   = time.Hour
	maxRetryAfter  = time.Hour // a longer retry_after_ms is taken for this
)

// Clock is the time that timers of the client use: heartbeats, back-off, and the bounds above. Contexts keep real time.
type Clock interface {
	Now() time.Time
	// After sends on fire once d has passed, unless stop was called before. The channel must not block the sender.
	After(d time.Duration) (fire <-chan time.Time, stop func())
}

// DialFunc opens a connection: network is "tcp" or "unix", address what follows. It must end when ctx does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Option changes a default of Dial.
type Option func(*options)

type options struct {
	maxFrame, maxElements int
	maxPending            int
	maxWaiting            int
	queue                 int
	maxServing            int
	heartbeat             time.Duration // 0: as the server says
	backoff, maxBackoff   time.Duration
	connectTimeout        time.Duration
	reconnect             bool
	onConnect             func(c *Client, again bool)
	onDisconnect          func(c *Client, err error)
	log                   *slog.Logger
	dial                  DialFunc
	tls                   *tls.Config // nil: none
	clock                 Clock
	jitter                func(max time.Duration) time.Duration
}

func defaults() options {
	return options{
		maxFrame: wire.DefaultMaxFrame, maxElements: wire.DefaultMaxElements,
		maxPending: DefaultMaxPending, maxWaiting: DefaultMaxWaiting, queue: DefaultQueue, maxServing: DefaultMaxServing,
		backoff: DefaultBackoff, maxBackoff: DefaultMaxBackoff, connectTimeout: DefaultConnectTimeout, reconnect: true,
		log:    slog.Default(),
		dial:   new(net.Dialer).DialContext,
		clock:  realClock{},
		jitter: fullJitter,
	}
}

// WithMaxFrame bounds one message in bytes, sent or received: 1 to 2^24 - 1, default 1 MiB. Sending a longer one is
// InvalidArgument; receiving a longer one ends the connection before memory is reserved for it. The server has a limit of its own.
func WithMaxFrame(bytes int) Option {
	return func(o *options) { o.maxFrame = min(max(bytes, 1), wire.MaxFrame) }
}

// WithMaxElements bounds how many values one received message may hold, nested ones included: default 100,000. A
// message with more ends the connection.
func WithMaxElements(n int) Option { return func(o *options) { o.maxElements = max(n, 1) } }

// WithMaxPending bounds the calls that have no response yet, together with the notifications not yet written. At the
// bound Call and Notify wait for room, and Go fails with ResourceExhausted. At least 1.
func WithMaxPending(n int) Option { return func(o *options) { o.maxPending = max(n, 1) } }

// WithMaxWaiting bounds the calls and notifications that may wait while there is no connection: one more fails with
// Unavailable. 0: none may wait.
func WithMaxWaiting(n int) Option { return func(o *options) { o.maxWaiting = max(n, 0) } }

// WithNotificationQueue bounds the notifications that were received and whose handlers have not run: by count (at
// least 1), and always at 8 MiB. At the bound the client stops reading, so that the server waits and nothing is lost;
// when no room appears for 5 s the connection ends with ResourceExhausted, and is replaced as after any loss.
func WithNotificationQueue(n int) Option { return func(o *options) { o.queue = max(n, 1) } }

// WithMaxServing bounds the server's calls whose handlers run at the same time. One more is answered
// ResourceExhausted at once. At least 1.
func WithMaxServing(n int) Option { return func(o *options) { o.maxServing = max(n, 1) } }

// WithHeartbeat sets how long a connection may be silent before sys.ping is sent, instead of the login's heartbeat_ms.
// A connection on which nothing arrives for twice this time is dead.
func WithHeartbeat(d time.Duration) Option {
	return func(o *options) { o.heartbeat = max(d, time.Millisecond) }
}

// WithBackoff sets the time before attempts to reconnect: attempt n comes after a random part of first * 2^n, at most
// of longest ("full jitter"). A retry_after_ms of the server is always waited for in full.
func WithBackoff(first, longest time.Duration) Option {
	return func(o *options) {
		o.backoff = max(first, time.Millisecond)
		o.maxBackoff = max(longest, o.backoff)
	}
}

// WithConnectTimeout bounds one attempt to reconnect: the token function, dialing and the login together. The first
// connection has the context of Dial instead.
func WithConnectTimeout(d time.Duration) Option {
	return func(o *options) { o.connectTimeout = max(d, time.Millisecond) }
}

// WithoutReconnect makes the client end when its connection does.
func WithoutReconnect() Option { return func(o *options) { o.reconnect = false } }

// WithOnConnect has fn called after each connection, again being false for the one of Dial. After a reconnect a
// remembered login was repeated already, and fn is the place to join rooms again. It runs where notification handlers
// run, in order with them, and may make calls.
func WithOnConnect(fn func(c *Client, again bool)) Option {
	return func(o *options) { o.onConnect = fn }
}

// WithOnDisconnect has fn called after the end of each connection that WithOnConnect told of, with the reason; when
// c.Err() is not nil the client has ended with it. It runs where notification handlers run, in order with them.
func WithOnDisconnect(fn func(c *Client, err error)) Option {
	return func(o *options) { o.onDisconnect = fn }
}

// WithLogger sets where panics and errors of handlers are logged: slog.Default() unless said, nil: nowhere.
func WithLogger(l *slog.Logger) Option {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return func(o *options) { o.log = l }
}

// WithDialer replaces how connections are opened, for proxies and tests. Under WithTLS it opens what TLS is then spoken on.
func WithDialer(dial DialFunc) Option { return func(o *options) { o.dial = dial } }

// WithClock replaces the clock, for tests.
func WithClock(clock Clock) Option { return func(o *options) { o.clock = clock } }

// WithJitter replaces the random choice of the back-off, for tests: it returns a time from 0 to max.
func WithJitter(jitter func(max time.Duration) time.Duration) Option {
	return func(o *options) { o.jitter = jitter }
}

func fullJitter(max time.Duration) time.Duration { return rand.N(max + 1) }

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) After(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}
