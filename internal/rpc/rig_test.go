package rpc

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/internal/future"
	"gameserverd/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a server without sockets: hubs on loops that turn when told to, joined
// to links that keep what was written.
type rig struct {
	t       testing.TB
	peers   *Peers
	loops   []*fakeLoop
	links   []*fakeLink
	dialed  uint64
	logs    *observer.ObservedLogs
	mayWarn bool
}

var fakeStart = time.Unix(1_700_000_000, 0)

// fakeLoop queues callbacks and timers and runs them in turn.
type fakeLoop struct {
	now    time.Time
	ran    time.Duration // since now; the turn's end adds it
	read   int64         // the last reading of the clock
	skew   time.Duration // of Monotonic: no two loops count from the same moment
	timers []*fakeTimer

	mu    sync.Mutex
	queue []func()
	added chan struct{} // AddCallback was called
}

type fakeTimer struct {
	at  time.Time
	fn  func()
	off bool
}

func (l *fakeLoop) AddCallback(fn func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, fn)
	select {
	case l.added <- struct{}{}:
	default:
	}
	return true
}
func (l *fakeLoop) Now() time.Time   { return l.now }
func (l *fakeLoop) Monotonic() int64 { return int64(l.now.Sub(fakeStart) + l.skew) }
func (l *fakeLoop) Nanotime() int64 {
	l.read = l.Monotonic() + int64(l.ran)
	return l.read
}
func (l *fakeLoop) Recent() int64         { return max(l.read, l.Monotonic()) }
func (l *fakeLoop) Enter(*string, uint64) {}
func (l *fakeLoop) After(d time.Duration, fn func()) func() {
	t := &fakeTimer{at: l.now.Add(d), fn: fn}
	l.timers = append(l.timers, t)
	return func() { t.off = true }
}

// turn runs what is queued and due; it reports whether there was anything.
func (l *fakeLoop) turn() bool {
	l.mu.Lock()
	queue := l.queue
	l.queue = nil
	l.mu.Unlock()
	l.now, l.ran = l.now.Add(l.ran), 0
	for _, fn := range queue {
		fn()
	}
	var due []*fakeTimer
	l.timers = slices.DeleteFunc(l.timers, func(t *fakeTimer) bool {
		if !t.off && !t.at.After(l.now) {
			due = append(due, t)
		}
		return t.off || !t.at.After(l.now)
	})
	for _, t := range due {
		if !t.off {
			t.fn()
		}
	}
	return len(queue)+len(due) > 0
}

// fakeLink is the connections of one loop.
type fakeLink struct {
	rig   *rig
	loop  *fakeLoop
	hub   *Hub
	conns map[uint64]*fakeConn
	next  uint64
}

type fakeConn struct {
	out     []byte // written to the client
	kept    []byte // offered and not consumed
	paused  bool
	closing bool   // Shutdown
	lingers bool   // its client does not close after that
	kind    string // what carries it; "": fake
	number  uint64
}

func (l *fakeLink) Write(conn uint64, b []byte) bool {
	c := l.conns[conn]
	if c == nil || c.closing {
		return false
	}
	c.out = append(c.out, b...)
	return true
}
func (l *fakeLink) Pause(conn uint64) {
	if c := l.conns[conn]; c != nil {
		c.paused = true
	}
}
func (l *fakeLink) Resume(conn uint64) {
	if c := l.conns[conn]; c != nil {
		c.paused = false
		l.loop.AddCallback(func() { l.offer(conn, nil) })
	}
}
func (l *fakeLink) Yield(conn uint64) { l.loop.AddCallback(func() { l.offer(conn, nil) }) }
func (l *fakeLink) Close(conn uint64) { l.end(conn, fmt.Errorf("closed here")) }
func (l *fakeLink) Shutdown(conn uint64) {
	if c := l.conns[conn]; c != nil {
		c.closing = true
		if c.lingers {
			return
		}
		l.loop.AddCallback(func() { l.end(conn, fmt.Errorf("shut down here")) })
	}
}
func (l *fakeLink) Peer(uint64) netip.AddrPort { return netip.MustParseAddrPort("127.0.0.1:4000") }
func (l *fakeLink) Number(conn uint64) uint64 {
	if c := l.conns[conn]; c != nil {
		return c.number
	}
	return 0
}
func (l *fakeLink) Dismiss(conn uint64) { l.Shutdown(conn) }
func (l *fakeLink) Describe(conn uint64) string {
	if c := l.conns[conn]; c != nil && c.kind != "" {
		return c.kind
	}
	return "fake"
}
func (l *fakeLink) Pending(uint64) int { return 0 }
func (l *fakeLink) Kept(conn uint64) []byte {
	if c := l.conns[conn]; c != nil {
		return c.kept
	}
	return nil
}
func (l *fakeLink) Move(conn uint64, hub int, adopted func(uint64)) {
	c := l.conns[conn]
	delete(l.conns, conn)
	to := l.rig.links[hub]
	to.loop.AddCallback(func() {
		if c == nil {
			adopted(0)
			return
		}
		id := to.id()
		to.conns[id] = c
		l.rig.moved(l, conn, to, id)
		adopted(id)
		to.offer(id, nil)
	})
}

func (l *fakeLink) id() uint64 {
	l.next++
	slot := uint64(len(l.conns))
	for slices.ContainsFunc(l.ids(), func(id uint64) bool { return uint64(uint32(id)) == slot }) {
		slot++
	}
	return l.next<<32 | slot
}

func (l *fakeLink) ids() (ids []uint64) {
	for id := range l.conns {
		ids = append(ids, id)
	}
	return ids
}

// offer gives the hub what was kept and b, as internal/conn does.
func (l *fakeLink) offer(conn uint64, b []byte) {
	c := l.conns[conn]
	if c == nil || c.closing {
		return
	}
	c.kept = append(c.kept, b...)
	if c.paused || len(c.kept) == 0 {
		return
	}
	if n := l.hub.Data(conn, c.kept); n > 0 { // else nothing is copied: one byte at a time must not cost the square
		c.kept = append([]byte{}, c.kept[n:]...)
	}
}

func (l *fakeLink) end(conn uint64, err error) {
	if l.conns[conn] != nil {
		delete(l.conns, conn)
		l.hub.Closed(conn, err)
	}
}

var testLimits = Limits{
	MaxFrame: 1 << 20, MaxElements: 1000, MaxMailbox: 8, MaxMailboxBytes: 1 << 16, MaxConcurrent: 4,
	LoginTimeout: 30 * time.Second, IdleTimeout: 90 * time.Second, FrameTimeout: 10 * time.Second,
}

// goWorkers runs blocking methods at once, on their own goroutine, and waits.
type goWorkers struct{ full bool }

func (w *goWorkers) Submit(fn func()) bool {
	if w.full {
		return false
	}
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	<-done
	return true
}

type rigOption func(*Options)

// newRig builds a rig of n hubs that serve methods.
func newRig(t testing.TB, n int, methods []Method, options ...rigOption) *rig {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	registry := NewRegistry()
	o := Options{Registry: registry, Limits: testLimits, Protocols: []string{"frames", "stream"}, Workers: &goWorkers{}, Log: zap.New(core)}
	for _, set := range options {
		set(&o)
	}
	r := &rig{t: t, peers: NewPeers(o), logs: logs}
	if err := registry.Add(methods...); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		loop := &fakeLoop{now: fakeStart, skew: time.Duration(i+1) * time.Hour, added: make(chan struct{}, 1)}
		link := &fakeLink{rig: r, loop: loop, conns: make(map[uint64]*fakeConn)}
		link.hub = r.peers.AddHub(loop)
		link.hub.Connect(link)
		r.loops, r.links = append(r.loops, loop), append(r.links, link)
	}
	r.peers.Start()
	r.settle()
	t.Cleanup(r.check)
	return r
}

// check holds what must be so at the end of every test.
func (r *rig) check() {
	if r.t.Failed() {
		return
	}
	if bad := r.logs.Filter(func(e observer.LoggedEntry) bool { return e.Level >= zapcore.WarnLevel }).All(); len(bad) > 0 && !r.mayWarn {
		r.t.Errorf("unexpected log: %v", bad)
	}
	for _, l := range r.links {
		for conn := range l.conns {
			l.end(conn, fmt.Errorf("test over"))
		}
	}
	r.settle()
	for i, l := range r.links {
		if n := len(l.hub.uids); n != 0 {
			r.t.Errorf("hub %d still knows %d uids", i, n)
		}
		if n := l.hub.watching; n != 0 {
			r.t.Errorf("hub %d keeps all calls of %d sessions", i, n)
		}
		if n := len(l.hub.rooms); n != 0 {
			r.t.Errorf("hub %d still has %d rooms", i, n)
		}
	}
	if n := r.peers.Connections(); n != 0 {
		r.t.Errorf("%d sessions left", n)
	}
	if n := r.peers.Online(); n != 0 {
		r.t.Errorf("%d players online without a session", n)
	}
	if n := r.peers.waiting.Load(); n != 0 {
		r.t.Errorf("%d messages counted as waiting", n)
	}
}

// settle turns all loops until nothing is left to do at this time.
func (r *rig) settle() {
	for range 10_000 {
		busy := false
		for _, l := range r.loops {
			busy = l.turn() || busy
		}
		if !busy {
			return
		}
	}
	r.t.Fatal("the loops never come to rest")
}

// added receives when the first loop was given something from elsewhere.
func (r *rig) added() <-chan struct{} { return r.loops[0].added }

// advance moves all clocks on, in steps that no timer is lost in.
func (r *rig) advance(d time.Duration) {
	for end := r.loops[0].now.Add(d); r.loops[0].now.Before(end); {
		for _, l := range r.loops {
			l.now = l.now.Add(min(d, 50*time.Millisecond))
		}
		r.settle()
	}
}

// peer is a client in a test.
type peer struct {
	r      *rig
	link   *fakeLink
	conn   uint64
	c      *fakeConn
	stream bool
	seen   int // bytes of c.out that were read
	msgid  uint32
}

// dial opens a connection on hub 0.
func (r *rig) dial() *peer {
	l := r.links[0]
	id := l.id()
	r.dialed++
	p := &peer{r: r, link: l, conn: id, c: &fakeConn{number: r.dialed}}
	l.conns[id] = p.c
	l.hub.Opened(id)
	peersOf[p.c] = p
	r.t.Cleanup(func() { delete(peersOf, p.c) })
	return p
}

// peersOf lets a move tell the test's client where its connection is.
var peersOf = map[*fakeConn]*peer{}

func (r *rig) moved(_ *fakeLink, _ uint64, to *fakeLink, id uint64) {
	if p := peersOf[to.conns[id]]; p != nil {
		p.link, p.conn = to, id
	}
}

// send hands bytes to the server, without letting it turn.
func (p *peer) send(b []byte) { p.link.offer(p.conn, b) }

func (p *peer) framed(b []byte) []byte {
	if p.stream {
		return b
	}
	frame := append(wire.BeginFrame(nil), b...)
	wire.EndFrame(frame, 0)
	return frame
}

// request sends a request and returns its msgid.
func (p *peer) request(method string, params ...any) uint32 {
	p.r.t.Helper()
	p.msgid++
	b, err := appendParams(wire.AppendRequest(nil, p.msgid, method), method, params)
	if err != nil {
		p.r.t.Fatal(err)
	}
	p.send(p.framed(b))
	return p.msgid
}

func (p *peer) notify(method string, params ...any) {
	b, err := appendParams(wire.AppendNotification(nil, method), method, params)
	if err != nil {
		p.r.t.Fatal(err)
	}
	p.send(p.framed(b))
}

// got is one message from the server, decoded.
type got struct {
	kind   wire.Kind
	id     uint32
	method string
	params []any
	err    *Error
	result any
}

func (g got) String() string {
	switch {
	case g.kind == wire.Response && g.err != nil:
		return fmt.Sprintf("%d! %s", g.id, g.err.Code)
	case g.kind == wire.Response:
		return fmt.Sprintf("%d= %v", g.id, g.result)
	case g.kind == wire.Request:
		return fmt.Sprintf("%d? %s%v", g.id, g.method, g.params)
	}
	return fmt.Sprintf("%s%v", g.method, g.params)
}

// read takes every message that the server has written since the last read.
func (p *peer) read() (all []got) {
	p.r.t.Helper()
	b := p.c.out[p.seen:]
	p.seen = len(p.c.out)
	for len(b) > 0 {
		n := 0
		if p.stream {
			n = wire.Skip(b)
		} else {
			n = wire.FrameLen(b)
			b = b[wire.HeaderLen:]
		}
		var m wire.Message
		if err := m.Parse(b[:n], 1<<20); err != nil {
			p.r.t.Fatalf("the server sent %x: %v", b[:n], err)
		}
		g := got{kind: m.Kind, id: m.ID, method: string(m.Method)}
		if m.Params != nil {
			must(p.r.t, wire.Unmarshal(m.Params, &g.params))
		}
		if m.Kind == wire.Response {
			g.err = wire.ParseError(m.Err)
			must(p.r.t, wire.Unmarshal(m.Result, &g.result))
		}
		all = append(all, g)
		b = b[n:]
	}
	return all
}

// call makes a call and returns what the server answered, which must be one
// message.
func (p *peer) call(method string, params ...any) got {
	p.r.t.Helper()
	p.request(method, params...)
	p.r.settle()
	all := p.read()
	if len(all) != 1 || all[0].kind != wire.Response || all[0].id != p.msgid {
		p.r.t.Fatalf("%s: got %v, want the response to %d", method, all, p.msgid)
	}
	return all[0]
}

func (p *peer) login(uid uint64) *peer {
	p.r.t.Helper()
	if g := p.call("login", uid); g.err != nil {
		p.r.t.Fatal(g.err)
	}
	return p
}

// want compares what the server wrote with the messages in their short form.
func (p *peer) want(want ...string) {
	p.r.t.Helper()
	p.r.settle()
	var have []string
	for _, g := range p.read() {
		have = append(have, g.String())
	}
	if !slices.Equal(have, want) {
		p.r.t.Fatalf("got  %q\nwant %q", have, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The methods of the tests.

func plain(name string, fn func(c *Call, a *Args) (any, error)) Method {
	return Method{Name: name, Public: true, Sync: func(c *Call, a *Args, out []byte) ([]byte, error) {
		v, err := fn(c, a)
		if err != nil {
			return out, err
		}
		return AppendValue(out, v)
	}}
}

func sumMethod() Method {
	return Method{Name: "sum", Public: true, Params: []Param{{Name: "x", Type: "int"}, {Name: "y", Type: "int"}},
		Sync: func(_ *Call, a *Args, out []byte) ([]byte, error) {
			if err := a.Count(2, 2); err != nil {
				return out, err
			}
			x, err := a.Int64("x")
			if err != nil {
				return out, err
			}
			y, err := a.Int64("y")
			if err != nil {
				return out, err
			}
			return wire.AppendInt(out, x+y), nil
		}}
}

func loginMethod() Method {
	return Method{Name: "login", Public: true, Async: func(c *Call, a *Args) (Pending, error) {
		uid, err := a.Uint64("uid")
		if err != nil {
			return nil, err
		}
		return Await(c.Login(uid), func(out []byte, _ struct{}) ([]byte, error) { return wire.AppendUint(out, c.UID()), nil }), nil
	}}
}

// slow is a method whose futures the test resolves, in the order of its calls.
type slow struct{ pending []*future.Future[int64] }

func (s *slow) method(name string, concurrent bool) Method {
	return Method{Name: name, Public: true, Concurrent: concurrent, Async: func(*Call, *Args) (Pending, error) {
		f := future.New[int64]()
		s.pending = append(s.pending, f)
		return Await(f, func(out []byte, v int64) ([]byte, error) { return wire.AppendInt(out, v), nil }), nil
	}}
}
