package server

import (
	"bytes"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"gameserverd/wire"
)

// cutConn sends of the next write only so many bytes, and keeps the rest.
type cutConn struct {
	net.Conn
	cut  int // -1: everything is sent
	rest []byte
}

func (c *cutConn) Write(b []byte) (int, error) {
	if c.cut < 0 {
		return c.Conn.Write(b)
	}
	c.rest = bytes.Clone(b[c.cut:])
	_, err := c.Conn.Write(b[:c.cut])
	c.cut = -1
	return len(b), err
}

// A TLS record that does not end is a message that does not end: limits.frame_timeout
// closes it, whether or not something came before, and says so where it can. One that
// is only cut in two is none.
func TestSlowTLSRecord(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, 1, month)
	cfg := tlsConfig(t, dir)
	cfg.Limits.FrameTimeout = 1500 * time.Millisecond
	s := start(t, cfg, nil)
	ping := wire.AppendArray(wire.AppendRequest(wire.BeginFrame(nil), 1, "sys.ping"), 0)
	wire.EndFrame(ping, 0)
	dial := func() (*cutConn, *tls.Conn) {
		t.Helper()
		raw, err := net.Dial("tcp", s.Addrs()[0])
		if err != nil {
			t.Fatal(err)
		}
		cut := &cutConn{Conn: raw, cut: -1}
		c := tls.Client(cut, &tls.Config{InsecureSkipVerify: true})
		t.Cleanup(func() { raw.Close() })
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		return cut, c
	}
	send := func(c *tls.Conn) {
		t.Helper()
		if _, err := c.Write(ping); err != nil {
			t.Fatal(err)
		}
	}
	read := func(c *tls.Conn) wire.Message {
		t.Helper()
		b := make([]byte, 1000)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		var m wire.Message
		if err := m.Parse(b[wire.HeaderLen:n], 1000); err != nil {
			t.Fatal(err)
		}
		return m
	}

	cut, c := dial()
	for range 3 { // in two parts, which is all right
		cut.cut = 20
		send(c)
		if _, err := cut.Conn.Write(cut.rest); err != nil {
			t.Fatal(err)
		}
		if m := read(c); m.Kind != wire.Response || m.Err != nil {
			t.Fatalf("%+v", m)
		}
	}
	cut.cut = 20
	began := time.Now()
	send(c)
	m := read(c)
	if string(m.Method) != "sys.closing" || !bytes.Contains(m.Params, []byte(wire.IdleTimeout)) {
		t.Errorf("%s %s", m.Method, m.Params)
	}
	if took := time.Since(began); took < cfg.Limits.FrameTimeout || took > 15*time.Second {
		t.Errorf("it was closed after %v", took)
	}

	cut, c = dial()
	cut.cut = 3
	send(c)
	if n, err := c.Read(make([]byte, 10)); err == nil {
		t.Errorf("one that has said nothing was sent %d bytes", n)
	}
	if n := s.peers.Counters.Closed()[wire.IdleTimeout]; n != 2 {
		t.Errorf("%d were closed as idle", n)
	}
}
