package wire

import (
	"encoding/binary"
	"math"
)

// AppendNil appends nil.
func AppendNil(b []byte) []byte { return append(b, 0xc0) }

// AppendBool appends v.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 0xc3)
	}
	return append(b, 0xc2)
}

// AppendInt appends v in the smallest form; one that is not negative as AppendUint does.
func AppendInt(b []byte, v int64) []byte {
	switch {
	case v >= 0:
		return AppendUint(b, uint64(v))
	case v >= -32:
		return append(b, byte(v))
	case v >= math.MinInt8:
		return append(b, 0xd0, byte(v))
	case v >= math.MinInt16:
		return append(b, 0xd1, byte(v>>8), byte(v))
	case v >= math.MinInt32:
		return append(b, 0xd2, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
}

// AppendUint appends v in the smallest form.
func AppendUint(b []byte, v uint64) []byte {
	switch {
	case v <= 0x7f:
		return append(b, byte(v))
	case v <= math.MaxUint8:
		return append(b, 0xcc, byte(v))
	case v <= math.MaxUint16:
		return append(b, 0xcd, byte(v>>8), byte(v))
	case v <= math.MaxUint32:
		return append(b, 0xce, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), v)
}

// AppendFloat32 appends v in 5 bytes.
func AppendFloat32(b []byte, v float32) []byte {
	return binary.BigEndian.AppendUint32(append(b, 0xca), math.Float32bits(v))
}

// AppendFloat64 appends v in 9 bytes; it never becomes an integer or a narrower float.
func AppendFloat64(b []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(v))
}

// AppendString appends s as str. It must be shorter than 4 GiB, as everything here.
func AppendString(b []byte, s string) []byte { return append(appendStrHead(b, len(s)), s...) }

func appendStr(b, s []byte) []byte { return append(appendStrHead(b, len(s)), s...) }

func appendStrHead(b []byte, n int) []byte {
	switch {
	case n <= 31:
		return append(b, 0xa0|byte(n))
	case n <= math.MaxUint8:
		return append(b, 0xd9, byte(n))
	}
	return appendHead(b, 0xda, n)
}

// AppendBytes appends v as bin; nil as the empty one.
func AppendBytes(b []byte, v []byte) []byte {
	if n := len(v); n <= math.MaxUint8 {
		b = append(b, 0xc4, byte(n))
	} else {
		b = appendHead(b, 0xc5, n)
	}
	return append(b, v...)
}

// AppendArray appends the head of an array of n elements, which the caller appends. n is from 0 to 2^32-1.
func AppendArray(b []byte, n int) []byte {
	if n <= 15 {
		return append(b, 0x90|byte(n))
	}
	return appendHead(b, 0xdc, n)
}

// AppendMap appends the head of a map of n entries, which the caller appends, each key before its value. n is from 0 to 2^32-1.
func AppendMap(b []byte, n int) []byte {
	if n <= 15 {
		return append(b, 0x80|byte(n))
	}
	return appendHead(b, 0xde, n)
}

// appendHead appends c and n in 2 bytes, or c+1 and n in 4.
func appendHead(b []byte, c byte, n int) []byte {
	if n <= math.MaxUint16 {
		return append(b, c, byte(n>>8), byte(n))
	}
	return append(b, c+1, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
