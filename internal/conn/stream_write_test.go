package conn

import (
	"bytes"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"gameserverd/internal/future"
)

func TestStreamWriteZeroBytes(t *testing.T) {
	onPeers(t, StreamOptions{}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		if _, err := result(t, g.write(s, "")); err != nil {
			t.Fatal(err)
		}
		// Behind other bytes it is done when they are.
		var first, empty *future.Future[struct{}]
		g.do(func() {
			first = s.Write(clog)
			empty = s.Write(nil)
		})
		g.turns(3)
		if first.Done() || empty.Done() {
			t.Fatalf("done with a full socket: first %v, empty %v", first.Done(), empty.Done())
		}
		p.want(clog)
		for _, f := range []*future.Future[struct{}]{first, empty} {
			if _, err := result(t, f); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestStreamWriteCopies(t *testing.T) {
	onPeers(t, StreamOptions{}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		g.do(func() {
			b := []byte("-hello-")
			s.Write(b[1:6])
			clear(b)
		})
		p.want([]byte("hello"))
	})
}

// A write is done when its own last byte has left, neither sooner nor together
// with those behind it.
func TestStreamWritesAreDoneInOrder(t *testing.T) {
	onPeers(t, StreamOptions{}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		if err := unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<10); err != nil {
			t.Fatal(err)
		}
		const writes, size = 40, 256 << 10
		var order []int
		var futures []*future.Future[struct{}]
		var all []byte
		g.do(func() {
			for i := range writes {
				b := bytes.Repeat([]byte{byte(i)}, size)
				all = append(all, b...)
				f := s.Write(b)
				f.Then(g.l, func(_ struct{}, err error) {
					if err != nil {
						t.Error(err)
					}
					order = append(order, i)
				})
				futures = append(futures, f)
			}
		})
		for i := range writes {
			g.turns(2)
			// The peer has read i writes: the kernel may hold more, but not all.
			if i == 0 && futures[writes-1].Done() {
				t.Fatal("the last write is done and nothing was read")
			}
			p.want(all[i*size : (i+1)*size])
			if _, err := result(t, futures[i]); err != nil {
				t.Fatal(err)
			}
		}
		g.until("every write was reported", func() bool { return len(order) == writes })
		g.turns(1)
		g.do(func() {
			if !slices.IsSorted(order) {
				t.Errorf("order %v", order)
			}
			if s.Writing() || s.writes != nil || len(g.ss.writing) > 0 {
				t.Errorf("after the last write: Writing %v, %d waiting, %d streams", s.Writing(), len(s.writes), len(g.ss.writing))
			}
		})
	})
}

func TestStreamWriteAfterClose(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		g.close(g.rs)
		wantErr(t, g.write(g.rs, "x"), ErrStreamClosed)
		wantErr(t, g.write(g.rs, ""), ErrStreamClosed)
		g.until("the other end knows", func() bool { return g.ws.Closed() })
		wantErr(t, g.write(g.ws, "x"), ErrStreamClosed)
	})
}

func TestStreamMaxWriteBufferSize(t *testing.T) {
	onPeers(t, StreamOptions{MaxWriteBufferSize: 1 << 20}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		block := pattern(1 << 20)
		accepted := 0
		var last, refused *future.Future[struct{}]
		g.until("the limit is reached", func() bool {
			if f := s.Write(block); f.Done() {
				refused = f
				return true
			} else {
				last = f
			}
			accepted++
			s.Flush()
			return false
		})
		wantErr(t, refused, ErrStreamBufferFull)
		g.do(func() {
			if s.Closed() {
				t.Error("a refused write has closed the stream")
			}
		})
		for range accepted {
			p.want(block)
		}
		if _, err := result(t, last); err != nil {
			t.Error(err)
		}
		g.write(s, "more")
		p.want([]byte("more"))
	})
}

// Ten writers that each wait for their last write, against one reader: no future
// is forgotten, whatever the socket does.
func TestStreamWriteFuturesAreNeverOrphaned(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		const size, each, writers = 5000, 100, 10
		b := pattern(size)
		left := writers * each
		var write func(n int)
		write = func(n int) {
			if n == 0 {
				return
			}
			g.ws.Write(b).Then(g.l, func(_ struct{}, err error) {
				if err != nil {
					t.Error(err)
				}
				left--
				write(n - 1)
			})
		}
		g.do(func() {
			for range writers {
				write(each)
			}
		})
		f := on(g.streamRig, func() bytesFuture { return g.rs.ReadBytes(size*each*writers, false) })
		if got, err := result(t, f); len(got) != size*each*writers {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
		g.until("every write was reported", func() bool { return left == 0 })
	})
}

// What a turn has written goes out together, and Flush does not wait for its end.
func TestStreamWritesOfOneTurnGoTogether(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, p := g.attach(fds[0]), newPeer(t, fds[1])
	buf := make([]byte, 100)
	g.do(func() {
		s.Write([]byte("one "))
		s.Flush()
		if n, err := p.read(buf); err != nil || string(buf[:n]) != "one " {
			t.Errorf("after Flush: %q, %v", buf[:n], err)
		}
		s.Write([]byte("two "))
		s.Write([]byte("three"))
	})
	if n, err := p.read(buf); err != nil || string(buf[:n]) != "two three" {
		t.Errorf("after the turn: %q, %v", buf[:n], err)
	}
}
