// Package msgjson writes MessagePack values as JSON and reads JSON into values of
// MessagePack: what a person types, reads or pipes into another program. It does
// no I/O and knows no message of the protocol.
//
// Invariant: what Append writes, Parse reads into the same value, but for
// extensions, which nobody may send.
package msgjson

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
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

// Append appends v, which must be validated, as JSON without white space.
// The order of maps is kept, integers are exact, and a float always has a point
// or an exponent. A key that is no string becomes its own JSON text, of
// which a key that is a list or a map is "…". Any goroutine.
func Append(b []byte, v wire.Raw) []byte {
	r := wire.NewReader(v)
	return appendValue(b, &r, false)
}

// appendValue appends the next value; inKey: into the text that stands for a key.
func appendValue(b []byte, r *wire.Reader, inKey bool) []byte {
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
		return AppendText(b, string(s))
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
			b = appendValue(b, r, inKey)
		}
		return append(b, ']')
	case "map":
		return appendMap(b, r, inKey)
	default:
		return appendExt(b, r.Raw())
	}
}

func appendMap(b []byte, r *wire.Reader, inKey bool) []byte {
	n, _ := r.Map()
	b = append(b, '{')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		key := appendKey(r, inKey)
		b = append(append(b, key...), ':')
		b = appendValue(b, r, inKey)
	}
	return append(b, '}')
}

// appendKey is the text of a key. A key of a key of a key that are lists or maps
// would double its backslashes each time, so the second is not written out.
func appendKey(r *wire.Reader, inKey bool) []byte {
	if t := wire.TypeName(r.Rest()); inKey && (t == "array" || t == "map") {
		r.Raw()
		return []byte(`"…"`)
	}
	key := appendValue(nil, r, true)
	if key[0] != '"' {
		key = AppendText(nil, string(key))
	}
	return key
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

// AppendText appends s as a JSON string. Characters that a terminal obeys instead
// of showing are escaped, also those above the ASCII range. Any goroutine.
func AppendText(b []byte, s string) []byte {
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
