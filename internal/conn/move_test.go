package conn

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// move moves id from a to b and returns the new id.
func move(a, b *rig, id uint64) uint64 {
	a.t.Helper()
	moved := make(chan uint64, 1)
	a.do(func() { a.set.Move(id, b.set, func(id uint64) { moved <- id }) })
	select {
	case id := <-moved:
		return id
	case <-time.After(deadline):
		a.t.Fatal("Move is not done in time")
		return 0
	}
}

// What belongs to a connection moves with it: kept input, output from the log and
// from chunks, the pause, the end of the input.
func TestMoveTakesEverythingAlong(t *testing.T) {
	a, fa := newFramer(t, Options{}, 0)
	b, fb := newFramer(t, Options{}, 0)
	b.do(func() {
		b.onOpened = func(uint64) { t.Error("Opened for a moved connection") }
		b.onEOF = func(uint64) { t.Error("EOF again") }
	})
	a.do(func() { a.onEOF = func(uint64) {} })
	id, p := a.narrow("pair")
	text := pattern(200_000)
	stream, want := framesOf(100, 5000)
	p.send(stream[:60])
	a.until("input", func() bool { return a.set.Buffered(id) == 60 })
	a.do(func() { a.set.Write(id, text[:150_000]) })
	a.turns(1)
	moved := make(chan uint64, 1)
	a.do(func() {
		a.set.Write(id, text[150_000:]) // behind chunks
		a.set.Pause(id)
		a.set.Move(id, b.set, func(id uint64) { moved <- id })
		if a.set.Write(id, []byte("x")) || a.set.lookup(id) != nil {
			t.Error("the old id answers")
		}
		a.set.Close(id, Local, nil)
	})
	id = <-moved
	p.send(stream[60:])
	p.want(text)
	b.turns(2)
	b.do(func() {
		if len(fb.frames) != 0 || b.set.Buffered(id) != 60 {
			t.Errorf("%d frames while paused, %d bytes kept", len(fb.frames), b.set.Buffered(id))
		}
		b.set.Resume(id)
	})
	fb.wantFrames(want)
	a.wantNothingClosed()
	if len(fa.frames) != 0 {
		t.Error("frames on the old loop")
	}
	if a.set.Len() != 0 || b.set.Len() != 1 {
		t.Errorf("%d and %d connections", a.set.Len(), b.set.Len())
	}

	// And back, from the log, after EOF was told.
	b.do(func() { b.onEOF = func(uint64) {} })
	p.finish()
	b.until("EOF", func() bool { return b.set.at(Slot(id)).flags&isEOF != 0 })
	a.do(func() { a.onEOF = func(uint64) { t.Error("EOF again") } })
	b.do(func() {
		b.set.Write(id, []byte("from the log"))
		b.set.Move(id, a.set, func(id uint64) { moved <- id })
	})
	id = <-moved
	p.want([]byte("from the log"))
	a.quiet()
	a.do(func() { a.set.Shutdown(id, Local) })
	if rest := p.rest(); len(rest) != 0 {
		t.Errorf("%d bytes more", len(rest))
	}
	a.wantClosed(id, Local, nil)
	b.wantNothingClosed()
}

// A number is one connection's, on whichever loop, and stays with it when it moves.
func TestNumbersAreOfTheProcess(t *testing.T) {
	a, _ := newFramer(t, Options{}, 0)
	b, _ := newFramer(t, Options{}, 0)
	number := func(g *rig, id uint64) (n uint64) {
		g.do(func() { n = g.set.Number(id) })
		return n
	}
	one, _ := a.narrow("pair")
	other, _ := b.narrow("pair")
	first, second := number(a, one), number(b, other)
	if first == 0 || second == 0 || first == second {
		t.Errorf("two connections have the numbers %d and %d", first, second)
	}
	moved := move(a, b, one)
	if n := number(b, moved); n != first {
		t.Errorf("moved, number %d has become %d", first, n)
	}
	if n := number(a, one); n != 0 {
		t.Errorf("where it was, it is still number %d", n)
	}
}

// Connections are moved to and fro while they echo frames that are cut anywhere,
// over sockets that take little: not a byte is lost, doubled or out of order.
func TestMoveUnderLoad(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rigs := []*rig{newRig(t, Options{MaxOutput: 64 << 20}), newRig(t, Options{MaxOutput: 64 << 20})}
	const conns, total = 4, 600_000
	var moves atomic.Int64
	var hop func(at int, id uint64)
	for i, g := range rigs {
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		g.do(func() {
			g.onData = func(id uint64, b []byte) int {
				n := min(len(b), 1+rnd.IntN(3000))
				g.set.Write(id, b[:n])
				if n < len(b) {
					g.set.Yield(id)
				}
				if rnd.IntN(10) == 0 {
					g.l.AddCallback(func() { hop(i, id) })
				}
				return n
			}
		})
	}
	hop = func(at int, id uint64) {
		from, to := rigs[at], rigs[(at+len(rigs)-1)%len(rigs)]
		if from.set.open(id) == nil {
			return
		}
		from.set.Move(id, to.set, func(id uint64) {
			moves.Add(1)
			if id == 0 {
				t.Error("moved to nowhere")
			}
		})
	}
	errs := make(chan error, conns)
	for i := range conns {
		kind := "pair"
		if i%2 == 1 {
			kind = "tcp"
		}
		_, p := rigs[i%2].narrow(kind)
		text := pattern(total + i)
		go func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(100+i)))
			for at := 0; at < len(text); {
				n := min(len(text)-at, 1+rnd.IntN(20_000))
				if err := sendAll(p.fd, text[at:at+n]); err != nil {
					errs <- err
					return
				}
				at += n
			}
		}()
		go func() {
			buf := make([]byte, 10_000)
			for at := 0; at < len(text); {
				n, err := p.read(buf)
				if err != nil || n == 0 {
					errs <- fmt.Errorf("after %d bytes: %d, %v", at, n, err)
					return
				}
				if string(buf[:n]) != string(text[at:at+n]) {
					errs <- fmt.Errorf("at %d: %s", at, firstDifference(buf[:n], text[at:at+n]))
					return
				}
				at += n
			}
			errs <- nil
		}()
	}
	for range conns {
		select {
		case err := <-errs:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(3 * deadline):
			t.Fatal("not done in time")
		}
	}
	if moves.Load() < 20 {
		t.Errorf("only %d moves", moves.Load())
	}
	for _, g := range rigs {
		g.wantNothingClosed()
	}
}

func sendAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.SendmsgN(fd, b, nil, nil, unix.MSG_NOSIGNAL)
		if err != nil && err != unix.EINTR {
			return err
		}
		b = b[max(n, 0):]
	}
	return nil
}

// A move to one's own Set is a move like any other.
func TestMoveToItself(t *testing.T) {
	g := newRig(t, Options{})
	id, p := g.pair()
	again := move(g, g, id)
	if again == id || again == 0 {
		t.Errorf("%#x is moved to %#x", id, again)
	}
	p.send([]byte("hello"))
	p.want([]byte("hello"))
	g.wantNothingClosed()
	if n := g.set.Len(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// done comes before anything is offered.
func TestMoveDoneBeforeData(t *testing.T) {
	a, b := newRig(t, Options{}), newRig(t, Options{})
	ready := false
	b.do(func() {
		b.onData = func(_ uint64, d []byte) int {
			if !ready {
				t.Error("Data before done")
			}
			return len(d)
		}
		b.onEOF = func(id uint64) {
			if !ready {
				t.Error("EOF before done")
			}
			b.set.Close(id, Local, nil)
		}
	})
	a.do(func() { a.onData = func(uint64, []byte) int { return 0 } })
	for _, kept := range []int{0, 5} {
		id, p := a.pair()
		if kept > 0 {
			p.send(pattern(kept))
			a.until("kept", func() bool { return a.set.Buffered(id) == kept })
		}
		moved := make(chan uint64, 1)
		b.do(func() { ready = false })
		a.do(func() {
			p.send([]byte("x"))
			p.finish()
			a.set.Move(id, b.set, func(id uint64) { ready = true; moved <- id })
		})
		b.wantClosed(<-moved, Local, nil)
	}
}

// Invariant 21: a loop that has ended, or ends while connections are on their way
// to it, closes each once; whoever moved them hears of it on its own loop.
func TestMoveToEndedLoop(t *testing.T) {
	for _, when := range []string{"before", "meanwhile"} {
		t.Run(when, func(t *testing.T) {
			a, b := newRig(t, Options{}), newRig(t, Options{})
			fds := openFDs(t)
			const n = 5
			var peers []*peer
			var ids []uint64
			for range n {
				id, p := a.pair()
				ids, peers = append(ids, id), append(peers, p)
			}
			results := make(chan uint64, n)
			moveAll := func() {
				a.do(func() {
					for _, id := range ids {
						a.set.Move(id, b.set, func(id uint64) {
							a.set.Len()
							a.set.check("Move's done")
							results <- id
						})
					}
				})
			}
			bset := b.set
			if when == "before" {
				b.stop()
				moveAll()
			} else {
				held, gate := make(chan struct{}), make(chan struct{})
				b.l.AddCallback(func() { close(held); <-gate; b.l.Stop() })
				b.wait(held, "hold")
				moveAll()
				if got := bset.Len(); got != n {
					t.Errorf("%d connections on their way, want %d", got, n)
				}
				close(gate)
				b.stop()
			}
			for range n {
				select {
				case id := <-results:
					if id != 0 {
						t.Errorf("moved to %#x", id)
					}
				case <-time.After(deadline):
					t.Fatal("done is not called")
				}
			}
			for _, p := range peers {
				if rest := p.rest(); len(rest) != 0 {
					t.Errorf("%d bytes", len(rest))
				}
				p.close()
			}
			a.wantNothingClosed()
			if got := a.set.Len() + bset.Len(); got != 0 {
				t.Errorf("%d connections are counted", got)
			}
			if n := openFDs(t); n != fds-2 { // b's epoll and eventfd
				t.Errorf("%d descriptors, want %d", n, fds-2)
			}
		})
	}
}

// Invariant 21: a connection whose peer has closed before its loop registers it.
func TestPeerClosesBeforeRegistration(t *testing.T) {
	g := newRig(t, Options{})
	var log []string
	g.do(func() {
		g.onOpened = func(uint64) { log = append(log, "Opened") }
		g.onEOF = func(id uint64) { log = append(log, "EOF"); g.set.Shutdown(id, PeerClosed) }
		g.onClosed = func(uint64, error) { log = append(log, "Closed") }
	})
	for _, kind := range []string{"FIN", "RST"} {
		fd, p := tcpPair(t)
		release := g.hold()
		g.set.give(handoff{fd: fd, peer: netip.AddrPort{}})
		if kind == "FIN" {
			p.close()
		} else {
			p.reset()
		}
		release()
		c := <-g.closed
		want := "[Opened EOF Closed]"
		if kind == "RST" {
			want = "[Opened Closed]"
			if c.err.Reason != Reset {
				t.Errorf("closed with %v", c.err)
			}
		}
		g.turns(1)
		if got := fmt.Sprint(log); got != want {
			t.Errorf("%s: got %s, want %s", kind, got, want)
		}
		log = nil
	}
}

// Only an open connection can be moved.
func TestMoveOfNothing(t *testing.T) {
	a, b := newRig(t, Options{}), newRig(t, Options{})
	id, _ := a.pair()
	a.do(func() { a.set.Shutdown(id, Local) })
	for _, id := range []uint64{0, id, id + 1<<32} {
		if got := move(a, b, id); got != 0 {
			t.Errorf("%#x is moved to %#x", id, got)
		}
	}
	if n := b.set.Len(); n != 0 {
		t.Errorf("%d connections have come", n)
	}
}

// Both budgets stay right when output moves from one to the other.
func TestMoveAndBudgets(t *testing.T) {
	x, y := NewBudget(1<<20), NewBudget(1<<20)
	a, b := newRig(t, Options{Budget: x}), newRig(t, Options{Budget: y})
	id, p := a.narrow("pair")
	text := pattern(300_000)
	a.do(func() { a.set.Write(id, text) })
	a.turns(1)
	held := x.Used()
	if held < 200_000 {
		t.Fatalf("%d bytes used", held)
	}
	id = move(a, b, id)
	b.turns(1)
	if x.Used() != 0 || y.Used() == 0 || y.Used() > held {
		t.Errorf("budgets have %d and %d, one had %d", x.Used(), y.Used(), held)
	}
	p.want(text)
	b.until("sent", func() bool { return b.set.Pending(id) == 0 })
	if y.Used() != 0 {
		t.Errorf("%d bytes are not given back", y.Used())
	}
}

// A panic in done costs that connection, and not those that come with it.
func TestPanicInDone(t *testing.T) {
	a, b := newRig(t, Options{}), newRig(t, Options{})
	ids := make([]uint64, 3)
	peers := make([]*peer, 3)
	for i := range ids {
		ids[i], peers[i] = a.pair()
	}
	b.panics.Store(1)
	got := make(chan uint64, 3)
	release := b.hold()
	a.do(func() {
		for i, id := range ids {
			a.set.Move(id, b.set, func(id uint64) {
				got <- id
				if i == 1 {
					panic("boom")
				}
			})
		}
	})
	release()
	<-got
	bad := <-got
	<-got
	b.wantClosed(bad, Broken, errPanic)
	for _, i := range []int{0, 2} {
		peers[i].send([]byte("hello"))
		peers[i].want([]byte("hello"))
	}
}
