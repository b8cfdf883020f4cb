package dashboards

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gameserverd/internal/storetest"
)

// given is a metric over time, a sample each 15 s, in promtool's words: 0+1x40 is 0
// and 40 more, each 1 higher.
type given struct{ series, values string }

// trial is a situation, and what an alert must say of it at a time after its begin.
type trial struct {
	name   string
	given  []given
	at     time.Duration
	labels string // of the alert besides job and severity; "": it must be silent
	// What its texts become; "": as they are written.
	summary, description string
}

// trials has for each alert when it fires and when it is silent.
var trials = map[string][]trial{
	"GameserverdDown": {
		{name: "away", given: []given{{`up{job="gameserverd",instance="a"}`, "1x3 0x40"}}, at: 3 * time.Minute, labels: `instance: a`,
			summary: "a does not answer"},
		{name: "away for one scrape", given: []given{{`up{job="gameserverd",instance="a"}`, "1x3 0 1x40"}}, at: 2 * time.Minute},
		{name: "somebody else is away", given: []given{{`up{job="other",instance="a"}`, "0x40"}}, at: 3 * time.Minute},
	},
	"GameserverdRestarts": {
		{name: "ended by the watchdog each half minute, and back after a second", given: []given{
			{`up{job="gameserverd",instance="a"}`, "1x1 0 1x1 0 1x1 0 1x1 0 1x40"},
			{`process_start_time_seconds{job="gameserverd",instance="a"}`, "1000x1 stale 1031x1 stale 1062x1 stale 1093x1 stale 1124x40"},
			{`process_cpu_seconds_total{job="gameserverd",instance="a"}`, "0.2 0.9 stale 0.3 0.8 stale 0.2 0.9 stale 0.2 0.9 stale 0.2+0.1x40"},
		}, at: 4 * time.Minute, labels: `instance: a`, summary: "a was started again 4 times in a quarter of an hour"},
		{name: "restarted twice by somebody", given: []given{{`process_start_time_seconds{job="gameserverd",instance="a"}`, "1000x8 1120x8 1240x40"},
			{`process_cpu_seconds_total{job="gameserverd",instance="a"}`, "1x8 0.1x8 0.1x40"}}, at: 6 * time.Minute},
		{name: "a clock that is set again and again, which the start's time is counted from", given: []given{{`process_start_time_seconds{job="gameserverd",instance="a"}`, "1000x2 1001x2 1000x2 1001x40"},
			{`process_cpu_seconds_total{job="gameserverd",instance="a"}`, "1+0.1x60"}}, at: 4 * time.Minute},
		{name: "somebody else", given: []given{{`process_start_time_seconds{job="other",instance="a"}`, "1000x1 1031x1 1062x1 1093x1 1124x40"},
			{`process_cpu_seconds_total{job="other",instance="a"}`, "1x1 0.1x1 0.1x1 0.1x1 0.1x40"}}, at: 4 * time.Minute},
		{name: "a crash loop that is over", given: []given{{`process_start_time_seconds{job="gameserverd",instance="a"}`, "1000x1 1031x1 1062x1 1093x1 1124x80"},
			{`process_cpu_seconds_total{job="gameserverd",instance="a"}`, "1x1 0.1x1 0.1x1 0.1x1 0.1x80"}}, at: 18 * time.Minute},
	},
	"GameserverdNotReady": {
		{name: "waits for a store", given: onA("ready", "0x40", "draining", "0x40"), at: 3 * time.Minute, labels: `instance: a`,
			summary: "a runs and is not ready"},
		{name: "drains", given: onA("ready", "0x40", "draining", "1x40"), at: 3 * time.Minute},
		{name: "ready", given: onA("ready", "1x40", "draining", "0x40"), at: 3 * time.Minute},
	},
	"GameserverdStoreDown": {
		{name: "away", given: []given{{`gameserverd_store_up{job="gameserverd",instance="a",store="sql"}`, "1x3 0x40"}, {`gameserverd_store_up{job="gameserverd",instance="a",store="redis"}`, "1x40"}},
			at: 3 * time.Minute, labels: `instance: a, store: sql`, summary: "sql does not answer to a"},
		{name: "back at once", given: []given{{`gameserverd_store_up{job="gameserverd",instance="a",store="sql"}`, "1x3 0 1x40"}}, at: 75 * time.Second},
	},
	"GameserverdDrainStuck": {
		{name: "calls under way after four of five seconds", given: onA("drain_seconds", "0x3 4 stale", "drain_deadline_seconds", "5x4 stale", "rpc_calls_underway", "9x3 2 stale"), at: 75 * time.Second, labels: `instance: a`,
			summary: "a has calls under way after half of its drain's deadline", description: "The drain has taken 4s. What is unanswered at shutdown.deadline is cut."},
		{name: "clients that take two seconds to close, and no calls", given: onA("drain_seconds", "0x3 2.6 stale", "drain_deadline_seconds", "5x4 stale", "rpc_calls_underway", "9x3 0 stale"), at: 75 * time.Second},
		{name: "tasks of a worker that end in their time", given: onA("drain_seconds", "0x3 15 27 stale", "drain_deadline_seconds", "30x5 stale", "rpc_calls_underway", "0x5 stale"), at: 75 * time.Second},
		{name: "a quick one", given: onA("drain_seconds", "0x3 1 stale", "drain_deadline_seconds", "5x4 stale", "rpc_calls_underway", "1x4 stale"), at: time.Minute},
		{name: "none", given: onA("drain_seconds", "0x40", "drain_deadline_seconds", "5x40", "rpc_calls_underway", "1x40"), at: 3 * time.Minute},
	},
	"GameserverdCertificateEndsSoon": {
		{name: "in ten days", given: onA("certificate_not_after_seconds", fmt.Sprintf("%dx600", 10*24*60*60+7200)), at: 2 * time.Hour, labels: `instance: a`,
			summary: "the certificate of a ends in 10d 0h 0m 0s"},
		{name: "in twenty days", given: onA("certificate_not_after_seconds", fmt.Sprintf("%dx400", 20*24*60*60)), at: time.Hour},
		{name: "no TLS", given: onA("certificate_not_after_seconds", "0x400"), at: time.Hour},
	},
	"GameserverdCertificateEnds": {
		{name: "in two days", given: onA("certificate_not_after_seconds", fmt.Sprintf("%dx40", 2*24*60*60+180)), at: 3 * time.Minute, labels: `instance: a`,
			summary: "the certificate of a ends in 2d 0h 0m 0s"},
		{name: "in ten days", given: onA("certificate_not_after_seconds", fmt.Sprintf("%dx40", 10*24*60*60)), at: 3 * time.Minute},
		{name: "no TLS", given: onA("certificate_not_after_seconds", "0x40"), at: 3 * time.Minute},
	},
	"GameserverdErrors": {
		{name: "a tenth", given: callsOf("sum", "ok", "0+135x80", "internal", "0+15x80"), at: 12 * time.Minute, labels: `instance: a`,
			summary: "10% of the calls of a fail"},
		{name: "one in a hundred", given: callsOf("sum", "ok", "0+1485x80", "internal", "0+15x80"), at: 12 * time.Minute},
		{name: "a tenth, and as many calls of methods that there are not as anybody likes", given: append(callsOf("sum", "ok", "0+135x80", "internal", "0+15x80"), callsOf("unknown", "unimplemented", "0+9000x80")...),
			at: 12 * time.Minute, labels: `instance: a`, summary: "10% of the calls of a fail"},
		{name: "what clients ask for wrongly", given: callsOf("sum", "ok", "0+50x80", "invalid_argument", "0+100x80"), at: 12 * time.Minute},
		{name: "a stranger whose calls have no time at all", given: callsOf("sum", "ok", "0+50x80", "deadline_exceeded", "0+100x80"), at: 12 * time.Minute},
		{name: "duels that are ignored", given: append(callsOf("sum", "ok", "0+94x80"), callsOf("duel.challenge", "deadline_exceeded", "0+6x80")...), at: 12 * time.Minute},
		{name: "a store is away", given: callsOf("save.get", "ok", "0+140x80", "unavailable", "0+10x80"), at: 12 * time.Minute, labels: `instance: a`,
			summary: "6.667% of the calls of a fail"},
		{name: "hardly any calls", given: callsOf("sum", "ok", "0x80", "unavailable", "0+6x80"), at: 12 * time.Minute},
		{name: "for a minute", given: callsOf("sum", "ok", "0+140x80", "internal", "0x8 0+15x4 60x70"), at: 6 * time.Minute},
	},
	"GameserverdSlowCalls": {
		{name: "a twentieth over half a second", given: append(callsOf("sum", "ok", "0+100x120"), buckets("rpc_run_seconds", `method="sum",`, "0.25", "0+95x120", "0.5", "0+95x120", "1", "0+100x120", "+Inf", "0+100x120")...),
			at: 20 * time.Minute, labels: `instance: a`, summary: "one call in a hundred of a takes over 900ms"},
		{name: "duels, which humans answer after three seconds", given: slices.Concat(callsOf("sum", "ok", "0+98x120"), callsOf("duel.challenge", "ok", "0+2x120"),
			buckets("rpc_run_seconds", `method="sum",`, "0.00001", "0+98x120", "2.5", "0+98x120", "5", "0+98x120", "+Inf", "0+98x120"),
			buckets("rpc_run_seconds", `method="duel.challenge",waits="client",`, "0.00001", "0x120", "2.5", "0x120", "5", "0+2x120", "+Inf", "0+2x120")), at: 25 * time.Minute},
		{name: "fast", given: append(callsOf("sum", "ok", "0+100x120"), buckets("rpc_run_seconds", `method="sum",`, "0.25", "0+100x120", "0.5", "0+100x120", "+Inf", "0+100x120")...), at: 20 * time.Minute},
		{name: "hardly any calls", given: append(callsOf("sum", "ok", "0+6x120"), buckets("rpc_run_seconds", `method="sum",`, "0.25", "0x120", "1", "0+6x120", "+Inf", "0+6x120")...), at: 20 * time.Minute},
	},
	"GameserverdLoopLag": {
		{name: "late timers", given: append(buckets("loop_lag_seconds", `loop="0",`, "0.1", "0+10x40", "0.25", "0+20x40", "+Inf", "0+20x40"), turns("0+500x40")), at: 5 * time.Minute, labels: `instance: a, loop: "0"`,
			summary: "loop 0 of a is late, or does not turn"},
		{name: "it does not turn", given: append(buckets("loop_lag_seconds", `loop="0",`, "0.1", "10x40", "+Inf", "10x40"), turns("0+500x3 1500x40")), at: 6 * time.Minute, labels: `instance: a, loop: "0"`,
			summary: "loop 0 of a is late, or does not turn"},
		{name: "in time", given: append(buckets("loop_lag_seconds", `loop="0",`, "0.1", "0+20x40", "0.25", "0+20x40", "+Inf", "0+20x40"), turns("0+500x40")), at: 5 * time.Minute},
		{name: "idle", given: append(buckets("loop_lag_seconds", `loop="0",`, "0.1", "5x40", "+Inf", "5x40"), turns("0+1x40")), at: 5 * time.Minute},
	},
	"GameserverdMemory": {
		{name: "slow clients", given: onA("write_buffer_bytes", "80x40", "write_buffer_limit_bytes", "100x40", "input_bytes", "1x40", "input_limit_bytes", "100x40"), at: 3 * time.Minute,
			labels: `instance: a, budget: limits.max_total_write_buffer_bytes`, summary: "a uses 80% of limits.max_total_write_buffer_bytes"},
		{name: "clients that ask too much", given: onA("write_buffer_bytes", "1x40", "write_buffer_limit_bytes", "100x40", "input_bytes", "76x40", "input_limit_bytes", "100x40"), at: 3 * time.Minute,
			labels: `instance: a, budget: limits.max_total_input_bytes`, summary: "a uses 76% of limits.max_total_input_bytes"},
		{name: "room", given: onA("write_buffer_bytes", "70x40", "write_buffer_limit_bytes", "100x40", "input_bytes", "70x40", "input_limit_bytes", "100x40"), at: 3 * time.Minute},
	},
	"GameserverdCommitsWait": {
		{name: "slow SQL", given: onA("commit_waiting", "12000x40", "commit_waiting_limit", "20000x40"), at: 3 * time.Minute, labels: `instance: a`,
			summary: "a stores players' changes slower than they come", description: "60% of store.queue waits; at 100 % changes are refused."},
		{name: "in time", given: onA("commit_waiting", "500x40", "commit_waiting_limit", "20000x40"), at: 3 * time.Minute},
	},
	"GameserverdQueueAge": {
		{name: "no worker", given: []given{{`gameserverd_queue_oldest_seconds{job="gameserverd",instance="a",queue="low"}`, "600x80"}, {`gameserverd_queue_oldest_seconds{job="gameserverd",instance="b",queue="low"}`, "600x80"}},
			at: 8 * time.Minute, labels: `queue: low`, summary: "the first task of the queue low has waited for 10m 0s"},
		{name: "a few seconds", given: []given{{`gameserverd_queue_oldest_seconds{job="gameserverd",instance="a",queue="low"}`, "20x80"}}, at: 8 * time.Minute},
	},
	"GameserverdPanics": {
		{name: "one", given: onA("panics_total", "0x4 1x10"), at: 2 * time.Minute, labels: `instance: a`, summary: "methods of a panic"},
		{name: "an old one", given: onA("panics_total", "3x40"), at: 6 * time.Minute},
	},
}

// onA are metrics of the process a: name and values, again and again.
func onA(pairs ...string) (all []given) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, given{fmt.Sprintf(`gameserverd_%s{job="gameserverd",instance="a"}`, pairs[i]), pairs[i+1]})
	}
	return all
}

// callsOf are those of one method: code and how many of that, again and again.
func callsOf(method string, pairs ...string) (all []given) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, given{fmt.Sprintf(`gameserverd_rpc_calls_total{job="gameserverd",instance="a",method=%q,code=%q}`, method, pairs[i]), pairs[i+1]})
	}
	return all
}

func turns(values string) given {
	return given{`gameserverd_loop_turns_total{job="gameserverd",instance="a",loop="0"}`, values}
}

// buckets are those of a histogram: bound and values, again and again.
func buckets(name, labels string, pairs ...string) (all []given) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, given{fmt.Sprintf(`gameserverd_%s_bucket{job="gameserverd",instance="a",%sle="%s"}`, name, labels, pairs[i]), pairs[i+1]})
	}
	return all
}

// Every alert fires when it should, not before it has lasted, and not otherwise.
func TestAlertsFireAndStaySilent(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rules := write("rules.yml", rulesFile(func(d time.Duration) time.Duration { return d }))
	promtool := storetest.Program(t, "promtool")
	if out, err := exec.Command(promtool, "check", "rules", "--lint-fatal", rules).CombinedOutput(); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
	all := "rule_files: [rules.yml]\nevaluation_interval: 15s\ntests:\n"
	for _, a := range alerts() {
		fires, silent := 0, 0
		for _, tr := range trials[a.name] {
			all += tr.promtool(a)
			if tr.labels == "" {
				silent++
			} else {
				fires++
			}
		}
		if fires == 0 || silent == 0 {
			t.Errorf("%s has %d trials in which it fires and %d in which it is silent", a.name, fires, silent)
		}
	}
	if len(trials) != len(alerts()) {
		t.Errorf("trials of %d alerts, and there are %d", len(trials), len(alerts()))
	}
	if out, err := exec.Command(promtool, "test", "rules", write("test.yml", all)).CombinedOutput(); err != nil {
		t.Errorf("promtool test rules: %v\n%s", err, out)
	}
}

// promtool is the trial in promtool's form.
func (tr *trial) promtool(a alert) string {
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	line("  - name: %s", quoted(a.name+": "+tr.name))
	line("    interval: 15s")
	line("    input_series:")
	for _, g := range tr.given {
		line("      - {series: %s, values: %s}", quoted(g.series), quoted(g.values))
	}
	line("    alert_rule_test:")
	if tr.labels != "" && a.hold > 0 {
		line("      - {eval_time: %s, alertname: %s}", promDuration(a.hold-15*time.Second), a.name)
	}
	line("      - eval_time: %s", promDuration(tr.at))
	line("        alertname: %s", a.name)
	if tr.labels == "" {
		return out.String()
	}
	or := func(text, instead string) string {
		if text != "" {
			return text
		}
		return instead
	}
	line("        exp_alerts:")
	line("          - exp_labels: {job: gameserverd, severity: %s, %s}", a.severity, tr.labels)
	line("            exp_annotations:")
	line("              summary: %s", quoted(or(tr.summary, a.summary)))
	line("              description: %s", quoted(or(tr.description, a.description)))
	line("              runbook_url: %s", quoted(runbook(a.runbook)))
	return out.String()
}
