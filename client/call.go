package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gameserverd/wire"
)

// kind says what a call is on the wire.
type kind uint8

const (
	request kind = iota
	notification
	reply // to a request of the server
)

// state says where a call is. It only moves forward.
type state uint8

const (
	made   state = iota // encoded, belongs to its maker
	queued              // in Client.queue; a request is also in Client.pending
	sent                // a request taken by the writer, in Client.pending
	ended               // nowhere; belongs to whoever ended it
)

// call is one message on its way out, and for a request what its response needs. Calls are pooled.
type call struct {
	// the maker's, immutable while queued or sent
	kind     kind
	id       uint32 // requests
	method   string
	frame    []byte    // the encoded frame
	metaAt   int       // where the meta begins in frame; 0: there is none
	deadline time.Time // what the meta tells; zero: nothing of a time
	trace    string    // the traceparent that the meta tells; "": none
	only     *conn     // the one connection that it is for; nil: whichever comes
	quiet    bool      // nobody waits for its end: whoever ends it frees it
	result   any       // what the result is decoded into; nil: ignored
	then     func()    // run by the reader after a good response, before anybody hears of it
	async    *Pending  // of Go; nil: done is used

	// Client.mu
	state      state
	prev, next *call // in Client.queue

	// whoever ended it, before done
	err  error
	done chan struct{} // capacity 1: one value when the call has ended, unless quiet or async
}

// maxPooledFrame is the longest frame, in bytes, that a pooled call keeps.
const maxPooledFrame = 64 << 10

var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

// free gives m back to the pool. Nobody may hold it any more, and done must be empty.
func (m *call) free() {
	frame, done := m.frame[:0], m.done
	if cap(frame) > maxPooledFrame {
		frame = nil
	}
	*m = call{frame: frame, done: done}
	calls.Put(m)
}

// finish hands the end of m to whoever waits for it. m must be ended, and is the waiter's from here on.
func (m *call) finish(err error) {
	m.err = err
	switch {
	case m.async != nil:
		p := m.async
		if p.stop == nil || p.stop() { // else the function of Go may look at m later
			m.free()
		}
		p.finish(err)
	case m.quiet:
		m.free()
	default:
		m.done <- struct{}{}
	}
}

// stamp writes the meta into the frame: the trace, and the time that is left until the deadline, in whole milliseconds,
// at least 1.
func (m *call) stamp(now time.Time) {
	var meta wire.Meta
	if !m.deadline.IsZero() {
		left := max(m.deadline.Sub(now)+time.Millisecond-1, time.Millisecond)
		meta.TimeoutMS, meta.HasTimeout = uint64(left/time.Millisecond), true
	}
	if m.trace != "" {
		meta.Traceparent = []byte(m.trace)
	}
	m.frame = wire.AppendMeta(m.frame[:m.metaAt], meta)
	wire.EndFrame(m.frame, 0)
}

// newCall encodes a request or notification. The deadline of ctx becomes the timeout_ms of a request, its trace the
// traceparent.
func (c *Client) newCall(ctx context.Context, k kind, method string, params []any) (*call, error) {
	if method == "" || len(method) > wire.MaxMethod {
		return nil, failure(InvalidArgument, fmt.Sprintf("a method's name has 1 to %d bytes, not %d", wire.MaxMethod, len(method)))
	}
	m := calls.Get().(*call)
	m.kind, m.method = k, method
	b := wire.BeginFrame(m.frame[:0])
	withMeta := false
	if k == notification {
		b = wire.AppendNotification(b, method)
	} else {
		m.id = c.lastID.Add(1)
		m.deadline, withMeta = ctx.Deadline()
		m.trace = Traceparent(ctx)
		if withMeta = withMeta || m.trace != ""; withMeta {
			b = wire.AppendRequestMeta(b, m.id, method)
		} else {
			b = wire.AppendRequest(b, m.id, method)
		}
	}
	b = wire.AppendArray(b, len(params))
	copied := false
	for i, p := range params {
		raws, err := checkRaws(p, 0)
		if err == nil {
			b, err = wire.AppendAny(b, p)
		}
		if err != nil {
			m.free()
			return nil, failure(InvalidArgument, fmt.Sprintf("%s: param %d cannot be sent: %v", method, i+1, err), err)
		}
		copied = copied || raws
	}
	m.frame = b
	if withMeta {
		m.metaAt = len(b)
		m.stamp(time.Now())
	} else {
		wire.EndFrame(m.frame, 0)
	}
	if err := c.checkFrame(m.frame, copied); err != nil {
		m.free()
		return nil, failure(InvalidArgument, method+": the params cannot be sent: "+err.Error(), err)
	}
	return m, nil
}

// checkRaws validates every Raw in v that AppendAny copies as it is, and reports whether there are any: a bad one would
// cost the connection, not only its own call.
func checkRaws(v any, depth int) (found bool, err error) {
	if depth > wire.MaxDepth {
		return found, nil // AppendAny refuses it
	}
	var inner bool
	switch v := v.(type) {
	case Raw:
		found = true
		if len(v) > 0 {
			err = wire.Check(v, wire.MaxFrame)
		}
	case []any:
		for _, e := range v {
			inner, err = checkRaws(e, depth+1)
			if found = found || inner; err != nil {
				break
			}
		}
	case map[string]any:
		for _, e := range v {
			inner, err = checkRaws(e, depth+1)
			if found = found || inner; err != nil {
				break
			}
		}
	case *Error:
		if v != nil {
			return checkRaws(v.Data, depth+1)
		}
	}
	return found, err
}

// checkFrame refuses a frame that the server would close the connection for: too long, or with values copied into it
// that together with what is around them are nested too deep.
func (c *Client) checkFrame(frame []byte, copied bool) error {
	if n := len(frame) - wire.HeaderLen; n > c.o.maxFrame {
		return fmt.Errorf("the message has %d bytes, more than the limit of %d", n, c.o.maxFrame)
	}
	if !copied {
		return nil
	}
	return wire.Check(frame[wire.HeaderLen:], wire.MaxFrame)
}

// callList is a queue of calls from which any one can be taken out.
type callList struct {
	head, tail *call
	len, bytes int // bytes of their frames
}

func (l *callList) push(m *call) {
	m.prev, m.next = l.tail, nil
	if l.tail == nil {
		l.head = m
	} else {
		l.tail.next = m
	}
	l.tail = m
	l.len++
	l.bytes += len(m.frame)
}

func (l *callList) remove(m *call) {
	if m.prev == nil {
		l.head = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next == nil {
		l.tail = m.prev
	} else {
		m.next.prev = m.prev
	}
	m.prev, m.next = nil, nil
	l.len--
	l.bytes -= len(m.frame)
}

// Pending is a call made by Client.Go.
type Pending struct {
	// immutable after Go
	method string
	done   chan struct{}
	stop   func() bool // ends watching the context; nil: it cannot end

	// written once, before done is closed
	err error
}

// Method is the name of the method called.
func (p *Pending) Method() string { return p.method }

// Done is closed when the call has ended and its result, if it has one, is decoded.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Err is the error of the call once Done is closed, nil before.
func (p *Pending) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Wait waits until the call has ended and returns its error. The context given to Go bounds it.
func (p *Pending) Wait() error {
	<-p.done
	return p.err
}

func (p *Pending) finish(err error) {
	p.err = err
	close(p.done)
}
