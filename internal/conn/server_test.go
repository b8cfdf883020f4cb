package conn

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/internal/loop"
)

func newEchoSet(l *loop.Loop) *Set {
	e := &echoer{}
	e.set = NewSet(l, e, Options{})
	return e.set
}

func newEchoServer(t *testing.T, o ServerOptions) *Server {
	t.Helper()
	o.NewSet = newEchoSet
	s := NewServer(o)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// untilTrue waits for something that other goroutines do.
func untilTrue(t *testing.T, what string, cond func() bool) {
	t.Helper()
	end := time.Now().Add(deadline)
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		if cond() {
			tick.Stop()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func lens(s *Server) (n []int) {
	for _, set := range s.Sets() {
		n = append(n, set.Len())
	}
	return n
}

func TestServerOnSeveralAddresses(t *testing.T) {
	fds := openFDs(t)
	s := newEchoServer(t, ServerOptions{})
	path := filepath.Join(t.TempDir(), "s")
	if err := s.Listen("127.0.0.1:0", "unix:"+path); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ListenFD(mustDup(t, int(file.Fd()))); err != nil {
		t.Fatal(err)
	}
	file.Close()
	ln.Close()
	if err := s.Start(2); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(1); err == nil {
		t.Error("a second Start works")
	}
	if err := s.Listen("127.0.0.1:0"); err != nil { // while it runs
		t.Fatal(err)
	}
	addrs := s.Addrs()
	if len(addrs) != 4 {
		t.Fatalf("it listens on %v", addrs)
	}
	for _, addr := range addrs {
		c := connectTo(t, addr)
		if err := echoes(c); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
		c.Close()
	}
	if st := s.Stats(); st != (ServerStats{Accepted: 4}) {
		t.Errorf("%+v", st)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Listen("127.0.0.1:0"); err == nil {
		t.Error("Listen works after Close")
	}
	for _, addr := range addrs[:1] {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			t.Errorf("%s is still listened on", addr)
		}
	}
	untilTrue(t, "all descriptors are closed", func() bool { return openFDs(t) == fds })
}

// The next connection goes where there are fewest; equals take turns.
func TestServerDealsOutEvenly(t *testing.T) {
	s := newEchoServer(t, ServerOptions{})
	if err := s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(3); err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for i := range 12 {
		c := connectTo(t, s.Addrs()[0])
		if err := echoes(c); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		if n := lens(s); n[i%3] != i/3+1 {
			t.Fatalf("after %d connections there are %v", i+1, n)
		}
	}
	for _, i := range []int{1, 4, 7} { // three of the second loop's
		conns[i].Close()
	}
	untilTrue(t, "three less", func() bool { return lens(s)[1] == 1 })
	for range 3 {
		if err := echoes(connectTo(t, s.Addrs()[0])); err != nil {
			t.Fatal(err)
		}
	}
	if n := lens(s); n[0] != 4 || n[1] != 4 || n[2] != 4 {
		t.Errorf("there are %v", n)
	}
}

// Also when all are always equal, as with connections that do not last.
func TestServerTakesTurns(t *testing.T) {
	s := newEchoServer(t, ServerOptions{})
	if err := s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(3); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		c := connectTo(t, s.Addrs()[0])
		if err := echoes(c); err != nil {
			t.Fatal(err)
		}
		c.Close()
		untilTrue(t, "it is gone", func() bool { n := lens(s); return n[0]+n[1]+n[2] == 0 })
	}
	for i, set := range s.Sets() {
		opened := make(chan uint64, 1)
		set.Loop().AddCallback(func() { opened <- set.Stats().Opened })
		if n := <-opened; n != 2 {
			t.Errorf("loop %d had %d connections, want 2", i, n)
		}
	}
}

func TestServerAdmit(t *testing.T) {
	var calls atomic.Int64
	s := newEchoServer(t, ServerOptions{
		Loop: func(int) loop.Options {
			return loop.Options{OnPanic: func(v any, _ []byte) {
				if v != "boom" {
					t.Errorf("panic: %v", v)
				}
			}}
		},
		Admit: func(peer netip.AddrPort) bool {
			if !peer.Addr().IsLoopback() || peer.Port() == 0 {
				t.Errorf("peer %v", peer)
			}
			switch calls.Add(1) {
			case 1:
				return false
			case 2:
				panic("boom")
			}
			return true
		},
	})
	if err := s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(2); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := echoes(connectTo(t, s.Addrs()[0])); (err == nil) != (i == 2) {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	if st := s.Stats(); st != (ServerStats{Accepted: 1, Refused: 2}) {
		t.Errorf("%+v", st)
	}
}

// StopListening leaves the connections alone, and is done when nothing comes any more.
func TestServerStopListening(t *testing.T) {
	s := newEchoServer(t, ServerOptions{})
	if err := s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(2); err != nil {
		t.Fatal(err)
	}
	addr := s.Addrs()[0]
	c := connectTo(t, addr)
	if err := echoes(c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if _, err := s.StopListening().Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("it still listens")
	}
	if err := echoes(c); err != nil {
		t.Errorf("the connection has suffered: %v", err)
	}
	if _, err := s.StopListening().Wait(ctx); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

// A server that never starts leaves nothing behind, nor does one of which an
// address is refused.
func TestServerUndoes(t *testing.T) {
	fds := openFDs(t)
	s := newEchoServer(t, ServerOptions{})
	if err := s.Listen("127.0.0.1:0", "nonsense"); err == nil {
		t.Error("nonsense is listened on")
	}
	if n := openFDs(t); n != fds {
		t.Errorf("%d descriptors after a refused Listen, %d before", n, fds)
	}
	if err := s.StartOn(); err == nil {
		t.Error("it starts on nothing")
	}
	if err := s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(2); err == nil {
		t.Error("it starts after Close")
	}
	if n := openFDs(t); n != fds {
		t.Errorf("%d descriptors, %d before", n, fds)
	}
}

// Invariant 21: connections accepted for a loop that is ending are closed once, and
// those for the others are served.
func TestServerWithAnEndedLoop(t *testing.T) {
	a, b := newRig(t, Options{}), newRig(t, Options{})
	s := NewServer(ServerOptions{})
	if err := s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := s.StartOn(a.set, b.set); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.StopListening(); a.turns(1) })
	bset := b.set
	held, gate := make(chan struct{}), make(chan struct{})
	b.l.AddCallback(func() { close(held); <-gate; b.l.Stop() })
	b.wait(held, "hold")
	var conns []net.Conn
	for range 10 {
		conns = append(conns, connectTo(t, s.Addrs()[0]))
	}
	untilTrue(t, "all are dealt out", func() bool { return a.set.Len() == 5 && bset.Len() == 5 })
	close(gate)
	b.stop()
	good, ended := 0, 0
	for _, c := range conns {
		if err := echoes(c); err == nil {
			good++
		} else {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				t.Errorf("a connection was not closed: %v", err)
			}
			ended++
		}
	}
	if good != 5 || ended != 5 || bset.Len() != 0 {
		t.Errorf("%d served, %d closed, %d left", good, ended, bset.Len())
	}
	// The ended one has the fewest, and gets no more.
	if err := echoes(connectTo(t, s.Addrs()[0])); err != nil {
		t.Errorf("with one loop left: %v", err)
	}
}

// Many connections come and go on several loops at once; nothing is left.
func TestServerChurn(t *testing.T) {
	fds := openFDs(t)
	s := newEchoServer(t, ServerOptions{})
	if err := s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(3); err != nil {
		t.Fatal(err)
	}
	addr := s.Addrs()[0]
	done := make(chan error)
	for w := range 4 {
		go func() {
			var err error
			for i := 0; i < 100 && err == nil; i++ {
				var c net.Conn
				if c, err = net.Dial("tcp", addr); err != nil {
					break
				}
				_ = c.SetDeadline(time.Now().Add(deadline))
				switch (i + w) % 3 {
				case 0: // comes and goes
				case 1:
					err = echoes(c)
				case 2:
					_ = c.(*net.TCPConn).SetLinger(0)
					_, err = c.Write([]byte("and an RST"))
				}
				c.Close()
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	untilTrue(t, "all are gone", func() bool { n := lens(s); return n[0]+n[1]+n[2] == 0 && s.Stats().Accepted >= 300 })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	untilTrue(t, "all descriptors are closed", func() bool { return openFDs(t) == fds })
}
