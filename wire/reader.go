package wire

import "strconv"

// TypeError says that a value is of another type than the one asked for, or out of its range.
type TypeError struct {
	Want string // "integer (int64)", "string", ...
	Got  string // as TypeName has it; of an integer out of range its digits
}

// Error is "want one, got the other".
func (e *TypeError) Error() string { return "want " + e.Want + ", got " + e.Got }

// Reader reads the values in validated bytes one after another. A method that fails, always with a *TypeError, consumes
// nothing, so the value can be read as something else. Where nothing is left the type is "nothing". The slices that it
// returns lie in the bytes read.
type Reader struct {
	b   Raw
	off int
}

// NewReader returns a Reader of b: one validated value, or several in a row.
func NewReader(b Raw) Reader { return Reader{b: b} }

// Rest returns what was not read.
func (r *Reader) Rest() []byte { return r.b[r.off:] }

func (r *Reader) mismatch(want string) error {
	return &TypeError{Want: want, Got: TypeName(r.b[r.off:])}
}

// Array reads the head of an array; its elements, as many as returned, are to be read next.
func (r *Reader) Array() (int, error) {
	n, size := arrayHead(r.b[r.off:])
	if size == 0 {
		return 0, r.mismatch("array")
	}
	r.off += size
	return int(n), nil
}

// Map reads the head of a map; its entries, as many as returned, are to be read next, each key before its value.
func (r *Reader) Map() (int, error) {
	n, size := mapHead(r.b[r.off:])
	if size == 0 {
		return 0, r.mismatch("map")
	}
	r.off += size
	return int(n), nil
}

// Int64 reads an integer of any form that fits.
func (r *Reader) Int64() (int64, error) {
	v, negative, size := integer(r.b[r.off:])
	if size == 0 {
		return 0, r.mismatch("integer (int64)")
	}
	if !negative && v > 1<<63-1 {
		return 0, &TypeError{Want: "integer (int64)", Got: strconv.FormatUint(v, 10)}
	}
	r.off += size
	return int64(v), nil
}

// Uint64 reads an integer of any form that is not negative.
func (r *Reader) Uint64() (uint64, error) {
	v, negative, size := integer(r.b[r.off:])
	if size == 0 {
		return 0, r.mismatch("integer (uint64)")
	}
	if negative {
		return 0, &TypeError{Want: "integer (uint64)", Got: strconv.FormatInt(int64(v), 10)}
	}
	r.off += size
	return v, nil
}

// Float64 reads a float of either width, or an integer, which beyond 2^53 is rounded.
func (r *Reader) Float64() (float64, error) {
	b := r.b[r.off:]
	if v, size := float(b); size > 0 {
		r.off += size
		return v, nil
	}
	v, negative, size := integer(b)
	if size == 0 {
		return 0, r.mismatch("number")
	}
	r.off += size
	if negative {
		return float64(int64(v)), nil
	}
	return float64(v), nil
}

// Bool reads true or false.
func (r *Reader) Bool() (bool, error) {
	if r.off < len(r.b) && r.b[r.off]|1 == 0xc3 {
		r.off++
		return r.b[r.off-1] == 0xc3, nil
	}
	return false, r.mismatch("bool")
}

// Nil reports whether the next value is nil, and if so reads it.
func (r *Reader) Nil() bool {
	if r.off < len(r.b) && r.b[r.off] == 0xc0 {
		r.off++
		return true
	}
	return false
}

// String reads a str or bin into a string of its own. It is not required to be UTF-8.
func (r *Reader) String() (string, error) {
	s, err := r.Str()
	return string(s), err
}

// Str is String without the copy.
func (r *Reader) Str() ([]byte, error) { return r.text("string") }

// Bytes reads a bin or str. The result is not nil even when it is empty.
func (r *Reader) Bytes() ([]byte, error) { return r.text("binary") }

func (r *Reader) text(want string) ([]byte, error) {
	b := r.b[r.off:]
	start, end := text(b)
	if end == 0 {
		return nil, r.mismatch(want)
	}
	r.off += end
	return b[start:end:end], nil
}

// Raw reads the next value whole, whatever it is; nil when nothing is left.
func (r *Reader) Raw() Raw {
	b := r.b[r.off:]
	if len(b) == 0 {
		return nil
	}
	n := Skip(b)
	r.off += n
	return b[:n:n]
}

// TypeName names the type of the first value in b, for messages: "nil", "bool", "integer", "float", "string", "binary",
// "array", "map", "ext"; "nothing" when b is empty.
func TypeName(b Raw) string {
	if len(b) == 0 {
		return "nothing"
	}
	switch c := b[0]; {
	case c == 0xc0:
		return "nil"
	case c == 0xc1:
		return "invalid"
	case c == 0xc2, c == 0xc3:
		return "bool"
	case c == 0xca, c == 0xcb:
		return "float"
	case isStr(c):
		return "string"
	case isBin(c):
		return "binary"
	case isArray(c):
		return "array"
	case isMap(c):
		return "map"
	case isExt(c):
		return "ext"
	}
	return "integer"
}
