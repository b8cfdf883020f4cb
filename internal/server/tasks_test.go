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
