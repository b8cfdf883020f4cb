package rpc

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"

	"gameserverd/wire"
)

// Args reads the positional params of one call in order. The bytes have been
// validated before; what remains is whether they fit the method. Every error is
// an *Error with code invalid_argument that names the method and the parameter.
// It is valid until the method's decoder returns.
type Args struct {
	r      wire.Reader
	method *Method
	left   int // params not read yet
}

// reset makes a read the params array raw of a call of m.
func (a *Args) reset(m *Method, raw Raw) error {
	a.r = wire.NewReader(raw)
	a.method = m
	n, err := a.r.Array()
	a.left = n
	return err
}

// Count reports an error unless from min to max params were given. A decoder
// calls it first. Loop only.
func (a *Args) Count(min, max int) error {
	if a.left >= min && a.left <= max {
		return nil
	}
	return Errorf(InvalidArgument, "%s takes %s, got %d", a.method.Name, a.method.signature(min, max), a.left)
}

// signature says in words what a method takes: "2 params (x, y)".
func (m *Method) signature(min, max int) string {
	if max == 0 {
		return "no params"
	}
	var names []string
	for _, p := range m.Params {
		if p.Optional {
			names = append(names, "["+p.Name+"]")
		} else {
			names = append(names, p.Name)
		}
	}
	count := fmt.Sprintf("%d to %d", min, max)
	if min == max {
		count = fmt.Sprint(max)
	}
	unit := "params"
	if max == 1 {
		unit = "param"
	}
	return fmt.Sprintf("%s %s (%s)", count, unit, strings.Join(names, ", "))
}

// More reports whether an optional param is there; one that is nil counts as
// left out and is read. Loop only.
func (a *Args) More() bool {
	if a.left == 0 {
		return false
	}
	if a.r.Nil() {
		a.left--
		return false
	}
	return true
}

func (a *Args) wrong(name, want string) error {
	return Errorf(InvalidArgument, "%s: %s must be %s, got %s", a.method.Name, name, want, wire.TypeName(a.r.Rest()))
}

func signed[T int8 | int16 | int32 | int64 | int](a *Args, name string, min, max int64) (T, error) {
	v, err := a.r.Int64()
	if err != nil {
		return 0, a.notAnInteger(name, min, fmt.Sprint(max))
	}
	if v < min || v > max {
		return 0, Errorf(InvalidArgument, "%s: %s must be an integer from %d to %d, got %d", a.method.Name, name, min, max, v)
	}
	a.left--
	return T(v), nil
}

func unsigned[T uint8 | uint16 | uint32 | uint64 | uint](a *Args, name string, max uint64) (T, error) {
	v, err := a.r.Uint64()
	if err != nil {
		return 0, a.notAnInteger(name, 0, fmt.Sprint(max))
	}
	if v > max {
		return 0, Errorf(InvalidArgument, "%s: %s must be an integer from 0 to %d, got %d", a.method.Name, name, max, v)
	}
	a.left--
	return T(v), nil
}

// notAnInteger tells a value of another type from an integer out of range.
func (a *Args) notAnInteger(name string, min int64, max string) error {
	want := fmt.Sprintf("an integer from %d to %s", min, max)
	if v, err := a.r.Int64(); err == nil {
		return Errorf(InvalidArgument, "%s: %s must be %s, got %d", a.method.Name, name, want, v)
	}
	if v, err := a.r.Uint64(); err == nil {
		return Errorf(InvalidArgument, "%s: %s must be %s, got %d", a.method.Name, name, want, v)
	}
	return a.wrong(name, want)
}

// Int64 reads a signed 64-bit integer of any MessagePack width. Loop only.
func (a *Args) Int64(name string) (int64, error) {
	return signed[int64](a, name, math.MinInt64, math.MaxInt64)
}

// Int32 reads a signed 32-bit integer. Loop only.
func (a *Args) Int32(name string) (int32, error) {
	return signed[int32](a, name, math.MinInt32, math.MaxInt32)
}

// Int16 reads a signed 16-bit integer. Loop only.
func (a *Args) Int16(name string) (int16, error) {
	return signed[int16](a, name, math.MinInt16, math.MaxInt16)
}

// Int8 reads a signed 8-bit integer. Loop only.
func (a *Args) Int8(name string) (int8, error) {
	return signed[int8](a, name, math.MinInt8, math.MaxInt8)
}

// Int reads a signed 64-bit integer as Go's int. Loop only.
func (a *Args) Int(name string) (int, error) { return signed[int](a, name, math.MinInt, math.MaxInt) }

// Uint64 reads an unsigned 64-bit integer. Loop only.
func (a *Args) Uint64(name string) (uint64, error) { return unsigned[uint64](a, name, math.MaxUint64) }

// Uint32 reads an unsigned 32-bit integer. Loop only.
func (a *Args) Uint32(name string) (uint32, error) { return unsigned[uint32](a, name, math.MaxUint32) }

// Uint16 reads an unsigned 16-bit integer. Loop only.
func (a *Args) Uint16(name string) (uint16, error) { return unsigned[uint16](a, name, math.MaxUint16) }

// Uint8 reads an unsigned 8-bit integer. Loop only.
func (a *Args) Uint8(name string) (uint8, error) { return unsigned[uint8](a, name, math.MaxUint8) }

// Uint reads an unsigned 64-bit integer as Go's uint. Loop only.
func (a *Args) Uint(name string) (uint, error) { return unsigned[uint](a, name, math.MaxUint) }

// Float64 reads a number; an integer is taken as one. Loop only.
func (a *Args) Float64(name string) (float64, error) {
	v, err := a.r.Float64()
	if err != nil {
		return 0, a.wrong(name, "a number")
	}
	a.left--
	return v, nil
}

// Float32 reads a number that fits a 32-bit float's range. Loop only.
func (a *Args) Float32(name string) (float32, error) {
	v, err := a.r.Float64()
	if err != nil {
		return 0, a.wrong(name, "a number")
	}
	if math.Abs(v) > math.MaxFloat32 && !math.IsInf(v, 0) {
		return 0, Errorf(InvalidArgument, "%s: %s must be a 32-bit float, got %g", a.method.Name, name, v)
	}
	a.left--
	return float32(v), nil
}

// Bool reads a boolean. Loop only.
func (a *Args) Bool(name string) (bool, error) {
	v, err := a.r.Bool()
	if err != nil {
		return false, a.wrong(name, "a boolean")
	}
	a.left--
	return v, nil
}

// String reads a string, which must be valid UTF-8. Loop only.
func (a *Args) String(name string) (string, error) {
	v, err := a.r.String()
	if err != nil {
		return "", a.wrong(name, "a string")
	}
	if strings.ToValidUTF8(v, "") != v {
		return "", Errorf(InvalidArgument, "%s: %s must be valid UTF-8", a.method.Name, name)
	}
	a.left--
	return v, nil
}

// Bytes reads binary data, or a string as its bytes, into a slice of its own.
// Loop only.
func (a *Args) Bytes(name string) ([]byte, error) {
	v, err := a.r.Bytes()
	if err != nil {
		return nil, a.wrong(name, "binary")
	}
	a.left--
	return append([]byte{}, v...), nil
}

// Raw reads a value of any type without decoding it. It aliases the connection's
// buffer and is valid until the method returns. Loop only.
func (a *Args) Raw(string) (Raw, error) {
	a.left--
	return a.r.Raw(), nil
}

// RawCopy is Raw in a slice of its own. Loop only.
func (a *Args) RawCopy(name string) (Raw, error) {
	v, err := a.Raw(name)
	return append(Raw{}, v...), err
}

// ArgDecode reads a param of a composite type (struct, map, slice, any) through
// msgpack/v5. Loop only.
func ArgDecode[T any](a *Args, name string) (T, error) {
	var v T
	raw := a.r.Raw()
	a.left--
	err := wire.Unmarshal(raw, &v)
	if err == nil {
		return v, nil
	}
	if want, fits := shape(reflect.TypeFor[T](), wire.TypeName(raw)); !fits {
		return v, Errorf(InvalidArgument, "%s: %s must be %s, got %s", a.method.Name, name, want, wire.TypeName(raw))
	}
	return v, Errorf(InvalidArgument, "%s: a value in %s does not fit: %s", a.method.Name, name, decodeProblem(err))
}

// shape says in words what a Go type is on the wire, and whether a value whose
// type has the name got can be one.
func shape(t reflect.Type, got string) (want string, fits bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "a map", got == "map"
	case reflect.Slice:
		return "an array", got == "array"
	}
	return "", true
}

// decodeProblem is what the decoder says of a value inside a param. Its own words
// for a wrong type are a byte in hexadecimal, which tells a client nothing.
func decodeProblem(err error) string {
	var wrong *wire.TypeError
	if errors.As(err, &wrong) {
		return fmt.Sprintf("want %s, got %s", wrong.Want, wrong.Got)
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	problem := strings.TrimPrefix(err.Error(), "msgpack: ")
	if strings.HasPrefix(problem, "invalid code=") {
		return "it has another type than is wanted there"
	}
	return problem
}

// AppendValue appends a result of any type that wire.AppendAny takes. Any
// goroutine.
func AppendValue(out []byte, v any) ([]byte, error) { return wire.AppendAny(out, v) }
