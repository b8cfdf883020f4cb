package tasks

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// When says when a schedule ticks. The zero When never does.
type When struct {
	every    time.Duration // 0: spec
	spec     cron.Schedule // computes with wall clock readings as if they were UTC, or with instants
	instants bool          // the hours are *: by real time, not by the wall clock
	zone     *time.Location
}

var cronParser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// ParseWhen reads "@every 5m", or five fields of cron (minute, hour, day, month, day
// of the week) or one of its words such as @daily, in a zone of the IANA database.
func ParseWhen(text, zone string) (When, error) {
	if d, ok := strings.CutPrefix(text, "@every "); ok {
		every, err := time.ParseDuration(strings.TrimSpace(d))
		if err != nil || every < time.Second {
			return When{}, fmt.Errorf("%q: want @every with a duration of 1s or more", text)
		}
		return When{every: every}, nil
	}
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return When{}, fmt.Errorf("%q is no zone such as Europe/Berlin", zone)
	}
	if strings.Contains(text, "TZ=") {
		return When{}, fmt.Errorf("%q: the zone does not stand in the expression", text)
	}
	instants := false
	in := time.UTC
	if fields := strings.Fields(text); len(fields) == 5 && fields[1] == "*" || text == "@hourly" {
		instants, in = true, loc
	}
	spec, err := cronParser.Parse(text)
	if err != nil {
		return When{}, fmt.Errorf("%q: want @every DURATION, or minute hour day month weekday: %w", text, err)
	}
	if s, ok := spec.(*cron.SpecSchedule); ok {
		s.Location = in
	}
	return When{spec: spec, instants: instants, zone: loc}, nil
}

// lookBacks are how far Last looks back for a tick, nearest first.
var lookBacks = []time.Duration{2 * time.Minute, 2 * time.Hour, 50 * time.Hour, 9 * 24 * time.Hour, 70 * 24 * time.Hour, 367 * 24 * time.Hour, 5 * 366 * 24 * time.Hour}

// Last is the latest tick that is not after now; false: there was none for years.
//
// A local time that a change of the clocks skips ticks when they change, and one that
// comes twice ticks the first time; but where the hours are *, each hour that passes
// ticks, whatever it is called.
func (w When) Last(now time.Time) (time.Time, bool) {
	if w.every > 0 {
		ms := w.every.Milliseconds()
		return time.UnixMilli(now.UnixMilli() / ms * ms), true
	}
	if w.spec == nil {
		return time.Time{}, false
	}
	for _, back := range lookBacks {
		var last time.Time
		at := now.Add(-back)
		until := now
		if !w.instants {
			at, until = wall(at.In(w.zone)), wall(now.In(w.zone)).Add(3*time.Hour)
		}
		for {
			if at = w.spec.Next(at); at.IsZero() || at.After(until) {
				break
			}
			tick := at
			if !w.instants {
				tick = instant(at, w.zone)
			}
			if !tick.After(now) && tick.After(last) {
				last = tick
			}
		}
		if !last.IsZero() {
			return last, true
		}
	}
	return time.Time{}, false
}

// wall is what the clock on the wall shows at t, as if it were UTC.
func wall(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.Add(time.Duration(offset) * time.Second).UTC()
}

// instant is when the clock on the wall first shows what w says; if it skips that, when
// it does.
func instant(w time.Time, zone *time.Location) time.Time {
	_, before := w.Add(-24 * time.Hour).In(zone).Zone()
	_, after := w.Add(24 * time.Hour).In(zone).Zone()
	first, second := w.Add(-time.Duration(before)*time.Second), w.Add(-time.Duration(after)*time.Second)
	if second.Before(first) {
		first, second = second, first
	}
	for _, t := range []time.Time{first, second} {
		if wall(t.In(zone)).Equal(w) {
			return t
		}
	}
	begun, _ := second.In(zone).ZoneBounds()
	return begun
}
