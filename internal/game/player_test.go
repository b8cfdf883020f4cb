package game

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"gameserverd/wire"
)

// refused holds that err is one for the client, with a code and the words in its
// message.
func refused(t *testing.T, err error, code wire.Code, words string) {
	t.Helper()
	var known *wire.Error
	if !errors.As(err, &known) || known.Code != code || !strings.Contains(known.Message, words) {
		t.Errorf("got the error %v, want %s: ... %s ...", err, code, words)
	}
}

func TestNewPlayer(t *testing.T) {
	now := time.UnixMilli(1234)
	want := Player{UID: 7, Name: "player7", Level: 1, Gold: 100, Created: now}
	if got := NewPlayer(7, 100, now); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	p := Player{UID: 7, Items: map[string]int64{"sword": 1}}
	q := p.Clone()
	q.Items["sword"] = 2
	q.UID = 8
	if p.Items["sword"] != 1 || p.UID != 7 {
		t.Errorf("a change of the copy changed %+v", p)
	}
}

func TestPay(t *testing.T) {
	p := Player{UID: 7, Gold: 100, Items: map[string]int64{"sword": 1}}
	for _, gold := range []int64{0, 1, 99, 100} {
		got, err := p.Pay(gold)
		if err != nil || got.Gold != 100-gold || got.Items["sword"] != 1 || got.UID != 7 {
			t.Errorf("after paying %d: %+v, %v", gold, got, err)
		}
	}
	for _, gold := range []int64{101, math.MaxInt64} {
		_, err := p.Pay(gold)
		refused(t, err, wire.FailedPrecondition, "not enough gold")
	}
	for _, gold := range []int64{-1, math.MinInt64} {
		_, err := p.Pay(gold)
		refused(t, err, wire.InvalidArgument, "0 or more")
	}
}

func TestGive(t *testing.T) {
	p := Player{UID: 7, Gold: 100, Items: map[string]int64{"sword": 1}}
	got, err := p.Give(5, map[string]int64{"sword": 2, "potion": 3, "nothing": 0})
	want := Player{UID: 7, Gold: 105, Items: map[string]int64{"sword": 3, "potion": 3}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	if got, err := (Player{}).Give(MaxCount, map[string]int64{"sword": MaxCount}); err != nil || got.Gold != MaxCount || got.Items["sword"] != MaxCount {
		t.Errorf("the most that fits: %+v, %v", got, err)
	}
	before := p.Clone()
	for _, test := range []struct {
		gold  int64
		items map[string]int64
		code  wire.Code
		words string
	}{
		{MaxCount - 99, nil, wire.OutOfRange, "gold: 100 and"},
		{math.MaxInt64, nil, wire.OutOfRange, "gold"},
		{0, map[string]int64{"potion": 1, "sword": MaxCount}, wire.OutOfRange, `item "sword"`},
		{0, map[string]int64{"sword": math.MaxInt64}, wire.OutOfRange, `item "sword"`},
		{-1, nil, wire.InvalidArgument, "gold"},
		{1, map[string]int64{"sword": -1}, wire.InvalidArgument, `item "sword"`},
		{1, map[string]int64{"sword": math.MinInt64}, wire.InvalidArgument, `item "sword"`},
	} {
		_, err := p.Give(test.gold, test.items)
		refused(t, err, test.code, test.words)
	}
	if !reflect.DeepEqual(p, before) {
		t.Errorf("refused gifts changed %+v into %+v", before, p)
	}
}

// valid holds the invariant of a player's counts.
func valid(t *testing.T, p Player) {
	t.Helper()
	if p.Gold < 0 || p.Gold > MaxCount {
		t.Fatalf("gold is %d", p.Gold)
	}
	for item, n := range p.Items {
		if n < 1 || n > MaxCount {
			t.Fatalf("%d of %q", n, item)
		}
	}
}

// Whatever is bought and claimed, in whatever amounts: what is gone from the gold
// is the price of what was bought, what came is what the mails had, and what was
// refused changed nothing.
func TestGoldAndItemsAreConserved(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	shop, err := ParseShop([]string{"nail:1", "sword:50", "castle:9007199254740991", "potion:7"})
	if err != nil {
		t.Fatal(err)
	}
	amount := func() int64 {
		switch r.IntN(4) {
		case 0:
			return r.Int64N(20) - 2
		case 1:
			return MaxCount - r.Int64N(20)
		case 2:
			return math.MaxInt64 - r.Int64N(20)
		}
		return r.Int64N(1000)
	}
	for range 200 {
		p := NewPlayer(7, r.Int64N(1000), time.Time{})
		gold, items := p.Gold, make(map[string]int64)
		for range 100 {
			before := p.Clone()
			var after Player
			var err error
			var paid int64
			got := make(map[string]int64)
			if r.IntN(2) == 0 {
				item, n := shop.items[r.IntN(len(shop.items))], amount()
				if after, err = shop.Buy(p, item.Name, n); err == nil {
					paid, got[item.Name] = item.Price*n, n
				}
			} else {
				m := Mail{ID: 1, Gold: r.Int64N(1000)}
				if n := amount(); n > 0 {
					m.Items = map[string]int64{"sword": n, "medal": 1}
				}
				if after, err = Claim(p, m); err == nil {
					paid, got = -m.Gold, m.Items
				}
			}
			if !reflect.DeepEqual(p, before) {
				t.Fatalf("the player before was changed from %+v to %+v", before, p)
			}
			if err != nil {
				continue
			}
			gold -= paid
			for item, n := range got {
				items[item] += n
			}
			p = after
			valid(t, p)
			if p.Gold != gold || len(p.Items) != len(items) {
				t.Fatalf("%+v, but the sums are %d gold and %v", p, gold, items)
			}
			for item, n := range items {
				if p.Items[item] != n {
					t.Fatalf("%+v, but the sums are %v", p, items)
				}
			}
		}
	}
}

// No amounts make a count that is not allowed, or a panic.
func FuzzBuyAndClaim(f *testing.F) {
	f.Add(int64(100), int64(1), int64(50), int64(1), int64(10), int64(3))
	f.Add(int64(MaxCount), int64(MaxCount), int64(1), int64(math.MaxInt64), int64(math.MaxInt64), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, gold, have, price, count, mailGold, mailItems int64) {
		if gold < 0 || gold > MaxCount || have < 1 || have > MaxCount || price < 1 || price > MaxCount {
			return // such a player or shop is not made
		}
		shop := &Shop{prices: map[string]int64{"sword": price}, items: []Item{{"sword", price}}}
		p := Player{UID: 7, Gold: gold, Items: map[string]int64{"sword": have}}
		if bought, err := shop.Buy(p, "sword", count); err == nil {
			valid(t, bought)
			if count < 1 || bought.Items["sword"]-have != count || (gold-bought.Gold)/price != count || (gold-bought.Gold)%price != 0 {
				t.Errorf("bought %d at %d: %+v became %+v", count, price, p, bought)
			}
		}
		if claimed, err := Claim(p, Mail{Gold: mailGold, Items: map[string]int64{"sword": mailItems}}); err == nil {
			valid(t, claimed)
			if claimed.Gold-gold != mailGold || claimed.Items["sword"]-have != mailItems {
				t.Errorf("claimed %d and %d: %+v became %+v", mailGold, mailItems, p, claimed)
			}
		}
	})
}
