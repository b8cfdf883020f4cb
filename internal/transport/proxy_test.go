package transport

import (
	"encoding/binary"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// v2 is a version 2 header.
func v2(command, family byte, body string) string {
	b := append([]byte(proxyV2Sign), command, family)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(body)))) + body
}

const (
	body4 = "\x0a\x01\x02\x03\x7f\x00\x00\x01\xc0\x00\x16\x44"
	body6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\xc0\x00\x16\x44"
)

func TestParseProxy(t *testing.T) {
	mapped := strings.Repeat("\x00", 10) + "\xff\xff\x0a\x01\x02\x03" + strings.Repeat("\x00", 16) + "\xc0\x00\x16\x44"
	for in, want := range map[string]string{
		"PROXY TCP4 10.1.2.3 127.0.0.1 49152 5700\r\n":      "10.1.2.3:49152",
		"PROXY TCP6 2001:db8::7 2001:db8::1 49152 5700\r\n": "[2001:db8::7]:49152",
		"PROXY TCP6 ::ffff:10.1.2.3 ::1 1 2\r\n":            "10.1.2.3:1",
		"PROXY UNKNOWN\r\n":                                 "own",
		"PROXY UNKNOWN ffff:f...f:ffff 1 2 anything\r\n":    "own",
		"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n": "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
		v2(0x21, 0x11, body4):                              "10.1.2.3:49152",
		v2(0x21, 0x11, body4+"\x04\x00\x02ab"):             "10.1.2.3:49152", // a TLV
		v2(0x21, 0x21, body6):                              "[2001:db8::7]:49152",
		v2(0x21, 0x21, mapped):                             "10.1.2.3:49152",
		v2(0x21, 0x31, strings.Repeat("/", 216)):           "unix",
		v2(0x20, 0x00, ""):                                 "own",
		v2(0x20, 0x11, body4):                              "own", // LOCAL: whatever follows
		v2(0x20, 0x7f, "xyz"):                              "own",
		v2(0x21, 0x00, "xyz"):                              "own",
		v2(0x21, 0x11, body4+strings.Repeat("x", 4096-12)): "10.1.2.3:49152",
		// Wrong from here on.
		"":                                                 "more",
		"GET / HTTP/1.1\r\n":                               "no PROXY header",
		"PROXX":                                            "no PROXY header",
		"PROXY TCP4 10.1.2.3 127.0.0.1 1 2\n":              "without CR LF",
		"PROXY TCP4 10.1.2.3 127.0.0.1 1\r\n":              "names no TCP4",
		"PROXY TCP4  10.1.2.3 127.0.0.1 1 2\r\n":           "names no TCP4",
		"PROXY UDP4 10.1.2.3 127.0.0.1 1 2\r\n":            "names no TCP4",
		"PROXY \r\n":                                       "names no TCP4",
		"PROXY TCP4 2001:db8::7 127.0.0.1 1 2\r\n":         "address",
		"PROXY TCP6 10.1.2.3 ::1 1 2\r\n":                  "address",
		"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n":              "address",
		"PROXY TCP4 10.1.2.03 127.0.0.1 1 2\r\n":           "address",
		"PROXY TCP4 10.1.2.3 x 1 2\r\n":                    "address",
		"PROXY TCP4 10.1.2.3 127.0.0.1 01 2\r\n":           "port",
		"PROXY TCP4 10.1.2.3 127.0.0.1 +1 2\r\n":           "port",
		"PROXY TCP4 10.1.2.3 127.0.0.1 65536 2\r\n":        "port",
		"PROXY TCP4 10.1.2.3 127.0.0.1 1 -2\r\n":           "port",
		"PROXY " + strings.Repeat("x", 101):                "107 bytes",
		"PROXY " + strings.Repeat("x", 100):                "more",
		v2(0x22, 0x11, body4):                              "command",
		v2(0x11, 0x11, body4):                              "command",
		v2(0x21, 0x12, body4):                              "family",
		v2(0x21, 0x11, body4[:11]):                         "take 12",
		v2(0x21, 0x21, body4):                              "take 36",
		v2(0x21, 0x31, body4):                              "take 216",
		v2(0x21, 0x11, body4+strings.Repeat("x", 4097-12)): "the limit is 4096",
		"\r\n\r\n\x00\r\nQUIX":                             "no PROXY header",
	} {
		got := describeProxy([]byte(in + "rest"))
		if want == "more" {
			got = describeProxy([]byte(in))
		}
		if got != want && !(strings.Contains(want, " ") || !strings.ContainsAny(want, ".:")) || !strings.Contains(got, want) {
			t.Errorf("%q: %s; want %s", in, got, want)
		}
		// A header that comes byte by byte is the same, and ends where it did.
		if h, used, err := parseProxy([]byte(in + "rest")); err == nil && used > 0 {
			if used != len(in) {
				t.Errorf("%q: used %d of %d", in, used, len(in))
			}
			for n := range in {
				if h, used, err := parseProxy([]byte(in[:n])); used != 0 || err != nil || h.named {
					t.Fatalf("%q: the first %d bytes: %v, %d, %v", in, n, h, used, err)
				}
			}
			_ = h
		}
	}
}

func describeProxy(b []byte) string {
	h, used, err := parseProxy(b)
	switch {
	case err != nil:
		return "error: " + err.Error()
	case used == 0:
		return "more"
	case !h.named:
		return "own"
	case !h.peer.IsValid():
		return "unix"
	}
	return h.peer.String()
}

func FuzzParseProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 10.1.2.3 127.0.0.1 49152 5700\r\nrest"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2(0x21, 0x11, body4) + "rest"))
	f.Add([]byte(v2(0x21, 0x21, body6)))
	f.Add([]byte(v2(0x20, 0x00, "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, used, err := parseProxy(b)
		if used < 0 || used > len(b) || used > 16+proxyV2Max || err != nil && (used != 0 || h != (proxyHeader{})) {
			t.Fatalf("%v, %d, %v", h, used, err)
		}
		// What a shorter piece says holds for the longer one: an error is final, and
		// a header found is the same.
		for n := range min(len(b), 64) {
			short, shortUsed, shortErr := parseProxy(b[:n])
			switch {
			case shortErr != nil && err == nil:
				t.Fatalf("%d bytes: %v; all: %v", n, shortErr, h)
			case shortUsed > 0 && (shortUsed != used || short != h):
				t.Fatalf("%d bytes: %v, %d; all: %v, %d", n, short, shortUsed, h, used)
			}
		}
	})
}

func proxyFrom(prefixes ...string) (list []netip.Prefix) {
	for _, p := range prefixes {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}

// peers makes a hub remember whom it has heard of.
func peers(seen chan netip.AddrPort) func(*hub) {
	return func(h *hub) {
		h.onFrame = func(h *hub, id uint64, frame []byte) {
			seen <- h.mux.Peer(id)
			h.mux.Write(id, frame)
		}
	}
}

func TestProxyHeaderNamesThePeer(t *testing.T) {
	server, client := serverTLS(t)
	seen := make(chan netip.AddrPort, 10)
	gate := &countingGate{}
	r := newRig(t, rigOptions{Settings: Settings{TLS: server, ProxyFrom: proxyFrom("127.0.0.0/8")}, hub: peers(seen), gate: gate})
	for _, header := range []string{
		"PROXY TCP4 10.1.2.3 127.0.0.1 49152 5700\r\n", v2(0x21, 0x11, body4), v2(0x21, 0x11, body4+"\x04\x00\x02ab"),
	} {
		for _, step := range []int{1, 7, len(header)} {
			plain := r.dial()
			for b := header; b != ""; b = b[min(step, len(b)):] {
				if _, err := plain.Write([]byte(b[:min(step, len(b))])); err != nil {
					t.Fatal(err)
				}
			}
			echo(t, plain, frame(5, 1))
			if got := (<-seen).String(); got != "10.1.2.3:49152" {
				t.Errorf("the peer is %s", got)
			}
			plain.Close()
		}
		c := &tlsOver{r.dial()}
		if _, err := c.Write([]byte(header)); err != nil {
			t.Fatal(err)
		}
		secure := c.tls(t, client)
		echo(t, secure, frame(5, 1))
		if got := (<-seen).String(); got != "10.1.2.3:49152" {
			t.Errorf("the peer is %s", got)
		}
	}
	local := r.dial()
	if _, err := io.WriteString(local, v2(0x20, 0, "")); err != nil {
		t.Fatal(err)
	}
	echo(t, local, frame(5, 1))
	if got := <-seen; got.String() != local.LocalAddr().String() {
		t.Errorf("the peer is %v, not the load balancer's own %v", got, local.LocalAddr())
	}
	gate.mu.Lock()
	defer gate.mu.Unlock()
	for i, a := range gate.seen {
		want := "10.1.2.3"
		if i == len(gate.seen)-1 {
			want = "127.0.0.1"
		}
		if a.String() != want {
			t.Errorf("the gate was asked about %v", a)
		}
	}
}

func TestProxyHeaderIsRequiredFromThoseAndRefusedFromOthers(t *testing.T) {
	trusted := newRig(t, rigOptions{Settings: Settings{ProxyFrom: proxyFrom("127.0.0.1/32")}})
	c := trusted.dial()
	if _, err := c.Write(frame(5, 1)); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, c)
	if n := trusted.shared.Counters().Ended["proxy_header"]; n != 1 {
		t.Errorf("%d were counted", n)
	}

	others := newRig(t, rigOptions{Settings: Settings{ProxyFrom: proxyFrom("10.0.0.0/8")}})
	echo(t, others.dial(), frame(5, 1))
	for _, header := range []string{"PROXY TCP4 10.1.2.3 127.0.0.1 49152 5700\r\n", v2(0x21, 0x11, body4)} {
		c := others.dial()
		if _, err := io.WriteString(c, header); err != nil {
			t.Fatal(err)
		}
		expectEnd(t, c) // as any first byte that begins nothing
	}
}

func TestProxyHeaderFromUnixSockets(t *testing.T) {
	seen := make(chan netip.AddrPort, 10)
	r := newRig(t, rigOptions{Settings: Settings{ProxyUnix: true}, unix: true, hub: peers(seen)})
	c := r.dial()
	if _, err := io.WriteString(c, "PROXY TCP4 10.1.2.3 127.0.0.1 49152 5700\r\n"); err != nil {
		t.Fatal(err)
	}
	echo(t, c, frame(5, 1))
	if got := (<-seen).String(); got != "10.1.2.3:49152" {
		t.Errorf("the peer is %s", got)
	}
	plain := newRig(t, rigOptions{unix: true, hub: peers(seen)})
	echo(t, plain.dial(), frame(5, 1))
	if got := <-seen; got.IsValid() {
		t.Errorf("a client on a unix socket is %v", got)
	}
}

func TestSlowProxyHeaderIsCut(t *testing.T) {
	r := newRig(t, rigOptions{Settings: Settings{ProxyFrom: proxyFrom("127.0.0.1/32"), HandshakeTimeout: 50 * time.Millisecond}})
	silent, half := r.dial(), r.dial()
	if _, err := io.WriteString(half, "PROXY TCP4 10"); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, silent)
	expectEnd(t, half)
	if n := r.shared.Counters().Ended["handshake_timeout"]; n != 2 {
		t.Errorf("%d were counted", n)
	}
}

func TestGateRefuses(t *testing.T) {
	server, client := serverTLS(t)
	r := newRig(t, rigOptions{Settings: Settings{TLS: server}, gate: &countingGate{limit: 1}})
	first := r.dial()
	echo(t, first, frame(5, 1))
	c := r.dial()
	if _, err := c.Write(frame(5, 1)); err != nil {
		t.Fatal(err)
	}
	if got := string(expectEnd(t, c)); !strings.Contains(got, "too_many_connections") || !strings.Contains(got, "too many from here") {
		t.Errorf("a refused client was told %q", got)
	}
	// A handshake is more than a refusal is worth.
	raw := &tlsOver{r.dial()}
	if err := raw.client(client).Handshake(); err == nil {
		t.Error("a refused client has shaken hands")
	}
	first.Close()
	eventually(t, "the first has left", func() bool { return r.gate.open() == 0 })
	echo(t, r.dial(), frame(5, 1))
	if n := r.shared.Counters().Ended["address"]; n != 2 {
		t.Errorf("%d were counted", n)
	}
}

// Whatever a client does that was refused, it counts as refused, and once.
func TestRefusedCountsOnce(t *testing.T) {
	r := newRig(t, rigOptions{gate: &countingGate{limit: 1}, Settings: Settings{Protocols: []string{"frames", "websocket"}}})
	echo(t, r.dial(), frame(5, 1))
	for _, send := range []string{"GET /\x00 HTTP/1.1\r\n\r\n", "\x93\x02"} {
		c := r.dial()
		if _, err := io.WriteString(c, send); err != nil {
			t.Fatal(err)
		}
		expectEnd(t, c)
	}
	for why, n := range r.shared.Counters().Ended {
		if want := map[string]uint64{"address": 2}[why]; n != want {
			t.Errorf("%d were counted as %s, want %d", n, why, want)
		}
	}
}

// An end that the hub has counted is not counted here.
func TestACountedEndIsLeftAlone(t *testing.T) {
	r := newRig(t, rigOptions{Settings: Settings{HandshakeTimeout: 50 * time.Millisecond}})
	c := r.dial()
	if _, err := io.WriteString(c, "GET /"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is open", func() (open bool) {
		r.onLoop(0, func() {
			for _, k := range r.hubs[0].mux.stacks {
				if k != nil {
					r.hubs[0].mine[k.id], open = true, true
				}
			}
		})
		return open
	})
	expectEnd(t, c)
	if n := r.shared.Counters().Ended["handshake_timeout"]; n != 0 {
		t.Errorf("%d were counted", n)
	}
}
