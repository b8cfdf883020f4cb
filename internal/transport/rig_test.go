package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/internal/conn"
	"gameserverd/internal/loop"
	"gameserverd/wire"
)

const deadline = 20 * time.Second

// rig is a server of the transport alone: loops, Sets and Muxes as the daemon
// has them, and hubs that echo.
type rig struct {
	t      testing.TB
	shared *Shared
	server *conn.Server
	loops  []*loop.Loop
	sets   []*conn.Set
	hubs   []*hub
	gate   *countingGate
	input  *conn.Budget
	ends   []chan struct{} // closed when a loop has ended

	moving atomic.Int64 // connections between two loops

	mu     sync.Mutex
	panics []string
	ended  []string // what Closed was told
	refuse []wire.Closing
	opened int
	closed int
	claims int // ends that were counted here
}

// rigOptions: what a test may want different.
type rigOptions struct {
	Settings
	loops   int
	workers int
	conn    conn.Options
	unix    bool
	hub     func(*hub) // before anything runs
	gate    *countingGate
}

// hub is an Upper that echoes frames (or, framed as a stream, bytes). Its fields
// are its loop's.
type hub struct {
	rig   *rig
	index int
	mux   *Mux
	loop  *loop.Loop
	known map[uint64]byte // first byte
	wait  map[uint64]wire.Closing
	mine  map[uint64]bool // the hub has counted the end

	perTurn int                                   // messages before Yield; 0: 64
	onFrame func(h *hub, id uint64, frame []byte) // nil: echo
	onEOF   func(h *hub, id uint64)               // nil: Shutdown
	halves  map[uint64]int                        // length of the half frame that was offered last
	paused  map[uint64]bool
	eofs    int
}

func newRig(t testing.TB, o rigOptions) *rig {
	t.Helper()
	if o.Protocols == nil {
		o.Protocols = []string{"frames", "stream", "websocket"}
	}
	if o.MaxFrame == 0 {
		o.MaxFrame = 1 << 20
	}
	if o.MaxHandshakes == 0 {
		o.MaxHandshakes = 1000
	}
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = deadline
	}
	if o.gate == nil {
		o.gate = &countingGate{}
	}
	r := &rig{t: t, gate: o.gate, input: conn.NewBudget(1 << 30)}
	r.shared = NewShared(SharedOptions{Settings: o.Settings, Gate: o.gate, Input: r.input, Workers: max(o.workers, 2)})
	o.conn.MaxInput = o.MaxFrame + 4096
	var muxes []*Mux
	for i := range max(o.loops, 1) {
		l, err := loop.New(loop.Options{Name: fmt.Sprint("loop-", i), OnPanic: func(v any, stack []byte) {
			r.mu.Lock()
			r.panics = append(r.panics, fmt.Sprintf("%v\n%s", v, stack))
			r.mu.Unlock()
		}})
		if err != nil {
			t.Fatal(err)
		}
		m := NewMux(l, r.shared)
		h := &hub{rig: r, index: i, mux: m, loop: l, known: map[uint64]byte{}, wait: map[uint64]wire.Closing{}, mine: map[uint64]bool{}, halves: map[uint64]int{}, paused: map[uint64]bool{}}
		if o.hub != nil {
			o.hub(h)
		}
		r.loops, r.hubs, muxes = append(r.loops, l), append(r.hubs, h), append(muxes, m)
		r.sets = append(r.sets, conn.NewSet(l, m, o.conn))
	}
	for i, m := range muxes {
		m.Connect(r.sets[i], r.hubs[i], muxes)
	}
	r.server = conn.NewServer(conn.ServerOptions{})
	addr := "127.0.0.1:0"
	if o.unix {
		addr = "unix:" + filepath.Join(t.TempDir(), "s")
	}
	if err := r.server.Listen(addr); err != nil {
		t.Fatal(err)
	}
	if err := r.server.StartOn(r.sets...); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for _, l := range r.loops {
		ended := make(chan struct{})
		r.ends = append(r.ends, ended)
		running.Go(func() { _ = l.Start(); close(ended) })
	}
	t.Cleanup(func() {
		// A loop that has ended takes nothing in, and one that has ended is told of nothing.
		for i, l := range r.loops {
			turned := make(chan struct{})
			l.AddCallback(func() { close(turned) })
			select {
			case <-turned: // what it did when the test ended is done
			case <-r.ends[i]:
			}
		}
		eventually(t, "no connection is between two loops", func() bool { return r.moving.Load() == 0 })
		for _, l := range r.loops {
			l.AddCallback(l.Stop)
		}
		running.Wait()
		for i, l := range r.loops {
			r.sets[i].Release()
			if err := l.Close(false); err != nil {
				t.Error(err)
			}
		}
		r.server.StopListening()
		r.check()
	})
	return r
}

// check looks at what must hold in the end of every test.
func (r *rig) check() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var counted uint64
	for why, n := range r.shared.Counters().Ended {
		if why != byHandshakes.String() { // closed before anybody knew of it
			counted += n
		}
	}
	if int(counted) != r.claims {
		r.t.Errorf("%d ends were claimed and %d counted", r.claims, counted)
	}
	for _, p := range r.panics {
		r.t.Errorf("panic on the loop: %s", p)
	}
	if r.opened != r.closed {
		r.t.Errorf("%d connections were opened, %d closed", r.opened, r.closed)
	}
	if n := r.gate.open(); n != 0 {
		r.t.Errorf("the gate still counts %d", n)
	}
	if n := r.input.Used(); n != 0 {
		r.t.Errorf("%d bytes of input are still counted", n)
	}
	eventually(r.t, "no handshake is under way", func() bool { return r.shared.Counters().Handshakes == 0 })
	for _, h := range r.hubs {
		if n := len(h.mux.stacks) - len(h.mux.free); n != 0 {
			r.t.Errorf("%d stacks are left", n)
		}
	}
}

func (h *hub) Opened(id uint64) {
	h.rig.mu.Lock()
	h.rig.opened++
	h.rig.mu.Unlock()
}

func (h *hub) Closed(id uint64, err error) {
	delete(h.known, id)
	delete(h.wait, id)
	delete(h.mine, id)
	delete(h.halves, id)
	delete(h.paused, id)
	h.rig.mu.Lock()
	h.rig.closed++
	h.rig.ended = append(h.rig.ended, err.Error())
	h.rig.mu.Unlock()
}

func (h *hub) EOF(id uint64) {
	h.eofs++
	if h.onEOF != nil {
		h.onEOF(h, id)
		return
	}
	h.mux.Shutdown(id)
}

func (h *hub) Refuse(id uint64, why wire.Closing) {
	h.rig.mu.Lock()
	h.rig.refuse = append(h.rig.refuse, why)
	h.rig.mu.Unlock()
	h.wait[id] = why
	if h.known[id] != 0 {
		h.tell(id)
	}
}

func (h *hub) ClaimEnd(id uint64) bool {
	first := !h.mine[id]
	h.mine[id] = true
	if first {
		h.rig.mu.Lock()
		h.rig.claims++
		h.rig.mu.Unlock()
	}
	return first
}

// tell sends sys.closing and ends the connection.
func (h *hub) tell(id uint64) {
	frame := wire.AppendClosing(wire.BeginFrame(nil), h.wait[id])
	wire.EndFrame(frame, 0)
	if h.known[id] != 1 {
		frame = frame[wire.HeaderLen:]
	}
	h.mux.Write(id, frame)
	h.mux.Shutdown(id)
}

func (h *hub) Data(id uint64, b []byte) int {
	if h.paused[id] {
		return 0
	}
	if h.known[id] == 0 {
		if len(b) == 0 {
			return 0
		}
		switch b[0] {
		case 0:
			h.known[id] = 1
		case 0x93:
			h.known[id] = b[0]
		default:
			h.mux.Shutdown(id)
			return len(b)
		}
		if _, refused := h.wait[id]; refused {
			h.tell(id)
			return len(b)
		}
	}
	if h.known[id] == 0x93 {
		h.mux.Write(id, b)
		return len(b)
	}
	most := h.perTurn
	if most == 0 {
		most = 64
	}
	off := 0
	for n := 0; ; n++ {
		rest := b[off:]
		h.halves[id] = 0
		if len(rest) >= 4 {
			h.halves[id] = int(binary.BigEndian.Uint32(rest))
			if h.halves[id] > h.rig.shared.Settings().MaxFrame {
				h.Refuse(id, wire.Closing{Code: wire.FrameTooLarge})
				return len(b)
			}
		}
		if len(rest) < 4 || len(rest) < 4+h.halves[id] {
			return off
		}
		if h.paused[id] {
			return off
		}
		if n == most {
			h.mux.Yield(id)
			return off
		}
		frame := rest[:4+h.halves[id]]
		off += len(frame)
		if h.onFrame != nil {
			h.onFrame(h, id, frame)
		} else if !h.mux.Write(id, frame) {
			return len(b)
		}
	}
}

// pauseFor stops reading from id until some turns later.
func (h *hub) pauseFor(id uint64, turns int) {
	h.paused[id] = true
	h.mux.Pause(id)
	var wait func()
	wait = func() {
		if turns--; turns > 0 {
			h.loop.AddCallback(wait)
			return
		}
		delete(h.paused, id)
		h.mux.Resume(id)
	}
	h.loop.AddCallback(wait)
}

// dial opens a connection to the rig.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	addr, network := r.server.Addrs()[0], "tcp"
	if path, ok := bytes.CutPrefix([]byte(addr), []byte("unix:")); ok {
		addr, network = string(path), "unix"
	}
	c, err := net.Dial(network, addr)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(deadline))
	if c, ok := c.(*net.TCPConn); ok { // so that a reader which does not read is felt soon
		_ = c.SetReadBuffer(128 << 10)
		_ = c.SetWriteBuffer(128 << 10)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

// onLoop runs fn on a loop and waits.
func (r *rig) onLoop(i int, fn func()) {
	r.t.Helper()
	done := make(chan struct{})
	r.loops[i].AddCallback(func() { fn(); close(done) })
	select {
	case <-done:
	case <-time.After(deadline):
		r.t.Fatal("the loop does not answer")
	}
}

// frame is a native frame with n bytes of payload that tells it from others.
func frame(n int, seed byte) []byte {
	b := make([]byte, 4+n)
	binary.BigEndian.PutUint32(b, uint32(n))
	for i := range n {
		b[4+i] = seed + byte(i*7)
	}
	return b
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	over := time.After(deadline)
	for !cond() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("never: %s", what)
		}
	}
}

// expectEnd reads until the connection ends, by FIN or otherwise, and returns what came.
func expectEnd(t testing.TB, c net.Conn) []byte {
	t.Helper()
	var got []byte
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		got = append(got, b[:n]...)
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			t.Fatalf("the connection does not end; got %q", got)
		}
		if err != nil {
			return got
		}
	}
}
