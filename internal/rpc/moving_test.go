package rpc

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"gameserverd/wire"
)

// uidElsewhere is a uid whose home is not the hub that dial connects to.
func (r *rig) uidElsewhere() uint64 {
	uid := uint64(1)
	for r.peers.home(uid).index == 0 {
		uid++
	}
	return uid
}

// A login that waits in a full mailbox begins to move the connection while the
// mailbox empties: nothing may be read before it has arrived.
func TestAMovingConnectionIsNotReadFrom(t *testing.T) {
	var s slow
	r := roomRig(t, 2, s.method("slow", false), s.method("free", true))
	p := r.dial()
	uid := r.uidElsewhere()
	p.request("free") // keeps the login from moving at once
	p.request("slow")
	want := []string{"2= 0"}
	sums := func(n int) {
		for range n {
			want = append(want, fmt.Sprintf("%d= 2", p.request("sum", 1, 1)))
		}
	}
	sums(5)
	login := p.request("login", uid)
	sums(10)
	s.pending[1].Resolve(0)
	p.want(want[:6]...)
	if !p.c.paused {
		t.Error("a connection that waits to be moved is read from")
	}
	s.pending[0].Resolve(7)
	p.want(append([]string{"1= 7", fmt.Sprintf("%d= %d", login, uid)}, want[6:]...)...)
}

// A connection that is closing is nobody: a login that ends on it must not throw
// the player's other session out.
func TestALoginOnAClosingConnectionReplacesNobody(t *testing.T) {
	var s slow
	bound := make(chan error, 1)
	late := Method{Name: "late", Public: true, Async: func(c *Call, _ *Args) (Pending, error) {
		p, err := s.method("", false).Async(c, nil)
		s.pending[len(s.pending)-1].Then(c, func(int64, error) {
			c.Login(7).Then(c, func(_ struct{}, err error) { bound <- err })
		})
		return p, err
	}}
	r := roomRig(t, 1, late)
	good, p := r.dial().login(7), r.dial()
	p.c.lingers = true
	p.request("late")
	r.settle()
	p.send([]byte{0, 0, 0, 0}) // no valid frame: the session is closed
	s.pending[0].Resolve(0)
	good.want()
	if err := <-bound; wire.CodeOf(err) != Canceled {
		t.Errorf("the login on the closing connection: %v", err)
	}
	if g := good.call("sum", 1, 2); g.result != int64(3) {
		t.Errorf("the good session is answered %v", g)
	}
}

// The connection breaks after the session was given away and before it arrived.
func TestALostMoveLosesItsMailboxToo(t *testing.T) {
	r := roomRig(t, 2)
	p := r.dial()
	p.request("login", r.uidElsewhere())
	p.c.paused = false // as if more had been read before
	s := p.link.hub.session(p.conn)
	p.link.hub.sessions.extend(s).box.push([]byte{0x93, 2, 0xa1, 'x', 0x90}, 0)
	r.peers.waiting.Add(1)
	delete(p.link.conns, p.conn) // reset: Closed is on its way, but the move comes first
	r.settle()
	p.link.hub.Closed(p.conn, errors.New("reset"))
	r.settle()
	if have := r.endings(); !maps.Equal(have, map[string]int64{"gone": 1}) {
		t.Errorf("it has ended as %v", have)
	}
	if r.peers.waiting.Load() != 0 || r.peers.Underway() != 0 || r.peers.moving.Load() != 0 {
		t.Errorf("%d messages wait, %d calls are under way, %d sessions move", r.peers.waiting.Load(), r.peers.Underway(), r.peers.moving.Load())
	}
}

// A middleware may end a call whose method has begun to log in.
func TestALoginWhoseCallHasEndedDoesNotMove(t *testing.T) {
	veto := Middleware{Around: func(c *Call, next func() error) error {
		if err := next(); err != nil || c.Method() != "login" {
			return err
		}
		return Errorf(PermissionDenied, "banned")
	}}
	r := newRig(t, 2, []Method{sumMethod(), loginMethod()}, func(o *Options) { o.Middleware = []Middleware{veto} })
	p := r.dial()
	p.request("login", r.uidElsewhere())
	p.request("sum", 1, 2)
	p.want("1! permission_denied", "2= 3")
	if r.peers.Online() != 0 {
		t.Error("the player is online")
	}
}
