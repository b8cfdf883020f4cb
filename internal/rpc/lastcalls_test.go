package rpc

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"gameserverd/wire"
)

// last is what is kept of the player's calls, newest first: "method code waited+took".
func (r *rig) last(uid uint64, look func(*Peers, context.Context, uint64) (SessionDetail, bool, error)) (d SessionDetail, short []string) {
	r.t.Helper()
	d = await(r, func() SessionDetail {
		d, online, err := look(r.peers, context.Background(), uid)
		if err != nil || !online {
			r.t.Errorf("player %d: online %v, %v", uid, online, err)
		}
		return d
	})
	for _, c := range d.Last {
		short = append(short, fmt.Sprintf("%s %s %v+%v", c.Method, c.Code, c.Waited, c.Took))
	}
	return d, short
}

func (r *rig) wantLast(uid uint64, want ...string) SessionDetail {
	r.t.Helper()
	d, have := r.last(uid, (*Peers).Session)
	if !slices.Equal(have, want) {
		r.t.Errorf("last calls of %d: got\n  %q\nwant\n  %q", uid, have, want)
	}
	return d
}

// What is shown of a player was only what is under way: who came to say that "it did
// not work" could not be helped.
func TestLastCallsAreThoseOfWhoSuffers(t *testing.T) {
	var r *rig
	var took time.Duration
	var s slow
	r = roomRig(t, 1, takes(&r, "takes", &took), s.method("slow", false), s.method("free", true),
		plain("none", func(*Call, *Args) (any, error) { return nil, Errorf(NotFound, "nothing there") }),
		plain("own", func(*Call, *Args) (any, error) { return nil, Errorf("of_my_own", "no") }),
		plain("long", func(*Call, *Args) (any, error) { return nil, Errorf(wire.Code(strings.Repeat("x", 33)), "no") }))
	p := r.dial()
	p.request("private.thing") // which there is not; before the login
	p.request("leave", "x")    // which needs one
	r.settle()
	p.read()
	p.login(7)
	r.wantLast(7, "leave unauthenticated 0s+0s", " unimplemented 0s+0s")
	took = 10*time.Millisecond - time.Nanosecond
	p.call("takes")
	took = 10 * time.Millisecond
	p.call("takes")
	p.request("takes") // what those before it in a turn take is waited for
	p.request("sum", 1, 2)
	p.notify("none")
	p.want("6= <nil>", "7= 3")
	p.call("own")
	p.call("long")
	p.request("slow")
	r.advance(100 * time.Millisecond)
	p.timed("sum", 50) // is over before it begins
	r.advance(100 * time.Millisecond)
	s.pending[0].Resolve(1)
	r.settle()
	p.timed("free", 50)
	r.advance(100 * time.Millisecond)
	s.pending[1].Resolve(1)
	r.settle()
	d := r.wantLast(7, "free deadline_exceeded 0s+50ms", "sum deadline_exceeded 100ms+0s", "slow  0s+200ms", "long other 0s+0s", "own of_my_own 0s+0s",
		"none not_found 10ms+0s", "sum  10ms+0s", "takes  0s+10ms", "takes  0s+10ms", "leave unauthenticated 0s+0s", " unimplemented 0s+0s")
	now := r.loops[0].now
	if at := d.Last[0].At; !at.Equal(now.Add(-50 * time.Millisecond)) {
		t.Errorf("the last has ended at %v, it is %v", at, now)
	}
	if !d.AllSince.IsZero() {
		t.Errorf("all are kept from %v on, and nobody has looked", d.AllSince)
	}
	p.read()
}

// What an operator looks at is kept whole from then on, for as long as it is that
// player's session.
func TestAllCallsAreKeptOfWhoIsLookedAt(t *testing.T) {
	r := roomRig(t, 2, plain("out", func(c *Call, _ *Args) (any, error) { c.Logout(); return nil, nil }))
	uid, hub := r.uidElsewhere(), r.links[1].hub
	p := r.dial()
	p.request("nothing")
	p.read()
	p.login(uid) // what is kept moves along
	neighbour := uid + 1
	for r.peers.home(neighbour) != hub {
		neighbour++
	}
	other := r.dial().login(neighbour)
	p.call("sum", 1, 2)
	r.wantLast(uid, " unimplemented 0s+0s")
	began := r.loops[1].now
	if _, have := r.last(uid, (*Peers).Watch); len(have) != 1 {
		t.Errorf("got %q", have)
	}
	r.advance(time.Second)
	r.last(uid, (*Peers).Watch)
	other.call("sum", 1, 2)
	p.call("sum", 1, 2)
	p.notify("sum", 1, 2)
	r.settle()
	d := r.wantLast(uid, "sum  0s+0s", "sum  0s+0s", " unimplemented 0s+0s")
	if !d.AllSince.Equal(began) {
		t.Errorf("all since %v, want %v", d.AllSince, began)
	}
	r.wantLast(neighbour)
	p.call("out")
	if hub.watching != 0 {
		t.Errorf("%d sessions are looked at, and nobody is logged in", hub.watching)
	}
	p.login(uid)
	p.call("sum", 1, 2)
	if d = r.wantLast(uid); !d.AllSince.IsZero() {
		t.Error("another session is kept whole")
	}
	r.last(uid, (*Peers).Watch)
	p.link.end(p.conn, fmt.Errorf("reset"))
	if hub.watching != 0 {
		t.Errorf("%d sessions are looked at, and one has gone", hub.watching)
	}
}

func TestLastCallsHaveTheirTrace(t *testing.T) {
	var s slow
	r := roomRig(t, 1, s.method("slow", false), plain("bug", func(*Call, *Args) (any, error) { return nil, fmt.Errorf("a bug") }))
	r.mayWarn = true
	p := r.dial().login(7)
	const trace = "0af7651916cd43dd8448eb211c80319c"
	for _, method := range []string{"sum", "nothing"} {
		p.msgid++
		b := wire.AppendArray(wire.AppendRequestMeta(nil, p.msgid, method), 0)
		p.send(p.framed(wire.AppendMeta(b, wire.Meta{Traceparent: []byte("00-" + trace + "-00f067aa0ba902b7-01")})))
	}
	p.read()
	p.request("bug")
	r.settle()
	p.read()
	d := r.wantLast(7, "bug internal 0s+0s", " unimplemented 0s+0s", "sum invalid_argument 0s+0s")
	if len(d.Last) == 3 && (d.Last[1].Trace != trace || d.Last[2].Trace != trace) {
		t.Errorf("traces %q and %q, want %q", d.Last[1].Trace, d.Last[2].Trace, trace)
	}
	logged := r.logs.FilterMessage("method failed").All()[0].ContextMap()["trace"]
	if len(d.Last) == 3 && d.Last[0].Trace != logged {
		t.Errorf("trace %q, the log has %q", d.Last[0].Trace, logged)
	}
}

// A client that makes calls fail on purpose has one ring, and the newest are in it.
func TestLastCallsAreBounded(t *testing.T) {
	r := roomRig(t, 1)
	p := r.dial().login(7)
	s := r.links[0].hub.session(p.conn)
	if s.last != nil {
		t.Error("a session without such calls has room for them")
	}
	for n := range 2*maxLastCalls + 5 {
		p.request([]string{"nothing", "sum"}[n%2])
		r.settle()
		d, _ := r.last(7, (*Peers).Session)
		if want := []string{"", "sum"}[n%2]; len(d.Last) != min(n+1, maxLastCalls) || d.Last[0].Method != want {
			t.Fatalf("after %d calls: %d, the first %q, want %q", n+1, len(d.Last), d.Last[0].Method, want)
		}
		if !slices.IsSortedFunc(d.Last, func(a, b LastCall) int { return b.At.Compare(a.At) }) {
			t.Fatalf("after %d calls: not the newest first: %v", n+1, d.Last)
		}
		r.advance(50 * time.Millisecond)
	}
	p.read()
	r.last(7, (*Peers).Watch) // a client that calls all the time pushes nothing out
	for range 3 * maxLastCalls {
		p.call("sum", 1, 2)
		r.advance(50 * time.Millisecond)
	}
	d, _ := r.last(7, (*Peers).Session)
	if n := len(d.Last); n != 2*maxLastCalls || d.Last[maxLastCalls-1].Code != "" || d.Last[maxLastCalls].Code == "" {
		t.Errorf("%d calls: %v", n, d.Last)
	}
	if n := unsafe.Sizeof(lastCalls{}); n > 48 {
		t.Errorf("%d bytes, 48 are promised", n)
	}
	if n := uintptr(cap(s.last.hard.calls)) * unsafe.Sizeof(lastCall{}); n > 16*56 {
		t.Errorf("a ring of %d bytes, 16*56 are promised", n)
	}
}

func TestLongTimesOfLastCalls(t *testing.T) {
	for in, want := range map[int64]uint32{-1: 0, 999: 0, 1000: 1, int64(time.Hour): 3_600_000_000, math.MaxInt64: math.MaxUint32} {
		if got := micros(in); got != want {
			t.Errorf("%d ns: %d us, want %d", in, got, want)
		}
	}
}

// A call that is neither slow nor wrong, of nobody who is looked at, costs no memory.
func TestOrdinaryCallsAreNotKept(t *testing.T) {
	r := newRig(t, 1, []Method{sumMethod()})
	p := r.dial()
	h := r.links[0].hub
	c := &h.call
	c.method, c.conn = h.methods["sum"], p.conn
	if n := testing.AllocsPerRun(100, func() {
		in := incoming{arrived: h.clock()}
		c.begin(h, &in)
		h.record(c, "")
	}); n != 0 || h.session(p.conn).last != nil {
		t.Errorf("%v allocations a call", n)
	}
}
