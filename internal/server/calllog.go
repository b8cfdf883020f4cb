package server

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// logCalls logs every call and its outcome while the log's level is debug; at any
// other level calls pay nothing for it. Each has a trace id then, for what is logged
// of it after its outcome. It is called when the level has changed.
func (s *Server) logCalls() {
	if !s.log.Core().Enabled(zapcore.DebugLevel) {
		s.peers.OnEnd(nil)
		return
	}
	s.peers.OnEnd(func(c *rpc.Call, err error) {
		s.log.Debug("call", zap.String("method", c.Method()), zap.Uint64("uid", c.UID()),
			zap.String("code", string(wire.CodeOf(err))), zap.Duration("took", time.Since(c.Now())), zap.String("trace", c.Trace()), zap.Error(err))
	})
}

// setLogLevel makes level, one of log.level, the least that is written. Without
// Options.Log it stays as it is. Any goroutine.
func (s *Server) setLogLevel(level string) {
	if s.o.Log != nil {
		s.reloads.level.Lock()
		defer s.reloads.level.Unlock()
		s.o.Log.SetLevel(level)
		s.logCalls()
	}
}
