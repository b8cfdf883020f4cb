// Command rpcgen writes the code that connects the handlers to the daemon, the
// typed Go client and the API page; see internal/rpcgen.
//
//	rpcgen          write what is out of date
//	rpcgen -check   write nothing, name what is out of date, and fail if anything is
//
// It exits 0 when all is well, 1 when handlers cannot be served or -check found
// something, 2 on a wrong command line.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"gameserverd/internal/rpcgen"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("rpcgen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	check := flags.Bool("check", false, "write nothing; fail when generated files are out of date")
	dir := flags.String("C", ".", "a `folder` of the module")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "rpcgen takes no arguments, got %q\n", flags.Args())
		return 2
	}
	out, err := rpcgen.Generate(rpcgen.Config{Dir: *dir})
	if err != nil {
		fail(stderr, err)
		fmt.Fprintln(stderr, "rpcgen: nothing was written")
		return 1
	}
	if len(out.Notes) > 0 {
		fmt.Fprintln(stderr, out.Notes)
	}
	if *check {
		stale, err := out.Stale()
		if err != nil {
			return fail(stderr, err)
		}
		if len(stale) == 0 {
			return 0
		}
		fmt.Fprintln(stderr, "generated files are out of date; run `make generate`:")
		list(stderr, stale)
		return 1
	}
	written, err := out.Write()
	if err != nil {
		return fail(stderr, err)
	}
	list(stdout, written)
	return 0
}

func fail(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, err)
	return 1
}

func list(w io.Writer, names []string) {
	for _, name := range names {
		fmt.Fprintln(w, name)
	}
}
