package rpc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/wire"
)

const parentHeader = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestParseTraceparent(t *testing.T) {
	if good := fmt.Sprintf("%x", ParseTraceparent([]byte(parentHeader)).Trace); good != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("%s", good)
	}
	edit := func(old, new string) string { return strings.Replace(parentHeader, old, new, 1) }
	for _, c := range []struct {
		header        string
		none, sampled bool
	}{
		{parentHeader, false, true},
		{edit("-01", "-00"), false, false},
		{edit("-01", "-ff"), false, true},
		{edit("-01", "-fe"), false, false},
		{edit("00-", "01-"), false, true},
		{edit("00-", "01-") + "-what-comes-later", false, true},
		{edit("00-", "01-") + "x", true, false},
		{edit("00-", "ff-"), true, false},
		{parentHeader + "-more", true, false},
		{parentHeader[:54], true, false},
		{"", true, false},
		{edit("4bf9", "4BF9"), true, false},
		{edit("4bf9", "4bg9"), true, false},
		{edit("-01", "-0x"), true, false},
		{edit("00-", "0x-"), true, false},
		{edit("00f067aa0ba902b7", strings.Repeat("0", 16)), true, false},
		{edit("4bf92f3577b34da6a3ce929d0e0e4736", strings.Repeat("0", 32)), true, false},
		{strings.ReplaceAll(parentHeader, "-", "_"), true, false},
	} {
		got := ParseTraceparent([]byte(c.header))
		if got.None() != c.none || got.Sampled != c.sampled || c.none && got != (Traceparent{}) {
			t.Errorf("%q: %+v", c.header, got)
		}
		if id := traceID([]byte(c.header)); (id == "") != c.none {
			t.Errorf("%q: %q", c.header, id)
		}
	}
}

func FuzzParseTraceparent(f *testing.F) {
	f.Add([]byte(parentHeader))
	f.Add([]byte("cc" + parentHeader[2:] + "-x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := ParseTraceparent(b)
		if got.None() {
			if got != (Traceparent{}) {
				t.Errorf("%q: %+v", b, got)
			}
			return
		}
		if want := fmt.Sprintf("-%x-%x-", got.Trace, got.Parent); string(b[2:53]) != want {
			t.Errorf("%q is not %q", b, want)
		}
	})
}

// fakeTracer traces what comes with a sampled traceparent, and notes what happens.
type fakeTracer struct {
	mu    sync.Mutex
	notes []string
}

func (f *fakeTracer) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

// took are the notes since the last time.
func (f *fakeTracer) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	notes := f.notes
	f.notes = nil
	return notes
}

func (f *fakeTracer) Begin(b Beginning) Span {
	if !b.Parent.Sampled {
		return nil
	}
	f.note("begin %s uid %d", b.Method, b.UID)
	return &fakeSpan{f, b.Method}
}

type fakeSpan struct {
	of   *fakeTracer
	name string
}

func (s *fakeSpan) TraceID() string     { return "trace of " + s.name }
func (s *fakeSpan) Traceparent() string { return "parent " + s.name }
func (s *fakeSpan) Child(name string, kind SpanKind) Span {
	s.of.note("%s has %s", s.name, name)
	return &fakeSpan{s.of, name}
}
func (s *fakeSpan) Event(name string) { s.of.note("%s: %s", s.name, name) }
func (s *fakeSpan) UID(uid uint64)    { s.of.note("%s is uid %d", s.name, uid) }
func (s *fakeSpan) End(code wire.Code, err error) {
	s.of.note("end %s %s", s.name, code)
}

// tracedRequest sends a request that is a part of a trace.
func (p *peer) tracedRequest(header, method string, params ...any) {
	p.r.t.Helper()
	p.msgid++
	b, err := appendParams(wire.AppendRequestMeta(nil, p.msgid, method), method, params)
	must(p.r.t, err)
	p.send(p.framed(wire.AppendMeta(b, wire.Meta{Traceparent: []byte(header)})))
}

// Each traced call has one span, which ends once, with the code that the client gets;
// the next call, which has the same Call, has nothing of it.
func TestSpansOfCalls(t *testing.T) {
	tracer := &fakeTracer{}
	var seen []string
	gate := future.New[int]()
	r := newRig(t, 1, []Method{loginMethod(), sumMethod(),
		plain("sees", func(c *Call, _ *Args) (any, error) { seen = append(seen, c.Traceparent()); return nil, nil }),
		plain("fails", func(c *Call, _ *Args) (any, error) { return nil, errors.New("no") }),
		plain("panics", func(c *Call, _ *Args) (any, error) { panic("no") }),
		{Name: "waits", Public: true, Async: func(c *Call, a *Args) (Pending, error) {
			return Await(Waits(c, "the gate", gate), func(out []byte, v int) ([]byte, error) { return AppendValue(out, v) }), nil
		}},
	}, func(o *Options) { o.Tracer = tracer })
	r.mayWarn = true
	p := r.dial()
	step := func(want string, run func()) {
		t.Helper()
		run()
		r.settle()
		p.read()
		if got := strings.Join(tracer.took(), "; "); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	traced := func(method string, params ...any) func() {
		return func() { p.tracedRequest(parentHeader, method, params...) }
	}
	step("begin sum uid 0; end sum ", traced("sum", 1, 2))
	step("begin sum uid 0; end sum invalid_argument", traced("sum", 1))
	step("begin fails uid 0; end fails internal", traced("fails"))
	step("begin panics uid 0; end panics internal", traced("panics"))
	step("begin sees uid 0; end sees ", traced("sees"))
	step("", func() { p.request("sees") })
	if want := []string{"parent sees", ""}; !slices.Equal(seen, want) {
		t.Errorf("the method saw %q", seen)
	}
	step("", traced("unknown"))
	step("begin login uid 0; login is uid 7; end login ", traced("login", 7))
	step("begin waits uid 7; waits has the gate", traced("waits"))
	step("end the gate ; waits is uid 7; end waits ", func() { gate.Resolve(1) })
}

// A call that ends when nobody is there any more has its span's end too, and one
// whose time was over says so.
func TestSpansOfCallsThatNobodyWaitsFor(t *testing.T) {
	tracer := &fakeTracer{}
	gates := []*future.Future[int]{future.New[int](), future.New[int]()}
	n := -1
	r := newRig(t, 1, []Method{{Name: "waits", Public: true, Async: func(c *Call, a *Args) (Pending, error) {
		n++
		return Await(gates[n], func(out []byte, v int) ([]byte, error) { return AppendValue(out, v) }), nil
	}}}, func(o *Options) { o.Tracer = tracer })
	p := r.dial()
	p.tracedRequest(parentHeader, "waits")
	r.settle()
	p.link.end(p.conn, errors.New("reset"))
	r.settle()
	gates[0].Resolve(1)
	r.settle()
	if got := strings.Join(tracer.took(), "; "); got != "begin waits uid 0; end waits " {
		t.Error(got)
	}

	p = r.dial()
	b, _ := appendParams(wire.AppendRequestMeta(nil, 1, "waits"), "waits", nil)
	p.send(p.framed(wire.AppendMeta(b, wire.Meta{Traceparent: []byte(parentHeader), HasTimeout: true, TimeoutMS: 5})))
	r.settle()
	r.advance(10 * time.Millisecond)
	gates[1].Resolve(1)
	r.settle()
	if got := strings.Join(tracer.took(), "; "); got != "begin waits uid 0; end waits deadline_exceeded" {
		t.Error(got)
	}
}

// A call to a client is a part of the call that makes it, and tells the client.
func TestSpanOfACallToAClient(t *testing.T) {
	tracer := &fakeTracer{}
	var r *rig
	r = newRig(t, 2, []Method{loginMethod(), {Name: "asks", Concurrent: true, Async: func(c *Call, a *Args) (Pending, error) {
		return Await(CallAs[int](r.peers, c, 2, time.Second, "client.fn"), func(out []byte, v int) ([]byte, error) { return AppendValue(out, v) }), nil
	}}}, func(o *Options) { o.Tracer = tracer })
	one, two := r.dial().login(1), r.dial().login(2)
	tracer.took()
	one.tracedRequest(parentHeader, "asks")
	r.settle()
	var m wire.Message
	must(t, m.Parse(two.c.out[two.seen+wire.HeaderLen:], 1000))
	if got := string(wire.ParseMeta(m.Meta).Traceparent); m.Kind != wire.Request || got != "parent client.fn" {
		t.Errorf("the client is told %q", got)
	}
	two.read()
	two.send(two.framed(wire.AppendInt(wire.AppendResult(nil, m.ID), 5)))
	r.settle()
	one.want("2= 5")
	if got := strings.Join(tracer.took(), "; "); got != "begin asks uid 1; asks has client.fn; client.fn is uid 2; end client.fn ; asks is uid 1; end asks " {
		t.Error(got)
	}
	one.request("asks")
	r.settle()
	if all := two.read(); len(all) != 1 || all[0].kind != wire.Request {
		t.Errorf("%v", all)
	}
}

// Without a tracer a traceparent costs nothing but its id, and with one a call that
// is not traced costs nothing at all.
func TestNotTracedAllocatesNothing(t *testing.T) {
	if invariants {
		t.Log("builds with the invariants tag make a new Call each time, to check its use")
		return
	}
	for _, tracer := range []Tracer{nil, &fakeTracer{}} {
		r := newRig(t, 1, []Method{sumMethod()}, func(o *Options) { o.Tracer = tracer })
		p := r.dial()
		b, _ := appendParams(wire.AppendRequest(nil, 1, "sum"), "sum", []any{1, 2})
		frame := p.framed(b)
		p.c.out = make([]byte, 0, 1<<20)
		if n := testing.AllocsPerRun(1000, func() { p.c.out = p.c.out[:0]; p.link.hub.Data(p.conn, frame) }); n != 0 {
			t.Errorf("%T: %v allocations a call", tracer, n)
		}
	}
}
