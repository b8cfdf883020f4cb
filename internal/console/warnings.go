package console

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// The bounds of what is kept of the log.
const (
	maxWarnings = 200
	maxWarning  = 8 << 10 // bytes of one's fields; of more there is the beginning of each
	maxField    = 1 << 10
)

// Warning is a line of the log of level Warn or above.
type Warning struct {
	At      time.Time       `json:"at"`
	Level   string          `json:"level"`
	Message string          `json:"message"`
	Fields  json.RawMessage `json:"fields,omitempty"`
}

// Warnings keeps the last 200 lines of a log of Warn and above. Any goroutine.
type Warnings struct {
	mu   sync.Mutex // guards what follows
	n    int        // lines so far
	ring []Warning  // the line i is at i modulo maxWarnings
}

// sampling is a core that leaves some lines out. Behind returns it with wrap's core
// behind it, which is given what is written.
type sampling interface {
	Behind(wrap func(zapcore.Core) zapcore.Core) zapcore.Core
}

// Watch returns log; what it writes is kept. What a log leaves out is not: lines that
// repeat, of which a client may be the cause, would cost their encoding and push out
// all others. Any goroutine.
func (w *Warnings) Watch(log *zap.Logger) *zap.Logger {
	wrap := func(core zapcore.Core) zapcore.Core { return watched{Core: core, in: keeper{Core: core, w: w}} }
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		if s, ok := core.(sampling); ok {
			return s.Behind(wrap)
		}
		return wrap(core)
	}))
}

// watched shows a keeper what it writes. Any goroutine.
type watched struct {
	zapcore.Core
	in keeper
}

// Write is called by a core that has decided that a line is written.
func (w watched) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if e.Level >= zapcore.WarnLevel {
		_ = w.in.Write(e, fields) // into memory
	}
	return w.Core.Write(e, fields)
}

// With keeps the wrapping.
func (w watched) With(fields []zapcore.Field) zapcore.Core {
	return watched{w.Core.With(fields), keeper{w.Core, w.in.w, append(w.in.with[:len(w.in.with):len(w.in.with)], fields...)}}
}

// Check lets the core inside check, and the keeper take what it keeps.
func (w watched) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if ce = w.Core.Check(e, ce); e.Level >= zapcore.WarnLevel && w.Enabled(e.Level) {
		ce = ce.AddCore(e, w.in)
	}
	return ce
}

// keeper writes into memory. Any goroutine.
type keeper struct {
	zapcore.Core
	w    *Warnings
	with []zapcore.Field // immutable
}

// Write keeps a line.
func (k keeper) Write(e zapcore.Entry, fields []zapcore.Field) error {
	k.w.keep(Warning{At: e.Time, Level: e.Level.String(), Message: cut(e.Message, maxField), Fields: shown(k.with, fields)})
	return nil
}

// Sync does nothing.
func (k keeper) Sync() error { return nil }

func (w *Warnings) keep(one Warning) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ring) < maxWarnings {
		w.ring = append(w.ring, one)
	} else {
		w.ring[w.n%maxWarnings] = one
	}
	w.n++
}

// shown is fields as JSON, made now: a value may change later.
func shown(with, fields []zapcore.Field) json.RawMessage {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range with {
		f.AddTo(enc)
	}
	for _, f := range fields {
		f.AddTo(enc)
	}
	for key, v := range enc.Fields {
		switch v := v.(type) {
		case time.Duration:
			enc.Fields[key] = v.String()
		case []byte:
			enc.Fields[key] = cut(string(v), maxWarning)
		case string:
			enc.Fields[key] = cut(v, maxWarning)
		}
	}
	raw, err := json.Marshal(enc.Fields)
	if err != nil || len(raw) > 2*maxWarning { // a value that JSON has not, or many
		short := make(map[string]string, len(enc.Fields))
		for key, v := range enc.Fields {
			b, err := json.Marshal(v)
			if err != nil {
				b = []byte("?")
			}
			short[key] = cut(string(b), maxField)
		}
		raw, _ = json.Marshal(short) // texts can be
	}
	return raw
}

func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	return s[:max] + "…"
}

// last lists what is kept, the newest first. n is how many there have been.
func (w *Warnings) last() (n int, all []Warning) {
	all = []Warning{}
	if w == nil {
		return 0, all
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.ring {
		all = append(all, w.ring[(w.n-1-i)%maxWarnings])
	}
	return w.n, all
}

// seq is how many lines there have been.
func (w *Warnings) seq() int {
	if w == nil {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

func (c *Console) warnings(w http.ResponseWriter, _ *http.Request) {
	seq, all := c.o.Warnings.last()
	answer(w, struct {
		Seq      int       `json:"seq"`
		Warnings []Warning `json:"warnings"`
	}{seq, all})
}
