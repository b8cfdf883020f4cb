// Package rpctest is a game server in a test, without sockets or real time:
// methods are called as clients call them, through the whole of package rpc, and
// what runs on the server's loop runs in the test's own goroutine, when the test
// says. Other goroutines may post to the loop, as stores do; the test waits for
// them with Call and Wait.
//
// It is not for production, and no server's code imports it. Connections, loops
// and signals are not in it: tests of the daemon cover those.
//
// Its one invariant: when a method of Server or Client returns, the server has
// nothing left to do but wait for time, for a client, or for what such another
// goroutine has under way. Blocking methods are the server's own: they have ended.
package rpctest

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// Server is one server with one loop. It belongs to the test's goroutine.
type Server struct {
	Peers    *rpc.Peers
	Rooms    *rpc.Rooms
	Registry *rpc.Registry

	// Bound and Unbound are as in rpc.Options, for the build function to set; nil:
	// nobody wants to know.
	Bound, Unbound func(uid uint64)

	t   testing.TB
	hub *rpc.Hub

	timers []*timer // of the loop

	clients map[uint64]*Client // by connection
	last    uint64

	// any goroutine
	mu       sync.Mutex // guards those below
	now      time.Time
	queue    []func()
	blocking int           // blocking methods that run
	wake     chan struct{} // holds something after queue or blocking has changed
}

type timer struct {
	at time.Time
	fn func()
}

// Start is the server's time when it starts.
var Start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// patience is how long, in real time, a test waits for other goroutines.
const patience = 20 * time.Second

// New starts a server with the methods that build returns; of s it may use what
// is exported, but for Wait and Advance.
func New(t testing.TB, build func(s *Server) []rpc.Method) *Server {
	t.Helper()
	s := &Server{t: t, now: Start, clients: make(map[uint64]*Client), Registry: rpc.NewRegistry(), wake: make(chan struct{}, 1)}
	s.Peers = rpc.NewPeers(rpc.Options{
		Registry: s.Registry,
		Limits: rpc.Limits{
			MaxFrame: wire.DefaultMaxFrame, MaxElements: wire.DefaultMaxElements,
			MaxMailbox: 128, MaxMailboxBytes: wire.DefaultMaxFrame, MaxConcurrent: 32,
		},
		Protocols: []string{"frames"}, Workers: (*workers)(s), Log: zaptest.NewLogger(t),
		Bound:   func(uid uint64) { tell(s.Bound, uid) },
		Unbound: func(uid uint64) { tell(s.Unbound, uid) },
	})
	s.hub = s.Peers.AddHub((*loop)(s))
	s.hub.Connect((*link)(s))
	s.Rooms = rpc.NewRooms(s.Peers, rpc.RoomOptions{Joined: "room.joined", Left: "room.left", MaxPerPlayer: func() int { return 8 }})
	if err := s.Registry.Add(build(s)...); err != nil {
		t.Fatal(err)
	}
	s.Peers.Start()
	s.settle()
	return s
}

func tell(fn func(uint64), uid uint64) {
	if fn != nil {
		fn(uid)
	}
}

// Loop is the server's loop, for what handlers are given that needs one.
func (s *Server) Loop() rpc.Loop { return (*loop)(s) }

// Now is the server's time. Any goroutine.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *Server) setNow(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}

// Advance lets d pass, and what is due by then happen. Work of other goroutines
// takes no time: what has not come back yet comes after.
func (s *Server) Advance(d time.Duration) {
	s.t.Helper()
	end := s.Now().Add(d)
	for {
		next := slices.MinFunc(append(s.timers, &timer{at: end.Add(1)}), func(a, b *timer) int { return a.at.Compare(b.at) })
		if next.at.After(end) {
			break
		}
		s.setNow(next.at)
		s.timers = slices.DeleteFunc(s.timers, func(t *timer) bool { return t == next })
		next.fn()
		s.settle()
	}
	s.setNow(end)
}

// Wait runs what other goroutines post until the condition holds, without any of
// the server's time passing. It fails the test if that takes long; what is waited
// for is for the message.
func (s *Server) Wait(what string, until func() bool) {
	s.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for s.settle(); !until(); s.settle() {
		select {
		case <-s.wake:
		case <-late.C:
			s.t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// settle runs callbacks until there are none and no blocking method runs.
func (s *Server) settle() {
	s.t.Helper()
	var late <-chan time.Time
	for {
		fn, blocking := s.next()
		switch {
		case fn != nil:
			fn()
			continue
		case !blocking:
			return
		case late == nil:
			late = time.After(patience)
		}
		select {
		case <-s.wake:
		case <-late:
			s.t.Fatalf("a blocking method has not ended after %v", patience)
		}
	}
}

// next takes the next callback; without one fn is nil.
func (s *Server) next() (fn func(), blocking bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 {
		fn = s.queue[0]
		s.queue = s.queue[1:]
	}
	return fn, s.blocking > 0
}

// changed wakes the test up, if it waits. The caller holds mu.
func (s *Server) changed() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// workers is Server as rpc.Workers: goroutines that settle waits for, since a
// blocking method may itself wait for the loop.
type workers Server

func (w *workers) Submit(fn func()) bool {
	w.add(1)
	go func() {
		defer w.add(-1)
		fn()
	}()
	return true
}

func (w *workers) add(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blocking += n
	(*Server)(w).changed()
}

// loop is Server as rpc.Loop.
type loop Server

func (l *loop) AddCallback(fn func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, fn)
	(*Server)(l).changed()
	return true
}

func (l *loop) Now() time.Time        { return (*Server)(l).Now() }
func (l *loop) Enter(*string, uint64) {}
func (l *loop) Monotonic() int64      { return int64(l.Now().Sub(Start)) }
func (l *loop) Nanotime() int64       { return l.Monotonic() }
func (l *loop) Recent() int64         { return l.Monotonic() }
func (l *loop) After(d time.Duration, fn func()) func() {
	added := &timer{l.Now().Add(d), fn}
	l.timers = append(l.timers, added)
	return func() { l.timers = slices.DeleteFunc(l.timers, func(t *timer) bool { return t == added }) }
}

// link is Server as rpc.Link.
type link Server

func (l *link) Write(conn uint64, b []byte) bool {
	c := l.clients[conn]
	if c == nil {
		return false
	}
	c.receive(b)
	return true
}
func (l *link) Pending(uint64) int { return 0 }

// Kept is what was sent and not handled: nothing, since every message is offered
// until it is.
func (l *link) Kept(uint64) []byte { return nil }
func (l *link) Pause(uint64)       {}
func (l *link) Resume(conn uint64) { (*loop)(l).AddCallback(func() { l.offer(conn) }) }
func (l *link) Yield(conn uint64)  { l.Resume(conn) }
func (l *link) Close(conn uint64)  { (*loop)(l).AddCallback(func() { l.end(conn) }) }
func (l *link) Shutdown(conn uint64) {
	l.Close(conn)
}
func (l *link) Dismiss(conn uint64)        { l.Close(conn) }
func (l *link) Peer(uint64) netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:40000") }
func (l *link) Number(conn uint64) uint64  { return conn }
func (l *link) Describe(uint64) string     { return "test" }
func (l *link) Move(uint64, int, func(uint64)) {
	panic("rpctest: there is one hub, and nowhere to move a connection to")
}

// offer gives the hub a client's unconsumed bytes, which are no longer there
// afterwards, as in a real buffer.
func (l *link) offer(conn uint64) {
	c := l.clients[conn]
	if c == nil || len(c.unread) == 0 {
		return
	}
	used := l.hub.Data(conn, c.unread)
	rest := slices.Clone(c.unread[used:])
	for i := range c.unread {
		c.unread[i] = 0xc1 // a byte that no MessagePack value has
	}
	c.unread = rest
}

var errClosed = errors.New("rpctest: closed")

func (l *link) end(conn uint64) {
	if c := l.clients[conn]; c != nil {
		c.Closed = true
		delete(l.clients, conn)
		l.hub.Closed(conn, errClosed)
	}
}
