package transport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// corked holds back what is written behind the ClientHello, until it is uncorked.
type corked struct {
	net.Conn
	state atomic.Int32 // 0: ClientHello is written; 1: all is held; 2: uncorked
	held  []byte
}

func (c *corked) Write(b []byte) (int, error) {
	if c.state.Load() == 1 {
		c.held = append(c.held, b...)
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *corked) Read(b []byte) (int, error) {
	c.state.CompareAndSwap(0, 1)
	return c.Conn.Read(b)
}

// SetWriteDeadline does nothing: crypto/tls lets no write through after CloseWrite.
func (c *corked) SetWriteDeadline(time.Time) error { return nil }

func (c *corked) uncork() error {
	c.state.Store(2)
	_, err := c.Conn.Write(c.held)
	return err
}

// clientHello is what a client sends first.
func clientHello(t testing.TB) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	go func() { _ = tls.Client(far, &tls.Config{ServerName: "localhost"}).Handshake(); far.Close() }()
	b := make([]byte, 16<<10)
	n, err := near.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func TestHandshakesThatFail(t *testing.T) {
	server, _ := serverTLS(t)
	hello := clientHello(t)
	flood := append([]byte{0x16, 3, 1, 0x40, 0}, bytes.Repeat([]byte{0xff}, 0x4000)...)
	for name, test := range map[string]struct {
		send    string
		fin     bool
		outcome string
	}{
		"nothing behind the first byte":  {"\x16", false, "handshake_timeout"},
		"half a ClientHello":             {string(hello[:100]), false, "handshake_timeout"},
		"a ClientHello and silence":      {string(hello), false, "handshake_timeout"},
		"half a ClientHello, then FIN":   {string(hello[:100]), true, "handshake"},
		"a ClientHello, then FIN":        {string(hello), true, "handshake"},
		"garbage":                        {"\x16garbage, and not even a record", false, "handshake"},
		"garbage in a record":            {"\x16\x03\x01\x00\x04\x01\x00\x00\x00", false, "handshake"},
		"a record that is too long":      {"\x16\x03\x01\xff\xff", false, "handshake"},
		"a hello that is too long":       {"\x16\x03\x01\x00\x04\x01\xff\xff\xff", false, "handshake"},
		"records of nothing":             {strings.Repeat("\x16\x03\x01\x00\x00", 100), false, "handshake"},
		"a flood":                        {string(bytes.Repeat(flood, 60)), false, "handshake"},
		"a ClientHello, then garbage":    {string(hello) + strings.Repeat("x", 100), false, "handshake"},
		"a ClientHello, then much of it": {string(hello) + strings.Repeat("\x17\x03\x03\x40\x00"+strings.Repeat("x", 0x4000), 60), false, "handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			timeout := deadline
			if test.outcome == "handshake_timeout" {
				timeout = 50 * time.Millisecond
			}
			r := newRig(t, rigOptions{Settings: Settings{TLS: server, HandshakeTimeout: timeout}})
			c := r.dial().(*net.TCPConn)
			go func() { // a flood does not go through whole
				_, _ = io.WriteString(c, test.send)
				if test.fin {
					_ = c.CloseWrite()
				}
			}()
			expectEnd(t, c)
			eventually(t, "it is counted", func() bool { return r.shared.Counters().Ended[test.outcome] == 1 })
			eventually(t, "no handshake is left", func() bool { return r.shared.Counters().Handshakes == 0 })
		})
	}
}

func TestFloodBehindAHelloIsNotTakenIn(t *testing.T) {
	server, _ := serverTLS(t)
	r := newRig(t, rigOptions{Settings: Settings{TLS: server}})
	c := r.dial()
	if _, err := c.Write(clientHello(t)[:100]); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = c.Write(make([]byte, 8<<20)) }()
	eventually(t, "reading has stopped", func() (stopped bool) {
		r.onLoop(0, func() {
			for _, k := range r.hubs[0].mux.stacks {
				if k != nil && k.tls != nil && k.tls.shake != nil {
					k.tls.shake.mu.Lock()
					n, full := len(k.tls.shake.in), k.tls.shake.full
					k.tls.shake.mu.Unlock()
					if n > maxHandshakeInput+80<<10 {
						t.Errorf("%d bytes were taken in", n)
					}
					stopped = stopped || full
				}
			}
		})
		return stopped || r.shared.Counters().Ended["handshake"] == 1 // it may end by its garbage first
	})
}

func TestResetsMidHandshakeLeaveNothing(t *testing.T) {
	server, client := serverTLS(t)
	r := newRig(t, rigOptions{Settings: Settings{TLS: server}})
	hello := clientHello(t)
	for i := range 50 {
		c := r.dial().(*net.TCPConn)
		if _, err := c.Write(hello[:len(hello)-i%2]); err != nil {
			t.Fatal(err)
		}
		if i%6 == 0 { // the server waits for the client
			_, _ = c.Read(make([]byte, 1))
		}
		_ = c.SetLinger(0)
		c.Close()
	}
	eventually(t, "all have ended", func() bool { return r.shared.Counters().Handshakes == 0 })
	echo(t, r.dialTLS(client), frame(10, 1))
}

func TestHandshakesThatWaitDoNotHoldUpOthers(t *testing.T) {
	server, client := serverTLS(t)
	r := newRig(t, rigOptions{Settings: Settings{TLS: server, MaxHandshakes: 60}, loops: 2})
	hello := clientHello(t)
	var waiting []net.Conn
	for range 50 {
		c := r.dial()
		if _, err := c.Write(hello); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil { // the server waits for the client now
			t.Fatal(err)
		}
		waiting = append(waiting, c)
	}
	if n := r.shared.Counters().Handshakes; n != 50 {
		t.Errorf("%d handshakes are under way", n)
	}
	echo(t, r.dialTLS(client), frame(10, 1))
	for len(waiting) < 60 {
		c := r.dial()
		if _, err := c.Write(hello); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, c)
	}
	// One more is closed, at once.
	late := r.dial()
	if _, err := late.Write(hello); err != nil {
		t.Fatal(err)
	}
	if got := expectEnd(t, late); len(got) > 0 {
		t.Errorf("the one too many got %q", got)
	}
	if n := r.shared.Counters().Ended["handshakes"]; n != 1 {
		t.Errorf("%d were counted", n)
	}
	for _, c := range waiting {
		c.Close()
	}
	eventually(t, "there is room again", func() bool { return r.shared.Counters().Handshakes == 0 })
	echo(t, r.dialTLS(client), frame(10, 1))
}

func TestManyHandshakesAtOnce(t *testing.T) {
	server, client := serverTLS(t)
	r := newRig(t, rigOptions{Settings: Settings{TLS: server}, loops: 3})
	var all sync.WaitGroup
	for i := range 200 {
		c := tls.Client(r.dial(), client)
		all.Go(func() {
			f := frame(100+i, byte(i))
			if _, err := c.Write(f); err != nil {
				t.Error(err)
			} else if got, err := (streamed{c}).receive(); err != nil || !bytes.Equal(got, f) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	all.Wait()
	if n := r.shared.Counters().Opened["tls"]; n != 200 {
		t.Errorf("%d were counted", n)
	}
}

func TestDataBehindFinished(t *testing.T) {
	server, client := serverTLS(t)
	for _, size := range []int{1, 1000, 20_000, 500_000} {
		for _, fin := range []string{"open", "close_notify", "close_notify and FIN", "FIN"} {
			r := newRig(t, rigOptions{Settings: Settings{TLS: server}})
			under := r.dial().(*net.TCPConn)
			cork := &corked{Conn: under}
			c := tls.Client(cork, client)
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			f := frame(size, 3)
			_, _ = c.Write(f)
			if strings.HasPrefix(fin, "close_notify") {
				_ = c.CloseWrite()
			}
			sent := make(chan error, 1)
			go func() {
				err := cork.uncork()
				if strings.HasSuffix(fin, "FIN") {
					err = errors.Join(err, under.CloseWrite())
				}
				sent <- err
			}()
			if got, err := (streamed{c}).receive(); err != nil || !bytes.Equal(got, f) {
				t.Errorf("%d bytes and %s: %d bytes, %v", size, fin, len(got), err)
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
			if fin != "open" {
				if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("%d bytes and %s: then %d, %v; want close_notify", size, fin, n, err)
				}
			}
		}
	}
}

func TestSessionsAreResumed(t *testing.T) {
	server, client := serverTLS(t)
	r := newRig(t, rigOptions{Settings: Settings{TLS: server}})
	for name, version := range versions {
		config := client.Clone()
		config.MinVersion, config.MaxVersion = version, version
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for i := range 2 {
			c := r.dialTLS(config)
			echo(t, c, frame(10, 1)) // and with it the ticket
			if got := c.ConnectionState().DidResume; got != (i == 1) {
				t.Errorf("%s: connection %d was resumed: %v", name, i, got)
			}
			c.Close()
		}
	}
}

func TestClientCertificates(t *testing.T) {
	server, client := serverTLS(t)
	clients, strangers := newAuthority(t), newAuthority(t)
	server.ClientCAs, server.ClientAuth = clients.pool, tls.RequireAndVerifyClientCert
	r := newRig(t, rigOptions{Settings: Settings{TLS: server}})
	for name, test := range map[string]struct {
		certs []tls.Certificate
		ok    bool
	}{
		"ours":         {[]tls.Certificate{clients.issue(t, "client", time.Hour)}, true},
		"expired":      {[]tls.Certificate{clients.issue(t, "client", -time.Minute)}, false},
		"a stranger's": {[]tls.Certificate{strangers.issue(t, "client", time.Hour)}, false},
		"none":         {nil, false},
	} {
		for version, v := range versions {
			config := client.Clone()
			config.MinVersion, config.MaxVersion, config.Certificates = v, v, test.certs
			c := tls.Client(r.dial(), config)
			_, err := c.Write(frame(10, 1))
			if err == nil {
				_, err = streamed{c}.receive()
			}
			if (err == nil) != test.ok {
				t.Errorf("%s, %s: %v", name, version, err)
			}
		}
	}
	eventually(t, "six are counted", func() bool { return r.shared.Counters().Ended["handshake"] == 6 })
}

func TestPlainIsRefused(t *testing.T) {
	server, client := serverTLS(t)
	settings := Settings{TLS: server, RefusePlain: true}
	r := newRig(t, rigOptions{Settings: settings})
	echo(t, r.dialTLS(client), frame(10, 1))
	c := r.dial()
	if _, err := c.Write(frame(10, 1)); err != nil {
		t.Fatal(err)
	}
	if got := string(expectEnd(t, c)); !strings.Contains(got, "protocol_error") || !strings.Contains(got, "TLS only") {
		t.Errorf("a plain client was told %q", got)
	}
	w, err := websocketOn(t, r.dial(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := (wsClient{w, t}).receive(); err != nil || !strings.Contains(string(got), "TLS only") {
		t.Errorf("a plain WebSocket client was told %q, %v", got, err)
	}
	if n := r.shared.Counters().Ended["plain"]; n != 2 {
		t.Errorf("%d were counted", n)
	}
	unix := newRig(t, rigOptions{Settings: settings, unix: true})
	echo(t, unix.dial(), frame(10, 1))
}

func TestProtocolsAreRestricted(t *testing.T) {
	for _, served := range []string{"frames", "stream", "websocket"} {
		r := newRig(t, rigOptions{Settings: Settings{Protocols: []string{served}}})
		for _, spoken := range []string{"frames", "stream", "websocket"} {
			c := r.dial()
			first := map[string]string{"frames": string(frame(5, 1)), "stream": "\x93\x02\xa1x\x90", "websocket": "GET / HTTP/1.1\r\n\r\n"}[spoken]
			if _, err := io.WriteString(c, first); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 1)
			n, _ := c.Read(got)
			if served == spoken {
				if n == 0 || spoken != "websocket" && got[0] != first[0] || spoken == "websocket" && got[0] != 'H' {
					t.Errorf("%s is served, and the answer begins %q", spoken, got[:n])
				}
				continue
			}
			all := string(append(got[:n], expectEnd(t, c)...))
			if spoken == "websocket" && all != "" || spoken != "websocket" && !strings.Contains(all, "is not spoken here, but "+served) {
				t.Errorf("%s is not served, and the answer is %q", spoken, all)
			}
		}
	}
}
