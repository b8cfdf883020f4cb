package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/cli"
	"gameserverd/internal/config"
	"gameserverd/internal/server"
	"gameserverd/internal/systemd"
)

// service is what tells the long-running commands, serve and worker, apart.
type service struct {
	load     func() (*config.Config, error)
	options  server.Options // without Version, Load, Log and Notifier
	adminKey string         // of the admin server's address
	greet    func(*config.Config, *server.Server)
}

// runService runs it until its signals end it.
func runService(of service) error {
	// First of all, so that a signal during the start is not the default end.
	signals, hangups := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(signals)
	defer close(hangups)
	defer signal.Stop(hangups)

	cfg, err := of.load()
	if err != nil {
		return badConfig(err)
	}
	terminal := cli.IsTerminal(os.Stderr)
	log, err := openLog(cfg)
	if err != nil {
		return badConfig(err)
	}
	defer log.Close()
	of.options.Version, of.options.Load, of.options.Log = readBuild().Version, of.load, log
	of.options.Notifier = systemd.New(log.Logger)
	s, err := server.NewWith(cfg, log.Logger, of.options)
	if err != nil {
		return startError(cfg, of.adminKey, err)
	}
	of.greet(cfg, s)
	go reloadOnHangups(s, hangups, terminal)
	return runUntilSignals(s, log.Logger, signals)
}

// reloadOnHangups reloads at each SIGHUP until the channel closes. Where the log
// was on a terminal that is gone, the signal says just that, and ends s.
func reloadOnHangups(s *server.Server, hangups <-chan os.Signal, terminal bool) {
	for range hangups {
		if terminal && !cli.IsTerminal(os.Stderr) {
			s.Shutdown("the terminal is gone")
			return
		}
		_, _, _ = s.Reread("SIGHUP") // which has logged what came of it
	}
}

func badConfig(err error) error {
	var problems config.Problems
	if errors.As(err, &problems) {
		err = fmt.Errorf("the configuration has %d problem(s):\n%w", len(problems), err)
	}
	return &cli.ExitError{Code: cli.ExitUsage, Err: err}
}

// startError is the end of a start that failed, with what to do where the operator
// can mend it. adminKey is the key of the admin server's address.
func startError(cfg *config.Config, adminKey string, err error) error {
	var problems config.Problems
	if errors.As(err, &problems) { // a file that the configuration names
		return badConfig(err)
	}
	return cli.Failed(startHint(cfg, adminKey, err))
}

func startHint(cfg *config.Config, adminKey string, err error) error {
	where := "GAMESERVERD_LISTEN_TCP=127.0.0.1:5701"
	if strings.HasPrefix(err.Error(), "admin: ") {
		where = `GAMESERVERD_LISTEN_ADMIN=127.0.0.1:5781 (or "" for none)`
		if adminKey == "worker.admin" {
			where = `GAMESERVERD_WORKER_ADMIN=127.0.0.1:5782 (or "" for none)`
		}
	}
	switch {
	case strings.Contains(err.Error(), "unix:"):
		return err // it names the path
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w\nhint: something else listens there, perhaps another gameserverd. Stop it, or choose another address: %s", err, where)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w\nhint: this user may not listen there; ports below 1024 and other users' folders need more rights", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		if adminKey == "worker.admin" {
			return fmt.Errorf("%w\nhint: this machine has no such address; worker.admin is %s", err, cfg.Worker.Admin)
		}
		return fmt.Errorf("%w\nhint: this machine has no such address; listen.tcp is %s, listen.admin is %s",
			err, strings.Join(cfg.Listen.TCP, ", "), cfg.Listen.Admin)
	}
	return err
}

// signalEcho is how long after the first signal the same one again is taken for
// its echo: timeout(1) signals its child and then the whole process group, and an
// end without a drain is not what its user wants.
const signalEcho = 20 * time.Millisecond

// runUntilSignals serves until the drain that the first signal began has ended,
// or until the second signal.
func runUntilSignals(s *server.Server, log *zap.Logger, signals <-chan os.Signal) error {
	type outcome struct {
		report server.Report
		err    error
	}
	ended := make(chan outcome, 1)
	go func() {
		report, err := s.Run()
		ended <- outcome{report, err}
	}()
	var first os.Signal // the one that began the drain; nil: none yet
	var stopping time.Time
	for {
		select {
		case sig := <-signals:
			if sig == first && time.Since(stopping) < signalEcho {
				continue
			}
			if first != nil {
				// Run goes on in its goroutine until main has ended the process.
				log.Warn("second signal: ending at once", zap.Stringer("signal", sig))
				return &cli.ExitError{Code: cli.ExitInterrupted}
			}
			first, stopping = sig, time.Now()
			s.Shutdown(sig.String())
		case o := <-ended:
			_ = log.Sync() // standard error of many kinds cannot be synced
			switch {
			case o.err != nil:
				return cli.Failed(o.err)
			case !o.report.Clean:
				return &cli.ExitError{Code: cli.ExitCut, Err: fmt.Errorf("the drain was cut by shutdown.deadline (%v); calls not answered: %d",
					o.report.Deadline, len(o.report.Abandoned))}
			}
			return nil
		}
	}
}

// openLog opens the log that the configuration names.
func openLog(cfg *config.Config) (*cli.Log, error) {
	log, err := cli.NewLog(cli.LogOptions{
		Level: cfg.Log.Level, Format: cfg.Log.Format, File: cfg.Log.File, Stderr: os.Stderr, Color: cli.IsTerminal(os.Stderr),
	})
	if err != nil {
		return nil, config.Problems{cfg.Wrong("log.file", err.Error())}
	}
	return log, nil
}
