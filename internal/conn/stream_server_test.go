package conn

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"gameserverd/internal/loop"
)

// serveStreams starts a server on n loops and returns it and its address.
func serveStreams(t *testing.T, n int, panics *atomic.Int64, handle func(*Stream)) (*Server, string) {
	t.Helper()
	srv := NewServer(ServerOptions{
		NewSet: StreamSets(StreamOptions{}, handle),
		Loop: func(int) loop.Options {
			return loop.Options{OnPanic: func(v any, stack []byte) {
				if panics.Add(-1) < 0 {
					t.Errorf("panic on a loop: %v\n%s", v, stack)
				}
			}}
		},
	})
	if err := srv.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv, srv.Addrs()[0]
}

func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Streams arrive on every loop, each on its own, and serve a small protocol.
func TestServerStreamsOnSeveralLoops(t *testing.T) {
	const loops, clients = 3, 12
	var mu sync.Mutex
	seen := map[*loop.Loop]int{}
	var serve func(s *Stream)
	serve = func(s *Stream) {
		s.ReadUntil([]byte("\n"), 100).Then(s.Loop(), func(b []byte, err error) {
			if err == nil {
				s.Write(append([]byte("you said "), b...))
				serve(s)
			}
		})
	}
	_, address := serveStreams(t, loops, new(atomic.Int64), func(s *Stream) {
		if !s.Loop().OnLoop() {
			t.Error("a stream is handled off its loop")
		}
		mu.Lock()
		seen[s.Loop()]++
		mu.Unlock()
		serve(s)
	})
	for range clients {
		c := connect(t, address)
		for _, line := range []string{"hello\n", "again\n"} {
			if _, err := io.WriteString(c, line); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, len("you said ")+len(line))
			if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "you said "+line {
				t.Fatalf("got %q, %v", buf, err)
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != loops {
		t.Errorf("streams came to %d loops of %d", len(seen), loops)
	}
	for _, n := range seen {
		if n != clients/loops {
			t.Errorf("%d streams on a loop, want %d", n, clients/loops)
		}
	}
}

func TestServerStreamWritesAndCloses(t *testing.T) {
	_, address := serveStreams(t, 1, new(atomic.Int64), func(s *Stream) {
		s.Write([]byte("data"))
		s.Close()
	})
	if b, err := io.ReadAll(connect(t, address)); err != nil || string(b) != "data" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestServerHandleStreamPanicCostsOneConnection(t *testing.T) {
	var panics atomic.Int64
	panics.Store(1)
	first := true
	closed := make(chan *CloseError, 1)
	_, address := serveStreams(t, 1, &panics, func(s *Stream) {
		s.Write([]byte("hello"))
		if first {
			first = false
			s.SetCloseCallback(func(err *CloseError) { closed <- err })
			panic("boom")
		}
	})
	if _, err := io.ReadAll(connect(t, address)); err != nil {
		t.Errorf("the connection of the panic: %v", err)
	}
	if err := <-closed; err.Reason != Broken || !errors.Is(err, errPanic) {
		t.Errorf("closed with %v", err)
	}
	if panics.Load() != 0 {
		t.Error("the panic was not reported")
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(connect(t, address), buf); err != nil || string(buf) != "hello" {
		t.Errorf("the next connection got %q, %v", buf, err)
	}
}

func TestServerWithoutHandleStreamCloses(t *testing.T) {
	_, address := serveStreams(t, 1, new(atomic.Int64), nil)
	if b, err := io.ReadAll(connect(t, address)); err != nil || len(b) > 0 {
		t.Errorf("got %q, %v", b, err)
	}
}

// Stopping to listen inside a handler, with more connections in the same turn:
// those that were accepted are served, the others are refused, nothing breaks.
func TestServerStopInsideHandler(t *testing.T) {
	var srv atomic.Pointer[Server]
	var handled atomic.Int64
	s, address := serveStreams(t, 2, new(atomic.Int64), func(s *Stream) {
		for srv.Load() == nil {
			runtime.Gosched()
		}
		srv.Load().StopListening()
		srv.Load().StopListening()
		handled.Add(1)
		s.Write([]byte("x"))
		s.Close()
	})
	var clients []net.Conn
	for range 40 {
		if c, err := net.Dial("tcp", address); err == nil {
			clients = append(clients, c)
		}
	}
	srv.Store(s)
	served := 0
	for _, c := range clients {
		if b, err := io.ReadAll(c); err == nil && string(b) == "x" {
			served++
		}
		c.Close()
	}
	if served == 0 || int64(served) > handled.Load() {
		t.Errorf("%d clients were served, %d handled", served, handled.Load())
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("connected to a server that listens no more")
	}
}
