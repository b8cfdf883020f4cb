package attack

import (
	"crypto/tls"
	"errors"
	"time"

	"gameserverd/wire"
)

// Times of the attack.
const (
	quick    = 2 * time.Second // what is wrong at first sight has to be closed within
	slack    = time.Second     // that the daemon may take beyond a limit of its own
	dripTime = time.Second     // between two bytes of a slow sender
)

// kind is one thing that connections of a scenario do.
type kind struct {
	name string
	expect
	raw  bool                // on TCP also where the rest speaks TLS
	deaf bool                // nothing is read but by do
	do   func(h *hand) error // sends; an error is the end of the connection. It ends by itself when the scenario is over
}

// scenario is a number of kinds, which connections are in turn.
type scenario struct {
	name  string
	what  string                        // it does, in a few words
	hands int                           // connections at once, at most; 0: as many as Options say
	probe func(a *attack) (skip string) // why it makes no sense here; nil: it always does
	kinds func(a *attack) []kind
}

// Names are those of the scenarios, in their order.
func Names() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

var scenarios = []scenario{
	{name: "malformed", what: "bytes that are no message", kinds: func(*attack) []kind {
		return sending(malformed(), expect{ends: []string{"sys.closing protocol_error", wasReset}, must: quick})
	}},
	{name: "huge", what: "lengths of megabytes and gigabytes, announced", kinds: func(*attack) []kind {
		return sending(huge(), expect{ends: []string{"sys.closing frame_too_large", "sys.closing protocol_error", wasReset}, must: quick})
	}},
	{name: "slow", what: "messages that begin and go on with a byte a second", kinds: slowKinds},
	{name: "silent", what: "connections that say nothing", kinds: silentKinds},
	{name: "deaf", what: "readers that never read", hands: 20, kinds: deafKinds},
	{name: "logins", what: "logins with bad tokens, one after the other", kinds: loginKinds},
	{name: "tls", what: "handshakes: half of one, garbage, many at once", kinds: tlsKinds},
	{name: "connections", what: "connections that come and go", kinds: connectionKinds},
	{name: "websocket", what: "requests and frames that break WebSocket", probe: probeWebSocket, kinds: webSocketKinds},
}

// sending are kinds that send their payload and wait.
func sending(payloads []payload, e expect) (kinds []kind) {
	for _, p := range payloads {
		kinds = append(kinds, kind{name: p.name, expect: e, do: func(h *hand) error { return h.send(p.bytes) }})
	}
	return kinds
}

// within is a limit of the daemon's as a time for rules; 0: not known.
func within(limits ...time.Duration) (must time.Duration) {
	for _, l := range limits {
		if l > 0 && (must == 0 || l+slack < must) {
			must = l + slack
		}
	}
	return must
}

func slowKinds(a *attack) []kind {
	e := expect{ends: []string{wasReset}, must: within(a.o.Bounds.FrameTimeout, a.o.Bounds.LoginTimeout)}
	drip := func(name string, b []byte) kind {
		return kind{name: name, expect: e, do: func(h *hand) error { return h.drip(b) }}
	}
	long := request(1, "echo", append(wire.AppendArray(nil, 1), wire.AppendString(nil, string(make([]byte, 4096)))...)...)
	return []kind{
		drip("a frame's length, slowly", long),
		{name: "a frame that stops in the middle", expect: e, do: func(h *hand) error { return h.send(long[:len(long)/2]) }},
		{name: "a frame that goes on slowly", expect: e, do: func(h *hand) error {
			return errors.Join(h.send(long[:100]), h.drip(long[100:]))
		}},
		drip("stream framing, slowly", append(wire.AppendRequest(nil, 1, "echo"), texts(string(make([]byte, 4096)))...)),
	}
}

func silentKinds(a *attack) []kind {
	ping := request(1, "sys.ping", 0x90)
	e := expect{ends: []string{wasReset}, must: within(a.o.Bounds.LoginTimeout)}
	return []kind{
		{name: "nothing at all", expect: e, do: func(*hand) error { return nil }},
		{name: "one call, then nothing", expect: e, do: func(h *hand) error { return h.send(ping) }},
	}
}

func deafKinds(*attack) []kind {
	e := expect{ends: []string{"sys.closing slow_consumer", wasReset}}
	large := request(1, "echo", append(wire.AppendArray(nil, 1), wire.AppendString(nil, string(make([]byte, 60<<10)))...)...)
	ping := request(1, "sys.ping", 0x90)
	flood := func(name string, b []byte) kind {
		return kind{name: name, expect: e, deaf: true, do: func(h *hand) error { return h.flood(b) }}
	}
	return []kind{flood("asks for 60 KiB and reads none of it", large), flood("asks for many small answers", ping)}
}

func loginKinds(a *attack) (kinds []kind) {
	e := expect{ends: []string{"sys.closing rate_limited", wasReset}}
	for _, p := range badTokens() {
		kinds = append(kinds, kind{name: p.name, expect: e, deaf: true, do: func(h *hand) error { return h.logins(string(p.bytes)) }})
	}
	return kinds
}

func tlsKinds(a *attack) []kind {
	hello := clientHello(a.o.serverName())
	ends := []string{"tls alert*", "sys.closing protocol_error", wasReset}
	half := expect{ends: ends, must: within(a.o.Bounds.HandshakeTimeout)}
	raw := func(name string, e expect, do func(h *hand) error) kind {
		return kind{name: name, expect: e, raw: true, do: do}
	}
	kinds := []kind{
		raw("half a ClientHello", half, func(h *hand) error { return h.send(hello[:len(hello)/2]) }),
		raw("a ClientHello, slowly", half, func(h *hand) error { return h.drip(hello) }),
		raw("a ClientHello, and no more", half, func(h *hand) error { return h.send(hello) }),
		raw("a handshake, and gone", expect{ends: ends}, func(h *hand) error {
			cfg := &tls.Config{ServerName: a.o.serverName(), InsecureSkipVerify: true} // an attacker does not care
			if err := tls.Client(h.Conn, cfg).HandshakeContext(h.ctx); err != nil {
				return err
			}
			return errLeave
		}),
	}
	kinds[3].deaf = true
	for _, p := range brokenHellos(hello) {
		kinds = append(kinds, raw(p.name, expect{ends: ends, must: quick}, func(h *hand) error { return h.send(p.bytes) }))
	}
	return kinds
}

func connectionKinds(*attack) []kind {
	e := expect{ends: []string{wasReset}}
	return []kind{
		{name: "comes and goes", expect: e, raw: true, do: func(*hand) error { return errLeave }},
		{name: "calls and goes", expect: e, raw: true, do: func(h *hand) error {
			return errors.Join(h.send(request(1, "sum", 0x92, 1, 2)), errLeave)
		}},
		{name: "comes and stays", expect: e, raw: true, do: func(*hand) error { return nil }},
		{name: "half a frame and goes", expect: e, raw: true, do: func(h *hand) error { return errors.Join(h.send([]byte{0, 0, 1, 0, 0x94}), errLeave) }},
	}
}

func probeWebSocket(a *attack) (skip string) {
	if a.answersUpgrade() {
		return ""
	}
	return "the daemon speaks no WebSocket here"
}

func webSocketKinds(a *attack) []kind {
	host := a.o.serverName()
	ends := []string{"sys.closing protocol_error", "sys.closing frame_too_large", "websocket close*", "http 4*", wasReset}
	upgrade := upgradeOf(host)
	wrong := expect{ends: ends, must: quick}
	long := append(upgradeOf(host)[:20], make([]byte, 0, 10<<10)...)
	for len(long) < 10<<10 {
		long = append(long, "X-Long: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"...)
	}
	kinds := sending([]payload{
		{"a request without a key", []byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n")},
		{"a request that is no upgrade", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"a header without end", long},
	}, wrong)
	for _, p := range webSockets() {
		kinds = append(kinds, sending([]payload{{p.name, append(upgradeOf(host), p.bytes...)}}, wrong)...)
	}
	wait := expect{ends: ends, must: within(a.o.Bounds.HandshakeTimeout)}
	started := expect{ends: ends, must: within(a.o.Bounds.FrameTimeout, a.o.Bounds.LoginTimeout)}
	return append(kinds,
		kind{name: "another page's script", expect: expect{ends: ends}, do: func(h *hand) error { return h.send(upgradeOf(host, "Origin: https://evil.example")) }},
		kind{name: "a request, slowly", expect: wait, do: func(h *hand) error { return h.drip(upgrade) }},
		kind{name: "half a message", expect: started, do: func(h *hand) error {
			return h.send(append(upgradeOf(host), wsFrame(0x82, make([]byte, 200)...)[:100]...))
		}},
		kind{name: "a message in pieces without end", expect: started, do: func(h *hand) error {
			if err := h.send(append(upgradeOf(host), wsFrame(0x02, 0x94)...)); err != nil {
				return err
			}
			return h.drip(wsFrame(0x00))
		}},
		kind{name: "pings that are answered to nobody", expect: expect{ends: append(ends, "sys.closing slow_consumer")}, deaf: true, do: func(h *hand) error {
			if err := h.send(upgrade); err != nil {
				return err
			}
			return h.flood(wsFrame(0x89, make([]byte, 125)...))
		}},
	)
}
