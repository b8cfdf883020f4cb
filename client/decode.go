package client

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"gameserverd/wire"
)

// decode reads the validated value b into what into points to, and leaves that alone on an error. The common types take
// no reflection; nothing decoded refers to b.
func decode(b Raw, into any) error {
	r := wire.NewReader(b)
	switch p := into.(type) {
	case *int64:
		return set(p, r.Int64)
	case *uint64:
		return set(p, r.Uint64)
	case *int:
		return setInt(p, &r)
	case *int8:
		return setInt(p, &r)
	case *int16:
		return setInt(p, &r)
	case *int32:
		return setInt(p, &r)
	case *uint:
		return setUint(p, &r)
	case *uint8:
		return setUint(p, &r)
	case *uint16:
		return setUint(p, &r)
	case *uint32:
		return setUint(p, &r)
	case *float64:
		return set(p, r.Float64)
	case *bool:
		return set(p, r.Bool)
	case *string:
		return set(p, r.String)
	case *Raw:
		*p = bytes.Clone(b)
		return nil
	}
	return wire.Unmarshal(b, into)
}

func set[T any](p *T, read func() (T, error)) error {
	v, err := read()
	if err == nil {
		*p = v
	}
	return err
}

func setInt[T int | int8 | int16 | int32](p *T, r *wire.Reader) error {
	v, err := r.Int64()
	if err == nil && int64(T(v)) != v {
		err = &wire.TypeError{Want: fmt.Sprintf("integer (%T)", *p), Got: strconv.FormatInt(v, 10)}
	}
	if err == nil {
		*p = T(v)
	}
	return err
}

func setUint[T uint | uint8 | uint16 | uint32](p *T, r *wire.Reader) error {
	v, err := r.Uint64()
	if err == nil && uint64(T(v)) != v {
		err = &wire.TypeError{Want: fmt.Sprintf("integer (%T)", *p), Got: strconv.FormatUint(v, 10)}
	}
	if err == nil {
		*p = T(v)
	}
	return err
}

// decodeResult is decode for the result of a call.
func decodeResult(method string, b Raw, into any) error {
	if err := decode(b, into); err != nil {
		return failure(Internal, fmt.Sprintf("%s: the result cannot be decoded: %s", method, describe(err)), err)
	}
	return nil
}

// describe says in a message what is wrong with a value.
func describe(err error) string {
	var t *wire.TypeError
	if errors.As(err, &t) {
		return "must be " + t.Want + ", got " + t.Got
	}
	return err.Error()
}
