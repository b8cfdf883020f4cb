package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gameserverd/client"
	"gameserverd/wire"
)

// manager does for daemons what systemd does: it holds the socket, hands it to
// each of them, and hears what they say.
type manager struct {
	t      *testing.T
	addr   string
	socket *os.File
	notify *net.UnixConn
	env    []string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	path := filepath.Join(t.TempDir(), "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notify.Close() })
	return &manager{t, l.Addr().String(), socket, notify, []string{
		"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=1000000", "LISTEN_FDS=1", "LISTEN_FDNAMES=game",
		"GAMESERVERD_LISTEN_TCP=127.0.0.1:1", "GAMESERVERD_LISTEN_ADMIN=",
	}}
}

// launch starts a daemon with a socket as systemd does: LISTEN_PID is its own.
func (m *manager) launch(dir string, socket *os.File, env ...string) *process {
	m.t.Helper()
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, binary, "serve")
	cmd.ExtraFiles = []*os.File{socket}
	return launchCmd(m.t, dir, append(append([]string{}, m.env...), env...), cmd)
}

// start starts a daemon with the data in dir, and waits until it is ready.
func (m *manager) start(dir string, env ...string) *process {
	m.t.Helper()
	p := m.launch(dir, m.socket, env...)
	m.wait(p, "READY=1\nSTATUS=serving: ")
	return p
}

// wait waits until p has said what begins with want.
func (m *manager) wait(p *process, want string) string {
	m.t.Helper()
	b := make([]byte, 4096)
	for end := time.Now().Add(deadline); ; {
		m.notify.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := m.notify.Read(b)
		if got := string(b[:n]); err == nil && strings.HasPrefix(got, want) {
			return got
		}
		select {
		case <-p.ended:
			m.t.Fatalf("it ended with %d:\n%s", p.exit(), p.err)
		default:
		}
		if time.Now().After(end) {
			m.t.Fatalf("it never said %q:\n%s", want, p.err)
		}
	}
}

func TestServeUnderSystemd(t *testing.T) {
	m := newManager(t)
	p := m.start(t.TempDir())
	const said = "these are sockets of systemd: the addresses in listen.tcp are not used"
	if out := p.out.String(); !strings.Contains(out, " listens on "+m.addr+"\n"+said+"\n") {
		t.Errorf("it says\n%s", out)
	}
	p.until(p.err, `sockets of systemd take the place of addresses`)
	if out, errText, code := runHere(t, "call", "--addr", m.addr, "sum", "1", "2"); out != "3\n" || code != 0 {
		t.Errorf("call: %q, %q, %d", out, errText, code)
	}
	m.wait(p, "WATCHDOG=1")
	p.signal(syscall.SIGHUP)
	m.wait(p, "RELOADING=1\nMONOTONIC_USEC=")
	m.wait(p, "READY=1\nSTATUS=serving: ")
	p.signal(syscall.SIGTERM)
	m.wait(p, "STOPPING=1\nSTATUS=draining: ")
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.err)
	}
}

// A login without proof is not offered to strangers, whoever made the socket.
func TestServeRefusesASocketForStrangers(t *testing.T) {
	m := newManager(t)
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	p := m.launch(t.TempDir(), socket)
	if code := p.exit(); code != 1 || !strings.Contains(p.err.String(), "auth.mode is dev, which lets anyone be any player") {
		t.Errorf("exit code %d:\n%s", code, p.err)
	}
}

// buyer buys one potion after the other, whatever happens to its connection.
type buyer struct {
	uid     uint64
	c       *client.Client
	bought  int64 // acknowledged
	perhaps int64 // sent, and never answered
}

// buy buys until ctx ends. What fails for another reason than a restart is an
// error.
func (b *buyer) buy(ctx context.Context) error {
	for ctx.Err() == nil {
		err := b.c.Call(context.Background(), "shop.buy", nil, "potion", 1)
		switch {
		case err == nil:
			b.bought++
		case errors.Is(err, client.ErrMayHaveRun):
			b.perhaps++
		case client.CodeOf(err) != client.Unavailable:
			return fmt.Errorf("player %d: %w", b.uid, err)
		}
	}
	return nil
}

// compare compares what the daemon has stored with what it has acknowledged.
func (b *buyer) compare(ctx context.Context) error {
	var player struct {
		Items map[string]int64 `msgpack:"items"`
	}
	if err := b.c.Call(ctx, "player.get", &player); err != nil {
		return err
	}
	if n := player.Items["potion"]; n < b.bought || n > b.bought+b.perhaps {
		return fmt.Errorf("player %d has %d potions; %d were acknowledged and %d possible beside", b.uid, n, b.bought, b.perhaps)
	}
	return nil
}

// crowd is the load on a daemon that is restarted: players who buy, and strangers
// who connect all the time.
type crowd struct {
	t      *testing.T
	addr   string
	buyers []*buyer
	stop   context.CancelFunc
	doing  sync.WaitGroup

	// any goroutine
	refused, knocks atomic.Int64
	mu              sync.Mutex
	failed          []error
}

func newCrowd(t *testing.T, addr string, players int) *crowd {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	c := &crowd{t: t, addr: addr, stop: stop}
	t.Cleanup(c.end)
	for i := range players {
		b := &buyer{uid: uint64(100 + i), c: c.dial()}
		if _, err := b.c.Login(t.Context(), fmt.Sprint("dev:", b.uid)); err != nil {
			t.Fatal(err)
		}
		c.buyers = append(c.buyers, b)
		c.doing.Go(func() { c.note(b.buy(ctx)) })
	}
	c.doing.Go(func() {
		for ctx.Err() == nil {
			c.note(knock(addr, func() { c.knocks.Add(1) }))
		}
	})
	return c
}

// dial connects a client that counts when it is refused.
func (c *crowd) dial() *client.Client {
	c.t.Helper()
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil && ctx.Err() == nil {
			c.refused.Add(1)
		}
		return nc, err
	}
	cl, err := client.Dial(c.t.Context(), c.addr, client.WithDialer(dial), client.WithBackoff(time.Millisecond, 100*time.Millisecond))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { cl.Close() })
	return cl
}

func (c *crowd) note(err error) {
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.failed = append(c.failed, err)
	}
}

// end ends the load. It may be called again.
func (c *crowd) end() {
	c.stop()
	c.doing.Wait()
}

// wait waits until n more strangers have connected.
func (c *crowd) wait(n int64) {
	c.t.Helper()
	began, late := c.knocks.Load(), time.After(deadline)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for c.knocks.Load() < began+n {
		select {
		case <-tick.C:
		case <-late:
			c.t.Fatalf("%d strangers have connected in %v", c.knocks.Load()-began, deadline)
		}
	}
}

// queue has n strangers connect, and returns when they have: they wait to be
// served.
func (c *crowd) queue(n int) {
	var connected sync.WaitGroup
	for range n {
		connected.Add(1)
		once := sync.OnceFunc(connected.Done)
		c.doing.Go(func() {
			defer once()
			c.note(knock(c.addr, once))
		})
	}
	connected.Wait()
}

// knock connects as a stranger would and asks one question. It returns an error
// unless that is answered, or put off with sys.closing.
func knock(addr string, connected func()) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	connected()
	nc.SetDeadline(time.Now().Add(deadline))
	b := wire.AppendArray(wire.AppendRequest(wire.BeginFrame(nil), 1, "sum"), 2)
	b = wire.AppendInt(wire.AppendInt(b, 1), 2)
	wire.EndFrame(b, 0)
	if _, err := nc.Write(b); err != nil {
		return err
	}
	got := make([]byte, wire.HeaderLen+1)
	if _, err := io.ReadFull(nc, got); err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	if first := got[wire.HeaderLen]; first != 0x94 && first != 0x93 { // a response, or the notification sys.closing
		return fmt.Errorf("got %x", got)
	}
	return nil
}

// A restart under systemd refuses nobody and loses nothing that was acknowledged:
// who comes while no daemon runs waits in the socket's queue.
func TestRestartUnderSystemdRefusesNobody(t *testing.T) {
	const restarts = 3
	m := newManager(t)
	dir, gold := t.TempDir(), "GAMESERVERD_GAME_START_GOLD=9000000000000000"
	p := m.start(dir, gold)
	c := newCrowd(t, m.addr, 8)
	for range restarts {
		c.wait(50)
		p.signal(syscall.SIGTERM)
		if code := p.exit(); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, p.err)
		}
		c.queue(20)
		p = m.start(dir, gold)
	}
	c.end()
	var bought, perhaps int64
	for _, b := range c.buyers {
		c.note(b.compare(t.Context()))
		bought, perhaps = bought+b.bought, perhaps+b.perhaps
	}
	if n := c.refused.Load(); n != 0 || len(c.failed) > 0 {
		t.Errorf("%d connections of players were refused; %v", n, errors.Join(c.failed...))
	}
	t.Logf("%d restarts, %d knocks, %d potions acknowledged, %d possible beside", restarts, c.knocks.Load(), bought, perhaps)
	if bought == 0 {
		t.Error("nothing was bought")
	}
	if p.signal(syscall.SIGTERM); p.exit() != 0 {
		t.Errorf("the end: %s", p.err)
	}
}
