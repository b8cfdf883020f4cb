package cli

import (
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// LogOptions say where the log goes and how it looks.
type LogOptions struct {
	Level, Format string    // log.level and log.format, which the configuration has checked
	File          string    // added to, and made if it is not there; "": Stderr
	Stderr        io.Writer // also for lines that cannot be written to File
	Color         bool      // Stderr is a terminal
}

// Log is the daemon's log, with what a reload changes of it. Any goroutine.
type Log struct {
	*zap.Logger

	level  zap.AtomicLevel
	file   *logFile // nil: standard error
	counts *counts
}

// NewLog opens the log. Its error says that the file cannot be written to.
func NewLog(o LogOptions) (*Log, error) {
	l := &Log{level: zap.NewAtomicLevel()}
	l.SetLevel(o.Level)
	out, color := zapcore.Lock(zapcore.AddSync(o.Stderr)), o.Color
	if o.File != "" {
		var err error
		if l.file, err = openLogFile(o.File, o.Stderr); err != nil {
			return nil, err
		}
		out, color = l.file, false
	}
	core := newCore(l.level, o.Format, out, color)
	l.counts = core.counts
	l.Logger = zap.New(core, zap.ErrorOutput(zapcore.Lock(zapcore.AddSync(o.Stderr))))
	return l, nil
}

// Console is a log for people, for commands other than serve. color is for
// terminals. Any goroutine.
func Console(level zapcore.Level, w io.Writer, color bool) *zap.Logger {
	return zap.New(newCore(level, "console", zapcore.Lock(zapcore.AddSync(w)), color))
}

// SetLevel makes level, a value of log.level, the least that is written. Any
// goroutine.
func (l *Log) SetLevel(level string) {
	if least, err := zapcore.ParseLevel(level); err == nil {
		l.level.SetLevel(least)
	}
}

// Level is the least that is written, as in log.level. Any goroutine.
func (l *Log) Level() string { return l.level.String() }

// Reopen opens the log's file by its name, after it was moved away, and writes to
// the new one from then on; no line is lost between the two. With an error the
// old one is still written to. Without a file it does nothing. Any goroutine.
func (l *Log) Reopen() error {
	if l.file == nil {
		return nil
	}
	return l.file.reopen()
}

// Close tells of the lines that were left out, and closes the log's file, if there
// is one. Nothing is logged afterwards.
func (l *Log) Close() error {
	l.counts.close()
	if l.file == nil {
		return nil
	}
	return l.file.close()
}

// newCore writes lines of the level and above. Durations are seconds in json, so that
// they can be compared, and have their unit in console.
func newCore(level zapcore.LevelEnabler, format string, out zapcore.WriteSyncer, color bool) sampler {
	ec := zap.NewProductionEncoderConfig()
	ec.TimeKey = "time"
	ec.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	ec.EncodeDuration = zapcore.SecondsDurationEncoder
	encoder := zapcore.NewJSONEncoder
	readable := func(c zapcore.Core) zapcore.Core { return c }
	if format == "console" {
		encoder = zapcore.NewConsoleEncoder
		ec.EncodeTime = zapcore.TimeEncoderOfLayout("2006-01-02 15:04:05.000")
		ec.EncodeDuration = zapcore.StringDurationEncoder
		ec.EncodeLevel = zapcore.CapitalLevelEncoder
		if color {
			ec.EncodeLevel = zapcore.CapitalColorLevelEncoder
		}
		ec.ConsoleSeparator = "  "
		readable = func(c zapcore.Core) zapcore.Core { return stackBelow{c} }
	}
	return newSampler(readable(zapcore.NewCore(encoder(ec), out, level)))
}

// stackBelow writes the field "stack" below its message, line by line: within
// the message it is one line of several thousand characters. Any goroutine.
type stackBelow struct{ zapcore.Core }

// With keeps the wrapping.
func (s stackBelow) With(fields []zapcore.Field) zapcore.Core { return stackBelow{s.Core.With(fields)} }

// Level is the least that is written.
func (s stackBelow) Level() zapcore.Level { return zapcore.LevelOf(s.Core) }

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
