package cli

import (
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// What repeats is written only in part, so that neither a hostile client nor a
// method that always fails can fill a disk. A line that follows on lines that were
// left out has their number as left_out; when none follows, one of its own tells of
// them (leftOut).
const (
	// Below Warn, of one message: this many lines a second, then every
	// usualEvery-th.
	usualFirst = 100
	usualEvery = 100
	// At Warn and above, of one message and method, or task: this many lines a second. Each
	// may have a stack of several KB. The trace id that a client was given is in the
	// log for as many failures of each method a second; which of more are there is
	// chance.
	oddFirst = 10
	// maxCounts bounds the messages and methods that are told apart; the code has
	// fewer.
	maxCounts = 4096
)

// never are the messages of which all lines are written: the code bounds their
// number, and each names something else that was lost.
var never = map[string]bool{"call abandoned": true}

// leftOut is the message that tells of lines that were left out, when no line of
// their message follows.
const leftOut = "lines left out"

// tailAfter is how long after the first line that is left out that is told.
const tailAfter = 2 * time.Second

// sampler writes what is given to it, but of what repeats only a part. Any
// goroutine.
type sampler struct {
	zapcore.Core
	about  zap.Field // of With: the method, or the task's name
	counts *counts
}

func newSampler(to zapcore.Core) sampler {
	return sampler{Core: to, counts: &counts{to: to, all: make(map[repeated]*count)}}
}

// With keeps the wrapping, and what the lines are about.
func (s sampler) With(fields []zapcore.Field) zapcore.Core {
	return sampler{s.Core.With(fields), aboutOf(fields, s.about), s.counts}
}

// Behind puts a core behind s: wrap is given the one that writes, and what it returns is
// given only what is written, and the lines that tell of others. Its Write is called
// without Check.
func (s sampler) Behind(wrap func(zapcore.Core) zapcore.Core) zapcore.Core {
	s.counts.behind(wrap)
	return sampler{wrap(s.Core), s.about, s.counts}
}

// Level is the least that is written.
func (s sampler) Level() zapcore.Level { return zapcore.LevelOf(s.Core) }

// Check names s and not the core inside, whose Write would be called otherwise.
func (s sampler) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if s.Enabled(e.Level) {
		return ce.AddCore(e, s)
	}
	return ce
}

// Write writes the line, or counts it.
func (s sampler) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if never[e.Message] {
		return s.Core.Write(e, fields)
	}
	what := repeated{level: e.Level, message: e.Message}
	if e.Level >= zapcore.WarnLevel {
		about := aboutOf(fields, s.about)
		what.key, what.about = about.Key, about.String
	}
	left, write := s.counts.count(what, e.Time)
	if !write {
		return nil
	}
	if left > 0 {
		fields = append(fields[:len(fields):len(fields)], zap.Uint64("left_out", left))
	}
	return s.Core.Write(e, fields)
}

// aboutOf is the field method, or name for tasks, or what else holds.
func aboutOf(fields []zapcore.Field, otherwise zap.Field) zap.Field {
	for i := range fields {
		if f := &fields[i]; f.Type == zapcore.StringType && (f.Key == "method" || f.Key == "name") {
			return *f
		}
	}
	return otherwise
}

// repeated is what makes two lines the same.
type repeated struct {
	level      zapcore.Level
	message    string
	key, about string // of the field; "": none
}

// count is of one second.
type count struct {
	second int64
	lines  uint64 // in that second
	left   uint64 // left out since one was written
}

// counts are the lines of late. Any goroutine.
type counts struct {
	mu     sync.Mutex   // guards what follows
	to     zapcore.Core // for the lines that tell of others
	all    map[repeated]*count
	swept  int64       // the second in which all was last looked through
	tail   *time.Timer // nil: nothing was left out that is still to be told
	closed bool
}

// count counts a line, and decides about it. left is how many of its kind were left
// out before it and are told with it.
func (c *counts) count(what repeated, now time.Time) (left uint64, write bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.of(what, now.Unix())
	if second := now.Unix(); n.second != second {
		n.second, n.lines = second, 0
	}
	n.lines++
	if what.level >= zapcore.WarnLevel {
		write = n.lines <= oddFirst
	} else {
		write = n.lines <= usualFirst || (n.lines-usualFirst)%usualEvery == 0
	}
	if write {
		left, n.left = n.left, 0
		return left, true
	}
	n.left++
	if c.tail == nil && !c.closed {
		c.tail = time.AfterFunc(tailAfter, c.tellTail)
	}
	return 0, false
}

// of finds the count of what repeats. When there are too many, those of whom
// nothing is to be told go; what is left shares one.
func (c *counts) of(what repeated, second int64) *count {
	if n := c.all[what]; n != nil {
		return n
	}
	if len(c.all) >= maxCounts && c.swept != second {
		c.swept = second
		for other, n := range c.all {
			if n.left == 0 && n.second != second {
				delete(c.all, other)
			}
		}
	}
	if len(c.all) >= maxCounts {
		what = repeated{level: what.level}
		if n := c.all[what]; n != nil {
			return n
		}
	}
	n := new(count)
	c.all[what] = n
	return n
}

// tellTail tells of what was left out and not followed by a line since.
func (c *counts) tellTail() {
	c.mu.Lock()
	c.tail = nil
	to, again := c.to, false
	second := time.Now().Unix()
	left := make(map[repeated]uint64)
	for what, n := range c.all {
		switch {
		case n.left == 0:
		case n.second == second && !c.closed: // it may go on
			again = true
		default:
			left[what], n.left = n.left, 0
		}
	}
	if again {
		c.tail = time.AfterFunc(tailAfter, c.tellTail)
	}
	c.mu.Unlock()
	for what, n := range left {
		if !to.Enabled(what.level) {
			continue
		}
		fields := []zapcore.Field{zap.String("message", what.message), zap.Uint64("left_out", n)}
		if what.key != "" {
			fields = append(fields, zap.String(what.key, what.about))
		}
		_ = to.Write(zapcore.Entry{Level: what.level, Time: time.Now(), Message: leftOut}, fields)
	}
}

func (c *counts) behind(wrap func(zapcore.Core) zapcore.Core) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to = wrap(c.to)
}

// close tells of all that was left out, and tells nothing later.
func (c *counts) close() {
	c.mu.Lock()
	if c.tail != nil {
		c.tail.Stop()
	}
	c.closed = true
	c.mu.Unlock()
	c.tellTail()
}
