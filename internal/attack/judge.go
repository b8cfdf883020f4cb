package attack

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Ended is one connection of the attack.
type Ended struct {
	Kind  string        // what it did
	How   string        // it ended
	After time.Duration // since it was open
}

// Good is what the good client saw in a scenario, or before the first.
type Good struct {
	Calls  int           `json:"calls"`
	Errors int           `json:"errors"`
	First  string        `json:"first_error,omitempty"`
	P50    time.Duration `json:"p50_ns"`
	P99    time.Duration `json:"p99_ns"`
	Max    time.Duration `json:"max_ns"`
}

// Memory is what the daemon's process had in RAM, in bytes.
type Memory struct {
	Before int64 `json:"before"`
	Peak   int64 `json:"peak"`
	After  int64 `json:"after"`
}

// observed is all that a scenario is judged by.
type observed struct {
	ended    []Ended
	good     Good
	idle     Good
	memory   *Memory        // nil: not known
	answers  map[string]int // of the server to calls of the attack: "ok" or the error's code
	newcomer error          // of a new client, behind the scenario
}

// expect is what a kind of connection may come to.
type expect struct {
	ends []string      // how it may end, beside being shed; a "*" at the end stands for anything
	must time.Duration // it has to have ended by then; 0: it may stay
}

// shed is how any connection may end when the daemon has too many, or too many
// that cost it too much.
var shed = []string{stayedOpen, leftIt, "sys.closing too_many_connections", "sys.closing login_timeout", "sys.closing idle_timeout"}

// Rule is one thing that was asked of the daemon.
type Rule struct {
	Name   string `json:"rule"`
	OK     bool   `json:"ok"`
	Judged bool   `json:"judged"` // false: something is not known that it needs, and OK is true
	Why    string `json:"why"`    // what was found
}

func passed(name, format string, args ...any) Rule {
	return Rule{Name: name, OK: true, Judged: true, Why: fmt.Sprintf(format, args...)}
}

func broke(name, format string, args ...any) Rule {
	return Rule{Name: name, Judged: true, Why: fmt.Sprintf(format, args...)}
}

func unjudged(name, why string) Rule { return Rule{Name: name, OK: true, Why: why} }

// The least that the bounds are when nothing is said.
const (
	p99Factor    = 10
	p99Floor     = 50 * time.Millisecond
	memoryFloor  = 128 << 20
	memoryOfConn = 64 << 10
)

// judge judges one scenario: expected by kind.
func judge(expected map[string]expect, o observed, b Bounds) []Rule {
	rules := []Rule{judgeEnds(expected, o.ended), judgeTimes(expected, o.ended)}
	if o.answers["ok"] > 0 {
		rules = append(rules, broke("logins", "%d logins with bad tokens succeeded", o.answers["ok"]))
	} else if len(o.answers) > 0 {
		rules = append(rules, passed("logins", "none with a bad token succeeded"))
	}
	return append(rules, judgeGood(o.good), judgeLatency(o.good, o.idle, b), judgeMemory(o.memory, len(o.ended), b), judgeNewcomer(o.newcomer))
}

// judgeEnds asks that each connection ended in a way that has a name for it.
func judgeEnds(expected map[string]expect, ended []Ended) Rule {
	const name = "endings"
	if len(ended) == 0 {
		return broke(name, "there were no connections")
	}
	for _, e := range ended {
		if e.How != hungUp && !slices.Contains(shed, e.How) && !fits(expected[e.Kind].ends, e.How) {
			return broke(name, "%s: %s after %s, which is none of %s", e.Kind, e.How, short(e.After), strings.Join(append([]string{hungUp}, expected[e.Kind].ends...), ", "))
		}
	}
	return passed(name, "as expected")
}

func fits(patterns []string, how string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		start, any := strings.CutSuffix(p, "*")
		return p == how || any && strings.HasPrefix(how, start)
	})
}

// judgeTimes asks that the server ended in time what it has to end.
func judgeTimes(expected map[string]expect, ended []Ended) Rule {
	const name = "in time"
	asked, reached := false, 0
	for _, e := range ended {
		must := expected[e.Kind].must
		if must == 0 {
			continue
		}
		asked = true
		if e.After > must {
			return broke(name, "%s: %s after %s, but it has to be closed within %s", e.Kind, e.How, short(e.After), short(must))
		}
		if e.How != stayedOpen {
			reached++
		}
	}
	switch {
	case !asked:
		return unjudged(name, "the daemon's limit is not known")
	case reached == 0:
		return unjudged(name, "the scenario is too short for it")
	}
	return passed(name, "%d closed", reached)
}

func judgeGood(g Good) Rule {
	const name = "good client"
	switch {
	case g.Errors > 0:
		return broke(name, "%d of %d calls failed, the first with: %s", g.Errors, g.Calls, g.First)
	case g.Calls == 0:
		return broke(name, "no call was answered")
	}
	return passed(name, "%d calls", g.Calls)
}

func judgeLatency(good, idle Good, b Bounds) Rule {
	const name = "latency"
	limit := b.P99
	if limit == 0 {
		limit = max(p99Factor*idle.P99, p99Floor)
	}
	if good.P99 > limit {
		return broke(name, "p99 of the good client %s, idle %s, at most %s", short(good.P99), short(idle.P99), short(limit))
	}
	return passed(name, "p99 %s, idle %s, at most %s", short(good.P99), short(idle.P99), short(limit))
}

func judgeMemory(m *Memory, connections int, b Bounds) Rule {
	const name = "memory"
	if m == nil {
		return unjudged(name, "the daemon's process is not known")
	}
	limit := b.Memory
	if limit == 0 {
		limit = memoryFloor + int64(connections)*memoryOfConn
	}
	if m.After == 0 {
		return broke(name, "the daemon's process has ended")
	}
	if grown := m.Peak - m.Before; grown > limit {
		return broke(name, "grew by %s, at most %s", mebibytes(grown), mebibytes(limit))
	}
	return passed(name, "%s, at most %s more than before", mebibytes(m.Peak), mebibytes(limit))
}

func judgeNewcomer(err error) Rule {
	if err != nil {
		return broke("newcomer", "behind it a new client could not call: %v", err)
	}
	return passed("newcomer", "behind it a new client could call")
}

// summary makes a Good of latencies, which it sorts.
func summary(latencies []time.Duration, failed int, first string) Good {
	g := Good{Calls: len(latencies) + failed, Errors: failed, First: first}
	if len(latencies) == 0 {
		return g
	}
	slices.Sort(latencies)
	at := func(q float64) time.Duration { return latencies[int(q*float64(len(latencies)-1)+0.5)] }
	g.P50, g.P99, g.Max = at(0.5), at(0.99), latencies[len(latencies)-1]
	return g
}
