package systemd

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// manager is what systemd is to a Notifier.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
	logs *observer.ObservedLogs
}

// managed makes a manager at path, "@" for an abstract one, and its Notifier.
func managed(t *testing.T, path string, env ...string) (*manager, *Notifier) {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "notify")
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	for i := 0; i < len(env); i += 2 {
		t.Setenv(env[i], env[i+1])
	}
	core, logs := observer.New(zapcore.DebugLevel)
	n := New(zap.New(core))
	if n == nil {
		t.Fatal("no notifier")
	}
	return &manager{t, conn, logs}, n
}

// next is the next datagram.
func (m *manager) next() string {
	m.t.Helper()
	m.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 4096)
	n, err := m.conn.Read(b)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b[:n])
}

func TestStates(t *testing.T) {
	for _, path := range []string{"", fmt.Sprintf("@gameserverd-test-%d", os.Getpid())} {
		m, n := managed(t, path)
		n.Ready("serving")
		n.Status("two\nlines\r" + strings.Repeat("ä", maxStatus))
		n.Reloading()
		n.Stopping("draining: 3 connections")
		n.Extend(1500 * time.Millisecond)
		for _, want := range []string{
			"^READY=1\nSTATUS=serving$", "^STATUS=two lines ä{251}$", "^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*$",
			"^STOPPING=1\nSTATUS=draining: 3 connections$", "^EXTEND_TIMEOUT_USEC=1500000$",
		} {
			if got := m.next(); !regexp.MustCompile(want).MatchString(got) {
				t.Errorf("got %q, want %s", got, want)
			}
		}
		if os.Getenv("NOTIFY_SOCKET") != "" || m.logs.Len() != 0 {
			t.Errorf("NOTIFY_SOCKET is %q, the log has %v", os.Getenv("NOTIFY_SOCKET"), m.logs.All())
		}
	}
}

func TestWithoutSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n := New(zap.NewNop())
	if n != nil {
		t.Fatal("a notifier without systemd")
	}
	n.Ready("")
	n.Status("")
	n.Reloading()
	n.Stopping("")
	n.Extend(time.Second)
	n.Watchdog(t.Context(), nil) // returns
}

func TestAManagerThatIsGone(t *testing.T) {
	m, n := managed(t, "")
	path := m.conn.LocalAddr().String()
	m.conn.Close()
	os.Remove(path)
	for range 3 {
		n.Status("hello")
	}
	if all := m.logs.FilterMessage("systemd cannot be told").All(); len(all) != 1 || all[0].ContextMap()["state"] != "STATUS=hello" {
		t.Errorf("the log has %v", m.logs.All())
	}
	// Another process at the same address, as after systemctl daemon-reexec.
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	n.Status("again")
	if got := (&manager{t: t, conn: conn}).next(); got != "STATUS=again" || m.logs.FilterMessage("systemd can be told again").Len() != 1 {
		t.Errorf("got %q, the log has %v", got, m.logs.All())
	}
}

// A manager that reads nothing holds the daemon up for a moment, not for good.
func TestAManagerThatDoesNotRead(t *testing.T) {
	m, n := managed(t, "")
	began, sent := time.Now(), 0
	for m.logs.Len() == 0 {
		if n.Status("x"); sent > 100_000 || time.Since(began) > 20*time.Second {
			t.Fatalf("%d lines went somewhere", sent)
		}
		sent++
	}
	if all := m.logs.All(); all[0].Message != "systemd cannot be told" || !strings.Contains(fmt.Sprint(all[0].ContextMap()["error"]), "i/o timeout") {
		t.Errorf("the log has %v", all)
	}
}

func TestWatchdogIsFedWhileAlive(t *testing.T) {
	m, n := managed(t, "", "WATCHDOG_USEC", "20000", "WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	ctx, cancel := context.WithCancel(t.Context())
	var dead atomic.Bool
	asked, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		n.Watchdog(ctx, func() bool {
			asked <- struct{}{}
			return !dead.Load()
		})
	}()
	began := time.Now()
	for range 5 {
		<-asked
		if got := m.next(); got != "WATCHDOG=1" {
			t.Errorf("got %q", got)
		}
	}
	if took := time.Since(began); took < 40*time.Millisecond {
		t.Errorf("fed five times in %v, half of WATCHDOG_USEC is 10ms", took)
	}
	dead.Store(true)
	for range 5 {
		<-asked
	}
	m.conn.SetReadDeadline(time.Now())
	if got, err := m.conn.Read(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes came though nothing was alive", got)
	}
	dead.Store(false)
	<-asked
	m.next()
	cancel()
	for {
		select {
		case <-asked: // a tick that came first
			continue
		case <-ended:
		}
		return
	}
}

func TestNoWatchdog(t *testing.T) {
	for pid, usec := range map[string]string{"1": "20000", "": "", fmt.Sprint(os.Getpid()): "never"} {
		m, n := managed(t, "", "WATCHDOG_USEC", usec, "WATCHDOG_PID", pid)
		n.Watchdog(t.Context(), nil) // returns
		if warned := m.logs.FilterMessage("no watchdog").Len(); warned != 0 != (usec == "never") {
			t.Errorf("WATCHDOG_USEC=%s: the log has %v", usec, m.logs.All())
		}
	}
}
