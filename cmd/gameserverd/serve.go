package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gameserverd/internal/cli"
	"gameserverd/internal/config"
	"gameserverd/internal/server"
	"gameserverd/internal/systemd"
)

func newServe(program string) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon until SIGTERM or SIGINT",
		Long: `Runs the daemon in the foreground. Standard output says where it listens and one
line to try; the log goes to standard error. SIGTERM or SIGINT drains: what was
read is answered, within shutdown.deadline. A second signal ends it at once.
SIGHUP reloads the configuration, and the files that it names, without losing
a connection; what is wrong with it is logged, and then nothing has changed.

Exit codes: 0 clean drain, 1 could not start or failed, 2 bad usage or
configuration, 3 the drain was cut by the deadline, 130 second signal.

Under systemd (Type=notify) it says when it is ready, reloads and stops, feeds
the watchdog while every loop turns, and takes over sockets (LISTEN_FDS) in
place of listen.tcp.`,
		Example: `  gameserverd serve
  gameserverd serve --config configs/gameserverd.yaml
  GAMESERVERD_LISTEN_TCP=127.0.0.1:5701 GAMESERVERD_LISTEN_ADMIN= gameserverd serve`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return serve(program, configFile(file)) },
	}
	addConfigFlag(cmd, &file)
	return cmd
}

// serve runs the daemon with the configuration of file.
func serve(program, file string) error {
	fds, names, err := systemd.Listeners()
	if err != nil {
		return cli.Failed(err)
	}
	return runService(service{
		load:     func() (*config.Config, error) { return loadConfig(file) },
		options:  server.Options{Sockets: server.Sockets{FDs: fds, Names: names}},
		adminKey: "listen.admin",
		greet:    func(_ *config.Config, s *server.Server) { greet(os.Stdout, program, s) },
	})
}

// greet says where s listens and what to try.
func greet(w io.Writer, program string, s *server.Server) {
	addrs := s.Addrs()
	fmt.Fprintf(w, "gameserverd %s listens on %s\n", readBuild().Version, strings.Join(addrs, ", "))
	if s.Inherited() {
		fmt.Fprintln(w, "these are sockets of systemd: the addresses in listen.tcp are not used")
	}
	if admin := s.AdminAddr(); admin != "" {
		fmt.Fprintf(w, "console, metrics and health: http://%s/\n", admin)
	}
	try := program + " call sum 1 2"
	if !slices.Contains(addrs, cli.DefaultAddr) {
		try += " --addr " + addrs[0]
	}
	fmt.Fprintf(w, "try: %s\n", try)
}
