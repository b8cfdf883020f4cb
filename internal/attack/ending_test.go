package attack

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"gameserverd/wire"
)

func closing(code string) []byte {
	return wire.AppendClosing(nil, wire.Closing{Code: code, Message: "why", RetryAfter: time.Second})
}

func TestEndings(t *testing.T) {
	said := closing(wire.ProtocolError)
	native := framed(said...)
	switching := "HTTP/1.1 101 Switching Protocols\r\n\r\n"
	dial := func(err error) error { return &net.OpError{Op: "dial", Err: err} }
	for _, tt := range []struct {
		got  string
		err  error
		want string
	}{
		{"", io.EOF, hungUp},
		{"", nil, stayedOpen},
		{"", os.ErrDeadlineExceeded, stayedOpen},
		{"", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, stayedOpen},
		{"", net.ErrClosed, stayedOpen},
		{"", errLeave, leftIt},
		{"", syscall.ECONNRESET, wasReset},
		{"", fmt.Errorf("write: %w", syscall.EPIPE), wasReset},
		{"", dial(os.ErrDeadlineExceeded), noAnswer},
		{"", dial(syscall.ECONNREFUSED), "refused"},
		{"", errors.New("odd"), "failed: odd"},
		{"", &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, "tls alert: bad certificate"},
		{string(native), io.EOF, "sys.closing protocol_error"},
		{string(native), syscall.ECONNRESET, "sys.closing protocol_error"},
		{string(said), io.EOF, "sys.closing protocol_error"},
		{strings.Repeat("x", 3*keptTail) + string(native), io.EOF, "sys.closing protocol_error"},
		{string(native[:len(native)-3]), io.EOF, "sys.closing (unreadable)"},
		{switching + "\x82" + string(rune(len(said))) + string(said) + "\x88\x02\x03\xea", io.EOF, "sys.closing protocol_error"},
		{switching, io.EOF, hungUp},
		{switching + "\x88\x02\x03\xea", io.EOF, "websocket close 1002"},
		{switching + "\x8a\x01p\x88\x06\x03\xf1why!", io.EOF, "websocket close 1009"},
		{"\x88\x02\x03\xea", io.EOF, hungUp},
		{"HTTP/1.1 403 Forbidden\r\n\r\nno\n", io.EOF, "http 403"},
		{"HTTP/1.1 4", io.EOF, hungUp},
		{"\x15\x03\x01\x00\x02\x02\x46", io.EOF, "tls alert 70"},
		{"\x15\x03\x01", io.EOF, hungUp},
	} {
		for _, step := range []int{1, 100, 1 << 20} {
			var r received
			for rest := tt.got; rest != ""; {
				n := min(step, len(rest))
				r.add([]byte(rest[:n]))
				rest = rest[n:]
			}
			if got := r.ending(tt.err); got != tt.want {
				t.Errorf("%.60q in steps of %d, %v: %q, want %q", tt.got, step, tt.err, got, tt.want)
			}
			if len(r.head) > keptHead || len(r.tail) > keptTail {
				t.Errorf("%d and %d bytes are kept", len(r.head), len(r.tail))
			}
		}
	}
}

// FuzzEnding: whatever a server sends, the attack lives to tell.
func FuzzEnding(f *testing.F) {
	f.Add(framed(closing(wire.FrameTooLarge)...))
	f.Add([]byte("HTTP/1.1 101 \r\n\r\n\x88\x02\x03\xea"))
	f.Add([]byte("\x15\x03\x01\x00\x02\x02\x46"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, s received
		r.add(b)
		for i := range b {
			s.add(b[i : i+1])
		}
		if x, y := r.ending(io.EOF), s.ending(io.EOF); x != y || x == "" {
			t.Errorf("%q whole, %q a byte at a time", x, y)
		}
	})
}

// What is sent as malformed is: a server may not take it for a message.
func TestMalformedIsMalformed(t *testing.T) {
	for _, p := range malformed() {
		if p.bytes[0] != 0 || len(p.bytes) <= wire.HeaderLen {
			continue // no frame at all
		}
		var m wire.Message
		if n := wire.FrameLen(p.bytes); n != len(p.bytes)-wire.HeaderLen {
			t.Errorf("%s: a frame of %d bytes says %d", p.name, len(p.bytes), n)
		}
		if err := m.Parse(p.bytes[wire.HeaderLen:], wire.DefaultMaxElements); err == nil {
			t.Errorf("%s is a message", p.name)
		}
	}
	names := map[string]bool{}
	for _, s := range scenarios {
		for _, k := range s.kinds(&attack{o: Options{Addr: "127.0.0.1:1"}}) {
			if names[s.name+k.name] || k.name == "" {
				t.Errorf("%s has %q twice", s.name, k.name)
			}
			names[s.name+k.name] = true
		}
	}
	if hello := clientHello("localhost"); len(hello) < 100 || hello[0] != 0x16 {
		t.Errorf("a ClientHello of %d bytes", len(hello))
	}
}
