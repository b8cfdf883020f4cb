package dashboards

import "gameserverd/internal/metrics"

func loopsBoard() board {
	perLoop := "{{instance}} loop {{loop}}"
	return board{
		name: "loops", title: "gameserverd / Loops and connections",
		description: "Is a loop held, and by what? How many are connected, over what, and what waits for them.",
		rows: []row{
			{panels: []panel{
				{title: "How late timers run, p99", unit: inSeconds, steps: badAt(lateLoop), runbook: "Alert: loop lag",
					description: "What a callback waits that is due now.",
					series:      []series{{legend: perLoop, value: quantile(0.99, metrics.LoopLag, "instance", "loop")}}},
				{title: "A turn, p99", unit: inSeconds, description: "From when the loop had its events to when it waited for the next.",
					series: []series{{legend: perLoop, value: quantile(0.99, metrics.LoopTurn, "instance", "loop")}}},
				{title: "Slow callbacks by method", unit: perSecond, runbook: "Alert: loop lag",
					description: "Callbacks that held a loop longer than loop.slow_callback. The log has the stack of each; - is what belongs to no method.",
					series:      []series{{legend: "{{method}}", value: rate(metrics.LoopSlow, "method")}}},
				{title: "Busy", unit: share, max: 1, steps: warnAt(0.7, 0.9), description: "How much of its time a loop spends in turns: at 1 it is a processor's worth, and more loops or machines are needed.",
					series: []series{{legend: perLoop, value: busy(metrics.LoopTurn, "instance", "loop")}}},
				{title: "Turns", unit: perSecond, description: "Fewer turns at the same load are longer ones.",
					series: []series{{legend: perLoop, value: rate(metrics.LoopTurns, "instance", "loop")}}},
				{title: "Waiting for a loop", unit: amount, description: "Callbacks for the next turn.",
					series: []series{{legend: perLoop, value: sum(metrics.LoopCallbacks, "instance", "loop")}}},
				{title: "From loop to loop", unit: inBytes, description: "Deliveries from other loops that wait for this one.",
					series: []series{{legend: perLoop, value: sum(metrics.LoopInbox, "instance", "loop")}}},
				{title: "Connections by loop", unit: amount, show: areas, description: "New ones go to the loop with the fewest, and move to their player's loop at login.",
					series: []series{{legend: perLoop, value: sum(metrics.LoopConns, "instance", "loop")}}},
				{title: "Workers for blocking methods", unit: amount, description: "All running and a queue: the methods marked blocking wait for each other. Raise loop.workers, or see what they wait for.",
					series: []series{
						{legend: "{{state}}", value: sum(metrics.Workers, "state")},
						{legend: "waiting calls", value: sum(metrics.WorkerQueue)},
						{legend: "refused a second", value: rate(metrics.WorkerRefused)},
					}},
			}},
			{"Connections", []panel{
				{title: "Connections by transport", unit: amount, show: areas, description: "Open now, by what carries them and how messages are framed.",
					series: []series{{legend: "{{transport}} {{framing}}", value: sum(metrics.Connections, "transport", "framing")}}},
				{title: "Come and gone", unit: perSecond, description: "Accepted, refused before the first message, and closed, by why. gone: the client left.",
					series: []series{
						{legend: "accepted", value: rate(metrics.Accepted)},
						{legend: "refused: {{reason}}", value: rate(metrics.Refused, "reason")},
						{legend: "closed: {{reason}}", value: rate(metrics.Closed, "reason")},
					}},
				{title: "TLS handshakes under way", unit: amount, description: "After a restart everybody comes back at once; limits.max_handshakes is the bound.",
					series: []series{{legend: "{{instance}}", value: sum(metrics.Handshakes, "instance")}}},
				{title: "Bytes", unit: bytesPerSec, description: "From and to clients.",
					series: []series{
						{legend: "{{instance}} received", value: rate(metrics.Received, "instance")},
						{legend: "{{instance}} sent", value: rate(metrics.Sent, "instance")},
					}},
				{title: "Bytes that wait", unit: inBytes, runbook: "Alert: memory", description: "To be sent, for clients that read slowly; received and not handled yet.",
					series: []series{
						{legend: "{{instance}} to be sent", value: sum(metrics.WaitingBytes, "instance")},
						{legend: "{{instance}} to be handled", value: sum(metrics.InputBytes, "instance")},
					}},
				{title: "Messages in mailboxes", unit: amount, description: "They wait behind a call of the same session.",
					series: []series{{legend: "{{instance}}", value: sum(metrics.Mailbox, "instance")}}},
			}},
			{"Go and the process", []panel{
				{title: "Goroutines", unit: amount, description: "Some per loop, worker and store connection; none per client.",
					series: []series{{legend: "{{instance}}", value: sum(goRoutines, "instance")}}},
				{title: "Memory", unit: inBytes, runbook: "Sizing the limits", description: "Of the process, and Go's heap.",
					series: []series{
						{legend: "{{instance}}", value: sum(processMemory, "instance")},
						{legend: "{{instance}} heap", value: sum(goHeap, "instance")},
					}},
				{title: "Open files", unit: amount, runbook: "gameserverd doctor", description: "One for each connection, and some.",
					series: []series{{legend: "{{instance}}", value: sum(processFiles, "instance")}}},
			}},
		},
	}
}
