package conn

import (
	"testing"

	"golang.org/x/sys/unix"
)

// What a handler has yielded was received: an RST that comes meanwhile does not
// take it away.
func TestResetWhileYieldingLosesNothing(t *testing.T) {
	g := newRig(t, Options{})
	id, p := g.tcp()
	got := 0
	g.do(func() {
		g.onData = func(id uint64, b []byte) int {
			if got++; got == 1 {
				p.reset()
			}
			if len(b) > 1 {
				g.set.Yield(id)
			}
			return 1
		}
	})
	p.send(pattern(1000))
	g.wantClosed(id, Reset, unix.ECONNRESET)
	if got != 1000 {
		t.Errorf("%d of 1000 bytes were offered", got)
	}
}

// A hangup finds a connection paused and its output full: Resume still brings
// what is kept and then the end, though there will never be room for the output.
func TestHangupWhilePausedAndFull(t *testing.T) {
	g := newRig(t, Options{HighWater: 10_000})
	got := 0
	g.do(func() {
		g.onData = func(_ uint64, b []byte) int { got += len(b); return len(b) }
		g.onEOF = func(uint64) {}
	})
	id, p := g.narrow("pair")
	g.do(func() {
		g.set.Pause(id)
		g.set.Write(id, pattern(100_000))
	})
	g.until("full", func() bool { return g.set.at(Slot(id)).flags&isFull != 0 })
	p.send([]byte("last words"))
	if err := unix.Shutdown(p.fd, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	g.until("detached", func() bool { return g.set.at(Slot(id)).flags&isDetached != 0 })
	g.wantNothingClosed()
	g.quiet()
	g.do(func() { g.set.Resume(id) })
	g.wantClosed(id, PeerClosed, nil)
	if got != len("last words") {
		t.Errorf("%d bytes were offered", got)
	}
}
