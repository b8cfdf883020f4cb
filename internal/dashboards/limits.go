package dashboards

import "gameserverd/internal/metrics"

func limitsBoard() board {
	return board{
		name: "limits", title: "gameserverd / Players who suffer, limits hit",
		description: "Which bound was hit, how often, and how near the others are. What a client is told at each is in docs/protocol.md; who it is, gameserverd ctl sessions says.",
		rows: []row{
			{panels: []panel{
				{title: "How full the budgets are", unit: share, max: 1, steps: warnAt(fullBudget, 0.9), runbook: "Alert: memory", width: 12,
					description: "Of connections, of the bytes that may wait to be sent, and of those that may wait to be handled. Shedding begins at 80 %.",
					series: []series{
						{legend: "{{instance}} connections", value: ratio(sum(metrics.Connections, "instance"), sum(metrics.ConnectionMax, "instance"))},
						{legend: "{{instance}} to be sent", value: ratio(sum(metrics.WaitingBytes, "instance"), sum(metrics.WaitingMax, "instance"))},
						{legend: "{{instance}} to be handled", value: ratio(sum(metrics.InputBytes, "instance"), sum(metrics.InputMax, "instance"))},
					}},
				{title: "Shed for want of memory", unit: perSecond, runbook: "What is shed, in which order", width: 12,
					description: "new: refused. stranger: closed before a login. input, output: those with the most waiting.",
					series:      []series{{legend: "{{which}}", value: rate(metrics.Shed, "which")}}},
				{title: "Connections refused", unit: perSecond, show: areas, runbook: "At 3 a.m.", description: "Refused or gone wrong before the first message, by why. Accepting pauses where there are no descriptors left.",
					series: []series{{legend: "{{reason}}", value: rate(metrics.Refused, "reason")}, {legend: "accepting paused", value: rate(metrics.AcceptPaused)}}},
				{title: "Sessions closed", unit: perSecond, show: areas, runbook: "At 3 a.m.", description: "By the code of sys.closing; gone is the client's own doing.",
					series: []series{{legend: "{{reason}}", value: rate(metrics.Closed, "reason")}}},
				{title: "Over a rate", unit: perSecond, runbook: "At 3 a.m.", description: "Messages over limits.rate_per_second, logins over limits.login_rate_per_ip: somebody in a loop, or a limit that is too low.",
					series: []series{{legend: "{{kind}}", value: rate(metrics.OverRate, "kind")}}},
				{title: "Messages in a mailbox", unit: amount, description: "How many there were in a session's mailbox with each that came: that player's calls come faster than they are answered.",
					series: []series{{legend: "p90", value: quantile(0.9, metrics.MailboxSize)}, {legend: "p99", value: quantile(0.99, metrics.MailboxSize)}}},
				{title: "Full mailboxes", unit: perSecond, description: "A client that does not wait for answers: it is not read from until there is room.",
					series: []series{{legend: "{{instance}}", value: rate(metrics.MailboxFull, "instance")}}},
				{title: "Calls refused for want of a worker", unit: perSecond, description: "loop.worker_queue was full.",
					series: []series{{legend: "{{instance}}", value: rate(metrics.WorkerRefused, "instance")}}},
			}},
			{"The process' life", []panel{
				{title: "Drain", unit: share, max: 1, steps: badAt(stuckDrain), runbook: "Alert: drain stuck", description: "How much of shutdown.deadline a drain has taken. At 1 it is cut.",
					series: []series{{legend: "{{instance}}", value: ratio(most(metrics.DrainSeconds, "instance"), most(metrics.DrainLimit, "instance"))}}},
				{title: "Reloads", unit: perSecond, runbook: "Reload", description: "refused: nothing has changed, the log lists what is wrong.",
					series: []series{{legend: "{{result}}", value: rate(metrics.Reloads, "result")}}},
				{title: "Log lines", unit: perSecond, runbook: "Log lines at Warn and above", description: "By level.",
					series: []series{{legend: "{{level}}", value: rate(metrics.LogLines, "level")}}},
			}},
			{"How it is watched", []panel{
				{title: "Pushes to InfluxDB", unit: perSecond, description: "dropped: metrics.influx.max_buffer_bytes was full while InfluxDB was away.",
					series: []series{{legend: "{{result}}", value: rate(metrics.PushSent, "result")}}},
				{title: "Waiting for InfluxDB", unit: inBytes, description: "Grows while it is away, up to metrics.influx.max_buffer_bytes.",
					series: []series{{legend: "{{instance}}", value: sum(metrics.PushBuffered, "instance")}}},
				{title: "Scrapes by Prometheus", unit: perSecond, description: "refused: too many asked at once. cut: read too slowly, or not to the end.",
					series: []series{{legend: "{{result}}", value: rate(metrics.Scrapes, "result")}}},
				{title: "Spans", unit: perSecond, description: "Of traced calls, where tracing.endpoint is set. limited: not traced, since tracing.max_per_second were.",
					series: []series{{legend: "{{result}}", value: rate(metrics.Spans, "result")}}},
				{title: "Console pages", unit: amount, description: "That are open.",
					series: []series{{legend: "{{instance}}", value: sum(metrics.ConsolePages, "instance")}}},
			}},
		},
	}
}
