// Package doctor looks at the machine that a daemon is to run on, or runs on, and
// says what will bite at night: limits of the kernel, the clock, memory, disk,
// keys, certificates, stores, ports. It changes nothing and starts nothing.
//
// Look reads the machine into Facts, which it does not judge; Judge is a pure
// function of the configuration and Facts.
//
// Invariant: every finding that is not ok says what to do.
package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"gameserverd/internal/config"
)

// Grade says how bad a finding is.
type Grade string

// The grades.
const (
	OK   Grade = "ok"   // as it should be
	Warn Grade = "warn" // it works, but less well or less long than configured, or it could not be seen
	Bad  Grade = "bad"  // it will not start, refuse players, or lose data
)

// Finding is one thing that was looked at.
type Finding struct {
	Check string `json:"check"` // what was looked at, a word or two
	Grade Grade  `json:"grade"`
	Seen  string `json:"seen"`         // what there is
	Do    string `json:"do,omitempty"` // what to do about it; "" only where Grade is OK
}

// Judge says what the facts mean for a daemon with this configuration, in the
// order in which one would mend it. Any goroutine.
func Judge(cfg *config.Config, f *Facts) []Finding {
	var all []Finding
	all = append(all, daemon(f), descriptors(cfg, f))
	all = append(all, ports(cfg, f)...)
	all = append(all, backlog(cfg, f))
	all = append(all, ephemeral(cfg, f)...)
	all = append(all, clock(f), memory(cfg, f))
	all = append(all, overcommit(cfg, f)...)
	all = append(all, dataFolder(cfg, f)...)
	all = append(all, logFile(cfg, f)...)
	all = append(all, secrets(f)...)
	all = append(all, login(cfg, f)...)
	all = append(all, certificate(cfg, f)...)
	all = append(all, sql(cfg, f)...)
	all = append(all, redis(cfg, f)...)
	return all
}

// Worst is the worst grade among the findings. Any goroutine.
func Worst(all []Finding) Grade {
	worst := OK
	for _, one := range all {
		if one.Grade == Bad || one.Grade == Warn && worst == OK {
			worst = one.Grade
		}
	}
	return worst
}

// WriteText prints the findings for people: a line each, and what to do below.
func WriteText(w io.Writer, all []Finding) error {
	width := 0
	for _, one := range all {
		width = max(width, len(one.Check))
	}
	for _, one := range all {
		if _, err := fmt.Fprintf(w, "%-4s  %-*s  %s\n", one.Grade, width, one.Check, indent(one.Seen, width)); err != nil {
			return err
		}
		if one.Grade != OK {
			fmt.Fprintf(w, "%*s  -> %s\n", width+6, "", indent(one.Do, width+3)) // the next line's error is as good
		}
	}
	count := map[Grade]int{}
	for _, one := range all {
		count[one.Grade]++
	}
	_, err := fmt.Fprintf(w, "%d ok, %d warnings, %d bad\n", count[OK], count[Warn], count[Bad])
	return err
}

// indent keeps the lines of a text below its first.
func indent(s string, width int) string {
	return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n"+strings.Repeat(" ", width+8))
}

// WriteJSON prints one object.
func WriteJSON(w io.Writer, all []Finding) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		OK       bool      `json:"ok"` // nothing is bad
		Findings []Finding `json:"findings"`
	}{Worst(all) != Bad, all})
}

func ok(check, format string, args ...any) Finding {
	return Finding{Check: check, Grade: OK, Seen: fmt.Sprintf(format, args...)}
}

// do makes a finding of what was seen and what is to be done.
func (f Finding) do(g Grade, format string, args ...any) Finding {
	f.Grade, f.Do = g, fmt.Sprintf(format, args...)
	return f
}
