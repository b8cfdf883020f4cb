package rpc

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gameserverd/wire"
)

// watched is what a trace has shown.
type watched []TraceEvent

func (w *watched) add(e TraceEvent) { *w = append(*w, e) }

func (w *watched) want(t *testing.T, want ...string) {
	t.Helper()
	var have []string
	for _, e := range *w {
		way := "<"
		if e.In {
			way = ">"
		}
		var body any
		if e.Body != nil && len(e.Body) < maxTraceBody {
			must(t, wire.Unmarshal(e.Body, &body))
		}
		have = append(have, fmt.Sprintf("%s %s %d %s %v", way, e.Kind, e.ID, e.Method, body))
		if e.At.IsZero() || e.Size == 0 || (e.Kind == wire.Response && !e.In && e.Method != "") != (e.Took > 0) {
			t.Errorf("event %+v", e)
		}
	}
	*w = nil
	if got, want := strings.Join(have, "\n"), strings.Join(want, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTraceShowsEveryMessageOfOnePlayer(t *testing.T) {
	r := roomRig(t, 2, plain("auth.login", func(*Call, *Args) (any, error) { return "in", nil }))
	uid := r.uidElsewhere()
	var w, w2 watched
	stop, err := r.peers.Trace(uid, w.add)
	must(t, err)
	r.settle()
	p := r.dial().login(uid)
	other := r.dial().login(uid + 1)
	w.want(t, fmt.Sprintf("< response 1  %d", uid)) // the request came when nobody knew who it was
	p.request("sum", 1, 2)
	p.notify("sum", 3, 4)
	p.request("nothing")
	p.request("auth.login", "secret")
	p.request("join", "x")
	r.settle()
	other.request("join", "x")
	must(t, r.peers.Notify(uid, "news", 5))
	_, err = r.peers.Broadcast("all")
	must(t, err)
	r.settle()
	asked := r.peers.Call(uid, time.Second, "ask", 6)
	r.settle()
	p.send(p.framed(append(wire.AppendResult(nil, 1), 7)))
	r.settle()
	if _, err, done := asked.Result(); err != nil || !done {
		t.Error(err)
	}
	for i := range w { // the code is what counts
		if w[i].Failed {
			e := wire.ParseError(w[i].Body)
			w[i].Body = wire.AppendString(nil, string(e.Code))
		}
	}
	w.want(t, "> request 2 sum [1 2]", "< response 2 sum 3", "> notification 0 sum [3 4]", "> request 3 nothing []", "< response 3 nothing unimplemented",
		"> request 4 auth.login <nil>", "< response 4 auth.login in", "> request 5 join [x]",
		fmt.Sprintf("< notification 0 joined [x %d]", uid), fmt.Sprintf("< response 5 join [%d]", uid),
		"< notification 0 news [5]", "< notification 0 all []", fmt.Sprintf("< notification 0 joined [x %d]", uid+1),
		"< request 1 ask [6]", "> response 1 ask 7")

	stop2, err := r.peers.Trace(uid, w2.add)
	must(t, err)
	r.settle()
	p.read()
	p.call("sum", 1, 1)
	stop()
	stop()
	r.settle()
	if len(w) != 2 {
		t.Errorf("two watch, one saw %v", w)
	}
	w, w2 = nil, nil
	p.read()
	p.call("sum", 1, 1)
	if len(w) != 0 || len(w2) != 2 {
		t.Errorf("after one stop: %v, %v", w, w2)
	}
	w2 = nil
	r.peers.Kick(uid, wire.Closing{Code: wire.Kicked, Message: "out"})
	r.settle()
	if len(w2) != 1 || w2[0].Method != wire.ClosingMethod {
		t.Errorf("of the end: %v", w2)
	}
	stop2()
	r.settle()
	r.dial().login(uid).call("sum", 1, 1)
	if len(w2) != 1 {
		t.Errorf("nobody watches any more: %v", w2)
	}
	if n := len(r.links[1].hub.traces); n != 0 {
		t.Errorf("%d traces left", n)
	}
}

func TestTraceCutsLongBodies(t *testing.T) {
	r := newRig(t, 1, []Method{plain("echo", func(_ *Call, a *Args) (any, error) { return a.Raw("v") }), loginMethod()})
	p := r.dial().login(7)
	var w watched
	stop, err := r.peers.Trace(7, w.add)
	must(t, err)
	r.settle()
	p.call("echo", strings.Repeat("x", 10_000))
	if len(w) != 2 || len(w[0].Body) != maxTraceBody || len(w[1].Body) != maxTraceBody || w[0].Size < 10_000 || w[1].Size < 10_000 {
		t.Errorf("got %d events", len(w))
	}
	p.send(make([]byte, 0))
	stop()
	r.settle()
}

func TestTracesAreBounded(t *testing.T) {
	r := newRig(t, 2, nil)
	var stops []func()
	for uid := range uint64(maxTraces) {
		stop, err := r.peers.Trace(uid/2+1, func(TraceEvent) {})
		must(t, err)
		stops = append(stops, stop)
	}
	_, err := r.peers.Trace(100, func(TraceEvent) {})
	if e, _ := err.(*Error); e == nil || e.Code != ResourceExhausted {
		t.Errorf("one more: %v", err)
	}
	stops[0]()
	stop, err := r.peers.Trace(100, func(TraceEvent) {})
	must(t, err)
	stop()
	for _, stop := range stops {
		stop()
	}
	r.settle()
	for _, l := range r.links {
		if n := len(l.hub.traces); n != 0 {
			t.Errorf("%d traces left", n)
		}
	}
	if _, err := r.peers.Trace(0, func(TraceEvent) {}); err == nil {
		t.Error("nobody is traced")
	}
}
