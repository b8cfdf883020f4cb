package rpc

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gameserverd/wire"
)

func TestRequestIsAnsweredInBothFramings(t *testing.T) {
	for _, stream := range []bool{false, true} {
		r := newRig(t, 1, []Method{sumMethod()})
		p := r.dial()
		p.stream = stream
		p.request("sum", 1, 2)
		p.request("sum", -5, 2)
		p.want("1= 3", "2= -3")
	}
}

// Every way to cut a run of messages in two, and one byte at a time, gives the
// same answers.
func TestMessagesMayBeCutAnywhere(t *testing.T) {
	for _, stream := range []bool{false, true} {
		var all []byte
		src := &peer{stream: stream}
		for i := range 3 {
			b, _ := appendParams(wire.AppendRequest(nil, uint32(i), "sum"), "sum", []any{i, 1000})
			all = append(all, src.framed(b)...)
		}
		want := []string{"0= 1000", "1= 1001", "2= 1002"}
		for cut := range all {
			r := newRig(t, 1, []Method{sumMethod()})
			p := r.dial()
			p.stream = stream
			p.send(all[:cut])
			p.send(all[cut:])
			p.want(want...)
		}
		r := newRig(t, 1, []Method{sumMethod()})
		p := r.dial()
		p.stream = stream
		for _, b := range all {
			p.send([]byte{b})
		}
		p.want(want...)
		if s := r.links[0].hub.session(p.conn); s.ext != nil {
			t.Error("an idle session keeps its ext")
		}
	}
}

func TestAnswersThatAreErrors(t *testing.T) {
	r := newRig(t, 1, []Method{sumMethod(), loginMethod(),
		{Name: "private", Sync: func(_ *Call, _ *Args, out []byte) ([]byte, error) { return out, nil }},
		plain("shed", func(*Call, *Args) (any, error) { return nil, Errorf(ResourceExhausted, "no room") }),
		plain("none", func(*Call, *Args) (any, error) { return nil, Errorf(NotFound, "nothing there") }),
	})
	p := r.dial()
	for _, c := range []struct {
		method string
		params []any
		code   wire.Code
		says   string
	}{
		{"summ", nil, Unimplemented, `"summ"`},
		{"private", nil, Unauthenticated, "private needs a login"},
		{"sum", []any{1}, InvalidArgument, "sum takes 2 params (x, y), got 1"},
		{"sum", []any{1, "two"}, InvalidArgument, "sum: y must be an integer from -9223372036854775808 to 9223372036854775807, got string"},
		{"sum", []any{1, uint64(1) << 63}, InvalidArgument, "got 9223372036854775808"},
		{"none", nil, NotFound, "nothing there"},
		{"shed", nil, ResourceExhausted, "no room"},
	} {
		g := p.call(c.method, c.params...)
		if g.err == nil || g.err.Code != c.code || !strings.Contains(g.err.Message, c.says) {
			t.Errorf("%s%v: got %v, want %s with %q", c.method, c.params, g.err, c.code, c.says)
		}
		if c.code == ResourceExhausted && g.err.RetryAfter <= 0 {
			t.Error("resource_exhausted without retry_after_ms")
		}
	}
}

func TestCompositeParamsAreNamedWhenTheyDoNotFit(t *testing.T) {
	type item struct {
		Name  string `msgpack:"name"`
		Count int    `msgpack:"count"`
	}
	tags := plain("tags", func(_ *Call, a *Args) (any, error) { return ArgDecode[[]string](a, "tags") })
	it := plain("it", func(_ *Call, a *Args) (any, error) { return ArgDecode[item](a, "it") })
	r := newRig(t, 1, []Method{tags, it})
	p := r.dial()
	for _, c := range []struct {
		method string
		param  any
		says   string
	}{
		{"tags", "a", "tags: tags must be an array, got string"},
		{"tags", []any{"a", 1}, "tags: a value in tags does not fit: it has another type than is wanted there"},
		{"it", []any{1}, "it: it must be a map, got array"},
		{"it", map[string]any{"count": "two"}, "it: a value in it does not fit: want integer (int), got string"},
	} {
		if g := p.call(c.method, c.param); g.err == nil || g.err.Code != InvalidArgument || g.err.Message != c.says {
			t.Errorf("%s %v: %v, want %q", c.method, c.param, g.err, c.says)
		}
	}
}

func TestInternalsNeverCrossTheWire(t *testing.T) {
	r := newRig(t, 1, []Method{
		plain("fail", func(*Call, *Args) (any, error) { return nil, errors.New("SELECT secret FROM players") }),
		plain("panic", func(*Call, *Args) (any, error) { panic("secret") }),
		sumMethod(),
	})
	r.mayWarn = true
	p := r.dial()
	for _, method := range []string{"fail", "panic"} {
		g := p.call(method)
		if g.err == nil || g.err.Code != Internal || strings.Contains(fmt.Sprintf("%s%s", g.err.Message, g.err.Data), "secret") {
			t.Fatalf("%s: %+v", method, g.err)
		}
		var data map[string]any
		must(t, wire.Unmarshal(g.err.Data.(Raw), &data))
		trace := data["trace"]
		logged := r.logs.FilterMessage("method " + map[string]string{"fail": "failed", "panic": "panicked"}[method]).All()
		if len(logged) != 1 || logged[0].ContextMap()["trace"] != trace || logged[0].ContextMap()["method"] != method {
			t.Errorf("%s: the log has %v, the client has trace %v", method, logged, trace)
		}
	}
	if g := p.call("sum", 1, 2); g.result != int64(3) {
		t.Errorf("after a panic the session answers %v", g)
	}
}

func TestTraceIsTheRequestsOwn(t *testing.T) {
	var trace string
	r := newRig(t, 1, []Method{plain("trace", func(c *Call, _ *Args) (any, error) { trace = c.Trace(); return nil, nil })})
	p := r.dial()
	b := wire.AppendRequestMeta(nil, 1, "trace")
	b = wire.AppendMap(wire.AppendArray(b, 0), 1)
	b = wire.AppendString(wire.AppendString(b, "traceparent"), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	p.send(p.framed(b))
	p.want("1= <nil>")
	if trace != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("the trace is %q", trace)
	}
}

func TestBadBytesCloseTheSessionByName(t *testing.T) {
	frame := func(b ...byte) []byte { return (&peer{}).framed(b) }
	for name, c := range map[string]struct {
		bytes []byte
		code  string // "": closed without a word
	}{
		"wrong first byte":           {[]byte("HELO"), ""},
		"TLS where none is":          {[]byte{0x16, 3, 1}, ""},
		"frame of length 0":          {[]byte{0, 0, 0, 0}, wire.ProtocolError},
		"frame over the limit":       {[]byte{0, 0x10, 0, 1}, wire.FrameTooLarge},
		"not an array":               {frame(0xc0), wire.ProtocolError},
		"trailing byte":              {frame(0x94, 0, 1, 0xa1, 'm', 0x90, 0xc0), wire.ProtocolError},
		"truncated in its frame":     {frame(0x94, 0, 1, 0xa1), wire.ProtocolError},
		"0xc1":                       {frame(0x94, 0, 1, 0xa1, 'm', 0x91, 0xc1), wire.ProtocolError},
		"message type 7":             {frame(0x94, 7, 1, 0xa1, 'm', 0x90), wire.ProtocolError},
		"msgid is a string":          {frame(0x94, 0, 0xa1, '1', 0xa1, 'm', 0x90), wire.ProtocolError},
		"params are no array":        {frame(0x94, 0, 1, 0xa1, 'm', 0x80), wire.ProtocolError},
		"array32 bomb":               {frame(0x94, 0, 1, 0xa1, 'm', 0xdd, 0xff, 0xff, 0xff, 0xff), wire.ProtocolError},
		"stream: bad message":        {[]byte{0x94, 0, 1, 0xc1}, wire.ProtocolError},
		"stream: too many elements":  {append([]byte{0x94, 0, 1, 0xa1, 'm'}, 0xdd, 0, 0, 0xff, 0xff), wire.ProtocolError},
		"stream: announces too much": {[]byte{0x94, 0, 1, 0xa1, 'm', 0x91, 0xc6, 0, 0x20, 0, 0}, wire.FrameTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, []Method{sumMethod()})
			good, bad := r.dial(), r.dial()
			bad.stream = c.bytes[0] >= 0x90
			bad.send(c.bytes)
			if g := good.call("sum", 1, 1); g.result != int64(2) {
				t.Errorf("another session is answered %v", g)
			}
			all := bad.read()
			if len(bad.link.conns) != 1 {
				t.Error("the connection is still open")
			}
			if c.code == "" {
				if len(all) != 0 {
					t.Errorf("got %v where no framing is known", all)
				}
				return
			}
			if len(all) != 1 || all[0].method != "sys.closing" {
				t.Fatalf("got %v, want sys.closing", all)
			}
			if m := all[0].params[0].(map[string]any); m["code"] != c.code || m["reconnect"] != false {
				t.Errorf("closed with %v, want %s", m, c.code)
			}
			if r.peers.Counters.Closed()[c.code] != 1 {
				t.Errorf("counted as %v", r.peers.Counters.Closed())
			}
		})
	}
}

func TestNotificationsAreNeverAnswered(t *testing.T) {
	ran := 0
	r := newRig(t, 1, []Method{sumMethod(), plain("note", func(*Call, *Args) (any, error) { ran++; return nil, nil })})
	p := r.dial()
	p.notify("note")
	p.notify("sum", 1) // fails
	p.notify("nothing")
	p.want()
	if ran != 1 || r.peers.Counters.FailedNotifications.Load() != 2 {
		t.Errorf("ran %d, failed %d", ran, r.peers.Counters.FailedNotifications.Load())
	}
}

func TestMessagesOfASessionStartInOrderOneAtATime(t *testing.T) {
	var s slow
	r := newRig(t, 1, []Method{sumMethod(), s.method("slow", false), s.method("free", true)})
	p := r.dial()
	p.request("slow")      // 1
	p.request("sum", 1, 1) // 2 waits for 1
	p.request("nothing")   // 3 waits too
	p.request("slow")      // 4
	p.request("free")      // 5 is exempt
	p.request("sum", 2, 2) // 6
	p.want()
	if len(s.pending) != 2 {
		t.Fatalf("%d slow calls have begun, want the first and the concurrent one", len(s.pending))
	}
	s.pending[1].Resolve(50)
	p.want("5= 50")
	s.pending[0].Resolve(10)
	p.want("1= 10", "2= 2", "3! unimplemented")
	s.pending[2].Resolve(40)
	p.want("4= 40", "6= 4")
}

func TestFullMailboxStopsReadingAndLosesNothing(t *testing.T) {
	var s slow
	r := newRig(t, 1, []Method{sumMethod(), s.method("slow", false)})
	p := r.dial()
	p.request("slow")
	var want []string
	for i := range 100 {
		id := p.request("sum", i, 0)
		want = append(want, fmt.Sprintf("%d= %d", id, i))
	}
	if !p.c.paused || len(p.c.kept) == 0 {
		t.Fatal("a full mailbox does not stop reading")
	}
	if n := r.links[0].hub.session(p.conn).ext.box.count; n != testLimits.MaxMailbox {
		t.Errorf("%d messages wait, the limit is %d", n, testLimits.MaxMailbox)
	}
	s.pending[0].Resolve(0)
	p.want(append([]string{"1= 0"}, want...)...)
	if p.c.paused {
		t.Error("reading has not resumed")
	}
}

func TestOneSessionsBacklogYieldsToOthers(t *testing.T) {
	r := newRig(t, 1, []Method{sumMethod()})
	p := r.dial()
	var flood []byte
	for i := range 1000 {
		b, _ := appendParams(wire.AppendRequest(nil, uint32(i), "sum"), "sum", []any{i, 0})
		flood = append(flood, p.framed(b)...)
	}
	p.send(flood)
	if n := len(p.read()); n != messagesPerTurn {
		t.Errorf("%d messages in one turn, the bound is %d", n, messagesPerTurn)
	}
	r.settle()
	if n := len(p.read()); n != 1000-messagesPerTurn {
		t.Errorf("%d answered later", n)
	}
}

func TestDeadlineIsTheCallersOwn(t *testing.T) {
	var s slow
	r := newRig(t, 1, []Method{sumMethod(), s.method("slow", false)})
	p := r.dial()
	withTimeout := func(id uint32, method string, ms uint64) {
		b := wire.AppendArray(wire.AppendRequestMeta(nil, id, method), 0)
		b = wire.AppendUint(wire.AppendString(wire.AppendMap(b, 1), "timeout_ms"), ms)
		p.send(p.framed(b))
	}
	withTimeout(1, "slow", 500) // runs out of time while it runs
	withTimeout(2, "slow", 600) // runs out of time while it waits
	withTimeout(3, "sum", 0)    // had none
	r.advance(450 * time.Millisecond)
	p.want()
	r.advance(100 * time.Millisecond)
	p.want("1! deadline_exceeded")
	r.advance(100 * time.Millisecond)
	s.pending[0].Resolve(1) // too late: the response has been sent, but only now may the next one start
	p.want("2! deadline_exceeded", "3! deadline_exceeded")
	if len(s.pending) != 1 {
		t.Error("a request whose time was over has run")
	}
}

func TestBlockingMethodRunsOnAWorker(t *testing.T) {
	r := newRig(t, 1, []Method{{Name: "block", Public: true, Blocking: func(_ *Call, a *Args) (func([]byte) ([]byte, error), error) {
		v, err := a.RawCopy("v")
		return func(out []byte) ([]byte, error) {
			if wire.TypeName(v) == "nil" {
				panic("nil")
			}
			return append(out, v...), nil
		}, err
	}}})
	r.mayWarn = true
	p := r.dial()
	p.request("block", "x")
	p.request("block", nil)
	p.request("block", 7)
	p.want("1= x", "2! internal", "3= 7")
	r.peers.workers.(*goWorkers).full = true
	if g := p.call("block", 1); g.err == nil || g.err.Code != ResourceExhausted || g.err.RetryAfter == 0 {
		t.Errorf("with all workers busy: %v", g)
	}
}

func TestTooManyConcurrentCallsAreRefused(t *testing.T) {
	var s slow
	r := newRig(t, 1, []Method{s.method("free", true)})
	p := r.dial()
	for range testLimits.MaxConcurrent + 1 {
		p.request("free")
	}
	p.want("5! resource_exhausted")
	for i, f := range s.pending {
		f.Resolve(int64(i))
	}
	p.want("1= 0", "2= 1", "3= 2", "4= 3")
}

func TestHalfCloseStillGetsItsReplies(t *testing.T) {
	var s slow
	r := newRig(t, 1, []Method{s.method("slow", false), sumMethod()})
	p := r.dial()
	p.request("slow")
	p.request("sum", 1, 2)
	p.link.hub.EOF(p.conn)
	r.settle()
	if len(p.link.conns) != 1 {
		t.Fatal("closed before its calls were answered")
	}
	s.pending[0].Resolve(1)
	p.want("1= 1", "2= 3")
	if len(p.link.conns) != 0 {
		t.Error("still open after the last answer")
	}
}

func TestContextEndsWhenTheClientGoes(t *testing.T) {
	var call *Call
	r := newRig(t, 1, []Method{{Name: "hang", Public: true, Blocking: func(c *Call, _ *Args) (func([]byte) ([]byte, error), error) {
		call = c
		return nil, nil
	}}})
	r.peers.workers = neverWorkers{}
	p := r.dial()
	p.request("hang")
	ctx := call.Context()
	if ctx.Err() != nil {
		t.Fatal("over before the client went")
	}
	p.link.end(p.conn, errors.New("reset"))
	if ctx.Err() == nil {
		t.Error("the context goes on without its client")
	}
	call.AddCallback(func() { call.finish(nil, errors.New("late")) })
	r.settle()
	if r.peers.Underway() != 0 {
		t.Error("the call of a client that went is still under way")
	}
	r.mayWarn = true
}

// neverWorkers takes work and never does it.
type neverWorkers struct{}

func (neverWorkers) Submit(func()) bool { return true }

func TestTimeoutsCloseByName(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(*peer)
		after time.Duration
		code  string
	}{
		"no login":     {func(p *peer) { p.call("sum", 1, 1) }, 30 * time.Second, wire.LoginTimeout},
		"silent":       {func(p *peer) { p.login(7) }, 90 * time.Second, wire.IdleTimeout},
		"half a frame": {func(p *peer) { p.login(7); p.send([]byte{0, 0, 0}) }, 10 * time.Second, wire.IdleTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, []Method{sumMethod(), loginMethod()})
			p := r.dial()
			c.do(p)
			r.advance(c.after - 2*time.Second)
			if len(p.read()) != 0 {
				t.Fatal("closed too early")
			}
			r.advance(4 * time.Second)
			all := p.read()
			if len(all) != 1 || all[0].method != "sys.closing" {
				t.Fatalf("got %v", all)
			}
			if m := all[0].params[0].(map[string]any); m["code"] != c.code || m["reconnect"] != true {
				t.Errorf("closed with %v, want %s", m, c.code)
			}
		})
	}
}

func TestActivityKeepsASessionAlive(t *testing.T) {
	r := newRig(t, 1, []Method{sumMethod(), loginMethod()})
	p := r.dial().login(7)
	for range 10 {
		r.advance(60 * time.Second)
		if g := p.call("sum", 1, 1); g.err != nil {
			t.Fatal(g.err)
		}
	}
}

func TestTooManyConnectionsIsSaidInTheClientsFraming(t *testing.T) {
	r := newRig(t, 1, []Method{sumMethod()}, func(o *Options) { o.Limits.MaxConnections = 2 })
	a, b := r.dial(), r.dial()
	for _, stream := range []bool{false, true} {
		extra := r.dial()
		extra.stream = stream
		extra.request("sum", 1, 2)
		r.settle()
		all := extra.read()
		if len(all) != 1 || all[0].method != "sys.closing" || all[0].params[0].(map[string]any)["code"] != wire.TooManyConnections {
			t.Fatalf("got %v", all)
		}
	}
	silent := r.dial()
	r.advance(5 * time.Second)
	if silent.link.conns[silent.conn] != nil {
		t.Error("a refused connection that says nothing stays open")
	}
	for _, p := range []*peer{a, b} {
		if g := p.call("sum", 1, 2); g.result != int64(3) {
			t.Errorf("a session within the limit got %v", g)
		}
	}
}

func TestProtocolsRestrictTheFramings(t *testing.T) {
	r := newRig(t, 1, []Method{sumMethod()}, func(o *Options) { o.Protocols = []string{"frames"} })
	p := r.dial()
	p.stream = true
	p.request("sum", 1, 2)
	p.want()
	if len(p.link.conns) != 0 {
		t.Error("a framing that is not served is")
	}
}

func TestRegistryRefusesDuplicatesAndNamesBothPlaces(t *testing.T) {
	a, b := sumMethod(), sumMethod()
	a.Where, b.Where = "a.go:1", "b.go:2"
	err := NewRegistry().Add(a, b, Method{Name: "bad name", Sync: a.Sync}, Method{Name: "idle"}, Method{Name: UnknownMethod, Sync: a.Sync})
	for _, want := range []string{`"sum" is defined twice: at a.go:1 and at b.go:2`, `"bad name" has ' ' in it`, `"idle" at an unknown place has 0 ways`, `the name "unknown" is taken`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

func TestMiddlewareRunsBeforeAroundAndAfter(t *testing.T) {
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	layer := func(name string) Middleware {
		return Middleware{
			Before: func(c *Call) error { say("%s before", name); return nil },
			Around: func(c *Call, next func() error) error {
				say("%s in", name)
				defer say("%s out", name)
				return next()
			},
			After: func(c *Call, err error) { say("%s after %v", name, err) },
		}
	}
	refuse := Middleware{Before: func(c *Call) error {
		if c.Method() == "free" {
			return Errorf(PermissionDenied, "not today")
		}
		return nil
	}}
	var s slow
	r := newRig(t, 1, []Method{sumMethod(), s.method("slow", false), s.method("free", true)},
		func(o *Options) { o.Middleware = []Middleware{layer("a"), layer("b"), refuse} })
	p := r.dial()
	p.request("sum", 1, 2)
	p.want("1= 3")
	whole := "a before, b before, a in, b in, b out, a out, "
	if have := strings.Join(said, ", "); have != whole+"b after <nil>, a after <nil>" {
		t.Errorf("plain: %s", have)
	}
	said = nil
	p.request("slow")
	p.want()
	s.pending[0].Fail(Errorf(Aborted, "no"))
	p.want("2! aborted")
	if have := strings.Join(said, ", "); have != whole+"b after aborted: no, a after aborted: no" {
		t.Errorf("later: %s", have)
	}
	if g := p.call("free"); g.err == nil || g.err.Code != PermissionDenied {
		t.Errorf("refused by Before: %v", g)
	}
}

func TestSumAllocatesNothing(t *testing.T) {
	if invariants {
		t.Log("builds with the invariants tag make a new Call each time, to check its use")
		return
	}
	r := newRig(t, 1, []Method{sumMethod()})
	p := r.dial()
	b, _ := appendParams(wire.AppendRequest(nil, 1, "sum"), "sum", []any{1, 2})
	frame := p.framed(b)
	p.c.out = make([]byte, 0, 1<<20)
	if n := testing.AllocsPerRun(1000, func() { p.c.out = p.c.out[:0]; p.link.hub.Data(p.conn, frame) }); n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

// However a hub's input is cut, it answers the same.
func FuzzDataSplitPoints(f *testing.F) {
	seed := func(stream bool, messages ...[]byte) {
		src := &peer{stream: stream}
		var all []byte
		for _, m := range messages {
			all = append(all, src.framed(m)...)
		}
		f.Add(all, uint16(3), uint16(7))
	}
	sum, _ := appendParams(wire.AppendRequest(nil, 1, "sum"), "sum", []any{1, 2})
	note, _ := appendParams(wire.AppendNotification(nil, "sum"), "sum", []any{1, 2})
	seed(false, sum, note, sum)
	seed(true, sum, note, sum)
	seed(true, sum, []byte{0x94, 1, 5, 0xc0, 0xc0}, sum)
	f.Add([]byte{0, 0, 0, 0}, uint16(1), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, first, step uint16) {
		run := func(cuts func(rest []byte) int) []byte {
			r := newRig(t, 1, []Method{sumMethod()})
			r.mayWarn = true
			p := r.dial()
			for rest := b; len(rest) > 0; {
				n := min(max(cuts(rest), 1), len(rest))
				p.send(rest[:n])
				r.settle()
				rest = rest[n:]
			}
			return p.c.out
		}
		whole := run(func(rest []byte) int { return len(rest) })
		n := int(first)
		cut := run(func([]byte) int { k := n; n = int(step); return k })
		if !bytes.Equal(whole, cut) {
			t.Errorf("whole: %x\ncut:   %x", whole, cut)
		}
	})
}

func BenchmarkSum(b *testing.B) {
	for _, depth := range []int{1, 64} {
		b.Run(fmt.Sprintf("depth=%d", depth), func(b *testing.B) {
			r := newRig(b, 1, []Method{sumMethod()})
			p := r.dial()
			m, _ := appendParams(wire.AppendRequest(nil, 12345, "sum"), "sum", []any{1, 2})
			batch := bytes.Repeat(p.framed(m), depth)
			p.link.hub.loop = realLoop(b) // what recording a call costs is its clock more than anything
			p.c.out = make([]byte, 0, 1<<20)
			b.ReportAllocs()
			for i := 0; i < b.N; i += depth {
				p.c.out = p.c.out[:0]
				p.link.hub.Data(p.conn, batch)
			}
		})
	}
}
