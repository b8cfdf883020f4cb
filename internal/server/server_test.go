package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/client"
	"gameserverd/internal/handlers"
	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

func TestEveryShippedMethodAnswersOverARealSocket(t *testing.T) {
	s := start(t, testConfig(t.TempDir()), nil)
	ctx := testContext(t)
	c := s.login(7)
	var sum int64
	if err := c.Call(ctx, "sum", &sum, 1, 2); err != nil || sum != 3 {
		t.Errorf("sum: %d %v", sum, err)
	}
	if err := c.Call(ctx, "sum", &sum, int64(1)<<62, int64(1)<<62); client.CodeOf(err) != wire.OutOfRange {
		t.Errorf("sum over the top: %v", err)
	}
	odd := wire.Raw{0x93, 0xcd, 0, 1, 0xd9, 1, 'x', 0xc3} // widths that no encoder would choose
	var echoed wire.Raw
	if err := c.Call(ctx, "echo", &echoed, odd); err != nil || !bytes.Equal(echoed, odd) {
		t.Errorf("echo is not byte for byte: %x %v", echoed, err)
	}
	var ms int64
	if err := c.Call(ctx, "sys.time", &ms); err != nil || time.Since(time.UnixMilli(ms)).Abs() > time.Minute {
		t.Errorf("sys.time: %d %v", ms, err)
	}
	var methods []rpc.MethodInfo
	if err := c.Call(ctx, "sys.methods", &methods); err != nil || len(methods) < 11 {
		t.Errorf("sys.methods: %v %v", methods, err)
	}
	var player struct {
		UID  uint64 `msgpack:"uid"`
		Name string `msgpack:"name"`
		Gold int64  `msgpack:"gold"`
	}
	if err := c.Call(ctx, "player.get", &player); err != nil || player.UID != 7 || player.Name != "player7" || player.Gold != 100 {
		t.Errorf("player.get: %+v %v", player, err)
	}
}

func TestDebugLevelLogsEveryCall(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	s, err := New(testConfig(t.TempDir()), zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { _, err := s.Run(); ended <- err }()
	c, err := client.Dial(testContext(t), s.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Call(testContext(t), "sum", nil, 1, 2)
	c.Call(testContext(t), "sum", nil, 1)
	s.Shutdown("the test is over")
	if err := <-ended; err != nil {
		t.Error(err)
	}
	calls := logs.FilterMessage("call").All()
	if len(calls) != 2 || calls[0].ContextMap()["method"] != "sum" || calls[1].ContextMap()["code"] != "invalid_argument" {
		t.Errorf("logged %v", calls)
	}
}

func TestListensOnSeveralAddresses(t *testing.T) {
	cfg := testConfig(t.TempDir())
	socket := filepath.Join(t.TempDir(), "game.sock")
	cfg.Listen.TCP = []string{"127.0.0.1:0", "[::1]:0", "unix:" + socket}
	s := start(t, cfg, nil)
	for _, addr := range s.Addrs() {
		c, err := client.Dial(testContext(t), addr)
		if err != nil {
			t.Errorf("%s: %v", addr, err)
			continue
		}
		var sum int
		if err := c.Call(testContext(t), "sum", &sum, 1, 2); err != nil || sum != 3 {
			t.Errorf("%s: %d %v", addr, sum, err)
		}
		c.Close()
	}
}

func TestNewLeavesNothingOpenWhenItFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := testConfig(t.TempDir())
	cfg.Listen.TCP = []string{"127.0.0.1:0", taken.Addr().String()}
	if s, err := New(cfg, start(t, testConfig(t.TempDir()), nil).log); err == nil {
		s.release()
		t.Fatal("bound an address that is taken")
	}
	cfg.Listen.TCP = cfg.Listen.TCP[:1]
	cfg.Listen.Admin = taken.Addr().String()
	if s, err := New(cfg, start(t, testConfig(t.TempDir()), nil).log); err == nil {
		s.release()
		t.Fatal("bound an admin address that is taken")
	} // what is left open fails TestMain
}

func TestReadinessTellsTheTruth(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Listen.Admin = "127.0.0.1:0"
	hold := make(chan struct{})
	s := start(t, cfg, only(blocking("hold", func(*rpc.Call) error { <-hold; return nil })))
	status := func(path string) int {
		resp, err := http.Get("http://" + s.AdminAddr() + path)
		if err != nil {
			return 0
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp.StatusCode
	}
	defer http.DefaultClient.CloseIdleConnections()
	eventually(t, "ready", func() bool { return status("/readyz") == 200 })
	c := s.dial()
	pending := c.Go(testContext(t), "hold", nil)
	eventually(t, "the call is under way", func() bool { return s.peers.Underway() == 1 })
	s.Shutdown("test")
	eventually(t, "not ready", func() bool { return status("/readyz") == 503 })
	if status("/healthz") != 200 {
		t.Error("a draining process is not healthy")
	}
	close(hold)
	<-pending.Done()
	if pending.Err() != nil {
		t.Error("a call that was under way when the drain began got", pending.Err())
	}
	if !s.drain().Clean {
		t.Error("the drain was not clean")
	}
}

// While 30 clients call without pause the server drains: every call that was
// acknowledged has run, every one that ran was acknowledged, and every other is
// told unavailable.
func TestDrainUnderLoadLosesNoAcknowledgedCall(t *testing.T) {
	var ran atomic.Int64
	s := start(t, testConfig(t.TempDir()), func(p *handlers.Parts) []rpc.Method {
		return []rpc.Method{blocking("work", func(*rpc.Call) error { ran.Add(1); return nil })}
	})
	var answered, refused atomic.Int64
	var calling sync.WaitGroup
	begun := make(chan struct{}, 1000)
	for uid := range uint64(30) {
		c := s.login(uid+1, client.WithoutReconnect())
		calling.Go(func() {
			for i := 0; ; i++ {
				err := c.Call(context.Background(), "work", nil)
				switch client.CodeOf(err) {
				case "":
					answered.Add(1)
				case wire.Unavailable:
					refused.Add(1)
					return
				default:
					t.Errorf("uid %d: %v", uid+1, err)
					return
				}
				if i == 20 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range 30 {
		<-begun
	}
	report := s.drain()
	calling.Wait()
	if !report.Clean || len(report.Abandoned) != 0 {
		t.Errorf("the drain was cut: %+v", report)
	}
	if ran.Load() != answered.Load() || refused.Load() != 30 {
		t.Errorf("%d calls ran, %d were acknowledged, %d clients were told unavailable", ran.Load(), answered.Load(), refused.Load())
	}
}

func TestDrainCutByTheDeadlineNamesWhatItAbandons(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Shutdown.Deadline = 300 * time.Millisecond
	s := start(t, cfg, only(blocking("hang", func(c *rpc.Call) error { <-c.Context().Done(); return c.Context().Err() })),
		"call abandoned")
	c := s.login(7, client.WithoutReconnect())
	pending := c.Go(testContext(t), "hang", nil)
	eventually(t, "the call is under way", func() bool { return s.peers.Underway() == 1 })
	report := s.drain()
	if report.Clean || len(report.Abandoned) != 1 || report.Abandoned[0].Method != "hang" || report.Abandoned[0].UID != 7 {
		t.Errorf("report %+v", report)
	}
	if n := s.logs.FilterMessage("call abandoned").Len(); n != 1 {
		t.Errorf("%d abandoned calls in the log", n)
	}
	<-pending.Done()
	if pending.Err() == nil {
		t.Error("an abandoned call was answered")
	}
}

func TestSlowHandlerIsLoggedWithMethodAndUID(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Loop.SlowCallback = 20 * time.Millisecond
	release := make(chan struct{})
	s := start(t, cfg, only(rpc.Method{Name: "stall", Sync: func(_ *rpc.Call, _ *rpc.Args, out []byte) ([]byte, error) {
		<-release // what no plain method may do
		return wire.AppendNil(out), nil
	}}), "slow callback")
	c := s.login(7)
	pending := c.Go(testContext(t), "stall", nil)
	eventually(t, "the stall is logged", func() bool { return s.logs.FilterMessage("slow callback").Len() > 0 })
	close(release)
	<-pending.Done()
	fields := s.logs.FilterMessage("slow callback").All()[0].ContextMap()
	if fields["method"] != "stall" || fields["uid"] != uint64(7) {
		t.Errorf("logged as %v", fields)
	}
}

func TestSlowConsumerIsClosedAndNobodyElseSuffers(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Limits.MaxWriteBufferBytes = 64 << 10
	s := start(t, cfg, nil)
	deaf, err := net.Dial("tcp", s.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	send := func(method string, params ...any) {
		b := wire.AppendRequest(wire.BeginFrame(nil), 1, method)
		b = wire.AppendArray(b, len(params))
		for _, p := range params {
			b, _ = wire.AppendAny(b, p)
		}
		wire.EndFrame(b, 0)
		if _, err := deaf.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	send("auth.login", "dev:1")
	send("room.join", "hall") // and reads nothing from here on
	talker := s.login(2)
	ctx := testContext(t)
	if err := talker.Call(ctx, "room.join", nil, "hall"); err != nil {
		t.Fatal(err)
	}
	text := string(bytes.Repeat([]byte("x"), 1000))
	for s.peers.Counters.Closed()[wire.SlowConsumer] == 0 {
		if err := talker.Call(ctx, "room.say", nil, "hall", text); err != nil {
			t.Fatal(err)
		}
	}
}

// Logins move connections between loops while requests are on their way; nothing
// is lost, doubled or reordered.
func TestLoginMovesUnderPipelinedLoad(t *testing.T) {
	s := start(t, testConfig(t.TempDir()), nil)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	var all sync.WaitGroup
	for i := range 60 {
		uid, cut := uint64(i+1), rng.IntN(200)+1
		all.Go(func() {
			if err := pipelinedLogin(s.Addrs()[0], uid, cut); err != nil {
				t.Errorf("uid %d, cut %d: %v", uid, cut, err)
			}
		})
	}
	all.Wait()
}

// pipelinedLogin sends a login and 200 sums in pieces of cut bytes and checks
// that the answers come in order.
func pipelinedLogin(addr string, uid uint64, cut int) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	const sums = 200
	var out []byte
	frame := func(id int, method string, params ...any) {
		b := wire.AppendArray(wire.AppendRequest(wire.BeginFrame(nil), uint32(id), method), len(params))
		for _, p := range params {
			b, _ = wire.AppendAny(b, p)
		}
		wire.EndFrame(b, 0)
		out = append(out, b...)
	}
	frame(0, "auth.login", fmt.Sprint("dev:", uid))
	for i := range sums {
		frame(i+1, "sum", i, int64(uid))
	}
	go func() {
		for len(out) > 0 {
			n, err := nc.Write(out[:min(cut, len(out))])
			if err != nil {
				return
			}
			out = out[n:]
		}
	}()
	for i := range sums + 1 {
		m, err := readMessage(nc)
		if err != nil {
			return fmt.Errorf("response %d: %w", i, err)
		}
		if m.Kind != wire.Response || int(m.ID) != i || wire.ParseError(m.Err) != nil {
			return fmt.Errorf("response %d is %v %d %x", i, m.Kind, m.ID, m.Err)
		}
		if i == 0 {
			continue
		}
		var sum int64
		if err := wire.Unmarshal(m.Result, &sum); err != nil || sum != int64(i-1)+int64(uid) {
			return fmt.Errorf("sum %d is %d: %v", i, sum, err)
		}
	}
	return nil
}

// readMessage reads one frame.
func readMessage(r io.Reader) (m wire.Message, err error) {
	header := make([]byte, wire.HeaderLen)
	if _, err := io.ReadFull(r, header); err != nil {
		return m, err
	}
	b := make([]byte, wire.FrameLen(header))
	if _, err := io.ReadFull(r, b); err != nil {
		return m, err
	}
	return m, m.Parse(b, wire.DefaultMaxElements)
}

func TestDuelOverRealClients(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Game.DuelTimeout = 200 * time.Millisecond
	s := start(t, cfg, nil)
	ctx := testContext(t)
	a, b, silent, deaf := s.login(1), s.login(2), s.login(3), s.login(4)
	_ = deaf // has no duel.offer
	b.Handle("duel.offer", func(r *client.Request) (any, error) { return true, nil })
	never := make(chan struct{})
	silent.Handle("duel.offer", func(r *client.Request) (any, error) { <-never; return false, nil })
	defer close(never)
	var answer struct {
		Accepted bool `msgpack:"accepted"`
	}
	if err := a.Call(ctx, "duel.challenge", &answer, 2); err != nil || !answer.Accepted {
		t.Errorf("accepted: %v %v", answer, err)
	}
	for uid, code := range map[uint64]wire.Code{
		3: wire.DeadlineExceeded, 4: wire.Unimplemented, 99: wire.FailedPrecondition, 1: wire.InvalidArgument,
	} {
		if err := a.Call(ctx, "duel.challenge", &answer, uid); client.CodeOf(err) != code {
			t.Errorf("challenge of %d: %v, want %s", uid, err, code)
		}
	}
}

func TestClientReconnectsToTheNextDaemon(t *testing.T) {
	cfg := testConfig(t.TempDir())
	socket := filepath.Join(t.TempDir(), "game.sock")
	cfg.Listen.TCP = []string{"unix:" + socket}
	first := start(t, cfg, nil)
	c := first.login(7, client.WithBackoff(time.Millisecond, 10*time.Millisecond),
		client.WithJitter(func(time.Duration) time.Duration { return 0 }))
	first.drain()
	start(t, cfg, nil)
	var player struct {
		UID uint64 `msgpack:"uid"`
	}
	if err := c.Call(testContext(t), "player.get", &player); err != nil || player.UID != 7 {
		t.Errorf("after a restart: %+v %v", player, err)
	}
}
