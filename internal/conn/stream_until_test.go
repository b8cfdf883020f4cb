package conn

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// finders are the two reads that look for something, here for "def".
var finders = map[string]func(s *Stream, max int) bytesFuture{
	"delimiter": func(s *Stream, max int) bytesFuture { return s.ReadUntil([]byte("def"), max) },
	"regexp":    func(s *Stream, max int) bytesFuture { return s.ReadUntilRegexp(regexp.MustCompile("def"), max) },
}

func onFinders(t *testing.T, test func(t *testing.T, g *pipe, until func(max int) bytesFuture)) {
	for name, find := range finders {
		t.Run(name, func(t *testing.T) {
			onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
				test(t, g, func(max int) bytesFuture { return find(g.rs, max) })
			})
		})
	}
}

func TestStreamReadUntilMaxBytes(t *testing.T) {
	onFinders(t, func(t *testing.T, g *pipe, until func(max int) bytesFuture) {
		closed := g.watch(g.rs)
		for _, room := range []int{50, 6} {
			f := on(g.streamRig, func() bytesFuture { return until(room) })
			g.write(g.ws, "abcdef")
			g.want(f, "abcdef")
		}
		f := on(g.streamRig, func() bytesFuture { return until(5) })
		g.write(g.ws, "123456")
		wantErr(t, f, ErrStreamClosed, ErrUnsatisfiableRead)
		g.wantEnd(closed, Local, ErrUnsatisfiableRead)
	})
}

func TestStreamReadUntilMaxBytesInline(t *testing.T) {
	onFinders(t, func(t *testing.T, g *pipe, until func(max int) bytesFuture) {
		closed := g.watch(g.rs)
		g.write(g.ws, "123456")
		g.until("all has come", func() bool { return g.rs.in.len() == 6 })
		f := on(g.streamRig, func() bytesFuture { return until(5) })
		wantErr(t, f, ErrStreamClosed, ErrUnsatisfiableRead)
		g.wantEnd(closed, Local, ErrUnsatisfiableRead)
	})
}

func TestStreamReadUntilMaxBytesAcrossChunks(t *testing.T) {
	onFinders(t, func(t *testing.T, g *pipe, until func(max int) bytesFuture) {
		closed := g.watch(g.rs)
		f := on(g.streamRig, func() bytesFuture { return until(5) })
		for i, c := range "1234" {
			g.write(g.ws, string(c))
			g.until("it has come", func() bool { return g.rs.in.len() == i+1 })
			if f.Done() {
				t.Fatalf("done after %d bytes", i+1)
			}
		}
		g.write(g.ws, "56")
		wantErr(t, f, ErrStreamClosed, ErrUnsatisfiableRead)
		g.wantEnd(closed, Local, ErrUnsatisfiableRead)
	})
}

// What is found only behind the limit is not found, even if it came together
// with the rest.
func TestStreamReadUntilMaxBytesIgnoresWhatIsBehind(t *testing.T) {
	onFinders(t, func(t *testing.T, g *pipe, until func(max int) bytesFuture) {
		closed := g.watch(g.rs)
		g.write(g.ws, "abcdef")
		wantErr(t, on(g.streamRig, func() bytesFuture { return until(5) }), ErrStreamClosed, ErrUnsatisfiableRead)
		g.wantEnd(closed, Local, ErrUnsatisfiableRead)
	})
}

// A delimiter may be cut anywhere by the network.
func TestStreamReadUntilAtEverySplit(t *testing.T) {
	const text = "--boundar--boundary--rest"
	for name, read := range map[string]func(s *Stream) bytesFuture{
		"delimiter": func(s *Stream) bytesFuture { return s.ReadUntil([]byte("--boundary--"), 0) },
		"regexp":    func(s *Stream) bytesFuture { return s.ReadUntilRegexp(regexp.MustCompile(`--bou+ndary--`), 0) },
	} {
		t.Run(name, func(t *testing.T) {
			onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
				for split := range len(text) + 1 {
					f := on(g.streamRig, func() bytesFuture { return read(g.rs) })
					g.write(g.ws, text[:split])
					g.until("the first part has come", func() bool { return f.Done() || g.rs.in.len() == split })
					g.write(g.ws, text[split:])
					g.want(f, "--boundar--boundary--")
					g.read(func() bytesFuture { return g.rs.ReadBytes(4, false) }, "rest")
				}
			})
		})
	}
}

func TestStreamReadUntilAcrossReadChunks(t *testing.T) {
	onPipes(t, StreamOptions{ReadChunkSize: 5}, func(t *testing.T, g *pipe) {
		const line = "a line that takes many chunks\r\n"
		g.write(g.ws, strings.Repeat(line, 20))
		for range 20 {
			g.read(func() bytesFuture { return g.rs.ReadUntil([]byte("\r\n"), 100) }, line)
		}
	})
}

func TestStreamReadUntilRegexpTakesTheFirstMatch(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		g.write(g.ws, "x=12;y=3;")
		g.until("all has come", func() bool { return g.rs.in.len() == 9 })
		re := regexp.MustCompile(`\d+;`)
		g.read(func() bytesFuture { return g.rs.ReadUntilRegexp(re, 0) }, "x=12;")
		g.read(func() bytesFuture { return g.rs.ReadUntilRegexp(re, 0) }, "y=3;")
	})
}

// Each byte is looked at about once, however many pieces a line comes in.
func TestStreamReadUntilIsLinear(t *testing.T) {
	onPipes(t, StreamOptions{}, func(t *testing.T, g *pipe) {
		f := on(g.streamRig, func() bytesFuture { return g.rs.ReadUntil([]byte("\r\n"), 0) })
		const kb = 4096
		block := bytes.Repeat([]byte("A"), 1024)
		g.do(func() {
			for range kb {
				g.ws.Write(block)
			}
		})
		g.until("all has come", func() bool { return g.rs.in.len() == kb*1024 })
		g.do(func() {
			if at := g.rs.read.scanned; at != kb*1024-1 {
				t.Errorf("the next search begins at %d of %d", at, kb*1024)
			}
		})
		g.write(g.ws, "\r\n")
		b, err := result(t, f)
		if err != nil || len(b) != kb*1024+2 {
			t.Errorf("read %d bytes, %v", len(b), err)
		}
	})
}
