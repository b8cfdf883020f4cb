package client

import (
	"context"
	"time"

	"gameserverd/wire"
)

// What happens between callers, the writer and the reader: everything here that ends in Locked needs Client.mu.

// batchBytes is about how much one write sends, in bytes: the writer stops collecting once it has as much.
const batchBytes = 64 << 10

// enqueue gives m to the writer. With block it waits for room, until ctx ends. It reports whether m has become quiet, so
// that the caller must not touch it again; after an error m is still the caller's.
func (c *Client) enqueue(ctx context.Context, m *call, block bool) (quiet bool, err error) {
	c.mu.Lock()
	for {
		room, err := c.admitLocked(ctx, m, block)
		if err != nil {
			c.mu.Unlock()
			return false, err
		}
		if room == nil {
			break
		}
		c.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		}
		c.mu.Lock()
	}
	m.quiet = m.quiet || m.kind == notification && c.online
	quiet = m.quiet
	c.pushLocked(m)
	c.mu.Unlock()
	return quiet, nil
}

// admitLocked decides whether m may be queued now: with neither an error nor a channel it may. The channel is closed when
// it makes sense to ask again.
func (c *Client) admitLocked(ctx context.Context, m *call, block bool) (<-chan struct{}, error) {
	switch {
	case m.only != nil:
		if m.only.err != nil {
			return nil, lostError(m.method, m.only.err)
		}
		if c.queue.bytes+len(m.frame) > 2*maxQueuedBytes {
			return nil, failure(ResourceExhausted, m.method+": the server does not read what it is sent")
		}
		return nil, nil
	case c.err != nil:
		return nil, endedError(m.method, c.err, false)
	case ctx.Err() != nil:
		return nil, contextError(ctx, m.method)
	case !c.online && c.queue.len >= c.o.maxWaiting:
		return nil, &callError{e: &Error{Code: Unavailable, Message: m.method + ": there is no connection, and too many calls wait for one", RetryAfter: time.Second}}
	case c.pending[m.id] != nil && m.kind == request:
		return nil, failure(ResourceExhausted, m.method+": a call made 2^32 calls ago still waits and has the same id")
	case c.load < c.o.maxPending && (c.queue.len == 0 || c.queue.bytes+len(m.frame) <= maxQueuedBytes):
		return nil, nil
	case !block:
		return nil, &callError{e: &Error{Code: ResourceExhausted, Message: m.method + ": too many calls are pending", RetryAfter: 10 * time.Millisecond}}
	}
	if c.room == nil {
		c.room = make(chan struct{})
	}
	return c.room, nil
}

// pushLocked queues m and wakes the writer when it may send it.
func (c *Client) pushLocked(m *call) {
	m.state = queued
	c.queue.push(m)
	if m.kind == request {
		c.pending[m.id] = m
	}
	if m.only == nil {
		c.load++
		if c.online {
			c.conn.wakeLocked()
		}
		return
	}
	m.only.wakeLocked()
}

// endLocked takes m out of everything. It is then the caller's, to finish.
func (c *Client) endLocked(m *call) {
	if m.state == queued {
		c.queue.remove(m)
	} else if !m.quiet {
		c.conn.inflight--
		if c.conn.closing != nil {
			c.conn.wakeLocked() // to see whether it is done
		}
	}
	if m.kind == request {
		delete(c.pending, m.id)
	}
	if m.kind == reply {
		m.only.owed--
	}
	if m.only != nil && m.only.ping == m {
		m.only.ping = nil
	}
	m.state = ended
	if m.only == nil {
		c.load--
		c.roomLocked()
	}
}

// roomLocked wakes those who wait for room, when a quarter is free: not for every call, which would wake all of them for
// one place.
func (c *Client) roomLocked() {
	if c.room != nil && c.load <= c.o.maxPending*3/4 && c.queue.bytes <= maxQueuedBytes*3/4 {
		c.allAskAgainLocked()
	}
}

// allAskAgainLocked makes everybody who waits for room ask again, because what decides has changed.
func (c *Client) allAskAgainLocked() {
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
}

// abandon ends m without finishing it, and reports whether it did: false when it has ended or was never queued.
func (c *Client) abandon(m *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.state != queued && m.state != sent {
		return false
	}
	c.endLocked(m)
	return true
}

// take appends frames for cn to buf, for one write. When there are none it notes that the writer sleeps; over then says
// that none will come, and the connection is to be closed.
func (c *Client) take(cn *conn, buf []byte) (_ []byte, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cn.err != nil {
		return buf, false
	}
	var now time.Time
	for m := c.queue.head; m != nil && len(buf) < batchBytes; {
		next := m.next
		if m.only == cn || m.only == nil && c.online {
			if m.metaAt > 0 {
				if now.IsZero() {
					now = time.Now()
				}
				c.queue.bytes -= len(m.frame)
				m.stamp(now)
				c.queue.bytes += len(m.frame)
			}
			buf = append(buf, m.frame...)
			c.sentLocked(cn, m)
		}
		m = next
	}
	if len(buf) > 0 {
		c.roomLocked()
		return buf, false
	}
	cn.asleep = true
	return buf, c.err != nil || cn.closing != nil && cn.inflight == 0 && cn.owed == 0
}

// sentLocked moves m on after its frame was copied: a request waits for its response, anything else has ended.
func (c *Client) sentLocked(cn *conn, m *call) {
	if m.kind == request {
		c.queue.remove(m)
		m.state = sent
		if !m.quiet {
			cn.inflight++
		}
		return
	}
	c.endLocked(m)
	m.finish(nil)
}

// complete ends the call that a response belongs to. Reader only.
func (c *Client) complete(cn *conn, msg *wire.Message) {
	c.mu.Lock()
	m := c.pending[msg.ID]
	if m == nil || m.state != sent || cn.err != nil {
		c.mu.Unlock()
		c.late.Add(1)
		return
	}
	c.endLocked(m)
	c.mu.Unlock()
	var err error
	if msg.Err != nil {
		err = wire.ParseError(msg.Err)
	} else if m.result != nil {
		err = decodeResult(m.method, msg.Result, m.result)
	}
	if err == nil && m.then != nil {
		m.then()
	}
	m.finish(err)
}

// victim is a call that was ended together with its connection or client.
type victim struct {
	m    *call
	sent bool
}

func (c *Client) victimLocked(vs []victim, m *call) []victim {
	v := victim{m, m.state == sent}
	c.endLocked(m)
	return append(vs, v)
}

// takeLostLocked ends what cannot survive the loss of cn: requests that were sent, and whatever was for cn only.
func (c *Client) takeLostLocked(cn *conn) (vs []victim) {
	for _, m := range c.pending {
		if m.state == sent {
			vs = c.victimLocked(vs, m)
		}
	}
	for m := c.queue.head; m != nil; {
		next := m.next
		if m.only == cn {
			vs = c.victimLocked(vs, m)
		}
		m = next
	}
	return vs
}

// takeAllLocked ends every request, and what else is queued unless it is to be written yet.
func (c *Client) takeAllLocked(write bool) (vs []victim) {
	for _, m := range c.pending {
		vs = c.victimLocked(vs, m)
	}
	for m := c.queue.head; m != nil && !write; {
		next := m.next
		vs = c.victimLocked(vs, m)
		m = next
	}
	c.allAskAgainLocked()
	return vs
}

// finishAll finishes the calls of a client that has ended because of cause.
func finishAll(vs []victim, cause error) {
	for _, v := range vs {
		v.m.finish(endedError(v.m.method, cause, v.sent))
	}
}
