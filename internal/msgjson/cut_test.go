package msgjson

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"gameserverd/wire"
)

var tight = Cut{
	Text: 8, Bin: 3, Items: 3,
	Hide:     func(key string) bool { return key == "token" },
	HideText: func(s string) bool { return strings.HasPrefix(s, "eyJ") },
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := wire.AppendAny(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{[]any{1, -2, nil}, `[1,-2,null]`},
		{"12345678", `"12345678"`},
		{"123456789", `"12345678… (9 bytes)"`},
		{"1234567é9", `"1234567… (10 bytes)"`},
		{strings.Repeat("x", 70_000), `"xxxxxxxx… (70000 bytes)"`},
		{[]byte{1, 2, 3}, `{"$bin":"AQID"}`},
		{[]byte{1, 2, 3, 4}, `{"$bin":"AQID","bytes":4}`},
		{"\xff\xfe\xfd\xfc", `{"$str":"//79","bytes":4}`},
		{[]any{1, 2, 3}, `[1,2,3]`},
		{[]any{1, 2, 3, []any{4, 5}, 6}, `[1,2,3,"… 2 more"]`},
		{[]any{[]any{1, 2, 3, 4}, 5}, `[[1,2,3,"… 1 more"],5]`},
		{map[string]any{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, `{"a":1,"b":2,"c":3,"…":"2 more"}`},
		{map[string]any{"a": "1234567890", "token": []any{"secret", 7}, "z": 1}, `{"a":"12345678… (10 bytes)","token":"***","z":1}`},
		{[]any{"eyJhbGciOiJIUzI1NiJ9.e30.x", 1}, `["***",1]`},
		{"\x1b[31m", `"\u001b[31m"`},
	} {
		if got := string(AppendCut(nil, encode(t, c.v), tight)); got != c.want {
			t.Errorf("%v is %s, want %s", c.v, got, c.want)
		}
	}
}

// Bytes that end in the middle of a value show what is there.
func TestCutOfBytesThatEnd(t *testing.T) {
	whole := encode(t, []any{"ab", map[string]any{"k": []byte{1, 2}}, 300})
	if got := string(AppendCut(nil, whole, tight)); got != `["ab",{"k":{"$bin":"AQI="}},300]` {
		t.Fatalf("whole: %s", got)
	}
	for n, want := range []string{
		`"…"`, `["…"]`, `[" (2 bytes)"]`, `["a… (2 bytes)"]`, `["ab","…"]`, `["ab",{"…":"…"}]`,
	} {
		got := string(AppendCut(nil, whole[:n], tight))
		if n == 2 {
			want = `["… (2 bytes)"]`
		}
		if got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
	if got := string(AppendCut(nil, whole[:len(whole)-1], tight)); got != `["ab",{"k":{"$bin":"AQI="}},"…"]` {
		t.Errorf("all but one byte: %s", got)
	}
	if got := string(AppendCut(nil, []byte{0xdd, 0xff, 0xff, 0xff, 0xff, 1}, tight)); got != `[1,"…"]` {
		t.Errorf("a list that promises much: %s", got)
	}
}

// What lies under a hidden key is hidden even where the bytes end in it.
func TestHiddenStaysHidden(t *testing.T) {
	b := encode(t, []any{map[string]any{"token": "hunter2"}, "eyJhunter2"})
	for n := range len(b) + 1 {
		if got := string(AppendCut(nil, b[:n], tight)); strings.Contains(got, "hunter") {
			t.Errorf("%d bytes: %s", n, got)
		}
	}
}

// Whatever the bytes are, what comes out is JSON and not much.
func FuzzAppendCut(f *testing.F) {
	for _, s := range []string{"\x82\x01\x02\xc0\x03", "\xd4\xff\x07", "\xa3\x1b[m", "\x91\x81\xa1a\xc4\x01\xff", "\xdd\xff\xff\xff\xff\x01",
		"\xc6\xff\xff\xff\xffab", "\xdf\xff\xff\xff\xff\xa1a\x01", "\xd9\x05ab", "\xc1", "\xa2\xc2\x9b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := AppendCut(nil, b, tight)
		if !json.Valid(got) {
			t.Fatalf("%x gives %s", b, got)
		}
		if len(b) > 0 && len(got) > 200*len(b) {
			t.Fatalf("%x gives %d bytes", b, len(got))
		}
		// All of it, but for keys that are lists or maps.
		wide := Cut{Text: math.MaxInt, Bin: math.MaxInt, Items: math.MaxInt}
		if wire.Check(b, math.MaxInt) == nil && !strings.Contains(string(AppendCut(nil, b, wide)), `"…":`) && string(AppendCut(nil, b, wide)) != string(Append(nil, b)) {
			t.Fatalf("%x is cut by nothing to %s", b, AppendCut(nil, b, wide))
		}
	})
}

func TestParse(t *testing.T) {
	v, err := Parse(` [1, {"$bin":"AQID"}, 18446744073709551615] `)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(Append(nil, encode(t, v))); got != `[1,{"$bin":"AQID"},18446744073709551615]` {
		t.Error(got)
	}
	for text, syntax := range map[string]bool{"word": true, "1 2": true, "": true, `{"$bin":"?"}`: false, "1e999": false} {
		_, err := Parse(text)
		if _, is := err.(*SyntaxError); err == nil || is != syntax {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Keys within keys, which would double each time, cost no more than they are long.
func TestKeysOfKeys(t *testing.T) {
	b := []byte(strings.Repeat("\x81", 30) + strings.Repeat("\x01", 31))
	if err := wire.Check(b, 1000); err != nil {
		t.Fatal(err)
	}
	got := Append(nil, b)
	if len(got) > 10*len(b) || !json.Valid(got) {
		t.Errorf("%d bytes become %d: %.200s", len(b), len(got), got)
	}
}
