package players

import (
	"context"

	"gameserverd/internal/commit"
	"gameserverd/internal/future"
)

// selectExpired finds mails that expired before a time, by the index on that
// time; at most purgeStep rows.
const selectExpired = `SELECT uid, id FROM mail WHERE expires_ms < ? ORDER BY expires_ms LIMIT 200`

const purgeStep = 200 // rows of mail, and as many of claims, that one transaction deletes

// Purge deletes the mails that expired before the time beforeMS, in UTC
// milliseconds, and what is known of their claims: in small steps among the
// players' own changes, so that nobody waits for it. It returns how many mails
// it has deleted. Any goroutine but a loop's.
func (p *Players) Purge(ctx context.Context, beforeMS int64) (deleted int, err error) {
	for {
		expired, err := p.o.DB.FetchAllContext(ctx, selectExpired, beforeMS)
		if err != nil || len(expired) == 0 {
			return deleted, err
		}
		done := future.New[struct{}]()
		c := &commit.Change{Home: inline{}, Done: func(o commit.Outcome) {
			if o.Err != nil {
				done.Fail(o.Err)
				return
			}
			done.Resolve(struct{}{})
		}}
		for _, row := range expired {
			var uid, id int64
			if err := row.Scan(&uid, &id); err != nil {
				return deleted, err
			}
			key := []any{uid, id}
			c.Rows = append(c.Rows, commit.Row{Op: commit.Delete, Table: mail, Values: key}, commit.Row{Op: commit.Delete, Table: claims, Values: key})
		}
		if err := p.o.Group.Submit(c); err != nil {
			return deleted, err
		}
		if _, err := done.Wait(ctx); err != nil {
			return deleted, err
		}
		deleted += len(expired)
		if len(expired) < purgeStep {
			return deleted, nil
		}
	}
}
