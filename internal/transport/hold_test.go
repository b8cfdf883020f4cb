package transport

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gameserverd/internal/conn"
)

// connect makes a client of r on a carrier.
func (r *rig) connect(carrier string, client *tls.Config) framed {
	r.t.Helper()
	for _, c := range carriers {
		if c.name != carrier {
			continue
		}
		var link net.Conn = r.dial()
		if c.tls != 0 {
			config := client.Clone()
			config.MinVersion, config.MaxVersion = c.tls, c.tls
			link = tls.Client(link, config)
		}
		if !c.ws {
			return streamed{link}
		}
		w, err := websocketOn(r.t, link, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		return wsClient{w, r.t}
	}
	r.t.Fatal("no such carrier: " + carrier)
	return nil
}

// TestMoveTakesTheLayersAlong moves connections to and fro while frames are on
// their way in both directions.
func TestMoveTakesTheLayersAlong(t *testing.T) {
	server, client := serverTLS(t)
	for _, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			r := newRig(t, rigOptions{Settings: Settings{TLS: server}, loops: 2, hub: func(h *hub) {
				h.perTurn = 5
				h.onFrame = func(h *hub, id uint64, frame []byte) {
					h.mux.Write(id, frame)
					if frame[4] == 'M' {
						h.move(id)
					}
				}
			}})
			c := r.connect(carrier.name, client)
			const count = 300
			nth := func(i int) []byte {
				f := frame(1+i*37%5000, byte(i))
				f[4] = 'x'
				if i%7 == 3 {
					f[4] = 'M'
				}
				return f
			}
			sent := make(chan error, 1)
			go func() {
				for i := range count {
					if err := c.send(nth(i)); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			for i := range count {
				if got, err := c.receive(); err != nil || !bytes.Equal(got, nth(i)) {
					t.Fatalf("frame %d: %d bytes, %v", i, len(got), err)
				}
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			moved := 0
			for i, set := range r.sets {
				r.onLoop(i, func() { moved += int(set.Stats().MovedOut) })
			}
			if moved != count/7 && moved != count/7+1 {
				t.Errorf("it has moved %d times", moved)
			}
		})
	}
}

// move takes id to the other hub, as a login does.
func (h *hub) move(id uint64) {
	h.paused[id] = true
	h.mux.Pause(id)
	h.rig.moving.Add(1)
	h.loop.AddCallback(func() {
		if h.known[id] == 0 {
			h.rig.moving.Add(-1)
			return // closed meanwhile
		}
		to := h.rig.hubs[1-h.index]
		known := h.known[id]
		delete(h.known, id)
		delete(h.paused, id)
		delete(h.halves, id)
		h.mux.Move(id, to.index, func(arrived uint64) {
			h.rig.moving.Add(-1)
			if arrived == 0 {
				return
			}
			to.known[arrived] = known
			to.mux.Resume(arrived)
		})
	})
}

func TestMoveToALoopThatHasEnded(t *testing.T) {
	server, client := serverTLS(t)
	gone := make(chan uint64, 1)
	r := newRig(t, rigOptions{Settings: Settings{TLS: server}, loops: 2})
	// The first connection is the first loop's.
	c := r.connect("tls-1.3", client)
	if err := c.send(frame(5, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.receive(); err != nil {
		t.Fatal(err)
	}
	r.loops[1].Stop()
	<-r.ends[1]
	r.onLoop(0, func() {
		for id := range r.hubs[0].known {
			r.hubs[0].mux.Pause(id)
			r.hubs[0].mux.Move(id, 1, func(id uint64) { gone <- id })
		}
	})
	r.sets[1].Release()
	select {
	case id := <-gone:
		if id != 0 {
			t.Errorf("it has arrived as %d", id)
		}
	case <-time.After(deadline):
		t.Fatal("nobody says what has become of it")
	}
	r.mu.Lock()
	r.closed++ // Closed is not told of a connection that could not be moved
	r.mu.Unlock()
}

// TestAReaderThatNeverReads: its echo stops the reading from it, others are served
// meanwhile, and when it reads everything is there.
func TestAReaderThatNeverReads(t *testing.T) {
	server, client := serverTLS(t)
	for _, carrier := range carriers[2:] {
		t.Run(carrier.name, func(t *testing.T) {
			r := newRig(t, rigOptions{Settings: Settings{TLS: server}, conn: conn.Options{HighWater: 128 << 10, MaxOutput: 1 << 20}})
			c := r.connect(carrier.name, client)
			const count = 600
			sent := make(chan error, 1)
			go func() {
				for i := range count {
					if err := c.send(frame(10_000, byte(i))); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			eventually(t, "it is stopped", func() (stopped bool) {
				r.onLoop(0, func() {
					for id := range r.hubs[0].known {
						stopped = r.hubs[0].mux.Pending(id) >= 128<<10
					}
				})
				return stopped
			})
			other := r.connect(carrier.name, client)
			for range 20 {
				if err := other.send(frame(100, 1)); err != nil {
					t.Fatal(err)
				}
				if _, err := other.receive(); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case err := <-sent:
				t.Fatalf("all was sent though nothing is read: %v", err)
			default:
			}
			for i := range count {
				if got, err := c.receive(); err != nil || !bytes.Equal(got, frame(10_000, byte(i))) {
					t.Fatalf("frame %d: %d bytes, %v", i, len(got), err)
				}
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestAnswersThatAreLargerThanTheirRequests: a backlog that was decrypted already
// waits until the answers to what came before are sent.
func TestAnswersThatAreLargerThanTheirRequests(t *testing.T) {
	server, client := serverTLS(t)
	for _, carrier := range carriers[2:] {
		t.Run(carrier.name, func(t *testing.T) {
			r := newRig(t, rigOptions{
				Settings: Settings{TLS: server}, conn: conn.Options{HighWater: 64 << 10, MaxOutput: 1 << 20},
				hub: func(h *hub) {
					h.onFrame = func(h *hub, id uint64, f []byte) { h.mux.Write(id, frame(5000, f[4])) }
				},
			})
			c := r.connect(carrier.name, client)
			const count = 1200 // 6 MB
			sent := make(chan error, 1)
			go func() {
				var err error
				if s, ok := c.(streamed); ok { // all in a few records
					var all []byte
					for i := range count {
						all = append(all, frame(1, byte(i))...)
					}
					_, err = s.Write(all)
				} else {
					for i := range count {
						err = errors.Join(err, c.send(frame(1, byte(i))))
					}
				}
				sent <- err
			}()
			eventually(t, "output waits", func() (waits bool) {
				r.onLoop(0, func() {
					for id := range r.hubs[0].known {
						waits = r.hubs[0].mux.Pending(id) >= 64<<10
					}
				})
				return waits
			})
			for i := range count {
				if got, err := c.receive(); err != nil || !bytes.Equal(got, frame(5000, byte(i))) {
					t.Fatalf("frame %d: %d bytes, %v", i, len(got), err)
				}
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestASlowConsumerIsCut: pushes to a client that does not read.
func TestASlowConsumerIsCut(t *testing.T) {
	server, client := serverTLS(t)
	for _, carrier := range carriers {
		r := newRig(t, rigOptions{Settings: Settings{TLS: server}, conn: conn.Options{MaxOutput: 1 << 20}, hub: func(h *hub) {
			h.onFrame = func(h *hub, id uint64, _ []byte) {
				var push func()
				push = func() {
					for range 50 {
						if !h.mux.Write(id, frame(20_000, 1)) {
							return
						}
					}
					if h.known[id] != 0 {
						h.loop.AddCallback(push)
					}
				}
				push()
			}
		}})
		c := r.connect(carrier.name, client)
		if err := c.send(frame(1, 1)); err != nil {
			t.Fatal(err)
		}
		eventually(t, carrier.name+" is cut", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.ended) == 1 && strings.Contains(r.ended[0], "slow_consumer")
		})
	}
}

func TestAPanicCostsOneConnection(t *testing.T) {
	server, client := serverTLS(t)
	r := newRig(t, rigOptions{Settings: Settings{TLS: server}, hub: func(h *hub) {
		h.onFrame = func(h *hub, id uint64, frame []byte) {
			h.mux.Write(id, frame)
			if frame[4] == 'P' {
				panic("as asked")
			}
		}
	}})
	for _, carrier := range carriers {
		one, other := r.connect(carrier.name, client), r.connect(carrier.name, client)
		f := frame(10, 1)
		f[4] = 'P'
		if err := one.send(f); err != nil {
			t.Fatal(err)
		}
		if got, err := one.receive(); err == nil {
			t.Errorf("%s: a frame of %d bytes after a panic", carrier.name, len(got))
		}
		if err := other.send(frame(10, 1)); err != nil {
			t.Fatal(err)
		}
		if got, err := other.receive(); err != nil || !bytes.Equal(got, frame(10, 1)) {
			t.Errorf("%s: another connection: %d bytes, %v", carrier.name, len(got), err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.panics) != len(carriers) {
		t.Errorf("%d panics", len(r.panics))
	}
	r.panics = nil
}

// TestKeyUpdate lets openssl update its keys, and ask for ours, in the middle.
func TestKeyUpdate(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Log("there is no openssl: nothing else here can update its keys")
		return
	}
	server, _ := serverTLS(t)
	r := newRig(t, rigOptions{Settings: Settings{TLS: server}})
	cmd := exec.Command(openssl, "s_client", "-tls1_3", "-connect", r.server.Addrs()[0])
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := time.AfterFunc(deadline, func() { _ = cmd.Process.Kill() })
	defer over.Stop()
	lines, notes := bufio.NewReader(out), bufio.NewReader(said)
	for i, ask := range []string{"", "K\n", "k\n", "K\n"} {
		word := fmt.Sprintf("word-%d", i)
		// Commands are lines of their own, read as such only if each comes alone.
		if ask != "" {
			if _, err := io.WriteString(in, ask); err != nil {
				t.Fatal(err)
			}
			for line := ""; !strings.Contains(line, "KEYUPDATE"); {
				if line, err = notes.ReadString('\n'); err != nil {
					t.Fatalf("after %q: %v", ask, err)
				}
			}
		}
		if _, err := io.WriteString(in, "\x93"+word+"\n"); err != nil {
			t.Fatal(err)
		}
		for line := ""; !strings.Contains(line, word); {
			if line, err = lines.ReadString('\n'); err != nil {
				t.Fatalf("%s did not come back: %v", word, err)
			}
		}
	}
	in.Close()
	_ = cmd.Wait() // its exit code says nothing of us
}
