package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"

	"gameserverd/internal/cli"
	"gameserverd/internal/config"
	"gameserverd/internal/server"
)

// checked is what check found, and its form with --json.
type checked struct {
	OK       bool            `json:"ok"`
	File     string          `json:"file"` // "": none, the built-in defaults
	Problems config.Problems `json:"problems,omitempty"`
	Values   []config.Value  `json:"values,omitempty"`  // with --show
	Changes  []config.Change `json:"changes,omitempty"` // with --diff
}

func newCheck() *cobra.Command {
	var file, other string
	var show, asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and the environment without starting",
		Long: `Lists everything that is wrong with the configuration, and with the files of keys
and certificates that it names, and exits with 2; or prints ok. The file is the one that
serve would read; the environment (GAMESERVERD_...) is checked with it. Run it before a
reload or a restart, as the user whom the daemon runs as: that user must be able to read the keys.

With --diff it prints what another file would change, and whether a reload (SIGHUP)
is enough for it or a restart is needed.`,
		Example: `  gameserverd check
  gameserverd check --config /etc/gameserverd/gameserverd.yaml
  gameserverd check --diff new.yaml
  gameserverd check --show`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c := checked{File: toolFile(file)}
			if err := c.check(show, other); err != nil {
				return &cli.ExitError{Code: cli.ExitUsage, Err: err}
			}
			if err := c.print(os.Stdout, asJSON, other); err != nil {
				return cli.Failed(err)
			}
			if !c.OK {
				return &cli.ExitError{Code: cli.ExitUsage}
			}
			return nil
		},
	}
	addToolConfigFlag(cmd, &file)
	cmd.Flags().BoolVar(&show, "show", false, "print every setting in force and where it comes from")
	cmd.Flags().StringVar(&other, "diff", "", "check this file instead, and print what it would change")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.MarkFlagsMutuallyExclusive("show", "diff")
	return cmd
}

// check fills c in; other is the file of --diff. An error is about a file that
// cannot be read at all.
func (c *checked) check(show bool, other string) error {
	cfg, err := loadConfig(c.File)
	if err == nil && other != "" {
		before := cfg
		c.File = other
		if cfg, err = loadConfig(other); err == nil {
			c.Changes = config.Diff(before, cfg)
		}
	}
	if err == nil {
		err = checkFiles(cfg)
	}
	if err != nil && !errors.As(err, &c.Problems) {
		return err
	}
	c.OK = err == nil
	if show && c.OK {
		c.Values = cfg.Values()
	}
	return nil
}

// checkFiles looks into the files that the configuration names.
func checkFiles(cfg *config.Config) error {
	var problems config.Problems
	log := cli.Console(zapcore.WarnLevel, os.Stderr, cli.IsTerminal(os.Stderr))
	if err := server.Check(cfg, log); err != nil && !errors.As(err, &problems) {
		return err
	}
	if err := cli.CheckLogFile(cfg.Log.File); err != nil {
		problems = append(problems, cfg.Wrong("log.file", err.Error()))
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

func (c *checked) print(w io.Writer, asJSON bool, other string) error {
	switch {
	case asJSON:
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(c)
	case !c.OK:
		_, err := fmt.Fprintln(w, c.Problems)
		return err
	case other != "":
		return c.printChanges(w)
	case c.Values == nil:
		what := "; no file, so the built-in defaults" // an ok about nothing would mislead in the wrong folder
		if c.File != "" {
			what = " and " + c.File
		}
		fmt.Fprintf(os.Stderr, "checked: the environment%s\n", what)
		_, err := fmt.Fprintln(w, "ok")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, v := range c.Values {
		fmt.Fprintf(table, "%s\t%s\t%s\n", v.Key, quoteEmpty(v.Value), v.Source)
	}
	return table.Flush()
}

// printChanges writes a line for each key: before, after, and what it takes.
func (c *checked) printChanges(w io.Writer) error {
	if len(c.Changes) == 0 {
		_, err := fmt.Fprintln(w, "ok, and nothing differs")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, change := range c.Changes {
		takes := "reload"
		if !change.Live {
			takes = "restart"
		}
		fmt.Fprintf(table, "%s\t%s\t->\t%s\t%s\n", change.Key, quoteEmpty(change.Old), quoteEmpty(change.New), takes)
	}
	return table.Flush()
}

func quoteEmpty(s string) string {
	if s == "" {
		return `""`
	}
	return s
}

func addConfigFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "YAML file (default "+config.DefaultFile+" if it is there, else built-in values)")
}

// addToolConfigFlag is addConfigFlag for what an operator runs beside a daemon.
func addToolConfigFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "YAML file ("+toolDefault+")")
}

const toolDefault = "default " + config.DefaultFile + ", else " + installedFile + " where there is no ./data"

// configFile is the file to load: the one named, else the one in its usual
// place, else none.
func configFile(named string) string {
	if named != "" {
		return named
	}
	if _, err := os.Stat(config.DefaultFile); err == nil {
		return config.DefaultFile
	}
	return ""
}

// installedFile is the configuration of the Debian package's service.
const installedFile = "/etc/gameserverd/gameserverd.yaml"

// toolFile is configFile for what an operator runs beside a daemon: where no
// daemon has ever been started by hand, the installed one is meant.
func toolFile(named string) string {
	file := configFile(named)
	if file != "" {
		return file
	}
	if _, err := os.Stat("data"); err == nil {
		return ""
	}
	if _, err := os.Stat(installedFile); err == nil {
		return installedFile
	}
	return ""
}
