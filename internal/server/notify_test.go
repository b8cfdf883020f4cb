package server

import (
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"gameserverd/internal/config"
	"gameserverd/internal/handlers"
	"gameserverd/internal/rpc"
	"gameserverd/internal/systemd"
	"gameserverd/wire"
)

// manager stands for systemd: it gets what the daemon says of itself.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

// managed starts a daemon under a manager. env is WATCHDOG_USEC.
func managed(t *testing.T, cfg *config.Config, areas func(*handlers.Parts) []rpc.Method, watchdog string, mayLog ...string) (*manager, *testServer) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() }) // after the daemon has ended
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", watchdog)
	return &manager{t, conn}, startWith(t, cfg, Options{Areas: areas, Notifier: systemd.New(zap.NewNop())}, mayLog...)
}

// wants reads one datagram for each pattern, in order.
func (m *manager) wants(patterns ...string) {
	m.t.Helper()
	for _, want := range patterns {
		m.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		b := make([]byte, 4096)
		n, err := m.conn.Read(b)
		if err != nil {
			m.t.Fatalf("waiting for %q: %v", want, err)
		}
		if got := string(b[:n]); !regexp.MustCompile("^" + want + "$").MatchString(got) {
			m.t.Fatalf("systemd was told %q, not %q", got, want)
		}
	}
}

// waiting are the datagrams that have come and were not read.
func (m *manager) waiting() (all []string) {
	for {
		m.conn.SetReadDeadline(time.Now().Add(time.Millisecond)) // in the past nothing would be read
		b := make([]byte, 4096)
		n, err := m.conn.Read(b)
		if err != nil {
			return all
		}
		all = append(all, string(b[:n]))
	}
}

func TestSystemdIsTold(t *testing.T) {
	hold := make(chan struct{})
	cfg := testConfig(t.TempDir())
	cfg.Store.StartTimeout, cfg.Shutdown.Deadline = time.Minute, 20*time.Second
	m, s := managed(t, cfg, only(blocking("hold", func(*rpc.Call) error { <-hold; return nil })), "")
	m.wants("EXTEND_TIMEOUT_USEC=360000000", "STATUS=starting", "READY=1\nSTATUS=serving: connections 0, players online 0")
	nc := s.rawDial()
	eventually(t, "the client is there", func() bool { return s.peers.Connections() == 1 })
	m.wants("STATUS=serving: connections 1, players online 0")

	done := s.announce.reloading()
	m.wants("RELOADING=1\nMONOTONIC_USEC=[0-9]+")
	done()
	m.wants("READY=1\nSTATUS=serving: connections 1, players online 0")

	late := s.announce.reloading()
	m.wants("RELOADING=1\nMONOTONIC_USEC=[0-9]+")
	send(t, nc, request(1, "hold"))
	eventually(t, "the call is under way", func() bool { return s.peers.Underway() == 1 })
	s.Shutdown("test")
	m.wants("STOPPING=1\nSTATUS=draining: connections 1, calls 1, cut in 20s", "EXTEND_TIMEOUT_USEC=35000000",
		"STATUS=draining: connections 1, calls 1, cut in 1?[0-9]s")
	late()                   // a reload that ends now is none of systemd's business:
	s.announce.reloading()() // READY would be taken for a start
	close(hold)
	s.drain()
	for _, got := range m.waiting() {
		if !strings.HasPrefix(got, "STATUS=draining: ") {
			t.Errorf("systemd was told %q", got)
		}
	}
}

// A status that has not changed is not sent again.
func TestSystemdIsToldNothingTwice(t *testing.T) {
	m, s := managed(t, testConfig(t.TempDir()), nil, "")
	m.wants("EXTEND_.*", "STATUS=starting", "READY=1\nSTATUS=serving: .*")
	for range 3 {
		s.announce.say()
	}
	if all := m.waiting(); len(all) != 0 {
		t.Errorf("systemd was told %q", all)
	}
}

// The watchdog is there for this: a method that holds a loop.
func TestWatchdogIsNotFedWhileALoopIsHeld(t *testing.T) {
	const missed = "a loop does not turn: the watchdog is not fed"
	hold := make(chan struct{})
	m, s := managed(t, testConfig(t.TempDir()), only(rpc.Method{Name: "hold", Public: true, Sync: func(_ *rpc.Call, _ *rpc.Args, out []byte) ([]byte, error) {
		<-hold
		return wire.AppendNil(out), nil
	}}), "100000", missed)
	eventually(t, "the watchdog is fed", func() bool { return slices.Contains(m.waiting(), "WATCHDOG=1") })
	nc := s.rawDial()
	send(t, nc, request(1, "hold"))
	eventually(t, "a feeding is left out", func() bool { return s.logs.FilterMessage(missed).Len() > 0 })
	m.waiting()
	eventually(t, "more are", func() bool { return s.logs.FilterMessage(missed).Len() > 3 })
	for _, got := range m.waiting() {
		if !strings.HasPrefix(got, "STATUS=") {
			t.Errorf("while a loop is held systemd was told %q", got)
		}
	}
	close(hold)
	receive(t, nc)
	eventually(t, "it is fed again", func() bool { return slices.Contains(m.waiting(), "WATCHDOG=1") })
}

// listening is a socket as systemd would hand it over.
func listening(t *testing.T, addr string) (fd int, bound string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd, err = unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd, l.Addr().String()
}

func TestSocketsTakeThePlaceOfAddresses(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Listen.TCP = []string{"127.0.0.1:1"} // which needs rights that are not asked for
	a, addrA := listening(t, "127.0.0.1:0")
	b, addrB := listening(t, "[::1]:0")
	c, addrC := listening(t, "127.0.0.1:0")
	s := startWith(t, cfg, Options{Sockets: Sockets{FDs: []int{a, c, b}, Names: []string{"game", "admin", ""}}})
	if got := s.Addrs(); !s.Inherited() || len(got) != 2 || got[0] != addrA || got[1] != addrB || s.AdminAddr() != addrC {
		t.Errorf("listens on %q, admin %s; the sockets are of %s, %s, %s", got, s.AdminAddr(), addrA, addrB, addrC)
	}
	s.login(7)
	for key, want := range map[string]string{"listen.tcp": addrA, "listen.admin": addrC} {
		all := s.logs.FilterMessage("sockets of systemd take the place of addresses").FilterField(zap.String("key", key)).All()
		if len(all) != 1 || all[0].ContextMap()["listen"].([]any)[0] != want {
			t.Errorf("%s: the log has %v", key, all)
		}
	}
}

func TestSocketsThatAreRefused(t *testing.T) {
	file, _ := listening(t, "127.0.0.1:0")
	for _, test := range []struct {
		name  string
		fds   []int
		names []string
		addr  string // instead of fds
		want  string
	}{
		{"unknown name", []int{file}, []string{"games"}, "", `"games": FileDescriptorName= must be game or admin`},
		{"two admins", []int{file, file}, []string{"admin", "admin"}, "", "there is one admin server"},
		{"no socket", []int{1 << 20}, []string{""}, "", "bad file descriptor"},
		{"no admin socket", []int{1 << 20}, []string{"admin"}, "", "bad file descriptor"},
		{"dev login for strangers", nil, []string{"game"}, "0.0.0.0:0", "auth.mode is dev, which lets anyone be any player"},
		{"dev login for strangers by IPv6", nil, []string{"game"}, "[::]:0", "auth.mode is dev, which lets anyone be any player"},
		{"admin for strangers", nil, []string{"admin"}, "0.0.0.0:0", "auth.mode is dev, which lets anyone be any player"},
	} {
		core, _ := observer.New(zapcore.InfoLevel)
		if test.addr != "" {
			fd, _ := listening(t, test.addr)
			test.fds = []int{fd}
		}
		s, err := NewWith(testConfig(t.TempDir()), zap.New(core), Options{Sockets: Sockets{FDs: test.fds, Names: test.names}})
		if err == nil {
			s.release()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if err := unix.Close(file); err != nil {
		t.Error(err)
	}
}
