package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

type (
	gold  int32
	color string
	point struct{ X, Y int16 }
	kit   struct {
		Name   string            `msgpack:"name"`
		Gold   gold              `msgpack:"gold"`
		Level  uint8             `msgpack:"level,omitempty"`
		Speed  float32           `msgpack:"speed"`
		At     *point            `msgpack:"at"`
		Tags   []string          `msgpack:"tags"`
		Counts map[string]int64  `msgpack:"counts"`
		Extra  any               `msgpack:"extra"`
		Sub    Raw               `msgpack:"sub"`
		Color  color             `msgpack:"color"`
		Bag    [2]uint16         `msgpack:"bag"`
		Names  map[string]string `msgpack:"names"`
		Wait   time.Duration     `msgpack:"wait"`
		Data   []byte            `msgpack:"data"`
	}
)

func TestAppendAnyGolden(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, "\xc0"}, {true, "\xc3"}, {int(-1), "\xff"}, {int8(-33), "\xd0\xdf"}, {int16(300), "\xcd\x01\x2c"}, {int32(5), "\x05"},
		{int64(1), "\x01"}, {uint(7), "\x07"}, {uint8(200), "\xcc\xc8"}, {uint16(200), "\xcc\xc8"}, {uint32(200), "\xcc\xc8"},
		{uint64(math.MaxUint64), "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"},
		{float32(1.5), "\xca\x3f\xc0\x00\x00"}, {2.0, "\xcb\x40\x00\x00\x00\x00\x00\x00\x00"},
		{"sum", "\xa3sum"}, {[]byte("ab"), "\xc4\x02ab"}, {[]byte(nil), "\xc0"}, {[]byte{}, "\xc4\x00"},
		{Raw("\x92\x01\x02"), "\x92\x01\x02"}, {Raw(nil), "\xc0"}, {Raw{}, "\xc0"},
		{[]any(nil), "\xc0"}, {[]any{}, "\x90"}, {[]any{1, "a", nil, []any{Raw("\x05")}}, "\x94\x01\xa1a\xc0\x91\x05"},
		{map[string]any(nil), "\xc0"}, {map[string]any{}, "\x80"},
		{map[string]any{"b": 1, "a": []any{}, "c": nil}, "\x83\xa1a\x90\xa1b\x01\xa1c\xc0"},
		{&Error{Code: "c", Message: "m"}, "\x82\xa4code\xa1c\xa7message\xa1m"}, {(*Error)(nil), "\xc0"},
		{point{1, -1}, "\x82\xa1X\x01\xa1Y\xff"}, {&point{1, 1}, "\x82\xa1X\x01\xa1Y\x01"}, {(*point)(nil), "\xc0"},
		{[]int{1, 300}, "\x92\x01\xcd\x01\x2c"}, {[]string{"a"}, "\x91\xa1a"}, {gold(300), "\xcd\x01\x2c"}, {color("red"), "\xa3red"},
		{map[string]string{"b": "2", "a": "1"}, "\x82\xa1a\xa11\xa1b\xa12"},
		{[]point{}, "\x90"}, {time.Second, "\xce\x3b\x9a\xca\x00"},
		// Parts of something that msgpack/v5 encodes.
		{struct {
			R, N Raw
			E    *Error
		}{Raw("\x91\x07"), nil, &Error{Code: "c", Message: "m"}}, "\x83\xa1R\x91\x07\xa1N\xc0\xa1E\x82\xa4code\xa1c\xa7message\xa1m"},
		{[]Raw{Raw("\x01"), nil}, "\x92\x01\xc0"},
		{map[string]Raw{"a": Raw("\x81\x01\x02")}, "\x81\xa1a\x81\x01\x02"},
	} {
		got, err := AppendAny([]byte("kept"), c.v)
		if err != nil || string(got) != "kept"+c.want {
			t.Errorf("%#v: %q (%v), want %q", c.v, got, err, c.want)
		}
	}
}

// failing encodes itself as nothing, or as a part of something.
type failing string

func (f failing) EncodeMsgpack(e *msgpack.Encoder) error {
	if f == "error" {
		return errors.New("no")
	}
	_, err := e.Writer().Write([]byte(f))
	return err
}

func TestAppendAnyErrors(t *testing.T) {
	cycle := map[string]any{}
	cycle["self"] = []any{cycle}
	deep := func(n int) (v any) {
		for range n {
			v = []any{v}
		}
		return v
	}
	for name, c := range map[string]struct {
		v    any
		want string
	}{
		"chan":            {make(chan int), "chan"},
		"func inside":     {[]any{1, map[string]any{"f": func() {}}}, "func"},
		"cycle":           {cycle, "contains itself"},
		"deep":            {deep(31), "deeper"},
		"deep in a type":  {[]any{[][]any{{deep(28)}}}, "deeper"},
		"time":            {time.Unix(1, 0), "ext"},
		"time inside":     {struct{ T time.Time }{time.Unix(1, 0)}, "ext"},
		"nothing written": {failing(""), "truncated"},
		"part written":    {failing("\x92\x01"), "truncated"},
		"too much":        {failing("\x01\x02"), "bytes after"},
		"0xc1":            {failing("\xc1"), "0xc1"},
		"own error":       {failing("error"), "no"},
		"in the middle":   {[]any{failing("\x92"), 1}, "truncated"},
	} {
		b := append(make([]byte, 0, 100), "kept"...)
		got, err := AppendAny(b, c.v)
		if err == nil || !strings.Contains(err.Error(), c.want) || string(got) != "kept" {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.want)
		}
		if raw, err := Marshal(c.v); raw != nil || err == nil {
			t.Errorf("%s: Marshal gives % x, %v", name, raw, err)
		}
	}
	// 30 deep is right, and then a message around it is too, wherever the value stands.
	b, err := AppendAny(AppendArray(AppendRequest(nil, 1, "f"), 1), deep(30))
	if err != nil {
		t.Fatal(err)
	}
	var m Message
	if err := m.Parse(b, 100); err != nil {
		t.Error(err)
	}
	b = AppendErrorResponse(nil, 1, &Error{Data: deep(30)})
	if err := m.Parse(b, 100); err != nil || !strings.Contains(string(b), "data") {
		t.Errorf("%v: % x", err, b)
	}
	if _, err := Marshal([]any{[][]any{{deep(27)}}}); err != nil {
		t.Error(err)
	}
}

func TestRoundTripOfStruct(t *testing.T) {
	want := kit{
		Name: "n", Gold: -70000, Level: 200, Speed: 1.25, At: &point{-5, 300}, Tags: []string{"a", ""}, Counts: map[string]int64{"x": math.MinInt64},
		Extra: "text", Sub: Raw("\x93\x01\x02\xc0"), Color: "red", Bag: [2]uint16{1, 65535}, Names: map[string]string{"k": "v"},
		Wait: time.Minute, Data: []byte{0, 1},
	}
	raw, err := Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got kit
	if err := Unmarshal(raw, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	clear(raw) // nothing decoded lies in it
	if !reflect.DeepEqual(got, want) {
		t.Errorf("changed with the input: %+v", got)
	}
}

func TestUnmarshalIntoAny(t *testing.T) {
	for _, c := range []struct {
		in   string
		want any
	}{
		{"\xc0", nil}, {"\xc3", true}, {"\x05", int64(5)}, {"\xff", int64(-1)}, {"\xcc\xc8", int64(200)}, {"\xd1\x80\x00", int64(-32768)},
		{"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", int64(math.MaxInt64)}, {"\xcf\x80\x00\x00\x00\x00\x00\x00\x00", uint64(1 << 63)},
		{"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", int64(math.MinInt64)}, {"\xca\x3f\xc0\x00\x00", 1.5}, {"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", 1.5},
		{"\xa1a", "a"}, {"\xd9\x01a", "a"}, {"\xc4\x01a", []byte("a")}, {"\xc4\x00", []byte{}}, {"\x90", []any{}}, {"\x80", map[string]any{}},
		{"\x92\x01\x91\xa1x", []any{int64(1), []any{"x"}}}, {"\x82\xa1a\x01\xc4\x01b\x80", map[string]any{"a": int64(1), "b": map[string]any{}}},
		{"\x82\xa1a\x01\xa1a\x02", map[string]any{"a": int64(2)}},
	} {
		got := any("old")
		if err := Unmarshal(Raw(c.in), &got); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("% x: %#v (%v), want %#v", c.in, got, err, c.want)
		}
	}
	var list []any
	if err := Unmarshal(Raw("\x92\xcc\xc8\xc4\x01a"), &list); err != nil || !reflect.DeepEqual(list, []any{int64(200), []byte("a")}) {
		t.Errorf("list %#v, %v", list, err)
	}
	var object map[string]any
	if err := Unmarshal(Raw("\x81\xa1k\xcc\xc8"), &object); err != nil || !reflect.DeepEqual(object, map[string]any{"k": int64(200)}) {
		t.Errorf("object %#v, %v", object, err)
	}
	if err := Unmarshal(Raw("\xc0"), &object); err != nil || object != nil {
		t.Errorf("nil: %#v, %v", object, err)
	}
	raw := Raw("\x92\x01\x02")
	var kept Raw
	if err := Unmarshal(raw, &kept); err != nil || !bytes.Equal(kept, raw) || &kept[0] == &raw[0] {
		t.Errorf("raw % x, %v", kept, err)
	}
}

func TestUnmarshalErrors(t *testing.T) {
	for _, c := range []struct {
		in   string
		into any
		want string
	}{
		{"", new(any), "truncated"},
		{"\x01\x02", new(int), "bytes after"},
		{"\xc1", new(any), "0xc1"},
		{nested(33, "\x01"), new(any), "deeper"},
		{"\xdd\xff\xff\xff\xff", new([]int), "too many elements"},
		{"\x81\x01\x02", new(any), "key of a map: want string, got integer"},
		{"\x81\xc0\x02", new(any), "key of a map: want string, got nil"},
		{"\x81\x91\x01\x02", new(map[string]any), "key of a map: want string, got array"},
		{"\x91\x81\x01\x02", new([]any), "key of a map"},
		{"\x01", new([]any), ""},
		{"\xa1a", new(map[string]any), ""},
		{"\x81\x91\x01\x02", new(map[any]any), "unhashable"},
		{"\x05", nil, "not a pointer"},
		{"\x05", 5, "not a pointer"},
		{"\x05", (*int)(nil), "not a pointer, or nil"},
		{"\x05", (*any)(nil), "not a pointer, or nil"},
		{"\x05", (*Raw)(nil), "not a pointer, or nil"},
		{"\xa1a", new(int), "want integer (int), got string"},
		{"\xd4\x01a", new(any), "ext"},
		{"\xd6\xff\x00\x00\x00\x01", new(time.Time), "ext"},
		{"\xc7\x00\x05", new(Raw), "ext"},
		{"\x91\xd4\x01a", new([]any), "ext"},
		{"\x81\xa4name\xd4\x01a", new(kit), "ext"},
		{"\x83\xa1a\x01", new(kit), "truncated"},
		{"\x81\xa4gold\xa1x", new(kit), "want integer (int32), got string"},
		{"\x05", new(chan int), "unsupported"},
		{"\x93\x01\x02\x03", new([2]int), "len is 2"},
	} {
		err := Unmarshal(Raw(c.in), c.into)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("% x into %T: %v, want %q", c.in, c.into, err, c.want)
		}
	}
}

// TestExtCannotHideAClaim: where msgpack/v5 expects a map it steps over the head of an ext and takes the bytes inside for
// the map, here one of 2^32-1 entries, which is a fatal error that nothing can recover from.
func TestExtCannotHideAClaim(t *testing.T) {
	for _, in := range []string{"\xd8\x01\xdf\xff\xff\xff\xff" + strings.Repeat("\x00", 11), "\xd7\xff\xdf\xff\xff\xff\xff\x00\x00\x00"} {
		if err := Check(Raw(in), 10); err != nil {
			t.Fatal(err) // it is well-formed
		}
		for _, into := range []any{new(map[string]any), new(map[int]int), new(kit), new(any), new(map[any]any), new(struct{ M map[string]any })} {
			for _, in := range []string{in, "\x81\xa1M" + in} {
				var syntax *SyntaxError
				if err := Unmarshal(Raw(in), into); !errors.As(err, &syntax) || !strings.Contains(err.Error(), "ext") {
					t.Errorf("% x into %T: %v", in, into, err)
				}
			}
		}
	}
}

func TestUnmarshalChecksRanges(t *testing.T) {
	type named uint16
	for _, c := range []struct {
		v    any // what is sent
		into any
		want string // what arrives, or the error that wraps a TypeError
	}{
		{127, new(int8), "127"},
		{128, new(int8), "want integer (int8), got 128"},
		{-128, new(int8), "-128"},
		{-129, new(int8), "want integer (int8), got -129"},
		{-1, new(uint64), "want integer (uint64), got -1"},
		{-1, new(uint8), "want integer (uint8), got -1"},
		{256, new(uint8), "want integer (uint8), got 256"},
		{uint64(math.MaxUint64), new(int64), "want integer (int64), got 18446744073709551615"},
		{uint64(math.MaxUint64), new(uint64), "18446744073709551615"},
		{uint64(math.MaxUint64), new(float64), "1.8446744073709552e+19"},
		{int64(math.MinInt64), new(int64), "-9223372036854775808"},
		{70000, new(gold), "70000"},
		{int64(math.MaxInt32) + 1, new(gold), "want integer (int32), got 2147483648"},
		{65536, new(named), "want integer (uint16), got 65536"},
		{Raw("\xd3\x00\x00\x00\x00\x00\x00\x00\x05"), new(uint8), "5"},
		{Raw("\xd3\x00\x00\x00\x00\x00\x00\x01\x00"), new(uint8), "want integer (uint8), got 256"},
		{1.0, new(int), "want integer (int), got float"},
		{1.25, new(float32), "1.25"},
		{1e300, new(float32), "want number (float32), got 1e+300"},
		{math.Inf(-1), new(float32), "-Inf"},
		{-7, new(float32), "-7"},
		{true, new(float64), "want number, got bool"},
		{nil, new(int), "0"},
		{[]any{1, 300}, new([]int8), "want integer (int8), got 300"},
		{[]any{1, -300}, new([2]*int8), "want integer (int8), got -300"},
		{map[string]any{"a": 300}, new(map[string]named), "map[a:300]"},
		{map[string]any{"a": -1}, new(map[string]named), "want integer (uint16), got -1"},
		{Raw("\x81\xcd\x01\x2c\x01"), new(map[int8]int), "want integer (int8), got 300"},
		{map[string]any{"gold": uint64(1 << 32)}, new(kit), "want integer (int32), got 4294967296"},
		{map[string]any{"at": map[string]any{"X": 40000}}, new(kit), "want integer (int16), got 40000"},
		{map[string]any{"bag": []any{1, 65536}}, new(kit), "want integer (uint16), got 65536"},
		{map[string]any{"level": 256}, new(struct{ In []kit }), "{[]}"},
		{map[string]any{"In": []any{map[string]any{"level": 256}}}, new(struct{ In []kit }), "want integer (uint8), got 256"},
	} {
		raw, err := Marshal(c.v)
		if err != nil {
			t.Fatal(err)
		}
		err = Unmarshal(raw, c.into)
		got := fmt.Sprint(reflect.ValueOf(c.into).Elem())
		if err != nil {
			got = err.Error()
			var typeErr *TypeError
			if errors.As(err, &typeErr) {
				got = typeErr.Error()
			}
		}
		if got != c.want {
			t.Errorf("%v into %T: %s, want %s", c.v, c.into, got, c.want)
		}
	}
}

// TestRangesAfterEncoding: msgpack/v5 remembers a struct's decoders when it first encodes one.
func TestRangesAfterEncoding(t *testing.T) {
	type coins uint8
	type purse struct{ C coins }
	if _, err := Marshal(purse{1}); err != nil {
		t.Fatal(err)
	}
	var p purse
	if err := Unmarshal(Raw("\x81\xa1C\xcd\x01\x2c"), &p); err == nil {
		t.Errorf("300 became %d", p.C)
	}
}

// own decodes itself; it is an integer that must be left alone.
type own int8

func (o *own) UnmarshalText(b []byte) error {
	*o = own(len(b))
	return nil
}

func TestOwnDecodersAreKept(t *testing.T) {
	var v struct{ A, B own }
	if err := Unmarshal(Raw("\x82\xa1A\xa3abc\xa1B\xa1x"), &v); err != nil || v.A != 3 || v.B != 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

// allocated is what f allocates, in bytes.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func targets() []any {
	return []any{new(any), new([]any), new(map[string]any), new([]int), new([]string), new(map[string]int), new(map[string]string), new([]byte),
		new(string), new(kit), new([]kit), new(map[any]any), new(Raw), new([]Raw), new(int8), new(*point), new([2]int), new(time.Time), new(bool),
		new(struct{ M map[string]any })}
}

func TestClaimsCostNothing(t *testing.T) {
	for _, claim := range claims {
		claim := []byte(claim)
		for _, into := range targets() {
			_ = Unmarshal(Raw("\xc0"), into) // types are looked through once
			var err error
			if n := allocated(func() { err = Unmarshal(claim, into) }); err == nil || n > 64<<10 {
				t.Errorf("%d bytes % .12x into %T: %d bytes allocated, error %v", len(claim), claim, into, n, err)
			}
		}
		var m Message
		var err error
		if n := allocated(func() { err = m.Parse(claim, DefaultMaxElements) }); err == nil || n > 64<<10 {
			t.Errorf("%d bytes % .12x: Parse allocated %d bytes, error %v", len(claim), claim, n, err)
		}
	}
}

// TestLargestValueIsInProportion: what is really there may be decoded, at about 16 bytes per element.
func TestLargestValueIsInProportion(t *testing.T) {
	b := append(AppendArray(nil, DefaultMaxElements), bytes.Repeat([]byte{0xc0}, DefaultMaxElements)...)
	for _, into := range []any{new(any), new([]any), new([]int)} {
		var err error
		if n := allocated(func() { err = Unmarshal(b, into) }); err != nil || n > 64*DefaultMaxElements {
			t.Errorf("into %T: %d bytes allocated, error %v", into, n, err)
		}
	}
	if err := Unmarshal(append(AppendArray(nil, DefaultMaxElements+1), bytes.Repeat([]byte{0xc0}, DefaultMaxElements+1)...), new(any)); err == nil {
		t.Error("more than DefaultMaxElements taken")
	}
}

// randomValue returns a value and what Unmarshal makes of it in an any.
func randomValue(rnd *rand.Rand, depth int) (v, want any) {
	kinds := 10
	if depth > 0 {
		kinds = 12
	}
	u := rnd.Uint64() >> rnd.IntN(64)
	text := strings.Repeat("ü\xff", rnd.IntN(40))
	switch rnd.IntN(kinds) {
	case 0:
		return nil, nil
	case 1:
		return u&1 == 1, u&1 == 1
	case 2:
		if u > math.MaxInt64 {
			return u, u
		}
		return u, int64(u)
	case 3:
		return -int64(u >> 1), -int64(u >> 1)
	case 4:
		return int16(u), int64(int16(u))
	case 5:
		return uint8(u), int64(uint8(u))
	case 6:
		f := float32(u) / 3
		return f, float64(f)
	case 7:
		return rnd.NormFloat64(), nil
	case 8:
		return text, text
	case 9:
		return []byte(text), []byte(text)
	case 10:
		n := rnd.IntN(20)
		list, wants := make([]any, n), make([]any, n)
		for i := range list {
			list[i], wants[i] = randomValue(rnd, depth-1)
		}
		return list, wants
	}
	object, wants := map[string]any{}, map[string]any{}
	for i := range rnd.IntN(20) {
		key := fmt.Sprint(strings.Repeat("k", rnd.IntN(40)), i)
		object[key], wants[key] = randomValue(rnd, depth-1)
	}
	return object, wants
}

// TestRoundTripOfRandomValues also compares with what msgpack/v5 alone writes for the same value: the same bytes.
func TestRoundTripOfRandomValues(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	for range 3000 {
		v, want := randomValue(rnd, 4)
		raw, err := Marshal(v)
		if err != nil {
			t.Fatalf("%#v: %v", v, err)
		}
		if err := Check(raw, 1<<20); err != nil {
			t.Fatalf("%#v: % x: %v", v, raw, err)
		}
		var buf bytes.Buffer
		e := msgpack.NewEncoder(&buf)
		e.UseCompactInts(true)
		e.SetSortMapKeys(true)
		if err := e.Encode(v); err != nil || !bytes.Equal(buf.Bytes(), raw) {
			t.Fatalf("%#v:\n% x\nmsgpack/v5: %v\n% x", v, raw, err, buf.Bytes())
		}
		var got any
		if err := Unmarshal(raw, &got); err != nil {
			t.Fatalf("% x: %v", raw, err)
		}
		if want = fillFloats(v, want); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %#v\nwant %#v", got, want)
		}
	}
}

// fillFloats puts the float64s of v where want has left room for them.
func fillFloats(v, want any) any {
	switch v := v.(type) {
	case float64:
		return v
	case []any:
		for i := range v {
			want.([]any)[i] = fillFloats(v[i], want.([]any)[i])
		}
	case map[string]any:
		for k := range v {
			want.(map[string]any)[k] = fillFloats(v[k], want.(map[string]any)[k])
		}
	}
	return want
}
