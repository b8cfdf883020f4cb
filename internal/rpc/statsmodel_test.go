package rpc

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"gameserverd/wire"
)

// ledger keeps its own books of the calls that begin and end, from what a Tracer
// is told.
type ledger struct {
	begun, ended map[string]uint64
	errors       map[string]map[wire.Code]uint64
}

func newLedger() *ledger {
	return &ledger{make(map[string]uint64), make(map[string]uint64), make(map[string]map[wire.Code]uint64)}
}

func (l *ledger) Begin(b Beginning) Span {
	l.begun[b.Method]++
	return &entry{ledger: l, method: b.Method}
}

// entry is a call of a ledger.
type entry struct {
	ledger *ledger
	method string
	over   bool
}

func (e *entry) TraceID() string             { return "" }
func (e *entry) Traceparent() string         { return "" }
func (e *entry) Child(string, SpanKind) Span { return &entry{over: true} }
func (e *entry) Event(string)                {}
func (e *entry) UID(uint64)                  {}
func (e *entry) End(code wire.Code, _ error) {
	if e.over {
		return
	}
	e.over = true
	e.ledger.ended[e.method]++
	if code == "" {
		return
	}
	if e.ledger.errors[e.method] == nil {
		e.ledger.errors[e.method] = make(map[wire.Code]uint64)
	}
	e.ledger.errors[e.method][code]++
}

// compare holds the hubs' counts to the ledger's, but for those refused as away,
// which never had a turn, and those that were answered when their time was over
// and go on: they have not ended for a Tracer.
func (l *ledger) compare(r *rig, goodbye bool) {
	r.t.Helper()
	if r.peers.moving.Load() > 0 {
		return // a session is on no hub
	}
	late := r.late()
	for i, m := range r.peers.registry.Methods() {
		have := r.stats().Methods[i]
		errors, away := byCode(have.Errors), uint64(0)
		if goodbye {
			away = errors[Unavailable]
			delete(errors, Unavailable)
		}
		if n := late[m.Name]; n > 0 {
			have.Calls -= n
			if errors[DeadlineExceeded] -= n; errors[DeadlineExceeded] == 0 {
				delete(errors, DeadlineExceeded)
			}
		}
		want := l.errors[m.Name]
		if have.Calls-away != l.ended[m.Name] || !maps.Equal(errors, want) && len(errors)+len(want) > 0 {
			r.t.Fatalf("%s: %d calls have ended with %v, counted were %d with %v, and %d as away", m.Name, l.ended[m.Name], want, have.Calls, errors, away)
		}
	}
}

// late is how many calls of each method were answered and go on.
func (r *rig) late() map[string]uint64 {
	late := make(map[string]uint64)
	count := func(c *Call) {
		if c.answered {
			late[c.method.Name]++
		}
	}
	for _, l := range r.links {
		for c := range l.hub.orphans {
			count(c)
		}
		l.hub.eachSession(func(s *session) {
			if s.ext != nil {
				for _, c := range s.ext.calls {
					count(c)
				}
			}
		})
	}
	return late
}

// neverFalls holds that each hub's counts only go up, whoever moves away from it.
func neverFalls(t *testing.T, before, now []HubStats) {
	t.Helper()
	for hub := range before {
		if now[hub].Unknown < before[hub].Unknown {
			t.Fatalf("hub %d: calls unknown fell from %d to %d", hub, before[hub].Unknown, now[hub].Unknown)
		}
		for i := range before[hub].Methods {
			was, is := &before[hub].Methods[i], &now[hub].Methods[i]
			fell := is.Calls < was.Calls || is.Run.Sum < was.Run.Sum || is.Queue.Sum < was.Queue.Sum
			for class := range is.Run.Counts {
				fell = fell || is.Run.Counts[class] < was.Run.Counts[class] || is.Queue.Counts[class] < was.Queue.Counts[class]
			}
			for code := range is.Errors {
				fell = fell || is.Errors[code] < was.Errors[code]
			}
			if fell {
				t.Fatalf("hub %d, method %d: %+v after %+v", hub, i, is, was)
			}
		}
	}
}

// TestRandomLivesAreCounted: whatever connections do (see lives), every call that
// began is counted once, when it has ended, with its code; and no count falls.
func TestRandomLivesAreCounted(t *testing.T) {
	for _, drain := range []bool{false, true} {
		seed := rand.Uint64()
		for round := range 15 {
			ok := t.Run(fmt.Sprintf("drain=%v/seed=%d/round=%d", drain, seed, round), func(t *testing.T) {
				books := newLedger()
				before := make([]HubStats, 3)
				now := make([]HubStats, 3)
				runLives(t, rand.New(rand.NewPCG(seed, uint64(round))), drain, func(w *lives, step int) {
					if step == 0 {
						w.rig.peers.tracer, w.rig.peers.watched = books, true
					}
					if step%10 != 0 {
						return
					}
					books.compare(w.rig, drain)
					for i, l := range w.links {
						l.hub.Stats(&now[i])
					}
					neverFalls(t, before, now)
					before, now = now, before
				})
				if len(books.ended) < 5 || fmt.Sprint(books.ended) != fmt.Sprint(books.begun) {
					t.Errorf("begun %v, ended %v", books.begun, books.ended)
				}
			})
			if !ok {
				return
			}
		}
	}
}

// TestCountsAreWhatClientsSee: requests of random methods, none of which is lost,
// against the answers that come.
func TestCountsAreWhatClientsSee(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var s slow
	r := roomRig(t, 3, s.method("slow", false), s.method("free", true),
		plain("random", func(*Call, *Args) (any, error) {
			if i := rng.IntN(numCodes); i < numCodes-2 {
				return nil, Errorf(codes[i], "so it is")
			}
			return nil, nil
		}))
	type asked struct {
		p      *peer
		id     uint32
		method string
	}
	var all []asked
	peers := make([]*peer, 12)
	for i := range peers {
		peers[i] = r.dial()
		peers[i].stream = i%2 == 0
		peers[i].login(uint64(100 + i))
		all = append(all, asked{peers[i], 1, "login"})
	}
	answers := make(map[string]map[wire.Code]uint64)
	read := func() {
		for _, p := range peers {
			for _, g := range p.read() {
				method := ""
				for _, a := range all {
					if a.p == p && a.id == g.id {
						method = a.method
					}
				}
				if answers[method] == nil {
					answers[method] = make(map[wire.Code]uint64)
				}
				answers[method][wire.CodeOf(orNil(g.err))]++
			}
		}
	}
	for range 1500 {
		p := peers[rng.IntN(len(peers))]
		method := []string{"sum", "random", "slow", "free", "join", "made.up"}[rng.IntN(6)]
		if p.c.paused {
			method = ""
		}
		if method != "" {
			params := map[string][]any{"sum": {1, 2}, "join": {"a"}}[method]
			all = append(all, asked{p, p.request(method, params...), method})
		}
		if len(s.pending) > 0 && rng.IntN(2) == 0 {
			s.pending[0].Resolve(1)
			s.pending = s.pending[1:]
		}
		r.loops[rng.IntN(3)].turn()
	}
	for r.settle(); len(s.pending) > 0; r.settle() {
		for _, f := range s.pending {
			f.Resolve(1)
		}
		s.pending = nil
	}
	read()
	answers["login"] = map[wire.Code]uint64{"": uint64(len(peers))} // login has read its own
	total := 0
	for i, m := range r.peers.registry.Methods() {
		have, want := r.stats().Methods[i], answers[m.Name]
		calls := uint64(0)
		for _, n := range want {
			calls += n
		}
		delete(want, "")
		if have.Calls != calls || !maps.Equal(byCode(have.Errors), want) && len(want) > 0 {
			t.Errorf("%s: counted were %d calls with %v, clients saw %d with %v", m.Name, have.Calls, byCode(have.Errors), calls, want)
		}
		total += int(calls)
	}
	unknown := answers["made.up"][Unimplemented]
	if have := r.stats().Unknown; have != unknown || unknown == 0 {
		t.Errorf("%d unknown counted, clients saw %d", have, unknown)
	}
	if total+int(unknown) != len(all) {
		t.Errorf("%d requests, %d answers", len(all), total+int(unknown))
	}
}

// orNil is e as an error that is nil where e is.
func orNil(e *Error) error {
	if e == nil {
		return nil
	}
	return e
}
