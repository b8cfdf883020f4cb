package conn

import (
	"io"
	"slices"
	"testing"

	"gameserverd/internal/future"
)

func TestStreamBytesInChunks(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		var got []byte
		f := on(g.streamRig, func() bytesFuture {
			return g.rs.StreamBytes(6, func(b []byte) { got = append(append(got, b...), '|') })
		})
		g.write(g.ws, "1234")
		g.until("the first chunk", func() bool { return len(got) > 0 })
		if f.Done() {
			t.Error("done before the last chunk")
		}
		g.write(g.ws, "5678")
		g.want(f, "")
		g.do(func() {
			if string(got) != "1234|56|" {
				t.Errorf("chunks %q", got)
			}
		})
		g.read(func() bytesFuture { return g.rs.ReadBytes(2, false) }, "78")
	})
}

func TestStreamUntilCloseStartsWithBufferedData(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		g.write(g.ws, "abcd\r\nefgh")
		g.read(func() bytesFuture { return g.rs.ReadUntil([]byte("\r\n"), 0) }, "abcd\r\n")
		first := future.New[string]()
		var f bytesFuture
		g.do(func() {
			f = g.rs.StreamUntilClose(func(b []byte) { first.Resolve(string(b)) })
			if first.Done() {
				t.Error("a chunk came before the future was known")
			}
		})
		if s, err := result(t, first); s != "efgh" {
			t.Errorf("first chunk %q, %v", s, err)
		}
		g.close(g.ws)
		g.want(f, "")
	})
}

// Bytes that come while a chunk is on its way stay behind it.
func TestStreamChunksKeepTheirOrder(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		g.write(g.ws, "one two ")
		g.read(func() bytesFuture { return g.rs.ReadBytes(4, false) }, "one ")
		var got []byte
		var f bytesFuture
		g.do(func() {
			f = g.rs.StreamUntilClose(func(b []byte) { got = append(got, b...) })
			g.rs.receive([]byte("three ")) // as an event of the same turn would
		})
		g.write(g.ws, "four")
		g.close(g.ws)
		g.want(f, "")
		g.do(func() {
			if string(got) != "two three four" {
				t.Errorf("got %q", got)
			}
		})
	})
}

func TestStreamUntilCloseInChunks(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		var chunks []string
		f := on(g.streamRig, func() bytesFuture {
			return g.rs.StreamUntilClose(func(b []byte) { chunks = append(chunks, string(b)) })
		})
		g.write(g.ws, "1234")
		g.until("the first chunk", func() bool { return len(chunks) == 1 })
		g.write(g.ws, "5678")
		g.close(g.ws)
		g.want(f, "")
		g.do(func() {
			if !slices.Equal(chunks, []string{"1234", "5678"}) {
				t.Errorf("chunks %q", chunks)
			}
		})
	})
}

func TestStreamUntilCloseAfterPeerClosed(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		first := on(g.streamRig, func() bytesFuture { return g.rs.ReadBytes(1, false) })
		g.do(func() {
			g.ws.Write([]byte("1234"))
			g.ws.Close()
		})
		g.want(first, "1")
		g.until("the end is known", func() bool { return g.rs.eof })
		var got []byte
		closed := g.watch(g.rs)
		f := on(g.streamRig, func() bytesFuture {
			return g.rs.StreamUntilClose(func(b []byte) {
				if closed.Done() {
					t.Error("a chunk after the close callback")
				}
				got = append(got, b...)
			})
		})
		g.want(f, "")
		g.wantEnd(closed, PeerClosed, io.EOF)
		if string(got) != "234" {
			t.Errorf("got %q", got)
		}
	})
}

// Closing a stream whose first chunk is on its way does not lose that, nor give
// it twice.
func TestStreamCloseBeforeTheFirstChunk(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		g.write(g.ws, "ab")
		g.read(func() bytesFuture { return g.rs.ReadBytes(1, false) }, "a")
		closed := g.watch(g.rs)
		var got []byte
		f := on(g.streamRig, func() bytesFuture {
			f := g.rs.StreamUntilClose(func(b []byte) {
				got = append(got, b...)
				g.rs.Close()
			})
			g.rs.Close()
			if len(got) > 0 {
				t.Error("the chunk came inside Close")
			}
			return f
		})
		g.want(f, "")
		g.wantEnd(closed, Local, nil)
		if string(got) != "b" {
			t.Errorf("got %q", got)
		}
	})
}

func TestStreamChunkPanicCloses(t *testing.T) {
	for _, buffered := range []bool{false, true} {
		onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
			closed := g.watch(g.rs)
			g.panics.Add(1)
			if buffered {
				g.write(g.ws, "1")
				g.until("the stream stops reading", func() bool { return g.rs.paused })
			}
			f := on(g.streamRig, func() bytesFuture {
				return g.rs.StreamBytes(3, func([]byte) { panic("boom") })
			})
			if !buffered {
				g.write(g.ws, "1")
			}
			wantErr(t, f, ErrStreamClosed, errPanic)
			g.wantEnd(closed, Broken, errPanic)
		})
	}
}
