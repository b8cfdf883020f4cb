// Package reward gives players what they get without asking.
//
// Its one invariant: whatever is tried again or breaks down in the middle, each player
// gets a reward once, because its mail has the reward's name as its source.
package reward

import (
	"fmt"
	"strings"
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

// Day is a date such as 2026-11-23. Two spellings of one day would be two rewards, so
// anything else is refused where the task is applied.
type Day string

// UnmarshalText refuses what is no date.
func (d *Day) UnmarshalText(text []byte) error {
	if _, err := time.Parse(time.DateOnly, string(text)); err != nil {
		return fmt.Errorf("%.40q is no day: allowed is a date of the form 2026-11-23", text)
	}
	*d = Day(text)
	return nil
}

// dayOf is the day of a time in a zone.
func dayOf(t time.Time, zone *time.Location) Day { return Day(t.In(zone).Format(time.DateOnly)) }

// ParseDaily reads game.daily_reward: at is a time such as 21:00 on the wall in zone.
func ParseDaily(at, zone string) (tasks.When, *time.Location, error) {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return tasks.When{}, nil, err
	}
	hour, minute, _ := strings.Cut(at, ":")
	when, err := tasks.ParseWhen(minute+" "+hour+" * * *", zone)
	return when, loc, err
}

// DailySchedule is the schedule of the daily reward: when says at which local time, and
// zone which day that is.
func DailySchedule(when tasks.When, zone *time.Location) tasks.Schedule {
	return tasks.NewSchedule("reward.daily", when, func(tick time.Time) tasks.Task[struct{}] { return dailyOf(tick, zone) })
}

// dailyOf is the task of a tick.
func dailyOf(tick time.Time, zone *time.Location) tasks.Task[struct{}] {
	return DailyTask(dayOf(tick, zone), tick.Add(-Seen).UnixMilli())
}

// Latest applies the daily reward that was due last, as its schedule has or would have,
// and returns the task. It is for a reward that was missed: who has it gets no other.
//
//task:queue low
func Latest(c *tasks.Call) (string, error) {
	g := c.Game()
	if g.DailyAt == "" {
		return "", fmt.Errorf("%w: game.daily_reward.at is empty, so there is no daily reward", tasks.ErrGiveUp)
	}
	when, zone, err := ParseDaily(g.DailyAt, g.DailyZone)
	if err != nil {
		return "", fmt.Errorf("%w: game.daily_reward: %w", tasks.ErrGiveUp, err)
	}
	tick, ok := when.Last(c.Clock())
	if !ok {
		return "", fmt.Errorf("%w: no daily reward was due yet", tasks.ErrGiveUp)
	}
	receipt, err := tasks.Apply(c.Tasks, dailyOf(tick, zone))
	if err != nil {
		return "", err
	}
	_, err = receipt.Stored().Wait(c)
	return string(receipt.ID), err
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
func Daily(c *tasks.Call, day Day, sinceMS int64) error {
	gold := c.Game().DailyGold
	if gold == 0 {
		return nil
	}
	source := "daily reward " + string(day)
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
			c.Log.Info("daily reward given", zap.String("day", string(day)), zap.Int("mails", sent), zap.Int("attempt", c.Attempt), zap.Duration("took", c.Clock().Sub(begun)))
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
