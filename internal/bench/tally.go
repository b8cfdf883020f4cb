package bench

import (
	"bytes"
	"reflect"

	"github.com/HdrHistogram/hdrhistogram-go"

	"gameserverd/wire"
)

// What a histogram can tell apart: from 1 ns to an hour, to three digits. Longer latencies count as an hour.
const (
	histogramMax    = int64(3600e9)
	histogramDigits = 3
)

// tally counts the answers of one worker between two collections, or of the whole run.
type tally struct {
	latency       *hdrhistogram.Histogram // ns, of every answered call that began in the window
	ok            uint64
	wrong         uint64 // results that are not what was expected
	errors        map[wire.Code]uint64
	lost          uint64 // calls whose connection ended first
	unasked       uint64 // answers that nobody waits for
	notifications uint64
	requests      uint64 // the server's calls to us; answered unimplemented
	seen          uint64 // answers, also those outside the window
	last          int64  // when the last answer came that counts

	firstResult wire.Raw    // of the first good answer
	firstWrong  wire.Raw    // of the first wrong one
	firstError  *wire.Error // of the first error
}

func newTally() *tally {
	return &tally{latency: hdrhistogram.New(1, histogramMax, histogramDigits), errors: map[wire.Code]uint64{}}
}

// answered counts the answer to a call of the window.
func (t *tally) answered(begun, now int64, m *wire.Message, e *expectation) {
	// Cannot fail: the value is within the histogram's range.
	_ = t.latency.RecordValue(min(max(now-begun, 1), histogramMax))
	t.last = now
	switch {
	case m.Err != nil:
		failure := wire.ParseError(m.Err)
		t.errors[failure.Code]++
		if t.firstError == nil {
			t.firstError = failure
		}
	case !e.holds(m.Result):
		t.wrong++
		if t.firstWrong == nil {
			t.firstWrong = bytes.Clone(m.Result)
		}
	default:
		t.ok++
		if t.firstResult == nil {
			t.firstResult = bytes.Clone(m.Result)
		}
	}
}

// calls returns how many calls of the window were answered.
func (t *tally) calls() uint64 {
	n := t.ok + t.wrong
	for _, count := range t.errors {
		n += count
	}
	return n
}

// failures returns how many calls of the window ended badly.
func (t *tally) failures() uint64 { return t.calls() - t.ok + t.lost }

// merge adds from to t.
func (t *tally) merge(from *tally) {
	t.latency.Merge(from.latency)
	t.ok += from.ok
	t.wrong += from.wrong
	for code, n := range from.errors {
		t.errors[code] += n
	}
	t.lost += from.lost
	t.unasked += from.unasked
	t.notifications += from.notifications
	t.requests += from.requests
	t.seen += from.seen
	t.last = max(t.last, from.last)
	if t.firstResult == nil {
		t.firstResult = from.firstResult
	}
	if t.firstWrong == nil {
		t.firstWrong = from.firstWrong
	}
	if t.firstError == nil {
		t.firstError = from.firstError
	}
}

// reset empties t for reuse.
func (t *tally) reset() {
	latency, errors := t.latency, t.errors
	latency.Reset()
	clear(errors)
	*t = tally{latency: latency, errors: errors}
}

// expectation is the result that every answer must have. One belongs to one worker.
type expectation struct {
	any   bool // nothing is expected
	want  any
	known wire.Raw // the last encoding that was found equal
}

// newExpectation expects the value want; nil: any result will do.
func newExpectation(want wire.Raw) (*expectation, error) {
	e := &expectation{any: want == nil, known: want}
	if want == nil {
		return e, nil
	}
	return e, wire.Unmarshal(want, &e.want)
}

// holds compares values, not encodings: a server may write an integer in any width.
func (e *expectation) holds(result wire.Raw) bool {
	if e.any || bytes.Equal(result, e.known) {
		return true
	}
	var got any
	if wire.Unmarshal(result, &got) != nil || !equal(e.want, got) {
		return false
	}
	e.known = bytes.Clone(result)
	return true
}

// equal is deep equality in which a number is its value, whatever type holds it.
func equal(a, b any) bool {
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !equal(a[i], b[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for k, v := range a {
			w, ok := b[k]
			if !ok || !equal(v, w) {
				return false
			}
		}
		return true
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	return reflect.DeepEqual(a, b)
}

// decimal is a number such that equal values compare equal: integers exactly, the rest as floats.
type decimal struct {
	negative bool
	integer  uint64 // its magnitude
	fraction float64
}

func number(v any) (decimal, bool) {
	switch v := v.(type) {
	case int64:
		if v < 0 {
			return decimal{negative: true, integer: -uint64(v)}, true
		}
		return decimal{integer: uint64(v)}, true
	case uint64:
		return decimal{integer: v}, true
	case float64:
		if whole := int64(v); float64(whole) == v && v > -1<<63 && v < 1<<63 {
			return number(whole)
		}
		return decimal{fraction: v}, true
	}
	return decimal{}, false
}
