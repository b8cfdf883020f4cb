package tasks

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gameserverd/internal/commit"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// A result that can never be there any more is an error, and nobody asks for it for ever.
func TestResultThatNeverComesIsAnError(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		pr := p.begin(2, nil)
		must(pr, of(pr, "test.double", "a"), Unique("k", time.Hour))
		refused, err := Apply(pr.Tasks, of(pr, "test.double", "a"), Unique("k", time.Hour), Keep(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = refused.Result().Wait(limited(t)); wire.CodeOf(err) != wire.AlreadyExists {
			t.Errorf("of a task that was refused: %v", err)
		}
		over := must(pr, of(pr, "test.double", "b"), Keep(time.Millisecond))
		eventually(t, "it has ended and is forgotten", 30*time.Second, func() bool {
			_, err := pr.Show(limited(t), over.ID)
			return p.times("b") == 1 && wire.CodeOf(err) == wire.NotFound
		})
		if _, err = over.Result().Wait(limited(t)); wire.CodeOf(err) != wire.NotFound {
			t.Errorf("of a task that is forgotten: %v", err)
		}
		if v := wait(t, must(pr, of(pr, "test.double", "c"), Keep(time.Minute)).Result()); v != "cc" {
			t.Errorf("of a task that has run: %q", v)
		}
	})
}

// With SQL away whoever has applied a task is told so in time, and a task of which it was
// said that it will not be applied is not applied later.
func TestApplyWhileSQLIsAwayIsAnsweredAndNothingComesOfItLater(t *testing.T) {
	t.Parallel()
	server := storetest.MariaDBAlone(t)
	p := onServers(t, server, storetest.Redis(t))
	pr := p.begin(2, func(o *Options) { o.Timeout = 300 * time.Millisecond })
	must(pr, of(pr, "test.double", "before"))
	args, err := wire.AppendAny(nil, []any{"by hand"})
	if err != nil {
		t.Fatal(err)
	}
	for _, away := range []struct {
		what     string
		go_, end func()
	}{{"stalled", server.Stall, server.Resume}, {"killed", server.Kill, func() { server.Start() }}} {
		away.go_()
		receipts := make(map[string]*Receipt[string])
		for i := range 100 {
			what := fmt.Sprint(away.what, i)
			if receipts[what], err = Apply(pr.Tasks, of(pr, "test.double", what), Keep(time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		told := make(map[string]error)
		for what, r := range receipts {
			if _, told[what] = r.Stored().Wait(limited(t)); wire.CodeOf(told[what]) != wire.Unavailable {
				t.Errorf("%s: %v", what, told[what])
			}
			if _, err := r.Result().Wait(limited(t)); wire.CodeOf(err) != wire.Unavailable {
				t.Errorf("%s: the result: %v", what, err)
			}
		}
		if _, told["by hand"] = pr.RunNow(limited(t), "test.double", args); wire.CodeOf(told["by hand"]) != wire.Unavailable {
			t.Errorf("tasks run: %v", told["by hand"])
		}
		away.end()
		eventually(t, "one is applied again, and runs", 30*time.Second, func() bool {
			r, err := Apply(pr.Tasks, of(pr, "test.double", "after "+away.what), Keep(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Result().Wait(limited(t))
			return err == nil
		})
		for what, err := range told {
			if n := p.times(what); n != 0 && err != errNotKnown {
				t.Errorf("%s ran %d times, though it was said: %v", what, n, err)
			}
		}
		pr.storing.mu.Lock()
		if n := len(pr.storing.waiting); n > 1 {
			t.Errorf("%d are kept", n)
		}
		pr.storing.mu.Unlock()
	}
}

// A key is free when its window is over, for Apply and for Write alike, and not before.
func TestUniqueIsFreeWhenItsWindowIsOver(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		c := new(clock)
		pr := p.begin(0, func(o *Options) { o.Clock = c.now })
		written := func() error { // as Write does: the rows are in the player's change
			task := of(pr, "test.double", "u")
			r, o, err := pr.newRow(&task.job, []Option{Unique("written", time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			if err := pr.group.Submit(&commit.Change{Home: inline{}, Rows: pr.rows(r, o), Done: func(o commit.Outcome) { done <- o.Err }}); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				return notStored(err, o)
			}
			return nil
		}
		applied := func() error {
			r, err := Apply(pr.Tasks, of(pr, "test.double", "u"), Unique("applied", time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.Stored().Wait(limited(t))
			return err
		}
		for what, one := range map[string]func() error{"Write": written, "Apply": applied} {
			if err := one(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			c.jump(59 * time.Minute)
			if err := one(); wire.CodeOf(err) != wire.AlreadyExists {
				t.Errorf("%s within the window: %v", what, err)
			}
			c.jump(time.Minute)
			if err := one(); err != nil {
				t.Errorf("%s after the window: %v", what, err)
			}
		}
		if n := p.count(pr.sql, "SELECT COUNT(*) FROM tasks"); n != 4 {
			t.Errorf("%d tasks are stored", n)
		}
	})
}

// What is due in more than a minute waits in asynq and in no process, and asynq brings it
// when its time has come, which the test moves: here by the clock, there by the score.
func TestCountdownOfMoreThanAMinuteIsBroughtByAsynq(t *testing.T) {
	eachPlace(t, func(t *testing.T, p *place) {
		c := new(clock)
		pr := p.begin(0, func(o *Options) { o.Clock = c.now })
		const wait = 3 * time.Minute
		due := time.Now().Add(wait)
		r := must(pr, of(pr, "test.double", "later"), In(wait), Keep(time.Hour))
		scheduled := asynqKey("default", "scheduled")
		client := pr.redis.Client()
		eventually(t, "asynq has it", 10*time.Second, func() bool { return client.ZCard(limited(t), scheduled).Val() == 1 })
		pr.end() // nobody else has it
		pr = p.begin(2, func(o *Options) { o.Clock = c.now })
		client = pr.redis.Client()
		for _, z := range client.ZRangeWithScores(limited(t), scheduled, 0, -1).Val() {
			if late := time.Unix(int64(z.Score), 0).Sub(due); late < 0 || late > 2*time.Second {
				t.Errorf("asynq brings it %v after its time", late)
			}
		}
		if n := p.times("later"); n != 0 {
			t.Fatalf("%d runs too early", n)
		}
		handed := pr.Counters().Handed
		c.jump(wait)
		for _, id := range client.ZRange(limited(t), scheduled, 0, -1).Val() {
			client.ZIncrBy(limited(t), scheduled, -wait.Seconds(), id)
		}
		info := pr.becomes(r.ID, Done, 12*time.Second)
		if n := p.times("later"); n != 1 || info.Attempts != 1 || pr.Counters().Handed != handed {
			t.Errorf("%d runs, %d attempts; handed over %d times by the process", n, info.Attempts, pr.Counters().Handed-handed)
		}
	})
}

// A schedule whose ticks come to nothing is said aloud, once for as long as it lasts.
func TestScheduleThatKeepsFailingIsSaidOnce(t *testing.T) {
	p := onEmbedded(t)
	core, lines := observer.New(zap.WarnLevel)
	c := new(clock)
	pr := p.begin(0, func(o *Options) {
		scheduled(t, "@every 1h", c, 24*time.Hour)(o)
		for _, d := range o.Definitions {
			if d.Name == "test.tick" {
				d.Queue = "nobody" // the configuration would be refused
			}
		}
		o.Log = zap.New(core)
	})
	eventually(t, "the schedule has begun", 10*time.Second, func() bool { return p.count(pr.sql, "SELECT COUNT(*) FROM tasks_ticks") == 1 })
	said := func() int { return lines.FilterMessageSnippet("a schedule does not run").Len() }
	c.jump(time.Hour)
	eventually(t, "it is said", 10*time.Second, func() bool {
		c.jump(time.Second)
		return said() == 1
	})
	if line := lines.All()[0]; !strings.Contains(fmt.Sprint(line.ContextMap()["error"]), `no queue "nobody"`) {
		t.Errorf("%v", line.ContextMap())
	}
	pr.end()
	lines.TakeAll()
	f, now := make(failures), time.Now()
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 0}, {lasting - time.Millisecond, 0}, {time.Millisecond, 1}, {time.Hour, 1}, {-1, 1}, {lasting, 2}} {
		if step.after < 0 { // a tick was taken
			delete(f, "s")
		}
		now = now.Add(max(step.after, 0))
		f.note(pr.Tasks.o.Log, now, "s", now, errNotKnown)
		if said() != step.want {
			t.Errorf("after %v it was said %d times, not %d", step.after, said(), step.want)
		}
	}
}
