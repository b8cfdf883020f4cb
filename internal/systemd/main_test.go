package systemd

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childEnv makes the test binary print what Listeners returns, twice.
const childEnv = "GAMESERVERD_TEST_LISTENERS"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		for range 2 {
			fds, names, err := Listeners()
			fmt.Printf("%d %q %v", len(fds), names, err)
			for _, fd := range fds {
				fmt.Print(" ", describe(fd))
			}
			fmt.Println()
		}
		fmt.Printf("%q%q%q\n", os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"))
		return
	}
	goleak.VerifyTestMain(m)
}
