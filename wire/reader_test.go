package wire

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestReaderNumbers(t *testing.T) {
	for _, c := range []struct {
		in     string
		i      int64
		u      uint64
		f      float64
		noI    string // what the method does not get
		noU    string
		noF    string
		length int
	}{
		{in: "\x00", length: 1},
		{in: "\x7f", i: 127, u: 127, f: 127, length: 1},
		{in: "\xff", i: -1, f: -1, noU: "-1", length: 1},
		{in: "\xe0", i: -32, f: -32, noU: "-32", length: 1},
		{in: "\xcc\xff", i: 255, u: 255, f: 255, length: 2},
		{in: "\xcd\xff\xfe", i: 65534, u: 65534, f: 65534, length: 3},
		{in: "\xce\xff\xff\xff\xfe", i: 1<<32 - 2, u: 1<<32 - 2, f: 1<<32 - 2, length: 5},
		{in: "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", i: math.MaxInt64, u: math.MaxInt64, f: 1 << 63, length: 9},
		{in: "\xcf\x80\x00\x00\x00\x00\x00\x00\x00", u: 1 << 63, f: 1 << 63, noI: "9223372036854775808", length: 9},
		{in: "\xcf\xff\xff\xff\xff\xff\xff\xff\xff", u: math.MaxUint64, f: 1 << 64, noI: "18446744073709551615", length: 9},
		{in: "\xd0\x80", i: -128, f: -128, noU: "-128", length: 2},
		{in: "\xd0\x7f", i: 127, u: 127, f: 127, length: 2},
		{in: "\xd1\x80\x00", i: -32768, f: -32768, noU: "-32768", length: 3},
		{in: "\xd1\x7f\xff", i: 32767, u: 32767, f: 32767, length: 3},
		{in: "\xd2\x80\x00\x00\x00", i: math.MinInt32, f: math.MinInt32, noU: "-2147483648", length: 5},
		{in: "\xd2\x7f\xff\xff\xff", i: math.MaxInt32, u: math.MaxInt32, f: math.MaxInt32, length: 5},
		{in: "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", i: math.MinInt64, f: math.MinInt64, noU: "-9223372036854775808", length: 9},
		{in: "\xd3\x00\x00\x00\x00\x00\x00\x00\x05", i: 5, u: 5, f: 5, length: 9},
		{in: "\xca\x3f\xc0\x00\x00", f: 1.5, noI: "float", noU: "float", length: 5},
		{in: "\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", f: 1.5, noI: "float", noU: "float", length: 9},
		{in: "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", f: math.Inf(1), noI: "float", noU: "float", length: 9},
		{in: "\xa15", noI: "string", noU: "string", noF: "string"},
		{in: "\xc0", noI: "nil", noU: "nil", noF: "nil"},
		{in: "\xc3", noI: "bool", noU: "bool", noF: "bool"},
		{in: "\x91\x01", noI: "array", noU: "array", noF: "array"},
		{in: "", noI: "nothing", noU: "nothing", noF: "nothing"},
	} {
		check := func(want, got any, err error, no, wantType string, r Reader) {
			t.Helper()
			var typeErr *TypeError
			left := len(r.Rest())
			switch {
			case no == "" && (err != nil || got != want || left != 1):
				t.Errorf("% x: %v (%v), want %v; %d bytes left", c.in, got, err, want, left)
			case no != "" && (!errors.As(err, &typeErr) || typeErr.Got != no || typeErr.Want != wantType || left != len(c.in)+1):
				t.Errorf("% x: %v, want got %s; %d bytes left", c.in, err, no, left)
			}
		}
		in := Raw(c.in + "\xc0")
		if c.in == "" {
			in = nil
		}
		ri, ru, rf := NewReader(in), NewReader(in), NewReader(in)
		if in == nil {
			_, err1 := ri.Int64()
			_, err2 := ru.Uint64()
			_, err3 := rf.Float64()
			for _, err := range []error{err1, err2, err3} {
				if err == nil || !strings.HasSuffix(err.Error(), "got nothing") {
					t.Errorf("nothing: %v", err)
				}
			}
			continue
		}
		i, err := ri.Int64()
		check(c.i, i, err, c.noI, "integer (int64)", ri)
		u, err := ru.Uint64()
		check(c.u, u, err, c.noU, "integer (uint64)", ru)
		f, err := rf.Float64()
		check(c.f, f, err, c.noF, "number", rf)
	}
}

// TestReaderSequence reads a message as a decoder would, with a wrong guess before each value.
func TestReaderSequence(t *testing.T) {
	b := AppendArray(nil, 7)
	b = AppendMap(b, 1)
	b = AppendString(b, "key")
	b = AppendBytes(b, []byte{1, 2})
	b = AppendBool(AppendBool(b, true), false)
	b = AppendNil(b)
	b = AppendString(b, "text")
	b = append(b, "\x92\x01\x92\x02\x03"...)
	b = AppendBytes(b, nil)

	r := NewReader(b)
	must := func(ok bool, err error) {
		t.Helper()
		if !ok || err != nil {
			t.Fatalf("not as written: %v; left % x", err, r.Rest())
		}
	}
	wrong := func(err error, want string) {
		t.Helper()
		var typeErr *TypeError
		if !errors.As(err, &typeErr) || err.Error() != want {
			t.Fatalf("error %v, want %s", err, want)
		}
	}
	_, err := r.Map()
	wrong(err, "want map, got array")
	n, err := r.Array()
	must(n == 7, err)
	_, err = r.Array()
	wrong(err, "want array, got map")
	n, err = r.Map()
	must(n == 1, err)
	_, err = r.Bool()
	wrong(err, "want bool, got string")
	key, err := r.Str()
	must(string(key) == "key", err)
	must(cap(key) == 3, nil)
	data, err := r.Bytes()
	must(string(data) == "\x01\x02" && cap(data) == 2, err)
	_, err = r.String()
	wrong(err, "want string, got bool")
	yes, err := r.Bool()
	must(yes, err)
	must(!r.Nil(), nil)
	no, err := r.Bool()
	must(!no, err)
	_, err = r.Bytes()
	wrong(err, "want binary, got nil")
	must(r.Nil(), nil)
	s, err := r.String()
	must(s == "text", err)
	raw := r.Raw()
	must(string(raw) == "\x92\x01\x92\x02\x03" && cap(raw) == 5, nil)
	data, err = r.Bytes()
	must(data != nil && len(data) == 0, err)
	must(len(r.Rest()) == 0 && !r.Nil() && r.Raw() == nil, nil)
	_, err = r.Bool()
	wrong(err, "want bool, got nothing")
}

// TestReaderText: str, bin and the raw of old, each where the other is asked for.
func TestReaderText(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	for _, want := range []string{"", "a", long[:31], long[:32], long[:256], long} {
		for _, in := range []Raw{AppendString(nil, want), AppendBytes(nil, []byte(want))} {
			r1, r2 := NewReader(in), NewReader(in)
			s, err1 := r1.String()
			b, err2 := r2.Bytes()
			if s != want || string(b) != want || err1 != nil || err2 != nil {
				t.Errorf("%d bytes in %s: %v, %v", len(want), TypeName(in), err1, err2)
			}
		}
	}
}

func TestReaderLengths(t *testing.T) {
	for in, want := range map[string]int{
		"\x90": 0, "\x9f": 15, "\xdc\x00\x10": 16, "\xdd\x00\x01\x00\x00": 65536,
		"\x80": 0, "\x8f": 15, "\xde\x00\x10": 16, "\xdf\x00\x01\x00\x00": 65536,
	} {
		r := NewReader(Raw(in)) // not validated: only the head is looked at
		var n int
		var err error
		if isMap(in[0]) {
			n, err = r.Map()
		} else {
			n, err = r.Array()
		}
		if n != want || err != nil || len(r.Rest()) != 0 {
			t.Errorf("% x: %d, %v", in, n, err)
		}
	}
}

func TestTypeName(t *testing.T) {
	for in, want := range map[string]string{
		"": "nothing", "\xc0": "nil", "\xc1": "invalid", "\xc2": "bool", "\xc3": "bool", "\x00": "integer", "\xff": "integer",
		"\xca": "float", "\xcb": "float", "\xcc": "integer", "\xd3": "integer", "\xa0": "string", "\xbf": "string", "\xd9": "string",
		"\xdb": "string", "\xc4": "binary", "\xc6": "binary", "\x90": "array", "\x9f": "array", "\xdc": "array", "\xdd": "array",
		"\x80": "map", "\x8f": "map", "\xde": "map", "\xdf": "map", "\xc7": "ext", "\xc9": "ext", "\xd4": "ext", "\xd8": "ext",
	} {
		if got := TypeName(Raw(in)); got != want {
			t.Errorf("%x: %s, want %s", in, got, want)
		}
	}
}
