package wire

import (
	"encoding/binary"
	"math"
)

// The functions here look at the value at the start of any bytes, validated or not. They return a length of 0 when it is
// of another type or not wholly there.

func isStr(c byte) bool   { return c >= 0xa0 && c <= 0xbf || c >= 0xd9 && c <= 0xdb }
func isBin(c byte) bool   { return c >= 0xc4 && c <= 0xc6 }
func isArray(c byte) bool { return c&0xf0 == 0x90 || c == 0xdc || c == 0xdd }
func isMap(c byte) bool   { return c&0xf0 == 0x80 || c == 0xde || c == 0xdf }

// arrayHead returns the number of elements and the length of the head.
func arrayHead(b []byte) (n uint64, size int) {
	if len(b) == 0 || !isArray(b[0]) {
		return 0, 0
	}
	if b[0]&0xf0 == 0x90 {
		return uint64(b[0] & 0x0f), 1
	}
	size, n, _ = measure(b)
	return n, size
}

// mapHead returns the number of entries and the length of the head.
func mapHead(b []byte) (n uint64, size int) {
	if len(b) == 0 || !isMap(b[0]) {
		return 0, 0
	}
	if b[0]&0xf0 == 0x80 {
		return uint64(b[0] & 0x0f), 1
	}
	size, n, _ = measure(b)
	return n / 2, size
}

// text returns where the bytes of a str or bin lie: b[start:end].
func text(b []byte) (start, end int) {
	if len(b) == 0 {
		return 0, 0
	}
	switch c := b[0]; {
	case c&0xe0 == 0xa0:
		start, end = 1, 1+int(c&0x1f)
	case isStr(c), isBin(c):
		end, _, _ = measure(b)
		switch c {
		case 0xc4, 0xd9:
			start = 2
		case 0xc5, 0xda:
			start = 3
		default:
			start = 5
		}
	}
	if end == 0 || end > len(b) {
		return 0, 0
	}
	return start, end
}

// integer returns an integer of any form. A negative one is returned as the bits of an int64.
func integer(b []byte) (v uint64, negative bool, size int) {
	if len(b) == 0 {
		return 0, false, 0
	}
	c := b[0]
	if c <= 0x7f {
		return uint64(c), false, 1
	}
	if c >= 0xe0 {
		return uint64(int64(int8(c))), true, 1
	}
	if c < 0xcc || c > 0xd3 {
		return 0, false, 0
	}
	size = int(forms[c])
	if len(b) < size {
		return 0, false, 0
	}
	switch c {
	case 0xcc:
		return uint64(b[1]), false, 2
	case 0xcd:
		return uint64(binary.BigEndian.Uint16(b[1:])), false, 3
	case 0xce:
		return uint64(binary.BigEndian.Uint32(b[1:])), false, 5
	case 0xcf:
		return binary.BigEndian.Uint64(b[1:]), false, 9
	case 0xd0:
		v = uint64(int64(int8(b[1])))
	case 0xd1:
		v = uint64(int64(int16(binary.BigEndian.Uint16(b[1:]))))
	case 0xd2:
		v = uint64(int64(int32(binary.BigEndian.Uint32(b[1:]))))
	default:
		v = binary.BigEndian.Uint64(b[1:])
	}
	return v, int64(v) < 0, size
}

// unsigned returns an integer that is not negative.
func unsigned(b []byte) (v uint64, size int) {
	v, negative, size := integer(b)
	if negative {
		return 0, 0
	}
	return v, size
}

// float returns a float of either width.
func float(b []byte) (v float64, size int) {
	switch {
	case len(b) >= 5 && b[0] == 0xca:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b[1:]))), 5
	case len(b) >= 9 && b[0] == 0xcb:
		return math.Float64frombits(binary.BigEndian.Uint64(b[1:])), 9
	}
	return 0, 0
}
