package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"gameserverd/internal/cli"
)

// maxLoginFile bounds --login-file: a million tokens fit.
const maxLoginFile = 512 << 20

// addLoginFileFlag adds the file form of --login: a token on the command line is
// seen by every user of the machine.
func addLoginFileFlag(cmd *cobra.Command, file *string, usage string) {
	cmd.Flags().StringVar(file, "login-file", "", usage)
	cmd.MarkFlagsMutuallyExclusive("login", "login-file")
}

// readLogins reads the tokens of --login-file, one a line; "": none.
func readLogins(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, cli.Usage("--login-file: %w", err)
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxLoginFile+1))
	if err == nil && len(raw) > maxLoginFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxLoginFile)
	}
	if err != nil {
		return nil, cli.Usage("--login-file: %w", err)
	}
	lines := strings.Fields(string(bytes.ToValidUTF8(raw, nil)))
	if len(lines) == 0 {
		return nil, cli.Usage("--login-file: %s is empty; it holds a token a line, as gameserverd token prints them", path)
	}
	return lines, nil
}
