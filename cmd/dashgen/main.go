// Command dashgen writes Grafana's boards, Prometheus' rules and how both are set
// up; see internal/dashboards.
//
//	dashgen          write what is out of date
//	dashgen -check   write nothing, name what is out of date, and fail if anything is
//
// It is run in the module's root. It exits 0 when all is well, 1 when it failed or
// -check found something, 2 on a wrong command line.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"gameserverd/internal/dashboards"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("dashgen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	check := flags.Bool("check", false, "write nothing; fail when generated files are out of date")
	root := flags.String("C", ".", "the module's root `folder`")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "dashgen takes no arguments, got %q\n", flags.Args())
		return 2
	}
	do := dashboards.Write
	if *check {
		do = dashboards.Stale
	}
	names, err := do(*root)
	if err != nil {
		fmt.Fprintln(stderr, "dashgen:", err)
		return 1
	}
	if *check && len(names) > 0 {
		fmt.Fprintln(stderr, "boards and rules are out of date; run `make generate`:")
		stdout = stderr
	}
	for _, name := range names {
		fmt.Fprintln(stdout, name)
	}
	if *check && len(names) > 0 {
		return 1
	}
	return 0
}
