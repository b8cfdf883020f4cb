package game

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gameserverd/wire"
)

func shop(t *testing.T, entries ...string) *Shop {
	t.Helper()
	s, err := ParseShop(entries)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParseShop(t *testing.T) {
	long := strings.Repeat("x", 64)
	s := shop(t, "sword:120", "a.b-c_9:1", long+":9007199254740991")
	want := []Item{{"sword", 120}, {"a.b-c_9", 1}, {long, MaxCount}}
	if got := s.Items(); !slices.Equal(got, want) {
		t.Errorf("it sells %v, want %v", got, want)
	}
	s.Items()[0].Price = 0
	if got := s.Items(); got[0].Price != 120 {
		t.Error("the shop's items can be changed by who reads them")
	}
	if got := shop(t).Items(); len(got) != 0 {
		t.Errorf("an empty shop sells %v", got)
	}
	for _, entry := range []string{
		"", ":", "sword", "sword:", ":5", "sword:x", "sword:-1", "sword:0", "sword:1.5", "sword:1:2", "sword:9007199254740992",
		"sword:99999999999999999999", " sword:5", "sword :5", "sword: 5", "Sword:5", "a b:5", "schwért:5", long + "x:5", "'; --:5",
	} {
		_, err := ParseShop([]string{"good:1", entry})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q: want item:price", entry)) {
			t.Errorf("%q: %v", entry, err)
		}
	}
	_, err := ParseShop([]string{"sword:5", "sword:6", "x"})
	if err == nil || !strings.Contains(err.Error(), `"sword:6": the item sword is sold already`) || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("two problems: %v", err)
	}
}

func TestBuy(t *testing.T) {
	s := shop(t, "potion:10", "sword:50", "castle:9007199254740991")
	p := Player{UID: 7, Gold: 100, Items: map[string]int64{"potion": 1}}
	before := p.Clone()
	for _, test := range []struct {
		item  string
		count int64
		gold  int64
		items map[string]int64
	}{
		{"potion", 1, 90, map[string]int64{"potion": 2}},
		{"sword", 1, 50, map[string]int64{"potion": 1, "sword": 1}},
		{"sword", 2, 0, map[string]int64{"potion": 1, "sword": 2}},
		{"potion", 10, 0, map[string]int64{"potion": 11}},
	} {
		got, err := s.Buy(p, test.item, test.count)
		if want := (Player{UID: 7, Gold: test.gold, Items: test.items}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d of %s: %+v (%v), want %+v", test.count, test.item, got, err, want)
		}
	}
	for _, test := range []struct {
		item  string
		count int64
		code  wire.Code
		words string
	}{
		{"sword", 3, wire.FailedPrecondition, "not enough gold: 3 of sword cost 50 each, and 100 is there"},
		{"castle", 1, wire.FailedPrecondition, "not enough gold"},
		{"castle", 2048, wire.FailedPrecondition, "not enough gold"}, // the product has 64 bits and looks negative
		{"castle", math.MaxInt64, wire.FailedPrecondition, "not enough gold"},
		{"potion", math.MaxInt64, wire.FailedPrecondition, "not enough gold"},
		{"potion", (1<<63)/5 + 1, wire.FailedPrecondition, "not enough gold"}, // the product is over 2^64 by a little
		{"sword", 0, wire.InvalidArgument, "count must be 1 or more, got 0"},
		{"sword", -1, wire.InvalidArgument, "count must be 1 or more, got -1"},
		{"sword", math.MinInt64, wire.InvalidArgument, "count must be 1 or more"},
		{"axe", 1, wire.NotFound, `no item "axe": it sells potion, sword, castle`},
		{"Sword", 1, wire.NotFound, `no item "Sword"`},
		{"", 0, wire.NotFound, `no item ""`},
	} {
		_, err := s.Buy(p, test.item, test.count)
		refused(t, err, test.code, test.words)
	}
	rich := Player{Gold: MaxCount, Items: map[string]int64{"potion": MaxCount}}
	_, err := s.Buy(rich, "potion", 1)
	refused(t, err, wire.OutOfRange, `item "potion"`)
	if !reflect.DeepEqual(p, before) || rich.Gold != MaxCount {
		t.Errorf("buying changed the player it was given: %+v, %+v", p, rich)
	}
	_, err = shop(t).Buy(p, "sword", 1)
	refused(t, err, wire.NotFound, "it sells nothing")
}

func TestBuyNamesNoMoreItemsThanPeopleRead(t *testing.T) {
	var entries []string
	for i := range 1000 {
		entries = append(entries, fmt.Sprintf("item%d:1", i))
	}
	_, err := shop(t, entries...).Buy(Player{}, "x", 1)
	refused(t, err, wire.NotFound, "item19, ...")
	if n := len(err.Error()); n > 300 {
		t.Errorf("the error has %d bytes", n)
	}
}
