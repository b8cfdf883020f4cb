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
	readable := func(c zapcore.Core) zapcore.Core { return c }
	if format == "console" {
		encoder = zapcore.NewConsoleEncoder
		ec.EncodeTime = zapcore.TimeEncoderOfLayout("2006-01-02 15:04:05.000")
		ec.EncodeLevel = zapcore.CapitalLevelEncoder
		if color {
			ec.EncodeLevel = zapcore.CapitalColorLevelEncoder
		}
		ec.ConsoleSeparator = "  "
		readable = func(c zapcore.Core) zapcore.Core { return stackBelow{c} }
	}
	out := zapcore.Lock(zapcore.AddSync(w))
	odd := zap.LevelEnablerFunc(func(l zapcore.Level) bool { return l >= least && l >= zapcore.WarnLevel })
	usual := zap.LevelEnablerFunc(func(l zapcore.Level) bool { return l >= least && l < zapcore.WarnLevel })
	return zap.New(zapcore.NewTee(
		readable(zapcore.NewCore(encoder(ec), out, odd)),
		zapcore.NewSamplerWithOptions(readable(zapcore.NewCore(encoder(ec), out, usual)), time.Second, sampleFirst, sampleEvery),
	), zap.ErrorOutput(out))
}

// stackBelow writes the field "stack" below its message, line by line: within
// the message it is one line of several thousand characters. Any goroutine.
type stackBelow struct{ zapcore.Core }

// With keeps the wrapping.
func (s stackBelow) With(fields []zapcore.Field) zapcore.Core { return stackBelow{s.Core.With(fields)} }

// Check names s and not the core inside, whose Write would be called otherwise.
func (s stackBelow) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if s.Enabled(e.Level) {
		return ce.AddCore(e, s)
	}
	return ce
}

// Write moves the field to where the console encoder has stacks.
func (s stackBelow) Write(e zapcore.Entry, fields []zapcore.Field) error {
	rest := make([]zapcore.Field, 0, len(fields))
	for _, f := range fields {
		raw, isBytes := f.Interface.([]byte)
		switch {
		case f.Key != "stack":
			rest = append(rest, f)
		case isBytes:
			e.Stack = string(raw)
		default:
			e.Stack = f.String
		}
	}
	return s.Core.Write(e, rest)
}
