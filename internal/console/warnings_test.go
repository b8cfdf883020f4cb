package console

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gameserverd/internal/cli"
)

// counting counts how often it is made into text.
type counting struct{ n *int }

func (c counting) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	*c.n++
	enc.AddInt("n", *c.n)
	return nil
}

// What the log leaves out, since it repeats, costs no more for being watched, and does
// not push out what else there is to see.
func TestWhatTheLogLeavesOutIsNotKept(t *testing.T) {
	log, err := cli.NewLog(cli.LogOptions{Level: "info", Format: "json", Stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	var w Warnings
	watching := w.Watch(log.Logger).With(zap.String("loop", "loop-0"))
	watching.Warn("the one that matters")
	encoded := 0
	for range 5000 {
		watching.Error("method failed", zap.String("method", "shop.buy"), zap.Object("what", counting{&encoded}))
	}
	if encoded > 200 { // 10 a second, by the log and by the page
		t.Errorf("5000 repeats were encoded %d times", encoded)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	seen := make(map[string]int)
	_, all := w.last()
	for _, one := range all {
		seen[one.Message]++
	}
	if seen["the one that matters"] != 1 || seen["method failed"] < 10 || seen["method failed"] > 100 || seen["lines left out"] != 1 {
		t.Errorf("kept: %v", seen)
	}
	for _, one := range all {
		if one.Message == "method failed" && !strings.Contains(string(one.Fields), `"loop":"loop-0"`) {
			t.Errorf("%s", one.Fields)
		}
	}
}

// A log that is watched writes what it would have written, and to no other level.
func TestAWatchedLogIsTheSame(t *testing.T) {
	lines := func(watch bool) string {
		var out bytes.Buffer
		l, err := cli.NewLog(cli.LogOptions{Level: "warn", Format: "console", Stderr: &out})
		if err != nil {
			t.Fatal(err)
		}
		log := l.Logger
		var w Warnings
		if watch {
			log = w.Watch(log)
		}
		log = log.With(zap.Int("n", 1))
		log.Info("not written")
		log.Warn("a warning", zap.String("stack", "a\nb"))
		log.Error("an error")
		if n, _ := w.last(); watch && n != 2 {
			t.Errorf("%d lines are kept", n)
		}
		var texts []string
		for line := range strings.Lines(out.String()) {
			_, text, _ := strings.Cut(line, "  ")
			texts = append(texts, text)
		}
		return strings.Join(texts, "")
	}
	if plain, watched := lines(false), lines(true); plain != watched || !strings.Contains(plain, "an error") {
		t.Errorf("%s\nis not\n%s", watched, plain)
	}
}
