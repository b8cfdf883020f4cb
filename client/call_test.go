package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/client"
	"gameserverd/wire"
)

var ctx = context.Background()

func TestCall(t *testing.T) {
	c, p := listen(t).dial()
	var sum int64
	done := start(func() error { return c.Call(ctx, "sum", &sum, 1, -2) })
	m := p.expect("sum")
	var x, y int64
	params(t, m, &x, &y)
	if m.Kind != wire.Request || m.Meta != nil || x != 1 || y != -2 {
		t.Errorf("got %v %v with meta %v", m.Kind, m.Params, m.Meta)
	}
	p.result(m.ID, -1)
	if err := within(t, "the call", done); err != nil || sum != -1 {
		t.Errorf("got %d, %v", sum, err)
	}
	if s := c.Stats(); s.Pending != 0 || s.Connects != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestResultsOfEveryType(t *testing.T) {
	type player struct {
		UID  uint64 `msgpack:"uid"`
		Name string `msgpack:"name"`
	}
	c, p := listen(t).dial()
	go p.serveAll()
	check := func(got any, send, want any) {
		t.Helper()
		if err := c.Call(ctx, "echo", got, send); err != nil {
			t.Errorf("%T: %v", got, err)
		} else if v := reflect.ValueOf(got).Elem().Interface(); !reflect.DeepEqual(v, want) {
			t.Errorf("%T: got %v, want %v", got, v, want)
		}
	}
	check(new(int), -5, -5)
	check(new(int8), -5, int8(-5))
	check(new(int16), -500, int16(-500))
	check(new(int32), -5, int32(-5))
	check(new(int64), -5, int64(-5))
	check(new(uint), 5, uint(5))
	check(new(uint8), 255, uint8(255))
	check(new(uint16), 5, uint16(5))
	check(new(uint32), 5, uint32(5))
	check(new(uint64), uint64(1<<63), uint64(1<<63))
	check(new(float64), 1.5, 1.5)
	check(new(bool), true, true)
	check(new(string), "héllo", "héllo")
	check(new([]byte), []byte{1, 2}, []byte{1, 2})
	check(new(client.Raw), 5, client.Raw{5})
	check(new(any), []any{"a", 1}, []any{"a", int64(1)})
	check(new([]string), []string{"a", "b"}, []string{"a", "b"})
	check(new(player), player{7, "ann"}, player{7, "ann"})
	check(new(*player), nil, (*player)(nil))
	if err := c.Call(ctx, "echo", nil, "ignored"); err != nil {
		t.Error(err)
	}

	var small struct {
		N uint8 `msgpack:"n"`
	}
	wantCode(t, c.Call(ctx, "echo", &small, map[string]any{"n": 300}), client.Internal)

	for _, into := range []any{new(int8), new(uint8), new(int32), new(uint32), new(string), new(bool), new(uint64), new(player)} {
		err := c.Call(ctx, "echo", into, -5_000_000_000)
		wantCode(t, err, client.Internal)
		if !strings.HasPrefix(err.Error(), "internal: echo: the result cannot be decoded: ") {
			t.Errorf("%T: %v", into, err)
		}
		if !reflect.ValueOf(into).Elem().IsZero() {
			t.Errorf("%T was changed by a result of the wrong type", into)
		}
	}
}

func TestErrorFromTheServer(t *testing.T) {
	c, p := listen(t).dial()
	done := start(func() error { return c.Call(ctx, "save.put", nil, "k", 1, 2) })
	m := p.expect("save.put")
	p.fail(m.ID, &wire.Error{Code: client.Aborted, Message: "stale", Data: map[string]any{"version": 9}, RetryAfter: 3 * time.Second})
	err := within(t, "the call", done)
	wantCode(t, err, client.Aborted)
	var e *client.Error
	errors.As(err, &e)
	var data struct {
		Version int `msgpack:"version"`
	}
	if err := wire.Unmarshal(e.Data.(client.Raw), &data); err != nil || data.Version != 9 || e.RetryAfter != 3*time.Second || e.Message != "stale" {
		t.Errorf("got %+v, data %+v, %v", e, data, err)
	}
}

func TestDeadlineIsSent(t *testing.T) {
	c, p := listen(t).dial()
	timed, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	done := start(func() error { return c.Call(timed, "sum", nil) })
	m := p.expect("sum")
	if meta := wire.ParseMeta(m.Meta); !meta.HasTimeout || meta.TimeoutMS > 3_600_000 || meta.TimeoutMS < 3_500_000 {
		t.Errorf("meta is %+v, want an hour", meta)
	}
	p.result(m.ID, nil)
	if err := within(t, "the call", done); err != nil {
		t.Error(err)
	}
}

func TestCancelLeavesNothing(t *testing.T) {
	c, p := listen(t).dial()
	stopping, cancel := context.WithCancel(ctx)
	done := start(func() error { return c.Call(stopping, "slow", new(int)) })
	m := p.expect("slow")
	cancel()
	err := within(t, "the call", done)
	wantCode(t, err, client.Canceled)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not context.Canceled", err)
	}
	if s := c.Stats(); s.Pending != 0 {
		t.Errorf("stats %+v", s)
	}
	p.result(m.ID, 5)
	go p.serveAll()
	var n int
	if err := c.Call(ctx, "echo", &n, 8); err != nil || n != 8 {
		t.Errorf("the next call got %d, %v", n, err)
	}
	if s := c.Stats(); s.Late != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestDeadlineEndsCall(t *testing.T) {
	c, p := listen(t).dial()
	timed, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	done := start(func() error { return c.Call(timed, "slow", nil) })
	err := within(t, "the call", done)
	wantCode(t, err, client.DeadlineExceeded)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not context.DeadlineExceeded", err)
	}
	err = c.Call(timed, "again", nil)
	wantCode(t, err, client.DeadlineExceeded)
	go p.serveAll()
	if err := c.Call(ctx, "echo", nil); err != nil {
		t.Error(err)
	}
}

func TestGo(t *testing.T) {
	c, p := listen(t).dial()
	var a, b int
	first, second := c.Go(ctx, "a", &a), c.Go(ctx, "b", &b)
	if first.Method() != "a" || first.Err() != nil {
		t.Errorf("%s: %v", first.Method(), first.Err())
	}
	ma, mb := p.expect("a"), p.expect("b")
	p.result(mb.ID, 2)
	within(t, "b", second.Done())
	select {
	case <-first.Done():
		t.Error("a ended with b's response")
	default:
	}
	p.fail(ma.ID, wire.Errorf(client.NotFound, "no a"))
	wantCode(t, first.Wait(), client.NotFound)
	wantCode(t, first.Err(), client.NotFound)
	if b != 2 || second.Err() != nil || second.Wait() != nil {
		t.Errorf("b is %d, %v", b, second.Err())
	}
}

func TestGoCancel(t *testing.T) {
	c, p := listen(t).dial()
	stopping, cancel := context.WithCancel(ctx)
	pending := c.Go(stopping, "slow", nil)
	p.expect("slow")
	cancel()
	within(t, "the cancelled call", pending.Done())
	wantCode(t, pending.Err(), client.Canceled)
	if s := c.Stats(); s.Pending != 0 {
		t.Errorf("stats %+v", s)
	}
	wantCode(t, c.Go(stopping, "never", nil).Wait(), client.Canceled)
	wantCode(t, c.Go(ctx, "", nil).Wait(), client.InvalidArgument)
}

// Many goroutines cancel, others do not: every call must get its own response or its own cancellation.
func TestCancelRace(t *testing.T) {
	c, p := listen(t).dial()
	go p.serveAll()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				callCtx, cancel := context.WithCancel(ctx)
				if i%2 == 0 {
					go cancel()
				}
				want, got := g*1000+i, -1
				var err error
				if i%3 == 0 {
					err = c.Go(callCtx, "echo", &got, want).Wait()
				} else {
					err = c.Call(callCtx, "echo", &got, want)
				}
				cancel()
				if err == nil && got != want || err != nil && (i%2 != 0 || client.CodeOf(err) != client.Canceled) {
					t.Errorf("call %d: got %d, %v", want, got, err)
				}
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Pending != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestNotify(t *testing.T) {
	c, p := listen(t).dial()
	timed, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	if err := c.Notify(timed, "pos", 1, 2.5); err != nil {
		t.Fatal(err)
	}
	m := p.expect("pos")
	var x int
	var y float64
	params(t, m, &x, &y)
	if m.Kind != wire.Notification || m.Meta != nil || x != 1 || y != 2.5 {
		t.Errorf("got %v, %d, %v", m, x, y)
	}
	if s := c.Stats(); s.Pending != 0 {
		t.Errorf("stats %+v", s)
	}
	cancel()
	wantCode(t, c.Notify(timed, "pos"), client.Canceled)
}

// gate is a connection whose writes wait until they are let through, and are counted.
type gate struct {
	net.Conn
	open   chan struct{}
	writes *atomic.Int64
}

func (g *gate) Write(b []byte) (int, error) {
	g.writes.Add(1)
	<-g.open
	return g.Conn.Write(b)
}

func gated() (chan struct{}, *atomic.Int64, client.Option) {
	open, writes := make(chan struct{}), new(atomic.Int64)
	return open, writes, client.WithDialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, address)
		return &gate{nc, open, writes}, err
	})
}

func TestWritesAreCoalesced(t *testing.T) {
	open, writes, dialer := gated()
	c, p := listen(t).dial(dialer)
	go p.serveAll()
	const n = 500
	first := c.Go(ctx, "echo", nil)
	eventually(t, "the first call is being written", func() bool { return writes.Load() == 1 })
	var got [n]int
	var all []*client.Pending
	for i := range n {
		all = append(all, c.Go(ctx, "echo", &got[i], i))
	}
	close(open)
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
	for i, pending := range all {
		if err := pending.Wait(); err != nil || got[i] != i {
			t.Fatalf("call %d got %d, %v", i, got[i], err)
		}
	}
	if w := writes.Load(); w > 3 {
		t.Errorf("%d calls needed %d writes", n+1, w)
	}
}

func TestManyGoroutines(t *testing.T) {
	c, p := listen(t).dial()
	go p.serveAll()
	var wg sync.WaitGroup
	for g := range 50 {
		wg.Go(func() {
			for i := range 40 {
				want := fmt.Sprint(g, "/", i)
				var got string
				if err := c.Call(ctx, "echo", &got, want); err != nil || got != want {
					t.Errorf("%s: got %q, %v", want, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestMaxPending(t *testing.T) {
	c, p := listen(t).dial(client.WithMaxPending(2))
	a, b := c.Go(ctx, "a", nil), c.Go(ctx, "b", nil)
	ma, mb := p.expect("a"), p.expect("b")
	err := c.Go(ctx, "c", nil).Wait()
	wantCode(t, err, client.ResourceExhausted)
	var e *client.Error
	if errors.As(err, &e); e.RetryAfter == 0 {
		t.Error("no retry_after")
	}
	stopping, cancel := context.WithCancel(ctx)
	waits, stops := start(func() error { return c.Call(ctx, "d", nil) }), start(func() error { return c.Notify(stopping, "e") })
	cancel()
	wantCode(t, within(t, "the notification", stops), client.Canceled)
	p.result(ma.ID, nil)
	p.result(mb.ID, nil)
	p.result(p.expect("d").ID, nil)
	for _, err := range []error{a.Wait(), b.Wait(), within(t, "d", waits)} {
		if err != nil {
			t.Error(err)
		}
	}
}

// What the server would end the connection for is refused here, and costs only its own call.
func TestRefusedBeforeSending(t *testing.T) {
	c, p := listen(t).dial(client.WithMaxFrame(1000))
	go p.serveAll()
	deep := client.Raw(strings.Repeat("\x91", wire.MaxDepth-1) + "\xc0")
	for name, err := range map[string]error{
		"too long":       c.Call(ctx, "echo", nil, strings.Repeat("x", 1000)),
		"bad raw":        c.Call(ctx, "echo", nil, client.Raw{0xc1}),
		"two raws":       c.Call(ctx, "echo", nil, client.Raw{1, 2}),
		"nested bad raw": c.Call(ctx, "echo", nil, []any{client.Raw{0x92, 1}}),
		"too deep":       c.Call(ctx, "echo", nil, deep),
		"channel":        c.Notify(ctx, "echo", make(chan int)),
		"no method":      c.Call(ctx, "", nil),
		"long method":    c.Call(ctx, strings.Repeat("m", 256), nil),
	} {
		if client.CodeOf(err) != client.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	var got string
	want := strings.Repeat("x", 900)
	if err := c.Call(ctx, "echo", &got, want); err != nil || got != want {
		t.Errorf("a good call: %v", err)
	}
	var raw client.Raw
	if err := c.Call(ctx, "echo", &raw, client.Raw{0x92, 1, 2}); err != nil || string(raw) != "\x92\x01\x02" {
		t.Errorf("a good raw: %v, %v", raw, err)
	}
	if s := c.Stats(); s.Connects != 1 || s.Pending != 0 {
		t.Errorf("stats %+v", s)
	}
}

// A response to a call that was not sent yet must not end it: only a hostile server guesses ids.
func TestResponseBeforeRequest(t *testing.T) {
	open, writes, dialer := gated()
	c, p := listen(t).dial(dialer)
	first := c.Go(ctx, "a", nil)
	eventually(t, "the first call is being written", func() bool { return writes.Load() == 1 })
	var n int
	second := c.Go(ctx, "b", &n)
	for id := range uint32(10) {
		p.result(id+2, 666)
	}
	eventually(t, "the responses are counted", func() bool { return c.Stats().Late == 10 })
	close(open)
	p.result(p.expect("a").ID, nil)
	p.result(p.expect("b").ID, 5)
	if err := errors.Join(first.Wait(), second.Wait()); err != nil || n != 5 {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := client.Dial(ctx, "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go (&server{t, l}).accept().serveAll()
	var n int
	if err := c.Call(ctx, "echo", &n, 5); err != nil || n != 5 {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestDialFails(t *testing.T) {
	s := listen(t)
	addr := s.addr()
	s.l.Close()
	_, err := client.Dial(ctx, addr)
	wantCode(t, err, client.Unavailable)
	var op *net.OpError
	if !errors.As(err, &op) || !strings.Contains(err.Error(), addr) {
		t.Errorf("the cause or the address is missing: %v", err)
	}
}
