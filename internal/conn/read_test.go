package conn

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

// What a handler leaves because it has yielded is not held against it, and
// nothing is read while it has not caught up.
func TestYieldOffersInTurnsAndReadsNoFurther(t *testing.T) {
	g, f := newFramer(t, Options{MaxInput: 1000, ReadChunk: 16 << 10}, 2)
	_, p := g.pair()
	var sizes []int
	for range 2000 {
		sizes = append(sizes, 28)
	}
	stream, want := framesOf(sizes...)
	release := g.hold()
	p.send(stream) // 64,000 bytes
	release()
	f.wantFrames(want)
	g.wantNothingClosed()
	g.do(func() {
		if f.kept > 16<<10 {
			t.Errorf("%d bytes were kept, more than one read", f.kept)
		}
		if f.calls < 1000 {
			t.Errorf("%d calls for 2000 frames at 2 in a call", f.calls)
		}
	})
}

// Invariant 18: one connection that floods, and one that yields for ever, do not
// keep the others waiting longer than a turn.
func TestFloodDelaysNobody(t *testing.T) {
	g := newRig(t, Options{})
	var quick uint64
	flooded, before := 0, -1
	g.do(func() {
		g.onData = func(id uint64, b []byte) int {
			if id == quick {
				before = flooded
				return len(b)
			}
			flooded += len(b)
			return len(b)
		}
	})
	_, flood := g.pair()
	if err := unix.SetsockoptInt(flood.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 8<<20); err != nil {
		t.Fatal(err)
	}
	var p *peer
	quick, p = g.pair()
	release := g.hold()
	flood.send(pattern(2 << 20))
	p.send([]byte("x"))
	release()
	g.until("everything", func() bool { return flooded == 2<<20 && before >= 0 })
	if most := 256 << 10; before > most {
		t.Errorf("%d bytes of the flood went first, want at most %d", before, most)
	}
}

func TestEndlessYieldStarvesNobody(t *testing.T) {
	g := newRig(t, Options{})
	var greedy uint64
	turns := 0
	g.do(func() {
		g.onData = func(id uint64, b []byte) int {
			if id == greedy {
				turns++
				g.set.Yield(id)
				return 0
			}
			g.set.Write(id, b)
			return len(b)
		}
	})
	var p *peer
	greedy, p = g.pair()
	g.turns(1)
	p.send([]byte("never consumed"))
	g.until("the first yields", func() bool { return turns > 3 })
	_, other := g.pair()
	for range 100 {
		other.send([]byte("hello"))
		other.want([]byte("hello"))
	}
	g.do(func() { g.set.Close(greedy, Local, nil) })
	g.wantClosed(greedy, Local, nil)
	g.turns(1)
	g.quiet()
}

// Pause holds back what is kept and what is not yet read; Resume gives both, in
// order. The interest in reading is only given up when an event asks for it.
func TestPauseAndResume(t *testing.T) {
	g := newRig(t, Options{})
	var got []byte
	pauseAfter := 5
	g.do(func() {
		g.onData = func(id uint64, b []byte) int {
			n := min(len(b), pauseAfter-len(got))
			got = append(got, b[:n]...)
			if len(got) == pauseAfter {
				g.set.Pause(id)
			}
			return n
		}
	})
	id, p := g.pair()
	p.send([]byte("0123456789"))
	g.until("five bytes", func() bool { return len(got) == 5 })
	p.send([]byte("abc"))
	g.quiet()
	g.do(func() {
		if string(got) != "01234" || g.set.Buffered(id) != 5 {
			t.Errorf("paused with %q, %d kept", got, g.set.Buffered(id))
		}
		if ev := loop.Events(g.set.at(Slot(id)).interest); ev != 0 {
			t.Errorf("interest %#x while paused with bytes unread", ev)
		}
		pauseAfter = 8
		g.set.Resume(id)
		g.set.Resume(id)
		if string(got) != "01234" {
			t.Error("Resume offers inside the call")
		}
	})
	g.until("eight bytes", func() bool { return len(got) == 8 })
	g.do(func() { pauseAfter = 1000; g.set.Resume(id) })
	g.until("all", func() bool { return string(got) == "0123456789abc" })
	g.quiet()
}

// A pause that is over before anything comes costs no system call, nor does
// anything else between a request and its answer.
func TestNoEpollControlPerRequest(t *testing.T) {
	g := newRig(t, Options{})
	g.do(func() {
		g.onData = func(id uint64, b []byte) int {
			g.set.Pause(id)
			g.set.Write(id, b)
			g.l.AddCallback(func() { g.set.Resume(id) })
			return len(b)
		}
	})
	_, p := g.tcp()
	p.send([]byte("x"))
	p.want([]byte("x"))
	before := 0
	g.do(func() { before = g.poller.controls })
	for range 100 {
		p.send([]byte("y"))
		p.want([]byte("y"))
		g.turns(1)
	}
	g.do(func() {
		if n := g.poller.controls - before; n != 0 {
			t.Errorf("%d calls of epoll_ctl for 100 requests", n)
		}
	})
}

// Pause and Resume inside one Data call: the rest is offered again.
func TestResumeInsideData(t *testing.T) {
	g := newRig(t, Options{})
	var got []byte
	g.do(func() {
		g.onData = func(id uint64, b []byte) int {
			got = append(got, b[0])
			g.set.Pause(id)
			g.set.Resume(id)
			return 1
		}
	})
	_, p := g.pair()
	p.send([]byte("one at a time"))
	g.until("all", func() bool { return string(got) == "one at a time" })
	g.quiet()
}

// Invariant 10: data and FIN together, many reads long: everything is offered
// before EOF, and the answer still goes out.
func TestDataThenFIN(t *testing.T) {
	for _, kind := range []string{"pair", "tcp"} {
		t.Run(kind, func(t *testing.T) {
			g := newRig(t, Options{})
			var got int
			ended := false
			g.do(func() {
				g.onData = func(id uint64, b []byte) int {
					if ended {
						t.Error("Data after EOF")
					}
					got += len(b)
					return len(b)
				}
				g.onEOF = func(id uint64) {
					ended = true
					g.set.Write(id, fmt.Appendf(nil, "got %d", got))
				}
			})
			connect := g.pair
			if kind == "tcp" {
				connect = g.tcp
			}
			id, p := connect()
			const n = 150_000
			p.send(pattern(n))
			p.finish()
			p.want([]byte("got 150000"))
			g.quiet() // half open, RDHUP for ever
			g.do(func() {
				g.set.Write(id, []byte(" and more"))
				g.set.Shutdown(id, PeerClosed)
			})
			if rest := p.rest(); string(rest) != " and more" {
				t.Errorf("after the half-close: %q", rest)
			}
			g.wantClosed(id, PeerClosed, nil)
		})
	}
}

// A Unix peer that sends and closes at once: everything is offered, then EOF,
// then the end.
func TestDataThenFullCloseOfUnixPeer(t *testing.T) {
	g := newRig(t, Options{})
	var log []string
	n := 0
	g.do(func() {
		g.onData = func(_ uint64, b []byte) int { n += len(b); return len(b) }
		g.onEOF = func(uint64) { log = append(log, fmt.Sprint("EOF after ", n)) }
	})
	id, p := g.pair()
	release := g.hold()
	p.send(pattern(100_000))
	p.close()
	release()
	g.wantClosed(id, PeerClosed, nil)
	g.do(func() {
		if len(log) != 1 || log[0] != "EOF after 100000" {
			t.Errorf("got %v", log)
		}
	})
}

// A Unix peer that closes while its connection is paused cannot be waited for in
// epoll, but what it has sent is not lost. With nothing sent it is closed.
func TestHangupWhilePaused(t *testing.T) {
	g := newRig(t, Options{})
	var got []byte
	g.do(func() {
		g.onData = func(_ uint64, b []byte) int { got = append(got, b...); return len(b) }
		g.onEOF = func(id uint64) { got = append(got, '.') }
	})
	id, p := g.pair()
	g.do(func() { g.set.Pause(id) })
	p.send([]byte("last words"))
	p.close()
	g.quiet()
	g.wantNothingClosed()
	g.do(func() {
		if g.set.at(Slot(id)).flags&isDetached == 0 {
			t.Error("it is still in epoll")
		}
		g.set.Resume(id)
	})
	g.wantClosed(id, PeerClosed, nil)
	if string(got) != "last words." {
		t.Errorf("got %q", got)
	}

	id, p = g.pair()
	g.do(func() { g.set.Pause(id) })
	p.close()
	g.wantClosed(id, PeerClosed, nil)

	// Closed while detached.
	id, p = g.pair()
	g.do(func() { g.set.Pause(id) })
	p.send([]byte("x"))
	p.close()
	g.until("detached", func() bool { return g.set.at(Slot(id)).flags&isDetached != 0 })
	g.do(func() { g.set.Shutdown(id, Local) })
	g.wantClosed(id, Local, nil)
}

// Invariant 11: an RST is one Closed with the real error, also when nothing is
// asked for, and the loop does not spin.
func TestResetIsSeenOnce(t *testing.T) {
	states := map[string]func(g *rig, id uint64){
		"reading":    func(*rig, uint64) {},
		"paused":     func(g *rig, id uint64) { g.set.Pause(id) },
		"after EOF":  nil,
		"shut down":  nil,
		"half frame": nil,
	}
	for name, prepare := range states {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, Options{})
			eof := false
			g.do(func() {
				g.onData = func(uint64, []byte) int { return 0 }
				g.onEOF = func(uint64) { eof = true }
			})
			id, p := g.tcp()
			reason, errno := Reset, unix.ECONNRESET
			switch name {
			case "after EOF":
				p.finish()
				g.until("EOF", func() bool { return eof })
				// What the kernel says of an RST in CLOSE_WAIT.
				reason, errno = PeerClosed, unix.EPIPE
			case "shut down":
				g.do(func() { g.set.Shutdown(id, Timeout) })
				g.turns(2)
				reason = Timeout // the first reason stays
			case "half frame":
				p.send([]byte("ha"))
				g.until("it", func() bool { return g.set.Buffered(id) == 2 })
			default:
				g.do(func() { prepare(g, id) })
			}
			p.reset()
			g.wantClosed(id, reason, errno)
			g.wantNothingClosed()
			g.quiet()
		})
	}
}

// Invariant 11: EOF that a paused connection has not read yet does not spin, and
// comes after Resume.
func TestFINWhilePaused(t *testing.T) {
	g := newRig(t, Options{})
	eof := false
	g.do(func() { g.onEOF = func(uint64) { eof = true } })
	id, p := g.tcp()
	g.do(func() { g.set.Pause(id) })
	p.finish()
	g.quiet()
	if eof {
		t.Error("EOF while paused")
	}
	g.do(func() { g.set.Resume(id) })
	g.until("EOF", func() bool { return eof })
	g.quiet()
}
