package transport

import (
	"fmt"
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(holdEnv); spec != "" {
		os.Exit(hold(spec))
	}
	// The first use of package net makes descriptors that stay.
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
	before := countFDs()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if after := countFDs(); code == 0 && after != before {
			fmt.Fprintf(os.Stderr, "%d descriptors are open after the tests, %d were before\n", after, before)
			code = 1
		}
		os.Exit(code)
	}))
}

func countFDs() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}
