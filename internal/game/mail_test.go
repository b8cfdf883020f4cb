package game

import (
	"reflect"
	"strings"
	"testing"

	"gameserverd/wire"
)

func TestClaim(t *testing.T) {
	p := Player{UID: 7, Gold: 100, Items: map[string]int64{"sword": 1}}
	before := p.Clone()
	got, err := Claim(p, Mail{ID: 3, Gold: 5, Items: map[string]int64{"sword": 1, "medal": 2}})
	want := Player{UID: 7, Gold: 105, Items: map[string]int64{"sword": 2, "medal": 2}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	_, err = Claim(p, Mail{ID: 3, Gold: 5, ClaimedMS: 1})
	refused(t, err, wire.FailedPrecondition, "mail 3 has been claimed already")
	_, err = Claim(p, Mail{ID: 3, Gold: MaxCount})
	refused(t, err, wire.OutOfRange, "gold")
	_, err = Claim(p, Mail{ID: 3, Gold: 1, Items: map[string]int64{"sword": MaxCount}})
	refused(t, err, wire.OutOfRange, "sword")
	if !reflect.DeepEqual(p, before) {
		t.Errorf("claiming changed the player it was given: %+v", p)
	}
	if got, err := Claim(p, Mail{ID: 3}); err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("a mail with nothing in it: %+v, %v", got, err)
	}
}

func TestFindMail(t *testing.T) {
	mails := []Mail{{ID: 3, Title: "a", ExpiresMS: 100}, {ID: 1, Title: "b", ExpiresMS: 50, ClaimedMS: 7}}
	for _, test := range []struct {
		id, now int64
		title   string
	}{{3, 0, "a"}, {3, 99, "a"}, {1, 49, "b"}, {3, 100, ""}, {1, 50, ""}, {2, 0, ""}, {0, 0, ""}, {-3, 0, ""}} {
		m, err := FindMail(mails, test.id, test.now)
		if test.title == "" {
			refused(t, err, wire.NotFound, "there is no mail")
		} else if err != nil || m.Title != test.title {
			t.Errorf("mail %d at %d: %+v, %v", test.id, test.now, m, err)
		}
	}
}

func TestMailCheck(t *testing.T) {
	good := Mail{ID: 1, Title: strings.Repeat("ä", 200), Gold: MaxCount, Items: map[string]int64{"sword": 1}, SentMS: 1, ExpiresMS: 2}
	if err := good.Check(); err != nil {
		t.Errorf("%+v: %v", good, err)
	}
	for words, spoil := range map[string]func(m *Mail){
		"characters, got 0":   func(m *Mail) { m.Title = "" },
		"characters, got 201": func(m *Mail) { m.Title += "x" },
		"valid UTF-8":         func(m *Mail) { m.Title = "a\xff" },
		"got -1":              func(m *Mail) { m.Gold = -1 },
		"got 900719925474099": func(m *Mail) { m.Gold = MaxCount + 1 },
		"expire":              func(m *Mail) { m.ExpiresMS = m.SentMS },
		`0 of the item "x"`:   func(m *Mail) { m.Items = map[string]int64{"x": 0} },
		`-1 of the item "x"`:  func(m *Mail) { m.Items = map[string]int64{"x": -1} },
		`of the item "y"`:     func(m *Mail) { m.Items = map[string]int64{"y": MaxCount + 1} },
		`of the item "X y"`:   func(m *Mail) { m.Items = map[string]int64{"X y": 1} },
	} {
		m := good
		spoil(&m)
		refused(t, m.Check(), wire.InvalidArgument, words)
	}
}
