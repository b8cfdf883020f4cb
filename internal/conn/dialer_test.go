package conn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/future"
	"gameserverd/internal/loop"
)

// resolverFunc is a Resolver.
type resolverFunc func(ctx context.Context, network, host string) ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return f(ctx, network, host)
}

// resolvesTo is a Resolver that knows one host, by its addresses.
func resolvesTo(addrs ...string) Resolver {
	return resolverFunc(func(_ context.Context, network, host string) ([]netip.Addr, error) {
		if network != "ip" || host != "host.test" {
			return nil, fmt.Errorf("asked for %q of %q", network, host)
		}
		var out []netip.Addr
		for _, a := range addrs {
			out = append(out, netip.MustParseAddr(a))
		}
		return out, nil
	})
}

// neverResolves is a Resolver that waits for its context.
var neverResolves = resolverFunc(func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
})

func (g *streamRig) dial(o DialOptions, address string) *future.Future[*Stream] {
	return NewDialer(o).Dial(context.Background(), g.ss, address)
}

// listenOn listens at an address of the network "tcp" or "unix".
func listenOn(t *testing.T, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// socketAt is a bound socket at ip and port (0: any), of which nothing else is
// done: to connect to it is refused.
func socketAt(t *testing.T, ip string, port uint16) (int, netip.AddrPort) {
	t.Helper()
	sa, family := sockaddrOf(netip.AddrPortFrom(netip.MustParseAddr(ip), port))
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, sa); err != nil {
		t.Fatal(err)
	}
	if sa, err = unix.Getsockname(fd); err != nil {
		t.Fatal(err)
	}
	return fd, addrPortOf(sa)
}

func refusing(t *testing.T, ip string, port uint16) netip.AddrPort {
	t.Helper()
	_, at := socketAt(t, ip, port)
	return at
}

// deaf is a listener that never answers, because its backlog is full, and its
// descriptor, with which a test may make room.
func deaf(t *testing.T, ip string, port uint16) (int, netip.AddrPort) {
	t.Helper()
	fd, at := socketAt(t, ip, port)
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, family := sockaddrOf(at)
	fill(t, func() (int, error) {
		c, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err == nil {
			err = unix.Connect(c, sa)
		}
		return c, err
	})
	return fd, at
}

// fill connects until a connection is not accepted any more.
func fill(t *testing.T, connect func() (int, error)) {
	t.Helper()
	for range 100 {
		c, err := connect()
		t.Cleanup(func() { unix.Close(c) })
		switch err {
		case unix.EAGAIN:
			return
		case nil, unix.EINPROGRESS:
		default:
			t.Fatal(err)
		}
		ready := []unix.PollFd{{Fd: int32(c), Events: unix.POLLOUT}}
		if n, _ := unix.Poll(ready, 50); n == 0 {
			return
		}
	}
	t.Fatal("the backlog does not fill")
}

func TestDialConnects(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	abstract := fmt.Sprintf("@conn-test-%d-%d", unix.Getpid(), time.Now().UnixNano())
	for _, c := range []struct{ name, network, listen, dial string }{
		{"ipv4", "tcp", "127.0.0.1:0", "127.0.0.1:PORT"},
		{"ipv4 by name", "tcp", "127.0.0.1:0", "localhost:PORT"},
		{"ipv6", "tcp", "[::1]:0", "[::1]:PORT"},
		{"ipv6 by name", "tcp", "[::1]:0", "both.test:PORT"},
		{"ipv4 of both", "tcp", "127.0.0.1:0", "both.test:PORT"},
		{"either, ipv4", "tcp", ":0", "127.0.0.1:PORT"},
		{"either, ipv6", "tcp", ":0", "[::1]:PORT"},
		{"either, mapped", "tcp", ":0", "[::ffff:127.0.0.1]:PORT"},
		{"either, by name", "tcp", ":0", "localhost:PORT"},
		{"no host", "tcp", ":0", ":PORT"},
		{"unix", "unix", path, "unix:" + path},
		{"abstract", "unix", abstract, "unix:" + abstract},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newStreamRig(t, StreamOptions{})
			ln := listenOn(t, c.network, c.listen)
			address := c.dial
			if c.network == "tcp" {
				_, port, _ := net.SplitHostPort(ln.Addr().String())
				address = strings.Replace(c.dial, "PORT", port, 1)
			}
			o := DialOptions{Resolver: resolverFunc(func(_ context.Context, _, host string) ([]netip.Addr, error) {
				if host == "both.test" {
					return []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1")}, nil
				}
				return net.DefaultResolver.LookupNetIP(context.Background(), "ip", host)
			})}
			s, err := result(t, g.dial(o, address))
			if err != nil {
				t.Fatal(err)
			}
			if s.Peer().IsValid() != (c.network == "tcp") {
				t.Errorf("Peer is %v", s.Peer())
			}
			there, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer there.Close()
			g.write(s, "hello")
			buf := make([]byte, 5)
			if _, err := io.ReadFull(there, buf); err != nil || string(buf) != "hello" {
				t.Errorf("the listener got %q, %v", buf, err)
			}
			if c.network != "tcp" {
				return
			}
			r := func() (on bool) {
				g.do(func() {
					fd := int(g.ss.set.lookup(s.id).fd)
					v, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
					on = err == nil && v != 0
				})
				return on
			}
			if !r() {
				t.Error("a dialled connection delays small writes")
			}
		})
	}
}

func TestDialRefused(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	at := refusing(t, "127.0.0.1", 0)
	before := openFDs(t)
	f := g.dial(DialOptions{}, at.String())
	wantErr(t, f, unix.ECONNREFUSED)
	_, err := result(t, f)
	var de *DialError
	if !errors.As(err, &de) || de.Address != at.String() {
		t.Errorf("error %v is no DialError of %v", err, at)
	}
	if want := fmt.Sprintf("dial %v: connect: connection refused", at); err.Error() != want {
		t.Errorf("error text %q, want %q", err, want)
	}
	wantErr(t, g.dial(DialOptions{}, "unix:"+filepath.Join(t.TempDir(), "none")), unix.ENOENT)
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func TestDialResolverError(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	unknown := &net.DNSError{Err: "no such host", Name: "host.test", IsNotFound: true}
	o := DialOptions{Resolver: resolverFunc(func(context.Context, string, string) ([]netip.Addr, error) { return nil, unknown })}
	_, err := result(t, g.dial(o, "host.test:80"))
	var dns *net.DNSError
	if !errors.As(err, &dns) || dns != unknown {
		t.Errorf("error %v, want the resolver's", err)
	}
	_, err = result(t, g.dial(DialOptions{Resolver: resolvesTo()}, "host.test:80"))
	if err == nil || !strings.Contains(err.Error(), "no address") {
		t.Errorf("a name without addresses: %v", err)
	}
}

func TestDialBadAddress(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	for _, address := range []string{
		"", "host", "host:", "host:http", "127.0.0.1:0", "host:65536", "host:-1", "::1:80", "[::1:80", "unix:",
		"unix:a\x00b", "unix:" + strings.Repeat("x", 108),
	} {
		_, err := result(t, g.dial(DialOptions{}, address))
		var de *DialError
		var errno unix.Errno
		if !errors.As(err, &de) || de.Address != address || errors.As(err, &errno) {
			t.Errorf("%q: error %v, want one of the address", address, err)
		}
	}
}

func TestDialFromALocalAddress(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	ln := listenOn(t, "tcp", "127.0.0.1:0")
	for _, local := range []string{"127.0.0.1:0", "127.0.0.2:0"} {
		from := netip.MustParseAddrPort(local)
		if _, err := result(t, g.dial(DialOptions{Local: from}, ln.Addr().String())); err != nil {
			t.Fatal(err)
		}
		there, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		there.Close()
		if got := netip.MustParseAddrPort(there.RemoteAddr().String()).Addr(); got != from.Addr() {
			t.Errorf("came from %v, want %v", got, from.Addr())
		}
	}
}

func TestDialFromALocalAddressFails(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	ln := listenOn(t, "tcp", "127.0.0.1:0")
	used := refusing(t, "127.0.0.1", 0)
	before := openFDs(t)
	for _, c := range []struct {
		local netip.AddrPort
		errno error
	}{
		{netip.MustParseAddrPort("192.0.2.1:0"), unix.EADDRNOTAVAIL},
		{used, unix.EADDRINUSE},
		{netip.MustParseAddrPort("[::1]:0"), unix.EAFNOSUPPORT},
	} {
		wantErr(t, g.dial(DialOptions{Local: c.local}, ln.Addr().String()), c.errno)
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func TestDialTimeoutWhileResolving(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	f := g.dial(DialOptions{Timeout: 50 * time.Millisecond, Resolver: neverResolves}, "host.test:80")
	wantErr(t, f, ErrDialTimeout)
}

func TestDialTimeoutWhileConnecting(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	_, at := deaf(t, "127.0.0.1", 0)
	before := openFDs(t)
	wantErr(t, g.dial(DialOptions{Timeout: 50 * time.Millisecond}, at.String()), ErrDialTimeout)
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// A Unix socket whose backlog is full says so at once, and does not wait.
func TestDialUnixWithAFullBacklog(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	sa := &unix.SockaddrUnix{Name: filepath.Join(t.TempDir(), "s")}
	ln, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ln)
	if err := errors.Join(unix.Bind(ln, sa), unix.Listen(ln, 0)); err != nil {
		t.Fatal(err)
	}
	fill(t, func() (int, error) {
		c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err == nil {
			err = unix.Connect(c, sa)
		}
		return c, err
	})
	before := openFDs(t)
	wantErr(t, g.dial(DialOptions{Timeout: 50 * time.Millisecond}, "unix:"+sa.Name), ErrDialTimeout)
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	f := g.dial(DialOptions{}, "unix:"+sa.Name)
	g.turns(3)
	if f.Done() {
		t.Fatal("connected to a full backlog")
	}
	c, _, err := unix.Accept(ln)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c)
	if _, err := result(t, f); err != nil {
		t.Error(err)
	}
}

// Once there is a connection neither the context nor the timeout means anything,
// and nothing of the dial is left.
func TestDialIsOverWithItsConnection(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	ln := listenOn(t, "tcp", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(context.Background())
	d := NewDialer(DialOptions{Timeout: time.Millisecond * 500, FallbackDelay: time.Hour})
	start := time.Now()
	s, err := result(t, d.Dial(ctx, g.ss, ln.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	there, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	cancel()
	late := make(chan struct{})
	g.do(func() { g.l.CallLater(600*time.Millisecond-time.Since(start), func() { close(late) }) })
	<-late
	g.write(s, "open")
	buf := make([]byte, 4)
	if _, err := io.ReadFull(there, buf); err != nil || string(buf) != "open" {
		t.Errorf("the listener got %q, %v", buf, err)
	}
}

// A resolver that answers when the dial is over starts nothing.
func TestDialResolvedTooLate(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	ln := listenOn(t, "tcp", "127.0.0.1:0")
	answer, answered := make(chan struct{}), make(chan struct{})
	o := DialOptions{Timeout: 20 * time.Millisecond, Resolver: resolverFunc(func(context.Context, string, string) ([]netip.Addr, error) {
		<-answer
		defer close(answered)
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	})}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	before := openFDs(t)
	wantErr(t, g.dial(o, "host.test:"+port), ErrDialTimeout)
	close(answer)
	<-answered
	g.turns(5)
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func TestDialResolvesOnAPool(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	pool := loop.NewPool(1, 0)
	defer pool.Close()
	ln := listenOn(t, "tcp", "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	d := DialOptions{Pool: pool, Resolver: resolvesTo("127.0.0.1")}
	if _, err := result(t, g.dial(d, "host.test:"+port)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := pool.Drain(ctx); err != nil { // the worker may not be done with the lookup quite yet
		t.Fatal(err)
	}
	busy, done := make(chan struct{}), make(chan struct{})
	if !pool.Submit(func() { close(busy); <-done }) {
		t.Fatal("the pool is busy")
	}
	<-busy
	wantErr(t, g.dial(d, "host.test:"+port), loop.ErrPoolFull)
	close(done)
}

func TestDialRefusesItself(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	ln := listenOn(t, "tcp", "127.0.0.1:0")
	at := netip.MustParseAddrPort(ln.Addr().String())
	ln.Close() // the port is free now, for a socket that then meets itself
	before := openFDs(t)
	wantErr(t, g.dial(DialOptions{Local: at}, at.String()), ErrSelfConnect)
	if after := openFDs(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func TestDialOnAClosedLoop(t *testing.T) {
	l, err := loop.New(loop.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ss := NewStreams(l, StreamOptions{})
	ss.Set().Release()
	if err := l.Close(true); err != nil {
		t.Fatal(err)
	}
	wantErr(t, NewDialer(DialOptions{}).Dial(context.Background(), ss, "127.0.0.1:1"), loop.ErrClosed)
}

func TestDialSet(t *testing.T) {
	g := newRig(t, Options{})
	opened := make(chan uint64, 1)
	g.onOpened = func(id uint64) { opened <- id }
	ln := listenOn(t, "tcp", "127.0.0.1:0")
	d := NewDialer(DialOptions{})
	id, err := result(t, d.DialSet(context.Background(), g.set, ln.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	if got := <-opened; got != id {
		t.Errorf("Opened(%#x), want %#x", got, id)
	}
	there, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	g.do(func() { g.set.Write(id, []byte("hello")) })
	buf := make([]byte, 5)
	if _, err := io.ReadFull(there, buf); err != nil || string(buf) != "hello" {
		t.Errorf("the listener got %q, %v", buf, err)
	}
	g.set.Loop().AddCallback(g.set.closeInbox)
	_, err = result(t, d.DialSet(context.Background(), g.set, ln.Addr().String()))
	if !errors.Is(err, ErrClosed) {
		t.Errorf("dial for a closed Set: %v", err)
	}
}

// Many dials at once, as a load generator makes them.
func TestDialManyAtOnce(t *testing.T) {
	g := newStreamRig(t, StreamOptions{})
	ln := listenOn(t, "tcp", "127.0.0.1:0")
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	d := NewDialer(DialOptions{Local: netip.MustParseAddrPort("127.0.0.1:0")})
	var dials []*future.Future[*Stream]
	for range 300 {
		dials = append(dials, d.Dial(context.Background(), g.ss, ln.Addr().String()))
	}
	for _, f := range dials {
		if _, err := result(t, f); err != nil {
			t.Fatal(err)
		}
	}
	ln.Close()
	<-accepted
}

func TestZoneID(t *testing.T) {
	ifs, err := net.Interfaces()
	if err != nil || len(ifs) == 0 {
		t.Fatalf("no interfaces: %v", err)
	}
	if got := zoneID(ifs[0].Name); got != uint32(ifs[0].Index) {
		t.Errorf("zone %q is %d, want %d", ifs[0].Name, got, ifs[0].Index)
	}
	if zoneID("") != 0 || zoneID("7") != 7 || zoneID("no such interface") != 0 {
		t.Error("a number is itself, what is unknown is 0")
	}
}
