package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/client"
	"gameserverd/wire"
)

// losses gives what OnDisconnect is told.
func losses() (<-chan error, client.Option) {
	ch := make(chan error, 10)
	return ch, client.WithOnDisconnect(func(_ *client.Client, err error) { ch <- err })
}

func TestReconnectAfterLoss(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(opts...)
	sent := c.Go(ctx, "sent", nil)
	p.expect("sent")
	p.nc.Close()
	err := sent.Wait()
	wantCode(t, err, client.Unavailable)
	if !errors.Is(err, client.ErrMayHaveRun) {
		t.Errorf("%v is not ErrMayHaveRun", err)
	}
	waits := start(func() error { return c.Call(ctx, "waits", nil) })
	notes := start(func() error { return c.Notify(ctx, "note") })
	eventually(t, "both wait", func() bool { return c.Stats().Pending == 2 })
	clock.fire(t, 100*time.Millisecond)
	p = s.accept()
	for range 2 {
		if m, err := p.read(); err != nil || m.Kind == wire.Request && string(m.Method) != "waits" {
			t.Fatalf("got %q, %v", m.Method, err)
		} else if m.Kind == wire.Request {
			p.result(m.ID, nil)
		}
	}
	if err := errors.Join(within(t, "the call", waits), within(t, "the notification", notes)); err != nil {
		t.Error(err)
	}
	if s := c.Stats(); s.Pending != 0 || s.Connects != 2 {
		t.Errorf("stats %+v", s)
	}
}

// Calls that were queued and not yet written when the connection ends are no different from later ones.
func TestUnsentCallsMoveOn(t *testing.T) {
	s := listen(t)
	open, writes, dialer := gated()
	clock, opts := manual()
	c, p := s.dial(append(opts, dialer)...)
	written := c.Go(ctx, "written", nil)
	eventually(t, "the first call is being written", func() bool { return writes.Load() == 1 })
	queued := c.Go(ctx, "queued", nil)
	if err := c.Notify(ctx, "note"); err != nil {
		t.Fatal(err)
	}
	timed, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	last := c.Go(timed, "timed", nil)
	p.nc.Close()
	if err := written.Wait(); !errors.Is(err, client.ErrMayHaveRun) {
		t.Errorf("got %v", err)
	}
	close(open)
	clock.fire(t, 100*time.Millisecond)
	p = s.accept()
	p.result(p.expect("queued").ID, nil)
	p.expect("note")
	m := p.expect("timed")
	if meta := wire.ParseMeta(m.Meta); !meta.HasTimeout || meta.TimeoutMS > 3_600_000 || meta.TimeoutMS < 3_500_000 {
		t.Errorf("meta %+v", meta)
	}
	p.result(m.ID, nil)
	if err := errors.Join(queued.Wait(), last.Wait()); err != nil {
		t.Error(err)
	}
}

// The time that a call has waited for a connection is no longer the server's to use.
func TestDeadlineAfterWaiting(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	lost, withLost := losses()
	c, p := s.dial(append(opts, withLost)...)
	p.nc.Close()
	within(t, "the loss", lost)
	timed, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	x := c.Go(timed, "x", nil)
	began := time.Now()
	eventually(t, "20 ms have passed", func() bool { return time.Since(began) >= 20*time.Millisecond })
	clock.fire(t, 100*time.Millisecond)
	m := s.accept().expect("x")
	if meta := wire.ParseMeta(m.Meta); meta.TimeoutMS > 3_600_000-20 || meta.TimeoutMS < 3_500_000 {
		t.Errorf("meta %+v", meta)
	}
	c.Close()
	wantCode(t, x.Wait(), client.Canceled)
}

// What was only for the lost connection does not stay in the queue, where it would count as waiting.
func TestRepliesEndWithTheirConnection(t *testing.T) {
	s := listen(t)
	open, writes, dialer := gated()
	clock, opts := manual()
	lost, withLost := losses()
	c, p := s.dial(append(opts, dialer, withLost, client.WithMaxWaiting(1))...)
	p.request(1, "none")
	eventually(t, "the first reply is being written", func() bool { return writes.Load() == 1 })
	p.request(2, "none")
	p.request(3, "none")
	eventually(t, "the others are queued", func() bool { return c.Stats().Unknown == 3 })
	p.nc.Close()
	close(open)
	within(t, "the loss", lost)
	x := c.Go(ctx, "x", nil)
	clock.fire(t, 100*time.Millisecond)
	p = s.accept()
	p.result(p.expect("x").ID, nil)
	if err := x.Wait(); err != nil {
		t.Error(err)
	}
}

// Who waits for room when the connection is lost hears of it, if the calls that stay are too many to wait.
func TestWaitingForRoomWhenLost(t *testing.T) {
	open, writes, dialer := gated()
	defer close(open)
	_, opts := manual()
	c, p := listen(t).dial(append(opts, dialer, client.WithMaxPending(8), client.WithMaxWaiting(1))...)
	c.Go(ctx, "x", nil)
	eventually(t, "the first call is being written", func() bool { return writes.Load() == 1 })
	for range 7 {
		c.Go(ctx, "x", nil)
	}
	stopping, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	waits := start(func() error { return c.Call(stopping, "y", nil) })
	p.nc.Close()
	wantCode(t, within(t, "the call", waits), client.Unavailable)
}

// The answer to a server's call belongs to the connection that asked, and to no other.
func TestAnswerStaysOnItsConnection(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(opts...)
	begun, release, answered := make(chan struct{}), make(chan struct{}), make(chan struct{})
	c.Handle("m", func(r *client.Request) (any, error) {
		begun <- struct{}{}
		<-release
		defer close(answered)
		return 1, nil
	})
	p.request(1, "m")
	within(t, "the handler", begun)
	p.nc.Close()
	clock.fire(t, 100*time.Millisecond)
	p = s.accept()
	close(release)
	within(t, "the handler's end", answered)
	c.Notify(ctx, "next")
	p.expect("next")
}

func TestCancelWhileReconnecting(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	lost, withLost := losses()
	c, p := s.dial(append(opts, withLost, client.WithMaxWaiting(2))...)
	p.nc.Close()
	within(t, "the loss", lost)
	stopping, cancel := context.WithCancel(ctx)
	a := c.Go(stopping, "a", nil)
	b := start(func() error { return c.Notify(stopping, "b") })
	eventually(t, "both wait", func() bool { return c.Stats().Pending == 2 })
	wantCode(t, c.Call(ctx, "c", nil), client.Unavailable)
	wantCode(t, c.Notify(ctx, "d"), client.Unavailable)
	cancel()
	wantCode(t, a.Wait(), client.Canceled)
	wantCode(t, within(t, "the notification", b), client.Canceled)
	if s := c.Stats(); s.Pending != 0 {
		t.Errorf("stats %+v", s)
	}
	e := c.Go(ctx, "e", nil)
	clock.fire(t, 100*time.Millisecond)
	p = s.accept()
	p.result(p.expect("e").ID, nil)
	if err := e.Wait(); err != nil {
		t.Error(err)
	}
}

func TestBackoff(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	var fails atomic.Int64
	tries := make(chan error, 1)
	dialer := client.WithDialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		if fails.Add(-1) >= 0 {
			tries <- nil
			return nil, errors.New("down")
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	})
	c, p := s.dial(append(opts, dialer)...)
	fails.Store(6)
	p.nc.Close()
	for _, d := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		clock.fire(t, d*time.Millisecond)
		within(t, "an attempt", tries)
	}
	clock.fire(t, 1000*time.Millisecond)
	s.accept().nc.Close() // let in and thrown out: no reason to start over
	clock.fire(t, 1000*time.Millisecond)
	p = s.accept()
	done := start(func() error { return c.Call(ctx, "x", nil) })
	p.result(p.expect("x").ID, nil)
	if err := within(t, "the call", done); err != nil {
		t.Error(err)
	}
	clock.add(time.Second) // a connection that lasted
	p.nc.Close()
	clock.fire(t, 100*time.Millisecond)
	s.accept()
}

func TestFullJitter(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	asked := make(chan time.Duration, 1)
	_, p := s.dial(append(opts, client.WithJitter(func(max time.Duration) time.Duration { asked <- max; return 7 }))...)
	p.nc.Close()
	if max := within(t, "the jitter", asked); max != 100*time.Millisecond {
		t.Errorf("jitter of %v", max)
	}
	clock.fire(t, 7)
	s.accept()
}

func TestWithoutReconnect(t *testing.T) {
	lost, withLost := losses()
	c, p := listen(t).dial(client.WithoutReconnect(), withLost)
	pending := c.Go(ctx, "x", nil)
	p.expect("x")
	p.nc.Close()
	within(t, "the end", c.Done())
	if c.Err() == nil || c.Err() != within(t, "OnDisconnect", lost) {
		t.Errorf("Err is %v", c.Err())
	}
	if err := pending.Wait(); !errors.Is(err, client.ErrMayHaveRun) {
		t.Errorf("got %v", err)
	}
	wantCode(t, c.Call(ctx, "x", nil), client.Unavailable)
	wantCode(t, c.Notify(ctx, "x"), client.Unavailable)
	wantCode(t, c.Go(ctx, "x", nil).Wait(), client.Unavailable)
}

func TestLogin(t *testing.T) {
	c, p := listen(t).dial()
	done := start(func() client.LoginResult {
		r, err := c.Login(ctx, "dev:7")
		if err != nil {
			t.Error(err)
		}
		return r
	})
	if token := p.login(30 * time.Second); token != "dev:7" {
		t.Errorf("token %q", token)
	}
	if r := within(t, "the login", done); r.UID != 7 || r.ServerTime.UnixMilli() != 1700000000123 || r.Heartbeat != 30*time.Second {
		t.Errorf("got %+v", r)
	}
}

// login makes c log in with token, answered by p.
func login(t *testing.T, c *client.Client, p *peer, token string) {
	t.Helper()
	done := start(func() error { _, err := c.Login(ctx, token); return err })
	p.login(0)
	if err := within(t, "the login", done); err != nil {
		t.Fatal(err)
	}
}

func TestLoginIsRepeatedFirst(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	var events []string
	connected := make(chan []string, 2)
	opts = append(opts,
		client.WithOnConnect(func(_ *client.Client, again bool) {
			events = append(events, fmt.Sprint("connect ", again))
			connected <- events
		}),
		client.WithOnDisconnect(func(c *client.Client, err error) { events = append(events, fmt.Sprint("disconnect ", c.Err())) }))
	c, p := s.dial(opts...)
	within(t, "OnConnect", connected)
	client.On(c, "n", func(context.Context, struct{}) { events = append(events, "n") })
	login(t, c, p, "dev:7")
	p.notify("n")
	p.nc.Close()
	eventually(t, "it is lost", func() bool { return clock.has(100 * time.Millisecond) })
	waits := c.Go(ctx, "waits", nil)
	clock.fire(t, 100*time.Millisecond)
	p = s.accept()
	m := p.expect("auth.login")
	p.send(append(resultFrame(m.ID, map[string]any{"uid": 7}), notificationFrame("n")...))
	p.result(p.expect("waits").ID, nil)
	if err := waits.Wait(); err != nil {
		t.Error(err)
	}
	got := fmt.Sprint(within(t, "OnConnect", connected))
	if want := "[connect false n disconnect <nil> connect true]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	done := start(func() error { return c.Logout(ctx) })
	p.result(p.expect("auth.logout").ID, nil)
	if err := within(t, "the logout", done); err != nil {
		t.Error(err)
	}
	p.nc.Close()
	clock.fire(t, 200*time.Millisecond)
	p = s.accept()
	after := c.Go(ctx, "after", nil)
	p.result(p.expect("after").ID, nil)
	if err := after.Wait(); err != nil {
		t.Error(err)
	}
}

func TestLoginIsRememberedWithItsResponse(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(opts...)
	done := start(func() error { _, err := c.Login(ctx, "dev:7"); return err })
	p.login(0)
	p.nc.Close()
	if err := within(t, "the login", done); err != nil {
		t.Fatal(err)
	}
	clock.fire(t, 100*time.Millisecond)
	if token := s.accept().login(0); token != "dev:7" {
		t.Errorf("token %q", token)
	}
}

func TestTokenFunc(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(opts...)
	n := 0
	token := func(context.Context) (string, error) {
		n++
		if n == 2 {
			return "", errors.New("the token server is down")
		}
		return fmt.Sprint("token ", n), nil
	}
	done := start(func() error { _, err := c.LoginFunc(ctx, token); return err })
	if got := p.login(0); got != "token 1" {
		t.Errorf("got %s", got)
	}
	if err := within(t, "the login", done); err != nil {
		t.Fatal(err)
	}
	p.nc.Close()
	clock.fire(t, 100*time.Millisecond)
	clock.fire(t, 200*time.Millisecond)
	if got := s.accept().login(0); got != "token 3" {
		t.Errorf("got %s", got)
	}
	_, err := c.LoginFunc(ctx, func(context.Context) (string, error) { return "", errors.New("no token") })
	wantCode(t, err, client.Unavailable)
}

func TestLoginFails(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(opts...)
	done := start(func() error { _, err := c.Login(ctx, "bad"); return err })
	p.fail(p.expect("auth.login").ID, wire.Errorf(client.Unauthenticated, "bad token"))
	wantCode(t, within(t, "the login", done), client.Unauthenticated)
	if c.Err() != nil {
		t.Errorf("a failed Login ended the client: %v", c.Err())
	}
	p.nc.Close()
	clock.fire(t, 100*time.Millisecond)
	x := c.Go(ctx, "x", nil)
	p = s.accept()
	p.result(p.expect("x").ID, nil) // and not the login that failed
	if err := x.Wait(); err != nil {
		t.Error(err)
	}
}

func TestRepeatedLoginRefused(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(opts...)
	login(t, c, p, "dev:7")
	p.nc.Close()
	clock.fire(t, 100*time.Millisecond)
	waits := c.Go(ctx, "waits", nil)
	p = s.accept()
	p.fail(p.expect("auth.login").ID, &wire.Error{Code: client.Unavailable, Message: "starting", RetryAfter: 7 * time.Second})
	p.ended()
	clock.fire(t, 7*time.Second)
	p = s.accept()
	p.fail(p.expect("auth.login").ID, wire.Errorf(client.Unauthenticated, "expired"))
	within(t, "the end", c.Done())
	wantCode(t, c.Err(), client.Unauthenticated)
	err := waits.Wait()
	wantCode(t, err, client.Unavailable)
	if errors.Is(err, client.ErrMayHaveRun) {
		t.Errorf("%v, but it was never sent", err)
	}
}

// A server that accepts and then says nothing costs one attempt.
func TestRepeatedLoginUnanswered(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(append(opts, client.WithConnectTimeout(20*time.Millisecond))...)
	login(t, c, p, "dev:7")
	p.nc.Close()
	clock.fire(t, 100*time.Millisecond)
	s.accept().expect("auth.login")
	clock.fire(t, 200*time.Millisecond)
	s.accept().login(0)
}

func TestClosingWithoutReturn(t *testing.T) {
	lost, withLost := losses()
	c, p := listen(t).dial(withLost)
	x := c.Go(ctx, "x", nil)
	p.expect("x")
	p.closing(wire.Closing{Code: wire.Replaced, Message: "logged in elsewhere"})
	p.nc.Close()
	within(t, "the end", c.Done())
	var closing *client.ClosingError
	if !errors.As(c.Err(), &closing) || closing.Code != wire.Replaced || closing.Error() != "the server closed the connection: replaced: logged in elsewhere" {
		t.Errorf("Err is %v", c.Err())
	}
	if err := within(t, "OnDisconnect", lost); err != c.Err() {
		t.Errorf("OnDisconnect got %v", err)
	}
	for what, err := range map[string]error{"sent": x.Wait(), "new": c.Call(ctx, "y", nil)} {
		wantCode(t, err, client.Unavailable)
		if !errors.As(err, &closing) || errors.Is(err, client.ErrMayHaveRun) != (what == "sent") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestClosingDuringRepeatedLogin(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(opts...)
	login(t, c, p, "dev:7")
	p.nc.Close()
	clock.fire(t, 100*time.Millisecond)
	p = s.accept()
	p.expect("auth.login")
	p.closing(wire.Closing{Code: wire.TooManyConnections, Reconnect: true, RetryAfter: 5 * time.Second})
	p.nc.Close()
	clock.fire(t, 5*time.Second)
	p = s.accept()
	p.expect("auth.login")
	p.closing(wire.Closing{Code: wire.Kicked})
	p.nc.Close()
	within(t, "the end", c.Done())
	var closing *client.ClosingError
	if !errors.As(c.Err(), &closing) || closing.Code != wire.Kicked {
		t.Errorf("Err is %v", c.Err())
	}
}

// A connection that is closing is not opened for calls by the end of its login.
func TestClosingBeforeLoginEnds(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(opts...)
	login(t, c, p, "dev:7")
	p.nc.Close()
	clock.fire(t, 100*time.Millisecond)
	x := c.Go(ctx, "x", nil)
	p = s.accept()
	m := p.expect("auth.login")
	p.send(append(closingFrame(wire.Closing{Code: wire.ServerShutdown, Reconnect: true, RetryAfter: 3 * time.Second}), resultFrame(m.ID, map[string]any{})...))
	p.ended()
	clock.fire(t, 3*time.Second)
	p = s.accept()
	p.login(0)
	p.result(p.expect("x").ID, nil)
	if err := x.Wait(); err != nil {
		t.Error(err)
	}
	if s := c.Stats(); s.Connects != 2 {
		t.Errorf("stats %+v", s)
	}
}

func TestDrain(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(opts...)
	begun, release := make(chan struct{}), make(chan struct{})
	c.Handle("m", func(*client.Request) (any, error) { begun <- struct{}{}; <-release; return 1, nil })
	c.Handle("quick", func(*client.Request) (any, error) { return 2, nil })
	var n int
	old := c.Go(ctx, "old", &n)
	m := p.expect("old")
	p.request(9, "m")
	within(t, "the handler", begun)
	p.closing(wire.Closing{Code: wire.ServerShutdown, Reconnect: true, RetryAfter: 3 * time.Second})
	eventually(t, "the closing was read", func() bool { return clock.has(30 * time.Second) })
	late := c.Go(ctx, "late", nil)
	p.result(m.ID, 5)
	if err := old.Wait(); err != nil || n != 5 {
		t.Errorf("old: %d, %v", n, err)
	}
	p.request(10, "quick")
	p.response(10)
	close(release)
	p.response(9)
	p.ended() // by the client, without the new call
	clock.fire(t, 3*time.Second)
	p = s.accept()
	p.result(p.expect("late").ID, nil)
	if err := late.Wait(); err != nil {
		t.Error(err)
	}
}

// retry_after counts from when the server said it.
func TestDrainThatTakesLong(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(opts...)
	old := c.Go(ctx, "old", nil)
	m := p.expect("old")
	p.closing(wire.Closing{Code: wire.ServerShutdown, Reconnect: true, RetryAfter: 3 * time.Second})
	eventually(t, "the closing was read", func() bool { return clock.has(30 * time.Second) })
	clock.add(2 * time.Second)
	p.result(m.ID, 5)
	if err := old.Wait(); err != nil {
		t.Error(err)
	}
	p.ended()
	clock.fire(t, time.Second)
	s.accept()
}

func TestDrainIsBounded(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(opts...)
	never := c.Go(ctx, "never", nil)
	p.expect("never")
	p.closing(wire.Closing{Code: wire.ServerShutdown, Reconnect: true})
	clock.fire(t, 30*time.Second)
	err := never.Wait()
	var closing *client.ClosingError
	if !errors.Is(err, client.ErrMayHaveRun) || !errors.As(err, &closing) {
		t.Errorf("got %v", err)
	}
	p.ended()
	clock.fire(t, 100*time.Millisecond)
	s.accept()
}

func TestCancelEndsDrain(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(opts...)
	stopping, cancel := context.WithCancel(ctx)
	old := c.Go(stopping, "old", nil)
	p.expect("old")
	p.closing(wire.Closing{Code: wire.ServerShutdown, Reconnect: true})
	eventually(t, "the closing was read", func() bool { return clock.has(30 * time.Second) })
	cancel()
	wantCode(t, old.Wait(), client.Canceled)
	p.ended()
	clock.fire(t, 100*time.Millisecond)
	s.accept()
}

func TestHeartbeat(t *testing.T) {
	clock, opts := manual()
	c, p := listen(t).dial(opts...)
	clock.fire(t, 15*time.Second)
	answered := make(chan struct{}, 1)
	client.On(c, "n", func(context.Context, struct{}) { answered <- struct{}{} })
	p.fail(p.expect("sys.ping").ID, wire.Errorf(client.Unimplemented, "no such method"))
	done := start(func() error { _, err := c.Login(ctx, "dev:7"); return err })
	p.login(4 * time.Second)
	if err := within(t, "the login", done); err != nil {
		t.Fatal(err)
	}
	// Every second look finds nothing sent since the one before.
	for range 3 {
		clock.fire(t, 2*time.Second)
		eventually(t, "it looked", func() bool { return clock.has(2 * time.Second) })
		clock.fire(t, 2*time.Second)
		p.send(append(resultFrame(p.expect("sys.ping").ID, nil), notificationFrame("n")...))
		within(t, "the answer", answered)
		eventually(t, "it looked", func() bool { return clock.has(2 * time.Second) })
	}
	if s := c.Stats(); s.Connects != 1 || s.Late != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestDeadConnection(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(append(opts, client.WithHeartbeat(4*time.Second))...)
	x := c.Go(ctx, "x", nil)
	p.expect("x")
	clock.fire(t, 2*time.Second)
	p.expect("sys.ping")
	clock.fire(t, 2*time.Second)
	clock.fire(t, 2*time.Second)
	if err := x.Wait(); !errors.Is(err, client.ErrMayHaveRun) {
		t.Errorf("got %v", err)
	}
	p.ended()
	clock.fire(t, 100*time.Millisecond)
	s.accept()
}

// The server's heartbeat_ms is held within bounds: a hostile one must not make us send without end.
func TestHostileHeartbeat(t *testing.T) {
	clock, opts := manual()
	c, p := listen(t).dial(opts...)
	for _, test := range []struct {
		ms   uint64
		want time.Duration
	}{{1, time.Second}, {1 << 63, time.Hour}} {
		done := start(func() client.LoginResult { r, _ := c.Login(ctx, "t"); return r })
		m := p.expect("auth.login")
		p.result(m.ID, map[string]any{"heartbeat_ms": test.ms})
		if r := within(t, "the login", done); r.Heartbeat != test.want {
			t.Errorf("got %v, want %v", r.Heartbeat, test.want)
		}
		eventually(t, "the timer is set", func() bool { return clock.has(test.want / 2) })
	}
}

func TestClose(t *testing.T) {
	s := listen(t)
	lost, withLost := losses()
	log, withLog := withLogs()
	c, p := s.dial(withLost, withLog)
	handler := make(chan error, 1)
	begun := make(chan struct{})
	client.On(c, "n", func(ctx context.Context, _ struct{}) { close(begun); <-ctx.Done(); handler <- ctx.Err() })
	p.notify("n")
	within(t, "the handler", begun)
	p.notify("n") // dropped: begun would be closed twice
	behind := c.Go(ctx, "behind", nil)
	p.result(p.expect("behind").ID, nil)
	behind.Wait() // so the notification waits
	x := c.Go(ctx, "x", nil)
	p.expect("x")
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	within(t, "the end", c.Done())
	err := x.Wait()
	wantCode(t, err, client.Canceled)
	if !errors.Is(err, client.ErrClosed) || !errors.Is(err, client.ErrMayHaveRun) {
		t.Errorf("got %v", err)
	}
	err = c.Call(ctx, "y", nil)
	wantCode(t, err, client.Canceled)
	if !errors.Is(err, client.ErrClosed) || errors.Is(err, client.ErrMayHaveRun) || c.Err() != client.ErrClosed {
		t.Errorf("got %v, Err is %v", err, c.Err())
	}
	if err := within(t, "OnDisconnect", lost); err != client.ErrClosed {
		t.Errorf("OnDisconnect got %v", err)
	}
	within(t, "the handler's context", handler)
	if log.String() != "" {
		t.Errorf("log: %s", log)
	}
	p.ended()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseWritesNotifications(t *testing.T) {
	open, writes, dialer := gated()
	c, p := listen(t).dial(dialer)
	c.Notify(ctx, "first")
	eventually(t, "the first is being written", func() bool { return writes.Load() == 1 })
	for range 100 {
		c.Notify(ctx, "n")
	}
	call := c.Go(ctx, "call", nil)
	closed := start(c.Close)
	wantCode(t, call.Wait(), client.Canceled)
	close(open)
	within(t, "Close", closed)
	p.expect("first")
	for range 100 {
		p.expect("n")
	}
	p.ended()
}

// A server that does not read holds Close up for a second of the clock at most.
func TestCloseIsBounded(t *testing.T) {
	clock, opts := manual()
	open, writes, dialer := gated()
	defer close(open)
	c, p := listen(t).dial(append(opts, dialer)...)
	c.Notify(ctx, "first")
	eventually(t, "the first is being written", func() bool { return writes.Load() == 1 })
	c.Notify(ctx, "second")
	closed := start(c.Close)
	clock.fire(t, time.Second)
	within(t, "Close", closed)
	p.ended()
	if s := c.Stats(); s.Pending != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestCloseWhileReconnecting(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	c, p := s.dial(opts...)
	p.nc.Close()
	eventually(t, "it is lost", func() bool { return clock.has(100 * time.Millisecond) })
	call, note := c.Go(ctx, "x", nil), start(func() error { return c.Notify(ctx, "y") })
	eventually(t, "both wait", func() bool { return c.Stats().Pending == 2 })
	c.Close()
	for _, err := range []error{call.Wait(), within(t, "the notification", note)} {
		wantCode(t, err, client.Canceled)
		if errors.Is(err, client.ErrMayHaveRun) {
			t.Errorf("%v, but it was not sent", err)
		}
	}
}

// Close from inside everything that calls user code must not wait for itself.
func TestCloseFromCallbacks(t *testing.T) {
	t.Run("notification", func(t *testing.T) {
		c, p := listen(t).dial()
		client.On(c, "n", func(context.Context, struct{}) { c.Close() })
		p.notify("n")
		within(t, "the end", c.Done())
	})
	t.Run("call", func(t *testing.T) {
		c, p := listen(t).dial()
		client.HandleFunc(c, "m", func(context.Context, struct{}) (any, error) { return nil, c.Close() })
		p.request(1, "m")
		within(t, "the end", c.Done())
	})
	t.Run("OnConnect", func(t *testing.T) {
		c, _ := listen(t).dial(client.WithOnConnect(func(c *client.Client, _ bool) { c.Close() }))
		within(t, "the end", c.Done())
	})
	t.Run("OnDisconnect", func(t *testing.T) {
		c, p := listen(t).dial(client.WithOnDisconnect(func(c *client.Client, _ error) { c.Close() }))
		p.nc.Close()
		within(t, "the end", c.Done())
	})
	t.Run("token", func(t *testing.T) {
		s := listen(t)
		clock, opts := manual()
		c, p := s.dial(opts...)
		n := 0
		done := start(func() error {
			_, err := c.LoginFunc(ctx, func(context.Context) (string, error) {
				if n++; n > 1 {
					c.Close()
				}
				return "t", nil
			})
			return err
		})
		p.login(0)
		within(t, "the login", done)
		p.nc.Close()
		clock.fire(t, 100*time.Millisecond)
		within(t, "the end", c.Done())
	})
}

// Connections come and go while many goroutines call: every call ends, and what succeeds has its own result.
func TestChurn(t *testing.T) {
	s := listen(t)
	c, p := s.dial(client.WithBackoff(time.Millisecond, time.Millisecond))
	served := start(func() int {
		n := 0
		for ; ; n++ {
			for range 20 {
				m, err := p.read()
				if err != nil {
					return n
				}
				r := wire.NewReader(m.Params)
				r.Array()
				p.nc.Write(resultFrame(m.ID, r.Raw()))
			}
			p.nc.Close()
			nc, err := s.l.Accept()
			if err != nil {
				return n
			}
			p = &peer{t: t, nc: nc}
		}
	})
	results := make(chan error, 8)
	for g := range 8 {
		go func() {
			for i := range 100 {
				want, got := g*1000+i, -1
				switch err := c.Call(ctx, "echo", &got, want); {
				case err == nil && got != want:
					results <- fmt.Errorf("call %d got %d", want, got)
					return
				case err != nil && client.CodeOf(err) != client.Unavailable:
					results <- err
					return
				}
			}
			results <- nil
		}()
	}
	for range 8 {
		if err := within(t, "the callers", results); err != nil {
			t.Error(err)
		}
	}
	if s := c.Stats(); s.Pending != 0 {
		t.Errorf("stats %+v", s)
	}
	c.Close()
	s.l.Close()
	if n := within(t, "the peer", served); n == 0 {
		t.Error("no connection was lost")
	}
}
