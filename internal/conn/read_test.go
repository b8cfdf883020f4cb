package conn

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

// framer is a handler with frames: a length of 4 bytes, and the payload. It
// consumes whole frames only, at most perCall of them, and yields if more wait.
type framer struct {
	g       *rig
	perCall int
	frames  [][]byte // loop only
	calls   int
	kept    int // the most bytes that were left
}

func (f *framer) data(id uint64, b []byte) int {
	f.calls++
	used := 0
	for n := 0; len(b)-used >= 4; n++ {
		size := int(binary.BigEndian.Uint32(b[used:]))
		if len(b)-used < 4+size {
			break
		}
		if f.perCall > 0 && n == f.perCall {
			f.g.set.Yield(id)
			break
		}
		f.frames = append(f.frames, append([]byte(nil), b[used+4:used+4+size]...))
		used += 4 + size
	}
	f.kept = max(f.kept, len(b)-used)
	return used
}

func frame(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func framesOf(sizes ...int) (stream []byte, payloads [][]byte) {
	for i, n := range sizes {
		p := pattern(n)
		if n > 0 {
			p[0] = byte(i)
		}
		payloads = append(payloads, p)
		stream = append(stream, frame(p)...)
	}
	return stream, payloads
}

func newFramer(t *testing.T, o Options, perCall int) (*rig, *framer) {
	g := newRig(t, o)
	f := &framer{g: g, perCall: perCall}
	g.do(func() { g.onData = f.data })
	return g, f
}

// wantFrames waits for frames and compares them.
func (f *framer) wantFrames(want [][]byte) {
	f.g.t.Helper()
	f.g.until(fmt.Sprintf("%d frames", len(want)), func() bool { return len(f.frames) >= len(want) })
	f.g.do(func() {
		if len(f.frames) != len(want) {
			f.g.t.Fatalf("%d frames, want %d", len(f.frames), len(want))
		}
		for i := range want {
			if string(f.frames[i]) != string(want[i]) {
				f.g.t.Fatalf("frame %d: %s", i, firstDifference(f.frames[i], want[i]))
			}
		}
		f.frames = nil
	})
}

// Invariant 12: frames cut at every byte.
func TestFramesCutAtEveryByte(t *testing.T) {
	g, f := newFramer(t, Options{}, 0)
	id, p := g.pair()
	stream, want := framesOf(10, 0, 300, 1, 60)
	for cut := 1; cut < len(stream); cut++ {
		p.send(stream[:cut])
		g.turns(2)
		p.send(stream[cut:])
		f.wantFrames(want)
	}
	g.do(func() {
		if n := g.set.Buffered(id); n != 0 || g.set.at(Slot(id)).in != 0 {
			t.Errorf("%d bytes and a buffer are kept after whole frames", n)
		}
	})
}

// Invariant 12: one byte at a time, over the sizes at which the buffer changes.
func TestDrip(t *testing.T) {
	g, f := newFramer(t, Options{}, 0)
	id, p := g.pair()
	stream, want := framesOf(2*smallTail, 3)
	for i := range stream {
		p.send(stream[i : i+1])
		if i%97 == 0 { // otherwise as the scheduler has it
			g.until("the byte", func() bool { return i+1 >= 4+2*smallTail || g.set.Buffered(id) == i+1 })
		}
	}
	f.wantFrames(want)
}

// Invariant 12: many frames in one read, and frames larger than the read buffer,
// with every kind of tail between them.
func TestManyAndLargeFrames(t *testing.T) {
	for _, o := range []Options{{}, {ReadChunk: 1000}, {ReadChunk: 7}} {
		t.Run(fmt.Sprint(o.ReadChunk), func(t *testing.T) {
			g, f := newFramer(t, o, 0)
			_, p := g.tcp()
			seed := uint64(time.Now().UnixNano())
			rnd := rand.New(rand.NewPCG(seed, 1))
			sizes := []int{3, 200_000, 0, 65_532, 65_533, 4096, 4092, 1_000_000, 1}
			if o.ReadChunk == 7 {
				sizes = []int{3, 9000, 0, 1}
			}
			for range 300 {
				sizes = append(sizes, rnd.IntN(1+100_000>>rnd.IntN(17)))
				if o.ReadChunk == 7 {
					sizes[len(sizes)-1] %= 50
				}
			}
			stream, want := framesOf(sizes...)
			p.send(stream)
			defer func() {
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			}()
			f.wantFrames(want)
		})
	}
}

// Invariant 12: input over the limit is not kept; at the limit it is.
func TestInputLimit(t *testing.T) {
	const limit = 100_000
	for _, over := range []int{0, 1} {
		t.Run(fmt.Sprint(over), func(t *testing.T) {
			g, f := newFramer(t, Options{MaxInput: limit}, 0)
			id, p := g.pair()
			stream, want := framesOf(limit) // not complete at the limit: 4 bytes more
			p.send(stream[:limit+over])
			if over > 0 {
				g.wantClosed(id, InputFull, nil)
				return
			}
			g.until("the limit", func() bool { return g.set.Buffered(id) == limit })
			g.wantNothingClosed()
			g.do(func() {
				if b := g.set.Stats().Buffered; b > 2*limit {
					t.Errorf("%d bytes of buffers for %d", b, limit)
				}
			})
			p.send(stream[limit:]) // and now it is
			f.wantFrames(want)
			g.wantNothingClosed()
		})
	}
}

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

// Invariant 7: closing B in A's Data drops B's event of the same batch.
func TestCloseAnotherOfTheSameBatch(t *testing.T) {
	g := newRig(t, Options{})
	var a, b uint64
	calls := make(map[uint64]int)
	g.do(func() {
		g.onData = func(id uint64, d []byte) int {
			calls[id]++
			g.set.Close(a+b-id, Local, nil)
			return len(d)
		}
	})
	a, pa := g.pair()
	b, pb := g.pair()
	release := g.hold()
	pa.send([]byte("x"))
	pb.send([]byte("x"))
	release()
	g.until("one of them", func() bool { return len(calls) > 0 })
	g.do(func() {
		if len(calls) != 1 || calls[a]+calls[b] != 1 {
			t.Errorf("calls %v, want one in all", calls)
		}
	})
	for range calls {
		c := <-g.closed
		if calls[c.id] != 0 {
			t.Errorf("%#x is closed, which closed the other one", c.id)
		}
	}
	g.wantNothingClosed()
}

// Invariant 8: the descriptor's number is used again within the batch. Neither
// the stale event nor the old connection's output reaches the new one.
func TestDescriptorReusedWithinBatch(t *testing.T) {
	g := newRig(t, Options{})
	var a, b, fresh uint64
	var freshPeer *peer
	g.do(func() {
		g.onData = func(id uint64, d []byte) int {
			if id == fresh {
				t.Error("a stale event reaches the new connection")
			}
			if fresh == 0 {
				other := a + b - id
				fd := int(g.set.lookup(other).fd)
				g.set.Write(other, []byte("of the dead"))
				g.set.Close(other, Local, nil)
				fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Error(err)
				}
				if fds[0] != fd {
					t.Errorf("the new descriptor is %d, want %d again", fds[0], fd)
				}
				freshPeer = newPeer(t, fds[1])
				fresh, _ = g.set.Attach(fds[0], g.set.Peer(id))
				g.set.Write(other, []byte("of the dead"))
			}
			return len(d)
		}
		g.onEOF = func(id uint64) {
			if id == fresh {
				t.Error("a stale EOF reaches the new connection")
			}
		}
	})
	a, pa := g.pair()
	b, pb := g.pair()
	release := g.hold()
	for _, p := range []*peer{pa, pb} {
		p.send([]byte("x"))
		p.finish()
	}
	release()
	g.until("the new one", func() bool { return fresh != 0 })
	g.turns(2)
	g.do(func() { g.set.Write(fresh, []byte("alive")); g.set.Shutdown(fresh, Local) })
	if got := freshPeer.rest(); string(got) != "alive" {
		t.Errorf("the new connection's peer got %q", got)
	}
}

// Invariant 25: a panic in a handler costs the connection whose handler it was.
func TestPanicClosesOneConnection(t *testing.T) {
	for _, where := range []string{"Opened", "Data", "EOF", "Closed", "kept Data"} {
		t.Run(where, func(t *testing.T) {
			g := newRig(t, Options{})
			var bad uint64
			boom := func(id uint64, here bool) {
				if id == bad && here {
					panic("boom")
				}
			}
			calls := 0
			g.do(func() {
				g.onData = func(id uint64, b []byte) int {
					boom(id, where == "Data")
					if where == "kept Data" && id == bad {
						calls++
						boom(id, calls == 2)
						g.set.Write(id, []byte("never sent"))
						g.set.Yield(id)
						return 0
					}
					g.set.Write(id, b)
					return len(b)
				}
				g.onEOF = func(id uint64) { boom(id, where == "EOF"); g.set.Shutdown(id, PeerClosed) }
				g.onClosed = func(id uint64, _ error) { boom(id, where == "Closed") }
			})
			_, good := g.pair()
			g.panics.Store(1)
			var p *peer
			if where == "Opened" {
				fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				p = newPeer(t, fds[1])
				g.l.AddCallback(func() {
					g.onOpened = func(uint64) { panic("boom") }
					g.set.Attach(fds[0], g.set.Peer(0))
				})
				g.turns(1)
				g.do(func() { g.onOpened = nil; bad = uint64(1)<<32 | 1 })
			} else {
				bad, p = g.pair()
				g.turns(1)
			}
			if where != "Opened" {
				p.send([]byte("x"))
			}
			if where == "EOF" || where == "Closed" {
				p.finish()
			}
			if where == "Closed" {
				g.until("the slot is free", func() bool { return g.set.lookup(bad) == nil })
			} else {
				g.wantClosed(bad, Broken, errPanic)
			}
			for range 3 {
				good.send([]byte("still here"))
				good.want([]byte("still here"))
			}
			if n := g.panics.Load(); n != 0 {
				t.Errorf("%d panics are missing", n)
			}
		})
	}
}

// A panic in one Closed, or in one Data of many that were postponed, does not keep
// the others from theirs.
func TestPanicAmongMany(t *testing.T) {
	g := newRig(t, Options{})
	const n = 6
	calls := 0
	g.do(func() {
		g.onData = func(id uint64, b []byte) int {
			g.set.Yield(id)
			return 0
		}
	})
	for range n {
		_, p := g.pair()
		p.send([]byte("x"))
	}
	g.panics.Store(2)
	g.until("all have yielded", func() bool { return g.set.pool.used == n })
	g.do(func() {
		g.onData = func(id uint64, b []byte) int {
			if calls++; calls == 2 {
				panic("boom")
			}
			return len(b)
		}
		told := 0
		g.onClosed = func(uint64, error) {
			if told++; told == 3 {
				panic("boom")
			}
		}
	})
	g.until("the others' Data", func() bool { return calls == n })
	g.do(func() { g.set.CloseAll(Local) })
	g.until("the others' Closed", func() bool { return g.set.Len() == 0 })
	if got := len(g.closed); got != n-1 || g.panics.Load() != 0 {
		t.Errorf("%d Closed calls have returned, want %d; %d panics are missing", got, n-1, g.panics.Load())
	}
}

// A handler that says it has consumed more than there was is held to what there was.
func TestDataOverrunIsCaught(t *testing.T) {
	g := newRig(t, Options{})
	g.do(func() { g.onData = func(_ uint64, b []byte) int { return len(b) + 1 } })
	if invariants {
		g.panics.Store(1)
	}
	_, p := g.pair()
	p.send([]byte("x"))
	p.finish()
	if rest := p.rest(); len(rest) != 0 {
		t.Errorf("got %q", rest)
	}
}
