package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gameserverd/client"
	"gameserverd/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds everything that a test waits for.
const patience = 20 * time.Second

// server is the scripted peer: a listener whose connections the test drives message by message.
type server struct {
	t *testing.T
	l net.Listener
}

func listen(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &server{t, l}
}

func (s *server) addr() string { return s.l.Addr().String() }

// accept returns the next connection.
func (s *server) accept() *peer {
	s.t.Helper()
	if l, ok := s.l.(interface{ SetDeadline(time.Time) error }); ok {
		l.SetDeadline(time.Now().Add(patience))
	}
	nc, err := s.l.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	return &peer{t: s.t, nc: nc}
}

// dial connects a client to s and returns both ends. The client is closed when the test ends.
func (s *server) dial(opts ...client.Option) (*client.Client, *peer) {
	s.t.Helper()
	c, err := client.Dial(context.Background(), s.addr(), opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c, s.accept()
}

// peer is the server's end of one connection. One goroutine reads.
type peer struct {
	t  *testing.T
	nc net.Conn
	mu sync.Mutex // writing
}

// read returns the next message, or how the connection ended.
func (p *peer) read() (wire.Message, error) {
	var m wire.Message
	p.nc.SetReadDeadline(time.Now().Add(patience))
	header := make([]byte, wire.HeaderLen)
	if _, err := io.ReadFull(p.nc, header); err != nil {
		return m, err
	}
	b := make([]byte, wire.FrameLen(header))
	if _, err := io.ReadFull(p.nc, b); err != nil {
		return m, err
	}
	return m, m.Parse(b, wire.DefaultMaxElements)
}

// expect reads the next message, which must be a request or notification of method.
func (p *peer) expect(method string) wire.Message {
	p.t.Helper()
	m, err := p.read()
	if err != nil {
		p.t.Fatalf("waiting for %s: %v", method, err)
	}
	if string(m.Method) != method {
		p.t.Fatalf("got %v %q, want %s", m.Kind, m.Method, method)
	}
	return m
}

// response reads the next message, which must be a response to id.
func (p *peer) response(id uint32) wire.Message {
	p.t.Helper()
	m, err := p.read()
	if err != nil {
		p.t.Fatalf("waiting for the response to %d: %v", id, err)
	}
	if m.Kind != wire.Response || m.ID != id {
		p.t.Fatalf("got %v %q id %d, want a response to %d", m.Kind, m.Method, m.ID, id)
	}
	return m
}

// ended waits for the end of the connection, with no message before it.
func (p *peer) ended() {
	p.t.Helper()
	m, err := p.read()
	if err == nil {
		p.t.Fatalf("got %v %q, want the end of the connection", m.Kind, m.Method)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatal("the client did not close the connection")
	}
}

func frame(fill func(b []byte) []byte) []byte {
	b := fill(wire.BeginFrame(nil))
	wire.EndFrame(b, 0)
	return b
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func list(b []byte, params []any) []byte {
	b = wire.AppendArray(b, len(params))
	for _, v := range params {
		b = must(wire.AppendAny(b, v))
	}
	return b
}

func requestFrame(id uint32, method string, params ...any) []byte {
	return frame(func(b []byte) []byte { return list(wire.AppendRequest(b, id, method), params) })
}

func notificationFrame(method string, params ...any) []byte {
	return frame(func(b []byte) []byte { return list(wire.AppendNotification(b, method), params) })
}

func resultFrame(id uint32, v any) []byte {
	return frame(func(b []byte) []byte { return must(wire.AppendAny(wire.AppendResult(b, id), v)) })
}

func errorFrame(id uint32, e *wire.Error) []byte {
	return frame(func(b []byte) []byte { return wire.AppendErrorResponse(b, id, e) })
}

func closingFrame(c wire.Closing) []byte {
	return frame(func(b []byte) []byte { return wire.AppendClosing(b, c) })
}

func (p *peer) send(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nc.SetWriteDeadline(time.Now().Add(patience))
	if _, err := p.nc.Write(b); err != nil {
		p.t.Errorf("peer: %v", err)
	}
}

func (p *peer) result(id uint32, v any)             { p.send(resultFrame(id, v)) }
func (p *peer) fail(id uint32, e *wire.Error)       { p.send(errorFrame(id, e)) }
func (p *peer) notify(method string, params ...any) { p.send(notificationFrame(method, params...)) }
func (p *peer) closing(c wire.Closing)              { p.send(closingFrame(c)) }
func (p *peer) request(id uint32, method string, params ...any) {
	p.send(requestFrame(id, method, params...))
}

// login answers the next message, a login, and returns its token.
func (p *peer) login(heartbeat time.Duration) string {
	p.t.Helper()
	m := p.expect("auth.login")
	var token string
	params(p.t, m, &token)
	p.result(m.ID, map[string]any{"uid": 7, "server_time_ms": 1700000000123, "heartbeat_ms": heartbeat.Milliseconds()})
	return token
}

// serveAll answers everything with its first param (nil without params), until the connection ends.
func (p *peer) serveAll() {
	for {
		m, err := p.read()
		if err != nil {
			return
		}
		if m.Kind == wire.Request {
			r := wire.NewReader(m.Params)
			var first any
			if n, _ := r.Array(); n > 0 {
				first = r.Raw()
			}
			p.send(resultFrame(m.ID, first))
		}
	}
}

// params decodes the params of m.
func params(t *testing.T, m wire.Message, into ...any) {
	t.Helper()
	r := wire.NewReader(m.Params)
	if n, err := r.Array(); err != nil || n != len(into) {
		t.Fatalf("%s: %d params (%v), want %d", m.Method, n, err, len(into))
	}
	for _, v := range into {
		if err := wire.Unmarshal(r.Raw(), v); err != nil {
			t.Fatalf("%s: %v", m.Method, err)
		}
	}
}

// fakeClock has timers that only the test fires.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time
	timers []*fakeTimer
	armed  chan struct{} // closed and replaced when a timer is added
}

type fakeTimer struct {
	d    time.Duration
	fire chan time.Time
}

func newClock() *fakeClock {
	return &fakeClock{now: time.Unix(1_700_000_000, 0), armed: make(chan struct{})}
}

func (f *fakeClock) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fakeClock) After(d time.Duration) (<-chan time.Time, func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := &fakeTimer{d, make(chan time.Time, 1)}
	f.timers = append(f.timers, t)
	close(f.armed)
	f.armed = make(chan struct{})
	return t.fire, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.remove(t)
	}
}

func (f *fakeClock) remove(t *fakeTimer) bool {
	for i, other := range f.timers {
		if other == t {
			f.timers = append(f.timers[:i], f.timers[i+1:]...)
			return true
		}
	}
	return false
}

// add moves the clock without firing anything.
func (f *fakeClock) add(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

// fire waits for a timer of exactly d, moves the clock by d and fires it.
func (f *fakeClock) fire(t *testing.T, d time.Duration) {
	t.Helper()
	late := time.After(patience)
	for {
		f.mu.Lock()
		var have []time.Duration
		for _, timer := range f.timers {
			if timer.d == d {
				f.remove(timer)
				f.now = f.now.Add(d)
				timer.fire <- f.now
				f.mu.Unlock()
				return
			}
			have = append(have, timer.d)
		}
		armed := f.armed
		f.mu.Unlock()
		select {
		case <-armed:
		case <-late:
			t.Fatalf("no timer of %v was set; there are %v", d, have)
		}
	}
}

// manual is a client whose times are the test's: the clock, and the longest back-off always.
func manual() (*fakeClock, []client.Option) {
	clock := newClock()
	return clock, []client.Option{
		client.WithClock(clock),
		client.WithJitter(func(max time.Duration) time.Duration { return max }),
		client.WithBackoff(100*time.Millisecond, time.Second),
	}
}

// eventually waits for a condition that no channel tells of.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// within returns what ch gives.
func within[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited too long for %s", what)
		panic("unreachable")
	}
}

// start runs fn in a goroutine and returns where its result comes.
func start[T any](fn func() T) <-chan T {
	ch := make(chan T, 1)
	go func() { ch <- fn() }()
	return ch
}

func wantCode(t *testing.T, err error, code client.Code) {
	t.Helper()
	if client.CodeOf(err) != code {
		t.Fatalf("got %v, want code %s", err, code)
	}
	var e *client.Error
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("%v (%T) has no *client.Error in its chain", err, err)
	}
}

// logs collects what the client logs.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func withLogs() (*logs, client.Option) {
	l := new(logs)
	return l, client.WithLogger(slog.New(slog.NewTextHandler(l, nil)))
}
