package rpc

import (
	"context"
	"testing"
	"time"

	"gameserverd/wire"
)

func params(t *testing.T, values ...any) Raw {
	t.Helper()
	b, err := appendParams(nil, "", values)
	must(t, err)
	return b
}

// The call takes the player's own way: behind what runs, before what comes later,
// and the client never sees its answer.
func TestImpersonateWaitsItsTurnAndAnswersItsCaller(t *testing.T) {
	var s slow
	r := roomRig(t, 2, s.method("slow", false))
	uid := r.uidElsewhere()
	p := r.dial().login(uid)
	p.read()
	var w watched
	stop, err := r.peers.Trace(uid, w.add)
	must(t, err)
	r.settle()
	p.request("slow")
	r.settle()
	sum := r.peers.Impersonate(uid, time.Second, "sum", params(t, 1, 2))
	wrong := r.peers.Impersonate(uid, time.Second, "nothing", params(t))
	last := p.request("sum", 20, 22)
	r.settle()
	if sum.Done() || len(p.read()) != 0 {
		t.Error("it did not wait for the player's call that runs")
	}
	s.pending[0].Resolve(7)
	r.settle()
	if v, err, _ := sum.Result(); err != nil || string(v) != "\x03" {
		t.Errorf("sum: %v %v", v, err)
	}
	if _, err, _ := wrong.Result(); wire.CodeOf(err) != Unimplemented {
		t.Errorf("nothing: %v", err)
	}
	if got := p.read(); len(got) != 2 || got[1].id != last {
		t.Errorf("the client has got %v", got)
	}
	shown := 0
	for _, e := range w {
		if e.Kind == wire.Response && e.Method == "sum" {
			shown++
		}
	}
	if shown != 2 {
		t.Errorf("a trace shows %d answers of sum, want both", shown)
	}
	stop()
	r.settle()
	if h := r.peers.home(uid); h.session(h.uids[uid]).has(flagTraced) || len(h.proxies) != 0 {
		t.Error("something watches the player still")
	}
}

func TestImpersonateEnds(t *testing.T) {
	var s slow
	r := roomRig(t, 2, s.method("slow", false))
	late := func(uid uint64) error {
		f := r.peers.Impersonate(uid, time.Second, "slow", params(t))
		r.settle()
		if !f.Done() {
			r.advance(2 * time.Second)
		}
		_, err, _ := f.Result()
		return err
	}
	if err := late(7); wire.CodeOf(err) != FailedPrecondition {
		t.Errorf("offline: %v", err)
	}
	p := r.dial().login(7)
	if err := late(7); wire.CodeOf(err) != DeadlineExceeded {
		t.Errorf("late: %v", err)
	}
	f := r.peers.Impersonate(7, time.Minute, "slow", params(t))
	r.settle()
	r.dial().login(7) // the older session is replaced
	r.settle()
	if _, err, _ := f.Result(); wire.CodeOf(err) != Canceled {
		t.Errorf("replaced: %v", err)
	}
	if f := r.peers.Impersonate(7, time.Second, "sum", Raw{0xc1}); true {
		r.settle()
		if _, err, _ := f.Result(); wire.CodeOf(err) != InvalidArgument {
			t.Errorf("params that are no array: %v", err)
		}
	}
	for _, f := range s.pending {
		f.Resolve(1)
	}
	r.settle()
	for _, got := range p.read() {
		if got.kind == wire.Response && got.id != 1 {
			t.Errorf("the client was answered %v", got)
		}
	}
}

// A connection that yields logs in where the player has no session, and throws nobody
// out; other logins throw it out as any.
func TestAYieldingConnectionThrowsNobodyOut(t *testing.T) {
	r := roomRig(t, 2)
	here, elsewhere := uint64(0), r.uidElsewhere()
	for here = 1; r.peers.HomeOf(here) != 0; here++ {
	}
	p := r.dial().login(here)
	inside := r.dial()
	inside.link.hub.Yield(inside.conn)
	for _, uid := range []uint64{here, elsewhere} {
		if g := inside.call("login", uid); g.err == nil || g.err.Code != FailedPrecondition {
			t.Errorf("login as %d: %v", uid, g)
		}
	}
	if g := p.call("sum", 1, 2); g.err != nil {
		t.Errorf("the player: %v", g)
	}
	p.call("logout")
	inside.login(here)
	p.login(here)
	r.settle()
	if !inside.c.closing {
		t.Error("the player's own login gave way")
	}
}

func TestSessionInDetail(t *testing.T) {
	var s slow
	r := roomRig(t, 2, s.method("slow", false))
	p := r.dial().login(7)
	p.request("join", "x")
	p.request("slow")
	r.settle()
	type found struct {
		SessionDetail
		online bool
	}
	look := func(uid uint64) found {
		return await(r, func() found {
			d, online, err := r.peers.Session(context.Background(), uid)
			if err != nil {
				t.Error(err)
			}
			return found{d, online}
		})
	}
	if d := look(7); !d.online || d.UID != 7 || len(d.Rooms) != 1 || d.Rooms[0] != "x" || len(d.Calls) != 1 || d.Calls[0].Method != "slow" || d.Underway != 1 {
		t.Errorf("%+v", d)
	}
	if look(8).online || look(0).online {
		t.Error("nobody is online")
	}
	s.pending[0].Resolve(1)
	r.settle()
}
