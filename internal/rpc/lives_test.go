package rpc

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gameserverd/wire"
)

// lives is a rig in which everything happens at random.
type lives struct {
	*rig
	rng   *rand.Rand
	slow  slow
	peers []*life
}

// life is one connection and what is known of it.
type life struct {
	*peer
	gone     bool // reset by the client
	finished bool // the client has finished sending
	told     bool // sys.closing has come
	sent     []uint32
	ordered  map[uint32]bool
	answers  []uint32
}

// Connections come and go, log in and out, move, join and leave, are replaced and
// kicked, with loops that turn at different speeds. Whatever happens, a request
// is answered once, in order, on a connection that lives, and when all is over
// nothing is left behind. With a drain in the middle, everything ends.
func TestRandomLivesKeepTheBooks(t *testing.T) {
	for _, drain := range []bool{false, true} {
		seed := rand.Uint64()
		for round := range 60 {
			ok := t.Run(fmt.Sprintf("drain=%v/seed=%d/round=%d", drain, seed, round), func(t *testing.T) {
				runLives(t, rand.New(rand.NewPCG(seed, uint64(round))), drain, nil)
			})
			if !ok {
				return
			}
		}
	}
}

// runLives calls watch before each step and at the end, unless it is nil.
func runLives(t *testing.T, rng *rand.Rand, drain bool, watch func(w *lives, step int)) {
	w := &lives{rng: rng}
	w.rig = roomRig(t, 3, w.slow.method("slow", false), w.slow.method("free", true))
	const steps = 1500
	for step := range steps {
		if watch != nil {
			watch(w, step)
		}
		w.step()
		if drain && step == 1000 {
			w.rig.peers.Drain(Drain{Spread: 20 * time.Millisecond, Grace: 100 * time.Millisecond})
		}
	}
	for range 100 { // what begins only now has to be ended, too
		for _, f := range w.slow.pending {
			f.Resolve(1)
		}
		w.slow.pending = nil
		w.settle()
	}
	w.advance(11 * time.Second) // the server's calls to clients run out
	for i, l := range w.peers {
		l.listen()
		if drain && !l.gone && l.link.conns[l.conn] != nil {
			t.Errorf("connection %d is still open after the drain", i)
		}
		if !drain && l.open() && len(l.answers) != len(l.sent) {
			slices.Sort(l.answers)
			t.Errorf("connection %d: %d answers to %d requests: %v", i, len(l.answers), len(l.sent), l.answers)
		}
	}
	w.checkBooks()
	if watch != nil {
		watch(w, steps)
	}
}

// checkBooks holds that all calls have ended and are forgotten.
func (w *lives) checkBooks() {
	if n := w.rig.peers.Underway(); n != 0 {
		w.t.Errorf("%d calls are under way", n)
	}
	if n := w.rig.peers.moving.Load(); n != 0 {
		w.t.Errorf("%d sessions move", n)
	}
	for i, l := range w.links {
		if n := len(l.hub.orphans); n != 0 {
			w.t.Errorf("hub %d has %d orphans", i, n)
		}
		if n := l.hub.inbox.cost.Load(); n != 0 {
			w.t.Errorf("%d bytes are left in the inbox of hub %d", n, i)
		}
	}
}

// open reports whether neither side has ended the connection.
func (l *life) open() bool { return !l.gone && !l.told && l.link.conns[l.conn] == l.c && !l.c.closing }

// step lets one thing happen.
func (w *lives) step() {
	uid := 1 + w.rng.Uint64N(6)
	switch n := w.rng.IntN(100); {
	case n < 45:
		w.loops[w.rng.IntN(len(w.loops))].turn()
	case n < 48 && len(w.peers) < 30:
		p := w.dial()
		p.stream = w.rng.IntN(2) == 0
		w.peers = append(w.peers, &life{peer: p, ordered: make(map[uint32]bool)})
	case n < 80 && len(w.peers) > 0:
		w.speak(w.peers[w.rng.IntN(len(w.peers))], uid)
	case n < 92 && len(w.slow.pending) > 0:
		i := w.rng.IntN(len(w.slow.pending))
		w.slow.pending[i].Resolve(int64(i))
		w.slow.pending = slices.Delete(w.slow.pending, i, i+1)
	case n == 92:
		must(w.t, w.rig.peers.Notify(uid, "note", uid))
	case n == 93:
		w.rig.peers.Call(uid, time.Duration(w.rng.IntN(100))*time.Millisecond, "question")
	case n == 94 && w.rng.IntN(4) == 0:
		w.rig.peers.Kick(uid, wire.Closing{Code: wire.Kicked})
	case n == 95 && len(w.peers) > 0 && w.rng.IntN(3) == 0:
		w.hangUp(w.peers[w.rng.IntN(len(w.peers))])
	case n == 96:
		for _, l := range w.loops {
			l.now = l.now.Add(20 * time.Millisecond)
		}
	}
}

// hangUp ends a connection from the client's side, in one of two ways.
func (w *lives) hangUp(l *life) {
	c := l.link.conns[l.conn]
	switch {
	case c == nil:
	case w.rng.IntN(2) == 0 && len(c.kept) == 0 && !c.paused && !c.closing && !l.finished:
		l.finished = true
		l.link.hub.EOF(l.conn)
	default:
		l.gone = true
		l.link.end(l.conn, cut("reset"))
	}
}

// speak sends a few messages in one piece, and answers what the server has asked.
func (w *lives) speak(l *life, uid uint64) {
	asked := l.listen()
	if l.gone || l.finished || l.told {
		return
	}
	var all []byte
	for _, id := range asked {
		all = append(all, l.framed(append(wire.AppendResult(nil, id), 0xc3))...)
	}
	for range 1 + w.rng.IntN(6) {
		all = append(all, l.framed(w.message(l, uid))...)
	}
	if l.link.conns[l.conn] != l.c { // between two loops: the bytes wait in the kernel
		l.c.kept = append(l.c.kept, all...)
		return
	}
	cut := w.rng.IntN(len(all))
	l.send(all[:cut])
	if l.link.conns[l.conn] == l.c {
		l.send(all[cut:])
	} else {
		l.c.kept = append(l.c.kept, all[cut:]...)
	}
}

// message makes a request or a notification.
func (w *lives) message(l *life, uid uint64) []byte {
	names := []string{"sum", "sum", "slow", "slow", "free", "login", "login", "logout", "join", "leave", "say", "nothing"}
	name := names[w.rng.IntN(len(names))]
	room := string(rune('a' + w.rng.IntN(4)))
	params := map[string][]any{"sum": {1, 2}, "login": {uid}, "join": {room}, "leave": {room}, "say": {room, "hi"}}[name]
	begin, timed := wire.AppendNotification(nil, name), false
	if w.rng.IntN(8) > 0 {
		l.msgid++
		l.sent = append(l.sent, l.msgid)
		l.ordered[l.msgid] = name != "free"
		begin = wire.AppendRequest(nil, l.msgid, name)
		if timed = w.rng.IntN(4) == 0; timed {
			begin = wire.AppendRequestMeta(nil, l.msgid, name)
		}
	}
	b, err := appendParams(begin, name, params)
	must(w.t, err)
	if timed {
		b = wire.AppendUint(wire.AppendString(wire.AppendMap(b, 1), "timeout_ms"), w.rng.Uint64N(200))
	}
	return b
}

// listen reads what the server has sent, and returns what it asks.
func (l *life) listen() (asked []uint32) {
	last := uint32(0)
	for _, id := range l.answers {
		if l.ordered[id] {
			last = max(last, id)
		}
	}
	for _, g := range l.read() {
		switch {
		case g.kind == wire.Request:
			asked = append(asked, g.id)
		case g.kind == wire.Notification && g.method == wire.ClosingMethod:
			l.told = true
		case g.kind == wire.Response:
			if slices.Contains(l.answers, g.id) {
				l.r.t.Errorf("%d is answered twice", g.id)
			}
			if l.ordered[g.id] && g.id < last && !l.told {
				l.r.t.Errorf("%d is answered after %d", g.id, last)
			}
			if l.ordered[g.id] {
				last = g.id
			}
			l.answers = append(l.answers, g.id)
		}
	}
	return asked
}
