package attack

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"net"
	"strings"

	"gameserverd/wire"
)

// framed is a message in native framing.
func framed(message ...byte) []byte {
	b := append(wire.BeginFrame(nil), message...)
	wire.EndFrame(b, 0)
	return b
}

// request is a call in native framing; params is an encoded array.
func request(id uint32, method string, params ...byte) []byte {
	return framed(append(wire.AppendRequest(nil, id, method), params...)...)
}

func texts(values ...string) []byte {
	b := wire.AppendArray(nil, len(values))
	for _, v := range values {
		b = wire.AppendString(b, v)
	}
	return b
}

// payload is bytes with a name.
type payload struct {
	name  string
	bytes []byte
}

// malformed are bytes that are no message in any framing, each for a reason of its own.
func malformed() []payload {
	return []payload{
		{"a first byte of nothing", []byte("\xff\xfe\xfd\xfc")},
		{"text", []byte("HELO there\r\n")},
		{"a frame of length 0", []byte{0, 0, 0, 0}},
		{"a byte that MessagePack has not", framed(0xc1)},
		{"a number for a message", framed(0x07)},
		{"an empty array for a message", framed(0x90)},
		{"a message of a kind that is not", framed(0x94, 9, 1, 0xa3, 's', 'u', 'm', 0x90)},
		{"a msgid that is text", framed(append([]byte{0x94, 0, 0xa1, 'x'}, append(wire.AppendString(nil, "sum"), 0x90)...)...)},
		{"a method that is a number", framed(0x94, 0, 1, 5, 0x90)},
		{"a method of 300 bytes", request(1, strings.Repeat("m", 300), 0x90)},
		{"params that are a map", request(1, "sum", 0x80)},
		{"bytes behind the message", framed(append(append(wire.AppendRequest(nil, 1, "sum"), 0x92, 1, 2), 0xc0)...)},
		{"a message that is cut short", framed(0x94, 0, 1, 0xa3, 's')},
		{"an array of 4 billion", request(1, "echo", 0x91, 0xdd, 0xff, 0xff, 0xff, 0xff)},
		{"a map of 4 billion", request(1, "echo", 0x91, 0xdf, 0xff, 0xff, 0xff, 0xff)},
		{"arrays in arrays without end", request(1, "echo", bytes.Repeat([]byte{0x91}, 4096)...)},
		{"text that is longer than its frame", request(1, "echo", 0x91, 0xdb, 0, 1, 0, 0)},
		{"nonsense in stream framing", []byte{0x94, 0xc1, 0xc1, 0xc1}},
	}
}

// huge announce lengths that nobody has the bytes for.
func huge() []payload {
	return []payload{
		{"a frame of 16 MiB", append([]byte{0x00, 0xff, 0xff, 0xff}, wire.AppendRequest(nil, 1, "echo")...)},
		{"binary of 2 GiB in stream framing", append(wire.AppendRequest(nil, 1, "echo"), 0x91, 0xc6, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3)},
		{"text of 4 GiB in stream framing", append(wire.AppendRequest(nil, 1, "echo"), 0x91, 0xdb, 0xff, 0xff, 0xff, 0xff, 'x')},
		{"an array of 4 billion in stream framing", append(wire.AppendRequest(nil, 1, "echo"), 0x91, 0xdd, 0xff, 0xff, 0xff, 0xff, 1)},
	}
}

// badTokens are what auth.login must never take.
func badTokens() []payload {
	return []payload{
		{"no token", nil},
		{"a word for a token", []byte("attack")},
		{"a player without a number", []byte("dev:")},
		{"a player below 0", []byte("dev:-1")},
		{"a player above 64 bits", []byte("dev:18446744073709551616")},
		{"a token of 8 KiB", bytes.Repeat([]byte("A"), 8<<10)},
		{"a token signed by nobody", []byte("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiI3IiwiZXhwIjo0MTAyNDQ0ODAwfQ.")}, // alg none, valid to 2100
	}
}

// upgradeOf is a request for WebSocket, with other fields behind the usual ones.
func upgradeOf(host string, more ...string) []byte {
	lines := append([]string{
		"GET / HTTP/1.1", "Host: " + host, "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}, more...)
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

// wsFrame is a frame of WebSocket with a mask of zeros; first is its first byte.
func wsFrame(first byte, body ...byte) []byte {
	b := []byte{first}
	if len(body) <= 125 {
		b = append(b, 0x80|byte(len(body)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(len(body)))
	}
	return append(append(b, 0, 0, 0, 0), body...)
}

// webSockets break the protocol behind an upgrade that is right.
func webSockets() []payload {
	return []payload{
		{"a frame without a mask", []byte{0x82, 0x01, 0xc0}},
		{"a text message", wsFrame(0x81, []byte("hello")...)},
		{"a reserved bit", wsFrame(0xc2, 0xc0)},
		{"an opcode that is not", wsFrame(0x83, 0xc0)},
		{"a ping in pieces", wsFrame(0x09, 'p')},
		{"a ping of 126 bytes", wsFrame(0x89, bytes.Repeat([]byte{'p'}, 126)...)},
		{"the rest of no message", wsFrame(0x80, 0xc0)},
		{"a message within a message", append(wsFrame(0x02, 0x94), wsFrame(0x82, 0xc0)...)},
		{"a close with a code that is not", wsFrame(0x88, 0x03, 0xed)},
		{"a message of 8 exabytes", []byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}},
		{"a message that is no MessagePack", wsFrame(0x82, 0xc1)},
	}
}

// clientHello is the first flight of a real TLS client.
func clientHello(serverName string) []byte {
	r := &recorder{}
	_ = tls.Client(r, &tls.Config{ServerName: serverName, InsecureSkipVerify: true}).Handshake() // fails as nobody answers
	return r.sent
}

// recorder is a connection to nobody that keeps what is sent.
type recorder struct {
	net.Conn
	sent []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.sent = append(r.sent, p...)
	return len(p), nil
}

func (r *recorder) Read([]byte) (int, error) { return 0, net.ErrClosed }
func (r *recorder) Close() error             { return nil }

// brokenHellos are what is no TLS handshake, though its first byte is.
func brokenHellos(hello []byte) []payload {
	swapped := bytes.Clone(hello)
	for i := 9; i < len(swapped); i += 2 {
		swapped[i] ^= 0x5a
	}
	return []payload{
		{"garbage behind the first byte", append([]byte{0x16}, bytes.Repeat([]byte{0xa5}, 64)...)},
		{"a record of 65,535 bytes", []byte{0x16, 0x03, 0x01, 0xff, 0xff, 1, 2, 3}},
		{"a ClientHello with bits turned", swapped},
		{"SSL 2", []byte{0x16, 0x02, 0x00, 0x00, 0x05, 1, 0, 0, 1, 0}},
	}
}
