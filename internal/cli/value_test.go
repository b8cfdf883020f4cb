package cli

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"gameserverd/wire"
)

func TestArgumentsAndResults(t *testing.T) {
	for _, c := range []struct{ arg, back string }{
		{`1`, `1`},
		{`-1`, `-1`},
		{`1.0`, `1.0`},
		{`1e3`, `1000.0`},
		{`1e300`, `1e+300`},
		{`0.1`, `0.1`},
		{`9223372036854775807`, `9223372036854775807`},
		{`18446744073709551615`, `18446744073709551615`},
		{`-9223372036854775808`, `-9223372036854775808`},
		{`true`, `true`},
		{`null`, `null`},
		{`"x"`, `"x"`},
		{`"7"`, `"7"`},
		{` [1, 2 ] `, `[1,2]`},
		{`{"b":{"c":[]},"a":{}}`, `{"a":{},"b":{"c":[]}}`},
		{`"<&>\u2028\u009b\u202e\"\\\n"`, `"<&>\u2028\u009b\u202e\"\\\n"`},
		{`"é😀"`, `"é😀"`},
		// A word that is no JSON is a string.
		{`lobby`, `"lobby"`},
		{`dev:7`, `"dev:7"`},
		{`007`, `"007"`},
		{`1_000`, `"1_000"`},
		{`12 monkeys`, `"12 monkeys"`},
		{`nullx`, `"nullx"`},
		{``, `""`},
		{`-`, `"-"`},
		// What JSON has no form for.
		{`{"$bin":"AAEC"}`, `{"$bin":"AAEC"}`},
		{`{"$bin":""}`, `{"$bin":""}`},
		{`{"$str":"/w=="}`, `{"$str":"/w=="}`},
		{`{"$float":"NaN"}`, `{"$float":"NaN"}`},
		{`[{"$float":"-Inf"}]`, `[{"$float":"-Inf"}]`},
		{`{"$bin":1}`, `{"$bin":1}`},
		{`{"$bin":"AA==","x":1}`, `{"$bin":"AA==","x":1}`},
		{`{"$other":"x"}`, `{"$other":"x"}`},
	} {
		v, err := ParseArg(c.arg)
		if err != nil {
			t.Errorf("%s: %v", c.arg, err)
			continue
		}
		b, err := wire.AppendAny(nil, v)
		if err != nil {
			t.Errorf("%s: %v", c.arg, err)
			continue
		}
		if got := string(AppendJSON(nil, b)); got != c.back {
			t.Errorf("%s comes back as %s, want %s", c.arg, got, c.back)
		}
	}
}

// Small integers are sent as integers and not as floats, in their smallest form.
func TestIntegersAreSmall(t *testing.T) {
	v, err := ParseArg("[1,-1,200]")
	if err != nil {
		t.Fatal(err)
	}
	b, err := wire.AppendAny(nil, v)
	if want := []byte{0x93, 1, 0xff, 0xcc, 200}; err != nil || !bytes.Equal(b, want) {
		t.Errorf("%x, want %x (%v)", b, want, err)
	}
}

func TestArgumentsRefused(t *testing.T) {
	for arg, want := range map[string]string{
		`{"a"`:                          "is not JSON",
		`[1,]`:                          "is not JSON",
		`"abc`:                          "is not JSON",
		` {} x`:                         "more follows",
		`[18446744073709551616]`:        "does not fit a 64-bit integer",
		`-9223372036854775809`:          "does not fit a 64-bit integer",
		`1e999`:                         "does not fit a 64-bit float",
		`{"a":[{"$bin":"not base64"}]}`: "$bin must be base64",
		`{"$float":"1"}`:                "$float must be",
	} {
		if v, err := ParseArg(arg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v; want %q", arg, v, err, want)
		}
	}
	if _, err := parseArgs([]string{"1", strings.Repeat("[", 40) + strings.Repeat("]", 40)}); err == nil || !strings.HasPrefix(err.Error(), "argument 2:") {
		t.Errorf("nested too deep: %v", err)
	}
}

func TestResultsWithoutJSONForm(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{[]byte{0x82, 1, 2, 0xc0, 3}, `{"1":2,"null":3}`},
		{[]byte{0x81, 0x91, 0xa1, 'a', 1}, `{"[\"a\"]":1}`},
		{[]byte{0x81, 0xc4, 1, 0xff, 1}, `{"{\"$bin\":\"/w==\"}":1}`},
		{[]byte{0xd4, 0xff, 7}, `{"$ext":[-1,"Bw=="]}`},
		{[]byte{0xd8, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, `{"$ext":[5,"AQIDBAUGBwgJCgsMDQ4PEA=="]}`},
		{[]byte{0xc7, 3, 9, 1, 2, 3}, `{"$ext":[9,"AQID"]}`},
		{[]byte{0xc8, 0, 1, 9, 1}, `{"$ext":[9,"AQ=="]}`},
		{[]byte{0xc9, 0, 0, 0, 0, 9}, `{"$ext":[9,""]}`},
		{wire.AppendFloat32(nil, 0.1), `0.1`},
		{wire.AppendFloat32(nil, float32(math.Inf(1))), `{"$float":"+Inf"}`},
		{wire.AppendFloat64(nil, 2), `2.0`},
		{[]byte{0xd3, 0, 0, 0, 0, 0, 0, 0, 1}, `1`},
		{[]byte{0xa1, 0xff}, `{"$str":"/w=="}`},
	} {
		if err := wire.Check(c.b, wire.DefaultMaxElements); err != nil {
			t.Fatalf("%x: %v", c.b, err)
		}
		if got := string(AppendJSON(nil, c.b)); got != c.want {
			t.Errorf("%x is %s, want %s", c.b, got, c.want)
		}
	}
}

// Every valid value becomes valid JSON on one line, and a terminal obeys
// nothing in it.
func FuzzAppendJSON(f *testing.F) {
	for _, b := range []string{"\x82\x01\x02\xc0\x03", "\xd4\xff\x07", "\xa3\x1b[m", "\xca\x7f\x80\x00\x00", "\x91\x81\xa1a\xc4\x01\xff", "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "\xa2\xc2\x9b"} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if wire.Check(b, 1000) != nil {
			return
		}
		got := AppendJSON(nil, b)
		if !json.Valid(got) {
			t.Fatalf("%x gives %s", b, got)
		}
		if bytes.ContainsFunc(got, func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }) {
			t.Fatalf("%x gives %q", b, got)
		}
	})
}

// Whatever is an argument, what it becomes can be sent, and comes back the same
// a second time.
func FuzzParseArg(f *testing.F) {
	for _, s := range []string{"1", "lobby", `{"$bin":"AA=="}`, `[1.5,"x",{"a":null}]`, `{"$float":"NaN"}`, "-0", "-0.0", "1E400", `"\ud800"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		v, err := ParseArg(arg)
		if err != nil {
			return
		}
		b, err := wire.AppendAny(nil, v)
		if err != nil {
			return // nested too deep
		}
		text := string(AppendJSON(nil, b))
		again, err := ParseArg(text)
		if err != nil {
			t.Fatalf("%q became %s, which is refused: %v", arg, text, err)
		}
		if back, err := wire.AppendAny(nil, again); err != nil || !bytes.Equal(back, b) {
			t.Fatalf("%q became %x and %s, which became %x (%v)", arg, b, text, back, err)
		}
	})
}

func TestSplitLine(t *testing.T) {
	for line, want := range map[string][]string{
		"":                               nil,
		"  \t\r":                         nil,
		"sum 1 -2":                       {"sum", "1", "-2"},
		`room.say lobby "good morning" `: {"room.say", "lobby", `"good morning"`},
		`echo {"a b": [1, 2]} [ ]`:       {"echo", `{"a b": [1, 2]}`, "[ ]"},
		`echo don't`:                     {"echo", "don't"},
	} {
		got, err := splitLine(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q splits into %q (%v), want %q", line, got, err, want)
		}
	}
	if _, err := splitLine(`echo {"a" 1}`); err == nil || !strings.Contains(err.Error(), "is not JSON") {
		t.Errorf("a broken object: %v", err)
	}
}

func FuzzSplitLine(f *testing.F) {
	f.Add(`a {"b": 1} "c d"x`)
	f.Add("[1][2]\t{")
	f.Fuzz(func(t *testing.T, line string) {
		words, err := splitLine(line)
		if err != nil {
			return
		}
		clean := func(s string) string { return strings.NewReplacer(" ", "", "\t", "", "\r", "").Replace(s) }
		if got := strings.Join(words, ""); clean(got) != clean(line) {
			t.Fatalf("%q splits into %q", line, words)
		}
		if slices.Contains(words, "") {
			t.Fatalf("%q has an empty word: %q", line, words)
		}
	})
}
