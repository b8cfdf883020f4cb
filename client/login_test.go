package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gameserverd/client"
	"gameserverd/wire"
)

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
	log, withLog := withLogs()
	c, p := s.dial(append(opts, withLog)...)
	n := 0
	token := func(context.Context) (string, error) {
		switch n++; n {
		case 2:
			return "", errors.New("the token server is down")
		case 3:
			panic("a bug in the token function")
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
	clock.fire(t, 400*time.Millisecond)
	if got := s.accept().login(0); got != "token 4" {
		t.Errorf("got %s", got)
	}
	if !strings.Contains(log.String(), "a bug in the token function") {
		t.Errorf("log: %s", log)
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
