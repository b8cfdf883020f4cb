package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Client is a session with a server: one connection at a time, replaced when it is lost. Any goroutine.
type Client struct {
	// immutable after Dial
	o       options
	network string
	address string
	ctx     context.Context // of handlers and of reconnecting; ends with the client
	cancel  context.CancelFunc
	done    chan struct{} // closed at the end, after err was set
	beats   chan struct{} // capacity 1: the heartbeat has changed
	inbox   *inbox

	// any goroutine
	lastID   atomic.Uint32
	late     atomic.Uint64
	unknown  atomic.Uint64
	handlers handlers

	// mu
	mu        sync.Mutex
	conn      *conn // the newest; nil before the first
	online    bool  // conn takes new calls
	queue     callList
	pending   map[uint32]*call // requests queued or sent
	load      int              // requests in pending and notifications in queue, those for one connection apart
	room      chan struct{}    // closed when there is room again; nil: nobody waits
	token     tokenFunc        // of the last login; nil: none
	heartbeat time.Duration    // as the server said; 0: it did not
	serving   int              // handlers of the server's calls that run
	connects  uint64
	err       error // why the client has ended; nil: it has not
}

// Dial connects to addr, which is host:port, or unix:/path for a unix socket. ctx bounds the connecting and nothing
// later. When the first connection fails so does Dial; there is no client to reconnect then. End the client with Close.
//
// The server's calls that arrive before Handle has named their method are answered Unimplemented, and its notifications
// are counted and dropped, so register handlers right after Dial and before Login: a server seldom calls anybody earlier.
func Dial(ctx context.Context, addr string, opts ...Option) (*Client, error) {
	network, address := "tcp", addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, address = "unix", path
	}
	o := defaults()
	for _, opt := range opts {
		opt(&o)
	}
	if o.tls != nil {
		o.secure(network, address)
	}
	nc, err := o.dial(ctx, network, address)
	if err != nil {
		return nil, failure(Unavailable, fmt.Sprintf("connecting to %s: %v", addr, err), err)
	}
	c := &Client{
		o: o, network: network, address: address,
		done: make(chan struct{}), beats: make(chan struct{}, 1), inbox: newInbox(o.queue, maxInboxBytes),
		pending: make(map[uint32]*call),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	cn := newConn(c, nc)
	c.conn = cn
	c.goOnline(cn)
	cn.start()
	go c.deliver()
	go c.run(cn)
	return c, nil
}

// Call calls method on the server and waits for its response. The result is decoded into what result points to (see
// Decode for the types; nil: it is ignored), params are the positional arguments.
//
// The deadline of ctx is told to the server. When ctx ends first, Call returns at once with DeadlineExceeded or
// Canceled, and a response that still comes is ignored; the server may have run the call. While there is no connection
// Call waits for one.
//
// Every error has an *Error in its chain: use CodeOf. Unavailable together with errors.Is(err, ErrMayHaveRun) says that
// the connection was lost in between.
func (c *Client) Call(ctx context.Context, method string, result any, params ...any) error {
	m, err := c.newCall(ctx, request, method, params)
	if err != nil {
		return err
	}
	m.result = result
	return c.roundTrip(ctx, m)
}

// roundTrip sends m and waits for its end. It frees m.
func (c *Client) roundTrip(ctx context.Context, m *call) error {
	if _, err := c.enqueue(ctx, m, true); err != nil {
		m.free()
		return err
	}
	err := c.await(ctx, m)
	m.free()
	return err
}

// await waits for the end of m, or ends it when ctx has ended.
func (c *Client) await(ctx context.Context, m *call) error {
	select {
	case <-m.done:
		return m.err
	case <-ctx.Done():
	}
	if c.abandon(m) {
		return contextError(ctx, m.method)
	}
	<-m.done // it has just ended otherwise
	return m.err
}

// Go makes a call without waiting for its response: as Call, but at a bound (WithMaxPending) it fails at once. Every error
// comes with the Pending. What result points to must be left alone until Done is closed.
func (c *Client) Go(ctx context.Context, method string, result any, params ...any) *Pending {
	p := &Pending{method: method, done: make(chan struct{})}
	m, err := c.newCall(ctx, request, method, params)
	if err != nil {
		p.finish(err)
		return p
	}
	m.result, m.async = result, p
	if ctx.Done() != nil {
		// Either this finds m after enqueue and ends it, or enqueue finds the context ended.
		p.stop = context.AfterFunc(ctx, func() {
			if c.abandon(m) {
				m.finish(contextError(ctx, method))
			}
		})
	}
	if _, err := c.enqueue(ctx, m, false); err != nil {
		m.finish(err)
	}
	return p
}

// Notify sends a notification. While there is a connection it returns as soon as the notification is queued, else once
// it is on its way on the next connection or ctx has ended. Nil does not say that it arrived: where that matters, Call.
func (c *Client) Notify(ctx context.Context, method string, params ...any) error {
	m, err := c.newCall(ctx, notification, method, params)
	if err != nil {
		return err
	}
	quiet, err := c.enqueue(ctx, m, true)
	if err != nil {
		m.free()
		return err
	}
	if quiet {
		return nil // m is no longer ours
	}
	err = c.await(ctx, m)
	m.free()
	return err
}

// Close ends the client: calls that wait fail with ErrClosed, contexts of handlers end, notifications that were queued
// are still written (for at most a second), then the connection is closed. Handlers that run are not waited for. It
// returns nil, also when the client had ended before.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		<-c.done
		return nil
	}
	c.err = ErrClosed
	victims, cn := c.takeAllLocked(c.online), c.conn
	cn.wakeLocked()
	c.mu.Unlock()
	finishAll(victims, ErrClosed)
	c.inbox.drop()
	c.cancel()
	fire, stop := c.o.clock.After(flushTimeout)
	defer stop()
	select {
	case <-cn.dead:
	case <-fire:
		cn.fail(ErrClosed)
	}
	c.mu.Lock()
	victims = c.takeAllLocked(false) // what could not be written
	c.mu.Unlock()
	finishAll(victims, ErrClosed)
	close(c.done)
	return nil
}

// end ends the client for a reason of its own, unless it has ended.
func (c *Client) end(cause error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = cause
	victims := c.takeAllLocked(false)
	c.mu.Unlock()
	finishAll(victims, cause)
	c.cancel()
	close(c.done)
}

// Done is closed when the client has ended: by Close, by a closing of the server that says not to come back, by a
// refused login, or by a lost connection under WithoutReconnect. Err says which.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is nil until the client has ended, then why: ErrClosed, a *ClosingError, or the error of the login or the
// connection.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Stats are counts since Dial, for watching a client.
type Stats struct {
	Pending  int    // calls and notifications that wait now, for a connection, to be written or for their response
	Connects uint64 // connections that took calls, the first one included
	Late     uint64 // responses that nobody waited for, mostly of calls whose context had ended
	Unknown  uint64 // calls and notifications of the server without a handler
}

// Stats returns the counts of now.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Pending: c.load, Connects: c.connects, Late: c.late.Load(), Unknown: c.unknown.Load()}
}

// isEnd reports whether the loss of a connection for this reason ends the client too.
func (c *Client) isEnd(err error) bool {
	var closing *ClosingError
	if errors.As(err, &closing) && !closing.Reconnect {
		return true
	}
	return !c.o.reconnect
}
