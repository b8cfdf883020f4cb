package handlers_test

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"gameserverd/internal/game"
	"gameserverd/internal/handlers/player"
	"gameserverd/internal/handlers/shop"
	"gameserverd/internal/rpc"
	"gameserverd/internal/rpctest"
	"gameserverd/wire"
)

// has holds what a player has.
func has(t *testing.T, c *rpctest.Client, gold int64, items map[string]int64) {
	t.Helper()
	var p player.Player
	if c.Must(&p, "player.get"); p.Gold != gold || !reflect.DeepEqual(p.Items, items) {
		t.Errorf("the player has %d gold and %v, want %d and %v", p.Gold, p.Items, gold, items)
	}
}

func TestShop(t *testing.T) { onStores(t, testShop) }

func testShop(t *testing.T, s *server) {
	c := login(t, s, 7)
	var offers []shop.Offer
	if c.Must(&offers, "shop.list"); !slices.Equal(offers, []shop.Offer{{Item: "sword", Price: 30}, {Item: "potion", Price: 7}}) {
		t.Errorf("the shop sells %v", offers)
	}
	for _, test := range []struct {
		item  string
		count int64
		want  shop.Purse
	}{
		{"sword", 2, shop.Purse{Gold: 40, Items: map[string]int64{"sword": 2}}},
		{"potion", 1, shop.Purse{Gold: 33, Items: map[string]int64{"sword": 2, "potion": 1}}},
		{"sword", 1, shop.Purse{Gold: 3, Items: map[string]int64{"sword": 3, "potion": 1}}},
	} {
		var got shop.Purse
		if c.Must(&got, "shop.buy", test.item, test.count); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%d of %s: %+v, want %+v", test.count, test.item, got, test.want)
		}
		has(t, c, test.want.Gold, test.want.Items)
	}
	fails(t, c, rpc.FailedPrecondition, "not enough gold", "shop.buy", "potion", 1)
	has(t, login(t, s.restart(0), 7), 3, map[string]int64{"sword": 3, "potion": 1})
}

func TestShopRefusals(t *testing.T) { onStores(t, testShopRefusals) }

func testShopRefusals(t *testing.T, s *server) {
	c := login(t, s, 7)
	c.Must(nil, "shop.buy", "potion", 1)
	before := s.everything()
	for _, test := range []struct {
		item, count any
		code        wire.Code
		words       string
	}{
		{"sword", 4, rpc.FailedPrecondition, "not enough gold: 4 of sword cost 30 each, and 93 is there"},
		{"sword", int64(math.MaxInt64), rpc.FailedPrecondition, "not enough gold"},
		{"sword", 614891469123651721, rpc.FailedPrecondition, "not enough gold"}, // 30 of it are 14 in 64 bits
		{"sword", 0, rpc.InvalidArgument, "count must be 1 or more, got 0"},
		{"sword", -1, rpc.InvalidArgument, "count must be 1 or more, got -1"},
		{"sword", int64(math.MinInt64), rpc.InvalidArgument, "count must be 1 or more"},
		{"sword", uint64(math.MaxUint64), rpc.InvalidArgument, "count must be an integer"},
		{"sword", 1.5, rpc.InvalidArgument, "count must be an integer"},
		{"sword", "1", rpc.InvalidArgument, "count must be an integer"},
		{"sword", nil, rpc.InvalidArgument, "count must be an integer"},
		{"axe", 1, rpc.NotFound, `the shop has no item "axe": it sells sword, potion`},
		{"Sword", 1, rpc.NotFound, "no item"},
		{"", 1, rpc.NotFound, "no item"},
		{"sword' OR '1'='1", 1, rpc.NotFound, "no item"},
		{"\xff", 1, rpc.InvalidArgument, "item must be valid UTF-8"},
		{7, 1, rpc.InvalidArgument, "item must be a string"},
	} {
		fails(t, c, test.code, test.words, "shop.buy", test.item, test.count)
	}
	fails(t, c, rpc.InvalidArgument, "takes 2 params (item, count), got 1", "shop.buy", "sword")
	if after := s.everything(); !reflect.DeepEqual(after, before) {
		t.Errorf("refused purchases changed %v into %v", before, after)
	}
	has(t, c, 93, map[string]int64{"potion": 1})
}

func TestShopSellsNoMoreThanOneCanHave(t *testing.T) { onStores(t, testShopSellsNoMoreThanOneCanHave) }

func testShopSellsNoMoreThanOneCanHave(t *testing.T, s *server) {
	c := login(t, s, 7)
	s.send(7, game.Mail{ID: 1, Title: "all of them", Items: map[string]int64{"potion": game.MaxCount - 1}})
	c.Must(nil, "mail.claim", 1)
	before := s.everything()
	fails(t, c, rpc.OutOfRange, `item "potion"`, "shop.buy", "potion", 2)
	if after := s.everything(); !reflect.DeepEqual(after, before) {
		t.Errorf("a refused purchase changed %v into %v", before, after)
	}
	c.Must(nil, "shop.buy", "potion", 1)
	has(t, c, 93, map[string]int64{"potion": game.MaxCount})
}

// Calls that are sent without waiting are made one after the other.
func TestShopPipelined(t *testing.T) { onStores(t, testShopPipelined) }

func testShopPipelined(t *testing.T, s *server) {
	c := login(t, s, 7)
	var calls []uint32
	for range 10 {
		calls = append(calls, c.Go("shop.buy", "sword", 1))
	}
	for i, id := range calls {
		answer := c.Await(id)
		if i < 3 && answer.Err != nil {
			t.Errorf("purchase %d: %v", i, answer.Err)
		} else if i >= 3 {
			wantError(t, answer.Result, answer.Err, rpc.FailedPrecondition, "not enough gold")
		}
	}
	has(t, c, 10, map[string]int64{"sword": 3})
}
