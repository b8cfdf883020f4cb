package server

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gameserverd/internal/rpc"
	"gameserverd/wire"
)

// callLog logs every call and its outcome at debug level. It is no middleware at
// all at any other level, so that calls then pay nothing for it.
func callLog(log *zap.Logger) []rpc.Middleware {
	if !log.Core().Enabled(zapcore.DebugLevel) {
		return nil
	}
	return []rpc.Middleware{{After: func(c *rpc.Call, err error) {
		log.Debug("call", zap.String("method", c.Method()), zap.Uint64("uid", c.UID()),
			zap.String("code", string(wire.CodeOf(err))), zap.Duration("took", time.Since(c.Now())), zap.Error(err))
	}}}
}
