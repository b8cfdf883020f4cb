package conn

import (
	"flag"
	"fmt"
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("CONN_TEST_ROLE"); role != "" {
		os.Exit(runRole(role))
	}
	// The first use of package net makes descriptors that stay.
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
	before := countFDs()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if f := flag.Lookup("test.cpuprofile"); f.Value.String() != "" {
			before++ // package testing leaves that file open
		}
		if after := countFDs(); code == 0 && after != before {
			fmt.Fprintf(os.Stderr, "%d descriptors are open after the tests, %d were before\n", after, before)
			code = 1
		}
		os.Exit(code)
	}))
}

// countFDs returns how many descriptors the process has.
func countFDs() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}
