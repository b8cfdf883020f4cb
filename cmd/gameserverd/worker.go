package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"gameserverd/internal/cli"
	"gameserverd/internal/config"
	"gameserverd/internal/server"
	"gameserverd/internal/systemd"
)

func newWorker(program string) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run background tasks, and serve nobody",
		Long: `Runs background tasks of the database and Redis of its configuration, beside the
daemons that serve: store.sql.driver must be mysql, and store.redis.url a server.
worker.concurrency and worker.queues say how many and which. SIGTERM or SIGINT
drains: what runs may end within shutdown.deadline, what has not is handed back and
begun at once by another process. A second signal ends it at once.

Exit codes: 0 clean drain, 1 could not start or failed, 2 bad usage or
configuration, 130 second signal.`,
		Example: `  gameserverd worker --config /etc/gameserverd/gameserverd.yaml
  GAMESERVERD_WORKER_CONCURRENCY=64 gameserverd worker`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return work(program, configFile(file)) },
	}
	addConfigFlag(cmd, &file)
	return cmd
}

// work runs tasks with the configuration of file.
func work(program, file string) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	cfg, err := loadConfig(file)
	if err != nil {
		return badConfig(err)
	}
	if problems := workerProblems(cfg); len(problems) > 0 {
		return badConfig(problems)
	}
	log, err := cli.NewLog(cli.LogOptions{
		Level: cfg.Log.Level, Format: cfg.Log.Format, File: cfg.Log.File, Stderr: os.Stderr, Color: cli.IsTerminal(os.Stderr),
	})
	if err != nil {
		return badConfig(config.Problems{cfg.Wrong("log.file", err.Error())})
	}
	defer log.Close()
	s, err := server.NewWith(cfg, log.Logger, server.Options{
		Version: readBuild().Version, Worker: true, Log: log, Notifier: systemd.New(log.Logger),
	})
	if err != nil {
		return startError(cfg, err)
	}
	fmt.Printf("%s worker %s runs tasks of %s\n", program, readBuild().Version, cfg.SQLPlace())
	return runUntilSignals(s, log.Logger, signals)
}

// workerProblems: a worker shares its stores with daemons.
func workerProblems(cfg *config.Config) (problems config.Problems) {
	if cfg.Store.SQL.Driver != "mysql" {
		problems = append(problems, cfg.Wrong("store.sql.driver", "a worker needs a database that it shares: mysql"))
	}
	if cfg.Store.Redis.URL == "embedded" {
		problems = append(problems, cfg.Wrong("store.redis.url", "a worker needs a Redis that it shares: a URL of a server"))
	}
	return problems
}
