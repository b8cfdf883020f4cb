package conn

import (
	"testing"

	"golang.org/x/sys/unix"
)

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
