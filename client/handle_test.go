package client_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"gameserverd/client"
	"gameserverd/wire"
)

type said struct {
	Room string
	UID  uint64
	Text *string // optional
}

func TestNotificationsInOrder(t *testing.T) {
	c, p := listen(t).dial()
	got := make(chan int, 1000)
	client.On(c, "n", func(_ context.Context, i int) { got <- i })
	for i := range 1000 {
		p.notify("n", i)
	}
	for i := range 1000 {
		if v := within(t, "a notification", got); v != i {
			t.Fatalf("got %d, want %d", v, i)
		}
	}
}

func TestTypedParams(t *testing.T) {
	log, withLog := withLogs()
	c, p := listen(t).dial(withLog)
	got := make(chan said, 1)
	client.On(c, "room.said", func(_ context.Context, s said) { got <- s })
	client.HandleFunc(c, "none", func(context.Context, struct{}) (string, error) { return "ok", nil })

	p.notify("room.said", "lobby", 7, "hi", "from a newer server")
	if s := within(t, "it", got); s.Room != "lobby" || s.UID != 7 || *s.Text != "hi" {
		t.Errorf("got %+v", s)
	}
	p.notify("room.said", "lobby", 7)
	if s := within(t, "it", got); s.Text != nil {
		t.Errorf("got %+v", s)
	}
	p.notify("room.said", "lobby") // logged
	p.notify("room.said", "lobby", 8, nil)
	if s := within(t, "it", got); s.UID != 8 || s.Text != nil {
		t.Errorf("got %+v", s)
	}
	if !strings.Contains(log.String(), "param 2 is missing") {
		t.Errorf("log: %s", log)
	}

	p.request(1, "none", 1, 2)
	if r := p.response(1); string(r.Result) != "\xa2ok" {
		t.Errorf("got %v, %v", r.Result, wire.ParseError(r.Err))
	}
	for want, params := range map[string][]any{
		"room.said: param 2 must be integer (uint64), got string": {"lobby", "x"},
		"room.said: param 2 is missing, there are 1":              {"lobby"},
		"room.said: param 1 must be string, got nil":              {nil, 1},
	} {
		p.request(2, "room.said", params...)
		if e := wire.ParseError(p.response(2).Err); e == nil || e.Code != client.InvalidArgument || e.Message != want {
			t.Errorf("got %v, want %s", e, want)
		}
	}
}

func TestHandlerOfAllOthers(t *testing.T) {
	c, p := listen(t).dial()
	c.Handle("known", func(*client.Request) (any, error) { return "its own", nil })
	c.Handle("", func(r *client.Request) (any, error) { return r.Method(), nil })
	for id, step := range []struct{ method, want string }{{"known", "\xa7its own"}, {"other", "\xa5other"}, {"", "\xa0"}} {
		p.request(uint32(id), step.method)
		if r := p.response(uint32(id)); string(r.Result) != step.want {
			t.Errorf("%q answers %q, %v", step.method, r.Result, wire.ParseError(r.Err))
		}
	}
	c.Handle("", nil)
	p.request(9, "other")
	if e := wire.ParseError(p.response(9).Err); e == nil || e.Code != client.Unimplemented {
		t.Errorf("without it: %v", e)
	}
}

func TestServerCalls(t *testing.T) {
	log, withLog := withLogs()
	c, p := listen(t).dial(withLog, client.WithMaxFrame(10_000))
	client.HandleFunc(c, "duel.offer", func(_ context.Context, from uint64) (bool, error) { return from == 9, nil })
	client.On(c, "on", func(context.Context, int) {})
	c.Handle("raw", func(r *client.Request) (any, error) {
		var a, b int
		err := r.Decode(&a, &b)
		if r.Notification() || r.Client() != c || r.Method() != "raw" || len(r.Params()) != 3 {
			err = errors.New("wrong request")
		}
		return map[string]any{"sum": a + b}, err
	})
	c.Handle("typed", func(*client.Request) (any, error) {
		return nil, fmt.Errorf("wrapped: %w", &client.Error{Code: client.NotFound, Message: "no", Data: 5})
	})
	c.Handle("secret", func(*client.Request) (any, error) { return nil, errors.New("/home/me/secret") })
	c.Handle("panic", func(*client.Request) (any, error) { panic("oops") })
	c.Handle("goexit", func(*client.Request) (any, error) { runtime.Goexit(); return nil, nil })
	c.Handle("channel", func(*client.Request) (any, error) { return make(chan int), nil })
	c.Handle("bad raw", func(*client.Request) (any, error) { return client.Raw{0xc1}, nil })
	c.Handle("long", func(*client.Request) (any, error) { return strings.Repeat("x", 10_000), nil })
	c.Handle("long error", func(*client.Request) (any, error) {
		return nil, client.Errorf(client.NotFound, "%s", strings.Repeat("x", 10_000))
	})
	c.Handle("bad data", func(*client.Request) (any, error) {
		return nil, &client.Error{Code: client.NotFound, Data: client.Raw{0xc1}}
	})
	c.Handle("gone", func(*client.Request) (any, error) { return 1, nil })
	c.Handle("gone", nil)

	for i, test := range []struct {
		method string
		params []any
		result string
		err    string
	}{
		{"duel.offer", []any{9}, "\xc3", ""},
		{"on", []any{9}, "\xc0", ""},
		{"raw", []any{1, 2}, "\x81\xa3sum\x03", ""},
		{"typed", nil, "", "not_found: no"},
		{"secret", nil, "", "internal: secret: the client's handler failed"},
		{"panic", nil, "", "internal: panic: the handler did not return"},
		{"goexit", nil, "", "internal: goexit: the handler did not return"},
		{"channel", nil, "", "internal: channel: the client's handler failed"},
		{"bad raw", nil, "", "internal: bad raw: the client's handler failed"},
		{"long", nil, "", "internal: long: the client's handler failed"},
		{"long error", nil, "", "internal: long error: the client's error cannot be sent"},
		{"bad data", nil, "", "internal: bad data: the client's error cannot be sent"},
		{"gone", nil, "", `unimplemented: this client has no method "gone"`},
		{"", nil, "", `unimplemented: this client has no method ""`},
	} {
		id := uint32(1000 + i)
		p.request(id, test.method, test.params...)
		r := p.response(id)
		got := ""
		if e := wire.ParseError(r.Err); e != nil {
			got = e.Error()
		}
		if got != test.err || test.err == "" && string(r.Result) != test.result {
			t.Errorf("%s: got %v, %q", test.method, r.Result, got)
		}
	}
	for _, want := range []string{"panic=oops", "handle_test.go", "/home/me/secret"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, log)
		}
	}
	p.notify("gone")
	go p.serveAll()
	if err := c.Call(ctx, "echo", nil); err != nil || c.Stats().Unknown != 3 {
		t.Errorf("%v, stats %+v", err, c.Stats())
	}
}

func TestNotificationHandlerPanics(t *testing.T) {
	log, withLog := withLogs()
	c, p := listen(t).dial(withLog)
	got := make(chan int, 3)
	client.On(c, "n", func(_ context.Context, i int) {
		switch i {
		case 1:
			panic("oops")
		case 2:
			runtime.Goexit()
		}
		got <- i
	})
	for i := range 4 {
		p.notify("n", i)
	}
	if a, b := within(t, "0", got), within(t, "3", got); a != 0 || b != 3 {
		t.Errorf("got %d, %d", a, b)
	}
	if !strings.Contains(log.String(), "panic=oops") {
		t.Errorf("log: %s", log)
	}
}

// A notification's handler calls the server, which calls the client back before it answers.
func TestHandlersMayCall(t *testing.T) {
	c, p := listen(t).dial()
	result := make(chan string, 1)
	client.On(c, "n", func(ctx context.Context, _ struct{}) {
		var s string
		if err := c.Call(ctx, "outer", &s); err != nil {
			t.Error(err)
		}
		result <- s
	})
	client.HandleFunc(c, "back", func(ctx context.Context, _ struct{}) (string, error) {
		var s string
		err := c.Call(ctx, "inner", &s)
		return s, err
	})
	p.notify("n")
	p.notify("n")
	outer := p.expect("outer")
	p.request(1, "back")
	p.result(p.expect("inner").ID, "deep")
	if r := p.response(1); string(r.Result) != "\xa4deep" {
		t.Errorf("got %v", r)
	}
	p.result(outer.ID, "done")
	if s := within(t, "the handler", result); s != "done" {
		t.Errorf("got %q", s)
	}
	p.result(p.expect("outer").ID, "again")
	within(t, "the second", result)
}

func TestNotificationBeforeItsHandlersReply(t *testing.T) {
	c, p := listen(t).dial()
	c.Handle("m", func(r *client.Request) (any, error) { return 1, c.Notify(r.Context(), "progress") })
	p.request(1, "m")
	p.expect("progress")
	p.response(1)
}

func TestMaxServing(t *testing.T) {
	c, p := listen(t).dial(client.WithMaxServing(1))
	begun, release := make(chan struct{}), make(chan struct{})
	c.Handle("slow", func(*client.Request) (any, error) { begun <- struct{}{}; <-release; return 1, nil })
	p.request(1, "slow")
	within(t, "the handler", begun)
	p.request(2, "slow")
	if e := wire.ParseError(p.response(2).Err); e == nil || e.Code != client.ResourceExhausted || e.RetryAfter == 0 {
		t.Errorf("got %v", e)
	}
	close(release)
	if r := p.response(1); r.Err != nil {
		t.Errorf("got %v", r)
	}
}

func TestHandlerContext(t *testing.T) {
	s := listen(t)
	_, opts := manual()
	c, p := s.dial(opts...)
	ended := make(chan error, 1)
	c.Handle("wait", func(r *client.Request) (any, error) {
		<-r.Context().Done()
		ended <- r.Context().Err()
		return nil, r.Context().Err()
	})
	p.send(frame(func(b []byte) []byte {
		return wire.AppendMeta(wire.AppendArray(wire.AppendRequestMeta(b, 1, "wait"), 0), wire.Meta{HasTimeout: true, TimeoutMS: 1})
	}))
	if err := within(t, "the timeout", ended); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if e := wire.ParseError(p.response(1).Err); e == nil || e.Code != client.DeadlineExceeded {
		t.Errorf("got %v", e)
	}
	p.request(2, "wait")
	p.nc.Close()
	if err := within(t, "the end of the connection", ended); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// When the queue of notifications is full nothing is lost, and it goes on when there is room.
func TestFullQueueWaits(t *testing.T) {
	clock, opts := manual()
	lost, withLost := losses()
	c, p := listen(t).dial(append(opts, withLost, client.WithNotificationQueue(2), client.WithHeartbeat(4*time.Second))...)
	release, got := make(chan struct{}), make(chan int, 100)
	client.On(c, "n", func(_ context.Context, i int) { <-release; got <- i })
	for i := range 100 {
		p.notify("n", i)
	}
	eventually(t, "the reader waits", func() bool { return clock.has(5 * time.Second) })
	for range 5 { // the connection is not dead, we do not read
		clock.fire(t, 2*time.Second)
	}
	close(release)
	for i := range 100 {
		if v := within(t, "a notification", got); v != i {
			t.Fatalf("got %d, want %d", v, i)
		}
	}
	if s := c.Stats(); s.Connects != 1 {
		t.Errorf("stats %+v", s)
	}
	for range 4 { // now it is read, and nothing comes
		eventually(t, "the next look or the end", func() bool { return len(lost) > 0 || clock.has(2*time.Second) })
		if len(lost) == 0 {
			clock.fire(t, 2*time.Second)
		}
	}
	within(t, "the end of the connection", lost)
}

func (f *fakeClock) has(d time.Duration) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, timer := range f.timers {
		if timer.d == d {
			return true
		}
	}
	return false
}

// A handler that never lets the queue move ends the connection, not the client.
func TestFullQueueEndsConnection(t *testing.T) {
	clock, opts := manual()
	lost := make(chan error, 1)
	s := listen(t)
	c, p := s.dial(append(opts, client.WithNotificationQueue(1), client.WithOnDisconnect(func(_ *client.Client, err error) { lost <- err }))...)
	failed := make(chan error, 1)
	client.On(c, "n", func(ctx context.Context, i int) {
		if i == 0 {
			failed <- c.Call(ctx, "never", nil) // its response would be behind the notifications
		}
	})
	for i := range 5 {
		p.notify("n", i)
	}
	p.expect("never")
	clock.fire(t, 5*time.Second)
	err := within(t, "the call in the handler", failed)
	wantCode(t, err, client.Unavailable)
	if !errors.Is(err, client.ErrMayHaveRun) {
		t.Errorf("got %v", err)
	}
	wantCode(t, within(t, "OnDisconnect", lost), client.ResourceExhausted)
	clock.fire(t, 100*time.Millisecond)
	go s.accept().serveAll()
	if err := c.Call(ctx, "echo", nil); err != nil {
		t.Error(err)
	}
}

// A server that asks and asks but never reads the answers must not fill our memory.
func TestServerThatDoesNotRead(t *testing.T) {
	_, opts := manual()
	lost := make(chan error, 1)
	c, p := listen(t).dial(append(opts, client.WithOnDisconnect(func(_ *client.Client, err error) { lost <- err }))...)
	answer := client.Raw(string(wire.AppendString(nil, strings.Repeat("x", 1_000_000))))
	c.Handle("big", func(*client.Request) (any, error) { return answer, nil })
	sent := start(func() error {
		for id := range uint32(80) {
			if _, err := p.nc.Write(requestFrame(id, "big")); err != nil {
				return err
			}
		}
		return nil
	})
	wantCode(t, within(t, "OnDisconnect", lost), client.ResourceExhausted)
	within(t, "the peer", sent)
}
