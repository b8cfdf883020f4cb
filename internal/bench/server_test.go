package bench

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"gameserverd/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is one connection of a testServer.
type peer struct {
	net.Conn
	number int // from 1, in order of accepting
	calls  int // that came on it, with the one that is handled
}

// frame writes one message.
func (p *peer) frame(message func(b []byte) []byte) error {
	b := message(wire.BeginFrame(nil))
	wire.EndFrame(b, 0)
	_, err := p.Write(b)
	return err
}

func (p *peer) result(id uint32, v int64) error {
	return p.frame(func(b []byte) []byte { return wire.AppendInt(wire.AppendResult(b, id), v) })
}

var errHangUp = errors.New("the test server hangs up")

// testServer is a server on package net that answers each request by a function of the test, on the connection's own
// goroutine. The function's error closes the connection.
type testServer struct {
	addr string

	mu    sync.Mutex
	conns []net.Conn
	calls map[string]int // requests by method
}

func serve(t *testing.T, answer func(p *peer, m *wire.Message) error) *testServer {
	t.Helper()
	return serveGreeting(t, func(*peer) error { return nil }, answer)
}

// serveTLS is serve of a server of crypto/tls.
func serveTLS(t *testing.T, cfg *tls.Config, answer func(p *peer, m *wire.Message) error) *testServer {
	t.Helper()
	return serveGreeting(t, func(p *peer) error {
		p.Conn = tls.Server(p.Conn, cfg)
		return p.Conn.(*tls.Conn).Handshake()
	}, answer)
}

// serveGreeting is serve of a server that does something as soon as a connection is there.
func serveGreeting(t *testing.T, greet func(p *peer) error, answer func(p *peer, m *wire.Message) error) *testServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{addr: listener.Addr().String(), calls: map[string]int{}}
	var running sync.WaitGroup
	running.Add(1)
	go func() {
		defer running.Done()
		for number := 1; ; number++ {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			running.Add(1)
			go func() {
				defer running.Done()
				defer c.Close()
				if p := (&peer{Conn: c, number: number}); greet(p) == nil {
					s.talk(t, p, answer)
				}
			}()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			c.Close()
		}
		s.mu.Unlock()
		running.Wait()
	})
	return s
}

func (s *testServer) talk(t *testing.T, p *peer, answer func(p *peer, m *wire.Message) error) {
	r := bufio.NewReader(p)
	var header [wire.HeaderLen]byte
	for {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			return
		}
		b := make([]byte, wire.FrameLen(header[:]))
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		var m wire.Message
		if err := m.Parse(b, 1000); err != nil {
			t.Errorf("connection %d sent %x: %v", p.number, b, err)
			return
		}
		if m.Kind == wire.Request {
			p.calls++
			s.mu.Lock()
			s.calls[string(m.Method)]++
			s.mu.Unlock()
		}
		if answer(p, &m) != nil {
			return
		}
	}
}

// called returns how many requests of a method came.
func (s *testServer) called(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// sum answers any request with the sum of its params.
func sum(p *peer, m *wire.Message) error {
	r := wire.NewReader(m.Params)
	n, err := r.Array()
	if err != nil {
		return err
	}
	var total int64
	for range n {
		v, err := r.Int64()
		if err != nil {
			return err
		}
		total += v
	}
	return p.result(m.ID, total)
}
