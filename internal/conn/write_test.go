package conn

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// boundaries are the sizes around which output is kept differently.
var boundaries = []int{1, 2, 255, 256, 257, 1023, 1024, 1025, 4095, 4096, 4097, 16383, 16384, 16385, 65535, 65536, 65537, 200_000}

// shrink limits the kernel's buffers; 4096 is about the smallest there are.
func shrink(t *testing.T, size int, fds ...int) {
	t.Helper()
	for _, fd := range fds {
		for _, opt := range []int{unix.SO_SNDBUF, unix.SO_RCVBUF} {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, size); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// narrow is pair or tcp with the smallest buffers.
func (g *rig) narrow(kind string) (uint64, *peer) {
	g.t.Helper()
	if kind == "tcp" {
		fd, p := tcpPair(g.t)
		shrink(g.t, 32<<10, fd, p.fd) // with less, the peer's kernel waits before it opens its window
		return g.attach(fd), p
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	shrink(g.t, 4096, fds[0], fds[1])
	return g.attach(fds[0]), newPeer(g.t, fds[1])
}

// Invariants 15 and 16: writes of all sizes, from Data and from callbacks, some of
// them flushed, over a socket that never takes much: the peer reads the bytes
// in the order of the writes. That EPOLLOUT is asked for exactly while output
// waits is checked by the rig's audit in every turn.
func TestShortWritesAtEveryBoundary(t *testing.T) {
	for _, kind := range []string{"pair", "tcp"} {
		t.Run(kind, func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 2))
			g := newRig(t, Options{MaxOutput: 64 << 20, HighWater: 32 << 20})
			const total = 3 << 20
			stream := pattern(total)
			written := 0
			write := func(id uint64) {
				n := boundaries[rnd.IntN(len(boundaries))]
				if rnd.IntN(2) == 0 {
					n = 1 + rnd.IntN(3000)
				}
				n = min(n, total-written)
				if n > 0 && !g.set.Write(id, stream[written:written+n]) {
					t.Error("Write returns false")
				}
				written += n
				if rnd.IntN(8) == 0 {
					g.set.Flush(id)
				}
			}
			g.do(func() {
				g.onData = func(id uint64, b []byte) int {
					for range rnd.IntN(4) {
						write(id)
					}
					return len(b)
				}
			})
			id, p := g.narrow(kind)
			go func() { // pushes, as long as there is something to push
				for g.l.AddCallback(func() {
					write(id)
					write(id)
				}) {
					done := make(chan bool)
					if !g.l.AddCallback(func() { done <- written == total }) || <-done {
						return
					}
				}
			}()
			peerRnd := rand.New(rand.NewPCG(seed, 3))
			buf := make([]byte, 20_000)
			for at := 0; at < total; {
				if peerRnd.IntN(4) == 0 {
					p.send([]byte("go on"))
				}
				n, err := p.read(buf[:1+peerRnd.IntN(len(buf))])
				if err != nil || n == 0 {
					t.Fatalf("after %d bytes: %d, %v", at, n, err)
				}
				if !bytes.Equal(buf[:n], stream[at:at+n]) {
					t.Fatalf("at %d: %s", at, firstDifference(buf[:n], stream[at:at+n]))
				}
				at += n
			}
			g.do(func() {
				if n := g.set.Pending(id); n != 0 {
					t.Errorf("%d bytes pending after all were read", n)
				}
			})
			g.quiet()
		})
	}
}

// Each size by itself as the first write to a full socket, then each again
// behind it: the chunks' edges.
func TestChunkEdges(t *testing.T) {
	g := newRig(t, Options{})
	for _, first := range boundaries {
		id, p := g.narrow("pair")
		stream := pattern(first + 700_000)
		at := 0
		g.do(func() {
			for _, n := range append([]int{first}, boundaries...) {
				g.set.Write(id, stream[at:at+n])
				g.set.Flush(id) // nothing stays in the log
				at += n
			}
			if n := g.set.Pending(id); n == 0 || n >= at {
				t.Errorf("%d of %d bytes pending", n, at)
			}
		})
		p.want(stream[:at])
		g.do(func() { g.set.Close(id, Local, nil) })
		g.wantClosed(id, Local, nil)
		p.close()
	}
}

// Pushes in one turn to many connections, some of them blocked, in any order,
// with the same and with different contents: each gets its own, in order.
func TestPushesAgainstModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 4))
	g := newRig(t, Options{MaxOutput: 16 << 20})
	const conns = 20
	ids, peers, want := make([]uint64, conns), make([]*peer, conns), make([][]byte, conns)
	for i := range conns {
		if i%3 == 0 {
			ids[i], peers[i] = g.narrow("pair")
		} else {
			ids[i], peers[i] = g.pair()
		}
	}
	texts := [][]byte{[]byte("a"), []byte("b"), []byte("abc"), []byte("abd"), []byte("same front"), []byte("same FRONT"), pattern(100), pattern(300_000), nil}
	for range 30 {
		g.do(func() {
			for range rnd.IntN(200) {
				text := texts[rnd.IntN(len(texts))]
				if len(text) > 1000 && rnd.IntN(20) > 0 {
					text = text[:rnd.IntN(200)]
				}
				from, n := rnd.IntN(conns), 1
				if rnd.IntN(3) == 0 {
					n = conns // a broadcast
				}
				for k := range n {
					i := (from + k) % conns
					if len(want[i]) < 4<<20 {
						g.set.Write(ids[i], text)
						want[i] = append(want[i], text...)
					}
					if rnd.IntN(200) == 0 {
						g.set.Flush(ids[i])
					}
				}
			}
		})
		i := rnd.IntN(conns)
		if n := min(len(want[i]), rnd.IntN(100_000)); n > 0 {
			peers[i].want(want[i][:n])
			want[i] = want[i][n:]
		}
	}
	for i, p := range peers {
		p.want(want[i])
	}
	g.quiet()
}

// A broadcast stands in memory once, and costs an idle connection no buffer.
func TestBroadcastIsShared(t *testing.T) {
	g := newRig(t, Options{})
	var ids []uint64
	var peers []*peer
	for range 50 {
		id, p := g.pair()
		ids, peers = append(ids, id), append(peers, p)
	}
	msg := pattern(1000)
	g.do(func() {
		for _, id := range ids {
			g.set.Write(id, msg)
		}
		if n := len(g.set.log); n != len(msg) {
			t.Errorf("%d bytes for the same %d to each of %d", n, len(msg), len(ids))
		}
		if st := g.set.Stats(); st.Buffered+st.Spare != 0 {
			t.Errorf("%d bytes of buffers", st.Buffered)
		}
		if n := g.set.Pending(ids[7]); n != len(msg) {
			t.Errorf("%d bytes pending, want %d", n, len(msg))
		}
	})
	for _, p := range peers {
		p.want(msg)
	}
}

// What does not fit the log gets buffers of its own.
func TestPushesBeyondTheLog(t *testing.T) {
	g := newRig(t, Options{})
	var ids []uint64
	var peers []*peer
	for range 8 {
		id, p := g.pair()
		ids, peers = append(ids, id), append(peers, p)
	}
	text := pattern(300_000)
	g.do(func() {
		for i, id := range ids {
			g.set.Write(id, text[i:])
		}
		if n := cap(g.set.log); n > 2*maxPushLog {
			t.Errorf("the log has %d bytes", n)
		}
	})
	for i, p := range peers {
		p.want(text[i:])
	}
}

// Answers and pushes to one connection keep their order, also when the push is
// another connection's doing in the same batch.
func TestAnswersAndPushesKeepOrder(t *testing.T) {
	g := newRig(t, Options{})
	var a, b uint64
	g.do(func() {
		g.onData = func(id uint64, d []byte) int {
			g.set.Write(id, []byte("1"))
			g.set.Write(a+b-id, []byte("x"))
			g.set.Write(id, []byte("2"))
			return len(d)
		}
	})
	a, pa := g.pair()
	b, pb := g.pair()
	release := g.hold()
	pa.send([]byte("?"))
	pb.send([]byte("?"))
	release()
	got := make(map[string]bool)
	for _, p := range []*peer{pa, pb} {
		buf := make([]byte, 3)
		for at := 0; at < 3; {
			n, err := p.read(buf[at:])
			if n == 0 || err != nil {
				t.Fatal(n, err)
			}
			at += n
		}
		got[string(buf)] = true
	}
	// The one that came first had nothing waiting when it was answered.
	if !got["12x"] || !got["x12"] {
		t.Errorf("got %v, want 12x and x12", got)
	}
}

// The answers of one event are one send.
func TestAnswersAreOneSend(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	g := newRig(t, Options{})
	g.do(func() {
		g.onData = func(id uint64, d []byte) int {
			for range 10 {
				g.set.Write(id, []byte("0123456789"))
			}
			return len(d)
		}
	})
	id := g.attach(fds[0])
	p := newPeer(t, fds[1])
	p.send([]byte("?"))
	buf := make([]byte, 1000)
	if n, err := p.read(buf); n != 100 || err != nil {
		t.Errorf("the first packet has %d bytes, %v; want all 100", n, err)
	}
	g.do(func() {
		for range 10 {
			g.set.Write(id, []byte("0123456789"))
		}
	})
	if n, err := p.read(buf); n != 100 || err != nil {
		t.Errorf("pushes: the first packet has %d bytes, %v; want all 100", n, err)
	}
}

// Flush sends before the handler returns.
func TestFlushInsideData(t *testing.T) {
	g := newRig(t, Options{})
	_, p := g.pair()
	seen := make(chan string, 1)
	g.do(func() {
		g.onData = func(id uint64, d []byte) int {
			g.set.Write(id, []byte("early"))
			g.set.Flush(id)
			buf := make([]byte, 10)
			n, _ := recv(int32(p.fd), buf)
			seen <- string(buf[:n])
			g.set.Write(id, []byte("late"))
			return len(d)
		}
	})
	p.send([]byte("?"))
	if s := <-seen; s != "early" {
		t.Errorf("inside Data the peer had %q", s)
	}
	p.want([]byte("late"))
}

// A Unix peer that has gone away is EPIPE, a TCP peer that has closed without
// reading is a reset; both once, found by a write or by a flush.
func TestWriteToGonePeer(t *testing.T) {
	for _, how := range []string{"push", "answer", "blocked"} {
		t.Run(how, func(t *testing.T) {
			g := newRig(t, Options{})
			g.do(func() {
				g.onData = func(id uint64, d []byte) int { return len(d) }
			})
			id, p := g.narrow("pair")
			release := func() {}
			switch how {
			case "push":
				g.do(func() { p.close(); g.set.Write(id, []byte("x")) })
			case "answer":
				g.do(func() {
					g.onData = func(id uint64, d []byte) int {
						g.set.Write(id, pattern(10))
						return len(d)
					}
				})
				release = g.hold()
				p.send([]byte("?"))
				p.close()
			case "blocked":
				g.do(func() { g.set.Write(id, pattern(100_000)) })
				g.turns(1)
				p.close()
			}
			release()
			c := <-g.closed
			// With unread bytes the kernel says reset, without them broken pipe.
			if c.id != id || c.err.Err != unix.EPIPE && c.err.Err != unix.ECONNRESET || c.err.Reason != PeerClosed && c.err.Reason != Reset {
				t.Errorf("closed with %v", c.err)
			}
			g.wantNothingClosed()
		})
	}
}

func TestWriteAfterClose(t *testing.T) {
	g := newRig(t, Options{})
	id, _ := g.pair()
	g.do(func() {
		g.set.Close(id, Local, nil)
		for _, dead := range []uint64{id, 0, id + 1, id + 1<<32, ^uint64(0)} {
			if g.set.Write(dead, []byte("x")) {
				t.Errorf("Write to %#x is taken", dead)
			}
			g.set.Flush(dead)
			g.set.Pause(dead)
			g.set.Resume(dead)
			g.set.Yield(dead)
			g.set.Shutdown(dead, Local)
			g.set.Close(dead, Timeout, nil)
			if n := g.set.Pending(dead) + g.set.Buffered(dead); n != 0 {
				t.Errorf("%#x has %d bytes", dead, n)
			}
		}
	})
	g.wantClosed(id, Local, nil)
	g.wantNothingClosed()
}

// Bursts do not stay resident: the timer drops what nobody needs.
func TestBuffersAreTrimmed(t *testing.T) {
	clock := newFakeClock()
	g := newRigOn(t, Options{}, clock)
	var ids []uint64
	var peers []*peer
	for range 20 {
		id, p := g.narrow("pair")
		ids, peers = append(ids, id), append(peers, p)
	}
	g.do(func() {
		for _, id := range ids {
			g.set.Write(id, pattern(50_000))
		}
	})
	for _, p := range peers {
		p.want(pattern(50_000))
	}
	g.until("buffers on the shelf", func() bool { st := g.set.Stats(); return st.Buffered == 0 && st.Spare >= 20*maxClass })
	for range 3 {
		clock.advance(trimEvery + time.Second)
		g.turns(2)
	}
	g.do(func() {
		if n := g.set.Stats().Spare; n != 0 {
			t.Errorf("%d bytes are still held", n)
		}
		if g.set.trimmer {
			t.Error("the timer goes on with nothing to trim")
		}
	})
}
