package conn

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/future"
	"gameserverd/internal/loop"
)

// streamRig is a loop that runs, with its streams. Tests call do and the
// functions built on it to use streams, which are for the loop only.
type streamRig struct {
	t      *testing.T
	l      *loop.Loop
	ss     *Streams
	panics atomic.Int64 // how many panics are expected
	ended  chan error
}

func newStreamRig(t *testing.T, o StreamOptions) *streamRig {
	t.Helper()
	g := &streamRig{t: t, ended: make(chan error, 1)}
	l, err := loop.New(loop.Options{Name: t.Name(), OnPanic: func(v any, stack []byte) {
		if g.panics.Add(-1) < 0 {
			t.Errorf("panic on the loop: %v\n%s", v, stack)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	g.l, g.ss = l, NewStreams(l, o)
	go func() { g.ended <- l.Start() }()
	t.Cleanup(func() {
		l.Stop()
		if err := <-g.ended; err != nil {
			t.Errorf("loop ended: %v", err)
		}
		g.ss.Set().Release()
		if err := l.Close(true); err != nil {
			t.Errorf("loop close: %v", err)
		}
		if n := g.ss.Len(); n != 0 {
			t.Errorf("%d streams are left", n)
		}
		if n := g.panics.Load(); n > 0 {
			t.Errorf("%d panics less than expected", n)
		}
	})
	return g
}

// do runs fn on the loop and waits for it.
func (g *streamRig) do(fn func()) {
	g.t.Helper()
	done := make(chan struct{})
	if !g.l.AddCallback(func() { defer close(done); fn() }) {
		g.t.Fatal("the loop is closed")
	}
	select {
	case <-done:
	case <-time.After(deadline):
		g.t.Fatal("the loop does not turn")
	}
}

// until polls cond on the loop, turn by turn.
func (g *streamRig) until(what string, cond func() bool) {
	g.t.Helper()
	for end := time.Now().Add(deadline); ; {
		ok := false
		g.do(func() { ok = cond() })
		if ok {
			return
		}
		if time.Now().After(end) {
			g.t.Fatalf("never: %s", what)
		}
	}
}

// turns waits until the loop has been through n turns, in which it looks at its
// sockets.
func (g *streamRig) turns(n int) {
	g.t.Helper()
	for range n {
		g.do(func() {})
	}
}

// on makes a future on the loop.
func on[T any](g *streamRig, start func() *future.Future[T]) *future.Future[T] {
	g.t.Helper()
	var f *future.Future[T]
	g.do(func() { f = start() })
	return f
}

// result waits for a future.
func result[T any](t *testing.T, f *future.Future[T]) (T, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	v, err := f.Wait(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		t.Fatal("no result in time")
	}
	return v, err
}

// want waits for a read and compares it.
func (g *streamRig) want(f *future.Future[[]byte], text string) {
	g.t.Helper()
	b, err := result(g.t, f)
	if err != nil {
		g.t.Fatalf("read failed: %v; want %.60q", err, text)
	}
	if string(b) != text {
		g.t.Fatalf("read %.60q (%d bytes), want %.60q (%d bytes)", b, len(b), text, len(text))
	}
}

// read is want for a read that start begins on the loop.
func (g *streamRig) read(start func() *future.Future[[]byte], text string) {
	g.t.Helper()
	g.want(on(g, start), text)
}

// wantErr waits for a future to fail with all of errs.
func wantErr[T any](t *testing.T, f *future.Future[T], errs ...error) {
	t.Helper()
	v, err := result(t, f)
	if err == nil {
		t.Fatalf("got %.60q, want the error %v", fmt.Sprint(v), errs)
	}
	for _, want := range errs {
		if !errors.Is(err, want) {
			t.Fatalf("error %v, want %v", err, want)
		}
	}
}

// write writes on the loop.
func (g *streamRig) write(s *Stream, text string) *future.Future[struct{}] {
	g.t.Helper()
	return on(g, func() *future.Future[struct{}] { return s.Write([]byte(text)) })
}

func (g *streamRig) close(s *Stream) {
	g.t.Helper()
	g.do(s.Close)
}

// attach makes fd a stream.
func (g *streamRig) attach(fd int) *Stream {
	g.t.Helper()
	var s *Stream
	g.do(func() {
		var err error
		if s, err = g.ss.Attach(fd); err != nil {
			g.t.Error(err)
		}
	})
	if s == nil {
		g.t.FailNow()
	}
	return s
}

// watch records the close callback.
func (g *streamRig) watch(s *Stream) *future.Future[*CloseError] {
	g.t.Helper()
	f := future.New[*CloseError]()
	g.do(func() {
		s.SetCloseCallback(func(err *CloseError) {
			if !f.Resolve(err) {
				g.t.Error("the close callback was called twice")
			}
		})
	})
	return f
}

// wantEnd waits for a close callback.
func (g *streamRig) wantEnd(f *future.Future[*CloseError], reason Reason, cause error) {
	g.t.Helper()
	ce, err := result(g.t, f)
	if err != nil {
		g.t.Fatal(err)
	}
	if ce.Reason != reason || !errors.Is(ce.Err, cause) || (ce.Err == nil) != (cause == nil) {
		g.t.Fatalf("closed with %v (%v), want %v (%v)", ce.Reason, ce.Err, reason, cause)
	}
}

// pipe is two streams of g that are connected, and what they are made of.
type pipe struct {
	*streamRig
	rs, ws *Stream
}

// clog is more than the buffers of two sockets take when nobody reads.
var clog = make([]byte, 16<<20)

// kinds are what streams are tested on.
var kinds = []string{"tcp", "unix"}

// onPipes runs a test for each kind of socket.
func onPipes(t *testing.T, o StreamOptions, test func(*testing.T, *pipe)) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			g := newStreamRig(t, o)
			fd, p := sockets(t, kind)
			p.closed = true // its descriptor is a stream's now
			test(t, &pipe{g, g.attach(fd), g.attach(p.fd)})
		})
	}
}

// onPeers is onPipes for a stream whose other end is a plain socket.
func onPeers(t *testing.T, o StreamOptions, test func(*testing.T, *streamRig, *Stream, *peer)) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			g := newStreamRig(t, o)
			fd, p := sockets(t, kind)
			test(t, g, g.attach(fd), p)
		})
	}
}

func sockets(t *testing.T, kind string) (int, *peer) {
	t.Helper()
	if kind == "tcp" {
		return tcpPair(t)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], newPeer(t, fds[1])
}
