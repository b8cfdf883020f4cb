package nearest

import (
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	known := []string{"echo", "limits.max_connections", "limits.max_elements", "room.join", "room.say", "sum", "sys.ping"}
	for _, c := range []struct{ word, want string }{
		{"sum", "sum"},
		{"smu", "sum"},
		{"SUM", "sum"},
		{"sumn", "sum"},
		{"room.jion", "room.join"},
		{"ping", "sys.ping"},
		{"sys.pong", "sys.ping"},
		{"max_conections", "limits.max_connections"},
		{"limits.max_element", "limits.max_elements"},
		{"", ""},
		{"zzzzzzz", ""},
		{strings.Repeat("x", 10_000), ""},
	} {
		if got := Name(c.word, known); got != c.want {
			t.Errorf("Name(%.20q) = %q, want %q", c.word, got, c.want)
		}
	}
	if got := Name("sum", nil); got != "" {
		t.Errorf("Name with nothing known = %q", got)
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0},
		{"abc", "abd", 1}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 1},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
