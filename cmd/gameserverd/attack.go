package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"gameserverd/internal/attack"
	"gameserverd/internal/cli"
)

func newAttack() *cobra.Command {
	var o attack.Options
	var asJSON bool
	var loginFile string
	var secure cli.TLS
	cmd := &cobra.Command{
		Use:   "attack [SCENARIO...]",
		Short: "Attack a running daemon as strangers would, and judge what it does",
		Long: `Plays scenarios against a daemon, one after the other: malformed bytes, slow
senders, silent connections, readers that never read, floods of logins, handshakes
and connections, and more. Meanwhile a well-behaved client calls sum at a steady
rate on connections of its own, and its latency and errors are compared with those before the
attack. The result is a table of what the daemon did. The exit code is 1 when a
rule was broken; the table then names it.

Only a daemon on loopback or a unix socket is attacked. For any other the address has to be
given twice: --addr X --yes-attack X. Attack only what you run.

The daemon's own time limits are not known here. Say them, and they are checked:
a connection that is open a second longer than its limit breaks a rule. Scenarios
take --duration, so it must be longer than that.

The good client logs in as player 1000001 and up, by tokens for auth.mode dev; where that is
jwt, give it 4 tokens with --login-file. Limits by address hit it as well, so
limits.max_connections_per_ip and the rates per address should be off or high.

Scenarios: ` + strings.Join(attack.Names(), ", ") + `.`,
		Example: `  gameserverd attack
  gameserverd attack malformed websocket --duration 10s
  gameserverd attack --duration 15s --frame-timeout 10s --handshake-timeout 10s
  gameserverd attack --ca ca.pem --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Only = args
			var err error
			if o.Logins, err = readLogins(loginFile); err != nil {
				return err
			}
			if o.TLS, err = secure.Config(os.Stderr); err != nil {
				return err
			}
			if err := o.Check(); err != nil {
				return cli.Usage("%w", err)
			}
			return runAttack(cmd.Context(), o, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Addr, "addr", attack.DefaultAddr, "address of the daemon: HOST:PORT or unix:/path")
	flags.StringVar(&o.Again, "yes-attack", "", "the same address again, if it is not on loopback")
	flags.DurationVar(&o.Duration, "duration", attack.DefaultDuration, "how long each scenario takes")
	flags.IntVar(&o.Connections, "connections", attack.DefaultConnections, "connections of the attack at once")
	flags.IntVar(&o.Rate, "rate", attack.DefaultRate, "new connections of the attack a second")
	flags.StringVar(&o.Login, "login", "dev:{i}", "token of the good client; {i} is a number from 1000001")
	addLoginFileFlag(cmd, &loginFile, fmt.Sprintf("%d tokens for the good client, one a line, which gameserverd token --count made", attack.GoodConnections))
	flags.IntVar(&o.PID, "pid", 0, "process of the daemon, whose memory is watched (default whoever listens on --addr on this machine)")
	flags.DurationVar(&o.Bounds.LoginTimeout, "login-timeout", 0, "the daemon's limits.login_timeout, to be checked")
	flags.DurationVar(&o.Bounds.FrameTimeout, "frame-timeout", 0, "the daemon's limits.frame_timeout, to be checked")
	flags.DurationVar(&o.Bounds.HandshakeTimeout, "handshake-timeout", 0, "the daemon's limits.handshake_timeout, to be checked")
	flags.DurationVar(&o.Bounds.P99, "p99", 0, "the good client's p99 at most (default 10 times that without an attack, at least 50ms)")
	flags.Int64Var(&o.Bounds.Memory, "memory", 0, "bytes that the daemon may grow in one scenario (default 128 MiB, and 64 KiB for each connection)")
	addTLSFlags(cmd, &secure)
	flags.BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return cmd
}

func runAttack(ctx context.Context, o attack.Options, asJSON bool) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	before, after := "", "\n"
	if cli.IsTerminal(os.Stderr) {
		before, after = "\r\x1b[K", ""
	}
	o.Progress = func(p attack.Progress) {
		end := after
		if p.Done != nil {
			end = "\n"
		}
		fmt.Fprint(os.Stderr, before, p, end)
	}
	report, err := attack.Run(ctx, o)
	if err != nil {
		return explainAttack(ctx, o, err)
	}
	fmt.Fprint(os.Stderr, before)
	if asJSON {
		err = report.WriteJSON(os.Stdout)
	} else {
		err = report.WriteText(os.Stdout)
	}
	switch {
	case err != nil:
		return cli.Failed(err)
	case !report.OK && len(report.Scenarios) > 0:
		return &cli.ExitError{Code: cli.ExitFailed} // the report says why
	case report.Interrupted:
		return &cli.ExitError{Code: cli.ExitInterrupted}
	}
	return nil
}

// explainAttack says why nothing was attacked.
func explainAttack(ctx context.Context, o attack.Options, err error) error {
	var login *attack.LoginError
	hint := cli.TLSHint(err)
	switch {
	case ctx.Err() != nil:
		return &cli.ExitError{Code: cli.ExitInterrupted, Err: err}
	case hint != "":
	case errors.Is(err, attack.ErrNotAllowed):
		return cli.Usage("%w: --yes-attack %s", err, o.Addr)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		hint = "nothing listens there. Is the daemon running?"
	case errors.As(err, &login):
		hint = "where auth.mode is jwt, make tokens with gameserverd token --count 4 and give them with --login-file"
	}
	if hint != "" {
		err = fmt.Errorf("%w\nhint: %s", err, hint)
	}
	return cli.Failed(err)
}
