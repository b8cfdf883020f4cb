package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gameserverd/internal/cli"
	"gameserverd/wire"
)

// value is MessagePack for an argument of the command line.
func value(arg string) wire.Raw {
	v, err := cli.ParseArg(arg)
	if err != nil {
		panic(err)
	}
	b, err := wire.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// random returns a source whose seed is in the log of a failed test.
func random(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestOutstandingTakesAnswersInAnyOrder(t *testing.T) {
	r := random(t)
	for _, depth := range []int{1, 2, 3, 64, 100} {
		o := newOutstanding(depth)
		begun := map[uint32]int64{}
		for now := int64(1); now < 5000; now++ {
			if o.room() != (len(begun) < depth) {
				t.Fatalf("depth %d: room %v with %d outstanding", depth, o.room(), len(begun))
			}
			if o.room() && r.IntN(2) == 0 {
				id := o.begin(now)
				if _, twice := begun[id]; twice {
					t.Fatalf("depth %d: msgid %d is outstanding twice", depth, id)
				}
				begun[id] = now
				continue
			}
			for id, at := range begun { // any of them
				got, ok := o.end(id)
				if !ok || got != at {
					t.Fatalf("depth %d: end(%d) = %d, %v; it began at %d", depth, id, got, ok, at)
				}
				if _, again := o.end(id); again {
					t.Fatalf("depth %d: msgid %d was answered twice", depth, id)
				}
				delete(begun, id)
				if again := o.begin(now); again == id {
					t.Fatalf("depth %d: msgid %d is used again at once", depth, id)
				} else {
					begun[again] = now
				}
				break
			}
		}
		if len(o.slots) > depth {
			t.Errorf("depth %d: %d slots", depth, len(o.slots))
		}
		if _, ok := o.end(1 << 31); ok {
			t.Errorf("depth %d: an answer to a call that never began was taken", depth)
		}
		want := uint64(0)
		for _, at := range begun {
			if at >= 4000 {
				want++
			}
		}
		if got := o.within(window{4000, 5000}); got != want {
			t.Errorf("depth %d: %d calls in the window, want %d", depth, got, want)
		}
	}
}

func TestPacersShareTheRate(t *testing.T) {
	const start = int64(5e9)
	second := window{start, start + 1e9}
	for _, c := range []struct {
		rate  float64
		conns []int // by loop
	}{{1000, []int{10}}, {1000, []int{4, 3, 3}}, {7, []int{1}}, {150_000, []int{500, 500}}} {
		all := 0
		for _, n := range c.conns {
			all += n
		}
		var due []int64
		for i, n := range c.conns {
			p := newPacer(c.rate, start, i, len(c.conns), n, all)
			owed := p.owed(second)
			before := len(due)
			for second.holds(p.next()) {
				due = append(due, p.take())
			}
			if got := uint64(len(due) - before); got > owed+1 || owed > got+1 {
				t.Errorf("%v: loop %d owed %d calls and %d were taken", c, i, owed, got)
			}
			if left := p.owed(second); left != 0 {
				t.Errorf("%v: loop %d still owes %d", c, i, left)
			}
		}
		if got := float64(len(due)); got < c.rate-float64(len(c.conns)) || got > c.rate+float64(len(c.conns)) {
			t.Errorf("%v: %d calls are due in a second", c, len(due))
		}
		slices.Sort(due)
		if due[0] != start {
			t.Errorf("%v: the first call is due %v after the start", c, time.Duration(due[0]-start))
		}
	}
}

// A stalled server is the case that an open loop is for: while it sleeps calls become due, and each of them counts the
// whole time from then on.
func TestAStallCountsForEveryCallItDelays(t *testing.T) {
	expect, err := newExpectation(nil)
	if err != nil {
		t.Fatal(err)
	}
	in := intake{window: window{0, unlimitedNS}, expect: expect, tally: newTally()}
	s := session{calls: newOutstanding(1), state: ready}
	p := newPacer(1000, 0, 0, 1, 1, 1) // one a millisecond
	clock := int64(0)
	for range 200 {
		clock = max(clock, p.next())
		var frame []byte
		frame = s.call(frame, &target{method: "sum", params: wire.Raw{0x90}}, p.take())
		var m wire.Message
		if err := m.Parse(frame[wire.HeaderLen:], 100); err != nil {
			t.Fatal(err)
		}
		if p.taken == 50 {
			clock += 100e6 // the stall
		}
		answer := wire.AppendNil(wire.AppendResult(wire.BeginFrame(nil), m.ID))
		wire.EndFrame(answer, 0)
		if n, _, err := s.take(answer, clock, &in, nil); n != len(answer) || err != nil {
			t.Fatalf("take = %d, %v", n, err)
		}
	}
	if in.ok != 200 {
		t.Fatalf("%d answers", in.ok)
	}
	// 100 calls were delayed, by 100 ms down to 1 ms: so 50 of 200 by more than 50 ms.
	if got := in.summary().Max; got < 99_000 || got > 101_000 {
		t.Errorf("max %.0f µs, want 100 ms", got)
	}
	if got := time.Duration(in.latency.ValueAtPercentile(76)); got < 48*time.Millisecond || got > 55*time.Millisecond {
		t.Errorf("p76 %v, want about 51 ms", got)
	}
}

func TestRotationIsFair(t *testing.T) {
	r := newRotation(3)
	if _, ok := r.pop(); ok {
		t.Fatal("an empty rotation gave something")
	}
	for _, at := range []int32{2, 0, 2, 1, 0} {
		r.push(at)
	}
	var got []int32
	for range 7 {
		at, ok := r.pop()
		if !ok {
			t.Fatal("empty")
		}
		got = append(got, at)
		r.push(at)
	}
	if want := []int32{2, 0, 1, 2, 0, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestExpectationComparesValues(t *testing.T) {
	for _, c := range []struct {
		want   string
		result []byte
		equal  bool
	}{
		{"3", []byte{0x03}, true},
		{"3", []byte{0xd3, 0, 0, 0, 0, 0, 0, 0, 3}, true},                   // int64
		{"3", []byte{0xcd, 0, 3}, true},                                     // uint16
		{"3", []byte{0xcb, 0x40, 0x08, 0, 0, 0, 0, 0, 0}, true},             // 3.0
		{"-1", []byte{0xff}, true},                                          //
		{"-1", []byte{0xcf, 255, 255, 255, 255, 255, 255, 255, 255}, false}, // 2^64-1
		{"3", []byte{0x04}, false},
		{"3", []byte{0xa1, '3'}, false},
		{"0.5", []byte{0xca, 0x3f, 0, 0, 0}, true},
		{"9007199254740993", []byte{0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0}, false}, // 2^53 and 2^53+1 are one float
		{`{"a":[1,null]}`, []byte{0x81, 0xa1, 'a', 0x92, 0xcc, 1, 0xc0}, true},
		{`{"a":[1,null]}`, []byte{0x81, 0xa1, 'b', 0x92, 0xcc, 1, 0xc0}, false},
		{`{"a":[1,null]}`, []byte{0x81, 0xa1, 'a', 0x91, 0xcc, 1}, false},
	} {
		e, err := newExpectation(value(c.want))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time from memory
			if e.holds(c.result) != c.equal {
				t.Errorf("%s and %x: want equal %v", c.want, c.result, c.equal)
			}
		}
	}
}

// frames is the bytes of several messages and what they should count.
func frames(t *testing.T, s *session, in *intake) []byte {
	t.Helper()
	var b []byte
	add := func(message func(b []byte) []byte) {
		start := len(b)
		b = message(wire.BeginFrame(b))
		wire.EndFrame(b, start)
	}
	ids := []uint32{s.calls.begin(10), s.calls.begin(20), s.calls.begin(5)}
	add(func(b []byte) []byte { return wire.AppendInt(wire.AppendResult(b, ids[1]), 3) })
	add(func(b []byte) []byte { return wire.AppendArray(wire.AppendNotification(b, "room.said"), 0) })
	add(func(b []byte) []byte {
		return wire.AppendErrorResponse(b, ids[0], wire.Errorf(wire.ResourceExhausted, "slow down"))
	})
	add(func(b []byte) []byte { return wire.AppendArray(wire.AppendRequest(b, 77, "duel.offer"), 0) })
	add(func(b []byte) []byte { return wire.AppendNil(wire.AppendResult(b, ids[1])) }) // again: unasked
	add(func(b []byte) []byte { return wire.AppendInt(wire.AppendResult(b, ids[2]), 3) })
	add(func(b []byte) []byte {
		return wire.AppendClosing(b, wire.Closing{Code: wire.RateLimited, Message: "too fast"})
	})
	in.window = window{8, 100} // the third call began before it
	return b
}

func TestSessionTakesFramesCutAnywhere(t *testing.T) {
	expect, err := newExpectation(nil)
	if err != nil {
		t.Fatal(err)
	}
	var probe session
	probe.calls = newOutstanding(4)
	size := len(frames(t, &probe, &intake{}))
	for cut := range size + 1 {
		s := session{calls: newOutstanding(4), state: ready}
		in := intake{expect: expect, tally: newTally()}
		b := frames(t, &s, &in)
		n, out, err := s.take(b[:cut], 50, &in, nil)
		if err == nil {
			_, out, err = s.take(b[n:], 60, &in, out)
		}
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if in.ok != 1 || in.errors[wire.ResourceExhausted] != 1 || in.calls() != 2 || in.unasked != 1 || in.seen != 4 ||
			in.notifications != 2 || in.requests != 1 || s.reason != "sys.closing rate_limited" || s.calls.live != 0 {
			t.Fatalf("cut at %d: %+v, session %+v", cut, in.tally, s)
		}
		var m wire.Message
		if err := m.Parse(out[wire.HeaderLen:], 100); err != nil || m.Kind != wire.Response || m.ID != 77 ||
			wire.ParseError(m.Err).Code != wire.Unimplemented {
			t.Fatalf("cut at %d: the server's call was answered %x (%v)", cut, out, err)
		}
	}
}

func TestSessionRefusesGarbage(t *testing.T) {
	for name, b := range map[string][]byte{
		"length 0":         {0, 0, 0, 0},
		"length over max":  {1, 0, 0, 0},
		"not a message":    {0, 0, 0, 1, 0xc0},
		"broken message":   {0, 0, 0, 2, 0x94, 0x01},
		"unknown kind":     {0, 0, 0, 4, 0x93, 0x07, 0xa0, 0x90},
		"bytes after it":   {0, 0, 0, 6, 0x94, 0x01, 0x00, 0xc0, 0xc0, 0xc0},
		"reserved 0xc1":    {0, 0, 0, 5, 0x94, 0x01, 0x00, 0xc0, 0xc1},
		"HTTP, not frames": []byte("HTTP/1.1 400 Bad Request\r\n"),
	} {
		s := session{calls: newOutstanding(1), state: ready}
		in := intake{tally: newTally()}
		if _, _, err := s.take(b, 1, &in, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
