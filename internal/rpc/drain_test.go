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

// goodbye drains the rig until every session has had its sys.closing.
func (r *rig) goodbye(grace time.Duration) {
	r.peers.Drain(Drain{Grace: grace})
	r.settle()
}

// readWithoutClosing is read without the sys.closing.
func (p *peer) readWithoutClosing() (said []string) {
	for _, g := range p.read() {
		if g.method != wire.ClosingMethod {
			said = append(said, g.String())
		}
	}
	return said
}

// sums sends n requests in one piece.
func (p *peer) sums(n int) {
	var all []byte
	for range n {
		p.msgid++
		b, err := appendParams(wire.AppendRequest(nil, p.msgid, "sum"), "sum", []any{1, 1})
		must(p.r.t, err)
		all = append(all, p.framed(b)...)
	}
	p.send(all)
}

// leftover asks for what is left, on a goroutine of its own as the server does.
func (r *rig) leftover() (left Leftover) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		left = r.peers.Leftover(context.Background())
	}()
	for {
		select {
		case <-done:
			return left
		case <-r.added():
			r.settle()
		}
	}
}

// A login that was waiting for its turn when the goodbye was said takes the
// session to a hub that has not given it its grace.
func TestASessionThatMovesAfterItsGoodbyeStillCloses(t *testing.T) {
	var s slow
	r := roomRig(t, 2, s.method("slow", false))
	p := r.dial()
	p.request("slow")
	p.request("login", r.uidElsewhere())
	r.goodbye(300 * time.Millisecond)
	s.pending[0].Resolve(1)
	r.settle()
	if p.link == r.links[0] {
		t.Fatal("the session has not moved")
	}
	r.advance(time.Second)
	if len(p.link.conns) != 0 {
		t.Error("the session stays after its grace")
	}
	if err := r.peers.Quiet(canceled()); err != nil {
		t.Error("the drain does not end")
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// Requests behind a full mailbox were read, too: they are answered before the
// connection closes.
func TestDrainAnswersWhatAFullMailboxHasKeptWaiting(t *testing.T) {
	var s slow
	r := roomRig(t, 1, s.method("slow", false))
	p := r.dial()
	p.request("slow")
	const more = 200
	p.sums(more)
	if len(p.c.kept) == 0 {
		t.Fatal("nothing was kept")
	}
	r.goodbye(100 * time.Millisecond)
	r.advance(time.Second)
	s.pending[0].Resolve(0)
	r.settle()
	if said := p.readWithoutClosing(); len(said) != 1+more {
		t.Errorf("%d answers to %d requests", len(said), 1+more)
	}
	if len(p.link.conns) != 0 {
		t.Error("the connection is still open")
	}
}

func TestDrainNamesWhatAFullMailboxHasKeptWaiting(t *testing.T) {
	var s slow
	r := roomRig(t, 1, s.method("slow", false))
	p := r.dial().login(7)
	p.request("slow")
	const more = 200
	p.sums(more)
	p.send([]byte{0, 0, 0, 9, 0x94}) // and half of one
	left := r.leftover()
	if n := len(left.Calls); n != 1+more {
		t.Errorf("%d calls are named, %d were not answered", n, 1+more)
	}
	s.pending[0].Resolve(0)
}

// More plain messages wait than one turn runs.
func TestHalfCloseAfterALongBacklogCloses(t *testing.T) {
	var s slow
	r := newRig(t, 1, []Method{sumMethod(), s.method("slow", false)}, func(o *Options) { o.Limits.MaxMailbox = 1000 })
	p := r.dial()
	p.request("slow")
	want := []string{"1= 0"}
	for range 3 * messagesPerTurn {
		want = append(want, fmt.Sprintf("%d= 2", p.request("sum", 1, 1)))
	}
	p.link.hub.EOF(p.conn)
	s.pending[0].Resolve(0)
	p.want(want...)
	if len(p.link.conns) != 0 {
		t.Error("still open after the last answer")
	}
}

// A client that is being sent away can no longer answer; who waits for its
// answer is told at once.
func TestAClosingClientIsNotWaitedFor(t *testing.T) {
	r := roomRig(t, 1)
	p := r.dial().login(7)
	f := r.peers.Call(7, time.Minute, "question")
	r.goodbye(100 * time.Millisecond)
	p.link.conns[p.conn].lingers = true
	r.advance(time.Second)
	if _, err, _ := f.Result(); wire.CodeOf(err) != Canceled {
		t.Errorf("got %v", err)
	}
	p.link.end(p.conn, errors.New("over"))
}

// What was sent to a player before the server says something else arrives before it.
func TestWhatWasSentEarlierArrivesBeforeARefusalOrAClosing(t *testing.T) {
	r := roomRig(t, 1)
	p := r.dial().login(7)
	must(t, r.peers.Notify(7, "first"))
	p.request("nothing")
	p.want("first[]", "2! unimplemented")
	must(t, r.peers.Notify(7, "second"))
	p.send([]byte{0, 0, 0, 0})
	r.settle()
	var said []string
	for _, g := range p.read() {
		said = append(said, g.method)
	}
	if want := []string{"second", wire.ClosingMethod}; !slices.Equal(said, want) {
		t.Errorf("got %q, want %q", said, want)
	}
}

// Who connects in the moment of the drain, and has not said anything yet, is told
// why it cannot stay, if it speaks within the grace.
func TestDrainTellsWhoHasOnlyJustConnected(t *testing.T) {
	r := roomRig(t, 1)
	speaks, silent := r.dial(), r.dial()
	r.goodbye(300 * time.Millisecond)
	late := r.dial() // it was accepted before
	r.settle()
	r.advance(100 * time.Millisecond)
	for _, p := range []*peer{speaks, late} {
		p.request("sum", 1, 1)
		r.settle()
		all := p.read()
		if len(all) != 1 || all[0].method != wire.ClosingMethod {
			t.Fatalf("got %v", all)
		}
		if m := all[0].params[0].(map[string]any); m["code"] != wire.ServerShutdown || m["reconnect"] != true || m["retry_after_ms"] == nil {
			t.Errorf("closing says %v", m)
		}
		if p.link.conns[p.conn] != nil {
			t.Error("the session stays")
		}
	}
	if silent.link.conns[silent.conn] == nil {
		t.Fatal("a session that has said nothing got no grace")
	}
	r.advance(300 * time.Millisecond)
	if err := r.peers.Quiet(canceled()); err != nil {
		t.Errorf("the drain does not end: %v", err)
	}
	if r.advance(3 * time.Second); r.peers.Refusing() != 0 {
		t.Errorf("%d wait to be told", r.peers.Refusing())
	}
	if n := r.peers.Counters.Closed()[wire.ServerShutdown]; n != 3 {
		t.Errorf("%d sessions are counted as closed", n)
	}
}
