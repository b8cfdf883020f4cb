package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"gameserverd/internal/bench"
	"gameserverd/internal/cli"
	"gameserverd/internal/rpc"
)

func newBench() *cobra.Command {
	o := bench.Options{JSON: cli.AppendJSON}
	var asJSON bool
	var expect, loginFile string
	var secure cli.TLS
	cmd := &cobra.Command{
		Use:   "bench [METHOD [JSON-ARG...]]",
		Short: "Measure throughput and latency of a method of a running daemon",
		Long: `Opens connections and calls a method on them, sum 1 2 if none is given, for as long
as --duration or as often as --total says. Progress goes to standard error once
a second, the result to standard output. Arguments are read as by call.

Without --rate each connection keeps --depth calls outstanding. Latency then runs
from sending a call to its answer: a stalled server is asked less, so the high
percentiles are a lower bound. With --rate calls are due at fixed times, whatever
the server does, and latency runs from when a call was due: a stall counts for all
calls that it delays (no coordinated omission). --depth then only bounds what is
outstanding on a connection.

With --tls, or any other of the TLS flags, each connection makes a full TLS
handshake before the measurement; the CPU that TLS takes here is in the result.

Connections that the server ends are counted with the reason, and the others go on.
Ctrl-C ends the run early and prints the result so far; the exit code is then 130. It
is 1 when nothing was measured, no call succeeded, or a result was not --expect.`,
		Example: `  gameserverd bench
  gameserverd bench --connections 100 --depth 16 --duration 30s
  gameserverd bench --rate 20000 --connections 1000 echo '{"name": "Ada"}'
  gameserverd bench --login 'dev:{i}' player.get
  gameserverd bench --ca ca.pem --connections 100
  gameserverd bench --total 100000 --expect 3 --json sum 1 2`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if args = numbers(args); len(args) > 0 {
				o.Method = args[0]
				if err := encode(&o.Params, args[1:]); err != nil {
					return err
				}
			}
			if cmd.Flags().Changed("expect") {
				list := rpc.Raw{}
				if err := encode(&list, []string{expect}); err != nil {
					return err
				}
				o.Expect = list[1:] // behind the head of a list of one
			}
			for _, name := range []string{"connections", "loops", "depth", "rate", "duration", "total"} {
				if f := cmd.Flags().Lookup(name); f.Changed && (f.Value.String() == "0" || f.Value.String() == "0s") {
					return cli.Usage("--%s must not be 0; left out it has its default", name)
				}
			}
			var err error
			if o.Logins, err = readLogins(loginFile); err != nil {
				return err
			}
			if o.TLS, err = secure.Config(os.Stderr); err != nil {
				return err
			}
			if o.Warmup == 0 {
				o.Warmup = -1 // none; 0 is the default
			}
			if err := o.Check(); err != nil {
				return cli.Usage("%w", err)
			}
			return runBench(cmd.Context(), o, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Addr, "addr", cli.DefaultAddr, "address of the daemon: HOST:PORT or unix:/path")
	flags.IntVar(&o.Connections, "connections", bench.DefaultConnections, "how many connections")
	flags.IntVar(&o.Loops, "loops", 1, "event loops to drive them with; each keeps up to one CPU busy")
	flags.IntVar(&o.Depth, "depth", 0, "calls outstanding on each connection (default 1; with --rate at most 256)")
	flags.Float64Var(&o.Rate, "rate", 0, "calls a second on all connections together (default as fast as answers come)")
	flags.DurationVar(&o.Duration, "duration", 0, "how long to measure (default 10s, or until --total)")
	flags.Uint64Var(&o.Total, "total", 0, "how many calls to measure (default as many as --duration allows)")
	flags.DurationVar(&o.Warmup, "warmup", bench.DefaultWarmup, "time before the measurement whose calls do not count")
	flags.StringVar(&o.Login, "login", "", "log each connection in with this token; {i} is its number from 1: 'dev:{i}'")
	addLoginFileFlag(cmd, &loginFile, "log each connection in with a token of this file, a line for each; gameserverd token --count makes it")
	addTLSFlags(cmd, &secure)
	flags.StringVar(&expect, "expect", "", "result that every answer must have, as JSON")
	flags.BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return cmd
}

// encode makes a list of arguments, as call reads them.
func encode(list *rpc.Raw, args []string) error {
	values := make([]any, len(args))
	for i, arg := range args {
		var err error
		if values[i], err = cli.ParseArg(arg); err != nil {
			return cli.Usage("%w", err)
		}
	}
	b, err := rpc.AppendValue(nil, values)
	if err != nil {
		return cli.Usage("%w", err)
	}
	*list = b
	return nil
}

func runBench(ctx context.Context, o bench.Options, asJSON bool) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	before, after := "", "\n"
	if cli.IsTerminal(os.Stderr) {
		before, after = "\r\x1b[K", ""
	}
	res, err := bench.Run(ctx, o, func(p bench.Progress) { fmt.Fprint(os.Stderr, before, p, after) })
	fmt.Fprint(os.Stderr, before)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return &cli.ExitError{Code: cli.ExitInterrupted, Err: err}
		}
		if hint := cli.TLSHint(err); hint != "" {
			err = fmt.Errorf("%w\nhint: %s", err, hint)
		}
		return cli.Failed(err)
	}
	if asJSON {
		err = res.WriteJSON(os.Stdout)
	} else {
		err = res.WriteText(os.Stdout)
	}
	switch {
	case err != nil:
		return cli.Failed(err)
	case res.Wrong > 0:
		return cli.Failed(fmt.Errorf("%d results were not the expected one", res.Wrong))
	case ctx.Err() != nil:
		return &cli.ExitError{Code: cli.ExitInterrupted}
	case res.OK == 0:
		return cli.Failed(errors.New("no call succeeded"))
	}
	return nil
}
