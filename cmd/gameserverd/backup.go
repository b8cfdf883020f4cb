package main

import (
	"context"

	"github.com/spf13/cobra"

	"gameserverd/internal/cli"
)

func newBackup(program string) *cobra.Command {
	var file string
	m := &cli.Migrate{Program: program}
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write the SQLite database into a new file, while the daemon runs",
		Long: `Writes all of the database, as of the moment when the backup begins, into a new file.
The daemon may run and goes on as usual. FILE has that name only once it is whole and
on the disk. To restore, stop the daemon and put it in the place of the database,
without the files beside that end in -wal and -shm.

A MySQL or MariaDB database is backed up with that server's own tools.`,
		Example: `  gameserverd backup /backup/monday.db
  gameserverd backup "/backup/$(date +%F).db" --config /etc/gameserverd.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage("backup takes one file to write: %s backup FILE", program)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return onDatabase(cmd, m, file, func(ctx context.Context, d cli.Database) error { return m.Backup(ctx, d, args[0]) })
		},
	}
	addToolConfigFlag(cmd, &file)
	addJSONFlag(cmd, m)
	return cmd
}
