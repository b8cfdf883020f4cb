package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// sampled is a sampler over what a test can look at.
func sampled() (*sampler, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	s := newSampler(core)
	return &s, logs
}

// at writes a line at a time.
func at(t *testing.T, core zapcore.Core, now time.Time, level zapcore.Level, message string, fields ...zap.Field) {
	t.Helper()
	ce := core.Check(zapcore.Entry{Level: level, Time: now, Message: message}, nil)
	if ce == nil {
		t.Fatalf("%s is not written at all", message)
	}
	ce.Write(fields...)
}

var aSecond = time.Unix(1_800_000_000, 0)

// A method that fails 10,000 times a second costs ten lines a second, the first with
// how many were left out before it; other methods and messages have their own.
func TestFloodOfErrorsIsCut(t *testing.T) {
	s, logs := sampled()
	defer s.counts.close()
	failed := func(now time.Time, n int, method string) {
		for i := range n {
			at(t, s, now, zapcore.ErrorLevel, "method failed", zap.Int("n", i), zap.String("method", method), zap.Error(errors.New("disk full")))
		}
	}
	failed(aSecond, 10_000, "shop.buy")
	failed(aSecond, 3, "save.put")
	at(t, s, aSecond, zapcore.ErrorLevel, "method panicked", zap.String("method", "shop.buy"))
	if n := logs.Len(); n != oddFirst+3+1 {
		t.Fatalf("%d lines in the first second", n)
	}
	for _, e := range logs.All() {
		if e.ContextMap()["left_out"] != nil {
			t.Errorf("%v tells of lines that were left out before it", e)
		}
	}
	failed(aSecond.Add(time.Second), 10_000, "shop.buy")
	second := logs.All()[oddFirst+4:]
	if len(second) != oddFirst || second[0].ContextMap()["left_out"] != uint64(10_000-oddFirst) || second[0].ContextMap()["n"] != int64(0) || second[1].ContextMap()["left_out"] != nil {
		t.Errorf("%v", second)
	}
}

// A logger of one call has its method already, one of a task its name.
func TestFloodOfOneMethodsLoggers(t *testing.T) {
	s, logs := sampled()
	defer s.counts.close()
	for _, about := range []zap.Field{zap.String("method", "a.a"), zap.String("method", "a.b"), zap.String("name", "a.task")} {
		for range 100 {
			at(t, s.With([]zap.Field{zap.Uint64("uid", 7), about}), aSecond, zapcore.WarnLevel, "its own")
		}
	}
	if n := logs.Len(); n != 3*oddFirst {
		t.Errorf("%d lines", n)
	}
}

// Each line about a call that a drain abandons names another one.
func TestAbandonedCallsAreAllWritten(t *testing.T) {
	s, logs := sampled()
	for range 5000 {
		at(t, s, aSecond, zapcore.WarnLevel, "call abandoned", zap.String("method", "shop.buy"))
	}
	if n := logs.Len(); n != 5000 {
		t.Errorf("%d of 5000", n)
	}
}

// Below Warn a message is one, whatever its method.
func TestFloodOfUsualLinesIsCut(t *testing.T) {
	s, logs := sampled()
	defer s.counts.close()
	for i := range 1000 {
		at(t, s, aSecond, zapcore.InfoLevel, "session closed", zap.String("method", fmt.Sprint(i)))
	}
	lines := logs.All()
	if len(lines) != usualFirst+9 || lines[usualFirst].ContextMap()["left_out"] != uint64(usualEvery-1) {
		t.Errorf("%d lines", len(lines))
	}
}

// When no line follows, one of its own tells what was left out.
func TestTheEndOfAFloodIsTold(t *testing.T) {
	s, logs := sampled()
	now := time.Now()
	for range 25 {
		at(t, s, now, zapcore.ErrorLevel, "method failed", zap.String("method", "shop.buy"))
	}
	over := time.After(15 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for logs.FilterMessage(leftOut).Len() == 0 {
		select {
		case <-tick.C:
		case <-over:
			t.Fatal("nothing is told")
		}
	}
	tail := logs.FilterMessage(leftOut).All()
	want := map[string]any{"message": "method failed", "method": "shop.buy", "left_out": uint64(15)}
	if got := tail[0].ContextMap(); len(tail) != 1 || fmt.Sprint(got) != fmt.Sprint(want) || tail[0].Level != zapcore.ErrorLevel {
		t.Errorf("%v", tail)
	}
	at(t, s, now.Add(time.Minute), zapcore.ErrorLevel, "method failed", zap.String("method", "shop.buy"))
	if last := logs.All()[logs.Len()-1]; last.ContextMap()["left_out"] != nil {
		t.Errorf("it is told twice: %v", last)
	}
}

// So does the log's end.
func TestCloseTellsWhatWasLeftOut(t *testing.T) {
	var b bytes.Buffer
	log := logTo(t, &b, "info", "json", false)
	for range 50 {
		log.Warn("odd")
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	var last struct {
		Msg, Message, Level string
		LeftOut             int `json:"left_out"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Msg != leftOut || last.Message != "odd" || last.Level != "warn" {
		t.Errorf("%s: %v", lines[len(lines)-1], err)
	}
	if written := strings.Count(b.String(), `"msg":"odd"`); written+last.LeftOut < 50 || written > 2*oddFirst { // two seconds, if the clock was about to turn
		t.Errorf("%d lines and %d left out are not 50", written, last.LeftOut)
	}
}

// However many messages there are, the memory for them is bounded.
func TestMessagesAreBounded(t *testing.T) {
	s, logs := sampled()
	defer s.counts.close()
	for i := range 3 * maxCounts {
		at(t, s, aSecond, zapcore.WarnLevel, "odd", zap.String("method", fmt.Sprint(i)))
	}
	if n := len(s.counts.all); n > maxCounts+1 {
		t.Errorf("%d are told apart", n)
	}
	if n := logs.FilterMessage("odd").Len(); n != maxCounts+oddFirst {
		t.Errorf("%d lines", n)
	}
	at(t, s, aSecond.Add(time.Minute), zapcore.WarnLevel, "odd", zap.String("method", "new"))
	if n := len(s.counts.all); n > 10 {
		t.Errorf("%d are kept that are over", n)
	}
}

// Nothing is lost or told twice when many goroutines log at once.
func TestSamplingAtOnce(t *testing.T) {
	s, logs := sampled()
	log := zap.New(s)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for range 500 {
				log.Warn("odd", zap.String("method", fmt.Sprint(g%2)))
			}
		})
	}
	all.Wait()
	s.counts.close()
	sum := uint64(0)
	for _, e := range logs.All() {
		if e.Message == "odd" {
			sum++
		}
		if n, ok := e.ContextMap()["left_out"].(uint64); ok {
			sum += n
		}
	}
	if sum != 4000 {
		t.Errorf("%d lines of 4000 are accounted for", sum)
	}
}

func BenchmarkSampledAway(b *testing.B) {
	s := newSampler(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(new(bytes.Buffer)), zapcore.WarnLevel))
	log := zap.New(s)
	b.ReportAllocs()
	for b.Loop() {
		log.Error("method failed", zap.String("method", "shop.buy"), zap.Uint64("uid", 7))
	}
	s.counts.close()
}
