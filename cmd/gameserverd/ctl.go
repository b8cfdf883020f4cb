package main

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gameserverd/internal/cli"
	"gameserverd/internal/ctl"
)

// ctlFlags are the flags of every subcommand of ctl.
type ctlFlags struct {
	cli.Ctl
	file, worker string
}

// find adds the flags that say which daemon is meant.
func (f *ctlFlags) find(flags *pflag.FlagSet) {
	flags.StringVar(&f.Socket, "socket", "", "the daemon's socket (default ctl.sock in data_dir)")
	flags.StringVar(&f.file, "config", "", "the daemon's YAML file, for its data_dir ("+toolDefault+")")
	flags.StringVar(&f.worker, "worker", "", "the worker of that name, and not the daemon that serves")
}

func newCtl(program string) *cobra.Command {
	f := &ctlFlags{Ctl: cli.Ctl{Program: program}}
	cmd := &cobra.Command{
		Use:   "ctl",
		Short: "Look into a running daemon and tell it what to do",
		Long: `Talks to a running daemon by the socket ctl.sock in its data_dir, which only the
daemon's own user and root may open. The daemon is found by --socket, else by the
data_dir of --config (and GAMESERVERD_DATA_DIR), else in ./data, else it is the
installed one; with --worker it is a worker of that data_dir. What changes something is logged by the daemon, with who did it.

Results go to standard output, everything else to standard error. Exit codes: 0
done, 1 it failed or no daemon was there, 2 bad usage, 3 the drain was cut.`,
		Example: `  gameserverd ctl status
  sudo gameserverd ctl sessions --sort rate
  gameserverd ctl kick 7 --message "see you tomorrow"
  gameserverd ctl trace 7 --for 30s`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return cli.Usage("ctl has no %q; it has status, sessions, kick, broadcast, drain, trace, loglevel and reload", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cli.Failed(cmd.Help()) },
	}
	flags := cmd.PersistentFlags()
	f.find(flags)
	flags.BoolVar(&f.JSON, "json", false, "print JSON: one object, or one a line")
	cmd.MarkFlagsMutuallyExclusive("socket", "config")
	cmd.MarkFlagsMutuallyExclusive("socket", "worker")
	cmd.AddCommand(f.status(), f.sessions(), f.kick(), f.broadcast(), f.drain(), f.trace(), f.loglevel(), f.reload())
	return cmd
}

// run finds the daemon and does do until a signal comes.
func (f *ctlFlags) run(cmd *cobra.Command, do func(ctx context.Context) error) error {
	if f.Socket == "" {
		if f.worker != "" && !workerName.MatchString(f.worker) {
			return badWorkerName(f.worker)
		}
		path, note, err := cli.CtlSocket(toolFile(f.file), f.worker)
		if err != nil {
			return badConfig(err)
		}
		if f.Socket = path; note != "" {
			cmd.PrintErrln("note: " + note)
		}
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	f.Terminal = cli.IsTerminal(os.Stderr)
	f.Out, f.Err = os.Stdout, os.Stderr
	return do(ctx)
}

func (f *ctlFlags) status() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show how the daemon is: state, connections, stores, memory, counters",
		Example: "  gameserverd ctl status\n  gameserverd ctl status --json | jq .connections",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd, f.Status) },
	}
}

func (f *ctlFlags) sessions() *cobra.Command {
	var sort string
	var limit int
	var rate bool
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List connections: who makes the daemon wait, who sends most",
		Long: `Lists connections, the first of an order: waiting, by bytes that wait to be sent
to it; rate, by messages received in one second; age, the longest logged in or
connected; silent, the longest without a byte. The rate takes two looks a second
apart, so it is only there with --sort rate or --rate.`,
		Example: "  gameserverd ctl sessions\n  gameserverd ctl sessions --sort rate --limit 5\n  gameserverd ctl sessions --sort silent --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(ctl.Orders, sort) {
				return cli.Usage("--sort takes one of %s", strings.Join(ctl.Orders, ", "))
			}
			if limit < 1 || limit > ctl.MaxLimit {
				return cli.Usage("--limit takes a number from 1 to %d", ctl.MaxLimit)
			}
			return f.run(cmd, func(ctx context.Context) error { return f.Sessions(ctx, sort, limit, rate) })
		},
	}
	cmd.Flags().StringVar(&sort, "sort", ctl.Orders[0], strings.Join(ctl.Orders, ", "))
	_ = cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(ctl.Orders, cobra.ShellCompDirectiveNoFileComp)) // fails for flags that are not there
	cmd.Flags().IntVar(&limit, "limit", 20, "how many to list")
	cmd.Flags().BoolVar(&rate, "rate", false, "measure the rate in any order")
	return cmd
}

func (f *ctlFlags) kick() *cobra.Command {
	var k ctl.Kick
	var retry time.Duration
	cmd := &cobra.Command{
		Use:   "kick UID",
		Short: "End a player's session and say why",
		Long: `Ends the session of a player, whom sys.closing tells the code, the message and
whether to connect again. Without --reconnect a client that obeys stays away until
its user does something. It does not keep anybody from logging in again: that is
for whoever makes the login tokens.`,
		Example: "  gameserverd ctl kick 7 --message \"see you tomorrow\"\n  gameserverd ctl kick 7 --code maintenance --reconnect --retry-after 1m",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage("kick takes one player's number: %s ctl kick 7", f.Program)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if k.UID, err = readUID(args[0]); err != nil {
				return err
			}
			k.RetryAfterMS = retry.Milliseconds()
			return f.run(cmd, func(ctx context.Context) error { return f.Kick(ctx, k) })
		},
	}
	cmd.Flags().StringVar(&k.Code, "code", "", "why, for programs: a-z, 0-9 and _ (default kicked)")
	cmd.Flags().StringVar(&k.Message, "message", "", "why, for the player")
	cmd.Flags().BoolVar(&k.Reconnect, "reconnect", false, "the client should connect again")
	cmd.Flags().DurationVar(&retry, "retry-after", 0, "and not before this long")
	return cmd
}

func readUID(text string) (uint64, error) {
	uid, err := strconv.ParseUint(text, 10, 64)
	if err != nil || uid == 0 {
		return 0, cli.Usage("%q is no player's number; they begin at 1", text)
	}
	return uid, nil
}

func (f *ctlFlags) broadcast() *cobra.Command {
	var message string
	cmd := &cobra.Command{
		Use:   "broadcast METHOD [JSON-ARG...] | broadcast --message TEXT",
		Short: "Send a notification to everybody who is logged in",
		Long: `Sends a notification to every player who is logged in on this daemon. Arguments are
read as by call. --message TEXT is short for sys.notice TEXT, which clients show to
their users.`,
		Example: "  gameserverd ctl broadcast --message \"restart in five minutes\"\n  gameserverd ctl broadcast event.began '{\"name\": \"double gold\", \"hours\": 2}'",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case message == "" && len(args) == 0:
				return cli.Usage("broadcast takes a METHOD or a --message: %s ctl broadcast --message \"restart in five minutes\"", f.Program)
			case message != "" && len(args) > 0:
				return cli.Usage("--message sends sys.notice; with another METHOD give the text as its argument")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			method, args := cli.NoticeMethod, numbers(args)
			if message != "" {
				quoted, err := json.Marshal(message) // "7" is a text here, and no number
				if err != nil {
					return cli.Failed(err)
				}
				args = []string{string(quoted)}
			} else {
				method, args = args[0], args[1:]
			}
			return f.run(cmd, func(ctx context.Context) error { return f.Broadcast(ctx, method, args) })
		},
	}
	cmd.Flags().StringVar(&message, "message", "", "text for all players")
	return cmd
}

func (f *ctlFlags) drain() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "End the daemon as SIGTERM does: answer what was read, then stop",
		Long: `Begins the drain that SIGTERM begins: no new connections, every session is told,
what was read is answered within shutdown.deadline, then the process ends. Where
systemd runs it take systemctl stop or restart, which do the same: after a drain
from here its socket unit starts the daemon again with the next client.

With --wait the progress is shown until the end; the exit code is 3 when the
deadline cut it.`,
		Example: "  gameserverd ctl drain --wait",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(ctx context.Context) error { return f.Drain(ctx, wait) })
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "show the progress until the end")
	return cmd
}

func (f *ctlFlags) trace() *cobra.Command {
	var d time.Duration
	cmd := &cobra.Command{
		Use:   "trace UID",
		Short: "Show every message from and to a player, as JSON",
		Long: `Shows every message from and to one player for a while, also of connections that
come meanwhile. Nobody else is slowed down. Login tokens are never shown, nor what
lies under keys such as token or password; long strings, binary and lists are cut,
with their size. Ctrl-C ends it.`,
		Example: "  gameserverd ctl trace 7\n  gameserverd ctl trace 7 --for 5m --json > player7.jsonl",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage("trace takes one player's number: %s ctl trace 7 --for 30s", f.Program)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			uid, err := readUID(args[0])
			if err != nil {
				return err
			}
			if d < time.Second || d > time.Hour {
				return cli.Usage("--for takes a duration from 1s to 1h")
			}
			return f.run(cmd, func(ctx context.Context) error { return f.Trace(ctx, uid, d) })
		},
	}
	cmd.Flags().DurationVar(&d, "for", 30*time.Second, "how long")
	return cmd
}

func (f *ctlFlags) loglevel() *cobra.Command {
	return &cobra.Command{
		Use:   "loglevel [debug|info|warn|error]",
		Short: "Show or change the least level that is logged",
		Long: `Changes what is logged until the next reload or restart; then log.level counts
again. Without a level it shows the one in force.`,
		Example:   "  gameserverd ctl loglevel debug\n  gameserverd ctl loglevel",
		ValidArgs: []string{"debug", "info", "warn", "error"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cli.Usage("loglevel takes one level: debug, info, warn or error")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			level := ""
			if len(args) == 1 {
				level = args[0]
			}
			return f.run(cmd, func(ctx context.Context) error { return f.Level(ctx, level) })
		},
	}
}

func (f *ctlFlags) reload() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read its configuration and certificates anew",
		Long: `Does what SIGHUP does, and shows what came of it: every setting that changed, and
those that need a restart. A bad file changes nothing and is explained. gameserverd
check looks at a file before.`,
		Example: "  gameserverd check --config /etc/gameserverd/gameserverd.yaml && gameserverd ctl reload",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd, f.Reload) },
	}
}
