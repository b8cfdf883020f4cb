package main

import (
	"context"
	"errors"
	"fmt"
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

// start starts a daemon with the data in dir, and waits until it is ready.
func (m *manager) start(dir string, env ...string) *process {
	m.t.Helper()
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, binary, "serve")
	cmd.ExtraFiles = []*os.File{m.socket}
	p := launchCmd(m.t, dir, append(append([]string{}, m.env...), env...), cmd)
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
	p.until(p.err, `sockets of systemd take the place of listen.tcp`)
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
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, binary, "serve")
	cmd.ExtraFiles = []*os.File{socket}
	p := launchCmd(t, t.TempDir(), m.env, cmd)
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

// knock connects as a stranger would and asks one question. It returns an error
// unless that is answered, or put off with sys.closing.
func knock(addr string, tell func(net.Conn)) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	tell(nc)
	nc.SetDeadline(time.Now().Add(deadline))
	b := wire.AppendArray(wire.AppendRequest(wire.BeginFrame(nil), 1, "sum"), 2)
	b = wire.AppendInt(wire.AppendInt(b, 1), 2)
	wire.EndFrame(b, 0)
	if _, err := nc.Write(b); err != nil {
		return err
	}
	got := make([]byte, 5)
	if _, err := nc.Read(got); err != nil {
		return err
	}
	if got[4] != 0x94 && got[4] != 0x93 { // a response, or the notification sys.closing
		return fmt.Errorf("got %x", got)
	}
	return nil
}

// A restart under systemd refuses nobody and loses nothing that was acknowledged:
// who comes while no daemon runs waits in the socket's queue.
func TestRestartUnderSystemdRefusesNobody(t *testing.T) {
	const buyers, restarts, inBetween = 8, 3, 20
	m := newManager(t)
	dir := t.TempDir()
	env := []string{"GAMESERVERD_GAME_START_GOLD=9000000000000000"}
	p := m.start(dir, env...)

	var refused, knocks atomic.Int64
	var doing sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	all := make([]*buyer, buyers)
	failed := make(chan error, buyers+restarts*inBetween+1)
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil && ctx.Err() == nil {
			refused.Add(1)
		}
		return nc, err
	}
	for i := range all {
		c, err := client.Dial(t.Context(), m.addr, client.WithDialer(dial), client.WithBackoff(time.Millisecond, 100*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all[i] = &buyer{uid: uint64(100 + i), c: c}
		if _, err := c.Login(t.Context(), fmt.Sprint("dev:", all[i].uid)); err != nil {
			t.Fatal(err)
		}
		doing.Go(func() { failed <- all[i].buy(ctx) })
	}
	doing.Go(func() {
		var err error
		for ctx.Err() == nil {
			if e := knock(m.addr, func(net.Conn) { knocks.Add(1) }); e != nil {
				err = errors.Join(err, fmt.Errorf("knock %d: %w", knocks.Load(), e))
			}
		}
		failed <- err
	})

	for range restarts {
		began := knocks.Load()
		for tick := time.NewTicker(time.Millisecond); knocks.Load() < began+50; <-tick.C {
		}
		p.signal(syscall.SIGTERM)
		if code := p.exit(); code != 0 {
			t.Fatalf("exit code %d:\n%s", code, p.err)
		}
		var connected sync.WaitGroup // while nobody serves
		for range inBetween {
			connected.Add(1)
			doing.Go(func() {
				failed <- knock(m.addr, func(net.Conn) { connected.Done() })
			})
		}
		connected.Wait()
		p = m.start(dir, env...)
	}
	stop()
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	doing.Wait()
	if n := refused.Load(); n != 0 {
		t.Errorf("%d connections of players were refused", n)
	}
	var bought, perhaps int64
	for _, b := range all {
		var player struct {
			Items map[string]int64 `msgpack:"items"`
		}
		if err := b.c.Call(t.Context(), "player.get", &player); err != nil {
			t.Error(err)
		}
		if n := player.Items["potion"]; n < b.bought || n > b.bought+b.perhaps {
			t.Errorf("player %d has %d potions; %d were acknowledged and %d possible beside", b.uid, n, b.bought, b.perhaps)
		}
		bought, perhaps = bought+b.bought, perhaps+b.perhaps
	}
	t.Logf("%d restarts, %d knocks, %d potions acknowledged, %d possible beside", restarts, knocks.Load(), bought, perhaps)
	if bought == 0 {
		t.Error("nothing was bought")
	}
	p.signal(syscall.SIGTERM)
	p.exit()
}
