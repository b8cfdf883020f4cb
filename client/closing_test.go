package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"gameserverd/client"
	"gameserverd/wire"
)

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
