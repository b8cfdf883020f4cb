// Package reward gives players what they get without asking.
//
// Its one invariant: whatever is tried again or breaks down in the middle, each player
// gets a reward once, because its mail has the reward's name as its source.
package reward

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/future"
	"gameserverd/internal/tasks"
)

// Seen is how long ago a player may have logged in last to get the daily reward.
const Seen = 7 * 24 * time.Hour

// selectDue finds players who were seen since a time and have no mail from a source,
// by uid: at most 200 of those above one. Index: players_seen or the primary key, as the
// database likes better; mail_source for each player.
const selectDue = `SELECT p.uid FROM players p WHERE p.uid > ? AND p.seen_ms >= ?
	AND NOT EXISTS (SELECT 1 FROM mail m WHERE m.uid = p.uid AND m.source = ?) ORDER BY p.uid LIMIT 200`

const step = 200 // rows of selectDue

// DailySchedule is the schedule of the daily reward: when says at which local time, and
// zone which day that is.
func DailySchedule(when tasks.When, zone *time.Location) tasks.Schedule {
	return tasks.NewSchedule("reward.daily", when, func(tick time.Time) tasks.Task[struct{}] {
		return DailyTask(tick.In(zone).Format(time.DateOnly), tick.Add(-Seen).UnixMilli())
	})
}

// lowestUID is below all: a uid is kept in SQL as the signed number with the same bits.
const lowestUID = -1 << 63

// Daily sends the reward of a day, "2026-11-23", to every player who was seen since the
// time sinceMS, in UTC milliseconds.
//
// It goes in steps, and rests as long as each has taken, so that those who play do not
// wait for it. A run that was cut goes on where it ended: who has the mail is not found.
//
//task:queue low
//task:retries 50
//task:timeout 12h
func Daily(c *tasks.Call, day string, sinceMS int64) error {
	gold := c.Game().DailyGold
	if gold == 0 {
		return nil
	}
	source := "daily reward " + day
	after, sent, begun := int64(lowestUID), 0, c.Clock()
	for {
		stepBegun := c.Clock()
		found, err := c.SQL.FetchAllContext(c, selectDue, after, sinceMS, source)
		if err != nil {
			return err
		}
		var stored []*future.Future[bool]
		for _, row := range found {
			if err := row.Scan(&after); err != nil {
				return err
			}
			stored = append(stored, c.Players.SendMail(uint64(after), c.Mail("Daily reward", gold), source))
		}
		for _, f := range stored {
			fresh, err := f.Wait(c)
			if err != nil {
				return fmt.Errorf("after %d mails: %w", sent, err)
			}
			if fresh {
				sent++
			}
		}
		if len(found) < step {
			c.Log.Info("daily reward given", zap.String("day", day), zap.Int("mails", sent), zap.Int("attempt", c.Attempt), zap.Duration("took", c.Clock().Sub(begun)))
			return nil
		}
		rest := time.NewTimer(c.Clock().Sub(stepBegun))
		select {
		case <-rest.C:
		case <-c.Done():
			rest.Stop()
			return c.Err()
		}
	}
}
