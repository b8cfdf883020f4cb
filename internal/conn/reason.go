package conn

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Reason says why a connection ended.
type Reason uint8

// The reasons. Those that a Set finds by itself are all but Local; the owner of
// a connection may give any of them to Close and Shutdown.
const (
	Local        Reason = iota // its owner closed it
	PeerClosed                 // the peer closed it, or it cannot be written to any more
	Reset                      // the peer reset it
	Timeout                    // the kernel gave the peer up, or a wait for it was over
	SlowConsumer               // more output waited than is allowed; closed with an RST
	InputFull                  // more input was kept than is allowed
	LoopClosed                 // its loop has ended
	Broken                     // any other error of the socket, or a panic in the handler
	reasons
)

var reasonNames = [reasons]string{"local", "peer_closed", "reset", "timeout", "slow_consumer", "input_full", "loop_closed", "broken"}

// String returns a short name such as "slow_consumer", fit for logs and labels.
func (r Reason) String() string {
	if r < reasons {
		return reasonNames[r]
	}
	return "reason " + strconv.Itoa(int(r))
}

// CloseError is the error of every Closed call.
type CloseError struct {
	Reason Reason
	Err    error // the system's error or the one given to Close; nil if there is none
}

// Error names the reason and the error behind it.
func (e *CloseError) Error() string {
	if e.Err == nil {
		return "connection closed: " + e.Reason.String()
	}
	return "connection closed: " + e.Reason.String() + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *CloseError) Unwrap() error { return e.Err }

// CloseReason returns the reason's name, for those who do not import this package.
func (e *CloseError) CloseReason() string { return e.Reason.String() }

// reasonOf is the reason that a socket's error amounts to.
func reasonOf(errno syscall.Errno) Reason {
	switch errno {
	case unix.ECONNRESET, unix.ECONNABORTED:
		return Reset
	case unix.EPIPE:
		return PeerClosed
	case unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH:
		return Timeout
	}
	return Broken
}
