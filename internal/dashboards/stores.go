package dashboards

import "gameserverd/internal/metrics"

func storesBoard() board {
	return board{
		name: "stores", title: "gameserverd / Stores and commits",
		description: "Do SQL and Redis answer, how fast, and are players' changes stored as fast as they come?",
		rows: []row{
			{panels: []panel{
				{title: "Stores", show: lines, unit: amount, max: 1, words: []word{{0, "AWAY", red}, {1, "up", green}}, runbook: "Alert: store down",
					description: "1 while a store answers, 0 while it does not: calls that need it are unavailable.",
					series:      []series{{legend: "{{instance}} {{store}}", value: least(metrics.StoreUp, "instance", "store")}}},
				{title: "What calls of a store take", unit: inSeconds, runbook: "Alert: store down", description: "Waiting for a connection included.",
					series: []series{
						{legend: "{{store}} p50", value: quantile(0.5, metrics.StoreTime, "store")},
						{legend: "{{store}} p99", value: quantile(0.99, metrics.StoreTime, "store")},
					}},
				{title: "Errors", unit: perSecond, runbook: "Alert: store down", description: "By store and code; nothing here is the rule.",
					series: []series{{legend: "{{store}} {{code}}", value: rate(metrics.StoreErrors, "store", "code")}}},
				{title: "Calls", unit: perSecond, description: "Of each store.",
					series: []series{{legend: "{{store}}", value: rate(metrics.StoreTime, "store")}}},
				{title: "Connections to stores", unit: amount, description: "All busy and calls that wait: raise store.sql.max_open or store.redis.pool_size, or see why the store is slow.",
					series: []series{
						{legend: "{{store}} {{state}}", value: sum(metrics.StoreConns, "store", "state")},
						{legend: "{{store}}: calls that wait", value: sum(metrics.StoreWaiting, "store")},
					}},
				{title: "Players in memory", unit: amount, show: areas, description: "Those online, and those who have gone for less than store.player_linger.",
					series: []series{{legend: "{{instance}}", value: sum(metrics.Players, "instance")}}},
			}},
			{"Group commit", []panel{
				{title: "Changes", unit: perSecond, show: areas, description: "lost_race: the player is on another process by now. abandoned: it was answered unavailable.",
					series: []series{{legend: "{{outcome}}", value: rate(metrics.Changes, "outcome")}}},
				{title: "Changes that wait, of store.queue", unit: share, max: 1, steps: badAt(fullCommits), runbook: "Alert: commits wait",
					description: "At 1 changes are refused as resource_exhausted.",
					series:      []series{{legend: "{{instance}}", value: ratio(sum(metrics.CommitWait, "instance"), sum(metrics.CommitMax, "instance"))}}},
				{title: "A batch takes", unit: inSeconds, description: "From its BEGIN to the answer to its COMMIT: every change waits about as long, and half of the batch before.",
					series: []series{{legend: "p50", value: quantile(0.5, metrics.CommitTime)}, {legend: "p99", value: quantile(0.99, metrics.CommitTime)}}},
				{title: "Rows of a batch", unit: amount, description: "Larger batches under load are what makes it fast; store.commit_batch bounds them.",
					series: []series{{legend: "mean", value: mean(metrics.CommitRows)}, {legend: "p99", value: quantile(0.99, metrics.CommitRows)}}},
				{title: "Batches", unit: perSecond, description: "Transactions that committed, and those that were tried again: deadlocks and lost connections.",
					series: []series{{legend: "committed", value: rate(metrics.Commits)}, {legend: "tried again", value: rate(metrics.CommitAgain)}}},
			}},
		},
	}
}
