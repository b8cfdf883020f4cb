package rpctest_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gameserverd/internal/future"
	"gameserverd/internal/rpc"
	"gameserverd/internal/rpctest"
	"gameserverd/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs methods that depend on a goroutine, which works when it gets
// something through release.
func start(t *testing.T) (s *rpctest.Server, release chan int64) {
	t.Helper()
	release = make(chan int64)
	return rpctest.New(t, func(s *rpctest.Server) []rpc.Method {
		elsewhere := func() *future.Future[int64] {
			f := future.New[int64]()
			go func() { f.Resolve(<-release) }()
			return f
		}
		encode := func(out []byte, v int64) ([]byte, error) { return wire.AppendInt(out, v), nil }
		return []rpc.Method{
			{Name: "later", Public: true, Async: func(c *rpc.Call, _ *rpc.Args) (rpc.Pending, error) {
				return rpc.Await(future.Map(elsewhere(), c, func(v int64) (int64, error) { return v + 1, nil }), encode), nil
			}},
			{Name: "blocking", Public: true, Blocking: func(c *rpc.Call, _ *rpc.Args) (func([]byte) ([]byte, error), error) {
				return func(out []byte) ([]byte, error) {
					// What the method waits for is done by the loop.
					v, err := future.Map(future.Resolved(int64(1)), c, func(v int64) (int64, error) { return v + 1, nil }).Wait(context.Background())
					return wire.AppendInt(out, v), err
				}, nil
			}},
			{Name: "time", Public: true, Sync: func(c *rpc.Call, _ *rpc.Args, out []byte) ([]byte, error) {
				return wire.AppendInt(out, c.Now().Sub(rpctest.Start).Nanoseconds()), nil
			}},
			{Name: "login", Public: true, Async: func(c *rpc.Call, _ *rpc.Args) (rpc.Pending, error) {
				return rpc.Await(c.Login(7), func(out []byte, _ struct{}) ([]byte, error) { return wire.AppendNil(out), nil }), nil
			}},
		}
	}), release
}

func TestCallWaitsForOtherGoroutinesAndNoTimePasses(t *testing.T) {
	s, release := start(t)
	c := s.Connect()
	for v := range int64(100) {
		go func() { release <- v }()
		var got int64
		if c.Must(&got, "later"); got != v+1 {
			t.Errorf("got %d, want %d", got, v+1)
		}
	}
	var passed int64
	if c.Must(&passed, "time"); passed != 0 || s.Now() != rpctest.Start {
		t.Errorf("%v have passed", time.Duration(passed))
	}
}

func TestAwait(t *testing.T) {
	s, release := start(t)
	a, b := s.Connect(), s.Connect()
	first, second := a.Go("later"), b.Go("later")
	if answer, ok := a.Answer(first); ok {
		t.Fatalf("answered %v before anything was released", answer)
	}
	release <- 1
	release <- 1
	for _, answer := range []rpctest.Answer{b.Await(second), a.Await(first)} {
		if answer.Err != nil || string(answer.Result) != "\x02" {
			t.Errorf("got %+v", answer)
		}
	}
}

func TestBlockingMethodMayWaitForTheLoop(t *testing.T) {
	s, _ := start(t)
	c := s.Connect()
	id := c.Go("blocking") // when this returns, it has ended
	if answer, ok := c.Answer(id); !ok || answer.Err != nil || string(answer.Result) != "\x02" {
		t.Errorf("got %+v, %v", answer, ok)
	}
}

func TestBoundAndUnbound(t *testing.T) {
	s, _ := start(t)
	online := make(map[uint64]int)
	s.Bound = func(uid uint64) { online[uid]++ }
	s.Unbound = func(uid uint64) { online[uid]-- }
	c := s.Connect()
	c.Must(nil, "login")
	if online[7] != 1 {
		t.Errorf("online: %v", online)
	}
	c.Close()
	if online[7] != 0 {
		t.Errorf("online after the end: %v", online)
	}
}

func TestWaitRunsWhatIsPosted(t *testing.T) {
	s, _ := start(t)
	n := 0
	for range 100 {
		go s.Loop().AddCallback(func() { n++ })
	}
	s.Wait("all callbacks", func() bool { return n == 100 })
}
