package conn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Invariant 9: wherever it is closed from, and however often, there is one Closed,
// with the first reason, and nothing works afterwards.
func TestCloseFromAnywhere(t *testing.T) {
	cause := errors.New("the owner's reason")
	places := []string{"callback", "Opened", "Data", "Data after Write", "kept Data", "EOF", "Closed of another", "Data of another"}
	for _, where := range places {
		t.Run(where, func(t *testing.T) {
			g := newRig(t, Options{})
			var victim uint64
			data, kept := 0, 0
			closeIt := func(id uint64) {
				g.set.Close(id, Timeout, cause)
				g.set.Close(id, SlowConsumer, nil)
				g.set.Shutdown(id, PeerClosed)
				g.set.Yield(id)
				g.set.Pause(id)
				g.set.Resume(id)
				g.set.Flush(id)
				if g.set.Write(id, []byte("x")) || g.set.Pending(id) != 0 {
					t.Error("it can be written to")
				}
			}
			g.do(func() {
				g.onData = func(id uint64, b []byte) int {
					if id != victim {
						closeIt(victim)
						return len(b)
					}
					data++
					switch where {
					case "Data":
						closeIt(id)
					case "Data after Write":
						g.set.Write(id, []byte("dropped"))
						closeIt(id)
					case "kept Data":
						if kept++; len(b) < 50_000 {
							return 0
						}
						closeIt(id)
						return len(b) / 2
					}
					return len(b)
				}
				g.onEOF = func(id uint64) { closeIt(id) }
				g.onClosed = func(id uint64, _ error) {
					if id == victim {
						closeIt(id) // in its own Closed: nothing
					} else {
						closeIt(victim)
					}
				}
				g.onOpened = func(id uint64) {
					if where == "Opened" {
						closeIt(id)
					}
				}
			})
			id, p := g.pair()
			g.do(func() { victim = id })
			switch where {
			case "callback":
				g.do(func() { closeIt(id) })
			case "Data", "Data after Write":
				p.send([]byte("x"))
			case "kept Data":
				p.send(pattern(49_000))
				g.until("kept", func() bool { return g.set.Buffered(id) == 49_000 })
				p.send(pattern(1000))
			case "EOF":
				p.finish()
			case "Closed of another", "Data of another":
				other, q := g.pair()
				if where == "Data of another" {
					q.send([]byte("x"))
				} else {
					g.do(func() { g.set.Close(other, Local, nil) })
					g.wantClosed(other, Local, nil)
				}
			}
			g.wantClosed(id, Timeout, cause)
			g.turns(2)
			g.do(func() {
				if g.set.lookup(id) != nil || g.set.Peer(id).IsValid() {
					t.Error("the id still answers")
				}
				if where == "Data" && data != 1 {
					t.Errorf("%d Data calls", data)
				}
			})
			g.wantNothingClosed()
			if rest, err := readAll(p); len(rest) != 0 || err != nil && err != unix.ECONNRESET {
				t.Errorf("the peer got %d bytes, %v", len(rest), err)
			}
		})
	}
}

func readAll(p *peer) ([]byte, error) {
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := p.read(buf)
		if err != nil || n == 0 {
			return all, err
		}
		all = append(all, buf[:n]...)
	}
}

// Data's bytes stay what they are until it returns, whatever it does meanwhile.
func TestInputOutlivesCloseInsideData(t *testing.T) {
	for _, how := range []string{"Close", "Shutdown"} {
		t.Run(how, func(t *testing.T) {
			g := newRig(t, Options{})
			other, _ := g.narrow("pair")
			checked := false
			g.do(func() {
				g.onData = func(id uint64, b []byte) int {
					if len(b) < 46_000 {
						return 0
					}
					want := bytes.Clone(b)
					if how == "Close" {
						g.set.Close(id, Local, nil)
					} else {
						g.set.Shutdown(id, Local)
					}
					for range 10 { // takes buffers of all classes
						g.set.Write(other, make([]byte, 60_000))
						g.set.Flush(other)
					}
					if !bytes.Equal(b, want) {
						t.Error("b was given to somebody else")
					}
					checked = true
					return 7
				}
			})
			id, p := g.pair()
			p.send(pattern(45_000))
			g.until("kept", func() bool { return g.set.Buffered(id) == 45_000 })
			p.send(pattern(1000))
			p.finish()
			g.wantClosed(id, Local, nil)
			if !checked {
				t.Error("Data was not called with all of it")
			}
		})
	}
}

// A write error in the flush before the wait, for a connection that others of
// the same flush follow.
func TestCloseDuringFlush(t *testing.T) {
	g := newRig(t, Options{})
	var ids []uint64
	var peers []*peer
	for range 3 {
		id, p := g.pair()
		ids, peers = append(ids, id), append(peers, p)
	}
	g.do(func() {
		peers[1].close()
		for _, id := range ids {
			g.set.Write(id, []byte("hello"))
		}
	})
	g.wantClosed(ids[1], PeerClosed, unix.EPIPE)
	peers[0].want([]byte("hello"))
	peers[2].want([]byte("hello"))
	g.wantNothingClosed()
}

// Shutdown delivers everything that was written, before and behind a full socket,
// and ends with a FIN although the peer's input was never read and keeps coming.
func TestShutdownDeliversEverything(t *testing.T) {
	for _, how := range []string{"callback", "Data", "paused", "after EOF"} {
		t.Run(how, func(t *testing.T) {
			g := newRig(t, Options{MaxOutput: 16 << 20, MaxInput: 64 << 20, Linger: time.Hour})
			text := pattern(3 << 20)
			after := false
			g.do(func() {
				g.onData = func(id uint64, b []byte) int {
					if after {
						t.Error("Data after Shutdown")
					}
					if how == "Data" {
						g.set.Write(id, text)
						g.set.Write(id, []byte("the end"))
						g.set.Shutdown(id, PeerClosed)
						if g.set.Write(id, []byte("x")) {
							t.Error("Write after Shutdown is taken")
						}
						after = true
						return 1
					}
					return 0
				}
				g.onEOF = func(uint64) {}
			})
			fd, p := tcpPair(t)
			shrink(t, 64<<10, fd)
			id := g.attach(fd)
			if how == "paused" {
				g.do(func() { g.set.Pause(id) })
			}
			p.send(pattern(100_000))
			if how == "after EOF" {
				p.finish()
			} else {
				if err := unix.SetNonblock(p.fd, true); err != nil {
					t.Fatal(err)
				}
				for range 20 { // or until nothing more is taken: unread bytes on both sides
					if _, errno := send(int32(p.fd), text); errno != 0 {
						break
					}
				}
				if err := unix.SetNonblock(p.fd, false); err != nil {
					t.Fatal(err)
				}
			}
			if how != "Data" {
				g.do(func() {
					g.set.Write(id, text)
					g.set.Write(id, []byte("the end"))
					g.set.Shutdown(id, PeerClosed)
					after = true
				})
			}
			p.want(text)
			if how != "after EOF" {
				p.send(pattern(300_000)) // still talking
			}
			if rest := p.rest(); string(rest) != "the end" {
				t.Errorf("the last bytes are %q", rest)
			}
			p.close()
			g.wantClosed(id, PeerClosed, nil)
			g.wantNothingClosed()
		})
	}
}

// A peer that never closes is closed after Linger, one that does not read too,
// with an error; one that reads slowly gets all of it however long it takes.
func TestLinger(t *testing.T) {
	const linger = 10 * time.Second
	start := func(t *testing.T, kind string) (*rig, *fakeClock, uint64, *peer) {
		clock := newFakeClock()
		g := newRigOn(t, Options{Linger: linger, MaxOutput: 64 << 20}, clock)
		id, p := g.narrow(kind)
		return g, clock, id, p
	}
	t.Run("no FIN", func(t *testing.T) {
		g, clock, id, p := start(t, "tcp")
		g.do(func() { g.set.Write(id, []byte("bye")); g.set.Shutdown(id, Timeout) })
		if rest := p.rest(); string(rest) != "bye" {
			t.Errorf("got %q", rest)
		}
		clock.advance(linger - time.Millisecond)
		p.send([]byte("thrown away"))
		g.wantNothingClosed()
		clock.advance(2 * time.Millisecond)
		g.turns(1)
		g.wantClosed(id, Timeout, nil)
	})
	t.Run("no reader", func(t *testing.T) {
		g, clock, id, _ := start(t, "pair")
		g.do(func() { g.set.Write(id, pattern(1<<20)); g.set.Shutdown(id, Local) })
		clock.advance(linger - time.Millisecond)
		g.wantNothingClosed()
		clock.advance(2 * time.Millisecond)
		g.turns(1)
		g.wantClosed(id, Local, ErrUndelivered)
	})
	t.Run("FIN before all is read", func(t *testing.T) {
		g, _, id, p := start(t, "pair")
		g.do(func() { g.set.Write(id, pattern(1<<20)); g.set.Shutdown(id, Local) })
		p.finish()
		g.until("the FIN", func() bool { return g.set.at(Slot(id)).flags&isEOF != 0 })
		g.quiet()
		if rest := p.rest(); len(rest) != 1<<20 {
			t.Errorf("got %d bytes", len(rest))
		}
		g.wantClosed(id, Local, nil)
	})
	t.Run("slow reader", func(t *testing.T) {
		g, clock, id, p := start(t, "pair")
		text := pattern(1 << 20)
		g.do(func() { g.set.Write(id, text); g.set.Shutdown(id, Local) })
		for at := 0; at < len(text); at += 1 << 16 {
			before := 0
			g.do(func() { before = g.set.Pending(id) })
			p.want(text[at : at+1<<16])
			if before > 0 {
				g.until("progress", func() bool { return g.set.Pending(id) < before })
			}
			g.turns(1)
			clock.advance(linger * 9 / 10)
			g.turns(1)
		}
		if rest := p.rest(); len(rest) != 0 {
			t.Errorf("%d bytes too many", len(rest))
		}
		p.close()
		g.wantClosed(id, Local, nil)
	})
	t.Run("Close meanwhile", func(t *testing.T) {
		g, clock, id, _ := start(t, "pair")
		g.do(func() {
			g.set.Write(id, pattern(1<<20))
			g.set.Shutdown(id, Local)
			g.set.Shutdown(id, Timeout)
			g.set.Close(id, PeerClosed, io.ErrClosedPipe)
		})
		g.wantClosed(id, Local, io.ErrClosedPipe)
		clock.advance(2 * linger)
		g.wantNothingClosed()
	})
}

func TestCloseAllAndRelease(t *testing.T) {
	fds := openFDs(t)
	g := newRig(t, Options{})
	ids := make(map[uint64]bool)
	var peers []*peer
	const n = 20
	for i := range n {
		id, p := g.pair()
		ids[id] = true
		peers = append(peers, p)
		g.do(func() {
			if i == 3 {
				g.set.Write(id, pattern(300_000)) // some of it stays
			}
		})
	}
	g.stop()
	for range n {
		c := <-g.closed
		if !ids[c.id] || c.err.Reason != LoopClosed {
			t.Errorf("Closed(%#x, %v)", c.id, c.err)
		}
		delete(ids, c.id)
	}
	if n := len(g.closed); n != 0 {
		t.Errorf("%d more Closed calls", n)
	}
	if _, err := g.set.Attach(mustDup(t, peers[0].fd), g.set.Peer(0)); !errors.Is(err, ErrClosed) {
		t.Errorf("Attach after Release: %v", err)
	}
	for _, p := range peers {
		if _, err := readAll(p); err != nil {
			t.Errorf("peer: %v", err)
		}
		p.close()
	}
	if n := openFDs(t); n != fds {
		t.Errorf("%d descriptors, %d before", n, fds)
	}
}

func mustDup(t *testing.T, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Attach owns the descriptor also when it fails.
func TestAttachFailure(t *testing.T) {
	g := newRig(t, Options{})
	file, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	fds := openFDs(t)
	g.do(func() {
		if _, err := g.set.Attach(file, g.set.Peer(0)); !errors.Is(err, unix.EPERM) {
			t.Errorf("Attach of a device: %v", err)
		}
	})
	if n := openFDs(t); n != fds-1 {
		t.Errorf("%d descriptors, want one less than %d", n, fds)
	}
	if n := g.set.Len(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

func TestReasonsOfErrors(t *testing.T) {
	for errno, want := range map[unix.Errno]Reason{
		unix.ECONNRESET: Reset, unix.EPIPE: PeerClosed, unix.ETIMEDOUT: Timeout, unix.EHOSTUNREACH: Timeout, unix.EBADF: Broken,
	} {
		if got := reasonOf(errno); got != want {
			t.Errorf("%v is %v, want %v", errno, got, want)
		}
	}
	err := fmt.Errorf("wrapped: %w", &CloseError{Reason: Reset, Err: unix.ECONNRESET})
	var ce *CloseError
	if !errors.As(err, &ce) || !errors.Is(err, unix.ECONNRESET) || ce.CloseReason() != "reset" {
		t.Errorf("%v", err)
	}
}

// A peer that never reads holds nothing in the kernel long after Linger.
func TestNoOrphanIsLeftOfAPeerThatNeverReads(t *testing.T) {
	g := newRig(t, Options{Linger: 200 * time.Millisecond, MaxOutput: 64 << 20})
	id, _ := g.narrow("tcp")
	port := 0
	g.do(func() {
		if sa, err := unix.Getpeername(int(g.set.at(Slot(id)).fd)); err != nil {
			t.Error(err)
		} else {
			port = sa.(*unix.SockaddrInet4).Port
		}
		g.set.Write(id, pattern(1<<20))
		g.set.Shutdown(id, Local)
	})
	g.wantClosed(id, Local, ErrUndelivered)
	// A row of /proc/net/tcp: number, own and other address as HEX:PORT, state.
	orphaned := func() bool {
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			if row := strings.Fields(line); len(row) > 3 && strings.HasSuffix(row[2], fmt.Sprintf(":%04X", port)) && row[3] == "04" { // FIN_WAIT1
				return true
			}
		}
		return false
	}
	for end := time.Now().Add(15 * time.Second); orphaned(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the kernel keeps what the peer has not read")
		}
	}
}
