package handlers_test

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	authHandlers "gameserverd/internal/handlers/auth"
	"gameserverd/internal/handlers/duel"
	"gameserverd/internal/handlers/room"
	"gameserverd/internal/rpc"
	"gameserverd/internal/rpctest"
	"gameserverd/wire"
)

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
		if m.Durable {
			access += " durable"
		}
		if m.Doc == "" {
			t.Errorf("%s has no doc", m.Name)
		}
		got = append(got, m.Name+access)
	}
	want := []string{
		"auth.login public", "auth.logout public", "duel.challenge login concurrent", "echo public",
		"mail.claim login durable", "mail.list login", "player.get login", "player.rename login durable",
		"rank.around login", "rank.submit login durable", "rank.top login", "room.join login", "room.leave login", "room.say login",
		"save.delete login durable", "save.get login", "save.list login", "save.put login durable",
		"shop.buy login durable", "shop.list login", "sum public", "sys.methods public", "sys.ping public concurrent", "sys.time public concurrent",
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
	before := s.stored()
	fails(t, c, rpc.FailedPrecondition, "log out first", "auth.login", "dev:8")
	if s.stored() != before {
		t.Error("a login that was refused has taken the player over")
	}
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
func challenge(t *testing.T, s *server) (one, two *rpctest.Client, call uint32, offer rpctest.Message) {
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
		end   func(s *server, two *rpctest.Client, offer uint32)
		code  wire.Code
		words string
	}{
		{"no answer", func(s *server, _ *rpctest.Client, _ uint32) { s.Advance(10 * time.Second) },
			rpc.DeadlineExceeded, "player 2 did not answer in time"},
		{"gone", func(_ *server, two *rpctest.Client, _ uint32) { two.Close() },
			rpc.FailedPrecondition, "player 2 is not online"},
		{"no method", func(_ *server, two *rpctest.Client, id uint32) {
			two.Reply(id, nil, rpc.Errorf(rpc.Unimplemented, "what?"))
		}, rpc.Unimplemented, "has no duel.offer"},
		{"wrong type", func(_ *server, two *rpctest.Client, id uint32) { two.Reply(id, "yes", nil) },
			rpc.Aborted, "did not answer true or false"},
		{"error", func(_ *server, two *rpctest.Client, id uint32) {
			two.Reply(id, nil, rpc.Errorf(rpc.Internal, "injected words"))
		}, rpc.Aborted, "did not answer true or false"},
		{"an error that looks like one of the server", func(_ *server, two *rpctest.Client, id uint32) { // which would wake somebody
			two.Reply(id, nil, rpc.Errorf(rpc.Unavailable, "injected words"))
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
