package game

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"gameserverd/wire"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{
		"x", strings.Repeat("x", 24), strings.Repeat("ä", 24), strings.Repeat("🐉", 24), "O'Brien", "Jeanne d'Arc", "a-b", "a b", " a ",
		"\u202fa", "👩\u200d🚀", "नमस्ते", "\ufffd", "player", "player7", "<b>", "%s%n", "100 %", "null", "ΐΐΐΐΐΐΐΐΐΐΐΐΐΐΐΐΐΐΐΐΐΐΐΐ",
	} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if key := NameKey(name); key == "" || len(key) > MaxNameKey || !utf8.ValidString(key) {
			t.Errorf("%q has the key %q", name, key)
		}
	}
	for name, words := range map[string]string{
		"":                             "1 to 24 characters, got 0",
		strings.Repeat("x", 25):        "1 to 24 characters, got 25",
		strings.Repeat("ä", 25):        "1 to 24 characters, got 25",
		strings.Repeat("x", 1_000_000): "1 to 24 characters, got 1000000",
		"a\xff":                        "valid UTF-8",
		"\xed\xa0\x80":                 "valid UTF-8",
		"a\x00":                        "no control characters, got U+0000",
		"a\nb":                         "no control characters, got U+000A",
		"\x7f":                         "no control characters, got U+007F",
		"a\u0085":                      "no control characters, got U+0085",
		"a\u2028b":                     "no control characters, got U+2028",
		"\u202eecila":                  "no control characters, got U+202E",
		" ":                            "can be seen",
		"\u200b\u3164 \ufe0f":          "can be seen",
		strings.Repeat("\ufdfa", 24):   "more than 255 bytes",
	} {
		refused(t, CheckName(name), wire.InvalidArgument, words)
	}
}

func TestNamesThatLookTheSameHaveOneKey(t *testing.T) {
	for _, same := range [][]string{
		{"alice", "Alice", "ALICE", " alice", "alice ", "ａｌｉｃｅ", "al\u200bice", "ali\u00adce", "alice\ufe0f", "Ⓐlice"},
		{"straße", "STRASSE", "Strasse", "STRAẞE"},
		{"ÅSA", "åsa", "a\u030asa", "A\u030asa", "\u212bsa"},
		{"Σίσυφος", "ΣΊΣΥΦΟΣ", "σίσυφοσ"},
		{"a b", "A  B", "a\u00a0b", "a\u3000b", " a\tb"},
		{"ﬁnn", "Finn", "FINN"},
	} {
		for _, name := range same[1:] {
			if NameKey(name) != NameKey(same[0]) {
				t.Errorf("%q has the key %q, %q has %q", same[0], NameKey(same[0]), name, NameKey(name))
			}
		}
	}
	keys := make(map[string]string)
	for _, name := range []string{"alice", "alicé", "al ice", "alice1", "a1ice", "аlice" /* а Cyrillic a */, "", "ali'ce", "ali\\ce", "ali%ce"} {
		if other, taken := keys[NameKey(name)]; taken {
			t.Errorf("%q and %q have one key", name, other)
		}
		keys[NameKey(name)] = name
	}
}

// Every character, and every other case of it that Unicode knows: one key.
func TestNameKeyKnowsNoCase(t *testing.T) {
	pairs := 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		key := ""
		for other := unicode.SimpleFold(r); other != r && utf8.ValidRune(r); other = unicode.SimpleFold(other) {
			if key == "" {
				key = NameKey(string(r))
			}
			if pairs++; NameKey(string(other)) != key {
				t.Errorf("%U has the key %q, %U has %q", r, key, other, NameKey(string(other)))
			}
		}
	}
	if pairs < 2000 {
		t.Errorf("only %d pairs were compared", pairs)
	}
}

func TestDefaultNamesAreNotForOthers(t *testing.T) {
	for _, name := range []string{"player7", "Player7", "PLAYER7", "ｐlayer７", " player7 "} {
		if err := CheckRename(7, name); err != nil {
			t.Errorf("7 may not be %q: %v", name, err)
		}
		refused(t, CheckRename(8, name), wire.AlreadyExists, "is taken")
	}
	for _, name := range []string{"player0", "player07", "player18446744073709551615"[:24], "pl\u00adayer8"} {
		refused(t, CheckRename(7, name), wire.AlreadyExists, "is taken")
	}
	for _, name := range []string{"player", "player7x", "xplayer7", "player 7", "player-7", "player７号"} {
		if err := CheckRename(8, name); err != nil {
			t.Errorf("8 may not be %q: %v", name, err)
		}
	}
	refused(t, CheckRename(7, ""), wire.InvalidArgument, "1 to 24")
}

// Any bytes: a name that is allowed has a key that can be stored, which is its
// own key, and no change of case makes another name of it.
func FuzzName(f *testing.F) {
	for _, name := range []string{"alice", "Straße", "\u202e", "ﷺ", "player7", "İı", "ﬀŉ", "👩\u200d🚀", "a\xff", "\u0345\u0300", "\u0345\u0600\u032c"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) != nil {
			return
		}
		key := NameKey(name)
		if key == "" || len(key) > MaxNameKey || !utf8.ValidString(key) {
			t.Errorf("%q has the key %q", name, key)
		}
		if again := NameKey(key); again != key {
			t.Errorf("%q has the key %q, and that %q", name, key, again)
		}
		// In capitals U+0345, a mark, is a letter, and stands elsewhere.
		if capitals := strings.ToUpper(name); !strings.Contains(norm.NFD.String(name), "\u0345") && NameKey(capitals) != key {
			t.Errorf("%q has the key %q, in capitals %q", name, key, NameKey(capitals))
		}
	})
}
