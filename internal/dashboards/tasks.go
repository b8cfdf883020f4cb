package dashboards

import "gameserverd/internal/metrics"

func tasksBoard() board {
	return board{
		name: "tasks", title: "gameserverd / Tasks",
		description: "Are background tasks begun in time, and do they end well?",
		rows: []row{
			{panels: []panel{
				{title: "The first has waited", unit: inSeconds, steps: badAt(oldQueue), runbook: "Alert: queue age",
					description: "How long the first task of each queue has waited for a worker.",
					series:      []series{{legend: "{{queue}}", value: most(metrics.QueueOldest, "queue")}}},
				{title: "In the queues", unit: amount, runbook: "Alert: queue age", description: "waiting: for a worker. active: they run. later: they are not due, or are tried again.",
					series: []series{{legend: "{{queue}} {{state}}", value: most(metrics.QueueDepth, "queue", "state")}}},
				{title: "Running", unit: amount, show: areas, description: "In each process; worker.concurrency is the bound. Given up: their runs are over for everybody else, and they do not heed it.",
					series: []series{
						{legend: "{{instance}}", value: sum(metrics.TasksNow, "instance")},
						{legend: "{{instance}} given up", value: sum(metrics.TaskStrays, "instance")},
					}},
				{title: "Ended", unit: perSecond, show: areas, description: "failed: tried again. archived: given up, gameserverd tasks show ID says why. lost: another worker has it.",
					series: []series{{legend: "{{outcome}}", value: rate(metrics.TaskRuns, "outcome")}}},
				{title: "A run takes, p99", unit: inSeconds, description: "By task.",
					series: []series{{legend: "{{task}}", value: quantile(0.99, metrics.TaskTime, "task")}}},
				{title: "Applied", unit: perSecond, description: "By task. More than ends means that the queue grows.",
					series: []series{{legend: "{{task}}", value: rate(metrics.TasksMade, "task")}}},
			}},
			{"All tasks, over the time shown", []panel{
				{title: "Tasks", show: table, by: "task", unit: amount, description: "A click on a column sorts by it.",
					series: []series{
						{legend: "applied", value: increase(metrics.TasksMade, "task")},
						{legend: "done", value: increase(metrics.TaskRuns, "task").only("outcome", "done")},
						{legend: "failed", value: increase(metrics.TaskRuns, "task").only("outcome", "failed")},
						{legend: "archived", value: increase(metrics.TaskRuns, "task").only("outcome", "archived")},
						{legend: "mean", value: mean(metrics.TaskTime, "task"), unit: inSeconds},
					}},
			}},
		},
	}
}
