package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gameserverd/internal/conn"
	"gameserverd/internal/ws"
	"gameserverd/wire"
)

const upgradeRequest = "GET /game HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// masked is a client's frame.
func masked(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

// rawWS upgrades and leaves the frames to the test.
func (r *rig) rawWS() *net.TCPConn {
	r.t.Helper()
	c := r.dial().(*net.TCPConn)
	if _, err := io.WriteString(c, upgradeRequest); err != nil {
		r.t.Fatal(err)
	}
	var got []byte
	one := make([]byte, 1)
	for !bytes.HasSuffix(got, []byte("\r\n\r\n")) {
		if _, err := io.ReadFull(c, one); err != nil {
			r.t.Fatal(err)
		}
		got = append(got, one...)
	}
	if !bytes.HasPrefix(got, []byte("HTTP/1.1 101 ")) || !bytes.Contains(got, []byte("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) {
		r.t.Fatalf("the answer is %q", got)
	}
	return c
}

// wsEnd reads what a server sends until it ends: messages, and the code of its Close.
func wsEnd(t testing.TB, c net.Conn) (messages []string, code int) {
	t.Helper()
	all := expectEnd(t, c)
	for len(all) > 1 {
		n, off := int(all[1]), 2
		if n == 126 {
			n, off = int(binary.BigEndian.Uint16(all[2:])), 4
		}
		payload := all[off : off+n]
		switch all[0] {
		case 0x82:
			messages = append(messages, string(payload))
		case 0x88:
			code = ws.CodeNone
			if n >= 2 {
				code = int(binary.BigEndian.Uint16(payload))
			}
			if off+n != len(all) {
				t.Errorf("%q comes behind the Close", all[off+n:])
			}
		case 0x8a:
			messages = append(messages, "pong:"+string(payload))
		default:
			t.Fatalf("a frame that begins %x", all[0])
		}
		all = all[off+n:]
	}
	return messages, code
}

func TestWebSocketClosings(t *testing.T) {
	message := []byte("\x92\x01\x02")
	for name, test := range map[string]struct {
		send    []byte
		want    string // of what comes back
		code    int
		refused bool
	}{
		"the client closes":              {masked(0x88, []byte("\x03\xe8bye")), "", 1000, false},
		"it closes with its own code":    {masked(0x88, []byte("\x0f\xa0")), "", 4000, false},
		"it closes without a code":       {masked(0x88, nil), "", ws.CodeNone, false},
		"a message, then Close":          {append(masked(0x82, message), masked(0x88, []byte("\x03\xe9"))...), string(message), 1001, false},
		"data behind Close":              {append(masked(0x88, []byte("\x03\xe8")), "garbage"...), "", 1000, false},
		"a ping":                         {append(masked(0x89, []byte("hi")), masked(0x88, nil)...), "pong:hi", ws.CodeNone, false},
		"a ping between fragments":       {bytes.Join([][]byte{masked(0x02, message[:1]), masked(0x89, []byte("hi")), masked(0x80, message[1:]), masked(0x88, nil)}, nil), "pong:hi|" + string(message), ws.CodeNone, false},
		"not masked":                     {[]byte{0x82, 1, 'x'}, "protocol_error", 1002, true},
		"a reserved bit":                 {masked(0xc2, message), "protocol_error", 1002, true},
		"text":                           {masked(0x81, []byte("hi")), "protocol_error", 1003, true},
		"a reserved opcode":              {masked(0x83, message), "protocol_error", 1002, true},
		"a fragment that continues none": {masked(0x80, message), "protocol_error", 1002, true},
		"a Close with a wrong code":      {masked(0x88, []byte("\x03\xed")), "protocol_error", 1002, true},
		"a message, then a broken frame": {append(masked(0x82, message), 0x82, 1, 'x'), string(message) + "|protocol_error", 1002, true},
		"a message that is too long":     {binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, 1<<20+1), "frame_too_large", 1009, false},
		"one of more than can be":        {binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, 1<<40), "frame_too_large", 1009, true},
		"fragments that are too long":    {bytes.Join([][]byte{masked(0x02, make([]byte, 600_000)), masked(0x80, make([]byte, 600_000))}, nil), "frame_too_large", 1009, false},
		"FIN":                            {nil, "", 1000, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{})
			for _, step := range []int{1, 1 << 20} {
				if step == 1 && len(test.send) > 1000 {
					continue
				}
				c := r.rawWS()
				go func() {
					for b := test.send; len(b) > 0; b = b[min(step, len(b)):] {
						_, _ = c.Write(b[:min(step, len(b))])
					}
					if test.send == nil {
						_ = c.CloseWrite()
					}
				}()
				messages, code := wsEnd(t, c)
				got := strings.Join(messages, "|")
				if before, _, closing := strings.Cut(got, "\x93\x02\xabsys.closing"); closing {
					why := ""
					for _, code := range []string{"protocol_error", "frame_too_large"} {
						if strings.Contains(got, code) {
							why = code
						}
					}
					got = before + why
				}
				if got != test.want || code != test.code {
					t.Errorf("in steps of %d: %q and code %d; want %q and %d", step, got, code, test.want, test.code)
				}
			}
			if n := r.shared.Counters().Ended["websocket"]; n > 0 != test.refused {
				t.Errorf("%d were counted", n)
			}
		})
	}
}

func TestCloseCodesOfTheServer(t *testing.T) {
	for code, want := range map[string]websocket.StatusCode{
		wire.ServerShutdown: websocket.StatusGoingAway, wire.Kicked: websocket.StatusPolicyViolation, wire.Replaced: websocket.StatusPolicyViolation,
		wire.IdleTimeout: websocket.StatusPolicyViolation, wire.ProtocolError: websocket.StatusProtocolError, wire.FrameTooLarge: websocket.StatusMessageTooBig,
	} {
		r := newRig(t, rigOptions{})
		w, err := websocketOn(t, r.dial(), nil)
		if err != nil {
			t.Fatal(err)
		}
		c := wsClient{w, t}
		// A client that has not sent a message is told all the same.
		eventually(t, "the hub knows its framing", func() (known bool) {
			r.onLoop(0, func() {
				for id := range r.hubs[0].known {
					known = true
					r.hubs[0].Refuse(id, wire.Closing{Code: code})
				}
			})
			return known
		})
		if got, err := c.receive(); err != nil || !strings.Contains(string(got), code) {
			t.Errorf("%s: %q, %v", code, got, err)
		}
		_, err = c.receive()
		if got := websocket.CloseStatus(err); got != want {
			t.Errorf("%s: closed with %v (%v), want %v", code, got, err, want)
		}
	}
}

func TestHalfAWebSocketMessageIsKnown(t *testing.T) {
	r := newRig(t, rigOptions{})
	half := func() (n int) {
		r.onLoop(0, func() {
			n = -1
			for id := range r.hubs[0].known {
				n = r.hubs[0].halves[id]
			}
		})
		return n
	}
	c := r.rawWS()
	if got := half(); got != 0 {
		t.Errorf("after the upgrade the hub knows of %d bytes", got)
	}
	f := masked(0x82, make([]byte, 5000))
	second := masked(0x02, make([]byte, 300)) // of 800 in fragments
	third := masked(0x80, make([]byte, 500))
	at := 0
	for _, step := range []struct {
		send []byte
		want int
	}{
		{f[:8], 5000}, {f[8:4000], 5000}, {f[4000:], 0}, {second, 300}, {masked(0x89, []byte("x")), 300}, {third[:100], 800}, {third[100:], 0}, {masked(0x89, nil), 0},
	} {
		if _, err := c.Write(step.send); err != nil {
			t.Fatal(err)
		}
		at++
		eventually(t, "the hub knows what step", func() bool { return half() == step.want })
		want := 0
		if at >= 4 && at <= 6 {
			want = 300 // of the message in fragments; what has come of a frame is the Set's to count
		}
		eventually(t, "what is held is counted", func() bool { return r.input.Used() == want })
	}
	// The hub was offered the first byte of a length where that is not known.
	if _, err := c.Write([]byte{0x82}); err != nil {
		t.Fatal(err)
	}
	if at != 8 {
		t.Error("steps are missing")
	}
}

func TestUpgradesThatFail(t *testing.T) {
	settings := Settings{Origins: []string{"https://play.example.com"}, HandshakeTimeout: deadline}
	for name, test := range map[string]struct {
		send, want, outcome string
	}{
		"no upgrade":         {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 426 ", "upgrade"},
		"another origin":     {strings.Replace(upgradeRequest, "Host:", "Origin: https://evil.example\r\nHost:", 1), "HTTP/1.1 403 ", "upgrade"},
		"no HTTP":            {"GARBAGE\r\n\r\n", "HTTP/1.1 400 ", "upgrade"},
		"no end":             {"GET / HTTP/1.1\r\n" + strings.Repeat("a: b\r\n", 2000), "HTTP/1.1 400 ", "upgrade"},
		"half, and then FIN": {upgradeRequest[:50], "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{Settings: settings})
			c := r.dial().(*net.TCPConn)
			if _, err := io.WriteString(c, test.send); err != nil {
				t.Fatal(err)
			}
			if test.outcome == "" {
				_ = c.CloseWrite()
			}
			if got := string(expectEnd(t, c)); !strings.HasPrefix(got, test.want) {
				t.Errorf("%q", got)
			}
			if n := r.shared.Counters().Ended["upgrade"]; n > 0 != (test.outcome != "") {
				t.Errorf("%d were counted", n)
			}
		})
	}
	slow := newRig(t, rigOptions{Settings: Settings{HandshakeTimeout: 50 * time.Millisecond}})
	c := slow.dial()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, c)
	if n := slow.shared.Counters().Ended["handshake_timeout"]; n != 1 {
		t.Errorf("%d were counted as late", n)
	}
}

func TestOriginsOfBrowsers(t *testing.T) {
	r := newRig(t, rigOptions{Settings: Settings{Origins: []string{"https://play.example.com"}}})
	for origin, ok := range map[string]bool{"https://play.example.com": true, "": true, "https://evil.example": false, "http://play.example.com": false} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		w, err := websocketOn(t, r.dial(), header)
		if (err == nil) != ok {
			t.Errorf("origin %q: %v", origin, err)
		}
		if w != nil {
			echoWS(t, w)
		}
	}
}

func echoWS(t testing.TB, w *websocket.Conn) {
	t.Helper()
	c := wsClient{w, t}
	if err := c.send(frame(300, 2)); err != nil {
		t.Fatal(err)
	}
	if got, err := c.receive(); err != nil || !bytes.Equal(got, frame(300, 2)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestFramesBehindTheUpgrade(t *testing.T) {
	server, client := serverTLS(t)
	r := newRig(t, rigOptions{Settings: Settings{TLS: server}})
	all := []byte(upgradeRequest)
	for i := range 200 {
		all = append(all, masked(0x82, frame(100+i*300, byte(i))[4:])...)
	}
	for name, c := range map[string]net.Conn{"plain": r.dial(), "tls": r.dialTLS(client)} {
		sent := make(chan error, 1)
		go func() {
			_, err := c.Write(all)
			sent <- err
		}()
		head := make([]byte, 0, 200)
		for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
			head = head[:len(head)+1]
			if _, err := io.ReadFull(c, head[len(head)-1:]); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 200 {
			want := frame(100+i*300, byte(i))[4:]
			got := make([]byte, len(ws.AppendHeader(nil, len(want)))+len(want))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, append(ws.AppendHeader(nil, len(want)), want...)) {
				t.Fatalf("%s: message %d: %v", name, i, err)
			}
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

// TestPingFlood: pings are answered, and who does not read the answers is not read from.
func TestPingFlood(t *testing.T) {
	r := newRig(t, rigOptions{conn: conn.Options{HighWater: 64 << 10, MaxOutput: 512 << 10}})
	c := r.rawWS()
	const count = 50_000
	sent := make(chan error, 1)
	go func() {
		ping := bytes.Repeat(masked(0x89, make([]byte, 100)), 100)
		var err error
		for range count / 100 {
			_, werr := c.Write(ping)
			err = errors.Join(err, werr)
		}
		sent <- err
	}()
	other, err := websocketOn(t, r.dial(), nil)
	if err != nil {
		t.Fatal(err)
	}
	echoWS(t, other)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	reading := other.CloseRead(ctx) // somebody must read the pong
	if err := other.Ping(ctx); err != nil {
		t.Error(err)
	}
	_ = reading
	if n, err := io.CopyN(io.Discard, c, count*102); err != nil {
		t.Errorf("%d bytes of pongs, %v", n, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}
