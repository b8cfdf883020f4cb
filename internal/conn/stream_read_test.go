package conn

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"gameserverd/internal/future"
)

type bytesFuture = *future.Future[[]byte]

func TestStreamReadsLinesAndACountedBody(t *testing.T) {
	onPeers(t, StreamOptions{}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		g.write(s, "GET / HTTP/1.0\r\n\r\n")
		p.want([]byte("GET / HTTP/1.0\r\n\r\n"))
		p.send([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello"))
		p.finish()
		g.read(func() bytesFuture { return s.ReadUntil([]byte("\r\n"), 0) }, "HTTP/1.1 200 OK\r\n")
		g.read(func() bytesFuture { return s.ReadUntil([]byte("\r\n\r\n"), 0) }, "Content-Length: 5\r\n\r\n")
		g.read(func() bytesFuture { return s.ReadBytes(5, false) }, "Hello")
		wantErr(t, on(g, func() bytesFuture { return s.ReadBytes(1, false) }), ErrStreamClosed, io.EOF)
	})
}

func TestStreamReadZeroBytes(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		g.write(g.ws, "HTTP/1.1 200")
		g.read(func() bytesFuture { return g.rs.ReadBytes(9, false) }, "HTTP/1.1 ")
		g.read(func() bytesFuture { return g.rs.ReadBytes(0, false) }, "")
		g.read(func() bytesFuture { return g.rs.ReadBytes(0, true) }, "")
		g.read(func() bytesFuture { return g.rs.ReadInto(nil, false) }, "")
		g.read(func() bytesFuture { return g.rs.StreamBytes(0, func([]byte) { t.Error("a chunk") }) }, "")
		g.read(func() bytesFuture { return g.rs.ReadBytes(3, false) }, "200")
		g.read(func() bytesFuture { return g.rs.ReadBytes(0, false) }, "")
	})
}

func TestStreamReadsWhatCannotBe(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		wantErr(t, on(g.streamRig, func() bytesFuture { return g.rs.ReadBytes(-1, false) }), errNegative)
		wantErr(t, on(g.streamRig, func() bytesFuture { return g.rs.ReadUntil([]byte("x"), -1) }), errNegative)
		wantErr(t, on(g.streamRig, func() bytesFuture { return g.rs.ReadUntil(nil, 10) }), errNoDelim)
		g.write(g.ws, "fine")
		g.read(func() bytesFuture { return g.rs.ReadBytes(4, false) }, "fine")
	})
}

func TestStreamOneReadAtATime(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		first := on(g.streamRig, func() bytesFuture { return g.rs.ReadBytes(5, false) })
		for _, second := range []func() bytesFuture{
			func() bytesFuture { return g.rs.ReadBytes(0, false) },
			func() bytesFuture { return g.rs.ReadUntil([]byte("\n"), 0) },
			func() bytesFuture { return g.rs.ReadUntilRegexp(regexp.MustCompile("a"), 0) },
			func() bytesFuture { return g.rs.ReadInto(make([]byte, 1), true) },
			g.rs.ReadUntilClose,
		} {
			wantErr(t, on(g.streamRig, second), ErrReading)
		}
		g.write(g.ws, "first")
		g.want(first, "first")
		g.do(func() {
			if g.rs.Reading() {
				t.Error("Reading after the read")
			}
		})
	})
}

func TestStreamReadUntilClose(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		f := on(g.streamRig, g.rs.ReadUntilClose)
		b := pattern(300_000)
		g.do(func() {
			for c := range slices.Chunk(b, 7001) {
				g.ws.Write(c)
			}
			g.ws.Shutdown()
		})
		g.want(f, string(b))
	})
}

func TestStreamReadUntilCloseThenClosed(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		g.do(func() {
			g.ws.Write([]byte("head\r\n\r\nHello"))
			g.ws.Close()
		})
		g.read(func() bytesFuture { return g.rs.ReadUntil([]byte("\r\n\r\n"), 0) }, "head\r\n\r\n")
		g.read(g.rs.ReadUntilClose, "Hello")
		var f bytesFuture
		g.do(func() {
			f = g.rs.ReadBytes(1, false)
			if !f.Done() {
				t.Error("a read after the end is not answered at once")
			}
		})
		wantErr(t, f, ErrStreamClosed, io.EOF)
		g.read(g.rs.ReadUntilClose, "")
	})
}

func TestStreamReadUntilCloseAfterPeerClosed(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		first := on(g.streamRig, func() bytesFuture { return g.rs.ReadBytes(1, false) })
		g.do(func() {
			g.ws.Write([]byte("1234"))
			g.ws.Close()
		})
		g.want(first, "1")
		g.until("the end is known", func() bool { return g.rs.eof })
		g.turns(3)
		g.read(g.rs.ReadUntilClose, "234")
	})
}

func TestStreamReadUntilCloseEndsWithOwnClose(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		f := on(g.streamRig, g.rs.ReadUntilClose)
		g.write(g.ws, "so far")
		g.until("all has come", func() bool { return g.rs.in.len() == 6 })
		g.close(g.rs)
		g.want(f, "so far")
	})
}

// A reset is no end: whether anything is missing is not known.
func TestStreamReadUntilCloseFailsOnReset(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	fd, p := tcpPair(t)
	s := g.attach(fd)
	f := on(g, s.ReadUntilClose)
	p.send([]byte("partial"))
	g.until("all has come", func() bool { return s.in.len() == 7 })
	p.reset()
	wantErr(t, f, ErrStreamClosed, unix.ECONNRESET)
	g.read(func() bytesFuture { return s.ReadBytes(100, true) }, "partial")
}

func TestStreamCloseByPeerFailsOutstandingRead(t *testing.T) {
	onPeers(t, StreamOptions{}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		f := on(g, func() bytesFuture { return s.ReadBytes(1<<20, false) })
		p.send(pattern(100_000))
		p.close()
		wantErr(t, f, ErrStreamClosed, io.EOF)
		// What has come is there for a read that can do with less.
		g.read(func() bytesFuture { return s.ReadBytes(1<<20, true) }, string(pattern(100_000)))
	})
}

func TestStreamReadsWhatCameBeforeTheClose(t *testing.T) {
	onPeers(t, StreamOptions{}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		p.send([]byte("response\n"))
		p.close()
		closed := g.watch(s)
		g.read(func() bytesFuture { return s.ReadUntil([]byte("\n"), 0) }, "response\n")
		g.wantEnd(closed, PeerClosed, io.EOF)
	})
}

// What the kernel holds when the peer has closed is still read, though the
// stream had stopped reading by then.
func TestStreamReadsKernelBufferAfterPeerClosed(t *testing.T) {
	onPeers(t, StreamOptions{ReadChunkSize: 256}, func(t *testing.T, g *streamRig, s *Stream, p *peer) {
		b := pattern(1024)
		p.send(b[:768])
		g.read(func() bytesFuture { return s.ReadBytes(256, false) }, string(b[:256]))
		g.until("the stream stops reading", func() bool { return s.paused })
		p.send(b[768:])
		p.close()
		g.turns(5)
		g.do(func() {
			if s.in.len() > 512 {
				t.Errorf("%d bytes were read ahead with chunks of 256", s.in.len())
			}
			if s.Err() != nil {
				t.Errorf("Err is %v before everything was read", s.Err())
			}
		})
		g.read(func() bytesFuture { return s.ReadBytes(256, false) }, string(b[256:512]))
		g.read(s.ReadUntilClose, string(b[512:]))
	})
}

func TestStreamReadBytesPartial(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		f := on(g.streamRig, func() bytesFuture { return g.rs.ReadBytes(50, true) })
		g.write(g.ws, "hello")
		g.want(f, "hello")
		f = on(g.streamRig, func() bytesFuture { return g.rs.ReadBytes(3, true) })
		g.write(g.ws, "world")
		g.want(f, "wor")
		g.read(func() bytesFuture { return g.rs.ReadBytes(0, true) }, "")
		g.read(func() bytesFuture { return g.rs.ReadBytes(50, true) }, "ld")
	})
}

func TestStreamSmallReadsFromALargeBuffer(t *testing.T) {
	onPipes(t, StreamOptions{MaxBufferSize: 10 << 10}, func(t *testing.T, g *pipe) {
		most := 0
		line := strings.Repeat("a", 1023) + "\n"
		g.write(g.ws, strings.Repeat(line, 200))
		for i := range 200 {
			f := on(g.streamRig, func() bytesFuture {
				most = max(most, g.rs.in.len())
				if i < 100 {
					return g.rs.ReadBytes(1024, false)
				}
				return g.rs.ReadUntil([]byte("\n"), 4096)
			})
			g.want(f, line)
		}
		if most > 10<<10 {
			t.Errorf("%d bytes were kept, the limit is %d", most, 10<<10)
		}
	})
}

func TestStreamBufferFullCloses(t *testing.T) {
	for name, read := range map[string]func(*Stream) bytesFuture{
		"bytes": func(s *Stream) bytesFuture { return s.ReadBytes(1<<20, false) },
		"until": func(s *Stream) bytesFuture { return s.ReadUntil([]byte("\n"), 0) },
		"close": (*Stream).ReadUntilClose,
	} {
		t.Run(name, func(t *testing.T) {
			onPipes(t, StreamOptions{MaxBufferSize: 10 << 10}, func(t *testing.T, g *pipe) {
				closed := g.watch(g.rs)
				f := on(g.streamRig, func() bytesFuture { return read(g.rs) })
				g.write(g.ws, strings.Repeat("a", 100<<10))
				wantErr(t, f, ErrStreamClosed, ErrStreamBufferFull)
				g.wantEnd(closed, Local, ErrStreamBufferFull)
			})
		})
	}
}

// Reads that keep nothing may be larger than the buffer.
func TestStreamReadsBeyondTheBuffer(t *testing.T) {
	onPipes(t, StreamOptions{MaxBufferSize: 10 << 10}, func(t *testing.T, g *pipe) {
		b := pattern(300_000)
		g.do(func() { g.ws.Write(b) })
		into := make([]byte, 100_000)
		f := on(g.streamRig, func() bytesFuture { return g.rs.ReadInto(into, false) })
		g.want(f, string(b[:100_000]))
		var got []byte
		f = on(g.streamRig, func() bytesFuture {
			return g.rs.StreamBytes(200_000, func(b []byte) { got = append(got, b...) })
		})
		g.want(f, "")
		if !bytes.Equal(got, b[100_000:]) {
			t.Error("other bytes: " + firstDifference(got, b[100_000:]))
		}
	})
}

func TestStreamFlowControl(t *testing.T) {
	const mb = 1 << 20
	onPipes(t, StreamOptions{MaxBufferSize: 5 * mb}, func(t *testing.T, g *pipe) {
		b := pattern(16 * mb)
		w := on(g.streamRig, func() *future.Future[struct{}] { return g.ws.Write(b) })
		g.read(func() bytesFuture { return g.rs.ReadBytes(mb, false) }, string(b[:mb]))
		g.until("the stream stops reading", func() bool { return g.rs.paused })
		g.turns(20)
		g.do(func() {
			if n := g.rs.in.len(); n > 2*maxIO {
				t.Errorf("%d bytes are kept that nobody has asked for", n)
			}
			if !g.ws.Writing() {
				t.Error("the writer is not held back")
			}
		})
		for at := mb; at < len(b); at += mb {
			g.read(func() bytesFuture { return g.rs.ReadBytes(mb, false) }, string(b[at:at+mb]))
		}
		if _, err := result(t, w); err != nil {
			t.Error(err)
		}
	})
}

func TestStreamReadInto(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		buf := make([]byte, 10)
		into := func() bytesFuture { return g.rs.ReadInto(buf, false) }
		f := on(g.streamRig, into)
		g.write(g.ws, "hello")
		g.until("a part has come", func() bool { return g.rs.read.got == 5 && g.rs.Reading() })
		g.write(g.ws, "world!!")
		g.want(f, "helloworld")
		if string(buf) != "helloworld" {
			t.Errorf("the caller's bytes are %q", buf)
		}
		g.until("the rest has come", func() bool { return !g.rs.Reading() && g.rs.in.len() == 2 })
		f = on(g.streamRig, into)
		g.do(func() {
			if !g.rs.Reading() {
				t.Error("not Reading with 2 of 10 bytes")
			}
		})
		g.write(g.ws, "1234567890")
		g.want(f, "!!12345678")
		g.until("the rest has come", func() bool { return g.rs.in.len() == 2 })
		g.write(g.ws, "abcdefghi")
		g.read(func() bytesFuture { return g.rs.ReadInto(buf[:4], false) }, "90ab")
		g.read(func() bytesFuture { return g.rs.ReadBytes(7, false) }, "cdefghi")
	})
}

func TestStreamReadIntoPartial(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		buf := make([]byte, 10)
		into := func() bytesFuture { return g.rs.ReadInto(buf, true) }
		f := on(g.streamRig, into)
		g.write(g.ws, "hello")
		g.want(f, "hello")
		if string(buf) != "hello\x00\x00\x00\x00\x00" {
			t.Errorf("the caller's bytes are %q", buf)
		}
		g.write(g.ws, "world!1234567890")
		g.until("all has come", func() bool { return g.rs.in.len() == 16 })
		g.read(into, "world!1234")
		g.read(into, "567890")
	})
}

func TestStreamManyMixedReads(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		seed := rand.Int63()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewSource(seed))
		const total = 1_000_000
		all := pattern(total)
		g.do(func() {
			for rest := all; len(rest) > 0; {
				n := min(len(rest), 1+rnd.Intn(1000))
				g.ws.Write(rest[:n])
				rest = rest[n:]
			}
		})
		got := sha256.New()
		done := future.New[int]()
		var next func(read int)
		take := func(read int) func([]byte, error) {
			return func(b []byte, err error) {
				if err != nil {
					done.Fail(err)
					return
				}
				got.Write(b)
				next(read + len(b))
			}
		}
		next = func(read int) {
			n := min(total-read, 1+rnd.Intn(1000))
			switch {
			case n == 0:
				done.Resolve(read)
			case rnd.Intn(3) == 0:
				g.rs.ReadInto(make([]byte, n), rnd.Intn(2) == 0).Then(g.l, take(read))
			case rnd.Intn(2) == 0:
				g.rs.ReadBytes(n, rnd.Intn(2) == 0).Then(g.l, take(read))
			default:
				g.rs.StreamBytes(n, func(b []byte) { got.Write(b) }).Then(g.l, func(b []byte, err error) {
					take(read+n)(nil, err)
				})
			}
		}
		g.do(func() { next(0) })
		if n, err := result(t, done); n != total || err != nil {
			t.Fatalf("read %d of %d bytes, %v", n, total, err)
		}
		if want := sha256.Sum256(all); !bytes.Equal(got.Sum(nil), want[:]) {
			t.Error("other bytes were read than written")
		}
	})
}

// A result belongs to whoever reads: what comes later does not change it.
func TestStreamResultsAreTheCallers(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		var results [][]byte
		for i := range 26 {
			g.write(g.ws, strings.Repeat(string(rune('a'+i)), 10+i%3))
			f := on(g.streamRig, func() bytesFuture { return g.rs.ReadBytes(10, false) })
			b, err := result(t, f)
			if err != nil {
				t.Fatal(err)
			}
			_ = append(b, "overwritten"...)
			results = append(results, bytes.Clone(b), b)
		}
		for i := 0; i < len(results); i += 2 {
			if !bytes.Equal(results[i], results[i+1]) {
				t.Errorf("result %d was %q and is %q", i/2, results[i], results[i+1])
			}
		}
	})
}

func TestStreamBufferAgainstModel(t *testing.T) {
	seed := rand.Int63()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewSource(seed))
	var q streamBuffer
	var model []byte
	for range 20_000 {
		switch n := rnd.Intn(1 + rnd.Intn(300)); rnd.Intn(3) {
		case 0:
			b := make([]byte, n)
			rnd.Read(b)
			q.append(b)
			model = append(model, b...)
			clear(b)
		case 1:
			n = min(n, len(model))
			if got := q.take(n); !bytes.Equal(got, model[:n]) {
				t.Fatalf("take(%d) returned other bytes", n)
			}
			model = model[n:]
		default:
			n = min(n, len(model))
			q.drop(n)
			model = model[n:]
		}
		if !bytes.Equal(q.bytes(), model) || q.len() != len(model) {
			t.Fatalf("%d bytes, want %d, or other ones", q.len(), len(model))
		}
		if q.len() == 0 && cap(q.b) > 0 {
			t.Fatalf("an empty buffer holds %d bytes of memory", cap(q.b))
		}
	}
}

// A buffer that is never empty does not grow with what has gone through it.
func TestStreamBufferUsesItsRoomAgain(t *testing.T) {
	var q streamBuffer
	q.append(make([]byte, 100))
	for range 10_000 {
		q.append(make([]byte, 100))
		q.drop(100)
	}
	if cap(q.b) > 2048 {
		t.Errorf("%d bytes of memory for %d", cap(q.b), q.len())
	}
}

// A continuation's panic is the loop's to report; the stream is not to blame.
func TestStreamContinuationPanicLeavesTheStream(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		g.panics.Add(1)
		f := on(g.streamRig, func() bytesFuture {
			f := g.rs.ReadBytes(1, false)
			f.Then(g.l, func([]byte, error) { panic(errors.New("boom")) })
			return f
		})
		g.write(g.ws, "12")
		g.want(f, "1")
		g.read(func() bytesFuture { return g.rs.ReadBytes(1, false) }, "2")
	})
}
