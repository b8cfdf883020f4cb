package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"gameserverd/internal/future"
	"gameserverd/wire"
)

// explosive is a value whose encoder panics.
type explosive struct{}

func (explosive) EncodeMsgpack(*msgpack.Encoder) error { panic("boom") }

// Whatever a method or a hook does wrong, its own call gets one answer and the
// session goes on.
func TestAMistakeCostsOneCall(t *testing.T) {
	var none *Error
	async := func(name string, err error, v any) Method {
		return Method{Name: name, Public: true, Async: func(c *Call, _ *Args) (Pending, error) {
			f := futureOf(v, err)
			return Await(f, func(out []byte, v any) ([]byte, error) { return AppendValue(out, v) }), nil
		}}
	}
	methods := []Method{
		plain("nilError", func(*Call, *Args) (any, error) { return nil, none }),
		plain("noCode", func(*Call, *Args) (any, error) { return nil, &Error{Message: "what?"} }),
		plain("data", func(*Call, *Args) (any, error) { return nil, &Error{Code: Aborted, Data: explosive{}} }),
		plain("result", func(*Call, *Args) (any, error) { return explosive{}, nil }),
		{Name: "nothing", Public: true, Sync: func(*Call, *Args, []byte) ([]byte, error) { return nil, nil }},
		async("later.nilError", none, nil),
		async("later.data", &Error{Code: Aborted, Data: explosive{}}, nil),
		async("later.result", nil, explosive{}),
		async("later.nothing", nil, nil),
		sumMethod(),
	}
	r := newRig(t, 1, methods)
	r.mayWarn = true
	p := r.dial()
	for _, m := range methods {
		p.guard(m.Name, func() { p.request(m.Name); r.settle() })
		want := fmt.Sprintf("%d! internal", p.msgid)
		switch m.Name {
		case "data", "later.data":
			want = fmt.Sprintf("%d! aborted", p.msgid)
		case "later.nothing":
			want = fmt.Sprintf("%d= <nil>", p.msgid)
		case "sum":
			want = fmt.Sprintf("%d! invalid_argument", p.msgid)
		}
		var said []string
		for _, g := range p.read() {
			said = append(said, g.String())
		}
		if have := strings.Join(said, ", "); have != want {
			t.Errorf("%s: got %q, want %q", m.Name, have, want)
		}
	}
	if n := r.peers.Underway(); n != 0 {
		t.Errorf("%d calls are under way", n)
	}
}

func futureOf(v any, err error) *future.Future[any] {
	if err != nil {
		return future.Failed[any](err)
	}
	return future.Resolved(v)
}

// guard reports a panic that reaches the loop: that costs the connection.
func (p *peer) guard(what string, fn func()) {
	defer func() {
		if v := recover(); v != nil {
			p.r.t.Errorf("%s: the loop caught %v", what, v)
		}
	}()
	fn()
}

func TestAPanicOfAHookCostsNothing(t *testing.T) {
	var s slow
	ends := 0
	hooks := []Middleware{
		{After: func(*Call, error) { ends++ }},
		{After: func(*Call, error) { panic("after") }},
	}
	r := newRig(t, 1, []Method{sumMethod(), s.method("slow", false)}, func(o *Options) { o.Middleware = hooks })
	r.mayWarn = true
	p := r.dial()
	p.guard("sum", func() { p.request("sum", 1, 2); r.settle() })
	p.guard("slow", func() { p.request("slow"); s.pending[0].Resolve(4); r.settle() })
	p.want("1= 3", "2= 4")
	if ends != 2 || r.peers.Counters.Panics.Load() != 2 || r.peers.Underway() != 0 {
		t.Errorf("%d calls ended for the other hook, %d panics, %d calls under way", ends, r.peers.Counters.Panics.Load(), r.peers.Underway())
	}
}

func TestAroundThatForgetsItsNextFailsTheCall(t *testing.T) {
	var s slow
	forget := Middleware{Around: func(*Call, func() error) error { return nil }}
	r := newRig(t, 1, []Method{sumMethod(), s.method("slow", false)}, func(o *Options) { o.Middleware = []Middleware{forget} })
	r.mayWarn = true
	p := r.dial()
	p.guard("sum", func() { p.request("sum", 1, 2); r.settle() })
	p.guard("slow", func() { p.request("slow"); r.settle() })
	p.want("1! internal", "2! internal")
}

// A hook that counts the calls under way must see every end.
func TestAfterRunsForCallsWhoseClientHasGone(t *testing.T) {
	var s slow
	under := 0
	count := Middleware{Before: func(*Call) error { under++; return nil }, After: func(*Call, error) { under-- }}
	var r *rig
	r = newRig(t, 1, []Method{s.method("slow", false), loginMethod(),
		plain("leave", func(c *Call, _ *Args) (any, error) {
			r.peers.Kick(c.UID(), wire.Closing{Code: wire.Kicked})
			return nil, nil
		})}, func(o *Options) { o.Middleware = []Middleware{count} })
	p := r.dial()
	p.request("slow")
	p.link.end(p.conn, errors.New("reset"))
	s.pending[0].Resolve(0)
	r.settle()
	if under != 0 {
		t.Errorf("after the client went %d calls have not ended", under)
	}
	p = r.dial().login(7)
	p.request("leave")
	r.settle()
	if under != 0 {
		t.Errorf("after the session was closed by its own call %d calls have not ended", under)
	}
}

// Who wants to know how calls end can come and go beside the middleware, while
// they are under way, and its panic costs nothing.
func TestOnEndComesAndGoes(t *testing.T) {
	var s slow
	var ended []string
	r := newRig(t, 1, []Method{sumMethod(), s.method("slow", false)})
	r.mayWarn = true
	p := r.dial()
	p.request("sum", 1, 2)
	p.request("slow")
	r.settle()
	r.peers.OnEnd(func(c *Call, err error) { ended = append(ended, c.Method()) })
	s.pending[0].Resolve(4)
	r.settle()
	p.request("sum", 1, 2)
	p.want("1= 3", "2= 4", "3= 3")
	r.peers.OnEnd(func(*Call, error) { panic("after") })
	p.guard("sum", func() { p.request("sum", 1, 2); r.settle() })
	r.peers.OnEnd(nil)
	p.request("sum", 1, 2)
	p.want("4= 3", "5= 3")
	if !slices.Equal(ended, []string{"slow", "sum"}) {
		t.Errorf("ended: %v", ended)
	}
	p.request("slow")
	p.link.end(p.conn, errors.New("reset"))
	r.peers.OnEnd(func(c *Call, err error) { ended = append(ended, "orphan") })
	s.pending[1].Resolve(0)
	r.settle()
	if len(ended) != 3 || ended[2] != "orphan" {
		t.Errorf("the end of a call whose client has gone was not told: %v", ended)
	}
}

// The one Call of all plain methods carries nothing from one to the next, however
// one of them ends.
func TestAPlainCallBeginsFresh(t *testing.T) {
	var traces []string
	var last context.Context
	look := plain("look", func(c *Call, _ *Args) (any, error) {
		if c.Context() == last {
			t.Error("the context of the call before")
		}
		last = c.Context()
		traces = append(traces, c.Trace())
		return nil, nil
	})
	r := newRig(t, 1, []Method{look}, func(o *Options) {
		o.Middleware = []Middleware{{After: func(*Call, error) { panic("after") }}}
	})
	r.mayWarn = true
	p := r.dial()
	for range 2 {
		p.guard("look", func() { p.request("look") })
	}
	p.want("1= <nil>", "2= <nil>")
	if last.Err() == nil || traces[0] == traces[1] {
		t.Errorf("context %v, traces %v", last.Err(), traces)
	}
}

// An error of ours is in the log with what joins it, also when its client has gone
// or was told long ago that the time is over.
func TestAnInternalErrorIsLoggedThoughNobodyIsTold(t *testing.T) {
	full := errors.New("disk full")
	for _, c := range []struct {
		name    string
		do      func(r *rig, p *peer, s *slow)
		method  string
		counted string
	}{
		{"the client has gone", func(r *rig, p *peer, s *slow) {
			p.request("slow")
			r.settle()
			p.link.end(p.conn, errors.New("reset"))
			s.pending[0].Fail(full)
		}, "slow", "internal 1"},
		{"it was answered when its time was over", func(r *rig, p *peer, s *slow) {
			p.timed("slow", 50)
			r.advance(100 * time.Millisecond)
			s.pending[0].Fail(full)
		}, "slow", "deadline_exceeded 1"},
		{"it was answered, and the client has gone", func(r *rig, p *peer, s *slow) {
			p.timed("slow", 50)
			r.advance(100 * time.Millisecond)
			p.link.end(p.conn, errors.New("reset"))
			s.pending[0].Fail(full)
		}, "slow", "deadline_exceeded 1"},
		{"the session is being closed", func(r *rig, p *peer, s *slow) {
			p.c.lingers = true
			p.login(7)
			p.request("slow")
			r.settle()
			r.peers.Kick(7, wire.Closing{Code: wire.Kicked})
			r.settle()
			s.pending[0].Fail(full)
		}, "slow", "internal 1"},
		{"the method itself ends the session", func(_ *rig, p *peer, _ *slow) {
			p.request("last")
		}, "last", "internal 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s slow
			r := roomRig(t, 1, s.method("slow", false), plain("last", func(c *Call, _ *Args) (any, error) {
				h := c.hub.Load()
				h.closeSession(h.session(c.conn), wire.Closing{Code: wire.Kicked})
				return nil, full
			}))
			r.mayWarn = true
			c.do(r, r.dial(), &s)
			r.settle()
			lines := r.logs.FilterMessage("method failed").All()
			if len(lines) != 1 {
				t.Fatalf("%d lines tell of it, want 1", len(lines))
			}
			said := lines[0].ContextMap()
			if trace, _ := said["trace"].(string); said["method"] != c.method || said["error"] != "disk full" || len(trace) != 32 {
				t.Errorf("it says %v", said)
			}
			r.wantCalls(c.method, 1, 1, c.counted)
		})
	}
}

// What is no error of ours is in no log, however often strangers cause it.
func TestNothingIsLoggedOfWhatAClientCauses(t *testing.T) {
	var s slow
	r := newRig(t, 1, []Method{s.method("slow", false)}) // any warning fails the test
	for _, err := range []error{context.Canceled, context.DeadlineExceeded, Errorf(NotFound, "nothing there")} {
		p := r.dial()
		p.request("slow")
		r.settle()
		p.link.end(p.conn, errors.New("reset"))
		s.pending[0].Fail(fmt.Errorf("around: %w", err))
		s.pending = nil
		r.settle()
	}
	r.wantCalls("slow", 3, 3, "canceled 1", "deadline_exceeded 1", "not_found 1")
}
