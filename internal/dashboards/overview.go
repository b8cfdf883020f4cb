package dashboards

import "gameserverd/internal/metrics"

func overviewBoard() board {
	return board{
		name: "overview", title: "gameserverd / Overview",
		description: "Is all well? The numbers at the top first; the other boards say more of what is yellow or red here.",
		rows: []row{
			{panels: headline()},
			{"Calls", []panel{
				{title: "Calls by process", unit: perSecond, description: "Calls of methods by clients that have ended.",
					series: []series{{legend: "{{instance}}", value: rate(metrics.Calls, "instance")}}},
				{title: "Errors by code", unit: perSecond, show: areas, runbook: "Alert: errors",
					description: "internal and unavailable are the server's. deadline_exceeded: a client waited for less time than it took. The others are what clients asked for wrongly or too often.",
					series:      []series{{legend: "{{code}}", value: failed("code")}}},
				{title: "What methods take", unit: inSeconds, steps: badAt(slowCalls), runbook: "Alert: slow calls",
					description: "From when a method began to when its response was written. Without those that wait for a client.",
					series: []series{
						{legend: "p50", value: ownTime(0.5)},
						{legend: "p90", value: ownTime(0.9)},
						{legend: "p99", value: ownTime(0.99)},
					}},
			}},
			{"Players", []panel{
				{title: "Players by process", unit: amount, description: "Sessions that are logged in.", show: areas,
					series: []series{{legend: "{{instance}}", value: sum(metrics.Online, "instance")}}},
				{title: "Who is refused or closed", unit: perSecond, show: areas, runbook: "At 3 a.m.",
					description: "Connections refused, sessions that the server closed, by why. The board of limits says at which bound.",
					series: []series{
						{legend: "refused: {{reason}}", value: rate(metrics.Refused, "reason")},
						{legend: "closed: {{reason}}", value: rate(metrics.Closed, "reason")},
					}},
				{title: "How late loops are, p99", unit: inSeconds, steps: badAt(lateLoop), runbook: "Alert: loop lag",
					description: "What a callback waits that is due now: every player of that loop waits as long.",
					series:      []series{{legend: "{{instance}} loop {{loop}}", value: quantile(0.99, metrics.LoopLag, "instance", "loop")}}},
			}},
			{"Processes", []panel{
				{title: "Processors in use", unit: amount, description: "1 is a whole processor.",
					series: []series{{legend: "{{instance}}", value: rate(processCPU, "instance")}}},
				{title: "Memory", unit: inBytes, description: "What the kernel counts for the process, and Go's heap of it.", runbook: "Sizing the limits",
					series: []series{
						{legend: "{{instance}}", value: sum(processMemory, "instance")},
						{legend: "{{instance}} heap", value: sum(goHeap, "instance")},
					}},
				{title: "Bytes from and to clients", unit: bytesPerSec, description: "As the kernel took and gave them, TLS included.",
					series: []series{{legend: "received", value: rate(metrics.Received)}, {legend: "sent", value: rate(metrics.Sent)}}},
			}},
		},
	}
}

// headline are the numbers that say whether all is well.
func headline() []panel {
	upDown := []word{{0, "AWAY", red}, {1, "up", green}}
	return []panel{
		{title: "Ready", show: number, unit: amount, width: 3, runbook: "Alert: not ready", steps: goodFrom(1),
			description: "Processes that serve clients and whose stores answer.", series: []series{{value: sum(metrics.Ready)}}},
		{title: "Not ready or away", show: number, unit: amount, width: 3, runbook: "Alert: down", steps: badAt(1),
			description: "Processes that wait for a store or drain, and those that are not heard of.",
			series:      []series{{value: away(metrics.Ready)}}},
		{title: "Players online", show: number, unit: amount, width: 3, description: "Sessions that are logged in.", series: []series{{value: sum(metrics.Online)}}},
		{title: "Calls", show: number, unit: perSecond, width: 3, description: "By clients, in all processes.", series: []series{{value: rate(metrics.Calls)}}},
		{title: "Errors of ours", show: number, unit: share, width: 3, steps: warnAt(errorShare/5, errorShare), runbook: "Alert: errors", none: "none",
			description: "Calls that ended with internal or unavailable, of all.",
			series:      []series{{legend: "errors", value: ratio(calls().only("code", ours...), calls())}}},
		{title: "p99 of methods", show: number, unit: inSeconds, width: 3, steps: warnAt(slowCalls/2, slowCalls), runbook: "Alert: slow calls",
			description: "One call in a hundred takes longer. Without methods that wait for a client.", series: []series{{value: ownTime(0.99)}}},
		{title: "Stores", show: number, unit: amount, width: 3, words: upDown, steps: goodFrom(1), runbook: "Alert: store down",
			description: "AWAY: one of them does not answer to one process or more.", series: []series{{value: least(metrics.StoreUp)}}},
		{title: "Certificate ends", show: number, unit: fromNow, width: 3, runbook: "Alert: certificate", none: "no TLS",
			description: "The first of all processes; nothing is shown where there is no TLS.",
			series:      []series{{value: least(metrics.Certificate).positive().scaled(1000)}}},
	}
}
