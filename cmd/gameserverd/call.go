package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gameserverd/internal/cli"
)

// defaultTimeout is how long a call from the command line may take.
const defaultTimeout = 10 * time.Second

func newCall(program string) *cobra.Command {
	call := &cli.Call{Program: program}
	var stdin bool
	var loginFile string
	var secure cli.TLS
	cmd := &cobra.Command{
		Use:   "call METHOD [JSON-ARG...]",
		Short: "Call a method of a running daemon and print its result as JSON",
		Long: `Calls a method and prints its result as JSON on standard output; everything else
goes to standard error. Each argument is JSON; a word that is no JSON is a string.
Values that JSON has no form for are written as objects, in arguments and results:
{"$bin": "base64"} binary, {"$str": "base64"} a string that is not UTF-8,
{"$float": "NaN"} (+Inf, -Inf), and in results {"$ext": [type, "base64"]}.

With --wait the connection stays open after the call, and what the server sends
is printed as it comes, one JSON object a line. With --stdin it stays open until
the end of standard input, each line of which is a further call. The exit code is 1 when the call
fails; with --json the error is then one JSON object on standard error.

--tls, or any other of the TLS flags, makes the connection a TLS connection.`,
		Example: `  gameserverd call sum 1 2
  gameserverd call echo '{"name": "Ada", "items": [1, 2]}'
  gameserverd call player.get --login dev:7
  gameserverd call --addr play.example.com:5700 --tls sum 1 2
  gameserverd call --addr 10.0.0.7:5700 --ca ca.pem --server-name play.example.com sum 1 2

  # a chat: one terminal listens, in the other one type lines such as: room.say lobby "good morning"
  gameserverd call room.join lobby --login dev:7 --wait 10m
  gameserverd call room.join lobby --login dev:8 --stdin

  # a player who accepts every duel:
  gameserverd call sys.ping --login dev:7 --wait 1m --answer true
  gameserverd call duel.challenge 7 --login dev:8`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Usage("call takes the METHOD to call, for example: %s call sum 1 2", program)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if call.Wait < 0 || call.Timeout <= 0 {
				return cli.Usage("--wait and --timeout take a positive duration such as 10s or 1m")
			}
			if logins, err := readLogins(loginFile); err != nil {
				return err
			} else if len(logins) > 1 {
				return cli.Usage("--login-file: %s holds %d tokens; call takes one", loginFile, len(logins))
			} else if len(logins) == 1 {
				call.Login = logins[0]
			}
			var err error
			if call.TLS, err = secure.Config(os.Stderr); err != nil {
				return err
			}
			args = numbers(args)
			call.Method, call.Args = args[0], args[1:]
			if stdin {
				call.Stdin = os.Stdin
			}
			call.Pretty = cli.IsTerminal(os.Stdout)
			call.Out, call.Err = os.Stdout, os.Stderr
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return call.Run(ctx)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&call.Addr, "addr", cli.DefaultAddr, "address of the daemon: HOST:PORT or unix:/path")
	flags.StringVar(&call.Login, "login", "", "log in with this token first, for example dev:7")
	addTLSFlags(cmd, &secure)
	addLoginFileFlag(cmd, &loginFile, "log in with the token in this file, which gameserverd token made")
	flags.BoolVar(&call.Notify, "notify", false, "send a notification: nobody answers, nothing is printed")
	flags.DurationVar(&call.Wait, "wait", 0, "stay connected for so long after the call and print what the server sends")
	flags.BoolVar(&stdin, "stdin", false, "then make a call for each line of standard input: METHOD JSON-ARG...")
	flags.StringVar(&call.Answer, "answer", "", "with --wait or --stdin: answer every call of the server with this JSON")
	flags.DurationVar(&call.Timeout, "timeout", defaultTimeout, "time for connecting, login and the call together")
	flags.BoolVar(&call.JSON, "json", false, "compact result, errors as JSON")
	return cmd
}
