// Command gameserverd is the game server daemon and the tools that talk to one:
// see `gameserverd help`.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	_ "time/tzdata" // zones of schedules and of the daily reward, also where the machine has none

	"gameserverd/internal/cli"
)

func main() {
	os.Exit(run(os.Args))
}

// run executes the command line and returns the exit code.
func run(args []string) int {
	root := newRoot(args[0])
	root.SetArgs(keepNumbers(args[1:]))
	err := root.Execute()
	if err == nil {
		return 0
	}
	var exit *cli.ExitError
	if !errors.As(err, &exit) {
		// Commands return nothing but ExitErrors: this is cobra's, about usage.
		exit = &cli.ExitError{Code: cli.ExitUsage, Err: err}
	}
	if text := exit.Error(); text != "" {
		text = strings.NewReplacer(numberMark, "", `\x00`, "").Replace(text) // pflag quotes the mark
		fmt.Fprintf(os.Stderr, "error: %s\n", text)
	}
	return exit.Code
}
