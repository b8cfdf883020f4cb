package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// carriers are the ways to a hub, each as a stream of native frames.
var carriers = []struct {
	name string
	tls  uint16 // version; 0: none
	ws   bool
}{
	{"tcp", 0, false},
	{"tls-1.2", tls.VersionTLS12, false},
	{"tls-1.3", tls.VersionTLS13, false},
	{"websocket", 0, true},
	{"tls+websocket", tls.VersionTLS13, true},
}

// framed is a client that sends and gets frames.
type framed interface {
	send(frame []byte) error
	receive() ([]byte, error)
}

// streamed is framed on a stream of bytes.
type streamed struct{ net.Conn }

func (c streamed) send(frame []byte) error {
	_, err := c.Write(frame)
	return err
}

func (c streamed) receive() ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, err
	}
	b := make([]byte, 4+binary.BigEndian.Uint32(head))
	copy(b, head)
	_, err := io.ReadFull(c, b[4:])
	return b, err
}

// wsClient is framed on coder/websocket.
type wsClient struct {
	*websocket.Conn
	t testing.TB
}

func (c wsClient) ctx() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), deadline)
}

func (c wsClient) send(frame []byte) error {
	ctx, cancel := c.ctx()
	defer cancel()
	return c.Write(ctx, websocket.MessageBinary, frame[4:])
}

func (c wsClient) receive() ([]byte, error) {
	ctx, cancel := c.ctx()
	defer cancel()
	kind, b, err := c.Read(ctx)
	if err == nil && kind != websocket.MessageBinary {
		err = fmt.Errorf("a message of type %v", kind)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...), err
}

// websocketOn upgrades c.
func websocketOn(t testing.TB, c net.Conn, header http.Header) (*websocket.Conn, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return c, nil },
	}}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	w, _, err := websocket.Dial(ctx, "ws://localhost/", &websocket.DialOptions{HTTPClient: client, HTTPHeader: header})
	if err != nil {
		return nil, err
	}
	w.SetReadLimit(-1)
	t.Cleanup(func() { _ = w.CloseNow() })
	return w, nil
}

// TestWhateverTheHubWantsAllComesBackInOrder is the package's invariant: hubs
// that pause and yield as they like, clients that cut as they like.
func TestWhateverTheHubWantsAllComesBackInOrder(t *testing.T) {
	server, client := serverTLS(t)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	for i, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			whims := rand.New(rand.NewPCG(seed, 100+uint64(i)))
			r := newRig(t, rigOptions{Settings: Settings{TLS: server}, hub: func(h *hub) {
				h.perTurn = 3
				h.onFrame = func(h *hub, id uint64, frame []byte) {
					h.mux.Write(id, frame)
					switch whims.IntN(20) {
					case 0:
						h.pauseFor(id, 1+whims.IntN(3))
					case 1:
						h.mux.Yield(id)
					}
				}
			}})
			var c net.Conn = r.dial()
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			sizes := make([]int, 50)
			for k := range sizes {
				sizes[k] = 1 + random.IntN(1<<random.IntN(16))
			}
			c = &choppy{Conn: c, sizes: sizes}
			if carrier.tls != 0 {
				config := client.Clone()
				config.MinVersion, config.MaxVersion = carrier.tls, carrier.tls
				c = tls.Client(c, config)
			}
			var link framed = streamed{c}
			if carrier.ws {
				w, err := websocketOn(t, c, nil)
				if err != nil {
					t.Fatal(err)
				}
				link = wsClient{w, t}
			}
			frames := make([][]byte, 1000)
			for k := range frames {
				frames[k] = frame(1+random.IntN(1<<random.IntN(13)), byte(k))
			}
			frames[500] = frame(1<<20, 9)
			sent := make(chan error, 1)
			go func() {
				for _, f := range frames {
					if err := link.send(f); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			for k, want := range frames {
				got, err := link.receive()
				if err != nil {
					t.Fatalf("frame %d: %v", k, err)
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("frame %d of %d bytes is %d bytes", k, len(want), len(got))
				}
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			eventually(t, "nothing is left with the connection", func() (idle bool) {
				r.onLoop(0, func() { idle = r.holdsNothing() })
				return idle && r.input.Used() == 0
			})
		})
	}
}

// holdsNothing tells whether no connection holds anything but itself. Loop only.
func (r *rig) holdsNothing() bool {
	for _, h := range r.hubs {
		for _, k := range h.mux.stacks {
			if k == nil {
				continue
			}
			if k.in != nil || k.ws != nil && k.ws.native != nil || k.tls != nil && (k.tls.behind != nil || k.tls.from != nil) ||
				k.has(pledged|again) || r.sets[h.index].Buffered(k.id) > 0 {
				return false
			}
		}
	}
	return true
}
