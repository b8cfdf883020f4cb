package client

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// run watches over one connection after the other, until the client has ended.
func (c *Client) run(cn *conn) {
	defer c.inbox.close()
	failures := 0
	for {
		c.watch(cn)
		err := cn.err // dead is closed: nobody writes it
		ends := c.isEnd(err)
		if ends {
			c.end(err)
		}
		if fn := c.o.onDisconnect; fn != nil && cn.announced {
			c.inbox.tell(func() { fn(c, err) })
		}
		if c.Err() != nil {
			return
		}
		// A server that lets us in and throws us out must not be asked faster than one that is down.
		if c.o.clock.Now().Sub(cn.began) >= c.o.maxBackoff {
			failures = 0
		}
		if cn = c.reconnect(&failures, cn.comeBack); cn == nil {
			return
		}
	}
}

// reconnect tries until there is a connection; nil: the client has ended.
func (c *Client) reconnect(failures *int, notBefore time.Time) *conn {
	for {
		wait := c.o.jitter(c.ceiling(*failures))
		wait = max(wait, notBefore.Sub(c.o.clock.Now()))
		*failures++
		if !c.sleep(wait) {
			return nil
		}
		cn, err := c.attempt()
		if err == nil {
			return cn
		}
		var closing *ClosingError
		var refused *refusedError
		if errors.As(err, &closing) && !closing.Reconnect || errors.As(err, &refused) {
			c.end(err)
		}
		if c.Err() != nil {
			return nil
		}
		notBefore = c.o.clock.Now().Add(retryAfter(err))
	}
}

// ceiling is the longest back-off before the next attempt, after so many that failed.
func (c *Client) ceiling(failures int) time.Duration {
	d := c.o.backoff
	for ; failures > 0 && d < c.o.maxBackoff; failures-- {
		d *= 2
	}
	return min(d, c.o.maxBackoff)
}

// sleep waits for d; false: the client has ended.
func (c *Client) sleep(d time.Duration) bool {
	fire, stop := c.o.clock.After(d)
	defer stop()
	select {
	case <-fire:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// retryAfter is how long the server asked to wait, as part of an error.
func retryAfter(err error) time.Duration {
	var closing *ClosingError
	var e *Error
	switch {
	case errors.As(err, &closing):
		return min(closing.RetryAfter, maxRetryAfter)
	case errors.As(err, &e) && e != nil:
		return min(e.RetryAfter, maxRetryAfter)
	}
	return 0
}

// refusedError is a repeated login that the server will not accept.
type refusedError struct{ err error }

func (e *refusedError) Error() string {
	return "the login was refused after a reconnect: " + e.err.Error()
}
func (e *refusedError) Unwrap() error { return e.err }

// attempt makes one new connection and logs in on it. After an error nothing of it is left.
func (c *Client) attempt() (*conn, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.o.connectTimeout)
	defer cancel()
	c.mu.Lock()
	source := c.token
	c.mu.Unlock()
	var token string
	if source != nil {
		var err error
		if token, err = c.tokenFrom(ctx, source); err != nil { // before dialing: the server's time for a login is short
			return nil, refusal(err)
		}
	}
	nc, err := c.o.dial(ctx, c.network, c.address)
	if err != nil {
		return nil, err
	}
	cn := newConn(c, nc)
	c.mu.Lock()
	c.conn = cn
	over := c.err != nil
	c.mu.Unlock()
	if over {
		cn.fail(ErrClosed)
		return nil, ErrClosed
	}
	if source == nil {
		c.goOnline(cn)
		cn.start()
		return cn, nil
	}
	cn.start()
	if err := c.loginAgain(ctx, cn, token); err != nil {
		cn.fail(err)
		cn.tasks.Wait()
		return nil, err
	}
	return cn, nil
}

// tokenFrom is source(ctx), with a panic as an error: it is not the caller's goroutine that would take it.
func (c *Client) tokenFrom(ctx context.Context, source tokenFunc) (token string, err error) {
	defer func() {
		if v := recover(); v != nil {
			c.logPanic("auth.login", v)
			err = errors.New("the token function panicked")
		}
	}()
	return source(ctx)
}

// loginAgain repeats the login on a new connection; the reader then opens it for calls.
func (c *Client) loginAgain(ctx context.Context, cn *conn, token string) error {
	m, err := c.newCall(ctx, request, "auth.login", []any{token})
	if err != nil {
		return refusal(err)
	}
	var reply loginReply
	m.only, m.result = cn, &reply
	m.then = func() {
		c.mu.Lock()
		if c.token != nil { // nobody called Logout meanwhile
			c.heartbeat = reply.heartbeat()
		}
		c.mu.Unlock()
		signal(c.beats)
		c.goOnline(cn)
	}
	return refusal(c.roundTrip(ctx, m))
}

// refusal marks the error of a repeated login that is hopeless, and leaves others (nil, too) as they are.
func refusal(err error) error {
	switch CodeOf(err) {
	case Unauthenticated, PermissionDenied, InvalidArgument, FailedPrecondition, Unimplemented:
		return &refusedError{err}
	}
	return err
}

// goOnline opens cn for calls, unless it is over already.
func (c *Client) goOnline(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || cn.err != nil || cn.closing != nil {
		return
	}
	c.online = true
	c.connects++
	cn.announced = true
	if fn := c.o.onConnect; fn != nil {
		again := c.connects > 1
		c.inbox.tell(func() { fn(c, again) }) // before anything that the reader puts in
	}
	cn.wakeLocked()
}

// beat is how long a connection may be silent.
func (c *Client) beat() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.o.heartbeat > 0:
		return c.o.heartbeat
	case c.heartbeat > 0:
		return c.heartbeat
	}
	return DefaultHeartbeat
}

// watch keeps cn alive, finds out when it is dead, and returns when nothing of it runs any more.
//
// It looks twice per heartbeat. When nothing was sent or nothing came since the last look it sends a ping, so the server
// never hears less than one message per heartbeat. When then nothing came for two more looks the connection is dead:
// a ping has a whole heartbeat to be answered in, and death is found after at most two.
func (c *Client) watch(cn *conn) {
	defer cn.tasks.Wait()
	var reads, writes uint64
	silent := 0 // looks in a row that found nothing new
	for {
		look, stop := c.o.clock.After(c.beat() / 2)
		select {
		case <-cn.dead:
			stop()
			return
		case <-cn.noticed:
			stop()
			c.watchDrain(cn)
			return
		case <-c.beats:
			stop()
			continue
		case <-look:
		}
		r, w := cn.reads.Load(), cn.writes.Load()
		if silent++; r != reads || cn.stalled.Load() {
			silent = 0
		}
		if silent >= 3 {
			cn.fail(fmt.Errorf("nothing came from the server for %v, although it was asked", c.beat()))
			continue
		}
		if silent == 1 || w == writes {
			c.ping(cn)
		}
		reads, writes = r, w
	}
}

// watchDrain waits for the end of a connection that the server is closing.
func (c *Client) watchDrain(cn *conn) {
	fire, stop := c.o.clock.After(drainTimeout)
	defer stop()
	select {
	case <-cn.dead:
	case <-fire:
		cn.fail(errors.New("the server did not finish closing the connection")) // its closing is the reason that callers see
	}
}

// ping sends sys.ping for whose response nobody waits, unless one is on its way.
func (c *Client) ping(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cn.ping != nil || cn.err != nil {
		return
	}
	m, err := c.newCall(c.ctx, request, "sys.ping", nil)
	if err != nil {
		return // only a WithMaxFrame of a few bytes: it stops every call
	}
	m.only, m.quiet = cn, true
	cn.ping = m
	c.pushLocked(m)
}
