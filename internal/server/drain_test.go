package server

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// rawDial connects without a client, so that the test sees every message.
func (s *testServer) rawDial() net.Conn {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.Addrs()[0])
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	return nc
}

// sums are n requests of sum, in frames.
func sums(t testing.TB, n int) (all []byte) {
	for i := range n {
		b := wire.AppendArray(wire.AppendRequest(wire.BeginFrame(nil), uint32(i), "sum"), 2)
		b = wire.AppendInt(wire.AppendInt(b, int64(i)), 1)
		wire.EndFrame(b, 0)
		all = append(all, b...)
	}
	return all
}

// request is one request without params.
func request(id uint32, method string) []byte {
	b := wire.AppendArray(wire.AppendRequest(wire.BeginFrame(nil), id, method), 0)
	wire.EndFrame(b, 0)
	return b
}

func send(t testing.TB, nc net.Conn, b []byte) {
	t.Helper()
	if _, err := nc.Write(b); err != nil {
		t.Fatal(err)
	}
}

func receive(t testing.TB, nc net.Conn) wire.Message {
	t.Helper()
	m, err := readMessage(nc)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// A method that never returns holds the first loop, and with it the listeners.
// The players of the other loop are sent away as always, and the daemon ends.
func TestALoopThatNeverComesBackHoldsNobodyElseUp(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Loop.Count = 2
	cfg.Loop.SlowCallback = 20 * time.Millisecond
	cfg.Shutdown.Deadline = time.Second
	hang := make(chan struct{})
	s := start(t, cfg, only(rpc.Method{Name: "hang", Public: true, Sync: func(_ *rpc.Call, _ *rpc.Args, out []byte) ([]byte, error) {
		<-hang
		return wire.AppendNil(out), nil
	}}), "slow callback", "loops do not answer: a callback holds them", "loops do not end: what they have is left to them")
	stuck, good := s.rawDial(), s.rawDial() // on the first loop and on the other one
	send(t, good, sums(t, 1))
	receive(t, good)
	send(t, stuck, request(1, "hang"))
	eventually(t, "the loop is held", func() bool { return s.logs.FilterMessage("slow callback").Len() > 0 })

	began := time.Now()
	s.Shutdown("test")
	if m := receive(t, good); string(m.Method) != wire.ClosingMethod {
		t.Errorf("the client of the other loop got %+v", m)
	}
	if took := time.Since(began); took > cfg.Shutdown.Deadline {
		t.Errorf("it got its goodbye after %v", took)
	}
	good.Close()
	report := s.drain()
	if took := time.Since(began); report.Clean || took > 10*time.Second {
		t.Errorf("after %v: %+v", took, report)
	}
	close(hang)
	eventually(t, "what the loop had is closed", func() bool { return s.peers.Connections() == 0 })
}

// What was read whole is answered before the connection closes, also what had no
// room in the mailbox.
func TestDrainAnswersEverythingThatWasRead(t *testing.T) {
	hold := make(chan struct{})
	s := start(t, testConfig(t.TempDir()), only(blocking("hold", func(*rpc.Call) error { <-hold; return nil })))
	nc, idle := s.rawDial(), s.rawDial()
	send(t, idle, sums(t, 1))
	receive(t, idle)
	const n = 500 // more than the mailbox takes
	send(t, nc, append(request(1_000_000, "hold"), sums(t, n)...))
	eventually(t, "the mailbox is full", func() bool { return s.peers.Counters.MailboxFull.Load() > 0 })
	s.Shutdown("test")
	if m := receive(t, nc); string(m.Method) != wire.ClosingMethod {
		t.Fatalf("got %+v", m)
	}
	receive(t, idle)
	if m, err := readMessage(idle); err != io.EOF { // the time that a session may stay is over
		t.Fatalf("the idle client got %+v, %v", m, err)
	}
	idle.Close()
	close(hold)
	for i := range n + 1 {
		if m := receive(t, nc); m.Kind != wire.Response {
			t.Fatalf("answer %d is %+v", i, m)
		}
	}
	nc.Close()
	if report := s.drain(); !report.Clean {
		t.Errorf("report %+v", report)
	}
}

func TestDrainCutByTheDeadlineNamesEverythingThatWasRead(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Shutdown.Deadline = 200 * time.Millisecond
	s := start(t, cfg, only(blocking("hang", func(c *rpc.Call) error { <-c.Context().Done(); return nil })), "call abandoned")
	nc := s.rawDial()
	const n = 500
	send(t, nc, append(request(1_000_000, "hang"), sums(t, n)...))
	eventually(t, "the mailbox is full", func() bool { return s.peers.Counters.MailboxFull.Load() > 0 })
	report := s.drain()
	if report.Clean || len(report.Abandoned) != n+1 || s.logs.FilterMessage("call abandoned").Len() != n+1 {
		t.Errorf("%d calls are reported, %d logged, %d were not answered", len(report.Abandoned), s.logs.FilterMessage("call abandoned").Len(), n+1)
	}
}

// Whoever stuffs the server with requests must not make its end take long.
func TestAbandonedCallsBeyondAllMeasureAreCounted(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Shutdown.Deadline = 200 * time.Millisecond
	s := start(t, cfg, only(blocking("hang", func(c *rpc.Call) error { <-c.Context().Done(); return nil })),
		"call abandoned", "more calls abandoned")
	flood := append(request(1, "hang"), bytes.Repeat(request(2, "x"), 60_000/len(request(2, "x")))...)
	for i := range int64(5) {
		send(t, s.rawDial(), flood)
		eventually(t, "the mailbox is full", func() bool { return s.peers.Counters.MailboxFull.Load() > i })
	}
	report := s.drain()
	named, more := s.logs.FilterMessage("call abandoned").Len(), s.logs.FilterMessage("more calls abandoned").All()
	if named != maxNamed || len(more) != 1 || more[0].ContextMap()["calls"] != int64(len(report.Abandoned)-maxNamed) {
		t.Errorf("%d calls are reported, %d named, and %v", len(report.Abandoned), named, more)
	}
}

func TestRunLeavesNothingOpenWhenALoopFails(t *testing.T) {
	cfg := testConfig(t.TempDir())
	socket := filepath.Join(t.TempDir(), "game.sock")
	cfg.Listen.TCP = []string{"127.0.0.1:0", "unix:" + socket}
	s, err := New(cfg, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := s.Run(); ended <- err }()
	eventually(t, "ready", func() bool { ok, _ := s.Ready(); return ok })
	s.loops[0].Stop() // ends by itself
	if err := <-ended; err == nil {
		t.Error("Run reports nothing")
	}
	if nc, err := net.Dial("tcp", s.Addrs()[0]); err == nil {
		nc.Close()
		t.Error("the listener is still open")
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket's file is still there")
	}
}

// Players log in and out, change rooms, talk, throw one another out and break
// their connections, on three loops, while the server drains: it drains clean.
func TestDrainWhileEverythingMoves(t *testing.T) {
	s := start(t, testConfig(t.TempDir()), nil)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var all sync.WaitGroup
	var lives atomic.Int64
	draining := make(chan struct{})
	for i := range 24 {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		all.Go(func() {
			for {
				select {
				case <-draining:
					return
				default:
					liveOnce(s.Addrs()[0], rng)
					lives.Add(1)
				}
			}
		})
	}
	eventually(t, "much has happened", func() bool { return lives.Load() > 300 })
	report := s.drain()
	close(draining)
	all.Wait()
	if !report.Clean || len(report.Abandoned) > 0 {
		t.Errorf("report %+v", report)
	}
	if n := s.peers.Online(); n != 0 {
		t.Errorf("%d players are online without a session", n)
	}
}

// liveOnce is one connection's life, whatever becomes of it.
func liveOnce(addr string, rng *rand.Rand) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	var all []byte
	for id := range uint32(rng.IntN(30)) {
		room := string(rune('a' + rng.IntN(4)))
		methods := []string{"auth.login", "auth.logout", "room.join", "room.leave", "room.say", "sum", "player.get"}
		method := methods[rng.IntN(len(methods))]
		params := map[string][]any{
			"auth.login": {fmt.Sprint("dev:", 1+rng.IntN(8))}, "room.join": {room}, "room.leave": {room}, "room.say": {room, "hi"}, "sum": {1, 2},
		}[method]
		b := wire.AppendArray(wire.AppendRequest(wire.BeginFrame(nil), id, method), len(params))
		for _, p := range params {
			b, _ = wire.AppendAny(b, p)
		}
		wire.EndFrame(b, 0)
		all = append(all, b...)
	}
	if _, err := nc.Write(all); err != nil || rng.IntN(3) == 0 {
		return // with answers unread: a reset
	}
	if rng.IntN(2) == 0 {
		nc.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, nc)
	}
}
