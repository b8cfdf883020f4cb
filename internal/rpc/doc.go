// Package rpc is the protocol of the game server: MessagePack-RPC messages in,
// calls of registered methods, responses and notifications out, sessions known
// by uid, rooms, and calls from the server to a client.
//
// It is not a network package: bytes come in through Hub.Data and leave through
// a Link, time and turns come from a Loop, and both are small interfaces that
// internal/server joins to internal/conn and internal/loop. So all of it runs in
// a test without a socket.
//
// Its one invariant: a session belongs to one Hub, a Hub to one loop, and all
// that concerns a player happens on the loop of the player's Hub, one piece at a
// time. What comes from elsewhere goes through the Hub's inbox, in the order it
// was sent.
package rpc

import (
	"gameserverd/wire"
)

// Raw is one encoded MessagePack value. As a parameter of a plain method it is
// valid until the method returns; methods that finish later get a copy.
type Raw = wire.Raw

// Error is an answer other than success; see wire.Error.
type Error = wire.Error

// The codes of the protocol page, section 3, under the names handlers use.
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

// Errorf makes the error that a method answers with: a code of the protocol and
// a message for people. Any goroutine.
func Errorf(code wire.Code, format string, args ...any) *Error {
	return wire.Errorf(code, format, args...)
}
