package transport

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"

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
