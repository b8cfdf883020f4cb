package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime/debug"
	"sync"
	"time"

	"gameserverd/wire"
)

// Request is a call or notification of the server. It belongs to the handler and stays valid after it.
type Request struct {
	ctx          context.Context
	client       *Client
	method       string
	params       Raw
	id           uint32
	notification bool
}

// Context ends with the client; for a call also when the server no longer waits for the answer, which is after its
// timeout or with the connection.
func (r *Request) Context() context.Context { return r.ctx }

// Client is the client that got the request.
func (r *Request) Client() *Client { return r.client }

// Method is the name that was called.
func (r *Request) Method() string { return r.method }

// Params is the array of params as it came.
func (r *Request) Params() Raw { return r.params }

// Notification reports whether nobody waits for the result.
func (r *Request) Notification() bool { return r.notification }

// Decode reads the params, in order, into what the arguments point to:
//
//	var room, text string
//	var from uint64
//	err := r.Decode(&room, &from, &text)
//
// Integers, floats, bool, string and []byte and pointers to *Raw and *any are read directly; everything else, structs
// foremost, as msgpack/v5 does. A param that is missing is an InvalidArgument error, as is one of the wrong type, unless
// the argument points to a pointer: that is left nil. Params beyond the arguments are ignored, so that a newer server may
// add some.
func (r *Request) Decode(into ...any) error {
	in := wire.NewReader(r.params)
	n, err := in.Array()
	if err != nil {
		return failure(InvalidArgument, r.method+": params must be an array", err)
	}
	for i, v := range into {
		if i >= n {
			if p := reflect.TypeOf(v); p.Kind() == reflect.Pointer && p.Elem().Kind() == reflect.Pointer {
				continue
			}
			return failure(InvalidArgument, fmt.Sprintf("%s: param %d is missing, there are %d", r.method, i+1, n))
		}
		if err := decode(in.Raw(), v); err != nil {
			return failure(InvalidArgument, fmt.Sprintf("%s: param %d %s", r.method, i+1, describe(err)), err)
		}
	}
	return nil
}

type handler = func(*Request) (any, error)

// handlers is the table of methods that the server may call.
type handlers struct {
	mu sync.RWMutex
	m  map[string]named
}

type named struct {
	name string // the key: saves a copy per request
	fn   handler
}

func (h *handlers) find(method []byte) (named, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	n, ok := h.m[string(method)]
	if !ok {
		if n, ok = h.m[""]; ok {
			n.name = string(method)
		}
	}
	return n, ok
}

// Handle has fn answer the server's calls of method, and handle its notifications; it replaces an earlier fn, and nil
// removes it. The method "" stands for all that have no fn of their own.
//
// For a call fn returns the result, or an error: an *Error in its chain is sent as it is, a context's
// error as its code, any other is logged and the server sees only that the handler failed. Each call has its own goroutine and starts at once, without waiting for
// notifications that came before it. For a notification the result is ignored and an error is logged; notifications are
// handled one after another in the order received, so a slow handler delays the next ones (see WithNotificationQueue for
// how long). A panic costs only its own call.
//
// A handler may use the client in every way, also wait for a Call.
func (c *Client) Handle(method string, fn func(*Request) (any, error)) {
	h := &c.handlers
	h.mu.Lock()
	defer h.mu.Unlock()
	if fn == nil {
		delete(h.m, method)
		return
	}
	if h.m == nil {
		h.m = make(map[string]named)
	}
	h.m[method] = named{method, fn}
}

// HandleFunc is Handle with types. When P is a struct its exported fields are the params, in order; any other P is the
// only param. A field that is a pointer is optional.
//
//	client.HandleFunc(c, "duel.offer", func(ctx context.Context, from uint64) (bool, error) { ... })
func HandleFunc[P, R any](c *Client, method string, fn func(ctx context.Context, params P) (R, error)) {
	fields := paramFields(reflect.TypeFor[P]())
	c.Handle(method, func(r *Request) (any, error) {
		var p P
		if err := r.Decode(pointers(&p, fields)...); err != nil {
			return nil, err
		}
		return fn(r.ctx, p)
	})
}

// On is HandleFunc for notifications, which have no result. As the handler of a call it answers nil.
//
//	type Said struct { Room string; UID uint64; Text string; AtMS int64 }
//	client.On(c, "room.said", func(ctx context.Context, s Said) { ... })
func On[P any](c *Client, method string, fn func(ctx context.Context, params P)) {
	HandleFunc(c, method, func(ctx context.Context, p P) (any, error) {
		fn(ctx, p)
		return nil, nil
	})
}

// paramFields lists the fields of a struct that are params; nil: the type itself is the param.
func paramFields(t reflect.Type) []int {
	if t.Kind() != reflect.Struct {
		return nil
	}
	fields := make([]int, 0, t.NumField())
	for i := range t.NumField() {
		if t.Field(i).IsExported() {
			fields = append(fields, i)
		}
	}
	return fields
}

// pointers returns what Decode is to fill of p, which points to a value of the type that fields were made for.
func pointers(p any, fields []int) []any {
	if fields == nil {
		return []any{p}
	}
	into := make([]any, len(fields))
	v := reflect.ValueOf(p).Elem()
	for i, f := range fields {
		into[i] = v.Field(f).Addr().Interface()
	}
	return into
}

// notified handles a notification. Reader only.
func (cn *conn) notified(msg *wire.Message) error {
	if string(msg.Method) == wire.ClosingMethod {
		return cn.closed(msg)
	}
	c := cn.c
	h, ok := c.handlers.find(msg.Method)
	if !ok {
		c.unknown.Add(1)
		return nil
	}
	r := &Request{ctx: c.ctx, client: c, method: h.name, params: append(Raw(nil), msg.Params...), notification: true}
	e := event{req: r, handler: h.fn}
	if c.inbox.offer(e) {
		return nil
	}
	return cn.offerLater(e)
}

// offerLater waits for room in the inbox. Meanwhile nothing is read, which in time makes the server wait too.
func (cn *conn) offerLater(e event) error {
	cn.stalled.Store(true)
	defer cn.stalled.Store(false)
	fire, stop := cn.c.o.clock.After(stallTimeout)
	defer stop()
	for !cn.c.inbox.offer(e) {
		select {
		case <-cn.c.inbox.space:
		case <-cn.dead:
			return nil
		case <-fire:
			return failure(ResourceExhausted, fmt.Sprintf("handlers are too slow: the queue of notifications was full for %v", stallTimeout))
		}
	}
	return nil
}

// deliver runs events one after another, until the client has ended.
func (c *Client) deliver() {
	normal := false
	defer func() {
		if !normal {
			go c.deliver() // a handler ended the goroutine with runtime.Goexit
		}
	}()
	for {
		e, ok := c.inbox.take()
		if !ok {
			break
		}
		c.deliverOne(e)
	}
	normal = true
}

func (c *Client) deliverOne(e event) {
	if e.tell != nil {
		defer c.recovered("a state callback")
		e.tell()
		return
	}
	defer c.recovered(e.req.method)
	if _, err := e.handler(e.req); err != nil {
		c.o.log.Warn("client: notification not handled", slog.String("method", e.req.method), slog.Any("error", err))
	}
}

// recovered is deferred: it logs a panic and ends it.
func (c *Client) recovered(method string) {
	if v := recover(); v != nil {
		c.logPanic(method, v)
	}
}

func (c *Client) logPanic(method string, v any) {
	c.o.log.Error("client: panic in a handler", slog.String("method", method), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
}

// called starts the handler of a call. Reader only; an error ends the connection.
func (cn *conn) called(msg *wire.Message) error {
	c := cn.c
	h, ok := c.handlers.find(msg.Method)
	c.mu.Lock()
	cn.owed++
	full := c.serving >= c.o.maxServing
	if ok && !full {
		c.serving++
	}
	c.mu.Unlock()
	switch {
	case !ok:
		c.unknown.Add(1)
		return cn.answer(msg.ID, string(msg.Method), nil, Errorf(Unimplemented, "this client has no method %q", msg.Method))
	case full:
		return cn.answer(msg.ID, h.name, nil, &Error{Code: ResourceExhausted, Message: h.name + ": this client is busy", RetryAfter: 100 * time.Millisecond})
	}
	r := &Request{ctx: cn.ctx, client: c, method: h.name, params: append(Raw(nil), msg.Params...), id: msg.ID}
	meta := wire.ParseMeta(msg.Meta)
	if meta.Traceparent != nil {
		r.ctx = WithTraceparent(r.ctx, string(meta.Traceparent))
	}
	go cn.serve(r, h.fn, meta)
	return nil
}

// serve runs one handler and sends its answer.
func (cn *conn) serve(r *Request, fn handler, meta wire.Meta) {
	c := cn.c
	var result any
	err := error(Errorf(Internal, "%s: the handler did not return", r.method)) // when it panics, or ends its goroutine
	defer func() {
		if v := recover(); v != nil {
			c.logPanic(r.method, v)
		}
		if err := cn.answer(r.id, r.method, result, err); err != nil {
			cn.fail(err)
		}
		c.mu.Lock()
		c.serving--
		c.mu.Unlock()
	}()
	if meta.HasTimeout {
		var cancel context.CancelFunc
		r.ctx, cancel = context.WithTimeout(r.ctx, time.Duration(min(meta.TimeoutMS, uint64(maxRetryAfter/time.Millisecond)))*time.Millisecond)
		defer cancel()
	}
	result, err = fn(r)
}

// answer queues the response to a call. Its error, that too many replies wait, is to end the connection.
func (cn *conn) answer(id uint32, method string, result any, err error) error {
	c := cn.c
	m := calls.Get().(*call)
	m.kind, m.method, m.only, m.quiet = reply, method, cn, true
	m.frame = c.response(m.frame[:0], id, method, result, err)
	if _, err := c.enqueue(context.Background(), m, false); err != nil {
		m.free()
		select {
		case <-cn.dead:
			return nil // nobody is there to answer
		default:
			return err
		}
	}
	return nil
}

// response encodes a response to b. A result or an error that cannot be sent becomes an error that can.
func (c *Client) response(b []byte, id uint32, method string, result any, err error) []byte {
	b = wire.BeginFrame(b)
	if err == nil {
		if b, err = c.appendResult(b, id, result); err == nil {
			wire.EndFrame(b, 0)
			return b
		}
	}
	e := c.outward(method, err)
	copied, bad := checkRaws(e, 0)
	if bad == nil {
		b = wire.AppendErrorResponse(b[:wire.HeaderLen], id, e)
		bad = c.checkFrame(b, copied)
	}
	if bad != nil {
		b = wire.AppendErrorResponse(b[:wire.HeaderLen], id, Errorf(Internal, "%s: the client's error cannot be sent", method))
	}
	wire.EndFrame(b, 0)
	return b
}

func (c *Client) appendResult(b []byte, id uint32, result any) ([]byte, error) {
	copied, err := checkRaws(result, 0)
	if err == nil {
		b, err = wire.AppendAny(wire.AppendResult(b, id), result)
	}
	if err == nil {
		err = c.checkFrame(b, copied)
	}
	return b, err
}

// outward is the error that the server gets to see for err.
func (c *Client) outward(method string, err error) *Error {
	var e *Error
	if errors.As(err, &e) && e != nil {
		return e
	}
	if code := CodeOf(err); code == DeadlineExceeded || code == Canceled {
		return Errorf(code, "%s: the handler's context has ended", method)
	}
	c.o.log.Warn("client: call not handled", slog.String("method", method), slog.Any("error", err))
	return Errorf(Internal, "%s: the client's handler failed", method)
}
