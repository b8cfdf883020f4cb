package game

import (
	"errors"
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gameserverd/wire"
)

// Item is something that the shop sells.
type Item struct {
	Name  string // 1 to 64 of a-z 0-9 _ . -
	Price int64  // gold for one; 1 to MaxCount
}

// Shop is what is sold and for how much. It is immutable: Any goroutine.
type Shop struct {
	items  []Item           // in the order of the config
	prices map[string]int64 // by name
}

var itemName = regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`)

// ParseShop reads entries of the form "item:price". The error names every entry
// that is wrong.
func ParseShop(entries []string) (*Shop, error) {
	s := &Shop{prices: make(map[string]int64, len(entries))}
	var problems []error
	for _, entry := range entries {
		item, err := parseItem(entry)
		if _, twice := s.prices[item.Name]; err == nil && twice {
			err = fmt.Errorf("%q: the item %s is sold already", entry, item.Name)
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		s.items = append(s.items, item)
		s.prices[item.Name] = item.Price
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return s, nil
}

func parseItem(entry string) (Item, error) {
	name, digits, _ := strings.Cut(entry, ":")
	if !itemName.MatchString(name) {
		return Item{}, fmt.Errorf("%q: want item:price, where item is 1 to 64 characters of a-z, 0-9, _, . and -", entry)
	}
	price, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || price < 1 || price > MaxCount {
		return Item{}, fmt.Errorf("%q: want item:price, where price is an integer from 1 to %d", entry, int64(MaxCount))
	}
	return Item{name, price}, nil
}

// Items are what is sold, in the order of the config. The caller owns the slice.
func (s *Shop) Items() []Item { return slices.Clone(s.items) }

// Buy returns p with count of an item more and what they cost less. It is
// not_found if the item is not sold, invalid_argument for a count below 1,
// failed_precondition without the gold, and out_of_range if p would have more
// than MaxCount of it.
func (s *Shop) Buy(p Player, item string, count int64) (Player, error) {
	price, sold := s.prices[item]
	switch {
	case !sold:
		return Player{}, wire.Errorf(wire.NotFound, "the shop has no item %q: it sells %s", item, s.words())
	case count < 1:
		return Player{}, wire.Errorf(wire.InvalidArgument, "count must be 1 or more, got %d", count)
	}
	// What does not fit into 64 bits is more than anybody has, too.
	over, cost := bits.Mul64(uint64(price), uint64(count))
	if over > 0 || cost > uint64(p.Gold) {
		return Player{}, wire.Errorf(wire.FailedPrecondition, "not enough gold: %d of %s cost %d each, and %d is there", count, item, price, p.Gold)
	}
	p, err := p.Pay(int64(cost))
	if err != nil {
		return Player{}, err
	}
	return p.Give(0, map[string]int64{item: count})
}

// words names what is sold, for an error: not more than people read.
func (s *Shop) words() string {
	const most = 20
	var names []string
	for _, item := range s.items[:min(most, len(s.items))] {
		names = append(names, item.Name)
	}
	switch {
	case len(names) == 0:
		return "nothing"
	case len(s.items) > most:
		names = append(names, "...")
	}
	return strings.Join(names, ", ")
}
