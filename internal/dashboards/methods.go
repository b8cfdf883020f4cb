package dashboards

import "gameserverd/internal/metrics"

func methodsBoard() board {
	return board{
		name: "methods", title: "gameserverd / Methods", method: true,
		description: "Every method's rate, errors and time: which one is slow, which one fails. Choose one at the top.",
		rows: []row{
			{panels: []panel{
				{title: "Calls", unit: perSecond, description: "Calls that have ended, notifications included.",
					series: []series{{legend: "{{method}}", value: rate(metrics.Calls, "method")}}},
				{title: "Errors", unit: perSecond, runbook: "Alert: errors", description: "By method and code; internal is a bug, and the log has it under its trace.",
					series: []series{{legend: "{{method}} {{code}}", value: failed("method", "code")}}},
				{title: "What it takes, p99", unit: inSeconds, steps: badAt(slowCalls), runbook: "Alert: slow calls",
					description: "From when the method began to when its response was written: its own work, and what it waits for, a client among it. Points are traced calls.",
					series:      []series{{legend: "{{method}}", value: quantile(0.99, metrics.CallRun, "method")}}},
				{title: "What it waited before, p99", unit: inSeconds, steps: badAt(slowCalls), runbook: "Alert: loop lag",
					description: "From when the loop saw the message to when the method began: behind others of the turn, and in the session's mailbox.",
					series:      []series{{legend: "{{method}}", value: quantile(0.99, metrics.CallQueue, "method")}}},
				{title: "What it takes, mean", unit: inSeconds, description: "The mean shows what the machine's time goes into; the p99 what players feel.",
					series: []series{{legend: "{{method}}", value: mean(metrics.CallRun, "method")}}},
				{title: "Errors, of the calls", unit: share, max: 1, runbook: "Alert: errors", steps: badAt(errorShare), description: "All codes; what a client asked for wrongly is among them.",
					series: []series{{legend: "{{method}}", value: ratio(failed("method"), rate(metrics.Calls, "method"))}}},
			}},
			{"All methods, over the time shown", []panel{
				{title: "Methods", show: table, by: "method", unit: amount, description: "A click on a column sorts by it.",
					series: []series{
						{legend: "calls", value: increase(metrics.Calls, "method")},
						{legend: "errors", value: increase(metrics.Calls, "method").except("code", metrics.OK)},
						{legend: "mean", value: mean(metrics.CallRun, "method"), unit: inSeconds},
						{legend: "p99", value: quantile(0.99, metrics.CallRun, "method"), unit: inSeconds},
						{legend: "p99 before", value: quantile(0.99, metrics.CallQueue, "method"), unit: inSeconds},
					}},
			}},
			{"The methods chosen, together", []panel{
				{title: "What they take", unit: inSeconds, description: "All chosen methods as one.",
					series: []series{
						{legend: "p50", value: quantile(0.5, metrics.CallRun)},
						{legend: "p90", value: quantile(0.9, metrics.CallRun)},
						{legend: "p99", value: quantile(0.99, metrics.CallRun)},
					}},
				{title: "What goes wrong besides", unit: perSecond, runbook: "Log lines at Warn and above",
					description: "Of all methods. Panics are bugs. Unknown methods: an old client, or somebody who tries.",
					series: []series{
						{legend: "panics", value: rate(metrics.Panics)},
						{legend: "unknown methods", value: rate(metrics.Calls).only("method", metrics.NoMethod)},
						{legend: "failed notifications", value: rate(metrics.FailedNotes)},
					}},
				{title: "Calls under way", unit: amount, description: "Begun and not ended: futures and workers, to clients and from them. What grows and does not fall waits for something that is away.",
					series: []series{{legend: "{{instance}}", value: sum(metrics.Underway, "instance")}}},
			}},
			{"Functions of clients that the server calls", []panel{
				{title: "Calls and errors", unit: perSecond, description: "Errors by code; deadline_exceeded: the client did not answer in time.",
					series: []series{
						{legend: "calls", value: rate(metrics.Asked)},
						{legend: "{{code}}", value: rate(metrics.AskedErrors, "code")},
					}},
				{title: "What clients take", unit: inSeconds, description: "From when the server asked to when the client had answered: the network and the client.",
					series: []series{{legend: "p50", value: quantile(0.5, metrics.AskedTime)}, {legend: "p99", value: quantile(0.99, metrics.AskedTime)}}},
				{title: "Stray responses", unit: perSecond, description: "Answers that nobody waited for: too late, or a client that is wrong.",
					series: []series{{legend: "{{instance}}", value: rate(metrics.Stray, "instance")}}},
			}},
		},
	}
}
