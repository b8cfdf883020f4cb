package tasks

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/commit"
	"gameserverd/internal/future"
)

// Schedule applies a task at each tick, once however many processes have it: the tick
// is a row, and whoever inserts it has the task's row in the same transaction.
type Schedule struct {
	Name string // of the ticks: two processes with the same share them
	When When
	make func(tick time.Time) job
}

// NewSchedule makes a schedule whose tasks are made by fn, for the time of their tick.
func NewSchedule[R any](name string, when When, fn func(tick time.Time) Task[R]) Schedule {
	return Schedule{name, when, func(tick time.Time) job { return fn(tick).job }}
}

// Scheduled makes a schedule of the task called name, which takes nothing, or one
// integer: its tick, in UTC milliseconds.
func Scheduled(definitions []*Definition, name string, when When) (Schedule, error) {
	for _, def := range definitions {
		if def.Name != name {
			continue
		}
		if def.Ephemeral {
			return Schedule{}, fmt.Errorf("task %s is ephemeral: a schedule needs a durable one", name)
		}
		for _, args := range []func(time.Time) []any{
			func(time.Time) []any { return nil },
			func(tick time.Time) []any { return []any{tick.UnixMilli()} },
		} {
			if len(args(time.Time{})) != len(def.Params) || bind(def, newJob(def, args(time.Now())).args).err != nil {
				continue
			}
			return Schedule{name, when, func(tick time.Time) job { return newJob(def, args(tick)) }}, nil
		}
		return Schedule{}, fmt.Errorf("task %s takes %v: a schedule can give it nothing, or its tick as an integer of 64 bits", name, def.Params)
	}
	return Schedule{}, fmt.Errorf("there is no task %q", name)
}

// SetSchedules replaces the schedules from the next look on. Any goroutine.
func (t *Tasks) SetSchedules(list []Schedule) { t.schedules.Store(&list) }

const scheduleEvery = 500 * time.Millisecond

// schedule looks for ticks until Close.
func (t *Tasks) schedule() {
	taken := make(map[string]time.Time) // the last tick that needs no look any more, by schedule
	failing := make(failures)
	every := time.NewTicker(scheduleEvery)
	defer every.Stop()
	for {
		for _, s := range *t.schedules.Load() {
			tick, ok := s.When.Last(t.o.Clock())
			if !ok || taken[s.Name].Equal(tick) {
				continue
			}
			if err := t.tick(s, tick); err != nil {
				failing.note(t.o.Log, t.o.Clock(), s.Name, tick, err)
				continue
			}
			taken[s.Name] = tick
			delete(failing, s.Name)
		}
		select {
		case <-every.C:
		case <-t.ctx.Done():
			return
		}
	}
}

// failures are the schedules whose last tick could not be taken, and what was said of it.
type failures map[string]*failure

type failure struct {
	since time.Time
	said  bool
}

// lasting is how long a tick may fail before it is said aloud: SQL may be away for a while.
const lasting = 10 * time.Second

// note logs an error, aloud when it lasts, and then once until a tick is taken.
func (f failures) note(log *zap.Logger, now time.Time, schedule string, tick time.Time, err error) {
	if f[schedule] == nil {
		f[schedule] = &failure{since: now}
	}
	if at := f[schedule]; at.said || now.Sub(at.since) < lasting {
		log.Debug("a tick could not be looked at", zap.String("schedule", schedule), zap.Error(err))
		return
	}
	f[schedule].said = true
	log.Warn("a schedule does not run: its tick fails again and again", zap.String("schedule", schedule), zap.Time("tick", tick), zap.Error(err))
}

// selectTicks tells whether a tick was taken, and whether any was: at most two rows,
// by the primary key.
const selectTicks = `SELECT tick_ms FROM (SELECT tick_ms FROM tasks_ticks WHERE schedule = ? ORDER BY tick_ms DESC LIMIT 1) newest
	UNION SELECT tick_ms FROM tasks_ticks WHERE schedule = ? AND tick_ms = ?`

// tick takes a tick of s, if nobody has.
func (t *Tasks) tick(s Schedule, tick time.Time) error {
	rows, err := t.o.SQL.FetchAllContext(t.ctx, selectTicks, s.Name, s.Name, tick.UnixMilli())
	if err != nil {
		return err
	}
	for _, found := range rows {
		var ms int64
		if err := found.Scan(&ms); err != nil {
			return err
		}
		if ms == tick.UnixMilli() {
			return nil
		}
	}
	late := t.o.Clock().Sub(tick)
	c := &commit.Change{Home: inline{}}
	var r *row
	switch {
	case len(rows) == 0:
		t.o.Log.Info("a new schedule begins", zap.String("schedule", s.Name), zap.Time("tick", tick))
	case late > t.o.CatchUp && late > 2*time.Second:
		t.o.Log.Warn("a tick was missed, by more than tasks.catch_up", zap.String("schedule", s.Name), zap.Time("tick", tick), zap.Duration("late", late))
	default:
		j := s.make(tick)
		var o options
		if r, o, err = t.newRow(&j, nil); err != nil {
			return err
		}
		c.Rows = t.rows(r, o)
	}
	id := int64(0)
	if r != nil {
		id = r.id
	}
	c.Rows = append(c.Rows, commit.Row{Op: commit.Insert, Table: ticksTable, Values: []any{s.Name, tick.UnixMilli(), id}})
	done := future.New[struct{}]()
	c.Done = func(o commit.Outcome) {
		if o.Err != nil {
			done.Fail(o.Err)
			return
		}
		done.Resolve(struct{}{})
	}
	if err := t.o.Group.Submit(c); err != nil {
		return err
	}
	_, err = done.Wait(t.ctx)
	switch {
	case errors.Is(err, commit.ErrDuplicate):
		return nil // another process was faster
	case err != nil:
		return err
	case r != nil:
		t.o.Log.Info("scheduled task", zap.String("schedule", s.Name), zap.Time("tick", tick), zap.String("task", string(durableID(r.id))), zap.Duration("late", late))
		t.committed(r)
	}
	return nil
}
