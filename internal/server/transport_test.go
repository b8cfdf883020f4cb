package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gameserverd/client"
	"gameserverd/internal/config"
	"gameserverd/wire"
)

// writeCertificate puts a self-signed certificate and its key into dir, and
// returns what trusts it.
func writeCertificate(t testing.TB, dir string, serial int64, valid time.Duration) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return pool
}

// tlsConfig is a configuration with TLS from dir.
func tlsConfig(t testing.TB, dir string) *config.Config {
	cfg := testConfig(t.TempDir())
	cfg.Listen.TLS.CertFile, cfg.Listen.TLS.KeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return cfg
}

const month = 30 * 24 * time.Hour

func TestSessionsOverTLS(t *testing.T) {
	dir := t.TempDir()
	roots := writeCertificate(t, dir, 1, month)
	s := start(t, tlsConfig(t, dir), nil)
	ctx := testContext(t)
	for uid := range uint64(12) { // some have to move to another loop
		c := s.login(uid+1, client.WithTLS(&tls.Config{RootCAs: roots}))
		for i := range 5 {
			var sum int
			if err := c.Call(ctx, "sum", &sum, i, 100); err != nil || sum != 100+i {
				t.Fatalf("uid %d: %d, %v", uid+1, sum, err)
			}
		}
	}
	s.login(100) // plain, on the same port
	if got := s.transport.Counters().Opened; got["tls"] != 12 || got["tcp"] != 1 {
		t.Errorf("opened: %v", got)
	}
	if n := s.logs.FilterMessage("certificate loaded").Len(); n != 1 {
		t.Errorf("the certificate was logged %d times", n)
	}
}

// wsCall makes one call over WebSocket.
func wsCall(t *testing.T, w *websocket.Conn, method string, params ...any) wire.Message {
	t.Helper()
	ctx := testContext(t)
	b := wire.AppendArray(wire.AppendRequest(nil, 7, method), len(params))
	for _, p := range params {
		var err error
		if b, err = wire.AppendAny(b, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(ctx, websocket.MessageBinary, b); err != nil {
		t.Fatal(err)
	}
	return wsMessage(t, w)
}

func wsMessage(t *testing.T, w *websocket.Conn) (m wire.Message) {
	t.Helper()
	_, b, err := w.Read(testContext(t))
	if err == nil {
		err = m.Parse(b, 1000)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWebSocketSessions(t *testing.T) {
	dir := t.TempDir()
	roots := writeCertificate(t, dir, 1, month)
	s := start(t, tlsConfig(t, dir), nil)
	var open []*websocket.Conn
	for _, scheme := range []string{"ws", "wss"} {
		for uid := range 6 {
			w, _, err := websocket.Dial(testContext(t), scheme+"://"+s.Addrs()[0]+"/any", &websocket.DialOptions{HTTPClient: &http.Client{
				Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = w.CloseNow() })
			if uid > 0 {
				if m := wsCall(t, w, "auth.login", fmt.Sprintf("dev:%d%s", uid, map[string]string{"ws": "1", "wss": "2"}[scheme])); m.Kind != wire.Response || m.Err != nil {
					t.Fatalf("login: %q", m.Err)
				}
			}
			if m := wsCall(t, w, "sum", 20, 22); string(m.Result) != "\x2a" {
				t.Errorf("sum: %q, %q", m.Result, m.Err)
			}
			open = append(open, w)
		}
	}
	// One that has said nothing, and one whose message is none.
	idle, _, err := websocket.Dial(testContext(t), "ws://"+s.Addrs()[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	open = append(open, idle)
	bad, _, err := websocket.Dial(testContext(t), "ws://"+s.Addrs()[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := bad.Write(testContext(t), websocket.MessageBinary, []byte{0xc1}); err != nil {
		t.Fatal(err)
	}
	expectClosing(t, bad, "protocol_error", websocket.StatusProtocolError)

	s.Shutdown("the test says so")
	for _, w := range open {
		expectClosing(t, w, "server_shutdown", websocket.StatusGoingAway)
	}
	if report := s.drain(); !report.Clean {
		t.Errorf("the drain was not clean: %+v", report)
	}
}

// expectClosing expects sys.closing and a Close frame.
func expectClosing(t *testing.T, w *websocket.Conn, code string, status websocket.StatusCode) {
	t.Helper()
	m := wsMessage(t, w)
	why, err := wire.ParseClosing(m.Params)
	if string(m.Method) != wire.ClosingMethod || err != nil || why.Code != code {
		t.Errorf("%q %+v, %v; want %s", m.Method, why, err, code)
	}
	_, _, err = w.Read(testContext(t))
	if got := websocket.CloseStatus(err); got != status {
		t.Errorf("%s: closed with %v (%v), want %v", code, got, err, status)
	}
}

func TestReloadOfTransport(t *testing.T) {
	dir := t.TempDir()
	roots := writeCertificate(t, dir, 1, month)
	cfg := tlsConfig(t, dir)
	s := start(t, cfg, nil)
	old := s.dial()
	ctx := testContext(t)
	if err := old.Call(ctx, "sum", nil, 1, 2); err != nil { // what it speaks is known from here on
		t.Fatal(err)
	}
	changed := *cfg
	changed.Listen.TLS.Plain = "refuse"
	changed.Listen.Protocols = []string{"frames"}
	if _, restart, err := s.Reload(&changed); err != nil || len(restart) > 0 {
		t.Fatal(restart, err)
	}
	if err := old.Call(ctx, "sum", nil, 1, 2); err != nil {
		t.Errorf("a plain connection that was there before: %v", err)
	}
	plain, err := client.Dial(ctx, s.Addrs()[0], client.WithoutReconnect())
	if err == nil {
		err = plain.Call(ctx, "sum", nil, 1, 2)
		plain.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "TLS only") {
		t.Errorf("a plain client is told %v", err)
	}
	if err := s.dial(client.WithTLS(&tls.Config{RootCAs: roots})).Call(ctx, "sum", nil, 1, 2); err != nil {
		t.Error(err)
	}
	wrong := changed
	wrong.Listen.TLS.KeyFile = filepath.Join(dir, "cert.pem")
	if _, _, err := s.Reload(&wrong); err == nil || !strings.Contains(err.Error(), "cert.pem: it is not the unencrypted private key") {
		t.Errorf("a reload with a certificate for a key: %v", err)
	}
	if _, err := serialOf(s.Addrs()[0]); err != nil {
		t.Error(err)
	}
}

func TestProxyProtocolNamesTheClient(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Listen.ProxyProtocolFrom = []string{"127.0.0.1", "10.0.0.0/8", "unix"}
	cfg.Limits.MaxConnectionsPerIP = 1
	s := start(t, cfg, nil)
	dial := func(client string) net.Conn {
		c, err := net.Dial("tcp", s.Addrs()[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := fmt.Fprintf(c, "PROXY TCP4 %s 127.0.0.1 4242 5700\r\n", client); err != nil {
			t.Fatal(err)
		}
		return c
	}
	sum := "\x00\x00\x00\x0a\x94\x00\x01\xa3sum\x92\x14\x16"
	first, second := dial("192.0.2.1"), dial("192.0.2.2")
	for _, c := range []net.Conn{first, second} {
		if _, err := io.WriteString(c, sum); err != nil {
			t.Fatal(err)
		}
		if n, err := io.ReadFull(c, make([]byte, 9)); err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	third := dial("192.0.2.1")
	if _, err := io.WriteString(third, sum); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(third); err != nil || !strings.Contains(string(got), "too_many_connections") {
		t.Errorf("the second connection of an address is told %q, %v", got, err)
	}
	if _, err := io.WriteString(second, "\x00\x00\x00\x01\xc1"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(second); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	found := false
	for _, e := range s.logs.FilterMessage("session closed").All() {
		found = found || e.ContextMap()["peer"] == "192.0.2.2:4242"
	}
	if !found {
		t.Errorf("no log line names the client: %v", s.logs.FilterMessage("session closed").All())
	}
}

// Those who are not as far as to speak hold up no drain.
func TestDrainWithHandshakesUnderWay(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, 1, month)
	s := start(t, tlsConfig(t, dir), nil)
	var open []net.Conn
	for _, first := range []string{"", "\x16", "\x16\x03\x01\x02\x00half a hello", "G", "GET / HTTP/1.1\r\nHost: x\r\n"} {
		c, err := net.Dial("tcp", s.Addrs()[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, first); err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	eventually(t, "all have come", func() bool { return s.peers.Connections() == len(open) && s.transport.Counters().Handshakes == 2 })
	began := time.Now()
	if report := s.drain(); !report.Clean {
		t.Errorf("the drain was not clean: %+v", report)
	}
	if took, limit := time.Since(began), s.cfg.Shutdown.Deadline; took > limit {
		t.Errorf("it took %v", took)
	}
	eventually(t, "no handshake is left", func() bool { return s.transport.Counters().Handshakes == 0 })
}
