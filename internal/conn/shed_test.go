package conn

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestLevels(t *testing.T) {
	b := NewBudget(1000)
	var seen []Level
	b.OnLevel(func() { seen = append(seen, b.Level()) })
	want := func(levels ...Level) {
		t.Helper()
		if !slices.Equal(seen, levels) {
			t.Errorf("at %d of %d the levels are %v, want %v", b.Used(), b.Limit(), seen, levels)
		}
		seen = nil
	}
	b.Add(799)
	want()
	b.Add(1)
	want(Refusing)
	b.Add(-49)
	b.Add(48)
	want()
	b.Add(-50)
	want(Calm)
	b.Add(51)
	want(Refusing)
	if !b.take(100) {
		t.Error("refused")
	}
	want(Strangers)
	b.Add(70)
	want(Largest)
	if b.take(31) || !b.take(30) {
		t.Error("it is not the limit that counts")
	}
	want()
	b.Add(500) // what cannot be refused
	want()
	b.give(580)
	want()
	b.give(1)
	want(Strangers)
	b.give(919)
	want(Calm)
	b.Add(1000)
	want(Largest)
	b.Set(1300)
	want(Refusing)
	b.Set(100_000)
	want(Calm)
	b.Set(100)
	want(Largest)
	b.Add(-1000)
	want(Calm)
	for l := range levels {
		if l.String() == "" {
			t.Errorf("level %d has no name", l)
		}
	}
}

// owers attaches one connection for each number, whose peer reads nothing, and
// writes so much to it that the socket does not take.
func (g *rig) owers(waiting ...int) (ids []uint64, peers []*peer) {
	g.t.Helper()
	for _, n := range waiting {
		id, p := g.narrow("pair")
		g.do(func() { g.fill(id); g.set.Write(id, pattern(n)); g.set.Flush(id) })
		ids, peers = append(ids, id), append(peers, p)
	}
	return ids, peers
}

// fill makes the socket of id full, so that it takes nothing of what is written.
func (g *rig) fill(id uint64) {
	for n := 4096; n > 0; {
		if _, errno := send(g.set.lookup(id).fd, make([]byte, n)); errno != 0 {
			n /= 2
		}
	}
}

// Shed closes the largest, its share and not more, and spares the smallest.
func TestShedClosesTheLargest(t *testing.T) {
	budget := NewBudget(100_000_000)
	g := newRig(t, Options{Budget: budget})
	ids, _ := g.owers(5_000, 80_000, 200, 300_000, 20_000, 100_000)
	shed := func(want, of int, closed ...int) {
		t.Helper()
		g.do(func() {
			if n := g.set.Shed(want, of, 0); n != len(closed) {
				t.Errorf("%d connections are closed, want %d", n, len(closed))
			}
		})
		for _, i := range closed {
			g.wantClosed(ids[i], SlowConsumer, nil)
		}
		g.wantNothingClosed()
	}
	shed(0, 505_200)
	shed(1, 505_200, 3)
	shed(150_000, 205_200*2, 5) // the other half is another Set's
	shed(90_000, 105_200, 4, 1) // as they are found
	shed(1_000_000, 1_000_000, 0)
	shed(1_000_000, 1_000_000) // what waits in the smallest buffer is spared
	g.do(func() {
		if n := g.set.Stats().Shed; n != 5 {
			t.Errorf("%d are counted, want 5", n)
		}
		g.set.CloseAll(Local)
	})
	g.wantClosed(ids[2], Local, nil)
	if n := budget.Used(); n != 0 {
		t.Errorf("%d bytes of the budget are not given back", n)
	}
}

// Of several that have about the same, no more are closed than needed.
func TestShedClosesNoMoreThanNeeded(t *testing.T) {
	g := newRig(t, Options{})
	g.owers(50_000, 50_100, 50_200, 50_300)
	g.do(func() {
		if n := g.set.Shed(60_000, 200_600, 0); n != 2 {
			t.Errorf("%d are closed, want 2", n)
		}
	})
}

// What a connection still has to flush is spared if it is little: it is the answer
// of a drain.
func TestShedSparesLittleThatIsFlushed(t *testing.T) {
	g := newRig(t, Options{Budget: NewBudget(100_000_000), Linger: time.Hour})
	ids, _ := g.owers(60_000, 70_000, 10_000)
	g.do(func() { g.set.Shutdown(ids[0], Local); g.set.Shutdown(ids[1], Local) })
	g.do(func() { g.set.Shed(1_000_000, 1_000_000, 0) })
	g.wantClosed(ids[2], SlowConsumer, nil)
	g.wantClosed(ids[1], Local, ErrUndelivered)
	g.wantNothingClosed()
}

// A full budget refuses nobody the smallest buffer, and closes who writes more
// though it has least, when nobody here has more.
func TestTheSmallestBufferIsNeverRefused(t *testing.T) {
	budget := NewBudget(100_000)
	g := newRig(t, Options{Budget: budget})
	ids, _ := g.owers(0, 0)
	g.do(func() {
		budget.Add(100_000) // another loop's
		for _, id := range ids {
			g.fill(id)
		}
	})
	g.do(func() {
		if !g.set.Write(ids[0], pattern(200)) {
			t.Error("a small write is refused")
		}
		g.set.Flush(ids[0])
	})
	g.wantNothingClosed()
	g.do(func() {
		if g.set.Write(ids[1], pattern(3000)) && g.set.open(ids[1]) != nil {
			g.set.Flush(ids[1])
		}
	})
	g.wantClosed(ids[1], SlowConsumer, nil)
	g.wantNothingClosed()
	g.do(func() { g.set.CloseAll(Local) })
	g.wantClosed(ids[0], Local, nil)
	if n := budget.Used(); n != 100_000 {
		t.Errorf("%d bytes are used", n)
	}
}

// With a full budget and thousands of connections that owe little, a write does
// not look at all of them each time.
func TestAFullBudgetCostsNoLookForEachWrite(t *testing.T) {
	const n = 2000
	budget := NewBudget(n * 1024)
	g := newRig(t, Options{Budget: budget})
	var fds []int
	var ids []uint64
	g.do(func() {
		for range n {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Error(err)
				return
			}
			fds = append(fds, pair[1])
			_ = unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 1)
			id, err := g.set.Attach(pair[0], netip.AddrPort{})
			if err != nil {
				t.Error(err)
				return
			}
			g.fill(id)
			ids = append(ids, id)
		}
	})
	defer func() {
		for _, fd := range fds {
			closeFD(fd)
		}
	}()
	closedAt, events := 0, 0
	g.do(func() {
		for round := range 3 {
			for _, id := range ids {
				g.set.Write(id, pattern(1000))
				g.set.Flush(id)
				if shed := int(g.set.stats.Shed); shed > closedAt {
					closedAt = shed
					events++
				}
			}
			if budget.Used() > budget.Limit()+n*minClass {
				t.Errorf("round %d: %d of %d are used", round, budget.Used(), budget.Limit())
			}
		}
	})
	if events == 0 || closedAt < 10*events {
		t.Errorf("%d looks for %d closed connections", events, closedAt)
	}
	t.Logf("%d looks closed %d of %d connections", events, closedAt, n)
	g.do(func() { g.set.CloseAll(Local) })
	g.until("all given back", func() bool { return budget.Used() == 0 && g.set.Len() == 0 })
}

// Kept input is counted, wherever it goes, and the budget knows at the end of the
// turn.
func TestInputIsCounted(t *testing.T) {
	input := NewBudget(1 << 30)
	g := newRig(t, Options{Input: input})
	take := 0
	g.do(func() { g.onData = func(uint64, []byte) int { return take } })
	id, p := g.pair()
	want := func(n int) {
		t.Helper()
		g.until("counted", func() bool { return input.Used() == n })
	}
	p.send(pattern(100))
	want(256)
	p.send(pattern(200))
	want(1024)
	p.send(pattern(70_000))
	g.until("all kept", func() bool { return g.set.Buffered(id) == 70_300 })
	g.do(func() { take = 70_200; g.set.Yield(id) })
	g.until("taken", func() bool { return g.set.Buffered(id) <= 100 })
	g.do(func() { take = 0 })
	want(256)
	g.do(func() { g.set.Close(id, Local, nil) })
	g.wantClosed(id, Local, nil)
	want(0)

	to := newRig(t, Options{Input: input})
	to.do(func() { to.onData = func(uint64, []byte) int { return 0 } })
	id, p = g.pair()
	p.send(pattern(300))
	want(1024)
	moved := make(chan uint64, 1)
	g.do(func() { g.set.Move(id, to.set, func(id uint64) { moved <- id }) })
	id = <-moved
	to.until("moved", func() bool { return to.set.kept == 1024 })
	g.do(func() {
		if g.set.kept != 0 {
			t.Errorf("%d bytes are counted where it was", g.set.kept)
		}
	})
	want(1024)
	to.do(func() { to.set.Close(id, Local, nil) })
	to.wantClosed(id, Local, nil)
	want(0)
}

// Options that change hold for those who are there.
func TestSetOptions(t *testing.T) {
	budget := NewBudget(1 << 30)
	g := newRig(t, Options{MaxOutput: 1 << 20, Budget: budget})
	ids, _ := g.owers(300_000, 1_000)
	g.do(func() { g.set.SetOptions(Options{MaxOutput: 100_000}) })
	g.wantNothingClosed()
	g.do(func() { g.set.Write(ids[1], pattern(50_000)); g.set.Write(ids[0], pattern(1)) })
	g.wantClosed(ids[0], SlowConsumer, nil)
	g.wantNothingClosed()
	g.do(func() {
		if g.set.o.Budget != budget || g.set.o.ReadChunk != maxIO {
			t.Error("what cannot change has changed")
		}
		g.set.CloseAll(Local)
	})
	g.wantClosed(ids[1], Local, nil)
}
