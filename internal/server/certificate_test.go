package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"gameserverd/client"
	"gameserverd/internal/config"
	"gameserverd/wire"
)

// serialOf is the certificate that new connections are shown.
func serialOf(addr string) (int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

func TestCertificateChangesUnderLoad(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, 1, month)
	ticks := make(chan time.Time)
	s := startWith(t, tlsConfig(t, dir), Options{certificateTicks: ticks}, "the certificate cannot be loaded: the old one stays in force")
	var lost, calls atomic.Int64
	ctx, stop := context.WithCancel(testContext(t))
	var loads sync.WaitGroup
	for uid := range uint64(5) {
		c := s.login(uid+1, client.WithTLS(&tls.Config{InsecureSkipVerify: true}), client.WithoutReconnect(), client.WithOnDisconnect(func(_ *client.Client, err error) {
			if ctx.Err() == nil {
				lost.Add(1)
			}
		}))
		loads.Go(func() {
			for ctx.Err() == nil {
				var sum int
				if err := c.Call(ctx, "sum", &sum, 1, 2); err == nil {
					calls.Add(1)
				} else if ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	tick := func(n int) {
		for range n {
			ticks <- time.Now()
		}
	}
	expect := func(want int64) {
		t.Helper()
		eventually(t, fmt.Sprint("new connections see certificate ", want), func() bool {
			got, err := serialOf(s.Addrs()[0])
			if err != nil {
				t.Fatal(err)
			}
			return got == want
		})
	}
	tick(2)
	expect(1)
	for serial := int64(2); serial <= 4; serial++ {
		writeCertificate(t, dir, serial, month)
		tick(3) // seen, seen to have settled, and the next one waits until it was read
		expect(serial)
	}
	// Half of a change is none, and is said once.
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	tick(6)
	expect(4)
	warned := s.logs.FilterMessage("the certificate cannot be loaded: the old one stays in force")
	if warned.Len() != 1 || strings.Contains(fmt.Sprint(warned.All()[0].ContextMap()), "no key") {
		t.Errorf("the warnings: %v", warned.All())
	}
	writeCertificate(t, dir, 5, month)
	tick(3)
	expect(5)
	before := calls.Load()
	eventually(t, "the load goes on", func() bool { return calls.Load() > before+10 })
	stop()
	loads.Wait()
	if n := lost.Load(); n != 0 {
		t.Errorf("%d connections were lost", n)
	}
	if n := s.logs.FilterMessage("certificate loaded").Len(); n != 5 {
		t.Errorf("certificates were logged %d times", n)
	}
}

func TestCertificateThatEndsSoon(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, 1, 13*24*time.Hour)
	ticks := make(chan time.Time)
	s := startWith(t, tlsConfig(t, dir), Options{certificateTicks: ticks}, "the certificate ends soon", "anybody can read the certificate's key: chmod o= it")
	warnings := func() int { return s.logs.FilterMessage("the certificate ends soon").Len() }
	if warnings() != 1 {
		t.Errorf("%d warnings at the start", warnings())
	}
	now := time.Now()
	for _, d := range []time.Duration{time.Hour, 25 * time.Hour, 26 * time.Hour, 50 * time.Hour, 50 * time.Hour} {
		ticks <- now.Add(d)
	}
	if warnings() != 3 {
		t.Errorf("%d warnings after two days; want one a day", warnings())
	}
	if err := os.Chmod(filepath.Join(dir, "key.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		ticks <- now.Add(51 * time.Hour)
	}
	if n := s.logs.FilterMessage("anybody can read the certificate's key: chmod o= it").Len(); n != 1 {
		t.Errorf("%d warnings of a key that anybody can read", n)
	}
}

func TestCertificateFilesThatAreWrong(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, 1, month)
	for name, test := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"no such file":            {func(c *config.Config) { c.Listen.TLS.CertFile = filepath.Join(dir, "none.pem") }, "none.pem: no such file"},
		"a key for a certificate": {func(c *config.Config) { c.Listen.TLS.CertFile = c.Listen.TLS.KeyFile }, "key.pem: there is no certificate in it"},
		"no roots in the file":    {func(c *config.Config) { c.Listen.TLS.ClientCAFile = c.Listen.TLS.KeyFile }, "key.pem: there is no certificate in it"},
	} {
		cfg := tlsConfig(t, dir)
		test.change(cfg)
		s, err := New(cfg, zap.NewNop())
		if err == nil {
			s.release()
			t.Fatalf("%s: a server", name)
		}
		if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "listen.tls") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCertificateFromCredentials(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, 9, month)
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	cfg := testConfig(t.TempDir())
	cfg.Listen.TLS.CertFile, cfg.Listen.TLS.KeyFile = "cert.pem", "key.pem"
	s := start(t, cfg, nil)
	if got, err := serialOf(s.Addrs()[0]); got != 9 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
}

// A reload that changes no certificate lets clients resume their TLS sessions; one
// that does makes them begin anew.
func TestReloadKeepsTickets(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, 1, month)
	cfg := tlsConfig(t, dir)
	s := startWith(t, cfg, Options{certificateTicks: make(chan time.Time)})
	cache := tls.NewLRUClientSessionCache(1)
	resumes := func() bool {
		t.Helper()
		c, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ClientSessionCache: cache}}).DialContext(testContext(t), "tcp", s.Addrs()[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// The ticket comes with the first bytes behind the handshake.
		ping := wire.AppendArray(wire.AppendRequest(wire.BeginFrame(nil), 1, "sys.ping"), 0)
		wire.EndFrame(ping, 0)
		if _, err := c.Write(ping); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		return c.(*tls.Conn).ConnectionState().DidResume
	}
	reload := func() {
		t.Helper()
		next := *cfg
		next.Limits.MaxConnections--
		if _, _, err := s.Reload(&next); err != nil {
			t.Fatal(err)
		}
		cfg = &next
	}
	eventually(t, "it serves", func() bool { ok, _ := s.Ready(); return ok })
	if resumes() || !resumes() {
		t.Fatal("the second connection does not resume the first")
	}
	reload()
	if !resumes() {
		t.Error("a reload that changes something else has cost the session")
	}
	writeCertificate(t, dir, 2, month)
	reload()
	if resumes() || !resumes() {
		t.Error("another certificate goes on with the session of the old one")
	}
}
