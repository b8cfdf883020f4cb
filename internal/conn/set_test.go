package conn

import (
	"bytes"
	"errors"
	"fmt"
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
	chained, lent := 0, 0
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

// peer is the other end of a connection under test: a blocking socket.
type peer struct {
	t      testing.TB
	fd     int
	closed bool
}

func newPeer(t testing.TB, fd int) *peer {
	p := &peer{t: t, fd: fd}
	tv := unix.NsecToTimeval(int64(deadline))
	for _, opt := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, opt, &tv); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(p.close)
	return p
}

// tcpPair returns a connected, non-blocking descriptor and its peer.
func tcpPair(t testing.TB) (int, *peer) {
	t.Helper()
	lfd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(lfd)
	if err := unix.Bind(lfd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(lfd, 1); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(lfd)
	if err != nil {
		t.Fatal(err)
	}
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(c, sa); err != nil {
		t.Fatal(err)
	}
	fd, _, err := unix.Accept4(lfd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range []int{fd, c} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			t.Fatal(err)
		}
	}
	return fd, newPeer(t, c)
}

func (p *peer) close() {
	if !p.closed {
		p.closed = true
		unix.Close(p.fd)
	}
}

// reset closes with an RST.
func (p *peer) reset() {
	p.t.Helper()
	if err := unix.SetsockoptLinger(p.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		p.t.Fatal(err)
	}
	p.close()
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	for len(b) > 0 {
		n, err := unix.SendmsgN(p.fd, b, nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			p.t.Fatalf("peer: send: %v", err)
		}
		b = b[n:]
	}
}

func (p *peer) finish() {
	p.t.Helper()
	if err := unix.Shutdown(p.fd, unix.SHUT_WR); err != nil {
		p.t.Fatal(err)
	}
}

// read is one recv; 0 at the end.
func (p *peer) read(b []byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(p.fd, b, 0)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func (p *peer) want(want []byte) {
	p.t.Helper()
	got := make([]byte, len(want))
	for at := 0; at < len(got); {
		n, err := p.read(got[at:])
		if err != nil || n == 0 {
			p.t.Fatalf("peer: got %d of %d bytes, then %d, %v", at, len(got), n, err)
		}
		at += n
	}
	if !bytes.Equal(got, want) {
		p.t.Fatalf("peer: got other bytes: %s", firstDifference(got, want))
	}
}

// rest reads until the end, which must be a FIN.
func (p *peer) rest() []byte {
	p.t.Helper()
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := p.read(buf)
		if err != nil {
			p.t.Fatalf("peer: after %d bytes: %v, want a FIN", len(all), err)
		}
		if n == 0 {
			return all
		}
		all = append(all, buf[:n]...)
	}
}

func firstDifference(got, want []byte) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("offset %d: %#x, want %#x", i, got[i], want[i])
		}
	}
	return fmt.Sprintf("length %d, want %d", len(got), len(want))
}

// pattern returns n bytes that do not repeat soon.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func openFDs(t testing.TB) int {
	t.Helper()
	n := countFDs()
	if n < 0 {
		t.Fatal("cannot count descriptors")
	}
	return n
}

func TestEchoOverPairAndTCP(t *testing.T) {
	for _, kind := range []string{"pair", "tcp"} {
		t.Run(kind, func(t *testing.T) {
			g := newRig(t, Options{})
			connect := g.pair
			if kind == "tcp" {
				connect = g.tcp
			}
			id, p := connect()
			for _, size := range []int{1, 100, 5000, 70_000} {
				b := pattern(size)
				p.send(b)
				p.want(b)
			}
			p.finish()
			if rest := p.rest(); len(rest) != 0 {
				t.Errorf("%d bytes more than were sent", len(rest))
			}
			p.close()
			g.wantClosed(id, PeerClosed, nil)
		})
	}
}
