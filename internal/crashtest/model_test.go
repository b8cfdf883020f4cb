package crashtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"gameserverd/client"
)

// The daemon's configuration, as far as the model has to know it.
const (
	startGold = 100
	shopEnv   = "GAMESERVERD_GAME_SHOP=potion:10,bomb:25,shield:60"
	board     = "main"
)

var prices = map[string]int64{"potion": 10, "bomb": 25, "shield": 60}

// letter is a mail of the test's own, which is in the database before the player's first login.
type letter struct {
	id, gold int64
	item     string // one of it; the shop does not sell it
}

// state is what the daemon should have stored of one player. It is a value: with makes a copy to change.
type state struct {
	name    string
	gold    int64
	items   map[string]int64
	saves   map[string]kept
	claimed map[int64]bool
	best    int64 // 0: no score yet; notRead: nobody looked
}

const notRead = -1

type kept struct {
	version int64
	value   string
}

func newState(uid uint64) *state {
	return &state{
		name: fmt.Sprintf("player%d", uid), gold: startGold,
		items: map[string]int64{}, saves: map[string]kept{}, claimed: map[int64]bool{},
	}
}

func (s *state) with(change func(*state)) *state {
	c := *s
	c.items, c.saves, c.claimed = maps.Clone(s.items), maps.Clone(s.saves), maps.Clone(s.claimed)
	change(&c)
	return &c
}

// purse and view are the answers of shop.buy and mail.claim, and of player.get and player.rename.
func (s *state) purse() string { return fmt.Sprintf("gold %d items %v", s.gold, s.items) }
func (s *state) view() string  { return fmt.Sprintf("name %q %s", s.name, s.purse()) }

// String has all of the state, so that equal texts are equal states.
func (s *state) String() string {
	return fmt.Sprintf("%s saves %s claimed %v best %d", s.view(), s.list(), slices.Sorted(maps.Keys(s.claimed)), s.best)
}

func (s *state) list() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s.saves)) {
		fmt.Fprintf(&b, "[%s %v]", key, s.saves[key])
	}
	return b.String()
}

func (k kept) String() string { return fmt.Sprintf("version %d value %s", k.version, brief(k.value)) }

// brief tells values apart: each begins with a number of its own.
func brief(value string) string {
	head, _, _ := strings.Cut(value, ":")
	return fmt.Sprintf("%s (%d bytes, %08x)", head, len(value), checksum(value))
}

// op is one call and what it should do.
type op struct {
	method string
	params []any
	decode func() (result any, answer func() string) // where the result goes, and what it says

	// apply is what the call does to a state and answers. It leaves s as it is.
	apply  func(s *state) (*state, string)
	reads  bool   // it changes nothing
	refuse string // an answer that may come from any state, and changes nothing
}

func (o *op) String() string {
	words := []string{o.method}
	for _, p := range o.params {
		switch p := p.(type) {
		case []byte:
			words = append(words, brief(string(p)))
		case *int64:
			words = append(words, fmt.Sprint(*p))
		default:
			words = append(words, fmt.Sprint(p))
		}
	}
	return strings.Join(words, " ")
}

// ending is how a call ended, as far as its caller knows.
type ending uint8

const (
	settled ending = iota // answered: what it did is known
	undone                // the answer says that nothing was changed
	unknown               // the answer leaves it open
	lost                  // no answer: the connection ended
)

func (e ending) String() string { return [...]string{"settled", "undone", "unknown", "lost"}[e] }

// outcome is a call that has ended.
type outcome struct {
	op     *op
	ending ending
	answer string
}

func (o outcome) String() string { return fmt.Sprintf("%v: %v: %s", o.op, o.ending, o.answer) }

// model is what one player's state may be, after all that the player's clients were told.
type model struct {
	uid     uint64
	may     []*state
	open    bool // a call of a live daemon ended unknown, and nothing was settled since: it may yet take effect
	history []string
}

func newModel(uid uint64) *model { return &model{uid: uid, may: []*state{newState(uid)}} }

// told takes in the outcomes of one connection, in the order of the calls. The daemon starts a call of a player when
// the one before has ended, so of the calls that were lost with the connection the first ones have taken effect.
func (m *model) told(outcomes []outcome) error {
	frontier := []*state(nil) // after the lost calls so far, had all of them taken effect; nil: none yet
	for _, o := range outcomes {
		m.history = append(m.history, o.String())
		if o.op.reads && o.ending != settled {
			continue
		}
		switch o.ending {
		case settled:
			if err := m.settle(o); err != nil {
				return err
			}
		case undone:
		case unknown:
			m.open = true
			m.add(after(m.may, o.op))
		case lost:
			if frontier == nil {
				frontier = m.may
			}
			frontier = after(frontier, o.op)
			m.add(frontier)
		}
	}
	return nil
}

// settle keeps the states from which the call answers what it did.
func (m *model) settle(o outcome) error {
	if o.op.refuse != "" && o.answer == o.op.refuse {
		return nil
	}
	var then []*state
	var want []string
	for _, s := range m.may {
		next, answer := o.op.apply(s)
		if answer == o.answer {
			then = append(then, next)
		} else {
			want = append(want, answer)
		}
	}
	if len(then) == 0 {
		return m.violation("%v answered\n  %s\nbut should have answered\n  %s", o.op, o.answer, strings.Join(want, "\n  or "))
	}
	if o.op.reads && m.open {
		return nil // a change may take effect after a read that did not see it
	}
	m.may, m.open = distinct(then), m.open && o.op.reads
	return nil
}

// found compares with what was read of the player when nothing was under way any more.
func (m *model) found(s *state) error {
	m.open = false
	var same []*state
	var want []string
	for _, may := range m.may {
		seen := may
		if s.best == notRead {
			seen = may.with(func(s *state) { s.best = notRead })
		}
		if seen.String() == s.String() {
			same = append(same, may)
		}
		want = append(want, seen.String())
	}
	if same != nil {
		m.may = same
		m.history = append(m.history[max(0, len(m.history)-50):], "found "+s.view())
		return nil
	}
	return m.violation("found\n  %s\nbut it should be\n  %s", s, strings.Join(want, "\n  or "))
}

func (m *model) violation(format string, args ...any) error {
	last := m.history[max(0, len(m.history)-20):]
	return fmt.Errorf("player %d: "+format+"\nthe last calls:\n  %s", append(append([]any{m.uid}, args...), strings.Join(last, "\n  "))...)
}

// add makes more states possible.
func (m *model) add(states []*state) { m.may = distinct(append(slices.Clone(m.may), states...)) }

// after is the states with the call done.
func after(states []*state, o *op) []*state {
	var then []*state
	for _, s := range states {
		next, _ := o.apply(s)
		then = append(then, next)
		if o.refuse != "" {
			then = append(then, s)
		}
	}
	return then
}

func distinct(states []*state) []*state {
	var out []*state
	seen := map[string]bool{}
	for _, s := range states {
		if text := s.String(); !seen[text] {
			seen[text] = true
			out = append(out, s)
		}
	}
	return out
}

// balance checks a state by what must hold without any history: gold is what came less what was spent.
func (s *state) balance(letters []letter) error {
	gold := int64(startGold)
	gifts := map[string]int64{}
	for _, l := range letters {
		if s.claimed[l.id] {
			gold += l.gold
			gifts[l.item]++
		}
	}
	for item, count := range s.items {
		if price, sold := prices[item]; sold {
			gold -= price * count
		} else if gifts[item] != count {
			return fmt.Errorf("%d of %s, but %d of them were in the mails that were claimed", count, item, gifts[item])
		}
	}
	for item, count := range gifts {
		if s.items[item] != count {
			return fmt.Errorf("%d of %s, but %d of them were in the mails that were claimed", s.items[item], item, count)
		}
	}
	if s.gold != gold || s.gold < 0 {
		return fmt.Errorf("gold is %d, but start + claimed - spent is %d", s.gold, gold)
	}
	return nil
}

// refused is the answer of a call that failed with that code.
func refused(code client.Code) string { return "refused: " + string(code) }

// The model itself: what it must not let pass.
func TestModelTellsRightFromWrong(t *testing.T) {
	buy := buyOp("potion", 3)
	bought := "gold 70 items map[potion:3]"
	claim := claimOp(letter{id: 5, gold: 7, item: "medal"})
	for _, c := range []struct {
		name     string
		told     []outcome
		found    *state // nil: not looked
		violates bool
	}{
		{"an answer that fits", []outcome{{buy, settled, bought}}, nil, false},
		{"gold out of nothing", []outcome{{buy, settled, "gold 71 items map[potion:3]"}}, nil, true},
		{"acknowledged and gone", []outcome{{buy, settled, bought}}, newState(7), true},
		{"acknowledged and there", []outcome{{buy, settled, bought}}, bought3(), false},
		{"undone and there", []outcome{{buy, undone, ""}}, bought3(), true},
		{"lost and there", []outcome{{buy, lost, ""}}, bought3(), false},
		{"lost and not there", []outcome{{buy, lost, ""}}, newState(7), false},
		{"half there", []outcome{{buy, lost, ""}}, newState(7).with(func(s *state) { s.gold = 70 }), true},
		{"the second of two lost calls alone", []outcome{{claim, lost, ""}, {buy, lost, ""}}, bought3(), true},
		{"the first of two lost calls alone", []outcome{{buy, lost, ""}, {claim, lost, ""}}, bought3(), false},
		{"claimed twice", []outcome{{claim, unknown, ""}, {claim, settled, "gold 107 items map[medal:1]"}, {claim, settled, "gold 114 items map[medal:2]"}}, nil, true},
		{"the unknown claim had been made", []outcome{{claim, unknown, ""}, {claim, settled, refused(client.FailedPrecondition)}}, newState(7), true},
		{"a read before an unknown change takes effect", []outcome{{buy, unknown, ""}, {getOp(), settled, newState(7).view()}}, bought3(), false},
	} {
		m := newModel(7)
		err := m.told(c.told)
		if err == nil && c.found != nil {
			err = m.found(c.found)
		}
		if (err != nil) != c.violates {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func bought3() *state {
	return newState(7).with(func(s *state) { s.gold, s.items["potion"] = 70, 3 })
}

func TestBalance(t *testing.T) {
	letters := []letter{{id: 5, gold: 7, item: "medal"}}
	good := bought3().with(func(s *state) { s.gold += 7; s.items["medal"] = 1; s.claimed[5] = true })
	if err := good.balance(letters); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]*state{
		"claimed without gold": good.with(func(s *state) { s.gold -= 7 }),
		"gold twice":           good.with(func(s *state) { s.gold += 7 }),
		"no item":              good.with(func(s *state) { delete(s.items, "medal") }),
		"item without claim":   bought3().with(func(s *state) { s.items["medal"] = 1 }),
		"bought for nothing":   good.with(func(s *state) { s.items["bomb"]++ }),
	} {
		if bad.balance(letters) == nil {
			t.Errorf("%s passes: %v", name, bad)
		}
	}
}
