package server

import (
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// lineCounts counts the lines of the log by level, those that are sampled away
// included. Any goroutine.
type lineCounts [zapcore.FatalLevel - zapcore.DebugLevel + 1]atomic.Int64

// of is how many lines there were of a level; those above error are errors too.
func (c *lineCounts) of(level zapcore.Level) int64 {
	n := c[level-zapcore.DebugLevel].Load()
	if level == zapcore.ErrorLevel {
		for above := zapcore.DPanicLevel; above <= zapcore.FatalLevel; above++ {
			n += c[above-zapcore.DebugLevel].Load()
		}
	}
	return n
}

// count has every line that is logged through the logger it returns counted.
func (c *lineCounts) count(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core { return countedCore{core, c} }))
}

// countedCore stands before all others, so that it sees what they leave out.
type countedCore struct {
	zapcore.Core
	counts *lineCounts
}

// With keeps the counting.
func (c countedCore) With(fields []zapcore.Field) zapcore.Core {
	return countedCore{c.Core.With(fields), c.counts}
}

// Level is the least that is written.
func (c countedCore) Level() zapcore.Level { return zapcore.LevelOf(c.Core) }

// Check counts the line, and leaves it to the others whether it is written.
func (c countedCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && e.Level >= zapcore.DebugLevel && e.Level <= zapcore.FatalLevel {
		c.counts[e.Level-zapcore.DebugLevel].Add(1)
	}
	return c.Core.Check(e, ce)
}
