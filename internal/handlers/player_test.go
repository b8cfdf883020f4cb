package handlers_test

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"gameserverd/internal/game"
	"gameserverd/internal/handlers/player"
	"gameserverd/internal/handlers/rank"
	"gameserverd/internal/rpc"
	"gameserverd/internal/rpctest"
)

func TestPlayerBeginsWithTheFirstLogin(t *testing.T) { onStores(t, testPlayerBeginsWithTheFirstLogin) }

func testPlayerBeginsWithTheFirstLogin(t *testing.T, s *server) {
	c := login(t, s, 7)
	want := map[string]any{
		"uid": int64(7), "name": "player7", "level": int64(1), "gold": int64(100),
		"items": map[string]any{}, "created_ms": rpctest.Start.UnixMilli(),
	}
	for range 3 {
		var got any
		if c.Must(&got, "player.get"); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		c.Close()
		s.Advance(linger + time.Minute) // forgotten, and read again
		c = login(t, s, 7)
	}
	var got any
	if login(t, s.restart(0), 7).Must(&got, "player.get"); !reflect.DeepEqual(got, want) {
		t.Errorf("after a restart %v, want %v", got, want)
	}
}

func TestPlayerOfTheLargestUID(t *testing.T) { onStores(t, testPlayerOfTheLargestUID) }

func testPlayerOfTheLargestUID(t *testing.T, s *server) {
	var p player.Player
	login(t, s, math.MaxUint64).Must(&p, "player.get")
	login(t, s.restart(0), math.MaxUint64).Must(&p, "player.get")
	if p.UID != math.MaxUint64 || p.Name != "player18446744073709551615" {
		t.Errorf("got %+v", p)
	}
}

// renamed renames and holds that the result and player.get say so.
func renamed(t *testing.T, c *rpctest.Client, name string) {
	t.Helper()
	var answered, got player.Player
	c.Must(&answered, "player.rename", name)
	if c.Must(&got, "player.get"); got.Name != name || !reflect.DeepEqual(got, answered) {
		t.Errorf("renamed to %q: %+v, then %+v", name, answered, got)
	}
}

func TestRename(t *testing.T) { onStores(t, testRename) }

func testRename(t *testing.T, s *server) {
	one, two := login(t, s, 1), login(t, s, 2)
	for _, name := range []string{
		"Alice", "ALICE", "alice", "Alice", "x", strings.Repeat("🐉", 24), "O'Brien", "DROP TABLE names", "%_", "Алиса", "Alice",
	} {
		renamed(t, one, name)
	}
	taken := func(s *server, c *rpctest.Client, names ...string) {
		t.Helper()
		before := s.everything()
		for _, name := range names {
			fails(t, c, rpc.AlreadyExists, fmt.Sprintf("the name %q is taken", name), "player.rename", name)
		}
		if after := s.everything(); !reflect.DeepEqual(after, before) {
			t.Errorf("refused renames changed %v into %v", before, after)
		}
	}
	stored := s.stored()
	one.Must(nil, "player.rename", "Alice")
	if s.stored() != stored {
		t.Error("to rename to the name that one has was a change")
	}
	taken(s, two, "Alice", "aLICE", " alice ", "Ａlice", "al\u200bice")
	renamed(t, two, "x") // which one has given up
	taken(s, one, "X")

	// What is stored holds after a restart, too.
	s = s.restart(0)
	one, two = login(t, s, 1), login(t, s, 2)
	taken(s, one, "x", "X")
	taken(s, two, "alice")
	renamed(t, one, "Bob")
	renamed(t, two, "alice")
}

// A name that is taken is refused by a read: nothing has to be stored for it.
func TestTakenNameCostsNoCommit(t *testing.T) { onStores(t, testTakenNameCostsNoCommit) }

func testTakenNameCostsNoCommit(t *testing.T, s *server) {
	login(t, s, 1).Must(nil, "player.rename", "Alice")
	c := login(t, s, 2)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.group.Close(ctx); err != nil {
		t.Fatal(err)
	}
	fails(t, c, rpc.AlreadyExists, "is taken", "player.rename", "ALICE")
	fails(t, c, rpc.Unavailable, "", "player.rename", "Bob")
}

func TestDefaultNamesAreNotForOthers(t *testing.T) { onStores(t, testDefaultNamesAreNotForOthers) }

func testDefaultNamesAreNotForOthers(t *testing.T, s *server) {
	c := login(t, s, 7)
	before := s.everything()
	for _, name := range []string{"player8", "Player9", "PLAYER0", "player007", "ｐlayer8"} {
		fails(t, c, rpc.AlreadyExists, "is taken", "player.rename", name)
	}
	if after := s.everything(); !reflect.DeepEqual(after, before) {
		t.Errorf("refused renames changed %v into %v", before, after)
	}
	renamed(t, c, "Player7")
	renamed(t, c, "other")
	renamed(t, c, "player7")
	other := login(t, s, 8)
	renamed(t, other, "other")
	fails(t, other, rpc.AlreadyExists, "is taken", "player.rename", "player7")
}

func TestRenameRefusesBadNames(t *testing.T) { onStores(t, testRenameRefusesBadNames) }

func testRenameRefusesBadNames(t *testing.T, s *server) {
	c := login(t, s, 7)
	renamed(t, c, "Alice")
	before := s.everything()
	for _, test := range []struct {
		name  any
		words string
	}{
		{"", "name must have 1 to 24 characters, got 0"},
		{strings.Repeat("x", 25), "name must have 1 to 24 characters, got 25"},
		{strings.Repeat("x", 500_000), "name must have 1 to 24 characters, got 500000"},
		{"a\x00b", "no control characters"},
		{"a\nb", "no control characters"},
		{"\u202eecila", "no control characters"},
		{"\u200b", "can be seen"},
		{"a\xffb", "name must be valid UTF-8"},
		{[]byte{0xc3, 0x28}, "name must be valid UTF-8"},
		{7, "name must be a string, got integer"},
		{nil, "name must be a string, got nil"},
		{true, "name must be a string"},
		{[]any{"Bob"}, "name must be a string, got array"},
		{map[string]any{"name": "Bob"}, "name must be a string, got map"},
	} {
		fails(t, c, rpc.InvalidArgument, test.words, "player.rename", test.name)
	}
	fails(t, c, rpc.InvalidArgument, "takes 1 param (name), got 0", "player.rename")
	fails(t, c, rpc.InvalidArgument, "takes 1 param (name), got 2", "player.rename", "a", "b")
	if after := s.everything(); !reflect.DeepEqual(after, before) {
		t.Errorf("refused renames changed %v into %v", before, after)
	}
}

// However many want a name at the same time, one gets it.
func TestRenameRace(t *testing.T) { onStores(t, testRenameRace) }

func testRenameRace(t *testing.T, s *server) {
	const n = 8
	var clients []*rpctest.Client
	for uid := range uint64(n) {
		clients = append(clients, login(t, s, uid+1))
	}
	for round := range 20 {
		var calls []uint32
		for i, c := range clients {
			name := fmt.Sprintf("Name %d", round)
			if i%2 == 1 {
				name = strings.ToUpper(name)
			}
			calls = append(calls, c.Go("player.rename", name))
		}
		won := 0
		for i, c := range clients {
			answer := c.Await(calls[i])
			if answer.Err == nil {
				won++
			} else {
				wantError(t, answer.Result, answer.Err, rpc.AlreadyExists, "is taken")
			}
		}
		if won != 1 {
			t.Errorf("round %d: %d players have the name", round, won)
		}
	}
}

func TestBoardsShowTheNameNow(t *testing.T) { onStores(t, testBoardsShowTheNameNow) }

func testBoardsShowTheNameNow(t *testing.T, s *server) {
	c := login(t, s, 7)
	c.Must(nil, "rank.submit", "main", 5)
	name := func(s *server, want string) {
		t.Helper()
		var rows []rank.Row
		if login(t, s, 8).Must(&rows, "rank.top", "main", 1); len(rows) != 1 || rows[0].Name != want {
			t.Errorf("the board has %+v, want the name %q", rows, want)
		}
	}
	name(s, "player7")
	for _, want := range []string{"Alice", "ALICE"} {
		c.Must(nil, "player.rename", want)
		name(s, want)
	}
	fails(t, c, rpc.AlreadyExists, "taken", "player.rename", "player8")
	name(s, "ALICE")
	name(s.restart(0), "ALICE")
}

func TestPlayerHasWhatWasGiven(t *testing.T) { onStores(t, testPlayerHasWhatWasGiven) }

func testPlayerHasWhatWasGiven(t *testing.T, s *server) {
	c := login(t, s, 7)
	s.send(7, game.Mail{ID: 1, Title: "hello", Gold: 5, Items: map[string]int64{"medal": 2}})
	c.Must(nil, "mail.claim", 1)
	var p player.Player
	if c.Must(&p, "player.get"); p.Gold != 105 || !reflect.DeepEqual(p.Items, map[string]int64{"medal": 2}) {
		t.Errorf("got %+v", p)
	}
}
