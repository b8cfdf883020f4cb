package embedded

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline is how long a test waits for what must happen.
const deadline = 60 * time.Second

// start returns a server that ends with the test, which must not crash.
func start(t testing.TB, o Options) *Server {
	t.Helper()
	s, logs := startWatched(t, o)
	t.Cleanup(func() {
		for _, line := range logs.All() {
			t.Errorf("logged: %s %v", line.Message, line.ContextMap())
		}
	})
	return s
}

// startWatched returns a server that ends with the test, and what it logs.
func startWatched(t testing.TB, o Options) (*Server, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	o.Log = zap.New(core)
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, logs
}

// client speaks RESP over one connection. Its methods are for one goroutine.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func dial(t testing.TB, s *Server) *client {
	t.Helper()
	conn, err := s.Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(deadline))
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn, bufio.NewReader(conn)}
}

func request(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b.String()
}

// do sends a command and returns its reply: strings and integers as they are, nil as "nil", an array in brackets.
func (c *client) do(args ...string) string {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, request(args...)); err != nil {
		c.t.Errorf("%.100q: %v", args, err)
		return ""
	}
	return c.reply()
}

func (c *client) want(want string, args ...string) {
	c.t.Helper()
	if got := c.do(args...); got != want {
		c.t.Errorf("%q: %q, want %q", args, got, want)
	}
}

func (c *client) reply() string {
	c.t.Helper()
	got, err := c.read()
	if err != nil {
		c.t.Errorf("reading a reply: %v", err)
	}
	return got
}

func (c *client) read() (string, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	n := 0
	fmt.Sscanf(line[1:], "%d", &n)
	switch {
	case (line[0] == '$' || line[0] == '*') && n < 0:
		return "nil", nil
	case line[0] == '$':
		b := make([]byte, n+2)
		_, err := io.ReadFull(c.r, b)
		return string(b[:n]), err
	case line[0] == '*':
		all := make([]string, n)
		for i := range all {
			if all[i], err = c.read(); err != nil {
				return "", err
			}
		}
		return "[" + strings.Join(all, " ") + "]", nil
	default:
		return strings.TrimRight(line[1:], "\r\n"), nil
	}
}

// eventually waits until what is so.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	late := time.After(deadline)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-late:
			t.Fatalf("not in %v: %s", deadline, what)
		case <-tick.C:
		}
	}
}
