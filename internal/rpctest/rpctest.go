// Package rpctest is a game server in a test, without sockets, threads or real
// time: methods are called as clients call them, through the whole of package
// rpc, and everything happens in the test's own goroutine, when the test says.
//
// It is not for production, and no server's code imports it. Connections, loops
// and signals are not in it: tests of the daemon cover those.
//
// Its one invariant: when a method of Server or Client returns, the server has
// nothing left to do but wait for time or for a client.
package rpctest

import (
	"errors"
	"net/netip"
	"slices"
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

	t   testing.TB
	hub *rpc.Hub

	// The loop.
	now    time.Time
	queue  []func()
	timers []*timer

	clients map[uint64]*Client // by connection
	last    uint64
}

type timer struct {
	at time.Time
	fn func()
}

// Start is the server's time when it starts.
var Start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// New starts a server with the methods that build returns; of s it may use what
// is exported.
func New(t testing.TB, build func(s *Server) []rpc.Method) *Server {
	t.Helper()
	s := &Server{t: t, now: Start, clients: make(map[uint64]*Client), Registry: rpc.NewRegistry()}
	s.Peers = rpc.NewPeers(rpc.Options{
		Registry: s.Registry,
		Limits: rpc.Limits{
			MaxFrame: wire.DefaultMaxFrame, MaxElements: wire.DefaultMaxElements,
			MaxMailbox: 128, MaxMailboxBytes: wire.DefaultMaxFrame, MaxConcurrent: 32,
		},
		Protocols: []string{"frames"}, Workers: workers{}, Log: zaptest.NewLogger(t),
	})
	s.hub = s.Peers.AddHub((*loop)(s))
	s.hub.Connect((*link)(s))
	s.Rooms = rpc.NewRooms(s.Peers, rpc.RoomOptions{Joined: "room.joined", Left: "room.left", MaxPerPlayer: 8})
	if err := s.Registry.Add(build(s)...); err != nil {
		t.Fatal(err)
	}
	s.Peers.Start()
	s.settle()
	return s
}

// Now is the server's time.
func (s *Server) Now() time.Time { return s.now }

// Advance lets d pass, and what is due by then happen.
func (s *Server) Advance(d time.Duration) {
	end := s.now.Add(d)
	for {
		next := slices.MinFunc(append(s.timers, &timer{at: end.Add(1)}), func(a, b *timer) int { return a.at.Compare(b.at) })
		if next.at.After(end) {
			break
		}
		s.now = next.at
		s.timers = slices.DeleteFunc(s.timers, func(t *timer) bool { return t == next })
		next.fn()
		s.settle()
	}
	s.now = end
}

// settle runs callbacks until there are none.
func (s *Server) settle() {
	for len(s.queue) > 0 {
		fn := s.queue[0]
		s.queue = s.queue[1:]
		fn()
	}
}

// workers runs blocking methods at once.
type workers struct{}

func (workers) Submit(fn func()) bool { fn(); return true }

// loop is Server as rpc.Loop.
type loop Server

func (l *loop) AddCallback(fn func()) bool { l.queue = append(l.queue, fn); return true }
func (l *loop) Now() time.Time             { return l.now }
func (l *loop) Enter(*string, uint64)      {}
func (l *loop) After(d time.Duration, fn func()) func() {
	added := &timer{l.now.Add(d), fn}
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
func (l *link) Resume(conn uint64) { l.queue = append(l.queue, func() { l.offer(conn) }) }
func (l *link) Yield(conn uint64)  { l.Resume(conn) }
func (l *link) Close(conn uint64)  { l.queue = append(l.queue, func() { l.end(conn) }) }
func (l *link) Shutdown(conn uint64) {
	l.Close(conn)
}
func (l *link) Peer(uint64) netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:40000") }
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
