package attack

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what came of an attack. Its JSON names are stable; times that end in
// _ns are nanoseconds, in _ms milliseconds.
type Report struct {
	Addr        string    `json:"addr"`
	TLS         bool      `json:"tls"`
	PID         int       `json:"pid"` // of the daemon; 0: not known
	Began       time.Time `json:"began"`
	Seconds     float64   `json:"seconds"`
	Idle        Good      `json:"idle"` // the good client before the attack
	Scenarios   []Outcome `json:"scenarios"`
	Interrupted bool      `json:"interrupted"` // some scenarios are missing
	OK          bool      `json:"ok"`
}

// Outcome is what came of one scenario.
type Outcome struct {
	Name        string         `json:"scenario"`
	What        string         `json:"what"`
	Skipped     string         `json:"skipped,omitempty"` // why it makes no sense here
	Seconds     float64        `json:"seconds"`
	Connections int            `json:"connections"`
	Endings     []Ending       `json:"endings"` // the most frequent first
	Answers     map[string]int `json:"answers,omitempty"`
	Good        Good           `json:"good"`
	Memory      *Memory        `json:"memory"` // null: not known
	Rules       []Rule         `json:"rules"`
	OK          bool           `json:"ok"`
}

// Ending is how a number of connections ended, and how long after they were open.
type Ending struct {
	How   string  `json:"how"`
	Count int     `json:"count"`
	First float64 `json:"first_ms"`
	Last  float64 `json:"last_ms"`
}

// Progress is where an attack is.
type Progress struct {
	Scenario string // "idle" before the first
	Elapsed  time.Duration
	Open     int // connections of the attack now
	Ended    int // and that have ended
	Good     Good
	Done     *Outcome // the scenario is over; nil: it is not
}

// String is one line for people.
func (p Progress) String() string {
	switch {
	case p.Done != nil:
		return p.Done.line()
	case p.Scenario == "idle":
		return "measuring the good client without an attack"
	}
	return fmt.Sprintf("%s %.0f s: %d open, %d ended; good client: %d calls, p99 %s, %d errors",
		p.Scenario, p.Elapsed.Seconds(), p.Open, p.Ended, p.Good.Calls, short(p.Good.P99), p.Good.Errors)
}

func (r *Report) add(o Outcome) {
	r.Scenarios = append(r.Scenarios, o)
	r.OK = !slices.ContainsFunc(r.Scenarios, func(o Outcome) bool { return !o.OK })
}

// fill takes over what was seen and how it was judged.
func (o *Outcome) fill(seen observed, rules []Rule) {
	o.Connections, o.Endings, o.Good, o.Memory, o.Answers = len(seen.ended), endings(seen.ended), seen.good, seen.memory, seen.answers
	o.Rules = rules
	o.OK = !slices.ContainsFunc(rules, func(r Rule) bool { return !r.OK })
}

// endings counts connections by how they ended.
func endings(ended []Ended) []Ending {
	all := map[string]Ending{}
	for _, e := range ended {
		ms := float64(e.After.Microseconds()) / 1e3
		sum, ok := all[e.How]
		if !ok {
			sum = Ending{How: e.How, First: ms, Last: ms}
		}
		sum.Count++
		sum.First, sum.Last = min(sum.First, ms), max(sum.Last, ms)
		all[e.How] = sum
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Ending) int {
		return cmp.Or(b.Count-a.Count, strings.Compare(a.How, b.How))
	})
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "scenario\tresult\tconnections ended as (after)\tcount\tgood client\tmemory of the daemon\n")
	fmt.Fprintf(t, "(idle)\t\t\t\t%s\t\n", r.Idle.text())
	for _, o := range r.Scenarios {
		o.rows(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	verdict := "passed"
	if !r.OK {
		verdict = "FAILED"
	}
	if r.Interrupted {
		verdict += " as far as it went; it was interrupted"
	}
	_, err := fmt.Fprintf(w, "\n%s: %d scenarios on %s in %.0f s\n", verdict, len(r.Scenarios), r.Addr, r.Seconds)
	return err
}

func (o *Outcome) rows(w io.Writer) {
	if o.Skipped != "" {
		fmt.Fprintf(w, "%s\tskipped\t%s\t\t\t\n", o.Name, o.Skipped)
		return
	}
	memory := "not known"
	if m := o.Memory; m != nil {
		memory = fmt.Sprintf("%s, %s at most, %s", mebibytes(m.Before), mebibytes(m.Peak), mebibytes(m.After))
	}
	name, result, good := o.Name, o.result(), o.Good.text()
	for _, e := range o.Endings {
		fmt.Fprintf(w, "%s\t%s\t%s (%s)\t%d\t%s\t%s\n", name, result, e.How, e.span(), e.Count, good, memory)
		name, result, good, memory = "", "", "", ""
	}
	if len(o.Endings) == 0 {
		fmt.Fprintf(w, "%s\t%s\t\t0\t%s\t%s\n", name, result, good, memory)
	}
	if len(o.Answers) > 0 {
		fmt.Fprintf(w, "\t\tanswers: %s\t\t\t\n", counts(o.Answers))
	}
	for _, r := range o.Rules {
		if !r.OK {
			fmt.Fprintf(w, "\t\t%s: %s\t\t\t\n", r.Name, r.Why)
		}
	}
}

func (o *Outcome) result() string {
	if o.OK {
		return "pass"
	}
	return "FAIL"
}

// line is the scenario in one line, for who waits.
func (o *Outcome) line() string {
	if o.Skipped != "" {
		return fmt.Sprintf("%s: skipped, %s", o.Name, o.Skipped)
	}
	line := fmt.Sprintf("%s: %s, %d connections, good client: %s", o.Name, o.result(), o.Connections, o.Good.text())
	for _, r := range o.Rules {
		if !r.OK {
			line += "; " + r.Name + ": " + r.Why
		}
	}
	return line
}

func (g Good) text() string {
	return fmt.Sprintf("%d calls, p99 %s, %d errors", g.Calls, short(g.P99), g.Errors)
}

func (e Ending) span() string {
	ms := func(v float64) string { return short(time.Duration(v * float64(time.Millisecond))) }
	if ms(e.First) == ms(e.Last) {
		return ms(e.Last)
	}
	return ms(e.First) + " to " + ms(e.Last)
}

// counts is "code 3, other 1", the most frequent first.
func counts(m map[string]int) string {
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int { return cmp.Or(m[b]-m[a], strings.Compare(a, b)) })
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, m[name])
	}
	return strings.Join(names, ", ")
}

// short is a duration with two digits or three.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
