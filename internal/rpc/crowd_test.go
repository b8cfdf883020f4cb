package rpc

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"gameserverd/wire"
)

// A session in a room keeps its ext; it must not keep the buffer of a burst.
func TestABurstLeavesNoLargeMailboxBehind(t *testing.T) {
	var s slow
	r := roomRig(t, 1, s.method("slow", false), plain("take", func(*Call, *Args) (any, error) { return nil, nil }))
	p := r.dial().login(7)
	p.request("join", "x")
	r.settle()
	p.request("slow")
	p.request("take", string(make([]byte, 60_000)))
	s.pending[0].Resolve(0)
	r.settle()
	if n := cap(p.link.hub.session(p.conn).ext.box.bytes); n > 4096 {
		t.Errorf("an empty mailbox keeps %d bytes", n)
	}
}

// A hub is slower than those that send to its players: what waits for it is
// bounded, and whoever sends more is told.
func TestWhatWaitsForAHubIsBounded(t *testing.T) {
	r := roomRig(t, 2)
	uid := r.uidElsewhere()
	far := r.dial().login(uid)
	big := string(make([]byte, 10_000))
	taken := 0
	for r.peers.Notify(uid, "n", big) == nil {
		if taken++; taken > 100_000 {
			t.Fatal("there is no bound")
		}
	}
	if err := r.peers.Notify(uid, "n"); wire.CodeOf(err) != ResourceExhausted {
		t.Errorf("Notify: %v", err)
	}
	if err := r.peers.NotifyMany([]uint64{uid}, "n"); wire.CodeOf(err) != ResourceExhausted {
		t.Errorf("NotifyMany: %v", err)
	}
	if _, err, _ := r.peers.Call(uid, time.Second, "n").Result(); wire.CodeOf(err) != ResourceExhausted {
		t.Errorf("Call: %v", err)
	}
	r.settle()
	if n := len(far.read()); n != taken {
		t.Errorf("%d notifications arrived of %d that were taken", n, taken)
	}
	must(t, r.peers.Notify(uid, "again"))
	far.want("again[]")
}

func TestARoomDoesNotOutrunTheLoopsOfItsMembers(t *testing.T) {
	r := roomRig(t, 2)
	here, there := uint64(1), r.uidElsewhere()
	for r.peers.home(here).index != 0 {
		here++
	}
	near, far := r.dial().login(here), r.dial().login(there)
	name := "" // of a room whose home is hub 0
	for i := 0; r.links[0].hub.rooms[name] == nil; i++ {
		if name != "" {
			far.call("leave", name)
		}
		name = fmt.Sprint("room", i)
		far.request("join", name)
		r.settle()
		far.read()
	}
	for busy := r.links[1].hub; !busy.crowded(); {
		busy.deliver(delivery{frame: make([]byte, 1<<20), uid: 1 << 60})
	}
	turn := func() {
		for r.loops[0].turn() {
		}
	}
	saidNear := func() (said string) {
		turn()
		for _, g := range near.read() {
			said += g.String()
		}
		return said
	}
	near.request("join", name)
	if said := saidNear(); said != "2! resource_exhausted" {
		t.Errorf("joining a room whose members are behind: %s", said)
	}
	if x := near.link.hub.session(near.conn).ext; x != nil {
		t.Errorf("a refused join takes a place: %q", x.rooms)
	}
	r.settle()
	far.want()
	near.request("join", name)
	near.want(fmt.Sprintf("joined[%s %d]", name, here), fmt.Sprintf("3= %v", sorted(here, there)))
	for busy := r.links[1].hub; !busy.crowded(); {
		busy.deliver(delivery{frame: make([]byte, 1<<20), uid: 1 << 60})
	}
	near.request("say", name, "hi")
	if said := saidNear(); said != "4! resource_exhausted" {
		t.Errorf("speaking where the members are behind: %s", said)
	}
}

func sorted(uids ...uint64) []uint64 { slices.Sort(uids); return uids }
