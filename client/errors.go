package client

import (
	"context"
	"errors"
	"fmt"

	"gameserverd/wire"
)

// What crosses the wire, under the client's own name, so that a program needs no second import.
type (
	// Error is the error of a call, as the server sent it or as the client made it for a failure on this side.
	// errors.As finds it in every error that Call, Notify, Login and Pending return.
	Error = wire.Error
	// Code says what kind of failure an Error is; see the constants.
	Code = wire.Code
	// Raw is one encoded MessagePack value. As a result it receives the server's bytes, as a parameter it is sent as it is.
	Raw = wire.Raw
	// Closing is the server's reason for closing a connection.
	Closing = wire.Closing
)

// The error codes; docs/protocol.md says when the server uses which.
const (
	InvalidArgument    = wire.InvalidArgument
	Unauthenticated    = wire.Unauthenticated
	PermissionDenied   = wire.PermissionDenied
	Unimplemented      = wire.Unimplemented
	NotFound           = wire.NotFound
	AlreadyExists      = wire.AlreadyExists
	FailedPrecondition = wire.FailedPrecondition
	Aborted            = wire.Aborted
	OutOfRange         = wire.OutOfRange
	ResourceExhausted  = wire.ResourceExhausted
	DeadlineExceeded   = wire.DeadlineExceeded
	Canceled           = wire.Canceled
	Unavailable        = wire.Unavailable
	Internal           = wire.Internal
)

// ErrClosed is why a client ended on which Close was called. Calls that Close cut short, and calls made later, fail
// with an error of code Canceled for which errors.Is(err, ErrClosed) holds.
var ErrClosed = errors.New("the client was closed")

// ErrMayHaveRun marks a call that was sent and whose response can no longer come: errors.Is(err, ErrMayHaveRun) holds,
// and nobody knows whether the server ran it. The client never repeats such a call; a caller may when the method is
// safe to run twice.
var ErrMayHaveRun = errors.New("the call may or may not have run")

// CodeOf is the code of any error that this package returns, "" for nil. Context errors are DeadlineExceeded and
// Canceled; an error from elsewhere is Internal.
func CodeOf(err error) Code { return wire.CodeOf(err) }

// Errorf makes an error for a handler to answer with. The message crosses the wire.
func Errorf(code Code, format string, args ...any) *Error { return wire.Errorf(code, format, args...) }

// ClosingError is the end of a connection that the server announced with sys.closing.
type ClosingError struct{ Closing }

// Error gives the server's code and message.
func (e *ClosingError) Error() string {
	if e.Message == "" {
		return "the server closed the connection: " + e.Code
	}
	return "the server closed the connection: " + e.Code + ": " + e.Message
}

// callError is a failure that the client found by itself: an Error for CodeOf and errors.As, with its causes for errors.Is.
type callError struct {
	e      *Error
	causes []error
}

func failure(code Code, message string, causes ...error) error {
	return &callError{&Error{Code: code, Message: message}, causes}
}

func (e *callError) Error() string   { return e.e.Error() }
func (e *callError) Unwrap() []error { return append([]error{e.e}, e.causes...) }

// contextError is the error of a call whose context ended. errors.Is finds the context's own error in it.
func contextError(ctx context.Context, method string) error {
	err := ctx.Err()
	if errors.Is(err, context.DeadlineExceeded) {
		return failure(DeadlineExceeded, method+": no response before the context's deadline", err)
	}
	return failure(Canceled, method+": the context was canceled", err)
}

// lostError is the error of a call that was written to a connection which then ended.
func lostError(method string, cause error) error {
	return failure(Unavailable, fmt.Sprintf("%s: the connection ended before the response (%v): the call may or may not have run", method, cause),
		ErrMayHaveRun, cause)
}

// endedError is the error of a call on a client that has ended because of cause.
func endedError(method string, cause error, sent bool) error {
	code, text, causes := Unavailable, fmt.Sprintf("%s: the client has ended: %v", method, cause), []error{cause}
	if errors.Is(cause, ErrClosed) {
		code, text = Canceled, method+": the client was closed"
	}
	if sent {
		text += ": the call may or may not have run"
		causes = append(causes, ErrMayHaveRun)
	}
	return failure(code, text, causes...)
}
