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
