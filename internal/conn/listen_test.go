package conn

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

// connectTo connects to an address of a Listener.
func connectTo(t testing.TB, addr string) net.Conn {
	t.Helper()
	network := "tcp"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	c, err := net.DialTimeout(network, addr, deadline)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// echoes tells whether the other end of c echoes.
func echoes(c net.Conn) error {
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	buf := make([]byte, 5)
	_, err := io.ReadFull(c, buf)
	if err == nil && string(buf) != "hello" {
		err = fmt.Errorf("got %q", buf)
	}
	return err
}

// serve starts l on the rig's loop with its Set.
func (g *rig) serve(l *Listener, failed func(*AcceptError)) {
	g.t.Helper()
	g.do(func() {
		if err := l.Start(g.l, func(fd int, peer netip.AddrPort) { g.set.Attach(fd, peer) }, failed); err != nil {
			g.t.Error(err)
		}
	})
	lp := g.l
	g.t.Cleanup(func() {
		if g.l != nil {
			g.do(l.Close)
		} else if lp != nil {
			l.Close()
		}
	})
}

func listen(t *testing.T, addr string) *Listener {
	t.Helper()
	l, err := Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestListenAddresses(t *testing.T) {
	dir := t.TempDir()
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", ":0", "localhost:0", "[::]:0", "0.0.0.0:0", "unix:" + dir + "/s", "unix:@conn-test-" + filepath.Base(dir)} {
		t.Run(addr, func(t *testing.T) {
			g := newRig(t, Options{})
			peers := make(chan netip.AddrPort, 10)
			g.do(func() { g.onOpened = func(id uint64) { peers <- g.set.Peer(id) } })
			l := listen(t, addr)
			g.serve(l, nil)
			if strings.HasSuffix(l.Addr(), ":0") || strings.HasPrefix(addr, "unix:") && l.Addr() != addr {
				t.Fatalf("Addr is %s", l.Addr())
			}
			targets := []string{l.Addr()}
			if _, port, err := net.SplitHostPort(l.Addr()); err == nil && (addr[0] == ':' || addr == "[::]:0") {
				targets = []string{"127.0.0.1:" + port, "[::1]:" + port}
			}
			for _, target := range targets {
				c := connectTo(t, target)
				if err := echoes(c); err != nil {
					t.Errorf("%s: %v", target, err)
				}
				want := netip.AddrPort{}
				if a, ok := c.LocalAddr().(*net.TCPAddr); ok {
					want = a.AddrPort()
					want = netip.AddrPortFrom(want.Addr().Unmap(), want.Port())
				}
				if got := <-peers; got != want {
					t.Errorf("%s: the peer is %v, want %v", target, got, want)
				}
			}
		})
	}
}

func TestListenRefuses(t *testing.T) {
	taken := listen(t, "127.0.0.1:0")
	defer taken.Close()
	fds := openFDs(t)
	for _, addr := range []string{"", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1", "unix:", "unix:/no/such/dir/s", "unix:" + strings.Repeat("x", 108), "192.0.2.1:0", taken.Addr()} {
		l, err := Listen(addr)
		if err == nil {
			t.Errorf("%q is listened on", addr)
			l.Close()
		} else if !strings.Contains(err.Error(), addr) {
			t.Errorf("the error does not name %q: %v", addr, err)
		}
	}
	if _, err := Listen(taken.Addr()); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a taken port: %v", err)
	}
	if n := openFDs(t); n != fds {
		t.Errorf("%d descriptors, %d before", n, fds)
	}
}

// What is set on the listener is inherited by what it accepts, without a call
// for each.
func TestAcceptedSockets(t *testing.T) {
	g := newRig(t, Options{})
	l := listen(t, "127.0.0.1:0")
	got := make(chan string, 1)
	g.do(func() {
		g.onOpened = func(id uint64) {
			fd := int(g.set.lookup(id).fd)
			nodelay, _ := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
			alive, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
			status, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			desc, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			got <- fmt.Sprint(nodelay, alive, status&unix.O_NONBLOCK != 0, desc&unix.FD_CLOEXEC != 0)
		}
	})
	g.serve(l, nil)
	connectTo(t, l.Addr())
	if s := <-got; s != "1 1 true true" {
		t.Errorf("nodelay, keepalive, non-blocking, close-on-exec are %s", s)
	}
}

// A socket file that a dead process has left is replaced; a living one's, and
// anything that is no socket, is not.
func TestStaleUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if _, err := Listen("unix:" + path); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("while somebody listens: %v", err)
	}
	dead.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
	l := listen(t, "unix:"+path)
	if err := os.Remove(path); err != nil { // as an operator may
		t.Fatal(err)
	}
	other := listen(t, "unix:"+path)
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("Close has removed somebody else's file: %v", err)
	}
	other.Close()
	other.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Close has left its file: %v", err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen("unix:" + path); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("over a file: %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "precious" {
		t.Error("the file is gone")
	}
}

func TestListenFD(t *testing.T) {
	g := newRig(t, Options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := ln.(*net.TCPListener).File() // blocking: as it comes from elsewhere
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	raw := int(file.Fd())        // once: each time it makes the socket blocking, ours too
	for _, o := range handedOn { // Go sets one of them; systemd sets none unless it is told to
		if err := unix.SetsockoptInt(raw, o.level, o.opt, 0); err != nil {
			t.Fatal(err)
		}
	}
	l, err := ListenFD(mustDup(t, raw))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range handedOn {
		if v, err := unix.GetsockoptInt(raw, o.level, o.opt); err != nil || v != 1 {
			t.Errorf("option %d of level %d is %d, %v", o.opt, o.level, v, err)
		}
	}
	file.Close()
	g.serve(l, nil)
	if err := echoes(connectTo(t, l.Addr())); err != nil {
		t.Error(err)
	}

	fd, p := tcpPair(t)
	defer closeFD(fd)
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(udp)
	pipe := []int{0, 0}
	if err := unix.Pipe2(pipe, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer closeFD(pipe[0])
	defer closeFD(pipe[1])
	for _, fd := range []int{fd, udp, pipe[0], -1, 1 << 20} {
		if _, err := ListenFD(fd); err == nil {
			t.Errorf("descriptor %d is no listener", fd)
		}
	}
	if _, err := unix.FcntlInt(uintptr(p.fd), unix.F_GETFD, 0); err != nil {
		t.Error("a refused descriptor was closed")
	}
}

func TestListenerStartsOnce(t *testing.T) {
	g := newRig(t, Options{})
	l := listen(t, "127.0.0.1:0")
	g.serve(l, nil)
	g.do(func() {
		if err := l.Start(g.l, nil, nil); err == nil {
			t.Error("a second Start works")
		}
		l.Close()
		if err := l.Start(g.l, nil, nil); err == nil {
			t.Error("Start after Close works")
		}
	})
	if c, err := net.Dial("tcp", l.Addr()); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

// Invariant 20: errors that are one connection's fault are passed over; want of
// memory pauses accepting, twice as long each time, up to a second, is reported
// once a second at most, and costs the loop nothing meanwhile.
func TestAcceptErrors(t *testing.T) {
	clock := newFakeClock()
	g := newRigOn(t, Options{}, clock)
	l := listen(t, "127.0.0.1:0")
	script := []error{unix.ECONNABORTED, unix.EINTR, unix.EPERM}
	calls := 0
	l.accept = func(fd, flags int) (int, unix.Sockaddr, error) {
		calls++
		if len(script) > 0 {
			err := script[0]
			if err != unix.ENOBUFS && err != unix.ENOMEM {
				script = script[1:]
			}
			return -1, nil, err
		}
		return unix.Accept4(fd, flags)
	}
	var reports []*AcceptError
	g.serve(l, func(e *AcceptError) { reports = append(reports, e) })

	if err := echoes(connectTo(t, l.Addr())); err != nil {
		t.Fatal(err)
	}
	g.do(func() {
		if len(reports) != 0 || len(script) != 0 {
			t.Errorf("%d reports, %d errors left", len(reports), len(script))
		}
		script, calls = []error{unix.ENOBUFS}, 0
	})
	waiting := connectTo(t, l.Addr())
	g.until("the pause", func() bool { return l.retry != nil })
	g.quiet()
	step := func(d time.Duration) {
		clock.advance(d - time.Millisecond)
		g.turns(2)
		before := 0
		g.do(func() { before = calls })
		clock.advance(time.Millisecond)
		g.until("the next try", func() bool { return calls > before })
		g.quiet()
		g.do(func() {
			if calls != before+1 {
				t.Errorf("%d tries after %v, want one", calls-before, d)
			}
		})
	}
	for _, d := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		step(d * time.Millisecond)
	}
	g.do(func() {
		if len(reports) != 4 {
			t.Errorf("%d reports within 3.5 s, want 4", len(reports))
		}
		var times int
		for _, e := range reports {
			times += e.Times
			if !errors.Is(e, unix.ENOBUFS) || e.Addr != l.Addr() || e.Pause == 0 {
				t.Errorf("%+v", e)
			}
		}
		if times != 7 {
			t.Errorf("%d failures are reported, want 7", times)
		}
		script = nil
	})
	clock.advance(time.Second)
	g.turns(1)
	if err := echoes(waiting); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	g.do(func() {
		script = []error{unix.ENOMEM}
	})
	connectTo(t, l.Addr())
	g.until("the pause", func() bool { return l.retry != nil })
	g.do(func() {
		if l.backOff != firstBackOff {
			t.Errorf("after a success the pause is %v", l.backOff)
		}
		l.Close() // in a pause: the timer must not come back to a closed socket
		reports = nil
	})
	clock.advance(time.Hour)
	g.turns(3)
	g.do(func() {
		if len(reports) != 0 {
			t.Errorf("after Close: %v", reports[0])
		}
	})
}

// One event accepts a bounded number.
func TestAcceptsPerEvent(t *testing.T) {
	g := newRig(t, Options{})
	l := listen(t, "127.0.0.1:0")
	opened, most, turn := 0, 0, 0
	g.do(func() {
		g.onOpened = func(uint64) { opened++; turn++; most = max(most, turn) }
		g.l.BeforeWait(func() { turn = 0 })
	})
	g.serve(l, nil)
	release := g.hold()
	const n = 2*acceptsPerEvent + 10
	for range n {
		connectTo(t, l.Addr())
	}
	release()
	g.until("all", func() bool { return opened == n })
	if most != acceptsPerEvent {
		t.Errorf("%d accepted in one turn, want %d", most, acceptsPerEvent)
	}
}

// Invariant 20, with a real process that has no descriptors left (see roles_test.go):
// it neither ends nor spins, serves those it has, tells the others at once,
// and goes on when descriptors are free.
func TestOutOfDescriptors(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CONN_TEST_ROLE=few-descriptors")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			lines <- s.Text()
		}
	}()
	next := func() string {
		select {
		case s := <-lines:
			return s
		case <-time.After(deadline):
			cmd.Process.Kill()
			t.Fatal("the server says nothing")
			return ""
		}
	}
	addr := strings.TrimPrefix(next(), "listening ")

	var served []net.Conn
	refused := 0
	for refused < 3 {
		c := connectTo(t, addr)
		if err := echoes(c); err != nil {
			refused++ // told at once or, when it is in a pause, before the deadline
			c.Close()
		} else {
			served = append(served, c)
		}
		if len(served) > 100 {
			t.Fatal("it never runs out")
		}
	}
	if s := next(); !strings.Contains(s, "too many open files") {
		t.Errorf("it says %q", s)
	}
	if len(served) < 10 {
		t.Errorf("only %d were served", len(served))
	}
	for i, c := range served {
		if err := echoes(c); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	served[0].Close()
	served[1].Close()
	c := connectTo(t, addr)
	if err := echoes(c); err != nil {
		t.Errorf("after descriptors are free: %v", err)
	}
	stdin.Close()
	var last string
	for s := range lines {
		last = s
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the server ends with %v", err)
	}
	// The server counts its turns: a spin would be hundreds of thousands.
	var turns int
	if _, err := fmt.Sscanf(last, "turns %d", &turns); err != nil || turns > 1000 {
		t.Errorf("it ends with %q", last)
	}
}

var _ loop.Handler = (*Listener)(nil)
