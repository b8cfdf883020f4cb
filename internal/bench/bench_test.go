package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gameserverd/internal/cli"
	"gameserverd/wire"
)

// measure runs o with a deadline that only a hanging test meets.
func measure(t *testing.T, o Options) *Result {
	t.Helper()
	res, err := try(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func try(t *testing.T, o Options) (*Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	o.JSON = cli.AppendJSON
	res, err := Run(ctx, o, nil)
	if ctx.Err() != nil {
		t.Fatalf("the run took 30 s: %+v, %v", res, err)
	}
	return res, err
}

// ended is how many calls of the window have an end that is counted.
func ended(r *Result) uint64 { return r.Answered + r.Lost + r.Unanswered }

func TestEveryCallOfATotalIsMadeAndCounted(t *testing.T) {
	for _, c := range []struct{ conns, loops, depth int }{{1, 1, 1}, {5, 2, 7}, {3, 3, 64}} {
		s := serve(t, sum)
		res := measure(t, Options{Addr: s.addr, Connections: c.conns, Loops: c.loops, Depth: c.depth, Total: 1000, Warmup: -1, Expect: value("3")})
		if res.Answered != 1000 || res.OK != 1000 || s.called("sum") != 1000 || res.Interrupted {
			t.Errorf("%+v: %d calls came, result %+v", c, s.called("sum"), res)
		}
		if string(res.FirstResult) != "3" || res.Latency.P50 <= 0 || res.Latency.Max < res.Latency.P999 || res.Throughput <= 0 || res.CPUSeconds <= 0 {
			t.Errorf("%+v: %+v", c, res)
		}
	}
}

func TestDepthBoundsWhatIsOutstanding(t *testing.T) {
	const depth = 8
	var held []uint32
	s := serve(t, func(p *peer, m *wire.Message) error {
		// Holds back until it has all that may be outstanding, then answers in another order.
		if held = append(held, m.ID); len(held) < depth {
			return nil
		}
		slices.Reverse(held)
		for _, id := range held {
			if err := p.result(id, 3); err != nil {
				return err
			}
		}
		held = held[:0]
		return nil
	})
	res := measure(t, Options{Addr: s.addr, Connections: 1, Depth: depth, Total: depth * 100, Warmup: -1})
	if res.OK != depth*100 {
		t.Errorf("%+v", res)
	}
}

func TestWarmupDoesNotCount(t *testing.T) {
	s := serve(t, sum)
	res := measure(t, Options{Addr: s.addr, Connections: 2, Total: 100, Warmup: 50 * time.Millisecond})
	if res.Answered != 100 || s.called("sum") <= 100 {
		t.Errorf("%d answers counted, %d calls made", res.Answered, s.called("sum"))
	}
}

func TestOpenLoopSendsWhenDue(t *testing.T) {
	const calls = 100
	var held []uint32
	s := serve(t, func(p *peer, m *wire.Message) error {
		// No answer before all have come: a closed loop would stop at its depth.
		if held = append(held, m.ID); len(held) < calls {
			return nil
		}
		for _, id := range held {
			if err := p.result(id, 3); err != nil {
				return err
			}
		}
		return nil
	})
	res := measure(t, Options{Addr: s.addr, Connections: 1, Rate: 1000, Total: calls, Warmup: -1})
	if res.OK != calls || res.LatencyFrom != "due" || res.NotSent != 0 {
		t.Errorf("%+v", res)
	}
	// The first was due 99 ms before the last was.
	if res.Latency.Max < 98_000 {
		t.Errorf("the longest latency is %.0f µs, though the first call waited 99 ms", res.Latency.Max)
	}
}

func TestOpenLoopCountsFromWhenCallsWereDue(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(p *peer, m *wire.Message) error {
		<-release
		return p.result(m.ID, 3)
	})
	var once sync.Once
	o := Options{Addr: s.addr, Connections: 1, Depth: 1, Rate: 1000, Total: 100, Warmup: -1}
	res, err := Run(context.Background(), o, func(p Progress) { once.Do(func() { close(release) }) })
	if err != nil {
		t.Fatal(err)
	}
	// All were due in the first 100 ms, and the first answer came after a second. Only the first was sent before it.
	if res.OK != 100 || res.Latency.Min < 850_000 {
		t.Errorf("%d answered, the shortest latency %.0f µs", res.OK, res.Latency.Min)
	}
}

func TestOpenLoopTellsWhatWasNotSent(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(p *peer, m *wire.Message) error {
		<-release
		return p.result(m.ID, 3)
	})
	var once sync.Once
	o := Options{Addr: s.addr, Connections: 2, Depth: 3, Rate: 1000, Duration: 200 * time.Millisecond, Warmup: -1}
	res, err := Run(context.Background(), o, func(p Progress) {
		if p.Phase == phaseAnswers { // so the window is over
			once.Do(func() { close(release) })
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Answered != 6 || res.NotSent != 194 {
		t.Errorf("%d answered, %d not sent; want 6 and 194", res.Answered, res.NotSent)
	}
}

func TestErrorsAreCountedByCode(t *testing.T) {
	s := serve(t, func(p *peer, m *wire.Message) error {
		switch p.calls % 4 {
		case 0:
			return p.frame(func(b []byte) []byte {
				return wire.AppendErrorResponse(b, m.ID, wire.Errorf(wire.ResourceExhausted, "slow down"))
			})
		case 1:
			return p.frame(func(b []byte) []byte {
				return wire.AppendErrorResponse(b, m.ID, wire.Errorf(wire.NotFound, "no such thing"))
			})
		}
		return p.result(m.ID, int64(p.calls%4))
	})
	res := measure(t, Options{Addr: s.addr, Connections: 1, Total: 400, Warmup: -1, Expect: value("3")})
	if res.OK != 100 || res.Wrong != 100 || res.Errors["resource_exhausted"] != 100 || res.Errors["not_found"] != 100 || res.Answered != 400 {
		t.Errorf("%+v", res)
	}
	if res.FirstError != "not_found: no such thing" || string(res.FirstWrong) != "2" || string(res.FirstResult) != "3" {
		t.Errorf("first error %q, wrong %s, result %s", res.FirstError, res.FirstWrong, res.FirstResult)
	}
}

func TestAClosedConnectionIsExplainedAndTheOthersGoOn(t *testing.T) {
	s := serve(t, func(p *peer, m *wire.Message) error {
		if p.calls < 20 || p.number == 3 {
			return sum(p, m)
		}
		if p.number == 1 { // says why
			if err := p.frame(func(b []byte) []byte {
				return wire.AppendClosing(b, wire.Closing{Code: wire.RateLimited, Message: "too fast", Reconnect: true})
			}); err != nil {
				return err
			}
		}
		return errHangUp
	})
	res := measure(t, Options{Addr: s.addr, Connections: 3, Depth: 4, Total: 5000, Warmup: -1})
	if ended(res) != 5000 || res.Lost == 0 || res.Lost > 8 || res.Unanswered != 0 || res.Interrupted {
		t.Errorf("%+v", res)
	}
	said, silent := 0, 0
	for why, n := range res.Closed {
		if why == "sys.closing rate_limited" {
			said += n
		} else if strings.Contains(why, "without sys.closing") {
			silent += n
		}
	}
	if said != 1 || silent != 1 || len(res.Failed) != 0 {
		t.Errorf("closed: %v, failed: %v", res.Closed, res.Failed)
	}
}

func TestWithoutConnectionsTheRunEndsEarly(t *testing.T) {
	s := serve(t, func(p *peer, m *wire.Message) error {
		if p.calls == 10 {
			return errHangUp
		}
		return sum(p, m)
	})
	for _, rate := range []float64{0, 5000} {
		res := measure(t, Options{Addr: s.addr, Connections: 2, Rate: rate, Depth: 1, Duration: time.Hour, Warmup: -1})
		if res.Answered != 18 || res.Lost != 2 || !res.Interrupted || len(res.Closed) == 0 || res.Seconds > 60 {
			t.Errorf("rate %v: %+v", rate, res)
		}
	}
}

func TestGarbageEndsOnlyThatConnection(t *testing.T) {
	s := serve(t, func(p *peer, m *wire.Message) error {
		if p.number == 1 {
			_, err := p.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			return err
		}
		return sum(p, m)
	})
	res := measure(t, Options{Addr: s.addr, Connections: 2, Total: 50, Warmup: -1})
	if ended(res) != 50 || res.Lost != 1 || res.OK != 49 {
		t.Errorf("%+v", res)
	}
	for why := range res.Closed {
		if !strings.Contains(why, "protocol error") {
			t.Errorf("closed: %q", why)
		}
	}
}

func TestAServerThatSpeaksFirst(t *testing.T) {
	s := serveGreeting(t, func(p *peer) error {
		if p.number == 2 {
			return errHangUp
		}
		return p.frame(func(b []byte) []byte { return wire.AppendArray(wire.AppendNotification(b, "hello"), 0) })
	}, sum)
	res := measure(t, Options{Addr: s.addr, Connections: 30, Total: 1000, Warmup: -1})
	if ended(res) != 1000 || res.Notifications != 29 || len(res.Failed)+len(res.Closed) != 1 {
		t.Errorf("%+v", res)
	}
}

func TestLoginComesFirstOnEachConnection(t *testing.T) {
	var mu sync.Mutex
	var tokens []string
	s := serve(t, func(p *peer, m *wire.Message) error {
		if string(m.Method) != "auth.login" {
			return sum(p, m)
		}
		if p.calls != 1 {
			t.Errorf("auth.login is call %d of connection %d", p.calls, p.number)
		}
		r := wire.NewReader(m.Params)
		if _, err := r.Array(); err != nil {
			return err
		}
		token, err := r.String()
		if err != nil {
			return err
		}
		mu.Lock()
		tokens = append(tokens, token)
		mu.Unlock()
		if token == "dev:2" {
			return p.frame(func(b []byte) []byte {
				return wire.AppendErrorResponse(b, m.ID, wire.Errorf(wire.Unauthenticated, "banned"))
			})
		}
		return p.frame(func(b []byte) []byte { return wire.AppendMap(wire.AppendResult(b, m.ID), 0) })
	})
	res := measure(t, Options{Addr: s.addr, Connections: 200, Loops: 2, Login: "dev:{i}", Total: 1000, Warmup: -1, Expect: value("3")})
	if res.OK != 1000 || res.Failed["login: unauthenticated: banned"] != 1 || len(res.Failed) != 1 || len(res.Closed) != 0 {
		t.Errorf("%+v", res)
	}
	mu.Lock()
	slices.Sort(tokens)
	if distinct := slices.Compact(slices.Clone(tokens)); len(tokens) != 200 || len(distinct) != 200 ||
		!slices.Contains(tokens, "dev:1") || !slices.Contains(tokens, "dev:200") {
		t.Errorf("%d tokens: %v", len(tokens), tokens)
	}
	mu.Unlock()
	if _, err := try(t, Options{Addr: s.addr, Connections: 2, Login: "dev:2"}); err == nil || !strings.Contains(err.Error(), "banned") {
		t.Errorf("no connection could log in: %v", err)
	}
}

func TestTheServersCallsAreAnswered(t *testing.T) {
	var mu sync.Mutex
	answers := 0
	s := serve(t, func(p *peer, m *wire.Message) error {
		if m.Kind == wire.Response {
			mu.Lock()
			defer mu.Unlock()
			if e := wire.ParseError(m.Err); m.ID == 9 && e != nil && e.Code == wire.Unimplemented {
				answers++
			}
			return nil
		}
		if err := p.frame(func(b []byte) []byte {
			return wire.AppendArray(wire.AppendRequest(b, 9, "duel.offer"), 0)
		}); err != nil {
			return err
		}
		if err := p.frame(func(b []byte) []byte {
			return wire.AppendArray(wire.AppendNotification(b, "room.said"), 0)
		}); err != nil {
			return err
		}
		return sum(p, m)
	})
	res := measure(t, Options{Addr: s.addr, Connections: 1, Total: 30, Warmup: -1})
	mu.Lock()
	defer mu.Unlock()
	// The last answer to us may still be on its way when the run is over.
	if res.OK != 30 || res.Requests != 30 || res.Notifications != 30 || answers < 29 {
		t.Errorf("%d answered, %+v", answers, res)
	}
}

func TestUnansweredCallsAreCounted(t *testing.T) {
	s := serve(t, func(p *peer, m *wire.Message) error {
		if p.calls > 5 {
			return nil
		}
		return sum(p, m)
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	phases := map[string]bool{}
	res, err := Run(ctx, Options{Addr: s.addr, Connections: 1, Depth: 3, Duration: time.Hour, Warmup: -1}, func(p Progress) {
		phases[p.Phase] = true
		cancel() // as Ctrl-C does; the answers are still waited for
	})
	if err != nil {
		t.Fatal(err)
	}
	if res.Answered != 5 || res.Unanswered != 3 || !res.Interrupted || !phases[phaseMeasuring] || res.Seconds > 60 {
		t.Errorf("phases %v, %+v", phases, res)
	}
}

func TestCancelWhileConnecting(t *testing.T) {
	s := serve(t, func(*peer, *wire.Message) error { return nil }) // never answers auth.login
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var said string
	_, err := Run(ctx, Options{Addr: s.addr, Connections: 100, Login: "dev:{i}"}, func(p Progress) {
		said = p.String()
		cancel()
	})
	if err == nil || !strings.Contains(err.Error(), "while connecting") || said != "connecting: 0 of 100 ready, 0 failed" {
		t.Errorf("error %v, progress %q", err, said)
	}
}

func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	_, err = try(t, Options{Addr: addr, Connections: 3})
	if err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), addr) {
		t.Errorf("the error is %v", err)
	}
	if _, err := try(t, Options{Addr: "nonsense"}); err == nil {
		t.Error("an address without port was accepted")
	}
}

func TestParamsGoOutAsGiven(t *testing.T) {
	params := value(`["a",{"k":[1,2.5]}]`)
	s := serve(t, func(p *peer, m *wire.Message) error {
		if !bytes.Equal(m.Params, params) {
			return fmt.Errorf("params %x", m.Params)
		}
		return p.frame(func(b []byte) []byte { return append(wire.AppendResult(b, m.ID), m.Params...) })
	})
	res := measure(t, Options{Addr: s.addr, Connections: 1, Method: "echo", Params: params, Total: 10, Warmup: -1, Expect: value(`["a",{"k":[1,2.5]}]`)})
	if res.OK != 10 || string(res.FirstResult) != `["a",{"k":[1,2.5]}]` {
		t.Errorf("%+v", res)
	}
}
