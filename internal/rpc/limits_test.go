package rpc

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gameserverd/wire"
)

// setLimits changes the rig's limits.
func (r *rig) setLimits(change func(*Limits)) {
	r.t.Helper()
	l := r.peers.limits
	change(&l)
	r.peers.SetLimits(l)
	r.settle()
}

// A session that has stopped reading goes on, whatever becomes of the limit that
// has stopped it.
func TestMailboxLimitsThatChange(t *testing.T) {
	for _, c := range []struct{ before, after int }{{8, 1}, {8, 2}, {2, 8}, {1, 1000}, {8, 8}} {
		var s slow
		r := newRig(t, 1, []Method{sumMethod(), s.method("slow", false)}, func(o *Options) { o.Limits.MaxMailbox = c.before })
		p := r.dial()
		p.request("slow")
		var want []string
		for range 20 {
			want = append(want, fmt.Sprintf("%d= 3", p.request("sum", 1, 2)))
		}
		r.settle()
		if !p.c.paused {
			t.Fatal("it is read from though its mailbox is full")
		}
		r.setLimits(func(l *Limits) { l.MaxMailbox = c.after })
		s.pending[0].Resolve(0)
		p.want(append([]string{"1= 0"}, want...)...)
		if p.c.paused {
			t.Errorf("%+v: it is not read from though its mailbox is empty", c)
		}
		p.request("slow")
		n := 0
		for ; !p.c.paused; n++ {
			p.request("sum", 1, 2)
		}
		if n != c.after {
			t.Errorf("%+v: %d messages fill the mailbox", c, n)
		}
		s.pending[1].Resolve(0)
		r.settle()
	}
}

// Messages that were taken with larger limits are still good.
func TestMessagesOutliveTheirLimits(t *testing.T) {
	var s slow
	r := newRig(t, 1, []Method{plain("count", func(_ *Call, a *Args) (any, error) {
		raw, err := a.Raw("list")
		return len(raw), err
	}), s.method("slow", false)})
	p := r.dial()
	p.request("slow")
	p.request("count", strings.Split(strings.Repeat("x", 500), ""))
	r.setLimits(func(l *Limits) { l.MaxElements, l.MaxFrame = 20, 100 })
	s.pending[0].Resolve(0)
	p.want("1= 0", "2= 1003")
	p.request("count", strings.Split(strings.Repeat("x", 500), ""))
	if g := p.read(); len(g) != 1 || g[0].params[0].(map[string]any)["code"] != wire.FrameTooLarge {
		t.Errorf("got %v", g)
	}
}

// The time between two sweeps follows the shortest timeout; how long a session has
// been silent does not.
func TestTimeoutsThatChange(t *testing.T) {
	r := newRig(t, 1, []Method{sumMethod(), loginMethod()}) // a sweep each second
	p, q := r.dial().login(7), r.dial()
	r.advance(20 * time.Second)
	r.setLimits(func(l *Limits) { l.FrameTimeout = 400 * time.Millisecond }) // a sweep each 50 ms
	r.advance(8 * time.Second)
	if g := q.read(); len(g) != 0 || q.link.conns[q.conn] == nil {
		t.Fatalf("closed before its time to log in is over: %v", g)
	}
	r.advance(4 * time.Second)
	if q.link.conns[q.conn] != nil {
		t.Error("the time to log in begins anew with the limits")
	}
	r.setLimits(func(l *Limits) { l.FrameTimeout = 10 * time.Second })
	r.advance(50 * time.Second)
	p.want()
	r.advance(11 * time.Second)
	if g := p.read(); len(g) != 1 || g[0].params[0].(map[string]any)["code"] != wire.IdleTimeout {
		t.Errorf("after 93 s of silence: %v", g)
	}
}

func TestLowerMaxConnectionsClosesNobody(t *testing.T) {
	r := newRig(t, 2, []Method{sumMethod(), loginMethod()})
	var all []*peer
	for uid := range 10 {
		all = append(all, r.dial().login(uint64(uid+1)))
	}
	r.setLimits(func(l *Limits) { l.MaxConnections = 3 })
	for _, p := range all {
		if g := p.call("sum", 1, 2); g.err != nil {
			t.Fatal(g.err)
		}
	}
	late := r.dial()
	late.request("sum", 1, 2)
	if g := late.read(); len(g) != 1 || g[0].params[0].(map[string]any)["code"] != wire.TooManyConnections {
		t.Errorf("got %v", g)
	}
	r.setLimits(func(l *Limits) { l.MaxConnections = 0 })
	if g := r.dial().call("sum", 1, 2); g.err != nil {
		t.Error(g.err)
	}
}

// Before login less is taken, in both framings, and afterwards as much as of
// anybody.
func TestSmallerLimitsBeforeLogin(t *testing.T) {
	echo := plain("echo", func(_ *Call, a *Args) (any, error) { return a.Raw("v") })
	for _, stream := range []bool{false, true} {
		for _, c := range []struct {
			name  string
			param any
			code  string
		}{
			{"bytes", strings.Repeat("x", 300), wire.FrameTooLarge},
			{"elements", make([]int, 40), wire.ProtocolError},
		} {
			t.Run(fmt.Sprintf("%s, stream %v", c.name, stream), func(t *testing.T) {
				r := newRig(t, 2, []Method{echo, loginMethod(), plain("logout", func(c *Call, _ *Args) (any, error) { c.Logout(); return nil, nil })},
					func(o *Options) { o.Limits.MaxFrameBeforeLogin, o.Limits.MaxElementsBeforeLogin = 200, 30 })
				r.mayWarn = true
				dial := func() *peer { p := r.dial(); p.stream = stream; return p }
				refused := func(p *peer, n int) {
					t.Helper()
					r.settle()
					if g := p.read(); len(g) != n || g[n-1].method != "sys.closing" || g[n-1].params[0].(map[string]any)["code"] != c.code {
						t.Errorf("got %v, want %s", g, c.code)
					}
				}
				p := dial()
				p.request("echo", c.param)
				refused(p, 1)

				p = dial()
				p.request("login", r.uidElsewhere()) // which waits for the next turn
				p.request("echo", c.param)
				// On this hub the login is not answered yet. What waits until it is
				// has been read already in the stream framing, and not in the other.
				r.settle()
				p = dial().login(r.uidElsewhere())
				if g := p.call("echo", c.param); g.err != nil {
					t.Fatal(g.err)
				}
				p.call("logout")
				p.request("echo", c.param)
				refused(p, 1)
			})
		}
	}
	zero := Limits{MaxFrame: 100, MaxElements: 50, MaxFrameBeforeLogin: 101}.complete()
	if zero.MaxFrameBeforeLogin != 100 || zero.MaxElementsBeforeLogin != 50 {
		t.Errorf("limits that are not set, or larger than those after login: %+v", zero)
	}
}

// Who is refused is told so in its own framing, or closed.
func TestRefuse(t *testing.T) {
	why := wire.Closing{Code: wire.TooManyConnections, Message: "too many from here", Reconnect: true}
	r := newRig(t, 1, []Method{sumMethod()})
	for _, stream := range []bool{false, true} {
		p := r.dial()
		p.stream = stream
		p.link.hub.Refuse(p.conn, why)
		p.link.hub.Refuse(p.conn, wire.Closing{Code: wire.Kicked}) // the first one counts
		p.link.hub.Refuse(p.conn+1<<32, why)                       // nobody
		if n := r.peers.Refusing(); n != 1 {
			t.Errorf("%d wait to be told", n)
		}
		p.request("sum", 1, 2)
		r.settle()
		g := p.read()
		if len(g) != 1 || g[0].method != "sys.closing" {
			t.Fatalf("got %v", g)
		}
		c := g[0].params[0].(map[string]any)
		if ms, _ := c["retry_after_ms"].(int64); c["message"] != why.Message || c["reconnect"] != true || ms < 5000 || ms > 15000 {
			t.Errorf("told %v", c)
		}
		if p.link.conns[p.conn] != nil {
			t.Error("it is still there")
		}
		if n := r.peers.Refusing(); n != 1 {
			t.Errorf("%d wait or were told a moment ago", n)
		}
		if r.advance(3 * time.Second); r.peers.Refusing() != 0 {
			t.Errorf("%d wait", r.peers.Refusing())
		}
	}
	p := r.dial() // one whose framing is known is told at once
	p.call("sum", 1, 2)
	p.link.hub.Refuse(p.conn, why)
	if g := p.read(); len(g) != 1 || g[0].method != "sys.closing" {
		t.Errorf("got %v", g)
	}
	silent, gone := r.dial(), r.dial()
	silent.link.hub.Refuse(silent.conn, why)
	gone.link.hub.Refuse(gone.conn, why)
	gone.link.end(gone.conn, fmt.Errorf("gone"))
	if n := r.peers.Refusing(); n != 2 {
		t.Errorf("%d wait to be told", n)
	}
	r.advance(4 * time.Second)
	if silent.link.conns[silent.conn] != nil || r.peers.Refusing() != 0 {
		t.Errorf("a refused connection that says nothing stays open; %d wait", r.peers.Refusing())
	}
	if n := r.peers.Counters.Closed()[wire.TooManyConnections]; n != 4 {
		t.Errorf("%d refusals are counted, want 4", n)
	}
}

// Those who wait to be told are bounded.
func TestTooManyRefused(t *testing.T) {
	r := newRig(t, 1, nil, func(o *Options) { o.Limits.MaxConnections = 1 })
	first := r.dial()
	var waiting []*peer
	for range MaxRefusing {
		waiting = append(waiting, r.dial())
	}
	late, refused := r.dial(), r.dial()
	refused.link.hub.Refuse(refused.conn, wire.Closing{Code: wire.TooManyConnections})
	for _, p := range []*peer{late, refused} {
		if len(p.c.out) > 0 || p.link.conns[p.conn] != nil {
			t.Error("one more is not closed at once")
		}
	}
	for _, p := range append(waiting, first) {
		if p.link.conns[p.conn] == nil {
			t.Fatal("one of the others is closed")
		}
	}
	waiting[0].link.end(waiting[0].conn, fmt.Errorf("gone"))
	waiting[1].request("sum", 1, 2)
	r.settle()
	if g := waiting[1].read(); len(g) != 1 || g[0].method != wire.ClosingMethod {
		t.Errorf("got %v", g)
	}
	if p := r.dial(); p.link.conns[p.conn] != nil {
		t.Error("one more waits in the same second in which others were told")
	}
	r.advance(4 * time.Second)
	if p := r.dial(); p.link.conns[p.conn] == nil {
		t.Error("one that may wait again is closed")
	}
}

// Who wants to can have sessions closed by the thousand: the log stays readable.
func TestClosedSessionsDoNotFloodTheLog(t *testing.T) {
	r := newRig(t, 1, []Method{sumMethod()})
	for range 500 {
		p := r.dial()
		p.send([]byte{0xc1})
		r.settle()
	}
	if n := r.logs.FilterMessage("session closed").Len(); n != linesPerSecond {
		t.Errorf("%d lines", n)
	}
	r.advance(3 * time.Second)
	more := r.logs.FilterMessageSnippet("more sessions closed").All()
	if len(more) != 1 || more[0].ContextMap()["sessions"] != int64(500-linesPerSecond) {
		t.Errorf("got %v", more)
	}
	if n := r.peers.Counters.Closed()[wire.ProtocolError]; n != 500 {
		t.Errorf("%d are counted", n)
	}
}
