package main

import (
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/spf13/cobra"

	"gameserverd/internal/cli"
	"gameserverd/internal/config"
	"gameserverd/internal/server"
)

func newWorker(program string) *cobra.Command {
	var file, name string
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run background tasks, and serve nobody",
		Long: `Runs background tasks of the database and Redis of its configuration, beside the
daemons that serve: store.sql.driver must be mysql, and store.redis.url a server.
worker.concurrency and worker.queues say how many and which. It reads no keys of
logins and no certificates.

It may have the configuration file of a daemon on the same machine, and of other
workers: in data_dir it has a folder of its own, workers/NAME, for the socket that
"ctl --worker NAME" talks to, and health, readiness and metrics are at worker.admin
and not at listen.admin.

SIGTERM or SIGINT drains: what runs may end within shutdown.deadline, what has not is
handed back and begun at once by another process. A second signal ends it at once.
SIGHUP reloads what of the configuration can be changed.

Exit codes: 0 clean drain, 1 could not start or failed, 2 bad usage or
configuration, 3 the drain was cut by the deadline, 130 second signal.

Under systemd (Type=notify) it says when it is ready, reloads and stops, and feeds
the watchdog.`,
		Example: `  gameserverd worker --config /etc/gameserverd/gameserverd.yaml
  GAMESERVERD_WORKER_CONCURRENCY=64 gameserverd worker --name mails`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if name != "" && !workerName.MatchString(name) {
				return badWorkerName(name)
			}
			return work(program, configFile(file), name)
		},
	}
	addConfigFlag(cmd, &file)
	cmd.Flags().StringVar(&name, "name", "", "its name among the workers of this data_dir (default the first number that is free)")
	return cmd
}

// workerName is what may be a folder's name and a word on a command line.
var workerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

func badWorkerName(name string) error {
	return cli.Usage("a worker's name is 1 to 64 letters, digits, _, . and -, not %q", name)
}

// work runs tasks with the configuration of file.
func work(program, file, name string) error {
	return runService(service{
		load:     func() (*config.Config, error) { return loadWorker(file) },
		options:  server.Options{Worker: true, Name: name},
		adminKey: "worker.admin",
		greet:    func(cfg *config.Config, s *server.Server) { greetWorker(os.Stdout, program, cfg, s) },
	})
}

// greetWorker says what s does and where to look at it.
func greetWorker(w io.Writer, program string, cfg *config.Config, s *server.Server) {
	fmt.Fprintf(w, "gameserverd %s, worker %s, runs tasks of %s\n", readBuild().Version, s.WorkerName(), cfg.SQLPlace())
	if admin := s.AdminAddr(); admin != "" {
		fmt.Fprintf(w, "console, metrics and health: http://%s/\n", admin)
	}
	fmt.Fprintf(w, "try: %s ctl --worker %s status\n", program, s.WorkerName())
}

// loadWorker loads a configuration, and refuses one that is of no use to a worker, which
// shares its stores with daemons.
func loadWorker(file string) (*config.Config, error) {
	cfg, err := loadConfig(file)
	if err != nil {
		return nil, err
	}
	var problems config.Problems
	if cfg.Store.SQL.Driver != "mysql" {
		problems = append(problems, cfg.Wrong("store.sql.driver", "a worker needs a database that it shares: mysql"))
	}
	if cfg.Store.Redis.URL == "embedded" {
		problems = append(problems, cfg.Wrong("store.redis.url", "a worker needs a Redis that it shares: a URL of a server"))
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return cfg, nil
}
