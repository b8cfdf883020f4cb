package cli

import (
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Of one message, this many lines a second are written, then every
// sampleEvery-th. Warnings and errors are always written: the names of
// abandoned calls are among them.
const (
	sampleFirst = 100
	sampleEvery = 100
)

// NewLog makes the daemon's logger. level and format are those of the
// configuration, which has checked them; color is for terminals. Any goroutine.
func NewLog(level, format string, w io.Writer, color bool) *zap.Logger {
	least, err := zapcore.ParseLevel(level)
	if err != nil {
		least = zapcore.InfoLevel
	}
	ec := zap.NewProductionEncoderConfig()
	ec.TimeKey = "time"
	ec.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	ec.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder
	if format == "console" {
		encoder = zapcore.NewConsoleEncoder
		ec.EncodeTime = zapcore.TimeEncoderOfLayout("2006-01-02 15:04:05.000")
		ec.EncodeLevel = zapcore.CapitalLevelEncoder
		if color {
			ec.EncodeLevel = zapcore.CapitalColorLevelEncoder
		}
		ec.ConsoleSeparator = "  "
	}
	out := zapcore.Lock(zapcore.AddSync(w))
	odd := zap.LevelEnablerFunc(func(l zapcore.Level) bool { return l >= least && l >= zapcore.WarnLevel })
	usual := zap.LevelEnablerFunc(func(l zapcore.Level) bool { return l >= least && l < zapcore.WarnLevel })
	return zap.New(zapcore.NewTee(
		zapcore.NewCore(encoder(ec), out, odd),
		zapcore.NewSamplerWithOptions(zapcore.NewCore(encoder(ec), out, usual), time.Second, sampleFirst, sampleEvery),
	), zap.ErrorOutput(out))
}
