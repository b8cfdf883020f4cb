package tasks

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// clock is one that tests move.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time        { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) jump(by time.Duration) { c.offset.Add(int64(by)) }

// scheduled are the options of a process with one schedule.
func scheduled(t *testing.T, every string, c *clock, catchUp time.Duration) func(*Options) {
	return func(o *Options) {
		when, err := ParseWhen(every, "UTC")
		if err != nil {
			t.Fatal(err)
		}
		s, err := Scheduled(o.Definitions, "test.tick", when)
		if err != nil {
			t.Fatal(err)
		}
		o.Schedules, o.CatchUp, o.Clock = []Schedule{s}, catchUp, c.now
	}
}

// tickRuns are the ticks that ran, and how often.
func (p *place) tickRuns() map[int64]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	runs := make(map[int64]int)
	for what, n := range p.ran {
		if ms, ok := strings.CutPrefix(what, "tick "); ok {
			tick, _ := strconv.ParseInt(ms, 10, 64)
			runs[tick] = n
		}
	}
	return runs
}

func TestEachTickRunsOnceOverSeveralProcesses(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		c := new(clock)
		first := p.begin(2, scheduled(t, "@every 1s", c, time.Hour))
		p.begin(2, scheduled(t, "@every 1s", c, time.Hour))
		p.begin(0, scheduled(t, "@every 1s", c, time.Hour))
		eventually(t, "two ticks", 20*time.Second, func() bool { return len(p.tickRuns()) >= 2 })
		first.end() // who took most ticks so far, perhaps
		eventually(t, "two more", 20*time.Second, func() bool { return len(p.tickRuns()) >= 4 })
		for tick, n := range p.tickRuns() {
			if n != 1 || tick%1000 != 0 {
				t.Errorf("tick %d ran %d times", tick, n)
			}
		}
	})
}

func TestClockJumpsAndMissedTicks(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		c := new(clock)
		c.jump(time.Until(time.Now().Truncate(time.Hour).Add(90 * time.Minute))) // half past
		pr := p.begin(2, scheduled(t, "@every 1h", c, 3*time.Hour))
		eventually(t, "the schedule has begun", 10*time.Second, func() bool {
			row, err := pr.sql.FetchOneContext(limited(t), "SELECT COUNT(*) FROM tasks_ticks")
			var n int64
			return err == nil && row.Scan(&n) == nil && n == 1
		})
		run := func(what string, want int) {
			t.Helper()
			eventually(t, what, 10*time.Second, func() bool { return len(p.tickRuns()) >= want })
			if n := len(p.tickRuns()); n != want {
				t.Errorf("%s: %d ticks, want %d", what, n, want)
			}
		}
		if n := len(p.tickRuns()); n != 0 {
			t.Errorf("a new schedule begins with %d ticks", n)
		}
		c.jump(time.Hour)
		run("the next tick", 1)
		c.jump(-time.Hour)
		c.jump(time.Hour)
		run("the clock jumped back and forth", 1)
		pr.end()
		c.jump(5 * time.Hour) // five ticks are missed, the last by half an hour
		pr = p.begin(2, scheduled(t, "@every 1h", c, 3*time.Hour))
		run("missed ticks run once, late", 2)
		pr.end()
		c.jump(time.Hour)
		pr = p.begin(2, scheduled(t, "@every 1h", c, time.Minute))
		eventually(t, "the tick is known", 10*time.Second, func() bool {
			row, err := pr.sql.FetchOneContext(limited(t), "SELECT COUNT(*) FROM tasks_ticks")
			var n int64
			return err == nil && row.Scan(&n) == nil && n == 4
		})
		run("a tick missed by more than tasks.catch_up", 2)
		for tick, n := range p.tickRuns() {
			if n != 1 {
				t.Errorf("tick %d ran %d times", tick, n)
			}
		}
	})
}

// A schedule whose ticks are farther apart than ticks are remembered runs at each: its
// newest tick is never forgotten. All older ones are in time, also those of schedules
// that are not there any more.
func TestScheduleRunsHoweverFarApartItsTicksAre(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		c := new(clock)
		at := func(month time.Month, day, second int) {
			c.offset.Store(int64(time.Until(time.Date(2027, month, day, 0, 0, second, 0, time.UTC))))
		}
		at(3, 5, 0)
		pr := p.begin(2, scheduled(t, "0 0 1 * *", c, time.Hour))
		ticks := func(schedule string) int64 {
			return p.count(pr.sql, "SELECT COUNT(*) FROM tasks_ticks WHERE schedule = ?", schedule)
		}
		eventually(t, "the schedule has begun", 10*time.Second, func() bool { return ticks("test.tick") == 1 })
		for ms := range int64(3) {
			if _, err := pr.sql.ExecContext(limited(t), "INSERT INTO tasks_ticks VALUES ('test.gone', ?, 0)", ms); err != nil {
				t.Fatal(err)
			}
		}
		for month := time.April; month <= time.June; month++ {
			at(month-1, 28, 0)
			if _, err := pr.clean(pr.o.Clock()); err != nil {
				t.Fatal(err)
			}
			if n := ticks("test.tick"); n != 1 {
				t.Errorf("%d ticks are remembered at the end of the month", n)
			}
			at(month, 1, 30)
			eventually(t, "it runs at the beginning of "+month.String(), 10*time.Second, func() bool { return len(p.tickRuns()) == int(month-time.March) })
		}
		if n := ticks("test.gone"); n != 1 {
			t.Errorf("%d ticks are remembered of a schedule that is gone, want the newest", n)
		}
	})
}
