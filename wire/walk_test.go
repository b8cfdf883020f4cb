package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func nested(n int, innermost string) string { return strings.Repeat("\x91", n) + innermost }

// claims are short inputs that announce much.
var claims = []string{
	"\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xdc\xff\xff", "\xde\xff\xff",
	"\xc6\xff\xff\xff\xff", "\xdb\xff\xff\xff\xff", "\xc9\xff\xff\xff\xff\x01",
	"\xdd\x05\xf5\xe1\x00", "\xdf\x05\xf5\xe1\x00", // 100 million
	"\x94\x00\x01\xa1f\xdd\xff\xff\xff\xff",
	"\x94\x00\x01\xa1f\x91\xdf\xff\xff\xff\xff",
	"\x81\xa1a\xdd\x7f\xff\xff\xff",
	strings.Repeat("\xdc\xff\xff", 20), // each claim alone could be mostly there; together they multiply
	strings.Repeat("\xdc\x00\xff", 30),
	strings.Repeat("\xdc\x00\xff", 100),
	nested(100_000, "\xc0"),
}

var checkCases = []struct {
	name     string
	in       string
	elements int
	want     string // part of the error; "": valid
	offset   int
}{
	{"empty", "", 10, "truncated", 0},
	{"nil", "\xc0", 0, "", 0},
	{"0xc1", "\xc1", 10, "0xc1", 0},
	{"0xc1 inside", "\x92\x01\xc1", 10, "0xc1", 2},
	{"trailing", "\xc0\xc0", 10, "bytes after", 1},
	{"trailing behind array", "\x91\x01\x02", 10, "bytes after", 2},
	{"scalar without elements", "\xcf\x00\x00\x00\x00\x00\x00\x00\x01", 0, "", 0},
	{"empty containers without elements", "\x90", 0, "", 0},
	{"elements: exactly", "\x93\x01\x02\x03", 3, "", 0},
	{"elements: one over", "\x93\x01\x02\x03", 2, "too many elements", 0},
	{"elements: an entry is two", "\x81\xa1a\x01", 2, "", 0},
	{"elements: an entry is not one", "\x81\xa1a\x01", 1, "too many elements", 0},
	{"elements: of all depths", "\x92\x92\x01\x02\x90", 4, "", 0},
	{"elements: of all depths, one over", "\x92\x92\x01\x02\x90", 3, "too many elements", 1},
	{"elements: negative limit", "\x91\x01", -1, "too many elements", 0},
	{"depth 32", nested(32, "\x01")[0:32] + "\x01", 100, "", 0},
	{"depth 32, innermost empty", nested(31, "\x90"), 100, "", 0},
	{"depth 33", nested(33, "\x01"), 100, "deeper than 32", 32},
	{"depth 33, innermost empty", nested(32, "\x90"), 100, "deeper than 32", 32},
	{"depth 33, empty map", nested(32, "\x80"), 100, "deeper than 32", 32},
	{"depth of maps", strings.Repeat("\x81\x01", 32) + "\xc0", 100, "", 0},
	{"depth of maps 33", strings.Repeat("\x81\x01", 33) + "\xc0", 100, "deeper than 32", 64},
	{"depth again after coming back", "\x92" + nested(31, "\x01") + nested(31, "\x01"), 100, "", 0},
	{"array32 bomb", claims[0], 100_000, "too many elements", 0},
	{"map32 bomb", claims[1], 100_000, "too many elements", 0},
	{"array32 bomb, no limit", claims[0], 1 << 62, "truncated", 5},
	{"map32 bomb, no limit", claims[1], 1 << 62, "truncated", 5},
	{"bin32 bomb", "\xc6\xff\xff\xff\xff\x00", 10, "truncated", 6},
	{"str32 bomb", "\xdb\xff\xff\xff\xff\x00", 10, "truncated", 6},
	{"ext32 bomb", "\xc9\xff\xff\xff\xff\x01", 10, "truncated", 6},
	{"ext32 bomb inside an array", "\x91\xc9\xff\xff\xff\xff\x01", 10, "truncated", 7},
	{"array16 chain", strings.Repeat("\xdc\xff\xff", 20), 1 << 62, "truncated", 60},
	{"array16 chain, elements", strings.Repeat("\xdc\xff\xff", 20), 100_000, "too many elements", 3},
	{"fixext1", "\xd4\x05a", 0, "", 0},
	{"fixext16", "\xd8\x05" + strings.Repeat("a", 16), 0, "", 0},
	{"fixext16 short", "\xd8\x05" + strings.Repeat("a", 15), 0, "truncated", 17},
	{"ext8 of 0", "\xc7\x00\x05", 0, "", 0},
	{"ext8 without type", "\xc7\x00", 0, "truncated", 2},
	{"ext16", "\xc8\x00\x02\x05ab", 0, "", 0},
	{"ext32", "\xc9\x00\x00\x00\x02\x05ab", 0, "", 0},
	{"non-minimal forms", "\xdd\x00\x00\x00\x02\xd3\x00\x00\x00\x00\x00\x00\x00\x01\xdb\x00\x00\x00\x01a", 2, "", 0},
	{"invalid UTF-8", "\xa2\xff\xfe", 0, "", 0},
	{"float32 short", "\xca\x00\x00\x00", 0, "truncated", 4},
}

func TestCheck(t *testing.T) {
	for _, c := range checkCases {
		err := Check([]byte(c.in), c.elements)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(syntax.Msg, c.want) || syntax.Offset != c.offset {
			t.Errorf("%s: got %v, want %q at byte %d", c.name, err, c.want, c.offset)
		}
	}
}

// TestCheckFirstBytes goes through all first bytes: with enough zeros behind it each is valid at exactly one length.
func TestCheckFirstBytes(t *testing.T) {
	for c := range 256 {
		b := append([]byte{byte(c)}, make([]byte, 40)...)
		valid := 0
		for n := range len(b) + 1 {
			_, refErr := parseReference(b[:n], 100)
			ref, _ := parseReference(b, 100)
			want := refErr == nil && len(ref.bytes) == n
			if got := Check(b[:n], 100) == nil; got != want {
				t.Errorf("%x, %d bytes: valid is %v, want %v", c, n, got, want)
			}
			if want {
				valid++
			}
		}
		if want := map[bool]int{true: 0, false: 1}[c == 0xc1]; valid != want {
			t.Errorf("%x: valid at %d lengths, want %d", c, valid, want)
		}
	}
}

// everyForm holds a value of every form that MessagePack has, of short and of longer lengths.
func everyForm() []byte {
	var b []byte
	n := 0
	add := func(head []byte, payload int) {
		b = append(append(b, head...), bytes.Repeat([]byte{0x93}, payload)...)
		n++
	}
	for c := range 256 {
		switch h := byte(c); {
		case h <= 0x7f, h >= 0xe0, h == 0xc0, h == 0xc2, h == 0xc3:
			add([]byte{h}, 0)
		case h <= 0x8f:
			add([]byte{h}, 0)
			for range int(h & 15) {
				b = append(b, 0xa1, 'k', 0x91, 0xc0)
			}
		case h <= 0x9f:
			add([]byte{h}, 0)
			for range int(h & 15) {
				b = append(b, 0x81, 0x01, 0xc3)
			}
		case h <= 0xbf:
			add([]byte{h}, int(h&31))
		case h >= 0xca && h <= 0xd3:
			add([]byte{h}, int([]int{4, 8, 1, 2, 4, 8, 1, 2, 4, 8}[h-0xca]))
		case h >= 0xd4 && h <= 0xd8:
			add([]byte{h, 7}, 1<<(h-0xd4))
		case h == 0xc4 || h == 0xd9:
			add([]byte{h, 0}, 0)
			add([]byte{h, 200}, 200)
		case h == 0xc5 || h == 0xda:
			add([]byte{h, 1, 2}, 258)
		case h == 0xc6 || h == 0xdb:
			add([]byte{h, 0, 0, 1, 2}, 258)
		case h == 0xc7:
			add([]byte{h, 3, 7}, 3)
		case h == 0xc8:
			add([]byte{h, 0, 3, 7}, 3)
		case h == 0xc9:
			add([]byte{h, 0, 0, 0, 3, 7}, 3)
		case h == 0xdc:
			add([]byte{h, 0, 2, 1, 2}, 0)
		case h == 0xdd:
			add([]byte{h, 0, 0, 0, 2, 1, 2}, 0)
		case h == 0xde:
			add([]byte{h, 0, 1, 1, 2}, 0)
		case h == 0xdf:
			add([]byte{h, 0, 0, 0, 1, 1, 2}, 0)
		}
	}
	return append(AppendArray(nil, n), b...)
}

func TestEveryFormAtEverySplit(t *testing.T) {
	b := everyForm()
	if err := Check(b, 10_000); err != nil {
		t.Fatal(err)
	}
	if n := Skip(b); n != len(b) {
		t.Errorf("Skip is %d of %d", n, len(b))
	}
	garbage := append(bytes.Clone(b), 0xc1, 0xc1, 0xc1)
	var w Walker
	for cut := range len(b) {
		w.Reset(10_000)
		if n, err := w.Walk(b[:cut]); n != 0 || err != nil {
			t.Fatalf("%d bytes: %d, %v", cut, n, err)
		}
		if need := w.Need(); need < cut-3 || need > len(b) { // a head of 5 bytes, 4 of them there
			t.Fatalf("%d bytes: needs %d, has %d", cut, need, len(b))
		}
		for range 2 { // the second time it only says again what it knows
			if n, err := w.Walk(garbage); n != len(b) || err != nil {
				t.Fatalf("rest behind %d bytes: %d, %v", cut, n, err)
			}
		}
	}
	w.Reset(10_000)
	for cut := range len(b) {
		if n, err := w.Walk(b[:cut]); n != 0 || err != nil {
			t.Fatalf("byte by byte, %d: %d, %v", cut, n, err)
		}
	}
	if n, err := w.Walk(b); n != len(b) || err != nil || w.Need() != len(b) {
		t.Errorf("byte by byte: %d, %v, needs %d", n, err, w.Need())
	}
}

// TestWalkerFindsErrorsAtEverySplit: what Check refuses, a Walker refuses with the same words, or it waits for bytes where
// the only fault is that they are missing.
func TestWalkerFindsErrorsAtEverySplit(t *testing.T) {
	for _, c := range checkCases {
		for cut := range len(c.in) + 1 {
			var w Walker
			w.Reset(c.elements)
			n, err := w.Walk([]byte(c.in[:cut]))
			if err == nil && n == 0 {
				n, err = w.Walk([]byte(c.in))
			}
			switch {
			case c.want == "truncated":
				if n != 0 || err != nil || w.Need() <= len(c.in) {
					t.Errorf("%s, cut at %d: %d, %v, needs %d", c.name, cut, n, err, w.Need())
				}
			case c.want == "" || c.want == "bytes after":
				if n == 0 || err != nil {
					t.Errorf("%s, cut at %d: %d, %v", c.name, cut, n, err)
				}
			default:
				want := Check([]byte(c.in), c.elements)
				if err == nil || err.Error() != want.Error() {
					t.Errorf("%s, cut at %d: %v, want %v", c.name, cut, err, want)
				}
			}
		}
	}
}

func TestWalkerNeed(t *testing.T) {
	for _, c := range []struct {
		in   string
		need int
	}{
		{"", 1},
		{"\xc6\xff\xff\xff\xff", 5 + 1<<32 - 1},
		{"\xc6\xff\xff\xff", 1}, // the length is not all there
		{"\x94\x00\x01", 5},
		{"\x94\x00\x92\xa9", 1 + 1 + 1 + 10 + 1 + 2},
		{"\xdc\x01\x00", 3 + 256},
		{"\x91\xde\x01\x00", 4 + 512},
	} {
		var w Walker
		w.Reset(1000)
		if n, err := w.Walk([]byte(c.in)); n != 0 || err != nil {
			t.Errorf("% x: %d, %v", c.in, n, err)
		}
		if w.Need() != c.need {
			t.Errorf("% x: needs %d, want %d", c.in, w.Need(), c.need)
		}
	}
}

// TestWalkerCostIsOfNewBytes feeds 2 MB byte by byte: with a start from the front each time it would take hours.
func TestWalkerCostIsOfNewBytes(t *testing.T) {
	b := AppendArray(nil, 400_000)
	for range 400_000 {
		b = AppendUint(b, 1<<31)
	}
	var w Walker
	w.Reset(400_000)
	for n := range b {
		if end, err := w.Walk(b[:n]); end != 0 || err != nil {
			t.Fatal(n, end, err)
		}
	}
	if n, err := w.Walk(b); n != len(b) || err != nil {
		t.Fatal(n, err)
	}
}

func TestWalkerReuse(t *testing.T) {
	var w Walker
	w.Reset(100)
	if _, err := w.Walk([]byte(nested(20, "\x92\x01\xc1"))); err == nil {
		t.Fatal("0xc1 accepted")
	}
	for _, in := range []string{"\x92\x01\x02", "\x05", nested(32, "\x01")} {
		w.Reset(100)
		if n, err := w.Walk([]byte(in)); n != len(in) || err != nil {
			t.Errorf("% x after an error: %d, %v", in, n, err)
		}
	}
	var zero Walker
	if _, err := zero.Walk([]byte("\x91\x01")); err == nil {
		t.Error("the zero Walker took an element")
	}
}

// TestSkipOfAnyBytes: where bytes are not valid Skip has no answer, but it ends inside them and does not panic.
func TestSkipOfAnyBytes(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 200_000 {
		b := binary.BigEndian.AppendUint64(nil, rnd.Uint64())
		b = binary.BigEndian.AppendUint64(b, rnd.Uint64())[:rnd.IntN(17)]
		if n := Skip(b); n < 0 || n > len(b) {
			t.Fatalf("% x: %d", b, n)
		}
		v, err := parseReference(b, 1<<40)
		if n := Skip(b); err == nil && n != len(v.bytes) {
			t.Fatalf("% x: %d, want %d", b, n, len(v.bytes))
		}
	}
}
