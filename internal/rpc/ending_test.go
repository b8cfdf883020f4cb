package rpc

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"gameserverd/wire"
)

// cut is how the layers below say why a connection has ended.
type cut string

func (c cut) Error() string       { return string(c) }
func (c cut) CloseReason() string { return string(c) }

// endings are the reasons for which sessions have ended, as they were counted.
func (r *rig) endings() map[string]int64 {
	all := r.peers.Counters.Closed()
	all["gone"] = int64(r.stats().Gone)
	maps.DeleteFunc(all, func(_ string, n int64) bool { return n == 0 })
	return all
}

// However much happens while a session ends, one reason counts: the first.
func TestASessionEndsForOneReason(t *testing.T) {
	kick := func(r *rig) {
		r.peers.Kick(7, wire.Closing{Code: wire.Kicked})
		r.settle()
	}
	goodbye := func(r *rig) {
		r.peers.Drain(Drain{Spread: 10 * time.Millisecond, Grace: 5 * time.Second})
		r.settle()
	}
	slow := func(p *peer) { p.link.end(p.conn, cut(wire.SlowConsumer)) }
	reset := func(p *peer) { p.link.end(p.conn, cut("reset")) }
	for _, c := range []struct {
		name string
		do   func(r *rig, p *peer)
		want string // "" none
	}{
		{"goodbye, kicked", func(r *rig, _ *peer) { goodbye(r); kick(r) }, wire.ServerShutdown},
		{"goodbye, slow", func(r *rig, p *peer) { goodbye(r); slow(p) }, wire.ServerShutdown},
		{"goodbye, reset", func(r *rig, p *peer) { goodbye(r); reset(p) }, wire.ServerShutdown},
		{"goodbye, finished", func(r *rig, p *peer) { goodbye(r); p.link.hub.EOF(p.conn) }, wire.ServerShutdown},
		{"goodbye, silent for too long", func(r *rig, _ *peer) { goodbye(r); r.advance(2 * testLimits.IdleTimeout) }, wire.ServerShutdown},
		{"kicked, goodbye", func(r *rig, _ *peer) { kick(r); goodbye(r) }, wire.Kicked},
		{"kicked, slow", func(r *rig, p *peer) { kick(r); slow(p) }, wire.Kicked},
		{"kicked, reset", func(r *rig, p *peer) { kick(r); reset(p) }, wire.Kicked},
		{"finished, reset", func(_ *rig, p *peer) { p.link.hub.EOF(p.conn); reset(p) }, "gone"},
		{"slow", func(_ *rig, p *peer) { slow(p) }, wire.SlowConsumer},
		{"more kept than may be", func(_ *rig, p *peer) { p.link.end(p.conn, cut("input_full")) }, wire.FrameTooLarge},
		{"counted below, reset", func(_ *rig, p *peer) { p.link.hub.ClaimEnd(p.conn); reset(p) }, ""},
		{"counted below, refused", func(_ *rig, p *peer) {
			p.link.hub.ClaimEnd(p.conn)
			p.link.hub.Refuse(p.conn, wire.Closing{Code: wire.ProtocolError})
		}, ""},
		{"refused", func(_ *rig, p *peer) { p.link.hub.Refuse(p.conn, wire.Closing{Code: wire.ProtocolError}) }, wire.ProtocolError},
		{"made within the process, reset", func(_ *rig, p *peer) { p.link.hub.Yield(p.conn); reset(p) }, ""},
		{"made within the process, finished", func(_ *rig, p *peer) { p.link.hub.Yield(p.conn); p.link.hub.EOF(p.conn) }, ""},
		{"made within the process, goodbye", func(r *rig, p *peer) { p.link.hub.Yield(p.conn); goodbye(r) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := roomRig(t, 1)
			p := r.dial().login(7)
			p.c.lingers = true
			c.do(r, p)
			r.settle()
			want := map[string]int64{c.want: 1}
			delete(want, "")
			if have := r.endings(); !maps.Equal(have, want) {
				t.Errorf("counted were %v, want %v", have, want)
			}
			if p.link.hub.session(p.conn) != nil && p.link.hub.ClaimEnd(p.conn) {
				t.Error("it may be counted once more")
			}
		})
	}
}

// One who is refused and goes before he can be told why is one who has gone.
func TestRefusedAndGone(t *testing.T) {
	limits := testLimits
	limits.MaxConnections = 1
	r := newRig(t, 1, []Method{sumMethod()}, func(o *Options) { o.Limits = limits })
	r.dial()
	p := r.dial()
	p.link.end(p.conn, cut("peer_closed"))
	if have := r.endings(); !maps.Equal(have, map[string]int64{"gone": 1}) {
		t.Errorf("counted were %v", have)
	}
}

// Whatever connections do (see lives), each that has ended is counted once.
func TestRandomLivesEndForOneReason(t *testing.T) {
	for _, drain := range []bool{false, true} {
		seed := rand.Uint64()
		for round := range 5 {
			t.Run(fmt.Sprintf("drain=%v/seed=%d/round=%d", drain, seed, round), func(t *testing.T) {
				runLives(t, rand.New(rand.NewPCG(seed, uint64(round))), drain, func(w *lives, step int) {
					if step%10 != 0 || w.rig.peers.moving.Load() > 0 {
						return // a session is on no hub, and may have been counted
					}
					ended, counted := len(w.peers)-w.rig.peers.Connections(), 0
					for _, n := range w.endings() {
						counted += int(n)
					}
					for _, l := range w.links {
						l.hub.eachSession(func(s *session) {
							if s.has(flagCounted) { // it has still to close
								counted--
							}
						})
					}
					if counted != ended {
						t.Fatalf("step %d: %d have ended, counted were %d: %v", step, ended, counted, w.endings())
					}
				})
			})
			if t.Failed() {
				return
			}
		}
	}
}
