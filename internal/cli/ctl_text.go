package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"gameserverd/internal/ctl"
)

// writeStatus is a Status for people.
func writeStatus(w io.Writer, st *ctl.Status, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(table, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	what := "gameserverd"
	if st.Role == "worker" {
		what += " worker"
	}
	row("daemon", "%s %s, process %d, for %v since %s", what, st.Version, st.PID,
		roughly(now.Sub(st.Started)), st.Started.Format("2006-01-02 15:04:05"))
	state := st.State
	if !st.Ready {
		state += ", not ready: " + st.Reason
	}
	row("state", "%s", state)
	if d := st.Drain; d != nil {
		row("drain", "%s; for %v of %v", d.Why, shortly(d.TookMS), shortly(d.DeadlineMS))
	}
	if st.Role != "worker" {
		row("listen", "%s", strings.Join(st.Listen, ", "))
	}
	row("admin", "%s", orOff(st.Admin))
	if st.Role != "worker" {
		row("connections", "%d of %d at most, %d logged in", st.Connections, st.MaxConnections, st.Online)
		row("calls", "%d under way", st.Underway)
	}
	writeTasks(row, &st.Tasks)
	for _, s := range st.Stores {
		if s.Up {
			row("store "+s.Name, "up since %s", s.Since.Format("2006-01-02 15:04:05"))
		} else {
			row("store "+s.Name, "AWAY since %s: %s", s.Since.Format("2006-01-02 15:04:05"), s.Why)
		}
	}
	row("memory", "%s resident, %s of it live objects and garbage; %d goroutines, %d loops",
		size(st.ResidentBytes), size(st.HeapBytes), st.Goroutines, st.Loops)
	row("log level", "%s", st.LogLevel)
	var names []string
	for name := range st.Counters {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		row(name, "%d", st.Counters[name])
	}
	return table.Flush()
}

// writeTasks is how background tasks are.
func writeTasks(row func(name, format string, args ...any), t *ctl.TasksStatus) {
	if t.Most > 0 {
		row("tasks", "%d running here, %d at most", t.Running, t.Most)
	} else {
		row("tasks", "none are run here")
	}
	if t.Queues == nil {
		row("queues", "not known: redis does not answer")
	}
	for _, q := range t.Queues {
		row("queue "+q.Name, "%s", queueLine(q))
	}
}

// queueLine is what waits in a queue.
func queueLine(q ctl.TaskQueue) string {
	line := fmt.Sprintf("%d wait, %d active, %d later", q.Waits, q.Active, q.Later)
	if q.Waits > 0 {
		line += fmt.Sprintf(", the oldest since %v", shortly(q.OldestMS))
	}
	return line
}

func orOff(s string) string {
	if s == "" {
		return "off"
	}
	return s
}

// writeSessions is a table of sessions for people.
func writeSessions(w io.Writer, list []ctl.Session, rate bool) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := "UID\tCONN\tPEER\tVIA\tAGE\tSILENT\tWAITING\tMAILBOX\tCALLS\tROOMS\tMESSAGES"
	if rate {
		head += "\tPER SECOND"
	}
	fmt.Fprintln(table, head)
	for i := range list {
		s := &list[i]
		uid := "-" // not logged in
		if s.UID != 0 {
			uid = fmt.Sprint(s.UID)
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%s %s\t%v\t%v\t%s\t%d\t%d\t%d\t%d", uid, s.Conn, s.Peer, s.Transport, s.Framing,
			roughly(time.Duration(s.AgeMS)*time.Millisecond), roughly(time.Duration(s.SilentMS)*time.Millisecond),
			size(uint64(s.Waiting)), s.Mailbox, s.Underway, s.Rooms, s.Messages)
		switch {
		case rate && s.Rate != nil:
			fmt.Fprintf(table, "\t%.1f", *s.Rate)
		case rate:
			fmt.Fprint(table, "\t-") // came between the two looks
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}

// traceLine is a message under trace for people:
//
//	15:04:05.123  in   request 5      save.put ["slot",1]  26 B
//	15:04:05.124  out  response 5     save.put 1  6 B, 1.234ms
func traceLine(t *ctl.Traced) string {
	what := t.Kind
	if t.ID != 0 || t.Kind != "notification" {
		what += fmt.Sprint(" ", t.ID)
	}
	if t.Failed {
		what = strings.Replace(what, "response", "error", 1)
	}
	method := printable(t.Method)
	if method == "" {
		method = "?" // the answer to what came before the trace
	}
	line := fmt.Sprintf("%s  %-3s  %-14s  %s %s  %s", t.At.Local().Format("15:04:05.000"), t.Dir, what, method, t.Body, size(uint64(t.Size)))
	if t.TookMS > 0 {
		line += fmt.Sprintf(", %v", time.Duration(t.TookMS*float64(time.Millisecond)).Round(time.Microsecond))
	}
	return line
}

// printable leaves out of a name that a client has sent what a terminal obeys.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// size is a number of bytes for people.
func size(n uint64) string {
	const unit = 1024
	switch {
	case n < unit:
		return fmt.Sprintf("%d B", n)
	case n < unit*unit:
		return fmt.Sprintf("%.1f KiB", float64(n)/unit)
	case n < unit*unit*unit:
		return fmt.Sprintf("%.1f MiB", float64(n)/unit/unit)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/unit/unit/unit)
}

// roughly is a duration without what nobody reads: 3h2m0s, 12.3s, 450ms.
func roughly(d time.Duration) time.Duration {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}

func shortly(ms int64) time.Duration { return roughly(time.Duration(ms) * time.Millisecond) }
