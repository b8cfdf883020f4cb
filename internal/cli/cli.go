// Package cli is what the subcommands of gameserverd do on a terminal: read
// arguments, print results, explain errors in words. It has no flags and no
// cobra (cmd/gameserverd has), and starts no daemon.
//
// Invariant: standard output gets results only, everything else goes to
// standard error.
package cli

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The exit codes of the daemon and its subcommands.
const (
	ExitFailed      = 1   // could not start, or the call failed
	ExitUsage       = 2   // bad usage or configuration
	ExitCut         = 3   // the drain was cut by the deadline
	ExitInterrupted = 130 // a second signal, or an interrupted call
)

// ExitError ends the process with Code. Only main turns it into os.Exit.
type ExitError struct {
	Code int
	Err  error // nil: everything worth saying was printed
}

// Error is the text to print, "" when there is nothing to add.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap gives Err.
func (e *ExitError) Unwrap() error { return e.Err }

// Failed is an ExitError with ExitFailed. nil stays nil.
func Failed(err error) error {
	if err == nil {
		return nil
	}
	return &ExitError{Code: ExitFailed, Err: err}
}

// Usage is an ExitError with ExitUsage.
func Usage(format string, args ...any) error {
	return &ExitError{Code: ExitUsage, Err: fmt.Errorf(format, args...)}
}

// IsTerminal says whether a person reads or types f.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
