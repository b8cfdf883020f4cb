package rpc

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/histogram"
	"gameserverd/wire"
)

// stats is what all hubs of the rig have counted together.
func (r *rig) stats() HubStats {
	r.t.Helper()
	all := HubStats{Methods: make([]MethodStats, len(r.peers.registry.methods)), Open: make(map[Carrier]int)}
	for _, l := range r.links {
		var one HubStats
		l.hub.Stats(&one)
		for i := range one.Methods {
			all.Methods[i].add(&one.Methods[i])
		}
		all.Unknown += one.Unknown
		all.Gone += one.Gone
		all.Asked.Calls += one.Asked.Calls
		for i, n := range one.Asked.Errors {
			all.Asked.Errors[i] += n
		}
		all.Asked.Time.Add(&one.Asked.Time)
		all.MailboxSize.Add(&one.MailboxSize)
		for c, n := range one.Open {
			all.Open[c] += n
		}
	}
	return all
}

func (m *MethodStats) add(o *MethodStats) {
	m.Calls += o.Calls
	for i, n := range o.Errors {
		m.Errors[i] += n
	}
	m.Queue.Add(&o.Queue)
	m.Run.Add(&o.Run)
	if o.Exemplars != nil {
		m.Exemplars = o.Exemplars
	}
}

// of is what was counted of one method.
func (r *rig) of(name string) MethodStats {
	r.t.Helper()
	i := slices.IndexFunc(r.peers.registry.Methods(), func(m MethodInfo) bool { return m.Name == name })
	if i < 0 {
		r.t.Fatalf("no method %s", name)
	}
	return r.stats().Methods[i]
}

// byCode names the errors that there were.
func byCode(errors [numCodes]uint64) map[wire.Code]uint64 {
	named := make(map[wire.Code]uint64)
	for i, code := range Codes() {
		if errors[i] > 0 {
			named[code] = errors[i]
		}
	}
	return named
}

// wantCalls compares what was counted of a method: its calls, those of them that
// began, and errors as "code n".
func (r *rig) wantCalls(name string, calls, began uint64, errors ...string) {
	r.t.Helper()
	m := r.of(name)
	var have []string
	for code, n := range byCode(m.Errors) {
		have = append(have, fmt.Sprintf("%s %d", code, n))
	}
	slices.Sort(have)
	slices.Sort(errors)
	if m.Calls != calls || m.Run.Count() != began || m.Queue.Count() != began || !slices.Equal(have, errors) {
		r.t.Errorf("%s: %d calls, %d began, %d queued, errors %q; want %d, %d, errors %q", name, m.Calls, m.Run.Count(), m.Queue.Count(), have, calls, began, errors)
	}
}

// wantTimes compares the sums of a method's times.
func (r *rig) wantTimes(name string, queue, run time.Duration) {
	r.t.Helper()
	m := r.of(name)
	if time.Duration(m.Queue.Sum) != queue || time.Duration(m.Run.Sum) != run {
		r.t.Errorf("%s: queued %v, ran %v; want %v, %v", name, time.Duration(m.Queue.Sum), time.Duration(m.Run.Sum), queue, run)
	}
}

// takes is a plain method during which d passes on the loops of r.
func takes(r **rig, name string, d *time.Duration) Method {
	return plain(name, func(*Call, *Args) (any, error) {
		for _, l := range (*r).loops {
			l.ran += *d
		}
		return nil, nil
	})
}

func TestCodesNameEveryCodeOnce(t *testing.T) {
	all := Codes()
	for i, code := range all {
		if code == "" || slices.Index(all, code) != i || codeIndex(code) != i {
			t.Errorf("place %d is %q, which is looked for at %d", i, code, codeIndex(code))
		}
	}
	if all[codeIndex("of_my_own")] != "other" {
		t.Errorf("a code that the protocol does not have is %q", all[codeIndex("of_my_own")])
	}
	all[0] = ""
	if Codes()[0] == "" {
		t.Error("a caller can change the codes")
	}
}

// Queue is the time behind others of the same turn, Run the call's own.
func TestCallsOfOneTurnFollowOneAnother(t *testing.T) {
	var r *rig
	var long, short time.Duration = 3 * time.Millisecond, 200 * time.Microsecond
	r = newRig(t, 1, []Method{takes(&r, "long", &long), takes(&r, "short", &short), sumMethod()})
	a, b := r.dial(), r.dial()
	a.request("long")
	a.request("short")
	b.request("sum", 1, 2)
	r.settle()
	r.wantTimes("long", 0, long)
	r.wantTimes("short", long, short)
	r.wantTimes("sum", long+short, 0)

	a.request("short") // in the next turn the queue begins anew
	r.settle()
	r.wantTimes("short", long, 2*short)
	r.wantCalls("short", 2, 2)
	if run := r.of("long").Run; run.Counts[histogram.Durations.Class(int64(long))] != 1 {
		t.Errorf("classes of run: %v", run.Counts)
	}
}

// A message that waits in the mailbox queues from when it came.
func TestTheMailboxIsPartOfTheQueue(t *testing.T) {
	var s slow
	r := roomRig(t, 1, s.method("slow", false))
	p := r.dial()
	p.request("slow")
	r.advance(100 * time.Millisecond)
	p.request("sum", 1, 2)
	p.request("sum", 1, 2)
	r.advance(250 * time.Millisecond)
	s.pending[0].Resolve(1)
	r.settle()
	r.wantTimes("slow", 0, 350*time.Millisecond)
	r.wantTimes("sum", 2*250*time.Millisecond, 0)
	sizes := r.stats().MailboxSize
	if sizes.Count() != 2 || sizes.Sum != 1+2 {
		t.Errorf("mailboxes of %v messages, %d in all", sizes.Counts, sizes.Sum)
	}
}

// A message that comes with many others queues from then on, though it stays in the
// connection's input for some turns: here no more than 64 are handled in one.
func TestWhatWaitsInTheInputIsPartOfTheQueue(t *testing.T) {
	var r *rig
	d := time.Millisecond
	r = roomRig(t, 1, takes(&r, "ms", &d))
	r.advance(time.Second)
	p := r.dial()
	const n = 500
	var all []byte
	for i := range n {
		all = append(all, p.framed(wire.AppendArray(wire.AppendRequest(nil, uint32(i+1), "ms"), 0))...)
	}
	half := len(all) - 5
	p.send(all[:half])
	r.settle()
	r.wantTimes("ms", (n-1)*(n-2)/2*d, (n-1)*d)
	r.advance(time.Second)
	p.send(all[half:]) // the last has come now
	r.settle()
	r.wantTimes("ms", (n-1)*(n-2)/2*d, n*d)
	if x := p.link.hub.session(p.conn).ext; x != nil {
		t.Errorf("left is %+v", x)
	}
}

// Likewise what stays there since the mailbox is full, also of a player who moves.
func TestWhatWaitsBehindAFullMailboxIsPartOfTheQueue(t *testing.T) {
	for _, hubs := range []int{1, 2} {
		var s slow
		r := roomRig(t, hubs, s.method("slow", false), s.method("free", true))
		p := r.dial()
		p.request("free") // keeps the login from moving at once
		uid := uint64(7)
		if hubs > 1 {
			uid = r.uidElsewhere()
		}
		p.request("slow")
		p.request("login", uid)
		const n = 3 * 8 // of testLimits.MaxMailbox
		var all []byte
		for i := range n {
			b := wire.AppendArray(wire.AppendRequest(nil, uint32(100+i), "sum"), 2)
			all = append(all, p.framed(wire.AppendInt(wire.AppendInt(b, 1), 2))...)
		}
		p.send(all)
		r.advance(100 * time.Millisecond)
		s.pending[1].Resolve(1)
		r.settle()
		r.advance(300 * time.Millisecond)
		s.pending[0].Resolve(1)
		r.settle()
		waits := 100 * time.Millisecond
		if hubs > 1 {
			waits += 300 * time.Millisecond
		}
		r.wantCalls("sum", n, n)
		r.wantTimes("sum", n*waits, 0)
		if x := p.link.hub.session(p.conn).ext; x != nil {
			t.Errorf("left is %+v", x)
		}
	}
}

// A caller's time runs from when the request came, wherever it waits.
func TestTheTimeOfACallRunsInTheInput(t *testing.T) {
	var s slow
	r := roomRig(t, 1, s.method("slow", false))
	p := r.dial()
	p.request("slow")
	var all []byte
	for i := range 3 * testLimits.MaxMailbox {
		b := wire.AppendArray(wire.AppendRequestMeta(nil, uint32(100+i), "sum"), 0)
		all = append(all, p.framed(wire.AppendMeta(b, wire.Meta{HasTimeout: true, TimeoutMS: 100}))...)
	}
	p.send(all)
	r.advance(200 * time.Millisecond)
	s.pending[0].Resolve(1)
	r.settle()
	r.wantCalls("sum", 24, 0, "deadline_exceeded 24")
}

func TestStatsTellTheInbox(t *testing.T) {
	r := roomRig(t, 1)
	r.dial().login(7)
	must(t, r.peers.Notify(7, "news"))
	var st HubStats
	r.links[0].hub.Stats(&st)
	if st.InboxBytes < deliveryCost {
		t.Errorf("%d bytes with a delivery that waits", st.InboxBytes)
	}
	r.settle()
	if r.links[0].hub.Stats(&st); st.InboxBytes != 0 {
		t.Errorf("%d bytes with none", st.InboxBytes)
	}
}

// The clocks of two loops have nothing to do with one another.
func TestTimesOfASessionThatMoves(t *testing.T) {
	var s slow
	r := roomRig(t, 2, s.method("slow", false), s.method("free", true))
	p := r.dial()
	p.request("free") // keeps the login from moving at once
	p.request("slow")
	p.request("login", r.uidElsewhere()) // waits for slow
	p.request("sum", 1, 2)               // waits for the login, and moves in the mailbox
	r.advance(100 * time.Millisecond)
	s.pending[1].Resolve(1)
	r.settle()
	r.advance(300 * time.Millisecond)
	s.pending[0].Resolve(1)
	r.settle()
	if p.link != r.links[1] {
		t.Fatal("the connection has not moved")
	}
	r.wantTimes("free", 0, 400*time.Millisecond)
	r.wantTimes("slow", 0, 100*time.Millisecond)
	r.wantTimes("login", 100*time.Millisecond, 300*time.Millisecond)
	r.wantTimes("sum", 400*time.Millisecond, 0)
	for name, hub := range map[string]int{"free": 0, "slow": 0, "login": 1, "sum": 1} {
		var one HubStats
		r.links[hub].hub.Stats(&one)
		if n := one.Methods[r.links[hub].hub.methods[name].index].Calls; n != 1 {
			t.Errorf("hub %d has counted %d calls of %s", hub, n, name)
		}
	}
}

// A call whose time is over was answered then; what its method does later is not
// another call.
func TestACallThatIsLateCountsOnce(t *testing.T) {
	var s slow
	r := roomRig(t, 1, s.method("slow", false))
	p := r.dial()
	p.timed("slow", 50)
	r.advance(200 * time.Millisecond)
	r.wantCalls("slow", 1, 1, "deadline_exceeded 1")
	r.wantTimes("slow", 0, 50*time.Millisecond)
	s.pending[0].Fail(Errorf(NotFound, "too late"))
	r.settle()
	r.wantCalls("slow", 1, 1, "deadline_exceeded 1")
	p.timed("sum", 0)
	r.settle()
	r.wantCalls("sum", 1, 0, "deadline_exceeded 1")
}

// timed sends a request without params that may take so many milliseconds.
func (p *peer) timed(method string, ms uint64) {
	p.msgid++
	b := wire.AppendArray(wire.AppendRequestMeta(nil, p.msgid, method), 0)
	p.send(p.framed(wire.AppendMeta(b, wire.Meta{HasTimeout: true, TimeoutMS: ms})))
}

func TestErrorsAreCountedByCode(t *testing.T) {
	var s slow
	refused := Errorf("of_my_own", "no")
	r := roomRig(t, 1, s.method("slow", false),
		plain("none", func(*Call, *Args) (any, error) { return nil, Errorf(NotFound, "nothing there") }),
		plain("own", func(*Call, *Args) (any, error) { return nil, refused }),
		plain("bug", func(*Call, *Args) (any, error) { return nil, fmt.Errorf("a bug") }),
		plain("panics", func(*Call, *Args) (any, error) { panic("x") }),
		plain("huge", func(*Call, *Args) (any, error) { return make([]byte, wire.MaxFrame), nil }))
	r.mayWarn = true
	p := r.dial()
	for _, name := range []string{"none", "own", "bug", "panics", "huge", "sum"} {
		p.request(name)
		p.notify(name)
	}
	p.request("slow")
	p.notify("slow")
	r.settle()
	s.pending[0].Fail(Errorf(Aborted, "again"))
	r.settle()
	s.pending[1].Fail(fmt.Errorf("a bug"))
	r.settle()
	r.wantCalls("none", 2, 2, "not_found 2")
	r.wantCalls("own", 2, 2, "other 2")
	r.wantCalls("bug", 2, 2, "internal 2")
	r.wantCalls("panics", 2, 2, "internal 2")
	r.wantCalls("huge", 2, 2, "internal 2")
	r.wantCalls("sum", 2, 2, "invalid_argument 2")
	r.wantCalls("slow", 2, 2, "aborted 1", "internal 1")
}

// What is refused before it begins is counted, and has no times. Names that a
// client makes up are one count.
func TestRefusedCallsAreCounted(t *testing.T) {
	var s slow
	r := newRig(t, 1, []Method{sumMethod(), loginMethod(), s.method("free", true),
		{Name: "private", Sync: func(_ *Call, _ *Args, out []byte) ([]byte, error) { return wire.AppendNil(out), nil }},
	}, withRate(10, 10))
	methods := len(r.stats().Methods)
	p := r.dial()
	for i := range 3 {
		p.request(fmt.Sprintf("made.up%d", i))
	}
	p.notify("made.up")
	p.request("private")
	p.notify("private")
	for range testLimits.MaxConcurrent {
		p.request("free")
	}
	r.wantCalls("private", 2, 0, "unauthenticated 2")
	p.request("sum", 1, 2) // over the rate from here on
	p.notify("sum", 1, 2)
	p.request("made.up")
	r.wantCalls("sum", 2, 0, "resource_exhausted 2")
	r.forward(time.Second)
	p.request("free") // over MaxConcurrent
	r.wantCalls("free", 1, 0, "resource_exhausted 1")
	if st := r.stats(); st.Unknown != 5 || len(st.Methods) != methods {
		t.Errorf("%d unknown, %d methods; want 5, %d", st.Unknown, len(st.Methods), methods)
	}
	r.peers.Drain(Drain{Grace: time.Minute})
	r.settle()
	p.request("private")
	r.settle()
	r.wantCalls("private", 3, 0, "unauthenticated 2", "unavailable 1")
	for _, f := range s.pending {
		f.Resolve(1)
	}
	r.settle()
	r.wantCalls("free", 5, 4, "resource_exhausted 1")
}

// A call whose client has gone has ended when its method has.
func TestCallsOfThoseWhoHaveGone(t *testing.T) {
	var s slow
	r := roomRig(t, 1, s.method("slow", false))
	p := r.dial()
	p.request("slow")
	p.request("sum", 1, 2) // never begins
	p.link.end(p.conn, fmt.Errorf("reset"))
	r.wantCalls("slow", 0, 0)
	s.pending[0].Resolve(1)
	r.settle()
	r.wantCalls("slow", 1, 1)
	r.wantCalls("sum", 0, 0)
}

func TestExemplarsAreOfTracedCalls(t *testing.T) {
	var r *rig
	var took time.Duration
	failing := plain("failing", func(*Call, *Args) (any, error) { return nil, fmt.Errorf("a bug") })
	r = newRig(t, 1, []Method{takes(&r, "takes", &took), failing})
	r.mayWarn = true
	p := r.dial()
	traced := func(method, parent string) {
		b := wire.AppendArray(wire.AppendRequestMeta(nil, 1, method), 0)
		p.send(p.framed(wire.AppendMeta(b, wire.Meta{Traceparent: []byte(parent)})))
		p.want("1= <nil>")
	}
	parent := func(n int) string { return fmt.Sprintf("00-%032x-00f067aa0ba902b7-01", n) }
	p.call("takes")
	traced("takes", "none")
	if m := r.of("takes"); m.Exemplars != nil {
		t.Fatalf("exemplars without a trace: %v", m.Exemplars)
	}
	for i, d := range []time.Duration{time.Microsecond, time.Millisecond, 2 * time.Microsecond} {
		took = d
		traced("takes", parent(i+1))
	}
	m := r.of("takes")
	for class, want := range map[int]Exemplar{
		0: {fmt.Sprintf("%032x", 3), 2 * time.Microsecond, fakeStart},
		6: {fmt.Sprintf("%032x", 2), time.Millisecond, fakeStart},
	} {
		e := m.Exemplars[class]
		if e.Trace != want.Trace || e.Value != want.Value || e.At.Sub(fakeStart) > time.Second {
			t.Errorf("class %d: %+v, want %+v", class, e, want)
		}
	}
	g := p.call("failing")
	var data struct {
		Trace string `msgpack:"trace"`
	}
	must(t, wire.Unmarshal(g.err.Data.(wire.Raw), &data))
	if m := r.of("failing"); m.Exemplars == nil || m.Exemplars[0].Trace != data.Trace {
		t.Errorf("the client was told the trace %q, the exemplars are %v", data.Trace, m.Exemplars)
	}
}

// What Stats has copied is the caller's, and the second copy costs no memory.
func TestStatsAreCopies(t *testing.T) {
	r := newRig(t, 1, []Method{sumMethod()})
	p := r.dial()
	b := wire.AppendInt(wire.AppendInt(wire.AppendArray(wire.AppendRequestMeta(nil, 1, "sum"), 2), 1), 2)
	b = p.framed(wire.AppendMeta(b, wire.Meta{Traceparent: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")}))
	p.send(b)
	var first, second HubStats
	h := r.links[0].hub
	h.Stats(&first)
	h.Stats(&second)
	first.Methods[0].Exemplars[0] = Exemplar{}
	if second.Methods[0].Exemplars[0].Trace == "" {
		t.Error("two copies share their exemplars")
	}
	p.send(b)
	if second.Methods[0].Calls != 1 || second.Methods[0].Exemplars[0].Trace == "" {
		t.Errorf("a copy has changed: %+v", second.Methods[0])
	}
	if n := testing.AllocsPerRun(10, func() { h.Stats(&first) }); n != 0 {
		t.Errorf("%v allocations for a copy", n)
	}
	if first.Methods[0].Calls != 2 || first.Methods[0].Exemplars[0].Trace == "" {
		t.Errorf("the new copy: %+v", first.Methods[0])
	}
}

func TestSessionsAreCountedByWhatCarriesThem(t *testing.T) {
	r := roomRig(t, 2)
	want := func(what string, want map[Carrier]int) {
		t.Helper()
		have := r.stats().Open
		maps.DeleteFunc(have, func(_ Carrier, n int) bool { return n == 0 })
		if !maps.Equal(have, want) {
			t.Errorf("%s: %v, want %v", what, have, want)
		}
	}
	a, b, c := r.dial(), r.dial(), r.dial()
	a.c.kind, b.c.kind, c.c.kind = "tls", "tcp", "quic"
	b.stream = true
	want("nothing was said", map[Carrier]int{{"unknown", "unknown"}: 3})
	a.login(r.uidElsewhere())
	b.request("sum", 1, 2)
	c.request("sum", 1, 2)
	want("all have spoken", map[Carrier]int{{"tls", "frames"}: 1, {"tcp", "stream"}: 1, {"unknown", "frames"}: 1})
	for _, p := range []*peer{a, b} {
		p.link.end(p.conn, fmt.Errorf("reset"))
	}
	d := r.dial()
	d.send([]byte("GET / HTTP/1.1\r\n"))
	r.settle()
	want("two have gone, one was no client", map[Carrier]int{{"unknown", "frames"}: 1})
	if n, was := r.stats().Open[Carrier{"tls", "frames"}]; n != 0 || !was {
		t.Errorf("a kind that there was: %d, %v", n, was)
	}
}

func TestCallsToClientsAreCounted(t *testing.T) {
	r := roomRig(t, 2)
	p := r.dial().login(7)
	ask := func() *future.Future[Raw] {
		f := r.peers.Call(7, 10*time.Second, "question")
		r.settle()
		return f
	}
	answer := func(id uint32, rest ...byte) {
		p.send(p.framed(append(wire.AppendUint([]byte{0x94, 1}, uint64(id)), rest...)))
		r.settle()
	}
	for range 5 {
		ask()
	}
	r.advance(time.Second)
	answer(1, 0xc0, 0x2a)
	answer(2, wire.AppendNil(wire.AppendError(nil, Errorf(NotFound, "no")))...)
	answer(3, wire.AppendNil(wire.AppendError(nil, Errorf("made_up", "no")))...)
	r.advance(9 * time.Second) // the others run out
	ask()
	p.link.end(p.conn, fmt.Errorf("reset"))
	ask() // is not online
	st := r.stats().Asked
	want := map[wire.Code]uint64{NotFound: 1, "other": 1, DeadlineExceeded: 2, Canceled: 1, FailedPrecondition: 1}
	if st.Calls != 7 || !maps.Equal(byCode(st.Errors), want) {
		t.Errorf("%d calls, errors %v; want 7, %v", st.Calls, byCode(st.Errors), want)
	}
	if time.Duration(st.Time.Sum) != 3*time.Second+2*10*time.Second || st.Time.Count() != 6 {
		t.Errorf("%d answers in %v", st.Time.Count(), time.Duration(st.Time.Sum))
	}
}
