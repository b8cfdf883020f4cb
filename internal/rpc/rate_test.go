package rpc

import (
	"fmt"
	"testing"
	"time"

	"gameserverd/wire"
)

func withRate(rate, burst int) rigOption {
	return func(o *Options) { o.Limits.Rate, o.Limits.Burst = rate, burst }
}

// forward moves the clocks on by d at once.
func (r *rig) forward(d time.Duration) {
	for _, l := range r.loops {
		l.now = l.now.Add(d)
	}
	r.settle()
}

// burst sends n requests and returns how many were answered, and the others.
func (p *peer) burst(n int) (answered int, refused []got) {
	p.r.t.Helper()
	for range n {
		p.request("sum", 1, 2)
	}
	p.r.settle()
	for _, g := range p.read() {
		switch {
		case g.kind == wire.Response && g.err == nil:
			answered++
		default:
			refused = append(refused, g)
		}
	}
	return answered, refused
}

func TestRateIsABurstAndThenTheRate(t *testing.T) {
	r := newRig(t, 1, []Method{sumMethod()}, withRate(4, 10))
	p, other := r.dial(), r.dial()
	if n, refused := p.burst(13); n != 10 || len(refused) != 3 {
		t.Fatalf("%d answered at once, %v refused", n, refused)
	}
	if n, _ := other.burst(10); n != 10 {
		t.Fatalf("another session has %d of its 10", n)
	}
	for range 5 {
		r.forward(250*time.Millisecond - 1)
		_, refused := p.burst(1)
		if len(refused) != 1 || refused[0].err.Code != ResourceExhausted || refused[0].err.RetryAfter != time.Millisecond {
			t.Fatalf("a nanosecond too early: %v", refused)
		}
		r.forward(1)
		if n, _ := p.burst(1); n != 1 {
			t.Fatal("refused when it is time")
		}
		if _, refused := p.burst(1); len(refused) != 1 || refused[0].err.RetryAfter != 250*time.Millisecond {
			t.Fatalf("got %v; want to wait 250ms", refused)
		}
		r.forward(10 * time.Second) // nothing is refused for so long: that is forgotten as well
		if n, refused := p.burst(10); n != 10 || refused != nil {
			t.Fatalf("%d answered after a rest, %v", n, refused)
		}
	}
	if n := r.peers.Counters.OverRate.Load(); n != 13 {
		t.Errorf("%d refusals are counted, want 13", n)
	}
}

// Refused messages have a rate of their own, of the same size: as long as that is
// kept the session lives.
func TestWhoIgnoresTheRateIsClosed(t *testing.T) {
	r := newRig(t, 1, []Method{sumMethod()}, withRate(10, 20))
	p := r.dial()
	if n, refused := p.burst(40); n != 20 || len(refused) != 20 {
		t.Fatalf("%d answered, %d refused", n, len(refused))
	}
	for range 100 {
		r.forward(100 * time.Millisecond)
		if n, refused := p.burst(2); n != 1 || len(refused) != 1 || refused[0].err == nil {
			t.Fatalf("%d answered, %v", n, refused)
		}
	}
	_, refused := p.burst(3)
	if len(refused) != 1 || refused[0].method != "sys.closing" {
		t.Fatalf("got %v, want sys.closing and nothing after it", refused)
	}
	closing := refused[0].params[0].(map[string]any)
	if closing["code"] != wire.RateLimited || closing["reconnect"] != true || closing["retry_after_ms"] == nil {
		t.Errorf("got %v", closing)
	}
	if n := r.peers.Counters.Closed()[wire.RateLimited]; n != 1 {
		t.Errorf("%d sessions counted", n)
	}
}

func TestRateAndNotifications(t *testing.T) {
	ran := 0
	r := newRig(t, 1, []Method{plain("note", func(*Call, *Args) (any, error) { ran++; return nil, nil })}, withRate(1, 5))
	p := r.dial()
	for range 10 {
		p.notify("note")
	}
	p.want()
	if ran != 5 || r.peers.Counters.OverRateDropped.Load() != 5 || r.peers.Counters.OverRate.Load() != 0 {
		t.Errorf("%d ran, counted: %s", ran, &r.peers.Counters)
	}
	p.notify("note")
	if g := p.read(); len(g) != 1 || g[0].method != "sys.closing" {
		t.Errorf("got %v", g)
	}
}

// What counts: methods that do not exist, concurrent ones, what waits in the
// mailbox. What does not: answers to the server's calls.
func TestWhatCountsForTheRate(t *testing.T) {
	var s slow
	r := roomRig(t, 1, s.method("slow", false), s.method("free", true))
	r.peers.SetLimits(func() Limits { l := testLimits; l.Rate, l.Burst = 1, 5; return l }())
	r.settle()
	p := r.dial().login(7)
	p.request("slow")
	p.request("free")
	p.request("sum", 1, 1)
	p.request("nothing")
	p.request("free")
	p.want("6! resource_exhausted")
	s.pending[0].Resolve(0)
	s.pending[1].Resolve(0)
	p.want("2= 0", "4= 2", "5! unimplemented", "3= 0")
	for i := range 20 {
		asked := r.peers.Call(7, time.Second, "ask")
		r.settle()
		g := p.read()
		if len(g) != 1 || g[0].kind != wire.Request {
			t.Fatalf("got %v", g)
		}
		p.send(p.framed(append(wire.AppendResult(nil, g[0].id), byte(i))))
		r.settle()
		if _, err, done := asked.Result(); !done || err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
	p.want()
}

// Logging in on another loop does not fill the bucket.
func TestTheRateMovesAlong(t *testing.T) {
	r := newRig(t, 2, []Method{sumMethod(), loginMethod()}, withRate(1, 10))
	r.loops[1].now = r.loops[1].now.Add(time.Hour) // clocks that do not agree
	p := r.dial()
	p.burst(3)
	p.login(r.uidElsewhere())
	if p.link.hub.index == 0 {
		t.Fatal("it has not moved")
	}
	if n, refused := p.burst(8); n != 6 || len(refused) != 2 || refused[0].err.RetryAfter != time.Second {
		t.Errorf("%d answered, %v", n, refused)
	}
}

// A slot that is used again begins anew, and so does everybody when the limit
// changes.
func TestTheRateBeginsAnew(t *testing.T) {
	r := newRig(t, 1, []Method{sumMethod()}, withRate(1, 5))
	for range 3 {
		p := r.dial()
		if n, _ := p.burst(6); n != 5 {
			t.Fatalf("%d answered", n)
		}
		p.link.end(p.conn, fmt.Errorf("gone"))
	}
	p := r.dial()
	p.burst(6)
	set := func(rate, burst int) {
		l := testLimits
		l.Rate, l.Burst = rate, burst
		r.peers.SetLimits(l)
		r.settle()
	}
	set(1, 5) // nothing new
	if n, _ := p.burst(1); n != 0 {
		t.Error("the same limit again fills the buckets")
	}
	set(1, 7)
	if n, _ := p.burst(8); n != 7 {
		t.Errorf("%d answered with the new limit", n)
	}
	set(0, 7)
	if n, _ := p.burst(100); n != 100 {
		t.Errorf("%d answered without a limit", n)
	}
	if pages := r.links[0].hub.rate.pages; pages != nil {
		t.Error("without a limit there are buckets")
	}
	set(1_000_000, 1)
	if n, _ := p.burst(2); n != 1 {
		t.Errorf("%d answered", n)
	}
}

func TestTheRateAllocatesNothing(t *testing.T) {
	r := newRig(t, 1, []Method{sumMethod()}, withRate(1_000_000, 1_000_000))
	p := r.dial()
	m, _ := appendParams(wire.AppendRequest(nil, 1, "sum"), "sum", []any{1, 2})
	frame := p.framed(m)
	p.c.out = make([]byte, 0, 1<<20)
	if n := testing.AllocsPerRun(1000, func() {
		p.c.out = p.c.out[:0]
		p.link.hub.Data(p.conn, frame)
	}); n != 0 && !invariants {
		t.Errorf("%v allocations", n)
	}
	p.c.out = nil
}
