package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"gameserverd/wire"
)

// JSON has no form for some values of MessagePack, so these objects stand for
// them, in arguments as well as in results:
//
//	{"$bin": "base64"}          binary
//	{"$str": "base64"}          a string that is not UTF-8
//	{"$float": "NaN"}           NaN, +Inf, -Inf
//	{"$ext": [type, "base64"]}  an extension; in results only
const (
	binKey   = "$bin"
	strKey   = "$str"
	floatKey = "$float"
	extKey   = "$ext"
)

// ParseArg reads one argument of the command line: JSON, or a text that is not
// JSON and then stands for itself, so that names need no quotes inside quotes.
// Text that begins like an object, a list or a quoted string must be JSON. The
// value is one that wire.AppendAny takes; integers stay exact and must fit 64
// bits. Any goroutine.
func ParseArg(arg string) (any, error) {
	dec := json.NewDecoder(strings.NewReader(arg))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more follows after the value")
		}
	}
	if err != nil {
		if trimmed := strings.TrimLeft(arg, " \t\r\n"); trimmed != "" && strings.Contains(`{["`, trimmed[:1]) {
			return nil, fmt.Errorf("%s is not JSON: %w", arg, err)
		}
		return arg, nil
	}
	return fromJSON(v)
}

// fromJSON replaces, in place, what only JSON has.
func fromJSON(v any) (_ any, err error) {
	switch v := v.(type) {
	case json.Number:
		return fromNumber(v.String())
	case []any:
		for i := range v {
			if v[i], err = fromJSON(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		if special, ok, err := fromSpecial(v); ok {
			return special, err
		}
		for k := range v {
			if v[k], err = fromJSON(v[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func fromNumber(s string) (any, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, fmt.Errorf("%s does not fit a 64-bit float", s)
		}
		return f, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return n, nil
	}
	return nil, fmt.Errorf("%s does not fit a 64-bit integer", s)
}

// fromSpecial reads the objects that stand for values without a JSON form.
func fromSpecial(m map[string]any) (v any, ok bool, err error) {
	if len(m) != 1 {
		return nil, false, nil
	}
	for key, inside := range m {
		text, isText := inside.(string)
		if !isText || key != binKey && key != strKey && key != floatKey {
			return nil, false, nil
		}
		if key == floatKey {
			switch text {
			case "NaN", "+Inf", "-Inf":
				f, err := strconv.ParseFloat(text, 64)
				return f, true, err
			}
			return nil, true, fmt.Errorf(`%s must be "NaN", "+Inf" or "-Inf", got %q`, key, text)
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, true, fmt.Errorf("%s must be base64, got %q", key, text)
		}
		if key == strKey {
			return string(b), true, nil
		}
		return b, true, nil
	}
	return nil, false, nil
}

// AppendJSON appends v, which must be validated, as JSON without white space.
// The order of maps is kept, integers are exact, and a float always has a point
// or an exponent. A key that is no string becomes its own JSON text. Any
// goroutine.
func AppendJSON(b []byte, v wire.Raw) []byte {
	r := wire.NewReader(v)
	return appendValue(b, &r)
}

func appendValue(b []byte, r *wire.Reader) []byte {
	switch wire.TypeName(r.Rest()) {
	case "nil":
		r.Nil()
		return append(b, "null"...)
	case "bool":
		v, _ := r.Bool()
		return strconv.AppendBool(b, v)
	case "integer":
		if n, err := r.Uint64(); err == nil {
			return strconv.AppendUint(b, n, 10)
		}
		n, _ := r.Int64()
		return strconv.AppendInt(b, n, 10)
	case "float":
		return appendFloat(b, r)
	case "string":
		s, _ := r.Str()
		if !utf8.Valid(s) {
			return appendSpecial(b, strKey, s)
		}
		return appendText(b, string(s))
	case "binary":
		s, _ := r.Bytes()
		return appendSpecial(b, binKey, s)
	case "array":
		n, _ := r.Array()
		b = append(b, '[')
		for i := range n {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, r)
		}
		return append(b, ']')
	case "map":
		return appendMap(b, r)
	default:
		return appendExt(b, r.Raw())
	}
}

func appendMap(b []byte, r *wire.Reader) []byte {
	n, _ := r.Map()
	b = append(b, '{')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		key := appendValue(nil, r)
		if key[0] != '"' {
			key = appendText(nil, string(key))
		}
		b = append(append(b, key...), ':')
		b = appendValue(b, r)
	}
	return append(b, '}')
}

func appendFloat(b []byte, r *wire.Reader) []byte {
	bits := 64
	if r.Rest()[0] == 0xca {
		bits = 32
	}
	f, _ := r.Float64()
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Appendf(b, `{%q:%q}`, floatKey, strconv.FormatFloat(f, 'g', -1, 64))
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, bits)
	if !bytes.ContainsAny(b[start:], ".e") {
		b = append(b, ".0"...)
	}
	return b
}

func appendSpecial(b []byte, key string, v []byte) []byte {
	return fmt.Appendf(b, `{%q:%q}`, key, base64.StdEncoding.EncodeToString(v))
}

// appendExt writes an extension:
//
//	| 0xd4..0xd8 | type | 1, 2, 4, 8, 16 bytes |
//	| 0xc7..0xc9 | length in 1, 2, 4 bytes | type | bytes |
func appendExt(b []byte, v wire.Raw) []byte {
	at := 1 // of the type
	if first := v[0]; first >= 0xc7 && first <= 0xc9 {
		at += 1 << (first - 0xc7)
	}
	return fmt.Appendf(b, `{%q:[%d,%q]}`, extKey, int8(v[at]), base64.StdEncoding.EncodeToString(v[at+1:]))
}

// appendText writes a JSON string. Characters that a terminal obeys instead of
// showing are escaped, also those above the ASCII range.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069':
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
