package server

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest/observer"

	"gameserverd/internal/conn"
	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// raw is a client that does as it likes.
type raw struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// raw connects from an address of this machine, such as 127.0.0.2.
func (s *testServer) raw(from string) *raw {
	s.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(testContext(s.t), "tcp", s.Addrs()[0])
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	return &raw{c, s.t, bufio.NewReader(c)}
}

// request sends a request, as far as the server takes it.
func (c *raw) request(id uint32, method string, params ...any) {
	c.t.Helper()
	b := wire.AppendArray(wire.AppendRequest(wire.BeginFrame(nil), id, method), len(params))
	for _, p := range params {
		var err error
		if b, err = wire.AppendAny(b, p); err != nil {
			c.t.Fatal(err)
		}
	}
	wire.EndFrame(b, 0)
	_, _ = c.Write(b) // an end is seen by who reads
}

func (c *raw) login(uid uint64) *raw {
	c.t.Helper()
	c.request(1, "auth.login", fmt.Sprint("dev:", uid))
	if m := c.next(); m.Kind != wire.Response || m.Err != nil {
		c.t.Fatalf("the login of %d: %+v", uid, m)
	}
	return c
}

// next reads a message; the zero one is the connection's end.
func (c *raw) next() wire.Message {
	c.t.Helper()
	m, err := readMessage(c.r)
	var netErr net.Error
	if errors.As(err, &netErr) && netErr.Timeout() {
		c.t.Fatal("nothing comes")
	}
	if err != nil {
		return wire.Message{}
	}
	return m
}

// closing reads until sys.closing, or until the connection has ended without one.
func (c *raw) closing() string {
	c.t.Helper()
	for {
		m := c.next()
		switch {
		case m.Method == nil && m.Params == nil && m.Result == nil:
			return "an end"
		case string(m.Method) == wire.ClosingMethod:
			closing, err := wire.ParseClosing(m.Params)
			if err != nil || closing.Reconnect && closing.RetryAfter == 0 {
				c.t.Errorf("told %+v, %v", closing, err)
			}
			return closing.Code + ": " + closing.Message
		}
	}
}

// As many as may come from one address are served, others are told why, and
// another address does not notice.
func TestConnectionsOfOneAddress(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Limits.MaxConnectionsPerIP = 3
	s := start(t, cfg, nil)
	good := []*raw{s.raw("127.0.0.1").login(1), s.raw("127.0.0.1").login(2), s.raw("127.0.0.1").login(3)}
	for range 3 {
		c := s.raw("127.0.0.1")
		c.request(1, "sys.ping")
		if why := c.closing(); why != "too_many_connections: too many connections from this address" {
			t.Errorf("told %q", why)
		}
	}
	s.raw("127.0.0.2").login(4)
	good[1].Close()
	eventually(t, "there is room again", func() bool {
		c := s.raw("127.0.0.1")
		c.request(1, "sys.ping")
		return c.next().Kind == wire.Response
	})
	if n := s.gate.Addresses(); n != 2 {
		t.Errorf("%d addresses are known", n)
	}
}

func TestLoginsOfOneAddress(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Limits.LoginRatePerIP = 1
	s := start(t, cfg, nil)
	c := s.raw("127.0.0.1")
	for i := range uint32(10) {
		c.request(i, "auth.login", "bad")
		if e := wire.ParseError(c.next().Err); e == nil || e.Code != wire.Unauthenticated {
			t.Fatalf("try %d: %v", i, e)
		}
	}
	c.request(10, "auth.login", "dev:7")
	e := wire.ParseError(c.next().Err)
	if e == nil || e.Code != wire.ResourceExhausted || e.RetryAfter <= 0 || e.RetryAfter > time.Second {
		t.Errorf("one too many: %v", e)
	}
	s.raw("127.0.0.2").login(7)
}

// The rate of requests, as a client meets it, and what is left of it by a reload.
func TestRequestsOfOneSession(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Limits.RatePerSecond, cfg.Limits.RateBurst = 1, 10
	s := start(t, cfg, nil)
	c := s.raw("127.0.0.1").login(7)
	refused := 0
	for i := range uint32(12) {
		c.request(i, "sys.ping")
		if e := wire.ParseError(c.next().Err); e != nil {
			refused++
			if e.Code != wire.ResourceExhausted || e.RetryAfter <= 0 || e.RetryAfter > time.Second {
				t.Errorf("refused with %v", e)
			}
		}
	}
	if refused < 2 || refused > 3 { // the login counts; a slow machine may have earned one more
		t.Errorf("%d of 12 were refused", refused)
	}
	for i := range uint32(20) {
		c.request(i, "sys.ping")
	}
	if why := c.closing(); !strings.HasPrefix(why, "rate_limited: more than 1 requests a second") {
		t.Errorf("told %q", why)
	}
}

// While 1,000 refused connections wait to be told, more of their kind are closed
// at once, and others come in.
func TestRefusedConnectionsAreBounded(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Limits.MaxConnectionsPerIP = 1
	cfg.Limits.MaxConnections = 3000
	s := start(t, cfg, nil)
	s.raw("127.0.0.1").login(1)
	for range rpc.MaxRefusing {
		s.raw("127.0.0.1")
	}
	refused := s.accept.Stats().Refused
	ended := 0
	for range 3 * rpc.MaxRefusing { // those who wait are let go after a second
		s.raw("127.0.0.1")
		if n := s.peers.Refusing(); n > rpc.MaxRefusing {
			t.Fatalf("%d connections wait to be told", n)
		}
		if s.accept.Stats().Refused > refused {
			ended++
		}
		if ended > 10 {
			s.raw("127.0.0.2").login(2)
			break
		}
	}
	if ended == 0 {
		t.Error("none is closed at accept")
	}
}

// levels are those that were logged, with their numbers.
func (s *testServer) levels() (lines []observer.LoggedEntry) {
	return s.logs.FilterMessage("memory for clients").All()
}

// Clients that read nothing use the memory for output up. Who reads what it is
// sent does not notice, whichever loop it is on, but for those who come anew or
// have not logged in.
func TestOutputUnderPressure(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Limits.MaxTotalWriteBufferBytes = 16 << 20
	cfg.Limits.MaxWriteBufferBytes = 64 << 20
	s := start(t, cfg, nil, "memory for clients")
	var good []*raw
	for uid := range uint64(6) {
		good = append(good, s.raw("127.0.0.1").login(uid+1))
	}
	stranger := s.raw("127.0.0.1")
	stranger.request(1, "sys.ping")
	stranger.next()
	var bad []*raw
	for i := range uint64(16) {
		bad = append(bad, s.raw("127.0.0.1").login(100+i))
	}
	text := strings.Repeat("x", 10<<10) // little at a time: who sheds in time never comes to the end
	closed := func() int64 { return s.peers.Counters.Closed()[wire.SlowConsumer] }
	for round := uint32(0); closed() == 0 && round < 5000; round++ {
		for i := range bad {
			if err := s.peers.Notify(100+uint64(i), "push", text); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range good {
			c.request(round, "sys.ping")
			if m := c.next(); m.Kind != wire.Response || m.Err != nil || m.ID != round {
				t.Fatalf("a good client is answered %+v, closed as %q", m, c.closing())
			}
		}
		if s.budget.Used() > s.budget.Limit()+1<<20 {
			t.Fatalf("%d bytes are used", s.budget.Used())
		}
	}
	eventually(t, "slow consumers are closed", func() bool { return closed() > 0 })
	if why := stranger.closing(); why != "too_many_connections: the server is short of memory" {
		t.Errorf("who has not logged in is told %q", why)
	}
	eventually(t, "that was in time", func() bool { return s.pressure.shed.Load() > 0 })
	if n := closed(); n > 8 {
		t.Errorf("%d of %d are closed", n, len(bad))
	}
	for _, c := range bad {
		c.Close()
	}
	eventually(t, "all is calm", func() bool { return s.budget.Level() == conn.Calm && s.budget.Used() == 0 })
	eventually(t, "that is logged", func() bool {
		lines := s.levels()
		return len(lines) >= 2 && lines[len(lines)-1].ContextMap()["pressure"] == conn.Calm.String()
	})
	eventually(t, "others may come again", func() bool {
		c := s.raw("127.0.0.1")
		c.request(1, "sys.ping")
		return c.next().Kind == wire.Response
	})
	for i, line := range s.levels() {
		t.Log(line.ContextMap())
		if i > 0 && line.Time.Sub(s.levels()[i-1].Time) < tellEvery*9/10 {
			t.Error("two lines within a second")
		}
	}
}

// Half messages use the memory for input up: those with the most go.
func TestInputUnderPressure(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Limits.MaxTotalInputBytes = 8 << 20
	cfg.Limits.FrameTimeout = time.Hour
	s := start(t, cfg, nil, "memory for clients")
	good, small := s.raw("127.0.0.1").login(1), s.raw("127.0.0.1").login(2)
	half := func(c *raw, n int) {
		b := binary.BigEndian.AppendUint32(nil, 1<<20)
		_, _ = c.Write(append(b, make([]byte, n)...))
	}
	half(small, 10_000)
	var bad []*raw
	for i := range uint64(9) {
		bad = append(bad, s.raw("127.0.0.1").login(100+i))
	}
	for _, c := range bad {
		half(c, 1<<20-100)
	}
	told := make(chan string, len(bad))
	for _, c := range bad {
		go func() { told <- c.closing() }()
	}
	if why := <-told; why != "too_many_connections: the server is short of memory" {
		t.Errorf("told %q", why)
	}
	eventually(t, "enough is free", func() bool { return s.input.Level() < conn.Largest })
	good.request(7, "sys.ping")
	if m := good.next(); m.ID != 7 {
		t.Errorf("who has nothing waiting got %+v", m)
	}
	if n := s.peers.Counters.ShedInput.Load(); n < 1 || n > 4 {
		t.Errorf("%d were closed for their input", n)
	}
	for _, c := range bad {
		c.Close()
	}
	for range len(bad) - 1 {
		<-told
	}
	eventually(t, "all is calm", func() bool { return s.input.Level() == conn.Calm && s.input.Used() < 20<<10 })
	// What small has sent is still there.
	if _, err := io.WriteString(small, strings.Repeat("\x00", 1<<20-10_000)); err != nil {
		t.Error(err)
	}
	if why := small.closing(); !strings.HasPrefix(why, "protocol_error") {
		t.Errorf("the other one is told %q", why)
	}
}

// A drain under pressure answers what it has, as without.
func TestDrainUnderPressure(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Limits.MaxTotalWriteBufferBytes = 4 << 20
	release := make(chan struct{})
	s := start(t, cfg, only(blocking("wait", func(c *rpc.Call) error {
		select {
		case <-release:
			return nil
		case <-c.Context().Done():
			return context.Cause(c.Context())
		}
	})), "memory for clients")
	c := s.raw("127.0.0.1")
	c.request(5, "wait")
	eventually(t, "the call is under way", func() bool { return s.peers.Underway() == 1 })
	s.Shutdown("test")
	m := c.next()
	if string(m.Method) != wire.ClosingMethod {
		t.Fatalf("got %+v", m)
	}
	s.budget.Add(4 << 20)
	defer s.budget.Add(-(4 << 20))
	eventually(t, "the level is seen", func() bool { return len(s.levels()) > 0 })
	close(release)
	if m := c.next(); m.Kind != wire.Response || m.ID != 5 || m.Err != nil {
		t.Errorf("got %+v", m)
	}
	c.Close()
	if report := s.drain(); !report.Clean {
		t.Errorf("the drain: %+v", report)
	}
}
