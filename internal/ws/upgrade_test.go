package ws

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// example is the request of RFC 6455 1.2, with changes: "-name" takes a field
// out, "name: value" adds one behind the others, "GET..." is the first line.
func example(changes ...string) []byte {
	lines := []string{
		"GET /chat HTTP/1.1", "Host: server.example.com", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
	}
	for _, change := range changes {
		switch name, out := strings.CutPrefix(change, "-"); {
		case out:
			lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
		case strings.Contains(change, " HTTP/"):
			lines[0] = change
		default:
			lines = append(lines, change)
		}
	}
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

func TestUpgradeOfTheRFC(t *testing.T) {
	response, err := CheckUpgrade(example(), nil)
	want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	if err != nil || string(response) != want {
		t.Errorf("%v\n%s", err, response)
	}
}

func TestUpgrades(t *testing.T) {
	type rule []string
	tests := []struct {
		name    string
		request []byte
		origins rule
		status  int
	}{
		{"names in any case", example("-Upgrade", "uPGRADE: WebSocket", "-Connection", "CONNECTION: keep-alive, uPgrade"), nil, 101},
		{"upgrade in a list", example("-Upgrade", "Upgrade: h2c,\twebsocket"), nil, 101},
		{"a list on two lines", example("-Connection", "Connection: keep-alive", "Connection: Upgrade"), nil, 101},
		{"extensions and subprotocols offered", example("Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: chat"), nil, 101},
		{"an empty body", example("Content-Length: 0"), nil, 101},
		{"no upgrade", example("-Upgrade"), nil, 426},
		{"upgrade to another thing", example("-Upgrade", "Upgrade: websocket2"), nil, 426},
		{"no connection", example("-Connection"), nil, 400},
		{"POST", example("POST /chat HTTP/1.1"), nil, 405},
		{"get", example("get /chat HTTP/1.1"), nil, 405},
		{"HTTP/1.0", example("GET /chat HTTP/1.0"), nil, 400},
		{"HTTP/2.0", example("GET /chat HTTP/2.0"), nil, 400},
		{"HTTP/1.10", example("GET /chat HTTP/1.10"), nil, 400},
		{"no path", example("GET  HTTP/1.1"), nil, 400},
		{"two paths", example("GET / / HTTP/1.1"), nil, 400},
		{"a NUL in the path", example("GET /\x00 HTTP/1.1"), nil, 400},
		{"no host", example("-Host"), nil, 400},
		{"two hosts", example("Host: server.example.com"), nil, 400},
		{"an empty host", example("-Host", "Host: "), nil, 400},
		{"version 8", example("-Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), nil, 426},
		{"no version", example("-Sec-WebSocket-Version"), nil, 426},
		{"two versions", example("Sec-WebSocket-Version: 13"), nil, 426},
		{"no key", example("-Sec-WebSocket-Key"), nil, 400},
		{"two keys", example("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), nil, 400},
		{"a short key", example("-Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"), nil, 400},
		{"a key of 17 bytes", example("-Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU="), nil, 400},
		{"a key that is no base64", example("-Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q=="), nil, 400},
		{"a body", example("Content-Length: 5"), nil, 400},
		{"a chunked body", example("Transfer-Encoding: chunked"), nil, 400},
		{"a space before the colon", example("Origin : https://server.example.com"), nil, 400},
		{"a folded line", example(" folded: x"), nil, 400},
		{"a field without a name", example(": x"), nil, 400},
		{"a field without a colon", example("nothing"), nil, 400},
		{"a CR in a value", example("X: a\rb"), nil, 400},
		{"an LF in a value", example("X: a\nb"), nil, 400},

		{"no origin", example(), rule{"https://play.example.com"}, 101},
		{"the host's own", example("Origin: https://server.example.com"), nil, 101},
		{"the host's own, port and case", example("-Host", "Host: Server.example.com:5700", "Origin: http://server.example.com:5700"), nil, 101},
		{"another port of the host", example("Origin: https://server.example.com:8443"), nil, 403},
		{"another page", example("Origin: https://evil.example"), nil, 403},
		{"a page that begins as the host does", example("Origin: https://server.example.com.evil.example"), nil, 403},
		{"an empty one", example("Origin:"), nil, 403},
		{"null", example("Origin: null"), nil, 403},
		{"one that is listed", example("Origin: https://play.example.com"), rule{"https://a.example", "https://play.example.com"}, 101},
		{"the host's own where others are listed", example("Origin: https://server.example.com"), rule{"https://play.example.com"}, 403},
		{"another scheme", example("Origin: http://play.example.com"), rule{"https://play.example.com"}, 403},
		{"any", example("Origin: null"), rule{"*"}, 101},
		{"two origins", example("Origin: https://server.example.com", "Origin: https://server.example.com"), nil, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			response, err := CheckUpgrade(tt.request, tt.origins)
			got, parseErr := http.ReadResponse(bufio.NewReader(bytes.NewReader(response)), nil)
			if parseErr != nil {
				t.Fatalf("%v\n%s", parseErr, response)
			}
			body, readErr := io.ReadAll(got.Body)
			if got.StatusCode != tt.status || readErr != nil {
				t.Fatalf("%d (%v, %v), want %d", got.StatusCode, err, readErr, tt.status)
			}
			if tt.status == 101 {
				if err != nil || got.Header.Get("Sec-WebSocket-Extensions")+got.Header.Get("Sec-WebSocket-Protocol") != "" {
					t.Errorf("%v, %v", err, got.Header)
				}
				return
			}
			if bad := (*UpgradeError)(nil); !errors.As(err, &bad) || bad.Status != tt.status || string(body) != bad.Msg+"\n" || !got.Close {
				t.Errorf("%v, %q, %v", err, body, got.Header)
			}
			if tt.status == 405 && got.Header.Get("Allow") != "GET" || tt.status == 426 && got.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("header %v", got.Header)
			}
		})
	}
}

func TestHeaderEndIsBounded(t *testing.T) {
	long := []byte("GET / HTTP/1.1\r\nX: " + strings.Repeat("y", MaxRequest) + "\r\n\r\n")
	if n := HeaderEnd(long); n != 0 {
		t.Errorf("an end at %d", n)
	}
	if response, err := CheckUpgrade(long, nil); err == nil || !bytes.HasPrefix(response, []byte("HTTP/1.1 400 ")) {
		t.Errorf("%v, %s", err, response)
	}
	request := example()
	for n := range request {
		if got := HeaderEnd(request[:n]); got != 0 {
			t.Fatalf("an end at %d of %d bytes", got, n)
		}
	}
	if got := HeaderEnd(append(request, "more"...)); got != len(request) {
		t.Errorf("an end at %d, want %d", got, len(request))
	}
}

// coder/websocket is somebody else's idea of the protocol: it upgrades, sends
// and reads messages of all length forms and a ping, and closes.
func TestForeignClient(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() { served <- echoOnce(listener) }()

	client, _, err := websocket.Dial(ctx, "ws://"+listener.Addr().String()+"/", &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseNow()
	client.SetReadLimit(1 << 20)
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 300000} {
		sent := bytes.Repeat([]byte{7}, n)
		if err := client.Write(ctx, websocket.MessageBinary, sent); err != nil {
			t.Fatal(err)
		}
		kind, got, err := client.Read(ctx)
		if err != nil || kind != websocket.MessageBinary || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes sent, %d of kind %v came back: %v", n, len(got), kind, err)
		}
	}
	pinged := make(chan error, 1)
	go func() { _, _, err := client.Read(ctx); pinged <- err }()
	if err := client.Ping(ctx); err != nil {
		t.Errorf("ping: %v", err)
	}
	if err := client.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-pinged; websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("the reader ended with %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("the server: %v", err)
	}
}

// echoOnce serves one connection with this package, until it closes.
func echoOnce(listener net.Listener) error {
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	var kept []byte
	more := func() error {
		kept = slices.Grow(kept, 64<<10)
		n, err := conn.Read(kept[len(kept):cap(kept)])
		kept = kept[:len(kept)+n]
		return err
	}
	for HeaderEnd(kept) == 0 {
		if err := more(); err != nil {
			return err
		}
	}
	end := HeaderEnd(kept)
	response, err := CheckUpgrade(kept[:end], nil)
	if err != nil {
		return err
	}
	if _, err := conn.Write(response); err != nil {
		return err
	}
	kept = kept[end:]
	var d Decoder
	for {
		ev, used, err := d.Next(kept, 1<<20)
		if err != nil {
			return err
		}
		switch ev.Kind {
		case Message:
			_, err = conn.Write(AppendFrame(nil, Message, ev.Payload))
		case Ping:
			_, err = conn.Write(AppendFrame(nil, Pong, ev.Payload))
		case Close:
			_, err = conn.Write(AppendClose(nil, ev.Code, ""))
			return err
		}
		if err == nil && used == 0 {
			err = more()
		}
		if err != nil {
			return err
		}
		kept = kept[used:]
	}
}
