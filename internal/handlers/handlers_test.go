package handlers_test

import (
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gameserverd/internal/auth"
	"gameserverd/internal/handlers"
	authHandlers "gameserverd/internal/handlers/auth"
	"gameserverd/internal/handlers/duel"
	"gameserverd/internal/handlers/room"
	"gameserverd/internal/rpc"
	"gameserverd/internal/rpctest"
	"gameserverd/internal/store"
	"gameserverd/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the game's own handlers.
func start(t *testing.T) *rpctest.Server {
	t.Helper()
	return rpctest.New(t, func(s *rpctest.Server) []rpc.Method {
		return handlers.Methods(&handlers.Parts{
			Peers: s.Peers, Rooms: s.Rooms, Registry: s.Registry,
			Verifier: auth.Dev{}, Players: store.NewMemory(100),
			Auth: authHandlers.Options{Heartbeat: 30 * time.Second},
			Duel: duel.Options{Timeout: 10 * time.Second},
			Room: room.Options{MaxTextBytes: 10},
		})
	})
}

// login connects a player.
func login(t *testing.T, s *rpctest.Server, uid uint64) *rpctest.Client {
	t.Helper()
	c := s.Connect()
	c.Must(nil, "auth.login", "dev:"+strconv.FormatUint(uid, 10))
	return c
}

// fails holds that a call fails with a code and a message that has the words.
func fails(t *testing.T, c *rpctest.Client, code wire.Code, words, method string, params ...any) {
	t.Helper()
	raw, err := c.Call(method, params...)
	wantError(t, raw, err, code, words)
}

func wantError(t *testing.T, raw rpc.Raw, err *rpc.Error, code wire.Code, words string) {
	t.Helper()
	if err == nil {
		t.Errorf("got the result %x, want %s: ... %s ...", raw, code, words)
	} else if err.Code != code || !strings.Contains(err.Message, words) {
		t.Errorf("got the error %q, want %s: ... %s ...", err, code, words)
	}
}

// received holds that a client got these messages since the last time.
func received(t *testing.T, c *rpctest.Client, want ...string) {
	t.Helper()
	var got []string
	for _, m := range c.Received() {
		got = append(got, m.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("received %q, want %q", got, want)
	}
}

func TestSum(t *testing.T) {
	c := start(t).Connect()
	const most, least = math.MaxInt64, math.MinInt64
	for _, test := range []struct{ x, y, sum int64 }{
		{1, 2, 3}, {-1, 1, 0}, {0, 0, 0}, {most, 0, most}, {0, least, least}, {most, least, -1}, {least, most, -1},
		{most - 1, 1, most}, {least + 1, -1, least}, {5, -5, 0}, {-3, -4, -7},
	} {
		var sum int64
		if c.Must(&sum, "sum", test.x, test.y); sum != test.sum {
			t.Errorf("%d + %d = %d, want %d", test.x, test.y, sum, test.sum)
		}
	}
	for _, test := range [][2]int64{{most, 1}, {1, most}, {least, -1}, {-1, least}, {most, most}, {least, least}} {
		fails(t, c, rpc.OutOfRange, "does not fit into 64 bits", "sum", test[0], test[1])
	}
	fails(t, c, rpc.InvalidArgument, "y must be an integer", "sum", 1, "2")
	fails(t, c, rpc.InvalidArgument, "takes 2 params (x, y), got 3", "sum", 1, 2, 3)
	fails(t, c, rpc.InvalidArgument, "x must be an integer", "sum", uint64(math.MaxUint64), 1)
}

func TestEchoIsByteForByte(t *testing.T) {
	c := start(t).Connect()
	for _, v := range []wire.Raw{
		{0xc0}, {0x00}, {0xd3, 0, 0, 0, 0, 0, 0, 0, 1}, // an integer in a wider form than it needs
		{0xdf, 0, 0, 0, 1, 0xda, 0, 1, 'k', 0xdd, 0, 0, 0, 0}, {0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1}, {0xd9, 0x02, 0xff, 0xfe},
	} {
		if got, err := c.Call("echo", v); err != nil || !slices.Equal(got, v) {
			t.Errorf("echo of %x is %x (%v)", v, got, err)
		}
	}
}

func TestSys(t *testing.T) {
	s := start(t)
	c := s.Connect()
	if got, err := c.Call("sys.ping"); err != nil || !slices.Equal(got, []byte{0xc0}) {
		t.Errorf("ping answers %x (%v), want nil", got, err)
	}
	s.Advance(1500 * time.Millisecond)
	var ms int64
	if c.Must(&ms, "sys.time"); ms != rpctest.Start.UnixMilli()+1500 {
		t.Errorf("the time is %d ms", ms)
	}
	var methods []rpc.MethodInfo
	c.Must(&methods, "sys.methods")
	var got []string
	for _, m := range methods {
		access := " login"
		if m.Public {
			access = " public"
		}
		if m.Concurrent {
			access += " concurrent"
		}
		if m.Doc == "" {
			t.Errorf("%s has no doc", m.Name)
		}
		got = append(got, m.Name+access)
	}
	want := []string{
		"auth.login public", "auth.logout public", "duel.challenge login concurrent", "echo public", "player.get login",
		"room.join login", "room.leave login", "room.say login",
		"sum public", "sys.methods public", "sys.ping public concurrent", "sys.time public concurrent",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the methods are %q, want %q", got, want)
	}
}

func TestLoginAndLogout(t *testing.T) {
	s := start(t)
	c := s.Connect()
	fails(t, c, rpc.Unauthenticated, "", "player.get")
	for _, token := range []string{"", "7", "dev:", "dev:0", "dev:-1", "dev:x", "dev:18446744073709551616", "jwt:7"} {
		fails(t, c, rpc.Unauthenticated, "auth.login: the token must be dev:<uid>", "auth.login", token)
	}
	var session authHandlers.Session
	c.Must(&session, "auth.login", "dev:18446744073709551615")
	if want := (authHandlers.Session{UID: math.MaxUint64, ServerTimeMS: rpctest.Start.UnixMilli(), HeartbeatMS: 30_000}); session != want {
		t.Errorf("got %+v, want %+v", session, want)
	}
	c.Must(&session, "auth.login", "dev:18446744073709551615")
	fails(t, c, rpc.FailedPrecondition, "log out first", "auth.login", "dev:8")
	c.Must(nil, "auth.logout")
	fails(t, c, rpc.Unauthenticated, "", "player.get")
	c.Must(nil, "auth.logout")
	c.Must(nil, "auth.login", "dev:8")
}

func TestNewestLoginWins(t *testing.T) {
	s := start(t)
	old := login(t, s, 7)
	login(t, s, 7).Must(nil, "player.get")
	if !old.Closed {
		t.Error("the older connection is still open")
	}
	if got := old.Received(); len(got) != 1 || got[0].Method != "sys.closing" || got[0].Params[0].(map[string]any)["code"] != wire.Replaced {
		t.Errorf("the older connection was told %v", got)
	}
}

func TestPlayerBeginsWithTheFirstLogin(t *testing.T) {
	s := start(t)
	c := login(t, s, 7)
	s.Advance(time.Hour)
	want := map[string]any{
		"uid": int64(7), "name": "player7", "level": int64(1), "gold": int64(100),
		"items": map[string]any{}, "created_ms": rpctest.Start.UnixMilli(),
	}
	for range 2 {
		var got any
		if c.Must(&got, "player.get"); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		c.Close()
		c = login(t, s, 7)
	}
}

func TestRoom(t *testing.T) {
	s := start(t)
	a, b := login(t, s, 1), login(t, s, 2)
	members := func(c *rpctest.Client) []uint64 {
		t.Helper()
		var got room.Members
		c.Must(&got, "room.join", "lobby")
		slices.Sort(got.Members)
		return got.Members
	}
	fails(t, a, rpc.FailedPrecondition, "only members can speak", "room.say", "lobby", "hi")
	if got := members(a); !slices.Equal(got, []uint64{1}) {
		t.Errorf("the first member sees %v", got)
	}
	if got := members(b); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("the second member sees %v", got)
	}
	members(b) // again: nobody is told
	s.Advance(time.Second)
	b.Must(nil, "room.say", "lobby", "hi")
	a.Must(nil, "room.leave", "lobby")
	a.Must(nil, "room.leave", "lobby")
	fails(t, a, rpc.FailedPrecondition, "only members can speak", "room.say", "lobby", "hi")
	members(a)
	a.Close()

	said := "room.said(lobby, 2, hi, " + strconv.FormatInt(rpctest.Start.UnixMilli()+1000, 10) + ")"
	received(t, a, "room.joined(lobby, 1)", "room.joined(lobby, 2)", said, "room.joined(lobby, 1)")
	received(t, b, "room.joined(lobby, 2)", said, "room.left(lobby, 1)", "room.joined(lobby, 1)", "room.left(lobby, 1)")
}

func TestRoomLimits(t *testing.T) {
	c := login(t, start(t), 1)
	long := strings.Repeat("ä", 64) // 64 characters, 128 bytes
	c.Must(nil, "room.join", long)
	for _, method := range []string{"room.join", "room.leave"} {
		fails(t, c, rpc.InvalidArgument, method+": room must have 1 to 64 characters, got 0", method, "")
		fails(t, c, rpc.InvalidArgument, method+": room must have 1 to 64 characters, got 65", method, long+"x")
	}
	fails(t, c, rpc.InvalidArgument, "room.say: room must have 1 to 64 characters", "room.say", "", "hi")
	fails(t, c, rpc.InvalidArgument, "room.say: text must have 1 to 10 bytes, got 0", "room.say", long, "")
	fails(t, c, rpc.InvalidArgument, "room.say: text must have 1 to 10 bytes, got 11", "room.say", long, "12345678901")
	c.Must(nil, "room.say", long, "1234567890")
}

// challenge begins a duel of 1 against 2 and returns the offer to 2.
func challenge(t *testing.T, s *rpctest.Server) (one, two *rpctest.Client, call uint32, offer rpctest.Message) {
	t.Helper()
	one, two = login(t, s, 1), login(t, s, 2)
	call = one.Go("duel.challenge", 2)
	got := two.Received()
	if len(got) != 1 || got[0].String() != "duel.offer(1)" || got[0].ID == 0 {
		t.Fatalf("the challenged player got %v, want one call of duel.offer(1)", got)
	}
	if answer, ok := one.Answer(call); ok {
		t.Fatalf("the challenge was answered with %v before the other player did", answer)
	}
	return one, two, call, got[0]
}

func TestDuelAnswers(t *testing.T) {
	for _, reply := range []any{true, false, nil} { // a client whose method returns nothing does not accept
		one, two, call, offer := challenge(t, start(t))
		one.Must(nil, "sys.ping")
		one.Must(nil, "sum", 1, 2) // the challenge does not hold up what comes after it
		two.Reply(offer.ID, reply, nil)
		answer, ok := one.Answer(call)
		var got duel.Answer
		if !ok || answer.Err != nil || wire.Unmarshal(answer.Result, &got) != nil || got.Accepted != (reply == true) {
			t.Errorf("answered %v, the challenger got %+v (%v)", reply, answer, ok)
		}
	}
}

func TestDuelRefusals(t *testing.T) {
	for _, test := range []struct {
		name  string
		end   func(s *rpctest.Server, two *rpctest.Client, offer uint32)
		code  wire.Code
		words string
	}{
		{"no answer", func(s *rpctest.Server, _ *rpctest.Client, _ uint32) { s.Advance(10 * time.Second) },
			rpc.DeadlineExceeded, "player 2 did not answer in time"},
		{"gone", func(_ *rpctest.Server, two *rpctest.Client, _ uint32) { two.Close() },
			rpc.FailedPrecondition, "player 2 is not online"},
		{"no method", func(_ *rpctest.Server, two *rpctest.Client, id uint32) {
			two.Reply(id, nil, rpc.Errorf(rpc.Unimplemented, "what?"))
		}, rpc.Unimplemented, "has no duel.offer"},
		{"wrong type", func(_ *rpctest.Server, two *rpctest.Client, id uint32) { two.Reply(id, "yes", nil) },
			rpc.Aborted, "did not answer true or false"},
		{"error", func(_ *rpctest.Server, two *rpctest.Client, id uint32) {
			two.Reply(id, nil, rpc.Errorf(rpc.Internal, "injected words"))
		}, rpc.Aborted, "did not answer true or false"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t)
			one, two, call, offer := challenge(t, s)
			test.end(s, two, offer.ID)
			answer, ok := one.Answer(call)
			if !ok {
				t.Fatal("the challenger got no answer")
			}
			wantError(t, answer.Result, answer.Err, test.code, test.words)
		})
	}
}

func TestDuelWithNobody(t *testing.T) {
	c := login(t, start(t), 1)
	fails(t, c, rpc.FailedPrecondition, "player 9 is not online", "duel.challenge", 9)
	fails(t, c, rpc.InvalidArgument, "uid 0 is nobody else", "duel.challenge", 0)
	fails(t, c, rpc.InvalidArgument, "uid 1 is nobody else", "duel.challenge", 1)
}

func TestDuelNeedsTime(t *testing.T) {
	s := start(t)
	one, two, call, offer := challenge(t, s)
	s.Advance(10*time.Second - 1)
	two.Reply(offer.ID, true, nil)
	if answer, ok := one.Answer(call); !ok || answer.Err != nil {
		t.Errorf("an answer just in time: %v (%v)", answer, ok)
	}
}
