package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"

	"gameserverd/client"
	"gameserverd/internal/tlstest"
)

// listenTLS is listen for a server of crypto/tls.
func listenTLS(t *testing.T, cfg *tls.Config) *server {
	t.Helper()
	s := listen(t)
	s.l = tls.NewListener(s.l, cfg)
	return s
}

// serveTLS accepts count connections and answers everything on them. Each result is a handshake's.
func (s *server) serveTLS(count int) <-chan error {
	return start(func() (failed error) {
		for range count {
			nc, err := s.l.Accept()
			if err != nil {
				return err
			}
			s.t.Cleanup(func() { nc.Close() })
			nc.SetDeadline(time.Now().Add(patience))
			if err := nc.(*tls.Conn).Handshake(); err != nil {
				failed = err
				nc.Close()
				continue
			}
			go (&peer{t: s.t, nc: nc}).serveAll()
		}
		return failed
	})
}

func sumOf(t *testing.T, c *client.Client) {
	t.Helper()
	var back string
	if err := c.Call(ctx, "echo", &back, "over TLS"); err != nil || back != "over TLS" {
		t.Errorf("got %q, %v", back, err)
	}
}

func TestTLS(t *testing.T) {
	a := tlstest.New(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := listenTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Server}, MinVersion: version, MaxVersion: version})
		served := s.serveTLS(1)
		c, err := client.Dial(ctx, s.addr(), client.WithTLS(&tls.Config{RootCAs: a.Roots}))
		if err != nil {
			t.Fatal(err)
		}
		sumOf(t, c)
		c.Close()
		if err := within(t, "the server", served); err != nil {
			t.Error(err)
		}
	}
}

func TestTLSWithClientCertificate(t *testing.T) {
	a := tlstest.New(t)
	s := listenTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.Roots})
	s.serveTLS(2)
	c, err := client.Dial(ctx, s.addr(), client.WithTLS(&tls.Config{RootCAs: a.Roots, Certificates: []tls.Certificate{a.Client}}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sumOf(t, c)

	// In TLS 1.3 a client learns only after the handshake that it is not wanted.
	none, err := client.Dial(ctx, s.addr(), client.WithTLS(&tls.Config{RootCAs: a.Roots}), client.WithoutReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	within(t, "the end of a client without a certificate", none.Done())
	var remote *net.OpError
	if err := none.Err(); !errors.As(err, &remote) || remote.Op != "remote error" {
		t.Errorf("it ended with %v", err)
	}
}

func TestTLSThatIsNotTrusted(t *testing.T) {
	a, other := tlstest.New(t), tlstest.New(t)
	_, _, expired := a.Issue(t, "old", time.Now().Add(-time.Hour), "localhost")
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	tests := []struct {
		name   string
		server tls.Certificate
		cfg    *tls.Config
		want   any
	}{
		{"another authority", a.Server, &tls.Config{RootCAs: other.Roots}, &unknown},
		{"the system's authorities", a.Server, nil, &unknown},
		{"another name", a.Server, &tls.Config{RootCAs: a.Roots, ServerName: "play.example.com"}, &name},
		{"expired", expired, &tls.Config{RootCAs: a.Roots}, &invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := listenTLS(t, &tls.Config{Certificates: []tls.Certificate{tt.server}})
			served := s.serveTLS(1)
			c, err := client.Dial(ctx, s.addr(), client.WithTLS(tt.cfg))
			if err == nil {
				c.Close()
				t.Fatal("it was trusted")
			}
			wantCode(t, err, client.Unavailable)
			if !errors.As(err, tt.want) {
				t.Errorf("got %v, want a %T in it", err, tt.want)
			}
			if err := within(t, "the server", served); err == nil {
				t.Error("the server's handshake succeeded")
			}
		})
	}
}

// A server that says nothing in the handshake holds Dial no longer than its context.
func TestTLSHandshakeEndsWithItsContext(t *testing.T) {
	s := listen(t)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	dialed := start(func() error {
		_, err := client.Dial(short, s.addr(), client.WithTLS(nil))
		return err
	})
	s.accept()
	wantCode(t, within(t, "Dial", dialed), client.Unavailable)
}

func TestPlainClientOfATLSServer(t *testing.T) {
	c, p := listen(t).dial(client.WithoutReconnect())
	p.send([]byte{0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46}) // an alert: protocol_version
	within(t, "the end of the client", c.Done())
	if !errors.Is(c.Err(), client.ErrNeedsTLS) {
		t.Errorf("it ended with %v", c.Err())
	}
}

func TestTLSAfterAReconnect(t *testing.T) {
	a := tlstest.New(t)
	s := listenTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Server}})
	first := start(func() net.Conn { return s.accept().nc })
	again := make(chan bool, 2)
	dialed := start(func() *client.Client {
		c, err := client.Dial(ctx, s.addr(), client.WithTLS(&tls.Config{RootCAs: a.Roots}), client.WithBackoff(time.Millisecond, time.Millisecond),
			client.WithOnConnect(func(_ *client.Client, is bool) { again <- is }))
		if err != nil {
			t.Error(err)
		}
		return c
	})
	nc := within(t, "the first connection", first).(*tls.Conn)
	if err := nc.Handshake(); err != nil {
		t.Fatal(err)
	}
	c := within(t, "Dial", dialed)
	defer c.Close()
	within(t, "the first connection", again)
	sent := start(func() error { return c.Notify(ctx, "hello") })
	(&peer{t: t, nc: nc}).expect("hello") // also reads the ticket's way back
	within(t, "the notification", sent)
	nc.Close()

	second := s.accept()
	if err := second.nc.(*tls.Conn).Handshake(); err != nil {
		t.Fatal(err)
	}
	if !within(t, "the second connection", again) {
		t.Error("the second connection counts as the first")
	}
	go second.serveAll()
	sumOf(t, c)
	if !second.nc.(*tls.Conn).ConnectionState().DidResume {
		t.Error("the session was not resumed")
	}
}
