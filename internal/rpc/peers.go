package rpc

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/future"
	"gameserverd/wire"
)

// Workers runs blocking methods.
type Workers interface {
	// Submit runs fn on another goroutine soon; false when its queue is full.
	Submit(fn func()) bool
}

// Options is what Peers are made from.
type Options struct {
	Registry   *Registry
	Limits     Limits
	Protocols  []string // the framings served, of "frames" and "stream"
	Workers    Workers
	Middleware []Middleware
	Tracer     Tracer // nil: nobody traces
	Log        *zap.Logger
	Input      Meter // counts the bytes in mailboxes, about; nil: nobody wants to know

	// Bound and Unbound are called on a player's home loop when a session of the
	// player begins and when it ends; nil: nobody wants to know.
	Bound, Unbound func(uid uint64)
}

// Peers is everybody who is connected to this process: the directory that finds
// a player's session by uid, on whichever hub it is.
type Peers struct {
	// immutable after Start
	registry   *Registry
	protocols  []string
	workers    Workers
	middleware chain
	tracer     Tracer
	watched    bool // middleware or a tracer is there
	log        *zap.Logger
	input      Meter
	bound      func(uid uint64)
	unbound    func(uid uint64)
	hubs       []*Hub
	origin     time.Time // what the hubs' clocks count from; monotonic

	// any goroutine
	Counters Counters
	underway atomic.Int64 // calls that have begun and not ended, either way
	waiting  atomic.Int64 // messages in mailboxes
	moving   atomic.Int64 // sessions between two hubs
	online   atomic.Int64 // sessions with a uid
	refusing atomic.Int64 // refused connections that wait to be told
	tracing  atomic.Int64 // traces
	pressure atomic.Int32 // a Pressure
	ended    atomic.Pointer[Middleware]
	changes  chan struct{}

	mu     sync.Mutex
	limits Limits // guarded by mu; each hub has a copy
}

// NewPeers returns Peers without hubs. The registry may still be filled until
// Start.
func NewPeers(o Options) *Peers {
	return &Peers{
		registry: o.Registry, limits: o.Limits, protocols: o.Protocols, workers: o.Workers,
		middleware: chain(o.Middleware), tracer: o.Tracer, watched: o.Middleware != nil || o.Tracer != nil, log: o.Log, input: o.Input, bound: orNothing(o.Bound), unbound: orNothing(o.Unbound), changes: make(chan struct{}, 1),
	}
}

func orNothing(fn func(uid uint64)) func(uid uint64) {
	if fn == nil {
		return func(uint64) {}
	}
	return fn
}

// AddHub makes the hub of one more loop, which does not run yet. Its link is set by
// Connect. Before Start only.
func (p *Peers) AddHub(loop Loop) *Hub {
	if len(p.hubs) == 0 {
		p.origin = loop.Now()
	}
	h := &Hub{
		peers: p, index: len(p.hubs), loop: loop, methods: p.registry.methods,
		uids: make(map[uint64]uint64), orphans: make(map[*Call]struct{}), rooms: make(map[string]*room), tick: 1,
	}
	h.call.hub.Store(h)
	h.setLimits(p.limits.complete())
	p.hubs = append(p.hubs, h)
	return h
}

// Connect gives the hub its connections. Before Start only.
func (h *Hub) Connect(link Link) { h.link = link }

// Start freezes the registry and starts each hub's clock. The hubs take bytes
// from then on. Any goroutine, once.
func (p *Peers) Start() {
	p.registry.Freeze()
	for _, h := range p.hubs {
		h.records.methods = make([]MethodStats, len(p.registry.methods))
		h.loop.AddCallback(func() {
			h.offset = int64(h.loop.Now().Sub(p.origin)) - h.loop.Monotonic()
			h.sweep()
		})
	}
}

// home is the hub where all code for uid runs.
func (p *Peers) home(uid uint64) *Hub { return p.hubs[p.HomeOf(uid)] }

// HomeOf is the index, in the order of AddHub, of the hub where all code for uid
// runs. Any goroutine.
func (p *Peers) HomeOf(uid uint64) int { return p.homeIndex(hashUID(uid)) }

// homeIndex spreads a hash over the hubs.
func (p *Peers) homeIndex(hash uint64) int {
	return int((hash >> 32) * uint64(len(p.hubs)) >> 32)
}

// hashUID is Fibonacci hashing: uids that follow one another spread evenly.
func hashUID(uid uint64) uint64 { return uid * 0x9e3779b97f4a7c15 }

// Notify sends a notification to the client of uid; if the player is not online
// it goes nowhere. An error says that the params cannot be encoded, or, with
// resource_exhausted, that the player's loop is too far behind. Any goroutine.
func (p *Peers) Notify(uid uint64, method string, params ...any) error {
	frame, err := encodeNotification(method, params)
	if err != nil {
		return err
	}
	if uid == 0 {
		return nil
	}
	h := p.home(uid)
	if h.crowded() {
		return errCrowded()
	}
	h.deliver(delivery{uid: uid, frame: frame})
	return nil
}

// NotifyMany sends a notification, encoded once, to each of uids who is online.
// An error is as of Notify; only those whose loop is behind get nothing then. Any
// goroutine.
func (p *Peers) NotifyMany(uids []uint64, method string, params ...any) error {
	frame, err := encodeNotification(method, params)
	if err != nil {
		return err
	}
	byHub := make([][]uint64, len(p.hubs))
	for _, uid := range uids {
		i := p.HomeOf(uid)
		byHub[i] = append(byHub[i], uid)
	}
	for i, uids := range byHub {
		if len(uids) == 0 {
			continue
		}
		if p.hubs[i].crowded() {
			err = errCrowded()
			continue
		}
		p.hubs[i].deliver(delivery{uids: uids, frame: frame})
	}
	return err
}

// Call calls a method of the client of uid and resolves to its result. It fails
// with failed_precondition when the player is not online, deadline_exceeded when
// the answer does not come within timeout, canceled when the client goes, or
// with the error that the client answers. Any goroutine.
func (p *Peers) Call(uid uint64, timeout time.Duration, method string, params ...any) *future.Future[Raw] {
	return p.callWithin(nil, uid, timeout, method, params)
}

// callWithin is Call as a part of what span is about; nil: nothing that is traced.
func (p *Peers) callWithin(span Span, uid uint64, timeout time.Duration, method string, params []any) *future.Future[Raw] {
	if uid == 0 {
		return future.Failed[Raw](Errorf(InvalidArgument, "uid 0 is nobody"))
	}
	encoded, err := appendParams(nil, method, params)
	if err != nil {
		return future.Failed[Raw](err)
	}
	done := future.New[Raw]()
	h := p.home(uid)
	if h.crowded() {
		return future.Failed[Raw](errCrowded())
	}
	var meta wire.Meta
	if span != nil {
		child := span.Child(method, SpanClient)
		child.UID(uid)
		meta.Traceparent = []byte(child.Traceparent())
		endWith(child, done)
	}
	if !h.deliver(delivery{frame: encoded, act: func() { h.ask(uid, timeout, method, encoded, meta, done) }}) {
		done.Fail(Errorf(Unavailable, "the server is shutting down"))
	}
	return done
}

// CallAs is Peers.Call with the result decoded as a T, on the loop of on. A
// result that is no T fails with invalid_argument. With a *Call as on it is a part
// of that call's trace, which the client is told. Any goroutine.
func CallAs[T any](p *Peers, on future.Poster, uid uint64, timeout time.Duration, method string, params ...any) *future.Future[T] {
	var span Span
	if c, ok := on.(*Call); ok {
		span = c.span
	}
	return future.Map(p.callWithin(span, uid, timeout, method, params), on, func(raw Raw) (T, error) {
		var v T
		if err := wire.Unmarshal(raw, &v); err != nil {
			return v, Errorf(InvalidArgument, "player %d answered %s with %s: %s", uid, method, wire.TypeName(raw), decodeProblem(err))
		}
		return v, nil
	})
}

// Post runs fn on uid's home loop, where all code for that player runs. It
// reports false when the loop has closed. Any goroutine.
func (p *Peers) Post(uid uint64, fn func()) bool { return p.home(uid).loop.AddCallback(fn) }

// Kick closes the session of uid, if there is one, and tells the client why. The
// future resolves to whether there was one. Any goroutine.
func (p *Peers) Kick(uid uint64, why wire.Closing) *future.Future[bool] {
	if uid == 0 {
		return future.Resolved(false)
	}
	done := future.New[bool]()
	h := p.home(uid)
	delivered := h.deliver(delivery{act: func() {
		s := h.session(h.uids[uid])
		if s != nil {
			h.closeSession(s, why)
		}
		done.Resolve(s != nil)
	}})
	if !delivered {
		done.Resolve(false)
	}
	return done
}

// Broadcast sends a notification, encoded once, to everybody who is logged in,
// and returns how many they are. Who logs in or moves meanwhile may miss it. On a
// loop with thousands of sessions it is sent in steps, so to some of them
// something that was sent later may come first. An error is as of Notify; those whose
// loop is behind get nothing then. Any goroutine.
func (p *Peers) Broadcast(method string, params ...any) (sessions int, err error) {
	frame, err := encodeNotification(method, params)
	if err != nil {
		return 0, err
	}
	for _, h := range p.hubs {
		if h.crowded() {
			err = errCrowded()
			continue
		}
		h.deliver(delivery{act: func() {
			h.inSteps(func(s *session) {
				if s.uid != 0 && !s.has(flagClosing) {
					h.send(s, frame)
				}
			}, nil)
		}})
	}
	return p.Online(), err
}

// Online is the number of sessions with a uid. Any goroutine.
func (p *Peers) Online() int { return int(p.online.Load()) }

// Connections is the number of open sessions. Any goroutine.
func (p *Peers) Connections() int {
	n := int64(0)
	for _, h := range p.hubs {
		n += h.open.Load()
	}
	return int(n)
}

// Underway is the number of calls that have begun and not ended. Any goroutine.
func (p *Peers) Underway() int { return int(p.underway.Load()) }

// Waiting is the number of messages in mailboxes. Any goroutine.
func (p *Peers) Waiting() int { return int(p.waiting.Load()) }

// jitter spreads what many clients are told to wait: d to 3 d.
func (p *Peers) jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(2*int64(d)))
}

// Counters count what has no caller to be told. Any goroutine.
type Counters struct {
	FailedNotifications atomic.Int64 // notifications from clients that failed or name no method
	StrayResponses      atomic.Int64 // responses that nobody waits for
	MailboxFull         atomic.Int64 // times that reading stopped at a full mailbox
	Panics              atomic.Int64 // methods that panicked
	OverRate            atomic.Int64 // requests over the rate limit, refused
	OverRateDropped     atomic.Int64 // notifications over the rate limit, dropped
	ShedNew             atomic.Int64 // sessions refused for want of memory
	ShedStrangers       atomic.Int64 // sessions without a login closed for want of memory
	ShedInput           atomic.Int64 // sessions closed for want of memory for what they have sent

	closed [len(closingCodes)]atomic.Int64
}

// closingCodes are the codes of the protocol page, section 4.
var closingCodes = [...]string{
	wire.ProtocolError, wire.FrameTooLarge, wire.LoginTimeout, wire.IdleTimeout, wire.SlowConsumer,
	wire.RateLimited, wire.TooManyConnections, wire.Replaced, wire.Kicked, wire.ServerShutdown,
}

// count notes a session that the server closes; a code of the operator's own
// counts as kicked.
func (c *Counters) count(code string) {
	for i, known := range closingCodes {
		if known == code {
			c.closed[i].Add(1)
			return
		}
	}
	c.count(wire.Kicked)
}

// Closed is how many sessions the server has closed, by the code that was the first
// for each. Any goroutine.
func (c *Counters) Closed() map[string]int64 {
	closed := make(map[string]int64, len(closingCodes))
	for i, code := range closingCodes {
		closed[code] = c.closed[i].Load()
	}
	return closed
}

// String names the counts that are not 0, for logs.
func (c *Counters) String() string {
	var counts []string
	add := func(name string, n int64) {
		if n != 0 {
			counts = append(counts, fmt.Sprintf("%s %d", name, n))
		}
	}
	add("failed notifications", c.FailedNotifications.Load())
	add("stray responses", c.StrayResponses.Load())
	add("full mailboxes", c.MailboxFull.Load())
	add("panics", c.Panics.Load())
	add("requests over the rate", c.OverRate.Load())
	add("notifications over the rate", c.OverRateDropped.Load())
	add("refused for want of memory", c.ShedNew.Load())
	add("closed without login for want of memory", c.ShedStrangers.Load())
	add("closed for input for want of memory", c.ShedInput.Load())
	for i, code := range closingCodes {
		add("closed as "+code, c.closed[i].Load())
	}
	if len(counts) == 0 {
		return "none"
	}
	return strings.Join(counts, ", ")
}
