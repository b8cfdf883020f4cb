package transport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// choppy cuts what is written into odd fragments.
type choppy struct {
	net.Conn
	sizes []int
	at    int
}

func (c *choppy) Write(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		size := c.sizes[c.at%len(c.sizes)]
		c.at++
		k, err := c.Conn.Write(b[n:min(len(b), n+size)])
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// versions are what the tests of TLS run with.
var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

func (r *rig) dialTLS(config *tls.Config) *tls.Conn {
	r.t.Helper()
	c := tls.Client(r.dial(), config)
	if err := c.Handshake(); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// echo sends b and expects it back.
func echo(t testing.TB, c io.ReadWriter, b []byte) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(b)
		sent <- err
	}()
	got := make([]byte, len(b))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("echo of %d bytes: %v", len(b), err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b) {
		t.Fatalf("echo of %d bytes differs", len(b))
	}
}

func TestTLSEchoInOddFragments(t *testing.T) {
	server, client := serverTLS(t)
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{Settings: Settings{TLS: server}})
			seed := uint64(time.Now().UnixNano())
			t.Log("seed", seed)
			random := rand.New(rand.NewPCG(seed, 1))
			config := client.Clone()
			config.MinVersion, config.MaxVersion = version, version
			c := tls.Client(&choppy{Conn: r.dial(), sizes: []int{1, 2, 3, 5, 7, 11, 13, 500, 1, 4000}}, config)
			for i := range 200 {
				size := random.IntN(300)
				if i%20 == 0 {
					size = random.IntN(100_000)
				}
				echo(t, c, frame(size+1, byte(i)))
			}
			r.onLoop(0, func() {
				if len(r.hubs[0].mux.early) != 0 {
					// The sweep takes it out later; but it must not be early any more.
					for _, id := range r.hubs[0].mux.early {
						if r.hubs[0].mux.stack(id).early() {
							t.Error("the connection is still early")
						}
					}
				}
			})
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
				t.Errorf("after close_notify: %q, %v; want close_notify back", got, err)
			}
			if got := r.shared.Counters().Opened["tls"]; got != 1 {
				t.Errorf("%d TLS connections were counted", got)
			}
		})
	}
}

func TestHalfAMessageOverTLSIsCounted(t *testing.T) {
	server, client := serverTLS(t)
	r := newRig(t, rigOptions{Settings: Settings{TLS: server}})
	c := r.dialTLS(client)
	f := frame(100_000, 1)
	if _, err := c.Write(f[:60_000]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all that came is kept", func() (all bool) {
		r.onLoop(0, func() {
			for id := range r.hubs[0].known {
				all = len(r.hubs[0].mux.Kept(id)) == 60_000
			}
		})
		return all
	})
	if n := r.input.Used(); n < 60_000 || n >= 200_000 {
		t.Errorf("%d bytes are counted", n)
	}
	if _, err := c.Write(f[60_000:]); err != nil {
		t.Fatal(err)
	}
	if got, err := (streamed{c}).receive(); err != nil || !bytes.Equal(got, f) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	eventually(t, "it is not counted any more", func() bool { return r.input.Used() == 0 })
}

func TestPlainBesideTLS(t *testing.T) {
	server, client := serverTLS(t)
	r := newRig(t, rigOptions{Settings: Settings{TLS: server}})
	echo(t, r.dial(), frame(10, 1))
	echo(t, r.dialTLS(client), frame(10, 1))
	if got := fmt.Sprint(r.shared.Counters().Opened); got != "map[tcp:1 tls:1 tls+websocket:0 websocket:0]" {
		t.Error(got)
	}
}

// tlsOver begins TLS on a connection that was used before.
type tlsOver struct{ net.Conn }

func (c *tlsOver) client(config *tls.Config) *tls.Conn { return tls.Client(c.Conn, config) }

func (c *tlsOver) tls(t testing.TB, config *tls.Config) *tls.Conn {
	t.Helper()
	secure := c.client(config)
	if err := secure.Handshake(); err != nil {
		t.Fatal(err)
	}
	return secure
}

// TestHalfClose: a client that has finished sending still gets its answers.
func TestHalfClose(t *testing.T) {
	server, client := serverTLS(t)
	for _, version := range versions {
		for _, how := range []string{"close_notify", "FIN", "both"} {
			r := newRig(t, rigOptions{Settings: Settings{TLS: server}, hub: func(h *hub) {
				h.onFrame = func(*hub, uint64, []byte) {}
				h.onEOF = func(h *hub, id uint64) {
					for range 3 {
						h.mux.Write(id, frame(100, 7))
					}
					h.loop.AddCallback(func() { h.mux.Write(id, frame(100, 7)); h.mux.Shutdown(id) })
				}
			}})
			under := r.dial().(*net.TCPConn)
			config := client.Clone()
			config.MinVersion, config.MaxVersion = version, version
			c := tls.Client(under, config)
			_, err := c.Write(frame(10, 1))
			if how != "FIN" {
				err = errors.Join(err, c.CloseWrite())
			}
			if how != "close_notify" {
				err = errors.Join(err, under.CloseWrite())
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, bytes.Repeat(frame(100, 7), 4)) {
				t.Errorf("%s: %d bytes, %v", how, len(got), err)
			}
			r.onLoop(0, func() {
				if r.hubs[0].eofs != 1 {
					t.Errorf("%s: EOF was told %d times", how, r.hubs[0].eofs)
				}
			})
		}
	}
}

// TestHalfARecordIsCounted: what crypto/tls holds of a record that does not end is
// input that waits, as what the layers hold is.
func TestHalfARecordIsCounted(t *testing.T) {
	server, client := serverTLS(t)
	r := newRig(t, rigOptions{Settings: Settings{TLS: server}})
	under := r.dial()
	c := tls.Client(under, client)
	if _, err := c.Write(frame(10, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := (streamed{c}).receive(); err != nil {
		t.Fatal(err)
	}
	if _, err := under.Write(append([]byte{23, 3, 3, 0x40, 0}, make([]byte, 10_000)...)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is counted", func() bool { n := r.input.Used(); return n >= 10_000 && n < 100_000 })
	r.onLoop(0, func() {
		for id := range r.hubs[0].known {
			if n := len(r.hubs[0].mux.Kept(id)); n < 10_000 {
				t.Errorf("%d bytes are kept", n)
			}
		}
	})
	under.Close()
	eventually(t, "it is not counted any more", func() bool { return r.input.Used() == 0 })
}
