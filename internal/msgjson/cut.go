package msgjson

import (
	"encoding/base64"
	"fmt"
	"math"
	"unicode/utf8"

	"gameserverd/wire"
)

// Cut bounds what AppendCut shows, and hides some of it.
type Cut struct {
	Text  int // bytes of a string; a longer one is its beginning and its size
	Bin   int // bytes of a binary
	Items int // elements of a list, entries of a map
	// Hide says whether the value of this key of a map is shown as "***"; nil: none.
	Hide func(key string) bool
	// HideText says the same of a string, wherever it is; nil: none.
	HideText func(s string) bool
}

const (
	hidden  = `"***"`
	missing = `"…"` // stands for what b does not have any more
)

// AppendCut appends what is to be shown to people of the value that b begins with:
//
//	"the beginning of a text… (5000 bytes)"   a string over c.Text
//	{"$bin":"base64","bytes":5000}            a binary over c.Bin
//	[1,2,"… 98 more"] {"a":1,"…":"98 more"}   over c.Items
//	{"…":1}                                   a key that is a list or a map
//
// It is JSON, on one line. b need not be validated, and may end in the middle of the
// value: what is missing is "…". Any goroutine.
func AppendCut(out, b []byte, c Cut) []byte {
	w := cutter{Cut: c, b: b}
	return w.value(out, 0)
}

// cutter is one AppendCut.
type cutter struct {
	Cut
	b []byte // what is left
}

// end is for bytes that are not whole, or no value: nothing of them is used.
func (w *cutter) end(out []byte) []byte {
	w.b = nil
	return append(out, missing...)
}

// value appends the next value, inside depth others.
func (w *cutter) value(out []byte, depth int) []byte {
	if depth > wire.MaxDepth {
		return w.end(out)
	}
	r := wire.NewReader(w.b)
	switch wire.TypeName(w.b) {
	case "array":
		n, err := r.Array()
		if err != nil {
			return w.end(out)
		}
		w.b = r.Rest()
		return w.list(out, n, depth)
	case "map":
		n, err := r.Map()
		if err != nil {
			return w.end(out)
		}
		w.b = r.Rest()
		return w.fields(out, n, depth)
	case "string", "binary":
		return w.text(out)
	case "nothing", "invalid":
		return w.end(out)
	}
	n := w.whole()
	if n == 0 {
		return w.end(out)
	}
	one := w.b[:n]
	w.b = w.b[n:]
	if wire.TypeName(one) == "ext" && n > max(w.Bin, 24) {
		return fmt.Appendf(out, `{%q:[],"bytes":%d}`, extKey, n)
	}
	return Append(out, one)
}

// whole is the length of the next value, 0 if it is not all there.
func (w *cutter) whole() int {
	var walk wire.Walker
	walk.Reset(math.MaxInt)
	n, err := walk.Walk(w.b)
	if err != nil {
		return 0
	}
	return n
}

// skip leaves n values out.
func (w *cutter) skip(n int) {
	for ; n > 0 && len(w.b) > 0; n-- {
		size := w.whole()
		if size == 0 {
			w.b = nil
			return
		}
		w.b = w.b[size:]
	}
}

func (w *cutter) list(out []byte, n, depth int) []byte {
	out = append(out, '[')
	for i := range n {
		if i > 0 {
			out = append(out, ',')
		}
		if i == w.Items {
			w.skip(n - i)
			out = fmt.Appendf(out, `"… %d more"`, n-i)
			break
		}
		if out = w.value(out, depth+1); w.b == nil {
			break
		}
	}
	return append(out, ']')
}

func (w *cutter) fields(out []byte, n, depth int) []byte {
	out = append(out, '{')
	for i := range n {
		if i > 0 {
			out = append(out, ',')
		}
		if i == w.Items {
			w.skip(2 * (n - i))
			out = fmt.Appendf(out, `"…":"%d more"`, n-i)
			break
		}
		if out = w.field(out, depth); w.b == nil {
			break
		}
	}
	return append(out, '}')
}

func (w *cutter) field(out []byte, depth int) []byte {
	before := w.b
	if t := wire.TypeName(w.b); t == "array" || t == "map" {
		w.skip(1) // a text in a text in a text doubles its backslashes each time
		return w.fieldValue(append(out, `"…":`...), depth)
	}
	key := w.value(nil, depth+1)
	if len(key) == 0 || key[0] != '"' {
		key = AppendText(nil, string(key))
	}
	out = append(append(out, key...), ':')
	r := wire.NewReader(before)
	if name, err := r.Str(); err == nil && w.Hide != nil && w.Hide(string(name)) {
		w.skip(1)
		return append(out, hidden...)
	}
	return w.fieldValue(out, depth)
}

func (w *cutter) fieldValue(out []byte, depth int) []byte {
	if w.b == nil {
		return append(out, missing...)
	}
	return w.value(out, depth+1)
}

// text appends a string or a binary.
func (w *cutter) text(out []byte) []byte {
	start, size := textHead(w.b)
	if start == 0 {
		return w.end(out)
	}
	have := min(start+size, len(w.b))
	s := w.b[start:have]
	binary := wire.TypeName(w.b) == "binary"
	if w.b = w.b[have:]; len(s) < size {
		w.b = nil // it was the last that is there
	}
	switch {
	case w.HideText != nil && w.HideText(string(s)):
		return append(out, hidden...)
	case !binary && wholeRunes(s, size):
		if len(s) == size && size <= w.Text {
			return AppendText(out, string(s))
		}
		return AppendText(out, fmt.Sprintf("%s… (%d bytes)", trimRune(s[:min(len(s), w.Text)]), size))
	}
	key := strKey
	if binary {
		key = binKey
	}
	if len(s) == size && size <= w.Bin {
		return appendSpecial(out, key, s)
	}
	return fmt.Appendf(out, `{%q:%q,"bytes":%d}`, key, base64.StdEncoding.EncodeToString(s[:min(len(s), w.Bin)]), size)
}

// textHead is where the bytes of a string or binary begin, and how many it says
// there are; 0 when the head is not whole.
//
//	| a0..bf |  | c4 d9 | len |  | c5 da | len len |  | c6 db | len len len len |
func textHead(b []byte) (start, size int) {
	start = 1
	switch c := b[0]; {
	case c&0xe0 == 0xa0:
		return start, int(c & 0x1f)
	case c == 0xc4 || c == 0xd9:
		start += 1
	case c == 0xc5 || c == 0xda:
		start += 2
	default:
		start += 4
	}
	if len(b) < start {
		return 0, 0
	}
	for _, c := range b[1:start] {
		size = size<<8 | int(c)
	}
	return start, size
}

// wholeRunes says whether s is UTF-8; one that is shorter than it should be may
// end in the middle of a character.
func wholeRunes(s []byte, size int) bool {
	if len(s) < size {
		s = trimRune(s)
	}
	return utf8.Valid(s)
}

// trimRune takes the beginning of a character off the end of s.
func trimRune(s []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(s); n++ {
		if tail := s[len(s)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return s[:len(s)-n]
			}
			break
		}
	}
	return s
}
