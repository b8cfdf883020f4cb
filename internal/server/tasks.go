package server

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/config"
	"gameserverd/internal/game"
	"gameserverd/internal/handlers/mail"
	"gameserverd/internal/tasks"
	"gameserverd/internal/tasks/catalog"
	"gameserverd/internal/tasks/reward"
)

// makeTasks makes what applies and runs background tasks; before the players, who are
// one of its parts.
func (s *Server) makeTasks() (err error) {
	s.taskParts = &tasks.Parts{
		SQL: s.stores.sql, Log: s.log, Clock: time.Now,
		Game: func() tasks.Game {
			g := s.config().Game
			return tasks.Game{DailyGold: g.DailyReward.Gold, DailyAt: g.DailyReward.At, DailyZone: g.DailyReward.Zone, MailTTL: g.MailTTL}
		},
	}
	s.tasks, err = tasks.New(tasks.Options{
		SQL: s.stores.sql, Group: s.stores.group, Redis: s.stores.redis, Definitions: append(catalog.Definitions(), s.o.Tasks...),
		Queues: weights(s.cfg.Worker.Queues), Concurrency: s.concurrency(),
		Schedules: s.settings.Load().schedules, CatchUp: s.cfg.Tasks.CatchUp, Timeout: s.cfg.Store.Timeout,
		Parts: s.taskParts, Log: s.log, Clock: time.Now, Trace: s.traceRun(),
		Bus: tasks.BusHandler{
			Push: func(uid uint64, method string, params []any) { _ = s.peers.Notify(uid, method, params...) },
			Mail: func(uid uint64, m game.Mail) {
				s.stores.players.Received(uid, m)
				mail.Arrived(s.peers)(uid, m)
			},
		},
	})
	if err == nil {
		s.taskParts.Push = s.tasks.Push
	}
	return err
}

// arrived tells of a mail that was stored here: the player, who may be online on another
// process unless Redis is in this one.
func (s *Server) arrived() func(uint64, game.Mail) {
	here := mail.Arrived(s.peers)
	if s.stores.embedded != nil {
		return here
	}
	return func(uid uint64, m game.Mail) {
		here(uid, m)
		s.tasks.TellMail(uid, m)
	}
}

// weights reads worker.queues.
func weights(list []string) map[string]int {
	out := make(map[string]int)
	for _, item := range list {
		name, weight, _ := strings.Cut(item, ":")
		out[name], _ = strconv.Atoi(weight) // the configuration has checked it
	}
	return out
}

// newSchedules reads game.daily_reward and tasks.schedules.
func newSchedules(cfg *config.Config) (list []tasks.Schedule, problems config.Problems) {
	if d := cfg.Game.DailyReward; d.At != "" {
		when, zone, err := reward.ParseDaily(d.At, d.Zone)
		if err != nil {
			problems = append(problems, cfg.Wrong("game.daily_reward.zone", "there is no such zone"))
		} else {
			list, problems = addSchedule(cfg, list, problems, reward.DailySchedule(when, zone), "game.daily_reward.at is set")
		}
	}
	definitions := catalog.Definitions()
	seen := make(map[string]bool)
	for _, item := range cfg.Tasks.Schedules {
		name, rest, _ := strings.Cut(item, "=")
		text, zone, _ := strings.Cut(rest, ";")
		if zone == "" {
			zone = "UTC"
		}
		when, err := tasks.ParseWhen(strings.ReplaceAll(strings.TrimSpace(text), "_", " "), strings.TrimSpace(zone))
		var schedule tasks.Schedule
		if err == nil {
			schedule, err = tasks.Scheduled(definitions, strings.TrimSpace(name), when)
		}
		schedule.Name = "config:" + item // so that a task may have two
		switch {
		case err != nil:
			problems = append(problems, cfg.Wrong("tasks.schedules", err.Error()))
		case seen[schedule.Name]:
			problems = append(problems, cfg.Wrong("tasks.schedules", "it is there twice: "+item))
		default:
			seen[schedule.Name] = true
			list, problems = addSchedule(cfg, list, problems, schedule, "tasks.schedules has "+item)
		}
	}
	return list, problems
}

// addSchedule adds s to the list, or what forbids it to the problems: each tick would
// come to nothing, or wait for ever. Which queues workers elsewhere serve is not known
// here, so they are trusted where there can be any. reason is the setting that asks for s.
func addSchedule(cfg *config.Config, list []tasks.Schedule, problems config.Problems, s tasks.Schedule, reason string) ([]tasks.Schedule, config.Problems) {
	task, queue := s.Task()
	weight, known := weights(cfg.Worker.Queues)[queue]
	alone := cfg.Store.SQL.Driver != "mysql" || cfg.Store.Redis.URL == "embedded"
	reason = " while " + reason + ": its task " + task + " waits "
	const noOther = ", and no other process has this one's database or Redis"
	switch {
	case !known:
		example := queue + ":1"
		if !alone && !cfg.Worker.Embedded {
			example = queue + ":0"
		}
		example = strings.Join(append(slices.Clone(cfg.Worker.Queues), example), ",")
		problems = append(problems, cfg.Refused("worker.queues", "one with "+queue+" too, such as "+example+","+reason+"there"))
	case alone && weight == 0:
		problems = append(problems, cfg.Refused("worker.queues", "one where "+queue+" has a weight above 0"+reason+"there"+noOther))
	case alone && !cfg.Worker.Embedded:
		problems = append(problems, cfg.Refused("worker.embedded", "true"+reason+"in the queue "+queue+noOther))
	default:
		list = append(list, s)
	}
	return list, problems
}

// depthTime is how long Redis may take to tell what waits.
const depthTime = 100 * time.Millisecond

// drainTasks is step 6 of the drain. What runs may do so until a time that leaves some of
// the deadline to what comes after it.
func (s *Server) drainTasks(ctx context.Context, until time.Time) {
	ctx, end := context.WithDeadline(ctx, until)
	defer end()
	soon, cancel := context.WithTimeout(ctx, depthTime)
	s.tasks.LogDepths(soon, s.log)
	cancel()
	for _, task := range s.tasks.Drain(ctx) {
		id, name, _ := strings.Cut(task, " ")
		s.log.Info("task handed back", zap.String("task", id), zap.String("name", name))
	}
}
