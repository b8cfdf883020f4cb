package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"gameserverd/wire"
)

// await turns the loops while fn runs on a goroutine of its own.
func await[T any](r *rig, fn func() T) T {
	r.t.Helper()
	done := make(chan T, 1)
	go func() { done <- fn() }()
	deadline := time.Now().Add(20 * time.Second)
	for {
		r.settle()
		select {
		case v := <-done:
			return v
		case <-r.added():
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(deadline) {
			r.t.Fatal("it does not end")
		}
	}
}

func (r *rig) snapshot() map[uint64]SessionInfo {
	r.t.Helper()
	byUID := make(map[uint64]SessionInfo)
	for _, i := range await(r, func() []SessionInfo {
		all, err := r.peers.Sessions(context.Background())
		if err != nil {
			r.t.Error(err)
		}
		return all
	}) {
		byUID[i.UID] = i
	}
	return byUID
}

func TestSessionsAreDescribed(t *testing.T) {
	var s slow
	r := roomRig(t, 2, s.method("slow", false), s.method("free", true))
	a, b, c := r.dial(), r.dial(), r.dial()
	b.stream = true
	other := r.uidElsewhere()
	a.login(other)
	b.login(other + 1)
	a.request("join", "x")
	a.request("join", "y")
	r.settle()
	r.advance(20 * time.Second) // a hub learns of the time when it sweeps
	a.request("slow")
	a.request("free")
	a.request("sum", 1, 1)
	a.request("sum", 1, 1)
	r.settle()
	all := r.snapshot()
	if i := all[0]; len(all) != 3 || i.Conn != c.c.number || i.Framing != "unknown" {
		t.Fatalf("got %v", all)
	}
	got := all[other]
	if got.Age < 19*time.Second || got.Age > 21*time.Second {
		t.Errorf("its age is %v", got.Age)
	}
	got.Age = 0
	want := SessionInfo{UID: other, Conn: a.c.number, Hub: 1, Peer: a.link.Peer(0), Transport: "fake", Framing: "frames", Mailbox: 2, Underway: 2, Messages: 7, Rooms: 2}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	got = all[other+1]
	if got.Framing != "stream" || got.Silent < 19*time.Second || got.Silent > 21*time.Second || got.Messages != 1 || got.Mailbox+got.Underway+got.Rooms != 0 {
		t.Errorf("got %+v", got)
	}
	s.pending[0].Resolve(0)
	s.pending[1].Resolve(0)
	r.settle()
}

// Thousands of sessions are looked at in steps, and each once.
func TestManySessionsAreLookedAtInSteps(t *testing.T) {
	const n = 3*stepSlots + 17
	p := NewPeers(Options{Registry: NewRegistry(), Limits: testLimits, Protocols: []string{"frames"}, Log: nil})
	l := &fakeLoop{now: time.Unix(1_700_000_000, 0), added: make(chan struct{}, 1)}
	h := p.AddHub(l)
	h.Connect(noLink{})
	for i := range uint64(n) {
		h.Opened(1<<32 | i)
	}
	for i := range uint64(n) {
		if i%5 == 0 {
			h.release(h.session(1<<32 | i))
		}
	}
	var seen []uint64
	most, turns, done := 0, 0, false
	h.inSteps(func(s *session) { seen = append(seen, s.conn) }, func() { done = true })
	for more := true; more; turns++ {
		before := len(seen)
		more = l.turn()
		most = max(most, len(seen)-before)
	}
	if !done || most > stepSlots || turns < 3 {
		t.Errorf("done %v, %d sessions in one turn, %d turns", done, most, turns)
	}
	if len(seen) != n-(n+4)/5 || !slices.IsSorted(seen) {
		t.Errorf("%d sessions were seen", len(seen))
	}
}

func TestSessionsGivesUp(t *testing.T) {
	r := newRig(t, 2, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if all, err := r.peers.Sessions(ctx); !errors.Is(err, context.Canceled) || all != nil {
		t.Errorf("got %v, %v", all, err)
	}
	r.settle()
}

func TestBroadcastReachesWhoIsLoggedIn(t *testing.T) {
	r := roomRig(t, 2)
	var in []*peer
	for uid := range 6 {
		p := r.dial()
		p.stream = uid%2 == 0
		in = append(in, p.login(uint64(uid+1)))
	}
	out := r.dial()
	out.call("sum", 1, 2)
	kicked := in[5]
	kicked.c.lingers = true
	r.peers.Kick(6, wire.Closing{Code: wire.Kicked})
	r.settle()
	kicked.read()
	n, err := r.peers.Broadcast("news", "hello", 7)
	if n != 5 || err != nil {
		t.Errorf("sent to %d, %v", n, err)
	}
	must(t, r.peers.Notify(1, "after"))
	in[0].want("news[hello 7]", "after[]")
	for _, p := range in[1:5] {
		p.want("news[hello 7]")
	}
	out.want()
	kicked.want()
	if _, err := r.peers.Broadcast("news", make(chan int)); err == nil {
		t.Error("what cannot be encoded is sent")
	}
}

func TestKickTellsWhetherThereWasASession(t *testing.T) {
	r := roomRig(t, 2)
	r.dial().login(7)
	for i, want := range []bool{true, false, false} {
		kicked := r.peers.Kick([]uint64{7, 7, 0}[i], wire.Closing{Code: wire.Kicked})
		r.settle()
		if was, err, done := kicked.Result(); !done || err != nil || was != want {
			t.Errorf("kick %d: %v, %v, %v", i, was, err, done)
		}
	}
}

// A session in flight between two hubs must not hold anything up.
func TestSnapshotsWhileSessionsMove(t *testing.T) {
	r := newRig(t, 3, []Method{sumMethod(), loginMethod()})
	r.dial() // and stays
	for i := range 30 {
		p := r.dial()
		p.request("login", i+1)
		if all := r.snapshot(); len(all) == 0 {
			t.Fatal("nobody is there")
		}
		p.want(fmt.Sprintf("1= %d", i+1))
	}
	if all := r.snapshot(); len(all) != 31 {
		t.Errorf("%d sessions", len(all))
	}
}
