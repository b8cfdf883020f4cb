package conn

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

const deadline = 10 * time.Second

// rig is a Set on a running loop with a handler that a test fills in. What is
// left nil has a default: Data consumes and echoes, EOF shuts down.
type rig struct {
	t   *testing.T
	l   *loop.Loop
	set *Set

	// loop only
	onOpened func(id uint64)
	onData   func(id uint64, b []byte) int
	onEOF    func(id uint64)
	onClosed func(id uint64, err error)

	closed  chan closedCall
	panics  atomic.Int64 // how many are to be expected
	stopped chan error
	poller  *poller
}

// poller is epoll, with a look at what the loop does with it.
type poller struct {
	fd       int
	controls int // epoll_ctl calls; loop only
}

func (p *poller) Control(op, fd int, ev *unix.EpollEvent) error {
	p.controls++
	return unix.EpollCtl(p.fd, op, fd, ev)
}

func (p *poller) Wait(events []unix.EpollEvent, timeout time.Duration) (int, error) {
	ms := -1
	if timeout >= 0 {
		ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	return unix.EpollWait(p.fd, events, ms)
}

func (p *poller) Close() error { return unix.Close(p.fd) }

// ready tells whether a wait would return at once: what a loop with nothing to
// do must not have.
func (p *poller) ready() bool {
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	return n != 0 || err != nil
}

type closedCall struct {
	id  uint64
	err *CloseError
}

// fakeClock stands still until it is moved. The loop looks at it in every turn.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func newFakeClock() *fakeClock { return &fakeClock{now: time.Unix(1_000_000, 0)} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	return newRigOn(t, o, nil)
}

// newRigOn is newRig with a clock; nil is the real one.
func newRigOn(t *testing.T, o Options, clock loop.Clock) *rig {
	t.Helper()
	g := &rig{t: t, closed: make(chan closedCall, 4096), stopped: make(chan error, 1)}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	g.poller = &poller{fd: fd}
	l, err := loop.New(loop.Options{Name: t.Name(), Poller: g.poller, Clock: clock, OnPanic: func(v any, stack []byte) {
		if g.panics.Add(-1) < 0 {
			t.Errorf("panic on the loop: %v\n%s", v, stack)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	g.l = l
	g.set = NewSet(l, g, o)
	l.BeforeWait(g.audit)
	go func() { g.stopped <- l.Start() }()
	t.Cleanup(g.stop)
	return g
}

// audit checks, at the end of every turn of every test, what must be true of
// all records then.
func (g *rig) audit() {
	s := g.set
	if s.logged != 0 || len(s.wbuf) != 0 {
		g.t.Errorf("%d connections have output in the log and wbuf has %d bytes after the flush", s.logged, len(s.wbuf))
	}
	chained, lent, kept := 0, 0, 0
	for slot := range s.slotCount() {
		r := s.at(slot)
		if r.state == stFree {
			continue
		}
		armed, listening := r.flags&isArmed != 0, loop.Events(r.interest)&loop.Write != 0
		if r.state != stClosed && (armed != (r.owed > 0) || r.flags&isDetached == 0 && listening != armed) {
			g.t.Errorf("slot %d owes %d bytes, armed %v, interest %#x", slot, r.owed, armed, r.interest)
		}
		if r.in != 0 {
			lent += cap(s.pool.at(r.in).b)
			kept += cap(s.pool.at(r.in).b)
		}
		if r.tail != 0 {
			chained++
			for c, owed := r.head, uint32(0); ; c = s.pool.at(c).next {
				lent += cap(s.pool.at(c).b)
				owed += uint32(len(s.pool.at(c).data()))
				if c == r.tail {
					if owed != r.owed {
						g.t.Errorf("slot %d has %d bytes in chunks and owes %d", slot, owed, r.owed)
					}
					break
				}
			}
		}
	}
	for slot := s.owing; slot != none; slot = s.at(slot).next {
		chained--
	}
	if kept != s.kept {
		g.t.Errorf("%d bytes of buffers have kept input, counted %d", kept, s.kept)
	}
	if chained != 0 || lent != s.pool.bytes {
		g.t.Errorf("%d connections with chunks are not linked; %d bytes of buffers in use, counted %d", chained, lent, s.pool.bytes)
	}
}

// quiet waits until the loop has nothing to do, and fails the test if that does
// not come: then it would wake up for ever although nothing happens.
func (g *rig) quiet() {
	g.t.Helper()
	still := 0
	for end := time.Now().Add(deadline / 4); still < 3; {
		g.turns(1)
		g.do(func() {
			if still++; g.poller.ready() {
				still = 0
			}
		})
		if time.Now().After(end) {
			g.t.Fatal("the loop spins: an event is always ready though nothing happens")
		}
	}
}

// hold stops the loop, so that what happens until release is seen in one batch.
func (g *rig) hold() (release func()) {
	g.t.Helper()
	held, gate := make(chan struct{}), make(chan struct{})
	g.l.AddCallback(func() { close(held); <-gate })
	g.wait(held, "hold")
	return func() { close(gate) }
}

// stop ends the loop and the Set; the second call does nothing.
func (g *rig) stop() {
	if g.l == nil {
		return
	}
	g.l.Stop()
	if err := <-g.stopped; err != nil {
		g.t.Errorf("loop ended: %v", err)
	}
	g.set.Release()
	if err := g.l.Close(true); err != nil {
		g.t.Errorf("loop close: %v", err)
	}
	if n := g.set.Len(); n != 0 {
		g.t.Errorf("%d connections are left after Release", n)
	}
	if p := &g.set.pool; p.used != 0 || p.bytes != 0 {
		g.t.Errorf("%d buffers of %d bytes are still lent after Release", p.used, p.bytes)
	}
	g.l = nil
}

func (g *rig) Opened(id uint64) {
	if g.onOpened != nil {
		g.onOpened(id)
	}
}

func (g *rig) Data(id uint64, b []byte) int {
	if g.onData != nil {
		return g.onData(id, b)
	}
	g.set.Write(id, b)
	return len(b)
}

func (g *rig) EOF(id uint64) {
	if g.onEOF != nil {
		g.onEOF(id)
		return
	}
	g.set.Shutdown(id, PeerClosed)
}

func (g *rig) Closed(id uint64, err error) {
	if g.onClosed != nil {
		g.onClosed(id, err)
	}
	var ce *CloseError
	if !errors.As(err, &ce) {
		g.t.Errorf("Closed with %T, want *CloseError", err)
		ce = &CloseError{}
	}
	g.closed <- closedCall{id, ce}
}

// do runs fn on the loop and waits for it.
func (g *rig) do(fn func()) {
	g.t.Helper()
	done := make(chan struct{})
	if !g.l.AddCallback(func() { defer close(done); fn() }) {
		g.t.Fatal("the loop is closed")
	}
	g.wait(done, "a callback")
}

func (g *rig) wait(c <-chan struct{}, what string) {
	g.t.Helper()
	select {
	case <-c:
	case <-time.After(deadline):
		g.t.Fatalf("no %s in time", what)
	}
}

// turns waits until the loop has been through n whole turns.
func (g *rig) turns(n int) {
	g.t.Helper()
	for range n + 1 {
		g.do(func() {})
	}
}

// until polls cond, on the loop, turn by turn.
func (g *rig) until(what string, cond func() bool) {
	g.t.Helper()
	for end := time.Now().Add(deadline); ; {
		ok := false
		g.do(func() { ok = cond() })
		if ok {
			return
		}
		if time.Now().After(end) {
			g.t.Fatalf("never: %s", what)
		}
	}
}

func (g *rig) wantClosed(id uint64, reason Reason, cause error) {
	g.t.Helper()
	select {
	case c := <-g.closed:
		if c.id != id || c.err.Reason != reason || !errors.Is(c.err.Err, cause) || (cause == nil) != (c.err.Err == nil) {
			g.t.Fatalf("Closed(%#x, %v, %v), want (%#x, %v, %v)", c.id, c.err.Reason, c.err.Err, id, reason, cause)
		}
	case <-time.After(deadline):
		g.t.Fatalf("no Closed for %#x in time", id)
	}
}

func (g *rig) wantNothingClosed() {
	g.t.Helper()
	g.turns(2)
	select {
	case c := <-g.closed:
		g.t.Fatalf("Closed(%#x, %v), want none", c.id, c.err)
	default:
	}
}

// attach makes fd a connection of the rig.
func (g *rig) attach(fd int) (id uint64) {
	g.t.Helper()
	g.do(func() {
		var err error
		if id, err = g.set.Attach(fd, netip.AddrPort{}); err != nil {
			g.t.Errorf("Attach: %v", err)
		}
	})
	return id
}

// pair attaches one end of a socketpair and returns the other, blocking, with a
// read and write deadline.
func (g *rig) pair() (uint64, *peer) {
	g.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	return g.attach(fds[0]), newPeer(g.t, fds[1])
}

// tcp attaches the accepted end of a loopback TCP connection and returns the other.
func (g *rig) tcp() (uint64, *peer) {
	g.t.Helper()
	fd, p := tcpPair(g.t)
	return g.attach(fd), p
}
