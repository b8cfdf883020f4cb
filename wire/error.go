package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Code says in one word why a call failed, for programs.
type Code string

// The codes of the protocol. Peers may send others.
const (
	InvalidArgument    Code = "invalid_argument"    // params do not fit the method: count, type or range
	Unauthenticated    Code = "unauthenticated"     // the method needs a login, or the token is bad
	PermissionDenied   Code = "permission_denied"   // logged in, but not allowed
	Unimplemented      Code = "unimplemented"       // no such method
	NotFound           Code = "not_found"           // what was asked for does not exist
	AlreadyExists      Code = "already_exists"      // what was to be made exists
	FailedPrecondition Code = "failed_precondition" // not in this state
	Aborted            Code = "aborted"             // something else came between: start again
	OutOfRange         Code = "out_of_range"        // past the end of what there is
	ResourceExhausted  Code = "resource_exhausted"  // a limit was hit; RetryAfter says when to try again
	DeadlineExceeded   Code = "deadline_exceeded"   // the time was over
	Canceled           Code = "canceled"            // the caller gave up
	Unavailable        Code = "unavailable"         // for now; safe to try again after RetryAfter
	Internal           Code = "internal"            // a bug
)

// Error is how a call fails on the wire:
//
//	{"code": str, "message": str, "data": any, "retry_after_ms": uint}    the last two only where they are set
type Error struct {
	Code       Code
	Message    string        // for people; nothing internal
	Data       any           // for programs, nil: none; of an Error that came from the wire a Raw of its own
	RetryAfter time.Duration // 0: nothing is said; sent as milliseconds, rounded up
}

// Error is "code: message".
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Errorf returns an Error with a formatted message. An operand of %w is printed but not kept: what is inside stays here.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Errorf(format, args...).Error()}
}

// CodeOf is the code with which err is to be reported: that of the first *Error in its chain, DeadlineExceeded and
// Canceled for the context's errors, otherwise Internal; "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	switch {
	case errors.As(err, &e) && e != nil && e.Code != "":
		return e.Code
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return Canceled
	}
	return Internal
}

// AppendError appends e as the error of a response: nil for nil, else a map. Data that cannot be encoded is left out.
func AppendError(b []byte, e *Error) []byte {
	if e == nil {
		return AppendNil(b)
	}
	head := len(b)
	b = AppendMap(b, 2)
	b = AppendString(AppendString(b, "code"), string(e.Code))
	b = AppendString(AppendString(b, "message"), e.Message)
	if e.Data != nil {
		before := len(b)
		var err error
		if b, err = AppendAny(AppendString(b, "data"), e.Data); err == nil {
			b[head]++
		} else {
			b = b[:before]
		}
	}
	if e.RetryAfter > 0 {
		b = AppendUint(AppendString(b, "retry_after_ms"), millis(e.RetryAfter))
		b[head]++
	}
	return b
}

// ParseError reads the error of a response, validated: nil for nil, and for a Raw that is nil. An error in another
// form than ours, or a map without code, has the code Internal; where there is no message the value itself is the message.
func ParseError(b Raw) *Error {
	if len(b) == 0 || b[0] == 0xc0 {
		return nil
	}
	e := &Error{Code: Internal}
	r := NewReader(b)
	n, err := r.Map()
	if err != nil {
		e.Message = describe(b)
		return e
	}
	hasMessage := false
	for ; n > 0 && len(r.Rest()) > 0; n-- {
		key := r.Raw()
		value := NewReader(r.Raw())
		start, end := text(key)
		switch string(key[start:end]) {
		case "code":
			if s, err := value.String(); err == nil && s != "" {
				e.Code = Code(s)
			}
		case "message":
			if s, err := value.String(); err == nil {
				e.Message, hasMessage = s, true
			}
		case "data":
			if !value.Nil() {
				e.Data = Raw(bytes.Clone(value.Rest()))
			}
		case "retry_after_ms":
			if ms, err := value.Uint64(); err == nil {
				e.RetryAfter = fromMillis(ms)
			}
		}
	}
	if !hasMessage {
		e.Message = describe(b)
	}
	return e
}

// describe prints a value for people.
func describe(b Raw) string {
	var v any
	if err := Unmarshal(b, &v); err != nil {
		return TypeName(b)
	}
	return fmt.Sprint(v)
}

// millis rounds up, so that nobody comes back too early.
func millis(d time.Duration) uint64 {
	ms := d / time.Millisecond
	if d > ms*time.Millisecond {
		ms++
	}
	return uint64(ms)
}

// fromMillis stays below what a Duration holds, 292 years.
func fromMillis(ms uint64) time.Duration {
	const most = uint64(1<<63-1) / uint64(time.Millisecond)
	return time.Duration(min(ms, most)) * time.Millisecond
}

// EncodeMsgpack is for msgpack/v5, when an Error is part of something else.
func (e *Error) EncodeMsgpack(enc *msgpack.Encoder) error {
	_, err := enc.Writer().Write(AppendError(nil, e))
	return err
}
