package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"gameserverd/client"
	"gameserverd/wire"
)

// Bytes that no server sends end the connection, with a reason that says what was wrong, and not the client.
func TestBadBytes(t *testing.T) {
	raw := func(b string) []byte { return frame(func(f []byte) []byte { return append(f, b...) }) }
	for name, test := range map[string]struct {
		b    []byte
		want string
	}{
		"empty frame":      {[]byte{0, 0, 0, 0}, "frame of 0 bytes"},
		"long frame":       {[]byte{0, 0x10, 0, 1, 0x94}, "frame of 1048577 bytes"},
		"http":             {[]byte("HTTP/1.1 400 Bad Request\r\n"), "frame of "},
		"0xc1":             {raw("\xc1"), "bad message"},
		"no array":         {raw("\x05"), "bad message"},
		"short":            {raw("\x94\x01"), "bad message"},
		"trailing":         {raw("\x94\x01\x01\xc0\xc0\xc0"), "bad message"},
		"kind 3":           {raw("\x93\x03\x01\xc0"), "bad message"},
		"deep":             {raw("\x94\x01\x01\xc0" + strings.Repeat("\x91", 100) + "\xc0"), "bad message"},
		"claimed elements": {raw("\x94\x01\x01\xc0\xdd\x7f\xff\xff\xff"), "bad message"},
		"elements":         {resultFrame(1, make([]any, 2000)), "bad message"},
		"closing":          {notificationFrame("sys.closing", 5), "bad sys.closing"},
		"closing, none":    {notificationFrame("sys.closing"), "bad sys.closing"},
	} {
		t.Run(name, func(t *testing.T) {
			s := listen(t)
			clock, opts := manual()
			lost, withLost := losses()
			c, p := s.dial(append(opts, withLost, client.WithMaxElements(1000))...)
			x := c.Go(ctx, "x", nil)
			p.expect("x")
			p.send(test.b)
			if err := within(t, "OnDisconnect", lost); !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err := x.Wait(); !errors.Is(err, client.ErrMayHaveRun) {
				t.Errorf("the call got %v", err)
			}
			p.ended()
			clock.fire(t, 100*time.Millisecond)
			go s.accept().serveAll()
			if err := c.Call(ctx, "echo", nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// A closing with a time that no clock holds must not stop the client for ever.
func TestHostileRetryAfter(t *testing.T) {
	s := listen(t)
	clock, opts := manual()
	_, p := s.dial(opts...)
	p.closing(wire.Closing{Code: wire.SlowConsumer, Reconnect: true, RetryAfter: 1<<63 - 1})
	p.ended()
	clock.fire(t, time.Hour)
	s.accept()
}

func TestOneByteAtATime(t *testing.T) {
	c, p := listen(t).dial()
	got := make(chan string, 1)
	client.On(c, "n", func(_ context.Context, s string) { got <- s })
	var n int
	x := c.Go(ctx, "x", &n)
	b := append(resultFrame(p.expect("x").ID, 5), notificationFrame("n", "hello")...)
	for i := range b {
		p.send(b[i : i+1])
	}
	if err := x.Wait(); err != nil || n != 5 {
		t.Errorf("got %d, %v", n, err)
	}
	if s := within(t, "the notification", got); s != "hello" {
		t.Errorf("got %q", s)
	}
}

// Messages around the sizes at which the read buffer grows and is given up.
func TestLongMessages(t *testing.T) {
	c, p := listen(t).dial()
	go p.serveAll()
	for _, n := range []int{0, 16 << 10, 16<<10 - 10, 64 << 10, 100_000, 1<<20 - 100, 5, 1<<20 - 50, 1} {
		want := strings.Repeat("x", n)
		got := ""
		if err := c.Call(ctx, "echo", &got, want); err != nil || got != want {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
	}
}

// FuzzServerBytes has the client read whatever bytes, in pieces of any length. Whatever they are: it does not panic or
// hang, each call ends once, and nothing stays behind.
func FuzzServerBytes(f *testing.F) {
	seeds := [][]byte{
		nil,
		resultFrame(1, 5),
		append(resultFrame(2, "x"), resultFrame(1, map[string]any{"a": []any{1, nil}})...),
		errorFrame(1, &wire.Error{Code: client.Unavailable, Message: "m", Data: 1, RetryAfter: time.Second}),
		requestFrame(7, "m", 1, "two"),
		requestFrame(7, "none"),
		notificationFrame("n", 1, "two"),
		closingFrame(wire.Closing{Code: wire.ServerShutdown, Reconnect: true, RetryAfter: time.Second}),
		closingFrame(wire.Closing{Code: wire.Kicked, Message: "m"}),
		{0, 0, 0, 0},
		{0, 0x10, 0, 1},
		{0, 0, 0, 1, 0xc1},
		{0, 0, 0, 9, 0x94, 1, 1, 0xc0, 0xdd, 0x7f, 0xff, 0xff, 0xff},
	}
	all := []byte(nil)
	for i, seed := range seeds {
		f.Add(seed, uint8(i), false)
		if i < 9 {
			all = append(all, seed...)
		}
	}
	f.Add(all, uint8(3), true)
	f.Fuzz(func(t *testing.T, b []byte, cut uint8, end bool) {
		ours, theirs := net.Pipe()
		_, withLog := withLogs()
		c, err := client.Dial(ctx, "pipe", withLog, client.WithoutReconnect(), client.WithMaxFrame(100_000), client.WithMaxElements(1000),
			client.WithDialer(func(context.Context, string, string) (net.Conn, error) { return ours, nil }))
		if err != nil {
			t.Fatal(err)
		}
		client.On(c, "n", func(context.Context, struct {
			A int
			B *string
		}) {
		})
		client.HandleFunc(c, "m", func(_ context.Context, v any) (any, error) { return v, nil })
		go io.Copy(io.Discard, theirs)
		var n int64
		var v any
		pending := []*client.Pending{c.Go(ctx, "x", &n), c.Go(ctx, "y", &v)}
		for len(b) > 0 {
			k := min(1+int(cut), len(b))
			if _, err := theirs.Write(b[:k]); err != nil {
				break // the client has hung up
			}
			b = b[k:]
			cut = cut*31 + 7
		}
		if end {
			theirs.Close()
		}
		c.Close()
		within(t, "the end", c.Done())
		for _, p := range pending {
			within(t, p.Method(), p.Done())
		}
		if s := c.Stats(); s.Pending != 0 {
			t.Errorf("stats %+v", s)
		}
		theirs.Close()
	})
}
