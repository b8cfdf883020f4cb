package transport

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"gameserverd/internal/ws"
)

// TestFragmentsBehindABacklog: a message in several frames behind more messages
// than the hub takes in one turn is not lost, nor are those before it.
func TestFragmentsBehindABacklog(t *testing.T) {
	server, client := serverTLS(t)
	for _, secure := range []bool{false, true} {
		for _, pause := range []bool{false, true} {
			r := newRig(t, rigOptions{Settings: Settings{TLS: server}, hub: func(h *hub) {
				h.perTurn = 3
				h.onFrame = func(h *hub, id uint64, frame []byte) {
					h.mux.Write(id, frame)
					if pause && frame[4] == 1 {
						h.pauseFor(id, 3)
					}
				}
			}})
			var c net.Conn = r.dial()
			if secure {
				config := client.Clone()
				config.MinVersion = tls.VersionTLS13
				c = tls.Client(c, config)
			}
			all := []byte(upgradeRequest)
			var want []byte
			for i := range 20 {
				m := []byte{byte(i), 1, 2, 3, 4}
				if i%6 == 5 {
					all = append(all, masked(0x02, m[:2])...)
					all = append(all, masked(0x80, m[2:])...)
				} else {
					all = append(all, masked(0x82, m)...)
				}
				want = ws.AppendFrame(want, ws.Message, m)
			}
			if _, err := c.Write(all); err != nil {
				t.Fatal(err)
			}
			var got []byte
			for one := make([]byte, 1); !bytes.HasSuffix(got, []byte("\r\n\r\n")); got = append(got, one...) {
				if _, err := io.ReadFull(c, one); err != nil {
					t.Fatal(err)
				}
			}
			echoed := make([]byte, len(want))
			if n, err := io.ReadFull(c, echoed); err != nil || !bytes.Equal(echoed, want) {
				t.Fatalf("tls %v, pause %v: %d bytes, want %d: %v", secure, pause, n, len(want), err)
			}
		}
	}
}

// TestHalfAFragmentedMessageIsKept: who has the most input waiting is found by
// what Kept says, and must not be found among others because it is in fragments.
func TestHalfAFragmentedMessageIsKept(t *testing.T) {
	r := newRig(t, rigOptions{})
	c := r.rawWS()
	part := make([]byte, 10_000)
	for i := range 5 {
		first := byte(0)
		if i == 0 {
			first = 2
		}
		if _, err := c.Write(masked(first, part)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all of it is counted", func() bool { return r.input.Used() >= 50_000 })
	r.onLoop(0, func() {
		for id := range r.hubs[0].known {
			if n := len(r.hubs[0].mux.Kept(id)); n < 50_000 {
				t.Errorf("%d bytes are kept", n)
			}
		}
	})
}

// TestFragmentsAnyhow: messages in as many frames as a client likes, with pings
// between them, cut anywhere, to hubs that pause, yield and move connections.
func TestFragmentsAnyhow(t *testing.T) {
	server, client := serverTLS(t)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	for round := range uint64(12) {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			random, whims := rand.New(rand.NewPCG(seed, round)), rand.New(rand.NewPCG(seed, 100+round))
			r := newRig(t, rigOptions{Settings: Settings{TLS: server}, loops: 2, hub: func(h *hub) {
				h.perTurn = 1 + random.IntN(5)
				h.onFrame = func(h *hub, id uint64, frame []byte) {
					h.mux.Write(id, frame)
					h.rig.mu.Lock()
					whim := whims.IntN(12)
					h.rig.mu.Unlock()
					switch whim {
					case 0:
						h.pauseFor(id, 2)
					case 1:
						h.mux.Yield(id)
					case 2:
						h.move(id)
					}
				}
			}})
			var c net.Conn = r.dial()
			if round%2 == 1 {
				c = tls.Client(c, client)
			}
			all := []byte(upgradeRequest)
			var want []byte
			for i := range 300 {
				m := frame(5+random.IntN(1<<(3+random.IntN(9))), byte(i))[4:]
				want = ws.AppendFrame(want, ws.Message, m)
				first := byte(2)
				for rest := m; ; first = 0 {
					n := random.IntN(2*len(rest) + 1)
					if n >= len(rest) {
						all = append(all, masked(0x80|first, rest)...)
						break
					}
					all = append(all, masked(first, rest[:n])...)
					rest = rest[n:]
					if random.IntN(4) == 0 {
						all = append(all, masked(0x8a, []byte("pong"))...)
					}
				}
			}
			sent := make(chan error, 1)
			go func() {
				for len(all) > 0 {
					n := min(len(all), 1+random.IntN(1<<random.IntN(16)))
					if _, err := c.Write(all[:n]); err != nil {
						sent <- err
						return
					}
					all = all[n:]
				}
				sent <- nil
			}()
			var got []byte
			for one := make([]byte, 1); !bytes.HasSuffix(got, []byte("\r\n\r\n")); got = append(got, one...) {
				if _, err := io.ReadFull(c, one); err != nil {
					t.Fatal(err)
				}
			}
			echoed := make([]byte, len(want))
			if n, err := io.ReadFull(c, echoed); err != nil || !bytes.Equal(echoed, want) {
				t.Fatalf("%d bytes, want %d: %v", n, len(want), err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		})
	}
}
