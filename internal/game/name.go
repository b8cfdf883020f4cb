package game

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"gameserverd/wire"
)

// MaxName is the length of the longest name that a player can choose, in
// characters.
const MaxName = 24

// MaxNameKey is the length of the longest NameKey of an allowed name, in bytes.
const MaxNameKey = 255

// DefaultName is the name of a player who has chosen none.
func DefaultName(uid uint64) string { return fmt.Sprintf("player%d", uid) }

// CheckName reports, as invalid_argument, why name cannot be chosen by anybody:
// it has 1 to MaxName characters, of which one can be seen, and none that
// controls how text is shown or that ends a text in SQL.
func CheckName(name string) error {
	if !utf8.ValidString(name) {
		return wire.Errorf(wire.InvalidArgument, "name must be valid UTF-8")
	}
	if n := utf8.RuneCountInString(name); n < 1 || n > MaxName {
		return wire.Errorf(wire.InvalidArgument, "name must have 1 to %d characters, got %d", MaxName, n)
	}
	for _, r := range name {
		if unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
			return wire.Errorf(wire.InvalidArgument, "name must have no control characters, got %U", r)
		}
	}
	if part := sqlInName.FindString(name); part != "" {
		return wire.Errorf(wire.InvalidArgument, "name must have no %q: allowed are letters, digits, spaces, other signs, and ' between letters", part)
	}
	switch key := NameKey(name); {
	case key == "":
		return wire.Errorf(wire.InvalidArgument, "name must have a character that can be seen")
	case len(key) > MaxNameKey: // one character may stand for a whole phrase
		return wire.Errorf(wire.InvalidArgument, "name stands for a text of more than %d bytes", MaxNameKey)
	}
	return nil
}

// sqlInName is what turns text into a statement somewhere else. No SQL here is
// made from names, but they are also pasted into other people's tools, and
// nobody is called so. O'Brien is.
var sqlInName = regexp.MustCompile("[\";`\\\\=]|--|/\\*|^'|'$|[^\\p{L}]'|'[^\\p{L}]")

// defaultKey is what the keys of default names look like.
var defaultKey = regexp.MustCompile(`^player[0-9]+$`)

// CheckRename is CheckName for the player uid, and reports as already_exists a
// name of the form that players have who chose none, unless it is uid's own.
func CheckRename(uid uint64, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if key := NameKey(name); defaultKey.MatchString(key) && key != NameKey(DefaultName(uid)) {
		return TakenName(name)
	}
	return nil
}

// TakenName is the error of a name that somebody else has.
func TakenName(name string) error {
	return wire.Errorf(wire.AlreadyExists, "the name %q is taken", name)
}

// NameKey is what names must not share: two that a reader would take for the
// same name have the same key. It knows no difference of case, of compatible
// forms of a character (full width, ligatures, composed or not), of white space
// but where it separates, and ignores what is not shown.
func NameKey(name string) string {
	shown := strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) &&
			!unicode.Is(unicode.Prepended_Concatenation_Mark, r) {
			return -1
		}
		return r
	}, name)
	// As Unicode's definition D146 has it, with NFKC in the end for its shorter form.
	folded := norm.NFKC.String(fold(norm.NFKD.String(fold(norm.NFD.String(shown)))))
	return strings.Join(strings.Fields(folded), " ")
}

// fold makes one case of all. cases.Fold knows that ß is ss, but takes the
// capitals of some scripts (Cherokee) for small letters and the reverse.
func fold(s string) string {
	return strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, cases.Fold().String(s))
}
