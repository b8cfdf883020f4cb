package main

import (
	"os"

	"github.com/spf13/cobra"

	"gameserverd/internal/cli"
	"gameserverd/internal/doctor"
	"gameserverd/internal/server"
)

func newDoctor() *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at this machine and say what will bite a daemon on it",
		Long: `Looks at what a daemon with this configuration needs of the machine: open files,
ports, the kernel's queues, clock, memory, the data folder and its disk, keys,
certificate, stores. It changes nothing, and a daemon may run. Run it as the
daemon's user or as root: others cannot see everything.

Each line is ok, warn (it works, but less well or less long than configured, or it
could not be seen) or bad (it will not start, refuse players, or lose data), and
says what to do. Exit codes: 0 nothing is bad, 1 something is, 2 bad usage or
configuration.`,
		Example: `  gameserverd doctor
  sudo gameserverd doctor
  gameserverd doctor --json | jq '.findings[] | select(.grade != "ok")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from := toolFile(file)
			cfg, err := loadConfig(from)
			if err != nil {
				return badConfig(err)
			}
			all := doctor.Judge(cfg, doctor.Look(cmd.Context(), cfg, doctor.Options{
				File: from, ConnectionsWithin: server.ConnectionsWithin, LogFile: cli.CheckLogFile,
			}))
			write := doctor.WriteText
			if asJSON {
				write = doctor.WriteJSON
			}
			if err := write(os.Stdout, all); err != nil {
				return cli.Failed(err)
			}
			if doctor.Worst(all) == doctor.Bad {
				return &cli.ExitError{Code: cli.ExitFailed}
			}
			return nil
		},
	}
	addToolConfigFlag(cmd, &file)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}
