package rpc

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/wire"
)

// meter is how many bytes are counted.
type meter struct{ atomic.Int64 }

func (m *meter) Add(n int) { m.Int64.Add(int64(n)) }

// ended reports whether the server has closed p as short of memory.
func (p *peer) ended() bool {
	p.r.t.Helper()
	g := p.read()
	if len(g) == 0 {
		return false
	}
	last := g[len(g)-1]
	if last.method != wire.ClosingMethod {
		return false
	}
	c := last.params[0].(map[string]any)
	if c["code"] != wire.TooManyConnections || c["reconnect"] != true || c["retry_after_ms"] == nil || !strings.Contains(c["message"].(string), "memory") {
		p.r.t.Errorf("told %v", c)
	}
	return true
}

// The order in which a server short of memory sheds sessions.
func TestPressure(t *testing.T) {
	r := newRig(t, 2, []Method{sumMethod(), loginMethod()})
	dial := func() *peer { p := r.dial(); p.request("sum", 1, 2); r.settle(); return p }
	check := func(what string, p *peer, closed bool) {
		t.Helper()
		if p.ended() != closed {
			t.Errorf("%s: closed %v", what, !closed)
		}
	}
	player, stranger, silent := r.dial().login(7), dial(), r.dial()
	r.peers.SetPressure(RefuseNew)
	r.settle()
	late := dial()
	check("a player under the first pressure", player, false)
	check("a stranger under the first pressure", stranger, false)
	check("a new one under the first pressure", late, true)
	r.peers.SetPressure(CloseStrangers)
	r.settle()
	check("a player under the second pressure", player, false)
	check("a stranger under the second pressure", stranger, true)
	check("a new one under the second pressure", dial(), true)
	if silent.link.conns[silent.conn] != nil {
		t.Error("a connection that has said nothing is still there")
	}
	r.peers.SetPressure(NoPressure)
	check("a new one without pressure", dial(), false)
	if g := player.call("sum", 1, 2); g.err != nil {
		t.Error(g.err)
	}
	c := &r.peers.Counters
	if c.ShedNew.Load() != 2 || c.ShedStrangers.Load() != 2 {
		t.Errorf("counted: %s", c)
	}
}

// Who has had its goodbye is not shed as well, whatever waits for it.
func TestPressureSparesTheDrain(t *testing.T) {
	var s slow
	r := newRig(t, 1, []Method{sumMethod(), s.method("slow", false)})
	p := r.dial()
	p.request("slow")
	p.request("sum", 1, 2)
	r.settle()
	r.peers.Drain(Drain{Grace: time.Second})
	r.settle()
	r.peers.SetPressure(CloseStrangers)
	r.peers.ShedInput(1<<30, 1, 0)
	r.settle()
	s.pending[0].Resolve(5)
	r.settle()
	g := p.read()
	if len(g) != 3 || g[0].params[0].(map[string]any)["code"] != wire.ServerShutdown || g[1].result != int64(5) || g[2].result != int64(3) {
		t.Errorf("got %v", g)
	}
}

// Those with the most input waiting go first, no more than are needed, and what
// waits is counted wherever it is.
func TestShedInput(t *testing.T) {
	var s slow
	m := new(meter)
	r := newRig(t, 1, []Method{plain("echo", func(_ *Call, a *Args) (any, error) { return a.Raw("v") }), s.method("slow", false), loginMethod()},
		func(o *Options) { o.Input, o.Limits.MaxMailbox, o.Limits.MaxMailboxBytes = m, 1000, 1<<20 })
	sizes := []int{30_000, 500, 100_000, 8_000, 60_000, 50}
	var all []*peer
	for i, n := range sizes {
		p := r.dial().login(uint64(i + 1))
		all = append(all, p)
		if i%2 == 0 { // in the mailbox
			p.request("slow")
			p.request("echo", strings.Repeat("x", n))
		} else { // half a message
			frame := p.framed(make([]byte, n+100))
			p.send(frame[:n])
		}
	}
	total, waiting := 0, make([]int, len(all))
	for i, p := range all {
		if n := r.links[0].hub.inputOf(r.links[0].hub.session(p.conn)); n < sizes[i] || n > sizes[i]+50 {
			t.Errorf("session %d has %d bytes waiting, want %d", i, n, sizes[i])
		} else {
			total += n
			waiting[i] = n
		}
	}
	r.advance(2 * time.Second)
	if n := int(m.Load()); n < 190_000 || n > 190_200 {
		t.Errorf("%d bytes are counted in mailboxes", n)
	}
	step := func(want int, gone ...int) {
		t.Helper()
		r.peers.ShedInput(want, total, 0)
		r.settle()
		var closed []int
		for i, p := range all {
			if p.ended() {
				closed = append(closed, i)
				total -= waiting[i]
			}
		}
		if fmt.Sprint(closed) != fmt.Sprint(gone) {
			t.Errorf("to have %d bytes %v are closed, want %v", want, closed, gone)
		}
	}
	step(0)
	step(1, 2)
	step(80_000, 0, 4)
	step(1_000_000, 1, 3)
	step(1_000_000) // next to nothing is nobody's fault
	if n := r.peers.Counters.ShedInput.Load(); n != 5 {
		t.Errorf("%d are counted", n)
	}
	for _, f := range s.pending {
		f.Resolve(1)
	}
	r.settle()
	r.advance(2 * time.Second)
	if n := m.Load(); n != 0 {
		t.Errorf("%d bytes are counted, and nothing waits", n)
	}
	if all[5].link.conns[all[5].conn] == nil || r.links[0].hub.shedding {
		t.Error("it does not end")
	}
}

// Of several that have the same, no more are closed than needed.
func TestShedInputClosesNoMoreThanNeeded(t *testing.T) {
	r := newRig(t, 1, nil)
	for range 5 {
		p := r.dial()
		p.send(p.framed(make([]byte, 60_000))[:50_000])
	}
	r.peers.ShedInput(90_000, 250_000, 0)
	r.settle()
	if n := r.peers.Counters.ShedInput.Load(); n != 2 {
		t.Errorf("%d are closed, want 2", n)
	}
}

// A mailbox that moves to another hub is counted once, and what a closed session
// leaves not at all.
func TestMailboxesAreCounted(t *testing.T) {
	var s slow
	m := new(meter)
	r := newRig(t, 2, []Method{sumMethod(), s.method("slow", false), s.method("free", true), loginMethod()}, func(o *Options) { o.Input = m })
	want := func(most int64) {
		t.Helper()
		r.advance(2 * time.Second)
		if n := m.Load(); n < most || n > 2*most {
			t.Errorf("%d bytes are counted, want about %d", n, most)
		}
	}
	p := r.dial()
	p.request("free") // keeps the login from moving at once
	p.request("slow")
	p.request("login", r.uidElsewhere())
	for range 4 {
		p.request("sum", 1, 1)
	}
	want(100)
	s.pending[1].Resolve(0) // the login begins, and takes the others along
	r.settle()
	want(80)
	if x := r.links[0].hub.session(p.conn).ext; x.box.count != 4 || x.alone == nil {
		t.Errorf("%d messages are in the mailbox", x.box.count)
	}
	s.pending[0].Resolve(0)
	r.settle()
	if p.link.hub.index != 1 {
		t.Error("it has not moved")
	}
	want(0)
	p.request("slow")
	p.request("sum", 1, 1)
	want(15)
	p.link.end(p.conn, fmt.Errorf("gone"))
	want(0)
	p = r.dial()
	p.request("slow")
	p.request("sum", 1, 1)
	want(15)
	for _, l := range r.links { // what a drain gives up counts no more
		l.hub.leftover()
	}
	want(0)
	for _, f := range s.pending {
		f.Resolve(0)
	}
	r.settle()
}

// What waited for a session that was closed is given back at once: while its client
// does not hang up, others must not be closed for it.
func TestAClosedSessionsMailboxIsGivenBack(t *testing.T) {
	var s slow
	m := new(meter)
	r := newRig(t, 1, []Method{plain("echo", func(_ *Call, a *Args) (any, error) { return a.Raw("v") }), s.method("slow", false), loginMethod()},
		func(o *Options) { o.Input, o.Limits.MaxMailbox, o.Limits.MaxMailboxBytes = m, 1000, 1<<20 })
	p := r.dial().login(1)
	p.link.conns[p.conn].lingers = true
	p.request("slow")
	p.request("echo", strings.Repeat("x", 100_000))
	r.settle()
	if n := m.Load(); n < 100_000 {
		t.Fatalf("%d bytes are counted", n)
	}
	r.peers.ShedInput(1, 1, 0)
	r.settle()
	if !p.ended() || p.link.conns[p.conn] == nil {
		t.Fatal("it is not closed, or does not linger")
	}
	if n := m.Load(); n > 1000 {
		t.Errorf("%d bytes are counted for a session that is closed", n)
	}
	s.pending[0].Resolve(1)
	r.settle()
	p.link.end(p.conn, fmt.Errorf("gone"))
	r.advance(2 * time.Second)
	if n := m.Load(); n != 0 {
		t.Errorf("%d bytes are counted, and nothing waits", n)
	}
}
