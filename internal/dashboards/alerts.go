package dashboards

import (
	"fmt"
	"strings"
	"time"

	"gameserverd/internal/metrics"
)

// The bounds that rules and panels share.
const (
	errorShare   = 0.05 // of the calls, by a code of ours
	slowCalls    = 0.25 // s, p99 of what methods take
	lateLoop     = 0.1  // s, p99 of how late timers run
	oldQueue     = 300  // s, what the first of a queue has waited
	fullBudget   = 0.75 // of a budget; shedding begins at 0.8
	fullCommits  = 0.5  // of store.queue
	stuckDrain   = 0.5  // of shutdown.deadline
	soonEnding   = 14   // days that a certificate has left
	nearlyEnding = 3    // days
	fewCalls     = 1    // a second; of fewer a share or a quantile says nothing
	manyStarts   = 2    // in a quarter of an hour; a person restarts less often
)

// ours are the codes of errors that are the server's, and not the caller's.
// deadline_exceeded is none: a caller says how long it waits, which may be no time at
// all, and a human need not answer a duel. Calls that are slow by the server's doing
// have an alert of their own.
var ours = []string{"internal", "unavailable"}

// job is what prometheus.yml calls the daemons.
const job = "gameserverd"

// record is a recording rule.
type record struct{ name, expr string }

// alert is an alerting rule.
type alert struct {
	name        string
	expr        string
	hold        time.Duration // how long it must be so
	severity    string        // critical: players suffer now. warning: they will
	summary     string        // one line, with {{ $labels.instance }}
	description string
	runbook     string // heading of docs/operations.md
}

// The rates that several rules read. They have no method, so a month of them is
// read as fast as an hour; the boards ask the raw series, which is fast for a day.
// Methods that there are not are left out, and times of those that wait for a client:
// see calls and ownTime.
var (
	recordedCalls   = record{"job_instance_code:gameserverd_rpc_calls:rate5m", fmt.Sprintf("sum by (job, instance, code) (rate(%s{method!=%q}[5m]))", metrics.Calls.Name, metrics.NoMethod)}
	recordedBuckets = record{"job_instance_le:gameserverd_rpc_run_seconds_bucket:rate5m", fmt.Sprintf("sum by (job, instance, le) (rate(%s_bucket{waits=\"\"}[5m]))", metrics.CallRun.Name)}
)

func records() []record { return []record{recordedCalls, recordedBuckets} }

func alerts() []alert {
	return append(availability(), performance()...)
}

// availability are those for what is away, or soon will be.
func availability() []alert {
	days := func(n int) string {
		return fmt.Sprintf("%[1]s - time() < %[2]d and %[1]s > 0", metrics.Certificate.Name, n*24*60*60)
	}
	return []alert{
		{"GameserverdDown", fmt.Sprintf("up{job=%q} == 0", job), time.Minute, "critical",
			"{{ $labels.instance }} does not answer", "Prometheus cannot read its metrics: the process, its machine or the network between is away.", "Alert: down"},
		// A process that crashes and is back after a second is never away for a minute. Its
		// start's time changes also where the machine's clock is set; a process that goes on
		// has used no less of the processors then.
		{"GameserverdRestarts", fmt.Sprintf("changes(%s{job=%q}[15m]) > %d and resets(%s{job=%q}[15m]) > 0", processStart.Name, job, manyStarts, processCPU.Name, job), 0, "critical",
			"{{ $labels.instance }} was started again {{ $value }} times in a quarter of an hour", "It crashes, or the watchdog ends it, and systemd starts it again: all its players lose their connection each time.", "Alert: restarts"},
		{"GameserverdNotReady", fmt.Sprintf("%s == 0 and on (job, instance) %s == 0", metrics.Ready.Name, metrics.Draining.Name), time.Minute, "critical",
			"{{ $labels.instance }} runs and is not ready", "It is up and does not drain, and /readyz is not 200: it waits for a store, or one does not answer.", "Alert: not ready"},
		{"GameserverdStoreDown", metrics.StoreUp.Name + " == 0", 30 * time.Second, "critical",
			"{{ $labels.store }} does not answer to {{ $labels.instance }}", "Calls that need it are answered unavailable; changes of players wait.", "Alert: store down"},
		// Of one moment: calls of the drain's begin may have been answered since. Without any
		// it lasts as long as clients take to close, or a worker's tasks to end.
		{"GameserverdDrainStuck", fmt.Sprintf("max_over_time((%s > %v * %s and %s > 0)[1m:1s])", metrics.DrainSeconds.Name, stuckDrain, metrics.DrainLimit.Name, metrics.Underway.Name), 0, "warning",
			"{{ $labels.instance }} has calls under way after half of its drain's deadline", "The drain has taken {{ $value | humanizeDuration }}. What is unanswered at shutdown.deadline is cut.", "Alert: drain stuck"},
		{"GameserverdCertificateEndsSoon", days(soonEnding), time.Hour, "warning",
			"the certificate of {{ $labels.instance }} ends in {{ $value | humanizeDuration }}", "After that TLS clients refuse it. Its renewal should have been two weeks ago.", "Alert: certificate"},
		{"GameserverdCertificateEnds", days(nearlyEnding), time.Minute, "critical",
			"the certificate of {{ $labels.instance }} ends in {{ $value | humanizeDuration }}", "After that TLS clients refuse it.", "Alert: certificate"},
	}
}

// performance are those for what is slow, full or wrong.
func performance() []alert {
	all := fmt.Sprintf("sum by (job, instance) (%s)", recordedCalls.name)
	enough := fmt.Sprintf("and on (job, instance) %s > %v", all, fewCalls)
	full := func(used, limit *metrics.Family, name string) string {
		return fmt.Sprintf(`label_replace(%s / %s, "budget", %q, "", "")`, used.Name, limit.Name, name)
	}
	return []alert{
		{"GameserverdErrors", fmt.Sprintf("sum by (job, instance) (%s{code=~%q}) / %s > %v %s",
			recordedCalls.name, strings.Join(ours, "|"), all, errorShare, enough), 5 * time.Minute, "critical",
			"{{ $value | humanizePercentage }} of the calls of {{ $labels.instance }} fail", "Calls that end with internal or unavailable, of all.", "Alert: errors"},
		{"GameserverdSlowCalls", fmt.Sprintf("histogram_quantile(0.99, %s) > %v %s", recordedBuckets.name, slowCalls, enough), 10 * time.Minute, "warning",
			"one call in a hundred of {{ $labels.instance }} takes over {{ $value | humanizeDuration }}", "From when a method began to when its response was written.", "Alert: slow calls"},
		{"GameserverdLoopLag", fmt.Sprintf("histogram_quantile(0.99, sum by (job, instance, loop, le) (rate(%s_bucket[1m]))) > %v or rate(%s[1m]) == 0",
			metrics.LoopLag.Name, lateLoop, metrics.LoopTurns.Name), 2 * time.Minute, "critical",
			"loop {{ $labels.loop }} of {{ $labels.instance }} is late, or does not turn", "A callback holds it, or it has more to do than a processor can: all players of the loop wait.", "Alert: loop lag"},
		{"GameserverdMemory", full(metrics.WaitingBytes, metrics.WaitingMax, "limits.max_total_write_buffer_bytes") + fmt.Sprintf(" > %v or ", fullBudget) +
			full(metrics.InputBytes, metrics.InputMax, "limits.max_total_input_bytes") + fmt.Sprintf(" > %v", fullBudget), time.Minute, "warning",
			"{{ $labels.instance }} uses {{ $value | humanizePercentage }} of {{ $labels.budget }}", "At 80 % new connections are refused, at 90 % those without a login are closed, at 97 % those with the most waiting.", "Alert: memory"},
		{"GameserverdCommitsWait", fmt.Sprintf("%s / %s > %v", metrics.CommitWait.Name, metrics.CommitMax.Name, fullCommits), time.Minute, "warning",
			"{{ $labels.instance }} stores players' changes slower than they come", "{{ $value | humanizePercentage }} of store.queue waits; at 100 % changes are refused.", "Alert: commits wait"},
		{"GameserverdQueueAge", fmt.Sprintf("max by (job, queue) (%s) > %v", metrics.QueueOldest.Name, oldQueue), 5 * time.Minute, "warning",
			"the first task of the queue {{ $labels.queue }} has waited for {{ $value | humanizeDuration }}", "Too few workers, none, or they are held up.", "Alert: queue age"},
		{"GameserverdPanics", fmt.Sprintf("increase(%s[5m]) > 0", metrics.Panics.Name), 0, "warning",
			"methods of {{ $labels.instance }} panic", "A bug: those calls were answered internal, all else goes on.", "Alert: panics"},
	}
}
