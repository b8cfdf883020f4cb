package store

import (
	"errors"
	"fmt"
	"strconv"
)

// ErrNilReply is the error of a Reply's accessors when the reply is nil: no such key, member or field.
var ErrNilReply = errors.New("store: the redis reply is nil")

// Reply is what a server has answered to one command. The accessors convert where nothing is lost, since a server says an integer as
// one or as its digits depending on the command; they return Err if it is set, and ErrNilReply for nil. It may be copied and shared.
type Reply struct {
	Err error // of a command of a Batch, as Execute would have failed; nil otherwise

	value any // nil, int64, string or []any of those, where an error may be an element
}

// Nil tells whether the command was answered with nil. Any goroutine.
func (r Reply) Nil() bool { return r.Err == nil && r.value == nil }

// Value is the reply as it came: nil, int64, string, or []any of such values, of which one may be an error. It belongs to the reply:
// do not change it. Any goroutine.
func (r Reply) Value() any { return r.value }

// Int is an integer, or the integer that a string spells. Any goroutine.
func (r Reply) Int() (int64, error) {
	switch v := r.value.(type) {
	case int64:
		return v, nil
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, r.not("an integer")
}

// Float is a number, or the number that a string spells, as scores come. Any goroutine.
func (r Reply) Float() (float64, error) {
	switch v := r.value.(type) {
	case int64:
		return float64(v), nil
	case string:
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			return n, nil
		}
	}
	return 0, r.not("a number")
}

// String is a string, or an integer's digits. Any goroutine.
func (r Reply) String() (string, error) {
	switch v := r.value.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	}
	return "", r.not("a string")
}

// Bytes is String as bytes of the caller's own. Any goroutine.
func (r Reply) Bytes() ([]byte, error) {
	s, err := r.String()
	if err != nil {
		return nil, err
	}
	return []byte(s), nil
}

// Strings is an array of strings and integers, where nil becomes "" (Array tells them apart). A hash or a range with scores is one
// too: field, value, field, value. Any goroutine.
func (r Reply) Strings() ([]string, error) {
	elements, err := r.Array()
	if err != nil {
		return nil, err
	}
	out := make([]string, len(elements))
	for i, e := range elements {
		if e.Nil() {
			continue
		}
		if out[i], err = e.String(); err != nil {
			return nil, fmt.Errorf("%w (element %d)", err, i)
		}
	}
	return out, nil
}

// Array is an array of replies, each with an Err of its own, as a script that collects them returns. Any goroutine.
func (r Reply) Array() ([]Reply, error) {
	elements, is := r.value.([]any)
	if !is {
		return nil, r.not("an array")
	}
	out := make([]Reply, len(elements))
	for i, e := range elements {
		if err, is := e.(error); is {
			out[i].Err = &ReplyError{Message: err.Error()}
		} else {
			out[i].value = e
		}
	}
	return out, nil
}

// not is the error of an accessor that finds something else. It does not quote the reply.
func (r Reply) not(want string) error {
	switch r.value.(type) {
	case nil:
		if r.Err != nil {
			return r.Err
		}
		return ErrNilReply
	case int64:
		return fmt.Errorf("store: the redis reply is an integer, not %s", want)
	case string:
		return fmt.Errorf("store: the redis reply is a string, not %s", want)
	case []any:
		return fmt.Errorf("store: the redis reply is an array, not %s", want)
	}
	return fmt.Errorf("store: the redis reply is %T, not %s", r.value, want)
}
