package conn

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// Invariant 17: a peer that sends and does not read stops being read at
// HighWater, and goes on when it reads.
func TestBackPressure(t *testing.T) {
	const high, low = 200_000, 50_000
	g := newRig(t, Options{HighWater: high, LowWater: low})
	fd, p := tcpPair(t)
	shrink(t, 64<<10, fd, p.fd)
	id := g.attach(fd)
	if err := unix.SetNonblock(p.fd, true); err != nil {
		t.Fatal(err)
	}
	text := pattern(4 << 20)
	sent := 0
	fill := func() {
		for sent < len(text) {
			n, errno := send(int32(p.fd), text[sent:])
			if errno == unix.EAGAIN {
				return
			}
			if errno != 0 {
				t.Fatal(errno)
			}
			sent += n
		}
	}
	g.until("reading has stopped", func() bool {
		fill()
		r := g.set.at(Slot(id))
		return r.flags&isFull != 0 && loop32(r.interest)&unix.EPOLLIN == 0
	})
	fill()
	g.quiet()
	g.do(func() {
		if n := g.set.Pending(id); n < low || n > high+maxIO {
			t.Errorf("%d bytes pending", n)
		}
	})
	_, other := g.pair()
	other.send([]byte("others are served"))
	other.want([]byte("others are served"))

	buf := make([]byte, 10_000)
	for got := 0; got < len(text); {
		fill()
		n, errno := recv(int32(p.fd), buf)
		if errno == unix.EAGAIN {
			g.turns(1)
			continue
		}
		if n == 0 || errno != 0 || !bytes.Equal(buf[:n], text[got:got+n]) {
			t.Fatalf("after %d bytes: %d other ones, %v", got, n, errno)
		}
		got += n
	}
	g.until("reading again", func() bool {
		r := g.set.at(Slot(id))
		return r.flags&isFull == 0 && loop32(r.interest) == uint32(reading)
	})
	g.quiet()
}

// Input that was kept because the output was full is offered when that has gone,
// though nothing more comes.
func TestKeptInputAfterBackPressure(t *testing.T) {
	g := newRig(t, Options{HighWater: 50_000})
	id, p := g.narrow("pair")
	offered := 0
	g.do(func() {
		g.onData = func(id uint64, b []byte) int {
			offered++
			g.set.Write(id, pattern(100_000))
			if len(b) > 1 {
				g.set.Yield(id)
			}
			return 1
		}
	})
	p.send([]byte("1234"))
	g.until("full", func() bool { return g.set.at(Slot(id)).flags&isFull != 0 })
	g.quiet()
	want := func(n int) {
		t.Helper()
		g.do(func() {
			if offered != n {
				t.Errorf("offered %d times, want %d", offered, n)
			}
		})
	}
	want(1)
	for range 4 {
		p.want(pattern(100_000))
	}
	want(4)
}

func loop32(interest uint16) uint32 { return uint32(interest) }

// Invariant 17: a peer that does not read costs at most MaxOutput, and is reset.
func TestSlowConsumerIsReset(t *testing.T) {
	const limit = 300_000
	g := newRig(t, Options{MaxOutput: limit})
	id, p := g.narrow("tcp")
	msg := pattern(1000)
	most, refused := 0, false
	for !refused {
		g.do(func() {
			for range 10 {
				if refused = !g.set.Write(id, msg); refused {
					if g.set.Write(id, msg) || g.set.Pending(id) != 0 {
						t.Error("a write after the refused one is taken")
					}
					return
				}
				most = max(most, g.set.Pending(id))
			}
		})
	}
	g.wantClosed(id, SlowConsumer, nil)
	if most > limit || most < limit-len(msg) {
		t.Errorf("at most %d bytes were pending, the limit is %d", most, limit)
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := p.read(buf)
		if err == unix.ECONNRESET {
			break
		}
		if err != nil || n == 0 {
			t.Fatalf("read %d, %v; want an RST", n, err)
		}
	}
}

// MaxOutput limits what the peer does not take, not what is written.
func TestMoreThanMaxOutputToAReader(t *testing.T) {
	g := newRig(t, Options{MaxOutput: 100_000})
	_, p := g.tcp()
	text := pattern(150_000)
	g.do(func() {
		g.onData = func(id uint64, d []byte) int {
			g.set.Write(id, text)
			return len(d)
		}
	})
	p.send([]byte("?"))
	p.want(text)
	id2, p2 := g.tcp()
	g.do(func() { g.set.Write(id2, text[:90_000]); g.set.Write(id2, text[90_000:]) })
	p2.want(text)
}

// The budget's last bytes cost the connection its life that has the most, and
// everything is given back in the end.
func TestBudgetEvictsTheLargest(t *testing.T) {
	budget := NewBudget(500_000)
	g := newRig(t, Options{Budget: budget})
	var ids []uint64
	for range 3 {
		id, _ := g.narrow("pair")
		ids = append(ids, id)
	}
	write := func(i, n int) bool {
		ok := false
		g.do(func() { ok = g.set.Write(ids[i], pattern(n)); g.set.Flush(ids[i]) })
		if used := budget.Used(); used > budget.Limit() {
			t.Errorf("%d of %d used", used, budget.Limit())
		}
		return ok
	}
	if !write(0, 250_000) || !write(1, 150_000) {
		t.Fatal("writes within the budget are refused")
	}
	if !write(2, 150_000) {
		t.Error("a write is refused though another connection has more unsent")
	}
	g.wantClosed(ids[0], SlowConsumer, nil)
	if !write(1, 50_000) {
		t.Error("a write within the budget is refused")
	}
	write(1, 200_000) // now it is itself the one with the most
	g.wantClosed(ids[1], SlowConsumer, nil)
	g.do(func() { g.set.CloseAll(Local) })
	g.wantClosed(ids[2], Local, nil)
	if budget.Used() != 0 {
		t.Errorf("%d bytes of the budget are not given back", budget.Used())
	}
}
