package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"gameserverd/client"
)

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
