package conn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/future"
	"gameserverd/internal/loop"
)

// ErrDialTimeout is the error of a dial that took longer than its Timeout.
var ErrDialTimeout = errors.New("conn: the dial timed out")

// ErrSelfConnect is the error of a connection that met itself: to a port of this
// machine on which nobody listens, from that very port.
var ErrSelfConnect = errors.New("conn: connected to itself")

// DialError is the error of a dial.
type DialError struct {
	Address string // as it was given
	Err     error  // what errors.Is and errors.As look into: each attempt's error, or the one that ended the dial
}

// Error names the address and every attempt's error.
func (e *DialError) Error() string { return "dial " + e.Address + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *DialError) Unwrap() error { return e.Err }

// attemptErrors has the errors of several addresses.
type attemptErrors []error

func (a attemptErrors) Error() string {
	text := make([]string, len(a))
	for i, err := range a {
		text[i] = err.Error()
	}
	return strings.Join(text, "; ")
}

func (a attemptErrors) Unwrap() []error { return a }

// DialOptions says how a Dialer connects. The zero value has the defaults.
type DialOptions struct {
	// Timeout is how long a dial may take in all; 10 s if 0, no limit if negative.
	Timeout time.Duration
	// FallbackDelay is how long an attempt stays alone: if it is not connected by
	// then the next address is tried beside it. 250 ms if 0.
	FallbackDelay time.Duration
	// Resolver finds the addresses of a name; net.DefaultResolver if nil.
	Resolver Resolver
	// Pool runs the Resolver; nil: a goroutine for each lookup.
	Pool *loop.Pool
	// Local is the address to connect from, for TCP; zero: the kernel's choice. With
	// port 0 the kernel chooses the port. Targets of the other family fail.
	Local netip.AddrPort
}

const (
	defaultDialTimeout   = 10 * time.Second
	defaultFallbackDelay = 250 * time.Millisecond
	// backlogRetry is the pause before a Unix socket with a full backlog is tried
	// again: unlike TCP's, its kernel does not wait by itself.
	backlogRetry = 10 * time.Millisecond
)

// Dialer opens connections, Tornado's TCPClient: names are resolved off the
// loop, and the addresses of a host are tried as RFC 8305 ("happy eyeballs")
// says, the first to connect being taken and the others given up. One Dialer
// serves any number of loops. Any goroutine.
type Dialer struct {
	o DialOptions // immutable after NewDialer
}

// NewDialer makes a Dialer.
func NewDialer(o DialOptions) *Dialer {
	if o.Timeout == 0 {
		o.Timeout = defaultDialTimeout
	}
	if o.FallbackDelay <= 0 {
		o.FallbackDelay = defaultFallbackDelay
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	return &Dialer{o: o}
}

// Dial connects to address, host:port, [v6]:port or unix:/path, and makes a
// stream of ss of it. The end of ctx ends the dial, and what it has opened is
// closed; once the future has a stream ctx means nothing. The error is a
// *DialError. Any goroutine.
func (d *Dialer) Dial(ctx context.Context, ss *Streams, address string) *future.Future[*Stream] {
	return dial(ctx, d, ss.loop, address, ss.attach)
}

// DialSet is Dial for a connection of a Set without a stream: its future's
// result is the id, whose Opened call was made before. Any goroutine.
func (d *Dialer) DialSet(ctx context.Context, s *Set, address string) *future.Future[uint64] {
	return dial(ctx, d, s.loop, address, s.Attach)
}

// dial runs a dialing on loop l and hands what it has connected to attach.
func dial[T any](ctx context.Context, d *Dialer, l *loop.Loop, address string, attach func(int, netip.AddrPort) (T, error)) *future.Future[T] {
	f := future.New[T]()
	fail := func(err error) { f.Fail(&DialError{Address: address, Err: err}) }
	g := &dialing{d: d, l: l, address: address, failed: fail, connected: func(fd int, peer netip.AddrPort) {
		v, err := attach(fd, peer)
		if err != nil {
			fail(err)
			return
		}
		f.Resolve(v)
	}}
	if !l.AddCallback(func() { g.begin(ctx) }) {
		fail(loop.ErrClosed)
	}
	return f
}

// dialing is one dial on its way.
type dialing struct {
	// immutable after begin
	d         *Dialer
	l         *loop.Loop
	address   string
	connected func(fd int, peer netip.AddrPort)
	failed    func(error)
	ctx       context.Context    // the lookup's
	cancel    context.CancelFunc // of ctx
	unwatch   func() bool        // ends the watching of the caller's ctx

	// loop only
	todo     []unix.Sockaddr
	trying   map[int]unix.Sockaddr // by descriptor
	errs     attemptErrors
	next     *loop.Timeout // the next attempt
	deadline *loop.Timeout
	over     bool
}

func (g *dialing) begin(ctx context.Context) {
	where, err := parseTarget(g.address)
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		g.failed(err)
		return
	}
	g.trying = make(map[int]unix.Sockaddr)
	g.ctx, g.cancel = context.WithCancel(ctx)
	g.unwatch = context.AfterFunc(ctx, func() {
		g.l.AddCallback(func() { g.fail(context.Cause(ctx)) })
	})
	if g.d.o.Timeout > 0 {
		g.deadline = g.l.CallLater(g.d.o.Timeout, func() { g.fail(ErrDialTimeout) })
	}
	if where.path != "" {
		g.todo = []unix.Sockaddr{&unix.SockaddrUnix{Name: where.path}}
		g.tryNext()
	} else if addrs, ok := where.literal(); ok {
		g.resolved(where, addrs, nil)
	} else {
		g.lookUp(where)
	}
}

// lookUp resolves a name elsewhere.
func (g *dialing) lookUp(where target) {
	run := func() {
		addrs, err := g.d.o.Resolver.LookupNetIP(g.ctx, "ip", where.host)
		g.l.AddCallback(func() { g.resolved(where, addrs, err) })
	}
	if g.d.o.Pool == nil {
		go run()
	} else if !g.d.o.Pool.Submit(run) {
		g.fail(loop.ErrPoolFull)
	}
}

func (g *dialing) resolved(where target, addrs []netip.Addr, err error) {
	switch {
	case g.over:
		return
	case err != nil:
		if cause := context.Cause(g.ctx); cause != nil {
			err = cause // which the resolver may not know
		}
		g.fail(err)
		return
	case len(addrs) == 0:
		g.fail(errors.New("the name has no address"))
		return
	}
	for _, a := range interleave(addrs) {
		sa, _ := sockaddrOf(netip.AddrPortFrom(a, where.port))
		g.todo = append(g.todo, sa)
	}
	g.tryNext()
}

// tryNext starts attempts until one is under way, and the delay of the one after it.
func (g *dialing) tryNext() {
	g.l.RemoveTimeout(g.next)
	g.next = nil
	for !g.over && len(g.todo) > 0 {
		sa := g.todo[0]
		g.todo = g.todo[1:]
		if g.try(sa) {
			break
		}
	}
	switch {
	case g.over:
	case len(g.todo) > 0 && g.next == nil:
		g.next = g.l.CallLater(g.d.o.FallbackDelay, g.tryNext)
	case len(g.todo) == 0 && len(g.trying) == 0:
		g.fail(g.errs)
	}
}

// try begins to connect to sa. It returns false if that has failed at once.
func (g *dialing) try(sa unix.Sockaddr) bool {
	fd, err := g.socket(sa)
	if err == nil {
		switch err = unix.Connect(fd, sa); err {
		case nil:
			return g.made(fd, sa)
		case unix.EINPROGRESS, unix.EINTR:
			if err = g.l.AddHandler(fd, loop.Write, g); err == nil {
				g.trying[fd] = sa
				return true
			}
		case unix.EAGAIN:
			if _, local := sa.(*unix.SockaddrUnix); local {
				closeFD(fd)
				g.todo = append(g.todo, sa)
				g.next = g.l.CallLater(backlogRetry, g.tryNext)
				return true
			}
			err = os.NewSyscallError("connect", err)
		default:
			err = os.NewSyscallError("connect", err)
		}
		closeFD(fd)
	}
	g.note(sa, err)
	return false
}

// socket makes the socket for an attempt.
func (g *dialing) socket(sa unix.Sockaddr) (int, error) {
	family := unix.AF_UNIX
	switch sa.(type) {
	case *unix.SockaddrInet4:
		family = unix.AF_INET
	case *unix.SockaddrInet6:
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if family == unix.AF_UNIX {
		return fd, nil
	}
	if err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		err = os.NewSyscallError("setsockopt", err)
	} else if local := g.d.o.Local; local.IsValid() {
		err = bindLocal(fd, local)
	}
	if err != nil {
		closeFD(fd)
		return -1, err
	}
	return fd, nil
}

func bindLocal(fd int, local netip.AddrPort) error {
	if local.Port() == 0 {
		// Choose the port at connect: then one port serves many targets. A kernel
		// that does not know this chooses now.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}
	sa, _ := sockaddrOf(netip.AddrPortFrom(local.Addr().Unmap(), local.Port()))
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}

// HandleEvents hears that an attempt has come to its end. It is exported because
// the loop calls it; nobody else does. Loop only.
func (g *dialing) HandleEvents(fd int, _ loop.Events) {
	sa := g.trying[fd]
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	if err == nil {
		if _, err := unix.Getpeername(fd); err == unix.ENOTCONN {
			return // woken for nothing
		}
	}
	g.l.RemoveHandler(fd)
	delete(g.trying, fd)
	if err != nil {
		closeFD(fd)
		g.note(sa, os.NewSyscallError("connect", err))
		g.tryNext()
	} else if !g.made(fd, sa) {
		g.tryNext()
	}
}

// made ends the dialing with a connection, unless that is no good.
func (g *dialing) made(fd int, sa unix.Sockaddr) bool {
	peer := addrPortOf(sa)
	if peer.IsValid() {
		if local, err := unix.Getsockname(fd); err == nil && addrPortOf(local) == peer {
			closeFD(fd)
			g.note(sa, ErrSelfConnect)
			return false
		}
	}
	g.end()
	g.connected(fd, peer)
	return true
}

// note remembers why an address did not do.
func (g *dialing) note(sa unix.Sockaddr, err error) {
	if peer := addrPortOf(sa); peer.IsValid() && peer.String() != g.address {
		err = fmt.Errorf("%v: %w", peer, err)
	}
	g.errs = append(g.errs, err)
}

// fail ends the dialing without a connection.
func (g *dialing) fail(err error) {
	if !g.over {
		g.end()
		g.failed(err)
	}
}

// end gives up everything that is under way.
func (g *dialing) end() {
	g.over = true
	g.l.RemoveTimeout(g.next)
	g.l.RemoveTimeout(g.deadline)
	g.unwatch()
	g.cancel()
	for fd := range g.trying {
		g.l.RemoveHandler(fd)
		closeFD(fd)
	}
	clear(g.trying)
}
