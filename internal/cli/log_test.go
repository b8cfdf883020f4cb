package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// logTo is a log as standard error gets it.
func logTo(t *testing.T, w io.Writer, level, format string, color bool) *Log {
	t.Helper()
	log, err := NewLog(LogOptions{Level: level, Format: format, Stderr: w, Color: color})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestLogFormats(t *testing.T) {
	var b bytes.Buffer
	log := logTo(t, &b, "info", "console", false)
	log.Debug("not written")
	log.Info("serving", zap.String("listen", "x:1"), zap.Duration("took", 1500*time.Millisecond))
	if want := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  INFO  serving  \{"listen": "x:1", "took": "1.5s"\}\n$`); !want.MatchString(b.String()) {
		t.Errorf("console: %q", b.String())
	}
	b.Reset()
	logTo(t, &b, "warn", "console", true).Warn("odd")
	if !strings.Contains(b.String(), "\x1b[33mWARN\x1b[0m") {
		t.Errorf("no colour on a terminal: %q", b.String())
	}
	b.Reset()
	log = logTo(t, &b, "warn", "json", true)
	log.Info("not written")
	log.Error("broken", zap.Uint64("uid", 7))
	var line struct {
		Level, Msg, Time string
		UID              uint64
	}
	if err := json.Unmarshal(b.Bytes(), &line); err != nil || line.Level != "error" || line.Msg != "broken" || line.UID != 7 {
		t.Errorf("json: %q (%v)", b.String(), err)
	}
	if _, err := time.Parse(time.RFC3339Nano, line.Time); err != nil {
		t.Error(err)
	}
	b.Reset()
	log.Warn("slow", zap.Duration("took", 1500*time.Microsecond), zap.Durations("all", []time.Duration{time.Hour}))
	if want := `"took":0.0015,"all":[3600]}`; !strings.Contains(b.String(), want) {
		t.Errorf("durations in json: %s", b.String())
	}
	if log.Logger.Level() != zap.WarnLevel || logTo(t, &b, "debug", "console", false).Logger.Level() != zap.DebugLevel {
		t.Error("the log does not know its level")
	}
}

// A stack is for reading: the console has it line by line below the message, and
// json in a field, so that one message stays one object.
func TestLogOfAStack(t *testing.T) {
	const stack = "main.roll()\n\tdice.go:7"
	var b bytes.Buffer
	logTo(t, &b, "info", "console", false).Error("method panicked", zap.String("panic", "a\nb"), zap.String("stack", stack))
	logTo(t, &b, "info", "console", false).With(zap.Int("a", 1)).Error("callback panicked", zap.ByteString("stack", []byte(stack)))
	lines := strings.Split(b.String(), "\n")
	if len(lines) != 7 || !strings.HasSuffix(lines[0], `method panicked  {"panic": "a\nb"}`) || lines[1]+"\n"+lines[2] != stack ||
		!strings.HasSuffix(lines[3], `callback panicked  {"a": 1}`) || lines[4]+"\n"+lines[5] != stack || lines[6] != "" {
		t.Errorf("console: %s", b.String())
	}
	b.Reset()
	logTo(t, &b, "info", "json", false).Error("method panicked", zap.String("stack", stack))
	var line struct{ Stack string }
	if err := json.Unmarshal(b.Bytes(), &line); err != nil || line.Stack != stack {
		t.Errorf("json: %q (%v)", b.String(), err)
	}
}
