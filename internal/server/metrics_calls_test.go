package server

import (
	"testing"

	"gameserverd/internal/future"
	"gameserverd/internal/metrics"
	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// The name that scripts and other programs rely on has every call once, by its method
// and code, and those of no method under one name.
func TestCallsHaveTheirFixedName(t *testing.T) {
	s := start(t, measured(t), only(
		plain("t.ok", func(*rpc.Call) error { return nil }),
		plain("t.wrong", func(*rpc.Call) error { return rpc.Errorf(rpc.InvalidArgument, "no") }),
	))
	c := s.raw("127.0.0.1")
	for i, method := range []string{"t.ok", "t.ok", "t.wrong", "t.none", "t.none2"} {
		c.request(uint32(i+1), method)
		c.next()
	}
	got := map[string]float64{}
	eventually(t, "all are counted", func() bool {
		clear(got)
		sum := 0.0
		for _, m := range s.scrape()["gameserverd_rpc_calls_total"].GetMetric() {
			method, code := "", ""
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "method":
					method = l.GetValue()
				case "code":
					code = l.GetValue()
				default:
					t.Fatalf("a label %s", l)
				}
			}
			got[method+" "+code] += m.GetCounter().GetValue()
			sum += m.GetCounter().GetValue()
		}
		return sum == 5
	})
	for series, want := range map[string]float64{
		"t.ok ok": 2, "t.ok internal": 0, "t.wrong ok": 0, "t.wrong internal": 0, "t.wrong invalid_argument": 1, "unknown unimplemented": 2, "player.get ok": 0,
	} {
		if n, there := got[series]; !there || n != want {
			t.Errorf("%s: %v, want %v", series, n, want)
		}
	}
	if metrics.NoMethod != rpc.UnknownMethod {
		t.Errorf("%s is a name that a method may have", metrics.NoMethod)
	}
}

// How long a method takes that waits for a client is told apart from what the server
// takes.
func TestMethodsThatWaitAreMarked(t *testing.T) {
	waits := rpc.Method{Name: "t.waits", Public: true, Waits: true, Async: func(*rpc.Call, *rpc.Args) (rpc.Pending, error) {
		return rpc.Await(future.Resolved(struct{}{}), func(out []byte, _ struct{}) ([]byte, error) { return wire.AppendNil(out), nil }), nil
	}}
	s := start(t, measured(t), only(waits, plain("t.ok", func(*rpc.Call) error { return nil })))
	c := s.raw("127.0.0.1")
	for i, method := range []string{"t.ok", "t.waits"} {
		c.request(uint32(i+1), method)
		c.next()
	}
	var p page
	eventually(t, "both are counted", func() bool {
		p = s.scrape()
		return p.sum(metrics.CallRun, "t.ok") == 1 && p.sum(metrics.CallRun, "t.waits", metrics.WaitsClient) == 1
	})
	if p.sum(metrics.CallRun, "t.ok", metrics.WaitsClient) != -1 || p.sum(metrics.CallRun, "duel.challenge", metrics.WaitsClient) != 0 {
		t.Error("not those that wait are marked")
	}
}
