package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Result is what a run measured. Every count is of calls that began, or with a rate were due, within the measured time.
// Its JSON names are stable.
type Result struct {
	Addr        string          `json:"addr"`
	Method      string          `json:"method"`
	Params      json.RawMessage `json:"params"`
	Connections int             `json:"connections"`
	Loops       int             `json:"loops"`
	Depth       int             `json:"depth"`
	Rate        float64         `json:"rate"`           // calls a second asked for; 0: as fast as answers came
	TLS         string          `json:"tls"`            // version and cipher; "": plain
	Seconds     float64         `json:"seconds"`        // measured
	Warmup      float64         `json:"warmup_seconds"` // before it
	Interrupted bool            `json:"interrupted"`    // ended before its time

	Throughput float64           `json:"calls_per_second"` // answered calls, by Seconds
	Answered   uint64            `json:"answered"`
	OK         uint64            `json:"ok"`
	Wrong      uint64            `json:"wrong"`      // results that are not what was expected
	Errors     map[string]uint64 `json:"errors"`     // error answers by code
	Lost       uint64            `json:"lost"`       // the connection ended before the answer
	Unanswered uint64            `json:"unanswered"` // no answer within Grace of the end
	NotSent    uint64            `json:"not_sent"`   // with a rate: due, but Depth calls were outstanding on every connection

	LatencyFrom string  `json:"latency_from"` // "send", or with a rate "due"
	Latency     Latency `json:"latency_us"`

	FirstResult json.RawMessage `json:"first_result"` // null: there is none
	FirstWrong  json.RawMessage `json:"first_wrong,omitempty"`
	FirstError  string          `json:"first_error,omitempty"`

	Failed        map[string]int `json:"connections_failed"` // by why they could not be opened or logged in
	Closed        map[string]int `json:"connections_closed"` // by why they ended during the run
	Unasked       uint64         `json:"unasked_answers"`
	Notifications uint64         `json:"notifications"`
	Requests      uint64         `json:"server_requests"`

	CPUSeconds float64 `json:"cpu_seconds"` // of this process during the measurement
	CPUs       float64 `json:"cpus"`        // the same as CPUs that it kept busy
}

// Latency is the latency of all answered calls in microseconds.
type Latency struct {
	Min  float64 `json:"min"`
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

func (t *tally) summary() Latency {
	us := func(ns int64) float64 { return float64(ns) / 1e3 }
	v := t.latency.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9})
	return Latency{
		Min: us(t.latency.Min()), Mean: t.latency.Mean() / 1e3, Max: us(t.latency.Max()),
		P50: us(v[0]), P90: us(v[1]), P99: us(v[2]), P999: us(v[3]),
	}
}

// WriteJSON writes the result as one JSON object.
func (r *Result) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes the result for people.
func (r *Result) WriteText(w io.Writer) error {
	var b strings.Builder
	r.head(&b)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-13s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("throughput", "%s calls/s  (%s answered in %.1f s)", thousands(uint64(r.Throughput+0.5)), thousands(r.Answered), r.Seconds)
	l := r.Latency
	row("latency", "p50 %s  p90 %s  p99 %s  p99.9 %s  max %s", micros(l.P50), micros(l.P90), micros(l.P99), micros(l.P999), micros(l.Max))
	if r.LatencyFrom == "due" {
		row("", "from when each call was due: a stall counts for all calls that it delays")
	} else {
		row("", "from sending to answer: a stalled server is asked less, so tails are a lower bound (--rate has none of this)")
	}
	if r.FirstResult != nil {
		row("first result", "%s", shorten(string(r.FirstResult)))
	}
	row("errors", "%s", counts(r.Errors))
	if r.FirstError != "" {
		row("first error", "%s", shorten(r.FirstError))
	}
	r.troubles(row)
	row("this process", "%.2f CPUs%s", r.CPUs, r.bottleneck())
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Result) head(b *strings.Builder) {
	fmt.Fprintf(b, "%s%s on %s: %d connections, ", r.Method, shorten(string(r.Params)), r.Addr, r.Connections)
	if r.Rate > 0 {
		fmt.Fprintf(b, "%s calls/s in all", thousands(uint64(r.Rate+0.5)))
	} else {
		fmt.Fprintf(b, "%d outstanding on each", r.Depth)
	}
	if r.TLS != "" {
		b.WriteString(", " + r.TLS)
	}
	fmt.Fprintf(b, ", %.1f s after %.1f s of warm-up", r.Seconds, r.Warmup)
	if r.Interrupted {
		b.WriteString(", ended early")
	}
	b.WriteString("\n\n")
}

// troubles writes a line for each thing that should not happen and did.
func (r *Result) troubles(row func(name, format string, args ...any)) {
	if r.Wrong > 0 {
		row("wrong results", "%s, the first: %s", thousands(r.Wrong), shorten(string(r.FirstWrong)))
	}
	if r.Lost > 0 {
		row("lost", "%s calls whose connection ended before the answer", thousands(r.Lost))
	}
	if r.Unanswered > 0 {
		row("unanswered", "%s calls, %v after the end", thousands(r.Unanswered), Grace)
	}
	if r.NotSent > 0 {
		row("not sent", "%s calls that were due: the server does not keep up with the rate", thousands(r.NotSent))
	}
	if r.Unasked > 0 {
		row("unasked", "%s answers that no call waits for", thousands(r.Unasked))
	}
	if len(r.Failed) > 0 {
		row("not opened", "%s", counts(r.Failed))
	}
	if len(r.Closed) > 0 {
		row("closed", "%s", counts(r.Closed))
	}
	if r.Notifications > 0 {
		row("notified", "%s times", thousands(r.Notifications))
	}
	if r.Requests > 0 {
		row("called", "%s times by the server; answered unimplemented", thousands(r.Requests))
	}
}

// bottleneck warns when the load generator itself was busy nearly all the time.
func (r *Result) bottleneck() string {
	if r.Seconds < 0.5 || r.CPUs < 0.9*float64(r.Loops) {
		return ""
	}
	return fmt.Sprintf("; busy nearly all the time: it may be what limits the throughput (--loops %d)", r.Loops+1)
}

// Progress is where a run is, once a second.
type Progress struct {
	Phase      string        // "connecting", "warming up", "measuring", "waiting for answers"
	Elapsed    time.Duration // of the phase
	Ready      int           // connections that may call
	Settled    int           // those and the ones that failed or ended
	All        int
	Throughput float64 // answers a second since the last progress
	P50, P99   float64 // microseconds, of answers since the last progress; 0: none counted
	Errors     uint64  // of all kinds, since the start of the measurement
}

// String is one line for people.
func (p Progress) String() string {
	if p.Phase == phaseConnecting {
		return fmt.Sprintf("%s: %d of %d ready, %d failed", p.Phase, p.Ready, p.All, p.Settled-p.Ready)
	}
	line := fmt.Sprintf("%s %2.0f s: %s calls/s", p.Phase, p.Elapsed.Seconds(), thousands(uint64(p.Throughput+0.5)))
	if p.P50 > 0 {
		line += fmt.Sprintf(", p50 %s, p99 %s", micros(p.P50), micros(p.P99))
	}
	return line + fmt.Sprintf(", %s errors, %d connections", thousands(p.Errors), p.Ready)
}

// counts is "code 3, other 1", the most frequent first.
func counts[N int | uint64](m map[string]N) string {
	if len(m) == 0 {
		return "none"
	}
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if m[a] != m[b] {
			if m[a] > m[b] {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %s", name, thousands(uint64(m[name])))
	}
	return strings.Join(names, ", ")
}

// micros is a duration in microseconds with three digits and a fitting unit.
func micros(us float64) string {
	switch {
	case us >= 999_500:
		return digits(us/1e6) + " s"
	case us >= 999.5:
		return digits(us/1e3) + " ms"
	}
	return digits(us) + " µs"
}

func digits(v float64) string {
	switch {
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// thousands is n with commas.
func thousands(n uint64) string {
	s := fmt.Sprint(n)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// shorten keeps a line readable.
func shorten(s string) string {
	if r := []rune(s); len(r) > 120 {
		return string(r[:117]) + "..."
	}
	return s
}
