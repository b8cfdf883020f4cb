package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"gameserverd/internal/cli"
	"gameserverd/internal/config"
)

func newMigrate(program string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Make and change the tables of the database, or copy it into another one",
		Long: `Works on the database of a configuration (store.sql): makes its tables, shows which
changes it has, or copies everything into another database. serve does what
"migrate up" does at each start, so that is needed only to do it beforehand.`,
		Example: `  gameserverd migrate status
  gameserverd migrate up --config /etc/gameserverd.yaml
  gameserverd migrate copy --from old.yaml --to new.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return cli.Usage("migrate has no %q; it has up, status and copy", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cli.Failed(cmd.Help()) },
	}
	cmd.AddCommand(newMigrateUp(program), newMigrateStatus(program), newMigrateCopy(program))
	return cmd
}

func newMigrateUp(program string) *cobra.Command {
	var file string
	m := &cli.Migrate{Program: program}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make the tables, or bring them up to date",
		Long: `Applies, in order, the changes that the database lacks. Of several that start at
once one works and the others wait. There is no way back but a backup. A SQLite
database is not changed while a daemon has its data_dir.`,
		Example: `  gameserverd migrate up
  gameserverd migrate up --config /etc/gameserverd.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return onDatabase(cmd, m, file, m.Up) },
	}
	addToolConfigFlag(cmd, &file)
	addJSONFlag(cmd, m)
	return cmd
}

func newMigrateStatus(program string) *cobra.Command {
	var file string
	m := &cli.Migrate{Program: program}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "List the changes that the database has and lacks",
		Long: `Lists the changes to tables that this binary knows, and those that a newer one has
made, with the time when each was applied. It changes nothing, and a daemon may run.`,
		Example: `  gameserverd migrate status
  gameserverd migrate status --json --config /etc/gameserverd.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return onDatabase(cmd, m, file, m.Status) },
	}
	addToolConfigFlag(cmd, &file)
	addJSONFlag(cmd, m)
	return cmd
}

// onDatabase runs do with the configuration of file and its environment.
func onDatabase(cmd *cobra.Command, m *cli.Migrate, file string, do func(context.Context, cli.Database) error) error {
	d := cli.Database{File: toolFile(file)}
	var err error
	if d.Config, err = loadConfig(d.File); err != nil {
		return badConfig(err)
	}
	return migrating(cmd, m, func(ctx context.Context) error { return do(ctx, d) })
}

func newMigrateCopy(program string) *cobra.Command {
	var from, to string
	m := &cli.Migrate{Program: program}
	cmd := &cobra.Command{
		Use:   "copy --from OLD.yaml --to NEW.yaml",
		Short: "Copy a database into another, empty one: from SQLite to MySQL, or back",
		Long: `Copies every player and all that is theirs from the database of one configuration
into that of another, and compares the two afterwards. Both must be migrated
("migrate up"), and the new one empty. Stop the daemon first. The environment is
not read here: both databases come from the files, passwords too. Paths in them
begin in this folder.

Progress goes to standard error, the result to standard output. A copy that broke
leaves a new database that no daemon starts on; run the copy again, it begins anew.
The old database is never changed.`,
		Example: `  gameserverd migrate up --config new.yaml
  gameserverd migrate copy --from configs/gameserverd.yaml --to new.yaml
  gameserverd serve --config new.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return cli.Usage("migrate copy takes the files as flags: %s migrate copy --from OLD.yaml --to NEW.yaml", program)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == "" || to == "" {
				return cli.Usage("migrate copy needs both files: %s migrate copy --from OLD.yaml --to NEW.yaml", program)
			}
			var sides [2]cli.Database
			for i, file := range []string{from, to} {
				cfg, err := hidden(config.LoadFile(file))
				if err != nil {
					return badConfig(err) // it names the file
				}
				sides[i] = cli.Database{File: file, Config: cfg}
			}
			warnEnvironment()
			return migrating(cmd, m, func(ctx context.Context) error { return m.Copy(ctx, sides[0], sides[1]) })
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "YAML file with the database to copy")
	cmd.Flags().StringVar(&to, "to", "", "YAML file with the database to copy into")
	addJSONFlag(cmd, m)
	return cmd
}

// warnEnvironment names the settings that copy, alone among the commands, does
// not take from the environment.
func warnEnvironment() {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "GAMESERVERD_STORE_SQL_") || name == "GAMESERVERD_DATA_DIR" {
			fmt.Fprintf(os.Stderr, "note: %s is not used, only the two files are\n", name)
		}
	}
}

func addJSONFlag(cmd *cobra.Command, m *cli.Migrate) {
	cmd.Flags().BoolVar(&m.JSON, "json", false, "print one JSON object")
}

// migrating runs do until it ends or a signal comes.
func migrating(cmd *cobra.Command, m *cli.Migrate, do func(ctx context.Context) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	m.Terminal = cli.IsTerminal(os.Stderr)
	m.Out, m.Err = os.Stdout, os.Stderr
	return do(ctx)
}
