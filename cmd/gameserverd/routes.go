package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"gameserverd/internal/cli"
	"gameserverd/internal/rpc"
	"gameserverd/internal/server"
)

func newRoutes() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "routes",
		Short: "List the methods that this daemon serves",
		Long: `Lists every method with its parameters, result, flags and first sentence of
documentation, as built into this binary: no daemon has to run. Parameters in
brackets are optional. Flags: public needs no login, concurrent is not ordered
with the session's other calls, durable answers after the commit.`,
		Example: `  gameserverd routes
  gameserverd routes --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			methods, err := server.Routes()
			if err != nil {
				return cli.Failed(err)
			}
			if asJSON {
				enc := json.NewEncoder(os.Stdout)
				enc.SetEscapeHTML(false)
				enc.SetIndent("", "  ")
				return cli.Failed(enc.Encode(methods))
			}
			table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprint(table, "METHOD\tRESULT\tFLAGS\tDOC\n")
			for _, m := range methods {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", cli.Signature(m), shape(m.Result), flagsOf(m), sentence(m.Doc))
			}
			return cli.Failed(table.Flush())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

// sentence is the first one of a text.
func sentence(doc string) string {
	doc, _, _ = strings.Cut(doc, "\n")
	if head, _, more := strings.Cut(doc, ". "); more {
		return head + "."
	}
	return doc
}

// shape leaves out what a type holds, which would make the table wide: --json
// and docs/api.md have it.
func shape(result string) string {
	head, _, _ := strings.Cut(result, " {")
	return head
}

func flagsOf(m rpc.MethodInfo) string {
	var flags []string
	if m.Public {
		flags = append(flags, "public")
	}
	if m.Concurrent {
		flags = append(flags, "concurrent")
	}
	if m.Durable {
		flags = append(flags, "durable")
	}
	if m.Waits {
		flags = append(flags, "waits")
	}
	return strings.Join(flags, ",")
}
