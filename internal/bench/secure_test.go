package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"gameserverd/internal/conn"
	"gameserverd/internal/tlstest"
	"gameserverd/wire"
)

func TestOverTLS(t *testing.T) {
	a := tlstest.New(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Server}, MaxVersion: version}, loginThenSum)
		res := measure(t, Options{
			Addr: s.addr, Connections: 20, Loops: 2, Depth: 16, Total: 5000, Warmup: -1, Expect: value("3"), Login: "dev:{i}",
			TLS: &tls.Config{RootCAs: a.Roots},
		})
		if res.OK != 5000 || s.called("sum") != 5000 || s.called("auth.login") != 20 || len(res.Failed)+len(res.Closed) > 0 {
			t.Errorf("%s: %d calls came, result %+v", tls.VersionName(version), s.called("sum"), res)
		}
		var text strings.Builder
		if err := res.WriteText(&text); err != nil || !strings.HasPrefix(res.TLS, tls.VersionName(version)+", TLS_") || !strings.Contains(text.String(), ", "+res.TLS+", ") {
			t.Errorf("TLS %q in\n%s", res.TLS, text.String())
		}
	}
}

func loginThenSum(p *peer, m *wire.Message) error {
	if string(m.Method) == "auth.login" {
		return p.result(m.ID, 1)
	}
	return sum(p, m)
}

// Messages of many records, in both directions, come through whole.
func TestLargeMessagesOverTLS(t *testing.T) {
	a := tlstest.New(t)
	big := strings.Repeat("x", 300_000)
	s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Server}}, func(p *peer, m *wire.Message) error {
		return p.frame(func(b []byte) []byte { return append(wire.AppendResult(b, m.ID), m.Params...) })
	})
	params := wire.AppendString(wire.AppendArray(nil, 1), big)
	res := measure(t, Options{Addr: s.addr, Connections: 3, Depth: 2, Total: 60, Warmup: -1, Method: "echo", Params: params, Expect: params, TLS: &tls.Config{RootCAs: a.Roots}})
	if res.OK != 60 || res.Wrong != 0 {
		t.Errorf("%d right, %d wrong, errors %v, closed %v", res.OK, res.Wrong, res.Errors, res.Closed)
	}
}

func TestTLSThatFails(t *testing.T) {
	a := tlstest.New(t)
	trust := &tls.Config{RootCAs: a.Roots}
	for _, tt := range []struct {
		name string
		addr string
		cfg  *tls.Config
		why  string
	}{
		{"an authority that is not trusted", serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Server}}, sum).addr, &tls.Config{}, "TLS: tls: failed to verify certificate"},
		{"no certificate, 1.2", serveTLS(t, mutual(a, tls.VersionTLS12), sum).addr, trust, "TLS: remote error"},
		{"no certificate, 1.3", serveTLS(t, mutual(a, tls.VersionTLS13), sum).addr, trust, "TLS: "},
		{"a server that hangs up", serveGreeting(t, func(*peer) error { return errHangUp }, sum).addr, trust, "TLS: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// A login, so that a connection counts as used only when the server has answered on it.
			_, err := try(t, Options{Addr: tt.addr, Connections: 10, Total: 10, Warmup: -1, TLS: tt.cfg, Login: "dev:1"})
			var none *NoConnectionError
			if !errors.As(err, &none) || none.TLS == nil {
				t.Fatalf("got %v", err)
			}
			count := 0
			for why, n := range none.Why {
				if count += n; !strings.HasPrefix(why, tt.why) {
					t.Errorf("%d failed because of %q, want %q", n, why, tt.why)
				}
			}
			if count != 10 {
				t.Errorf("%d failed, want 10", count)
			}
			if unknown := (x509.UnknownAuthorityError{}); tt.cfg != trust && !errors.As(err, &unknown) {
				t.Errorf("nothing can be explained about %v", err)
			}
		})
	}
}

func mutual(a *tlstest.Authority, version uint16) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.Server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.Roots, MaxVersion: version}
}

// A run that is given up leaves no handshake behind, which TestMain would see.
func TestInterruptedInHandshakes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = c.Read(make([]byte, 1)) // the handshake has begun
			cancel()
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	began := time.Now()
	if _, err := Run(ctx, Options{Addr: l.Addr().String(), Connections: 3, TLS: &tls.Config{InsecureSkipVerify: true}}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > handshakeTime/2 {
		t.Errorf("it ended after %v", took)
	}
}

// atOnce runs callbacks where they are added.
type atOnce struct{}

func (atOnce) AddCallback(fn func()) bool { fn(); return true }

// shaken gives the only session of w a layer whose handshake is done and not yet
// settled, and on which the server has said b.
func shaken(t *testing.T, w *worker, b []byte) *layer {
	t.Helper()
	a := tlstest.New(t)
	near, far := net.Pipe()
	l := newLayer(atOnce{}, &tls.Config{RootCAs: a.Roots, ServerName: "localhost"}, func(b []byte) { _, _ = near.Write(b) })
	var tasks sync.WaitGroup
	tasks.Go(func() {
		buf := make([]byte, 4<<10)
		for {
			n, err := near.Read(buf)
			l.feed(buf[:n])
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(tasks.Wait)
	tasks.Go(func() {
		// Without tickets nothing but b comes behind the handshake.
		server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{a.Server}, SessionTicketsDisabled: true})
		if _, err := server.Write(b); err != nil {
			t.Error(err)
		}
		far.Close()
	})
	if err := l.tls.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	tasks.Wait()
	const id = 1 << 32
	w.Opened(id)
	w.at[conn.Slot(id)] = 0
	w.sessions[0].id, w.sessions[0].layer = id, l
	return l
}

// What a server says right behind its handshake is heard, also when the
// connection ends before the loop knows that the handshake is done.
func TestLastWordsBehindTheHandshake(t *testing.T) {
	full := wire.AppendClosing(wire.BeginFrame(nil), wire.Closing{Code: wire.TooManyConnections, Reconnect: true})
	wire.EndFrame(full, 0)
	const want = "sys.closing too_many_connections"

	w, _ := lone(t)
	shaken(t, w, full)
	w.secured(0, nil)
	if w.ready != 1 || w.sessions[0].reason != want {
		t.Errorf("on an open connection: %d ready, the reason is %q", w.ready, w.sessions[0].reason)
	}

	w, _ = lone(t)
	shaken(t, w, full).closed = true
	w.secured(0, nil)
	if w.ready != 0 || w.failed[want] != 1 {
		t.Errorf("on a closed one: %d ready, failed %v", w.ready, w.failed)
	}
}

// Servers that end a connection in the middle lose calls over TLS as over TCP.
func TestLostOverTLS(t *testing.T) {
	a := tlstest.New(t)
	s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{a.Server}}, func(p *peer, m *wire.Message) error {
		if p.calls == 50 {
			return errHangUp
		}
		return sum(p, m)
	})
	res := measure(t, Options{Addr: s.addr, Connections: 4, Depth: 3, Total: 1000, Warmup: -1, TLS: &tls.Config{RootCAs: a.Roots}})
	if res.OK != 4*49 || res.Lost == 0 || ended(res) != res.OK+res.Lost || !res.Interrupted {
		t.Errorf("%+v", res)
	}
}
