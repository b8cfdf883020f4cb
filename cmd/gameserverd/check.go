package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"gameserverd/internal/cli"
	"gameserverd/internal/config"
)

// checked is what check found, and its form with --json.
type checked struct {
	OK       bool            `json:"ok"`
	File     string          `json:"file"` // "": none, the built-in defaults
	Problems config.Problems `json:"problems,omitempty"`
	Values   []config.Value  `json:"values,omitempty"` // with --show
}

func newCheck() *cobra.Command {
	var file string
	var show, asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and the environment without starting",
		Long: `Lists everything that is wrong with the configuration, one line each, and exits
with 2; or prints ok. The file is the one that serve would read; the environment
(GAMESERVERD_...) is checked with it.`,
		Example: `  gameserverd check
  gameserverd check --config /etc/gameserverd.yaml
  gameserverd check --show`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c := checked{File: configFile(file)}
			cfg, err := config.Load(c.File)
			if err != nil && !errors.As(err, &c.Problems) {
				return &cli.ExitError{Code: cli.ExitUsage, Err: err}
			}
			c.OK = err == nil
			if show && c.OK {
				c.Values = cfg.Values()
			}
			if err := c.print(os.Stdout, asJSON); err != nil {
				return cli.Failed(err)
			}
			if !c.OK {
				return &cli.ExitError{Code: cli.ExitUsage}
			}
			return nil
		},
	}
	addConfigFlag(cmd, &file)
	cmd.Flags().BoolVar(&show, "show", false, "print every setting in force and where it comes from")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (c *checked) print(w io.Writer, asJSON bool) error {
	switch {
	case asJSON:
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(c)
	case !c.OK:
		_, err := fmt.Fprintln(w, c.Problems)
		return err
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
		value := v.Value
		if value == "" {
			value = `""`
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", v.Key, value, v.Source)
	}
	return table.Flush()
}

func addConfigFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "YAML file (default "+config.DefaultFile+" if it is there, else built-in values)")
}

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
