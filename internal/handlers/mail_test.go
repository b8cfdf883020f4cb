package handlers_test

import (
	"math"
	"reflect"
	"testing"
	"time"

	"gameserverd/internal/game"
	"gameserverd/internal/handlers/mail"
	"gameserverd/internal/rpc"
	"gameserverd/internal/rpctest"
	"gameserverd/wire"
)

// box is what mail.list says.
func box(t *testing.T, c *rpctest.Client) []mail.Mail {
	t.Helper()
	var list []mail.Mail
	c.Must(&list, "mail.list")
	return list
}

func TestMail(t *testing.T) { onStores(t, testMail) }

func testMail(t *testing.T, s *server) {
	c := login(t, s, 7)
	if list := box(t, c); list == nil || len(list) != 0 {
		t.Errorf("a new player has the mail %v", list)
	}
	sent := s.Now().UnixMilli()
	s.send(7, game.Mail{ID: 5, Title: "Für dich!", Gold: 50, Items: map[string]int64{"medal": 2}})
	received(t, c, "mail.arrived(5, Für dich!)")
	s.Advance(time.Second)
	s.send(7, game.Mail{ID: 3, Title: "hello"})
	received(t, c, "mail.arrived(3, hello)")
	want := []mail.Mail{
		{ID: 5, Title: "Für dich!", Gold: 50, Items: map[string]int64{"medal": 2}, SentMS: sent, ExpiresMS: sent + mailTime.Milliseconds()},
		{ID: 3, Title: "hello", Items: map[string]int64{}, SentMS: sent + 1000, ExpiresMS: sent + 1000 + mailTime.Milliseconds()},
	}
	if got := box(t, c); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	var purse mail.Purse
	if c.Must(&purse, "mail.claim", 5); !reflect.DeepEqual(purse, mail.Purse{Gold: 150, Items: map[string]int64{"medal": 2}}) {
		t.Errorf("claimed: %+v", purse)
	}
	want[0].Claimed = true
	for range 2 {
		if got := box(t, c); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		has(t, c, 150, map[string]int64{"medal": 2})
		fails(t, c, rpc.FailedPrecondition, "mail 5 has been claimed already", "mail.claim", 5)
		s = s.restart(time.Second)
		c = login(t, s, 7)
	}
	if c.Must(&purse, "mail.claim", 3); purse.Gold != 150 {
		t.Errorf("claimed a mail with nothing in it: %+v", purse)
	}
	received(t, c) // what had come before is no news
}

func TestMailToSomebodyWhoIsAway(t *testing.T) { onStores(t, testMailToSomebodyWhoIsAway) }

func testMailToSomebodyWhoIsAway(t *testing.T, s *server) {
	login(t, s, 7).Close()
	other := login(t, s, 8)
	s.send(7, game.Mail{ID: 1, Title: "hello", Gold: 5})
	s.Advance(time.Minute)
	c := login(t, s, 7)
	if list := box(t, c); len(list) != 1 || list[0].Title != "hello" {
		t.Errorf("got %+v", list)
	}
	received(t, c)
	received(t, other)
	if list := box(t, other); len(list) != 0 {
		t.Errorf("another player has the mail %+v", list)
	}
	fails(t, other, rpc.NotFound, "there is no mail 1", "mail.claim", 1)
}

func TestMailSentTwiceIsOne(t *testing.T) { onStores(t, testMailSentTwiceIsOne) }

func testMailSentTwiceIsOne(t *testing.T, s *server) {
	c := login(t, s, 7)
	for i := range int64(3) {
		m := game.Mail{ID: i + 1, Title: "daily", Gold: 5, SentMS: s.Now().UnixMilli(), ExpiresMS: s.Now().Add(mailTime).UnixMilli()}
		if first := wait(s, s.players.SendMail(7, m, "daily:2026-01-02")); first != (i == 0) {
			t.Errorf("sending %d: %v", i, first)
		}
	}
	received(t, c, "mail.arrived(1, daily)")
	if list := box(t, c); len(list) != 1 {
		t.Errorf("got %+v", list)
	}
}

func TestMailExpires(t *testing.T) { onStores(t, testMailExpires) }

func testMailExpires(t *testing.T, s *server) {
	c := login(t, s, 7)
	s.send(7, game.Mail{ID: 1, Title: "one", Gold: 5})
	s.send(7, game.Mail{ID: 2, Title: "two", Gold: 5})
	c.Must(nil, "mail.claim", 2)
	s.Advance(mailTime - time.Millisecond)
	if list := box(t, c); len(list) != 2 {
		t.Errorf("just before: %+v", list)
	}
	before := s.everything()
	for range 2 { // also when it was loaded after that
		s.Advance(time.Millisecond)
		if list := box(t, c); len(list) != 0 {
			t.Errorf("expired, and still there: %+v", list)
		}
		fails(t, c, rpc.NotFound, "there is no mail 1, or it has expired", "mail.claim", 1)
		fails(t, c, rpc.NotFound, "there is no mail 2, or it has expired", "mail.claim", 2)
		if after := s.everything(); !reflect.DeepEqual(after["players"], before["players"]) || !reflect.DeepEqual(after["claims"], before["claims"]) {
			t.Errorf("refused claims changed %v into %v", before, after)
		}
		s = s.restart(0)
		c = login(t, s, 7)
		before = s.everything()
	}
	has(t, c, 105, map[string]int64{})
}

func TestMailRefusals(t *testing.T) { onStores(t, testMailRefusals) }

func testMailRefusals(t *testing.T, s *server) {
	c := login(t, s, 7)
	s.send(7, game.Mail{ID: 1, Title: "too much gold", Gold: game.MaxCount})
	s.send(7, game.Mail{ID: 2, Title: "too many", Gold: 1, Items: map[string]int64{"medal": game.MaxCount}})
	s.send(7, game.Mail{ID: 3, Title: "a medal", Items: map[string]int64{"medal": 1}})
	c.Must(nil, "mail.claim", 3)
	before := s.everything()
	for _, test := range []struct {
		id    any
		code  wire.Code
		words string
	}{
		{1, rpc.OutOfRange, "gold: 100 and 9007199254740991 more"},
		{2, rpc.OutOfRange, `item "medal"`},
		{3, rpc.FailedPrecondition, "claimed already"},
		{4, rpc.NotFound, "there is no mail 4"},
		{0, rpc.NotFound, "there is no mail 0"},
		{-1, rpc.NotFound, "there is no mail -1"},
		{int64(math.MaxInt64), rpc.NotFound, "there is no mail"},
		{uint64(math.MaxUint64), rpc.InvalidArgument, "id must be an integer"},
		{"1", rpc.InvalidArgument, "id must be an integer"},
		{"1 OR 1=1", rpc.InvalidArgument, "id must be an integer"},
		{1.0, rpc.InvalidArgument, "id must be an integer"},
		{nil, rpc.InvalidArgument, "id must be an integer"},
	} {
		fails(t, c, test.code, test.words, "mail.claim", test.id)
	}
	fails(t, c, rpc.InvalidArgument, "takes 1 param (id), got 0", "mail.claim")
	fails(t, c, rpc.InvalidArgument, "takes no params", "mail.list", 1)
	if after := s.everything(); !reflect.DeepEqual(after, before) {
		t.Errorf("refused claims changed %v into %v", before, after)
	}
	has(t, c, 100, map[string]int64{"medal": 1})
	// What did not fit can be claimed when it does.
	c.Must(nil, "shop.buy", "sword", 3)
	c.Must(nil, "shop.buy", "potion", 1)
	fails(t, c, rpc.OutOfRange, "gold: 3 and", "mail.claim", 1)
}

// However often it is sent, on however many connections, a claim is made once.
func TestMailIsClaimedOnce(t *testing.T) { onStores(t, testMailIsClaimedOnce) }

func testMailIsClaimedOnce(t *testing.T, s *server) {
	c := login(t, s, 7)
	s.send(7, game.Mail{ID: 1, Title: "gold", Gold: 50})
	c.Received()
	for range 5 { // each time the answer is lost with the connection
		c.Go("mail.claim", 1)
		c.Close()
		c = login(t, s, 7)
	}
	won := 0
	var calls []uint32
	for range 5 {
		calls = append(calls, c.Go("mail.claim", 1))
	}
	for _, id := range calls {
		answer := c.Await(id)
		if answer.Err == nil {
			won++
		} else {
			wantError(t, answer.Result, answer.Err, rpc.FailedPrecondition, "claimed already")
		}
	}
	if won > 1 {
		t.Errorf("claimed %d times", won)
	}
	if list := box(t, c); len(list) != 1 || !list[0].Claimed {
		t.Errorf("the list does not tell of the claim: %+v", list)
	}
	has(t, c, 150, map[string]int64{})
	has(t, login(t, s.restart(0), 7), 150, map[string]int64{})
}
