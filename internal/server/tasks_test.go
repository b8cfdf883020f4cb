package server

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gameserverd/client"
	"gameserverd/internal/config"
	"gameserverd/internal/handlers"
	"gameserverd/internal/players"
	"gameserverd/internal/rpc"
	"gameserverd/internal/tasks"
	"gameserverd/wire"
)

// noted is a task that counts its runs and waits for an end, of its own or of its call.
func noted(runs *atomic.Int64, wait chan struct{}) *tasks.Definition {
	return &tasks.Definition{Name: "test.noted", Params: []string{"uid uint64"}, Retries: 0, Bind: func(args []byte) (func(*tasks.Call) ([]byte, error), error) {
		var uid uint64
		if err := tasks.Decode("test.noted", args, tasks.Arg{Name: "uid", Into: &uid}); err != nil {
			return nil, err
		}
		return func(c *tasks.Call) ([]byte, error) {
			runs.Add(1)
			if err := c.Push(uid, "test.ran", c.Key()); err != nil {
				return nil, err
			}
			select {
			case <-wait:
				return nil, nil
			case <-c.Done():
				return nil, c.Err()
			}
		}, nil
	}}
}

// buying has one method, which pays and applies the task, both or neither, with a key if
// one is given.
func buying(def *tasks.Definition, receipts chan<- *tasks.Receipt[struct{}]) func(*handlers.Parts) []rpc.Method {
	return func(p *handlers.Parts) []rpc.Method {
		return []rpc.Method{{Name: "test.buy", Params: []rpc.Param{{Name: "gold"}, {Name: "key"}}, Async: func(c *rpc.Call, a *rpc.Args) (rpc.Pending, error) {
			gold, err := a.Int64("gold")
			if err != nil {
				return nil, err
			}
			key, err := a.String("key")
			if err != nil {
				return nil, err
			}
			options := []tasks.Option{tasks.Keep(time.Hour)}
			if key != "" {
				options = append(options, tasks.Unique(key, time.Hour))
			}
			f := players.Change(p.Players, c.UID(), func(d *players.Draft) (string, error) {
				r, err := tasks.Write(p.Tasks, d, tasks.Make[struct{}](def, c.UID()), options...)
				if err != nil {
					return "", err
				}
				receipts <- r
				if key == "twice" {
					if _, err := tasks.Write(p.Tasks, d, tasks.Make[struct{}](def, c.UID()), options...); err != nil {
						return "", err
					}
				}
				after, err := d.Player().Pay(gold)
				if err != nil {
					return "", err
				}
				d.SetPlayer(after)
				return string(r.ID), nil
			})
			return rpc.Await(f, func(out []byte, id string) ([]byte, error) { return wire.AppendString(out, id), nil }), nil
		}}}
	}
}

func TestTaskIsAppliedWithAPlayersChangeOrNeither(t *testing.T) {
	var runs atomic.Int64
	ended := make(chan struct{})
	close(ended)
	def := noted(&runs, ended)
	receipts := make(chan *tasks.Receipt[struct{}], 10)
	s := startWith(t, testConfig(t.TempDir()), Options{Tasks: []*tasks.Definition{def}, Areas: buying(def, receipts)})
	c := s.login(7)
	ran := make(chan string, 10)
	client.On(c, "test.ran", func(_ context.Context, p struct{ Key string }) { ran <- p.Key })
	// refused calls test.buy, whose receipt must end as the call does.
	refused := func(what string, code wire.Code, gold int, key string) {
		t.Helper()
		if err := c.Call(testContext(t), "test.buy", nil, gold, key); wire.CodeOf(err) != code {
			t.Errorf("%s: %v", what, err)
		}
		r := <-receipts
		if _, err := r.Stored().Wait(testContext(t)); wire.CodeOf(err) != code {
			t.Errorf("%s: stored: %v", what, err)
		}
		if _, err := r.Result().Wait(testContext(t)); wire.CodeOf(err) != code {
			t.Errorf("%s: result: %v", what, err)
		}
	}
	refused("too dear", wire.FailedPrecondition, 1000, "")
	refused("one key twice in a change", wire.AlreadyExists, 30, "twice")
	var id string
	if err := c.Call(testContext(t), "test.buy", &id, 30, "once a day"); err != nil {
		t.Fatal(err)
	}
	if _, err := (<-receipts).Result().Wait(testContext(t)); err != nil {
		t.Errorf("its result: %v", err)
	}
	refused("a second one within the window", wire.AlreadyExists, 30, "once a day")
	select {
	case key := <-ran:
		if key != "task:"+id {
			t.Errorf("task %q ran, want %s", key, id)
		}
	case <-testContext(t).Done():
		t.Fatal("the task did not run")
	}
	if n := runs.Load(); n != 1 {
		t.Errorf("%d runs", n)
	}
	var profile struct {
		Gold int64 `msgpack:"gold"`
	}
	if err := c.Call(testContext(t), "player.get", &profile); err != nil || profile.Gold != 70 {
		t.Errorf("paid for one: %d gold left, %v", profile.Gold, err)
	}
}

func TestDailyRewardOnceForThoseWhoAreOnlineAndThoseWhoAreNot(t *testing.T) {
	s := start(t, testConfig(t.TempDir()), nil)
	offline := s.login(8)
	offline.Close()
	c := s.login(7)
	arrived := make(chan string, 10)
	client.On(c, "mail.arrived", func(_ context.Context, p struct {
		ID    int64
		Title string
	}) {
		arrived <- p.Title
	})
	args, err := wire.AppendAny(nil, []any{"2026-11-23", time.Now().Add(-time.Hour).UnixMilli()})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		id, err := s.tasks.RunNow(testContext(t), "reward.daily", args)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "done", func() bool {
			info, err := s.tasks.Show(testContext(t), id)
			return err == nil && info.State == "done"
		})
	}
	select {
	case title := <-arrived:
		if title != "Daily reward" {
			t.Errorf("arrived %q", title)
		}
	case <-testContext(t).Done():
		t.Fatal("the player was not told")
	}
	for _, c := range []*client.Client{c, s.login(8)} {
		var list []struct {
			Gold int64 `msgpack:"gold"`
		}
		if err := c.Call(testContext(t), "mail.list", &list); err != nil || len(list) != 1 || list[0].Gold != 50 {
			t.Errorf("mails %v: %v", list, err)
		}
	}
	if len(arrived) != 0 {
		t.Error("the player was told twice")
	}
}

func TestDrainHandsTasksBackAndTheNextDaemonRunsThem(t *testing.T) {
	var runs atomic.Int64
	never, dir := make(chan struct{}), t.TempDir()
	def := noted(&runs, never)
	cfg := testConfig(dir)
	cfg.Shutdown.Deadline = 500 * time.Millisecond
	s := startWith(t, cfg, Options{Tasks: []*tasks.Definition{def}})
	eventually(t, "serving", func() bool { ok, _ := s.Ready(); return ok })
	receipt, err := tasks.Apply(s.tasks, tasks.Make[struct{}](def, uint64(7)))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it runs", func() bool { return runs.Load() == 1 })
	if report := s.drain(); !report.Clean {
		t.Errorf("the drain was cut: %+v", report)
	}
	var handedBack bool
	for _, e := range s.logs.All() {
		handedBack = handedBack || e.Message == "task handed back" && strings.Contains(e.ContextMap()["task"].(string), string(receipt.ID))
	}
	if !handedBack {
		t.Errorf("no task was handed back: %v", s.logs.All())
	}
	ended := make(chan struct{})
	close(ended)
	startWith(t, testConfig(dir), Options{Tasks: []*tasks.Definition{noted(&runs, ended)}})
	eventually(t, "the next daemon runs it", func() bool { return runs.Load() == 2 })
}

func TestWrongSchedulesAreNamed(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Game.DailyReward.At = "21:00"
	cfg.Tasks.Schedules = []string{"reward.nightly=@daily", "reward.daily=@daily", "reward.daily=0_25_*_*_*"}
	err := Check(cfg, nil)
	var problems config.Problems
	if !errors.As(err, &problems) || len(problems) != 3 {
		t.Fatalf("problems: %v", err)
	}
	for i, want := range []string{`no task "reward.nightly"`, "a schedule can give it nothing, or its tick", "minute hour day month weekday"} {
		if got := problems[i].String(); !strings.Contains(got, want) {
			t.Errorf("problem %d: %s, want %s", i, got, want)
		}
	}
}

// A schedule whose task would wait where nothing takes it is refused before its ticks
// come to nothing.
func TestScheduleWhoseQueueNobodyServesIsRefused(t *testing.T) {
	shared := func(c *config.Config) {
		c.Store.SQL.Driver, c.Store.SQL.DSN, c.Store.Redis.URL = "mysql", "u@tcp(127.0.0.1:1)/g", "redis://127.0.0.1:1"
	}
	for _, c := range []struct {
		what   string
		change func(*config.Config)
		want   string // "": it is allowed
	}{
		{"as it comes", func(*config.Config) {}, ""},
		{"no queue low", func(c *config.Config) { c.Worker.Queues = []string{"default:1"} },
			`worker.queues: "default:1": allowed: one with low too, such as default:1,low:1, while game.daily_reward.at is set: its task reward.daily waits there`},
		{"no queue low, workers elsewhere", func(c *config.Config) { shared(c); c.Worker.Queues, c.Worker.Embedded = []string{"default:1"}, false },
			`worker.queues: "default:1": allowed: one with low too, such as default:1,low:0, while game.daily_reward.at is set: its task reward.daily waits there`},
		{"no reward, so nothing for low", func(c *config.Config) { c.Worker.Queues, c.Game.DailyReward.At = []string{"default:1"}, "" }, ""},
		{"low is for others, and there can be none", func(c *config.Config) { c.Worker.Queues = []string{"default:1", "low:0"} },
			`worker.queues: "default:1,low:0": allowed: one where low has a weight above 0 while game.daily_reward.at is set: its task reward.daily waits there, and no other process has this one's database or Redis`},
		{"low is for workers", func(c *config.Config) { shared(c); c.Worker.Queues = []string{"default:1", "low:0"} }, ""},
		{"nothing is run, and there can be no worker", func(c *config.Config) { c.Worker.Embedded = false },
			`worker.embedded: "false": allowed: true while game.daily_reward.at is set: its task reward.daily waits in the queue low, and no other process has this one's database or Redis`},
		{"workers run all", func(c *config.Config) { shared(c); c.Worker.Embedded = false }, ""},
	} {
		cfg := testConfig(t.TempDir())
		cfg.Game.DailyReward.At = "21:00"
		c.change(cfg)
		list, problems := newSchedules(cfg)
		if c.want == "" {
			if len(problems) != 0 {
				t.Errorf("%s: %v", c.what, problems)
			}
			continue
		}
		if len(problems) != 1 || problems[0].String() != c.want || len(list) != 0 {
			t.Errorf("%s: %v\nwant %s", c.what, problems, c.want)
		}
	}
}

// Whoever follows the hint about tasks.schedules is not refused again.
func TestHintAboutSchedulesIsAllowed(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Tasks.Schedules = []string{"nonsense"}
	var problems config.Problems
	if err := cfg.Validate(); !errors.As(err, &problems) {
		t.Fatalf("problems: %v", err)
	}
	_, example, ok := strings.Cut(problems[0].Allowed, "such as ")
	cfg.Tasks.Schedules = []string{example}
	if err := cfg.Validate(); !ok || err != nil {
		t.Errorf("the hint is %q: %v", problems[0].Allowed, err)
	}
	if list, problems := newSchedules(cfg); len(problems) != 0 || len(list) != 2 {
		t.Errorf("%q: %v", example, problems)
	}
}

// rewardDue makes the daily reward due a minute ago by the clock of a zone, and returns the
// day it is for.
func rewardDue(cfg *config.Config, zone *time.Location) (day string) {
	due := time.Now().In(zone).Add(-time.Minute)
	cfg.Game.DailyReward.At, cfg.Game.DailyReward.Zone = due.Format("15:04"), zone.String()
	return due.Format(time.DateOnly)
}

// mails are how many mails of a source each player has, who has any.
func (s *testServer) mails(source string) map[int64]int64 {
	s.t.Helper()
	rows, err := s.stores.sql.FetchAllContext(testContext(s.t), "SELECT uid, COUNT(*) FROM mail WHERE source = ? AND gold = 50 GROUP BY uid", source)
	if err != nil {
		s.t.Fatal(err)
	}
	found := make(map[int64]int64)
	for _, row := range rows {
		var uid, n int64
		if err := row.Scan(&uid, &n); err != nil {
			s.t.Fatal(err)
		}
		found[uid] = n
	}
	return found
}

// From game.daily_reward.at to the mail that a player reads.
func TestDailyRewardComesAtTheTimeThatIsConfigured(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Kolkata")
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t.TempDir())
	cfg.Game.DailyReward.At = ""
	s := start(t, cfg, nil)
	for _, uid := range []uint64{7, 8} {
		s.login(uid).Close()
	}
	// The schedule is not new: it has begun the day before yesterday.
	if _, err := s.stores.sql.ExecContext(testContext(t), "INSERT INTO tasks_ticks (schedule, tick_ms, id) VALUES ('reward.daily', ?, 0)", time.Now().Add(-48*time.Hour).UnixMilli()); err != nil {
		t.Fatal(err)
	}
	s.drain()
	day := rewardDue(cfg, zone)
	s = start(t, cfg, nil)
	eventually(t, "both have the mail", func() bool { return len(s.mails("daily reward "+day)) == 2 })
	var list []struct {
		Title string `msgpack:"title"`
		Gold  int64  `msgpack:"gold"`
	}
	if err := s.login(7).Call(testContext(t), "mail.list", &list); err != nil || len(list) != 1 || list[0].Title != "Daily reward" || list[0].Gold != 50 {
		t.Errorf("mails %v: %v", list, err)
	}
}

// reward.latest by hand gives what the schedule would have given, and nobody twice.
func TestLatestRewardIsThatOfTheScheduleAndGivenOnce(t *testing.T) {
	cfg := testConfig(t.TempDir())
	day := rewardDue(cfg, time.UTC)
	s := start(t, cfg, nil) // a new schedule begins with its next tick: the reward was missed
	s.login(7).Close()
	s.login(8).Close()
	away := time.Now().Add(-8 * 24 * time.Hour).UnixMilli()
	if _, err := s.stores.sql.ExecContext(testContext(t), "UPDATE players SET seen_ms = ? WHERE uid = 8", away); err != nil {
		t.Fatal(err)
	}
	done := func(id tasks.ID) (info tasks.Info) {
		t.Helper()
		eventually(t, "task "+string(id)+" has ended", func() bool {
			var err error
			info, err = s.tasks.Show(testContext(t), id)
			return wire.CodeOf(err) == wire.NotFound || err == nil && info.EndedMS != 0
		})
		return info
	}
	for range 2 {
		id, err := s.tasks.RunNow(testContext(t), "reward.latest", []byte{0x90})
		if err != nil {
			t.Fatal(err)
		}
		var given string
		if info := done(id); info.State != "done" || wire.Unmarshal(info.Result, &given) != nil {
			t.Fatalf("%+v", info)
		}
		done(tasks.ID(given))
		if got := s.mails("daily reward " + day); len(got) != 1 || got[7] != 1 {
			t.Errorf("mails by player: %v", got)
		}
	}
	cfg.Game.DailyReward.At = ""
	s.drain()
	s = start(t, cfg, nil, "task given up: it is kept in the archive")
	id, err := s.tasks.RunNow(testContext(t), "reward.latest", []byte{0x90})
	if err != nil {
		t.Fatal(err)
	}
	if info := done(id); info.State != "archived" || !strings.Contains(info.Problem, "game.daily_reward.at is empty") {
		t.Errorf("%+v", info)
	}
}
