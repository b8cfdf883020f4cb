package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"gameserverd/internal/future"
	"gameserverd/wire"
)

// roomRig is a rig with rooms and the methods that use them.
func roomRig(t testing.TB, hubs int, more ...Method) *rig {
	var rooms *Rooms
	methods := append([]Method{sumMethod(), loginMethod(),
		plain("logout", func(c *Call, _ *Args) (any, error) { c.Logout(); return nil, nil }),
		{Name: "join", Async: func(c *Call, a *Args) (Pending, error) {
			name, err := a.String("room")
			return Await(rooms.Join(c, name), func(out []byte, uids []uint64) ([]byte, error) {
				slices.Sort(uids)
				return AppendValue(out, uids)
			}), err
		}},
		{Name: "leave", Async: func(c *Call, a *Args) (Pending, error) {
			name, err := a.String("room")
			return Await(rooms.Leave(c, name), func(out []byte, _ struct{}) ([]byte, error) { return wire.AppendNil(out), nil }), err
		}},
		{Name: "say", Async: func(c *Call, a *Args) (Pending, error) {
			name, _ := a.String("room")
			text, err := a.String("text")
			return Await(rooms.Say(c, name, "said", name, c.UID(), text), func(out []byte, _ struct{}) ([]byte, error) { return wire.AppendNil(out), nil }), err
		}},
	}, more...)
	r := newRig(t, hubs, methods)
	rooms = NewRooms(r.peers, RoomOptions{Joined: "joined", Left: "left", MaxPerPlayer: func() int { return 2 }})
	return r
}

func TestLoginMovesTheConnectionToTheUidsHome(t *testing.T) {
	r := roomRig(t, 3)
	homes := map[int]int{}
	for uid := uint64(1); uid <= 60; uid++ {
		p := r.dial()
		p.stream = uid%2 == 0
		// The next requests are on their way before the login is answered.
		p.request("login", uid)
		p.request("sum", 1, uid)
		p.request("sum", 2, uid)
		p.want(fmt.Sprintf("1= %d", uid), fmt.Sprintf("2= %d", 1+uid), fmt.Sprintf("3= %d", 2+uid))
		if home := r.peers.home(uid); p.link.hub != home {
			t.Fatalf("uid %d is on hub %d, its home is %d", uid, p.link.hub.index, home.index)
		}
		homes[p.link.hub.index]++
	}
	if len(homes) != 3 || r.peers.Online() != 60 || r.peers.Connections() != 60 {
		t.Errorf("homes %v, online %d, connections %d", homes, r.peers.Online(), r.peers.Connections())
	}
}

func TestLoginWaitsForConcurrentCallsBeforeItMoves(t *testing.T) {
	var s slow
	r := roomRig(t, 2, s.method("free", true))
	uid := uint64(1)
	for r.peers.home(uid).index == 0 {
		uid++
	}
	p := r.dial()
	p.request("free")
	p.request("login", uid)
	p.want()
	s.pending[0].Resolve(5)
	p.want("1= 5", fmt.Sprintf("2= %d", uid))
}

func TestLoginOfAClientThatGoesFails(t *testing.T) {
	var s slow
	r := roomRig(t, 2, s.method("free", true))
	uid := uint64(1)
	for r.peers.home(uid).index == 0 {
		uid++
	}
	for _, waiting := range []bool{false, true} {
		p := r.dial()
		if waiting {
			p.request("free")
		}
		p.request("login", uid)
		p.link.end(p.conn, errors.New("reset"))
		r.settle()
		for _, f := range s.pending {
			f.Resolve(0)
		}
		r.settle()
		if r.peers.Underway() != 0 || r.peers.Online() != 0 {
			t.Errorf("waiting %v: %d calls under way, %d online", waiting, r.peers.Underway(), r.peers.Online())
		}
	}
}

func TestSecondLoginOnAConnection(t *testing.T) {
	r := roomRig(t, 3)
	p := r.dial().login(7)
	if g := p.call("login", 7); g.result != int64(7) {
		t.Errorf("the same uid again: %v", g)
	}
	if g := p.call("login", 8); g.err == nil || g.err.Code != FailedPrecondition {
		t.Errorf("another uid: %v", g)
	}
	if g := p.call("logout"); g.err != nil {
		t.Fatal(g.err)
	}
	if g := p.call("join", "x"); g.err == nil || g.err.Code != Unauthenticated {
		t.Errorf("after logout: %v", g)
	}
	p.login(8)
	if p.link.hub != r.peers.home(8) {
		t.Error("the second login has not moved the connection")
	}
}

func TestNewestLoginWinsAtOnce(t *testing.T) {
	r := roomRig(t, 2)
	a := r.dial().login(7)
	b := r.dial().login(7)
	all := a.read()
	if len(all) != 1 || all[0].method != "sys.closing" || all[0].params[0].(map[string]any)["code"] != wire.Replaced {
		t.Fatalf("the older session got %v", all)
	}
	must(t, r.peers.Notify(7, "hello"))
	b.want("hello[]")
	if r.peers.Online() != 1 {
		t.Errorf("%d online", r.peers.Online())
	}
}

func TestWhatAHandlerSendsArrivesBeforeItsResponse(t *testing.T) {
	var r *rig
	r = roomRig(t, 3, Method{Name: "tell", Sync: func(c *Call, _ *Args, out []byte) ([]byte, error) {
		must(t, r.peers.Notify(c.UID(), "first"))
		must(t, c.Notify("second"))
		must(t, r.peers.NotifyMany([]uint64{c.UID(), 99}, "third"))
		return wire.AppendNil(out), nil
	}}, Method{Name: "work", Blocking: func(c *Call, _ *Args) (func([]byte) ([]byte, error), error) {
		uid := c.UID()
		return func(out []byte) ([]byte, error) {
			must(t, r.peers.Notify(uid, "from a worker"))
			return wire.AppendNil(out), nil
		}, nil
	}})
	p := r.dial().login(7)
	p.request("tell")
	p.request("work")
	p.want("first[]", "second[]", "third[]", "2= <nil>", "from a worker[]", "3= <nil>")
}

func TestServerCallsAClient(t *testing.T) {
	r := roomRig(t, 2)
	p := r.dial().login(7)
	respond := func(id uint32, rest ...byte) {
		p.send(p.framed(append(wire.AppendUint([]byte{0x94, 1}, uint64(id)), rest...)))
		r.settle()
	}
	outcome := func(f *future.Future[Raw]) string {
		r.settle()
		v, err, done := f.Result()
		return fmt.Sprintf("%x %v %v", []byte(v), wire.CodeOf(err), done)
	}
	ask := func(method string) *future.Future[Raw] { return r.peers.Call(7, 10*time.Second, method, "hi") }

	a, b, c, d := ask("a"), ask("b"), ask("c"), ask("d")
	p.want("1? a[hi]", "2? b[hi]", "3? c[hi]", "4? d[hi]")
	respond(2, 0xc0, 0x2a) // out of order
	respond(1, wire.AppendNil(wire.AppendError(nil, Errorf(Unimplemented, "no")))...)
	respond(77, 0xc0, 0xc0) // nobody waits for it
	r.advance(11 * time.Second)
	respond(3, 0xc0, 0x01) // too late
	for i, want := range []string{" unimplemented true", "2a  true", " deadline_exceeded true", " deadline_exceeded true"} {
		if have := outcome([]*future.Future[Raw]{a, b, c, d}[i]); have != want {
			t.Errorf("call %d: %s, want %s", i+1, have, want)
		}
	}
	if n := r.peers.Counters.StrayResponses.Load(); n != 2 {
		t.Errorf("%d stray responses counted", n)
	}
	gone := ask("e")
	r.settle()
	p.link.end(p.conn, errors.New("reset"))
	if have := outcome(gone); have != " canceled true" {
		t.Errorf("the client went: %s", have)
	}
	if have := outcome(ask("f")); have != " failed_precondition true" {
		t.Errorf("offline: %s", have)
	}
	if r.peers.Underway() != 0 {
		t.Errorf("%d under way", r.peers.Underway())
	}
}

func TestAClientsAnswerPassesItsWaitingMailbox(t *testing.T) {
	var r *rig
	r = roomRig(t, 2, Method{Name: "ask", Async: func(c *Call, _ *Args) (Pending, error) {
		f := CallAs[int64](r.peers, c, c.UID(), time.Second, "question")
		return Await(f, func(out []byte, v int64) ([]byte, error) { return wire.AppendInt(out, v), nil }), nil
	}})
	p := r.dial().login(7)
	p.request("ask")       // 2
	p.request("sum", 1, 1) // 3 waits for 2, which waits for the answer behind it
	p.want("1? question[]")
	p.send(p.framed([]byte{0x94, 1, 1, 0xc0, 42}))
	p.want("2= 42", "3= 2")
}

func TestUnansweredCallsToAClientAreBounded(t *testing.T) {
	r := roomRig(t, 1)
	p := r.dial().login(7)
	for range maxAsked {
		r.peers.Call(7, time.Minute, "m")
	}
	r.settle()
	p.read()
	over := r.peers.Call(7, time.Minute, "m")
	r.settle()
	if _, err, _ := over.Result(); wire.CodeOf(err) != ResourceExhausted {
		t.Errorf("got %v", err)
	}
}

func TestRoomMembersSeeOneOrder(t *testing.T) {
	r := roomRig(t, 3)
	const n = 12
	var all []*peer
	for uid := uint64(1); uid <= n; uid++ {
		p := r.dial()
		p.stream = uid%3 == 0
		p.login(uid)
		p.request("join", "lobby")
		r.settle()
		p.read()
		all = append(all, p)
	}
	for _, p := range all {
		p.read()
	}
	for i, p := range all {
		p.request("say", "lobby", fmt.Sprint("hello ", i))
	}
	r.settle()
	var order []string
	for i, p := range all {
		var said []string
		response := -1
		for _, g := range p.read() {
			if g.kind == wire.Response {
				response = len(said)
				continue
			}
			said = append(said, g.String())
		}
		if order == nil {
			order = said
		}
		if len(said) != n || !slices.Equal(order, said) {
			t.Errorf("player %d saw %v\nplayer 1 saw %v", i+1, said, order)
		}
		own := slices.IndexFunc(said, func(s string) bool { return s == fmt.Sprintf("said[lobby %d hello %d]", i+1, i) })
		if response <= own {
			t.Errorf("player %d got the response before what was said", i+1)
		}
	}
}

func TestRoomJoinLeaveAndClose(t *testing.T) {
	r := roomRig(t, 2)
	a, b := r.dial().login(1), r.dial().login(2)
	a.request("join", "x")
	a.want("joined[x 1]", "2= [1]")
	b.request("join", "x")
	b.want("joined[x 2]", "2= [1 2]")
	a.want("joined[x 2]")
	b.request("join", "x") // again: only the list
	b.want("3= [1 2]")
	a.want()

	outsider := r.dial().login(3)
	outsider.request("say", "x", "hi")
	outsider.want("2! failed_precondition")
	outsider.request("leave", "x")
	outsider.want("3= <nil>")

	b.request("leave", "x")
	b.want("4= <nil>")
	a.want("left[x 2]")
	b.request("say", "x", "hi")
	b.want("5! failed_precondition")

	b.request("join", "x")
	r.settle()
	a.want("joined[x 2]")
	b.link.end(b.conn, errors.New("reset"))
	a.want("left[x 2]")

	a.request("join", "y")
	a.want("joined[y 1]", "3= [1]")
	a.request("join", "z")
	a.want("4! resource_exhausted")
	a.request("logout")
	a.want("5= <nil>")
}

func TestReplacedSessionLeavesItsRooms(t *testing.T) {
	r := roomRig(t, 2)
	watch := r.dial().login(9)
	watch.request("join", "x")
	watch.want("joined[x 9]", "2= [9]")
	a := r.dial().login(1)
	a.request("join", "x")
	a.want("joined[x 1]", "2= [1 9]")
	b := r.dial().login(1)
	watch.want("joined[x 1]", "left[x 1]")
	b.request("say", "x", "hi")
	b.want("2! failed_precondition")
}

func TestKickTellsWhy(t *testing.T) {
	r := roomRig(t, 2)
	p := r.dial().login(7)
	r.peers.Kick(7, wire.Closing{Code: wire.Kicked, Message: "be nice", Reconnect: true})
	r.settle()
	all := p.read()
	if len(all) != 1 || all[0].params[0].(map[string]any)["message"] != "be nice" {
		t.Errorf("got %v", all)
	}
	if r.peers.Online() != 0 {
		t.Error("a kicked player is online")
	}
}

func TestDrainAnswersWhatItHasAndRefusesWhatIsNew(t *testing.T) {
	var s slow
	r := roomRig(t, 2, s.method("slow", false))
	a, idle := r.dial().login(1), r.dial().login(2)
	a.request("slow")      // 2
	a.request("sum", 1, 1) // 3 waits
	r.peers.Drain(Drain{Spread: 50 * time.Millisecond, Grace: 300 * time.Millisecond})
	r.advance(100 * time.Millisecond)
	for _, p := range []*peer{a, idle} {
		all := p.read()
		if len(all) != 1 || all[0].method != "sys.closing" {
			t.Fatalf("got %v", all)
		}
		m := all[0].params[0].(map[string]any)
		if m["code"] != wire.ServerShutdown || m["reconnect"] != true || m["retry_after_ms"] == nil {
			t.Errorf("closing says %v", m)
		}
	}
	if g := idle.call("sum", 1, 1); g.err == nil || g.err.Code != Unavailable || g.err.RetryAfter == 0 {
		t.Errorf("a new request got %v", g)
	}
	r.advance(400 * time.Millisecond)
	if idle.link.conns[idle.conn] != nil {
		t.Error("an idle session stays after its grace")
	}
	if a.link.conns[a.conn] == nil {
		t.Fatal("a session was closed before its calls were answered")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r.peers.Quiet(ctx) == nil {
		t.Error("quiet with a call under way")
	}
	s.pending[0].Resolve(10)
	a.want("2= 10", "3= 2")
	if err := r.peers.Quiet(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestDrainTellsWhatItAbandons(t *testing.T) {
	var s slow
	r := roomRig(t, 1, s.method("slow", false))
	p := r.dial().login(7)
	p.request("slow")
	p.request("sum", 1, 1)
	var left Leftover
	done := make(chan struct{})
	go func() {
		left = r.peers.Leftover(context.Background())
		close(done)
	}()
	for over := false; !over; {
		select {
		case <-done:
			over = true
		case <-r.added():
			r.settle()
		}
	}
	calls := left.Calls
	if left.None() || len(calls) != 2 || calls[0].Method != "slow" || calls[1].Method != "sum" || calls[0].UID != 7 || calls[1].Age != 0 {
		t.Errorf("abandoned %+v", calls)
	}
	s.pending[0].Resolve(0)
}

func BenchmarkRoomSay(b *testing.B) {
	for _, members := range []int{100, 10_000} {
		b.Run(fmt.Sprint("members=", members), func(b *testing.B) {
			r := roomRig(b, 2)
			rm := &room{members: make(map[uint64]member), byHub: make([]roster, 2)}
			for uid := uint64(1); uid <= uint64(members); uid++ {
				l := r.links[uid%2]
				id := uint64(1)<<32 | (uid / 2)
				l.conns[id] = &fakeConn{}
				l.hub.Opened(id)
				l.hub.session(id).framing = framingFrames
				rm.byHub[uid%2].add(id)
			}
			rooms := &Rooms{peers: r.peers}
			b.ReportAllocs()
			for b.Loop() {
				frame, _ := encodeNotification("room.said", []any{"lobby", 7, "hello everyone", 1700000000000})
				rooms.broadcast(rm, frame)
				r.settle()
				for _, l := range r.links {
					for _, c := range l.conns {
						c.out = c.out[:0]
					}
				}
			}
		})
	}
}

func TestBoundAndUnboundTellWhoIsHere(t *testing.T) {
	var told []string
	note := func(what string) func(uint64) {
		return func(uid uint64) { told = append(told, fmt.Sprintf("%s %d", what, uid)) }
	}
	r := newRig(t, 2, []Method{loginMethod(), plain("logout", func(c *Call, _ *Args) (any, error) { c.Logout(); return nil, nil })},
		func(o *Options) { o.Bound, o.Unbound = note("bound"), note("unbound") })
	want := func(lines ...string) {
		t.Helper()
		if !slices.Equal(told, lines) {
			t.Errorf("told %q, want %q", told, lines)
		}
		told = nil
	}
	first := r.dial()
	first.call("login", 7)
	want("bound 7")
	second := r.dial()
	second.call("login", 7)
	want("unbound 7", "bound 7") // the older session is replaced
	second.call("login", 7)
	want() // as whom it is already
	second.call("logout")
	want("unbound 7")
	second.call("login", 8)
	second.link.end(second.conn, errors.New("reset"))
	want("bound 8", "unbound 8")
}
