package server

import (
	"errors"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gameserverd/internal/config"
	"gameserverd/internal/transport"
)

// ErrDraining is the error of a reload while the daemon shuts down.
var ErrDraining = errors.New("the daemon is shutting down")

// errNoLoad is the error of Reread without Options.Load.
var errNoLoad = errors.New("this daemon cannot read its configuration anew")

// LogControl is what can be changed of a log that is being written to. Any
// goroutine.
type LogControl interface {
	// SetLevel makes level, one of log.level, the least that is written. A reload
	// sets it to what the configuration says.
	SetLevel(level string)
	// Level is the least that is written.
	Level() string
	// Reopen opens the log's file again, by its name; without a file it does
	// nothing. With an error the log goes on in the file it has.
	Reopen() error
}

// reloads put reloads in order: one at a time, none before clients are served
// and none after the drain has begun.
type reloads struct {
	turn  sync.Mutex    // of the one that reads files
	apply sync.Mutex    // held while settings are put in force, and while the drain begins: that never waits for a file
	level sync.Mutex    // held while the log's level changes, and what hangs on it
	begun chan struct{} // closed when clients are served, or never will be
	once  sync.Once     // closes begun

	done, refused atomic.Int64 // reloads, by what came of them
}

// Reread is what SIGHUP asks for: it reopens the log's file, reads the
// configuration anew and reloads with it. What comes of it is logged, with an
// error as well as without. why is for the log. While the daemon starts it
// waits. Any goroutine but a loop's.
func (s *Server) Reread(why string) (changed []config.Change, restart []string, err error) {
	<-s.reloads.begun
	s.reloads.turn.Lock() // before the file is read: of two at once the later reads the newer file
	defer s.reloads.turn.Unlock()
	if s.state.Load() == draining {
		s.logIgnored(why)
		return nil, nil, ErrDraining
	}
	defer s.announce.reloading()()
	if s.o.Log != nil {
		if err := s.o.Log.Reopen(); err != nil {
			s.log.Error("the log's file cannot be opened again: the old one is still written to", zap.Error(err))
		}
	}
	if s.console != nil {
		if err := s.console.Reopen(); err != nil {
			s.log.Error("the audit log cannot be opened again: the old file is still written to", zap.Error(err))
		}
	}
	s.log.Info("reloading", zap.String("why", why))
	if s.o.Load == nil {
		err = errNoLoad
	} else {
		var cfg *config.Config
		if cfg, err = s.o.Load(); err == nil {
			changed, restart, err = s.reloadLocked(cfg)
		}
	}
	s.reloads.count(err)
	switch {
	case errors.Is(err, ErrDraining): // it has begun meanwhile
		s.logIgnored(why)
	case err != nil:
		s.log.Error("reload refused: everything stays as it was", problems(err))
	}
	return changed, restart, err
}

// count notes what came of a reload. One that the drain has overtaken is neither.
func (r *reloads) count(err error) {
	switch {
	case err == nil:
		r.done.Add(1)
	case !errors.Is(err, ErrDraining):
		r.refused.Add(1)
	}
}

func (s *Server) logIgnored(why string) {
	s.log.Info("reload ignored: the daemon is shutting down", zap.String("why", why))
}

// problems is err for the log, each problem by itself.
func problems(err error) zap.Field {
	var all config.Problems
	if !errors.As(err, &all) {
		return zap.Error(err)
	}
	lines := make([]string, len(all))
	for i, p := range all {
		lines[i] = p.String()
	}
	return zap.Strings("problems", lines)
}

// Reload takes over what of cfg can be changed without a restart, and reads
// again the files that it names: all of it or, with an error, nothing. Each
// changed key is logged. restart names the keys that differ from what the daemon
// was started with and stay as they were; so each reload names them again. While
// the daemon starts it waits; while it shuts down the error is ErrDraining, else
// config.Problems. Any goroutine but a loop's.
func (s *Server) Reload(cfg *config.Config) (changed []config.Change, restart []string, err error) {
	<-s.reloads.begun
	s.reloads.turn.Lock()
	defer s.reloads.turn.Unlock()
	changed, restart, err = s.reloadLocked(cfg)
	s.reloads.count(err)
	return changed, restart, err
}

// reloadLocked is Reload for who has the turn.
func (s *Server) reloadLocked(cfg *config.Config) (changed []config.Change, restart []string, err error) {
	old := s.settings.Load()
	joined, err := old.cfg.Reloaded(cfg)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range config.Diff(old.cfg, cfg) {
		if c.Live {
			changed = append(changed, c)
		} else {
			restart = append(restart, c.Key)
		}
	}
	if len(restart) > 0 { // better refused now than at the restart
		if _, err := newSettings(cfg, !s.o.Worker); err != nil {
			return nil, nil, err
		}
	}
	next, err := newSettings(joined, !s.o.Worker)
	if err != nil {
		return nil, nil, err
	}
	if !s.putInForce(next) {
		return nil, nil, ErrDraining
	}
	s.logReload(old, next, changed, restart)
	return changed, restart, nil
}

// putInForce makes next what counts from now on. It returns false, and does
// nothing, when the drain has begun.
func (s *Server) putInForce(next *settings) bool {
	s.reloads.apply.Lock()
	defer s.reloads.apply.Unlock()
	if s.state.Load() == draining {
		return false
	}
	if old := s.settings.Load().transport.TLS; transport.Same(old, next.transport.TLS) {
		next.transport.TLS = old
	}
	s.settings.Store(next)
	s.tasks.SetSchedules(next.schedules)
	s.gate.Set(gateLimits(next.cfg.Limits))
	if s.tracer != nil {
		s.tracer.SetRates(rates(next.cfg.Tracing))
	}
	s.transport.Set(next.transport)
	most := s.limitConnections()
	s.maxConnections.Store(int64(most))
	s.peers.SetLimits(rpcLimits(next.cfg.Limits, most))
	s.budget.Set(next.cfg.Limits.MaxTotalWriteBufferBytes)
	s.input.Set(next.cfg.Limits.MaxTotalInputBytes)
	for i, l := range s.loops {
		l.AddCallback(func() { s.sets[i].SetOptions(connOptions(next.cfg.Limits, s.budget, s.input)) })
	}
	return true
}

// endReloads lets no reload begin any more, and those that wait go.
func (s *Server) endReloads() {
	s.reloads.apply.Lock()
	defer s.reloads.apply.Unlock()
	s.state.Store(draining)
	s.letReload()
}

// letReload ends the wait for the start.
func (s *Server) letReload() { s.reloads.once.Do(func() { close(s.reloads.begun) }) }

// logReload says what has changed, at whichever of the two log levels shows it.
func (s *Server) logReload(old, next *settings, changed []config.Change, restart []string) {
	level := next.cfg.Log.Level
	if s.o.Log != nil && quieter(level, s.o.Log.Level()) {
		defer s.setLogLevel(level)
	} else {
		s.setLogLevel(level)
	}
	for _, c := range changed {
		s.log.Info("setting changed", zap.String("key", c.Key), zap.String("old", c.Old), zap.String("new", c.New))
	}
	next.logFiles(s.log, old)
	if len(restart) > 0 {
		s.log.Warn("settings that differ from the file until the daemon is restarted", zap.Strings("keys", restart))
	}
	s.log.Info("reloaded", zap.Int("changed", len(changed)))
}

// quieter reports whether a writes less than b; both are values of log.level.
func quieter(a, b string) bool {
	var least, other zapcore.Level
	_ = least.Set(a) // the configuration has checked them
	_ = other.Set(b)
	return least > other
}
