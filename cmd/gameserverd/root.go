package main

import (
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"gameserverd/internal/cli"
)

// newRoot builds the command tree. program is how the user called us: hints and
// examples repeat it, so that they can be pasted.
func newRoot(program string) *cobra.Command {
	root := &cobra.Command{
		Use:   "gameserverd",
		Short: "A game server: remote procedures over MessagePack-RPC",
		Long: `gameserverd serves remote procedures to game clients over MessagePack-RPC on TCP.

Exit codes: 0 good, 1 failed, 2 bad usage or configuration, 3 the drain was cut
by the deadline, 130 interrupted.`,
		Example: `  gameserverd serve
  gameserverd call sum 1 2`,
		SilenceErrors: true, // main prints them
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetErr(os.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return cli.Usage("%w\nhint: %s%s --help lists the flags", err, program, strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()))
	})
	root.AddCommand(
		newServe(program),
		newCall(program),
		newBench(),
		newAttack(),
		newCheck(),
		newRoutes(),
		newToken(program),
		newMigrate(program),
		newBackup(program),
		newCtl(program),
		newDoctor(),
		newWorker(program),
		newTasks(program),
		newVersion(),
		newMan(),
	)
	return root
}

// negative is a number that pflag would take for a flag.
var negative = regexp.MustCompile(`^-[.0-9]`)

// numberMark is put before a negative number to carry it past pflag; a command
// line cannot hold it.
const numberMark = "\x00"

// keepNumbers marks the negative numbers among args, so that
// `gameserverd call sum -1 2` needs no "--".
func keepNumbers(args []string) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		if negative.MatchString(arg) {
			arg = numberMark + arg
		}
		out[i] = arg
	}
	return out
}

// numbers undoes keepNumbers.
func numbers(args []string) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		out[i] = strings.TrimPrefix(arg, numberMark)
	}
	return out
}
