package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// hideMemory keeps this process's memory out of core dumps, and away from other
// processes of the same user: the secrets that players log in with are in it. As
// a consequence /proc/PID belongs to root.
func hideMemory() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_DUMPABLE): %w", err)
	}
	return nil
}
