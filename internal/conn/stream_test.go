package conn

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/future"
)

func TestStreamCloseCallbackComesOnceAndLast(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		var order []string
		closed := future.New[*CloseError]()
		g.do(func() {
			g.rs.SetCloseCallback(func(err *CloseError) {
				order = append(order, "closed")
				closed.Resolve(err)
			})
			g.rs.ReadBytes(4, false).Then(g.l, func(b []byte, err error) {
				order = append(order, string(b))
				g.rs.ReadUntilClose().Then(g.l, func(b []byte, err error) {
					order = append(order, string(b))
				})
			})
			g.ws.Write([]byte("12345678"))
			g.ws.Close()
		})
		g.wantEnd(closed, PeerClosed, io.EOF)
		g.do(func() {
			g.rs.Close()
			g.rs.CloseWithError(errors.New("too late"))
		})
		g.turns(3)
		g.do(func() {
			if want := []string{"1234", "5678", "closed"}; !slices.Equal(order, want) {
				t.Errorf("order %q, want %q", order, want)
			}
		})
	})
}

func TestStreamCloseCallbackWithoutReads(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		closed := g.watch(g.rs)
		g.write(g.ws, "a")
		g.read(func() *future.Future[[]byte] { return g.rs.ReadBytes(1, false) }, "a")
		g.turns(3)
		if closed.Done() {
			t.Fatal("closed although the peer is open")
		}
		g.close(g.ws)
		g.wantEnd(closed, PeerClosed, io.EOF)
	})
}

func TestStreamCloseCallbackWithAnOutstandingRead(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		closed := g.watch(g.rs)
		g.write(g.ws, "OK\r\n")
		until := func() *future.Future[[]byte] { return g.rs.ReadUntil([]byte("\r\n"), 0) }
		g.read(until, "OK\r\n")
		f := on(g.streamRig, until)
		g.close(g.ws)
		wantErr(t, f, ErrStreamClosed, io.EOF)
		g.wantEnd(closed, PeerClosed, io.EOF)
	})
}

// The end of the input is not told before all of the input was read, whether
// the stream knows of it, as in the first case, or has stopped reading.
func TestStreamCloseCallbackWaitsForBufferedData(t *testing.T) {
	for _, reading := range []bool{true, false} {
		t.Run(fmt.Sprintf("reading=%v", reading), func(t *testing.T) {
			onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
				closed := g.watch(g.rs)
				one := func() *future.Future[[]byte] { return g.rs.ReadBytes(1, false) }
				if reading {
					f := on(g.streamRig, one)
					g.write(g.ws, "12")
					g.want(f, "1")
				} else {
					g.write(g.ws, "12")
					g.until("the stream stops reading", func() bool { return g.rs.paused })
					g.read(one, "1")
				}
				g.close(g.ws)
				if reading {
					g.until("the end is known", func() bool { return g.rs.eof })
				}
				g.turns(4)
				if closed.Done() {
					t.Fatal("closed before everything was read")
				}
				g.do(func() {
					if g.rs.Err() != nil || g.rs.Closed() != (g.rs.gone != nil) {
						t.Errorf("before everything was read: Err %v, Closed %v", g.rs.Err(), g.rs.Closed())
					}
				})
				g.read(one, "2")
				g.wantEnd(closed, PeerClosed, io.EOF)
				g.do(func() {
					if !g.rs.Closed() || !errors.Is(g.rs.Err(), io.EOF) {
						t.Errorf("Closed %v, Err %v", g.rs.Closed(), g.rs.Err())
					}
				})
			})
		})
	}
}

func TestStreamCloseCallbackSetLate(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		g.close(g.rs)
		g.until("the Set has closed it", func() bool { return g.rs.gone != nil })
		g.wantEnd(g.watch(g.rs), Local, nil)
		late := g.watch(g.rs)
		g.turns(3)
		if late.Done() {
			t.Error("a second callback was called")
		}
	})
}

func TestStreamCloseInsideCallbacks(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		closed := g.watch(g.rs)
		var chunks []string
		f := on(g.streamRig, func() *future.Future[[]byte] {
			return g.rs.StreamUntilClose(func(b []byte) {
				chunks = append(chunks, string(b))
				g.rs.Close()
				g.rs.Close()
			})
		})
		g.write(g.ws, "one")
		g.want(f, "")
		g.wantEnd(closed, Local, nil)
		g.do(func() {
			g.rs.SetCloseCallback(func(*CloseError) { t.Error("called again") })
			if !slices.Equal(chunks, []string{"one"}) {
				t.Errorf("chunks %q", chunks)
			}
		})
		other := g.watch(g.ws)
		g.wantEnd(other, PeerClosed, io.EOF)
	})
}

func TestStreamCloseFailsReadAndWrite(t *testing.T) {
	boom := errors.New("boom")
	onPeers(t, StreamOptions{}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		closed := g.watch(s)
		r := on(g, func() *future.Future[[]byte] { return s.ReadBytes(1, false) })
		first := g.write(s, "x")
		if _, err := result(t, first); err != nil {
			t.Fatal(err)
		}
		w := on(g, func() *future.Future[struct{}] { return s.Write(clog) })
		g.until("the socket is full", func() bool { return s.Writing() })
		g.do(func() {
			if s.Closed() || !s.Reading() {
				t.Errorf("Closed %v, Reading %v", s.Closed(), s.Reading())
			}
			s.CloseWithError(boom)
			if !s.Closed() || s.Reading() || s.Writing() || !errors.Is(s.Err(), boom) {
				t.Errorf("after CloseWithError: Closed %v, Reading %v, Writing %v, Err %v", s.Closed(), s.Reading(), s.Writing(), s.Err())
			}
		})
		wantErr(t, r, ErrStreamClosed, boom)
		wantErr(t, w, ErrStreamClosed, boom)
		g.wantEnd(closed, Local, boom)
		wantErr(t, g.write(s, "more"), ErrStreamClosed, boom)
		wantErr(t, on(g, func() *future.Future[[]byte] { return s.ReadBytes(1, false) }), ErrStreamClosed, boom)
		g.do(func() {
			if err := s.SetNoDelay(true); !errors.Is(err, ErrStreamClosed) {
				t.Errorf("SetNoDelay: %v", err)
			}
			s.Shutdown()
			s.Flush()
		})
	})
}

func TestStreamResetHasTheRealError(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	fd, p := tcpPair(t)
	s := g.attach(fd)
	closed := g.watch(s)
	r := on(g, func() *future.Future[[]byte] { return s.ReadBytes(10, false) })
	w := on(g, func() *future.Future[struct{}] { return s.Write(clog) })
	g.until("the socket is full", func() bool { return s.Writing() })
	p.reset()
	wantErr(t, r, ErrStreamClosed, unix.ECONNRESET)
	wantErr(t, w, ErrStreamClosed, unix.ECONNRESET)
	g.wantEnd(closed, Reset, unix.ECONNRESET)
	g.do(func() {
		if !errors.Is(s.Err(), unix.ECONNRESET) {
			t.Errorf("Err is %v", s.Err())
		}
	})
}

func TestStreamResetWhileIdleAndPaused(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	fd, p := tcpPair(t)
	s := g.attach(fd)
	closed := g.watch(s)
	p.send([]byte("kept"))
	g.until("the stream has stopped reading", func() bool { return s.paused })
	p.reset()
	g.wantEnd(closed, Reset, unix.ECONNRESET)
	// What had come before can still be read; then the real error is told.
	g.read(func() *future.Future[[]byte] { return s.ReadBytes(4, false) }, "kept")
	wantErr(t, on(g, func() *future.Future[[]byte] { return s.ReadBytes(1, false) }), ErrStreamClosed, unix.ECONNRESET)
}

func TestStreamAnswersAfterHalfClose(t *testing.T) {
	onPeers(t, StreamOptions{}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		closed := g.watch(s)
		answer := strings.Repeat("answer ", 1<<18)
		g.do(func() {
			s.ReadUntil([]byte("\n"), 0).Then(g.l, func(b []byte, err error) {
				if err != nil {
					t.Error(err)
				}
				s.Write([]byte(answer))
			})
		})
		p.send([]byte("request\n"))
		p.finish()
		if rest := p.rest(); string(rest) != answer {
			t.Errorf("got %d bytes, want %d", len(rest), len(answer))
		}
		p.close()
		g.wantEnd(closed, PeerClosed, io.EOF)
	})
}

func TestStreamHalfOpenStaysForWriting(t *testing.T) {
	onPeers(t, StreamOptions{HalfOpen: true}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		closed := g.watch(s)
		p.send([]byte("all"))
		p.finish()
		g.read(s.ReadUntilClose, "all")
		g.turns(5)
		wantErr(t, on(g, func() *future.Future[[]byte] { return s.ReadBytes(1, false) }), ErrStreamClosed, io.EOF)
		for range 3 {
			g.write(s, "late")
			p.want([]byte("late"))
		}
		if closed.Done() {
			t.Fatal("closed by itself")
		}
		g.do(s.Shutdown)
		if rest := p.rest(); len(rest) > 0 {
			t.Errorf("%q after the end", rest)
		}
		p.close()
		g.wantEnd(closed, Local, nil)
	})
}

func TestStreamShutdownDeliversEverything(t *testing.T) {
	onPeers(t, StreamOptions{}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		closed := g.watch(s)
		b := pattern(4 << 20)
		r := on(g, func() *future.Future[[]byte] { return s.ReadBytes(1, false) })
		w := on(g, func() *future.Future[struct{}] {
			f := s.Write(b)
			s.Shutdown()
			return f
		})
		wantErr(t, r, ErrStreamClosed)
		p.send([]byte("what nobody reads"))
		if rest := p.rest(); string(rest) != string(b) {
			t.Errorf("peer got other bytes: %s", firstDifference(rest, b))
		}
		if _, err := result(t, w); err != nil {
			t.Errorf("the write failed: %v", err)
		}
		p.close()
		g.wantEnd(closed, Local, nil)
	})
}

func TestStreamShutdownThenReset(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	fd, p := tcpPair(t)
	s := g.attach(fd)
	closed := g.watch(s)
	w := on(g, func() *future.Future[struct{}] {
		f := s.Write(clog)
		s.Shutdown()
		return f
	})
	g.until("the socket is full", func() bool { return s.Writing() })
	p.reset()
	wantErr(t, w, ErrStreamClosed, unix.ECONNRESET)
	g.wantEnd(closed, Local, unix.ECONNRESET)
}

func TestStreamCloseAfterShutdown(t *testing.T) {
	onPeers(t, StreamOptions{Linger: time.Hour}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		closed := g.watch(s)
		w := on(g, func() *future.Future[struct{}] {
			f := s.Write(clog)
			s.Shutdown()
			return f
		})
		g.turns(2)
		g.close(s)
		wantErr(t, w, ErrStreamClosed)
		g.wantEnd(closed, Local, nil)
	})
}

func TestStreamLinger(t *testing.T) {
	onPeers(t, StreamOptions{Linger: 20 * time.Millisecond}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		if o := g.ss.set.o; o.Linger != 20*time.Millisecond {
			t.Errorf("the Set lingers for %v", o.Linger)
		}
		closed := g.watch(s)
		g.do(func() {
			s.Write(clog)
			s.Shutdown()
		})
		g.wantEnd(closed, Local, ErrUndelivered)
	})
}

// A connection that the Set has closed is not written to any more, although what
// was received can still be read.
func TestStreamWritesFailWhenTheConnectionIsGone(t *testing.T) {
	onPeers(t, StreamOptions{}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		closed := g.watch(s)
		p.send([]byte("kept"))
		g.until("the stream stops reading", func() bool { return s.paused })
		var before, during, after *future.Future[struct{}]
		g.do(func() {
			before = s.Write(clog)
			g.ss.set.Close(s.id, PeerClosed, nil) // as the Set does on a hang-up
			during = s.Write([]byte("x"))
		})
		g.until("the stream knows", func() bool { return s.gone != nil })
		after = g.write(s, "x")
		for _, f := range []*future.Future[struct{}]{before, during, after} {
			wantErr(t, f, ErrStreamClosed, io.EOF)
		}
		if closed.Done() {
			t.Error("closed before everything was read")
		}
		g.read(func() *future.Future[[]byte] { return s.ReadBytes(4, false) }, "kept")
		g.wantEnd(closed, PeerClosed, io.EOF)
	})
}

// Output that waits does not stop the reading: that is for the owner to decide.
func TestStreamReadsWhileOutputWaits(t *testing.T) {
	onPeers(t, StreamOptions{}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		g.do(func() { s.Write(clog) })
		g.turns(2)
		for range 5 {
			f := on(g, func() *future.Future[[]byte] { return s.ReadBytes(4, false) })
			p.send([]byte("ping"))
			g.want(f, "ping")
		}
	})
}

func TestStreamSendsOnClose(t *testing.T) {
	onPeers(t, StreamOptions{}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		f := on(g, func() *future.Future[struct{}] {
			f := s.Write([]byte("data"))
			s.Close()
			return f
		})
		if _, err := result(t, f); err != nil {
			t.Errorf("a write that has left: %v", err)
		}
		if rest := p.rest(); string(rest) != "data" {
			t.Errorf("peer got %q", rest)
		}
	})
}

func TestStreamNoDelay(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	fd, _ := tcpPair(t)
	s := g.attach(fd)
	g.do(func() {
		for _, want := range []bool{false, true} {
			if err := s.SetNoDelay(want); err != nil {
				t.Error(err)
			}
			if v, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || (v != 0) != want {
				t.Errorf("TCP_NODELAY is %d, %v; want %v", v, err, want)
			}
		}
		if !s.Peer().IsValid() || s.Loop() != g.l {
			t.Errorf("Peer %v, Loop %p", s.Peer(), s.Loop())
		}
	})
}

func TestStreamsEndWithTheirSet(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	fd, _ := tcpPair(t)
	s := g.attach(fd)
	f := on(g, func() *future.Future[[]byte] { return s.ReadBytes(1, false) })
	g.l.Stop()
	if err := <-g.ended; err != nil {
		t.Fatal(err)
	}
	g.ended <- nil
	g.ss.Set().Release()
	_, err, done := f.Result()
	var ce *CloseError
	if !done || !errors.As(err, &ce) || ce.Reason != LoopClosed {
		t.Errorf("read: %v, done %v; want %v", err, done, LoopClosed)
	}
	if _, err := g.ss.Attach(fd); !errors.Is(err, ErrClosed) {
		t.Errorf("Attach to a released Set: %v", err)
	}
}

func TestStreamsCloseAll(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	var ends []*future.Future[*CloseError]
	for range 3 {
		fd, _ := tcpPair(t)
		ends = append(ends, g.watch(g.attach(fd)))
	}
	g.do(g.ss.CloseAll)
	for _, f := range ends {
		g.wantEnd(f, Local, nil)
	}
	if n := g.ss.Len(); n != 0 {
		t.Errorf("%d streams are left", n)
	}
}
