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

// selectStep reads the next players above a uid, by uid, and of each whether it was seen
// since a time and has no mail from a source. Index: the primary key; mail_source for
// each player, because a database may choose to read all mails for a NOT EXISTS.
const selectStep = `SELECT p.uid, p.seen_ms >= ? AND m.uid IS NULL
	FROM (SELECT uid, seen_ms FROM players WHERE uid > ? ORDER BY uid LIMIT 50) p
	LEFT JOIN mail m ON m.uid = p.uid AND m.source = ? ORDER BY p.uid`

const (
	step = 50 // rows of selectStep, and mails that one transaction has at most
	rest = 4  // times as long as a step took, between two of them
)

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
// It goes through all players in small steps, and works a fifth of the time, so that
// those who play hardly notice. A run that was cut goes through all of them again: who
// has the mail gets no other.
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
		found, err := c.SQL.FetchAllContext(c, selectStep, sinceMS, after, source)
		if err != nil {
			return err
		}
		var stored []*future.Future[bool]
		for _, row := range found {
			var due bool
			if err := row.Scan(&after, &due); err != nil {
				return err
			}
			if !due {
				continue
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
		pause := time.NewTimer(rest * c.Clock().Sub(stepBegun))
		select {
		case <-pause.C:
		case <-c.Done():
			pause.Stop()
			return c.Err()
		}
	}
}
