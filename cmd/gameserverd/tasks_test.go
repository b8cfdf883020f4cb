package main

import (
	"encoding/json"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"gameserverd/internal/ctl"
)

// tasks runs `gameserverd tasks` in the process's folder, with its environment.
func (p *process) tasks(args ...string) (out, err string, code int) {
	p.t.Helper()
	all := []string{"tasks"}
	if p.name != "" {
		all = append(all, "--worker", p.name)
	}
	return runIn(p.t, p.cmd.Dir, p.cmd.Env, append(all, args...)...)
}

// tasksJSON is tasks with --json, which must succeed.
func (p *process) tasksJSON(into any, args ...string) {
	p.t.Helper()
	out, errText, code := p.tasks(append([]string{"--json"}, args...)...)
	if err := json.Unmarshal([]byte(out), into); err != nil || code != 0 || errText != "" {
		p.t.Fatalf("tasks %q: %v, exit code %d\n%s%s", args, err, code, out, errText)
	}
}

// says runs tasks and compares what it prints: on standard output, or with another exit
// code on standard error.
func (p *process) says(code int, pattern string, args ...string) {
	p.t.Helper()
	out, errText, got := p.tasks(args...)
	said, silent := out, errText
	if code != 0 {
		said, silent = errText, out
	}
	if got != code || silent != "" || !regexp.MustCompile(pattern).MatchString(said) {
		p.t.Errorf("tasks %q: exit code %d, want %d and %s\n%s%s", args, got, code, pattern, out, errText)
	}
}

// apply has a reward given, and returns its task.
func (p *process) apply(day string) string {
	p.t.Helper()
	var done ctl.TaskDone
	p.tasksJSON(&done, "run", "reward.daily", day, "0")
	return done.ID
}

// becomes waits until a task is in a state.
func (p *process) becomes(id, state string) (task ctl.Task) {
	p.t.Helper()
	for late := time.Now().Add(deadline); ; {
		if p.tasksJSON(&task, "show", id); task.State == state {
			return task
		}
		if time.Now().After(late) {
			p.t.Fatalf("task %s is %+v, not %s\n%s", id, task, state, p.err)
		}
	}
}

// What waits is there to be acted upon: where nobody works, in all its states.
func TestTasksThatWait(t *testing.T) {
	t.Parallel()
	d := serveOn(t, "GAMESERVERD_WORKER_EMBEDDED=false", "GAMESERVERD_GAME_DAILY_REWARD_AT=")
	d.says(0, `^0 waiting, 0 running, 0 done, 0 archived, 0 revoked\n(queue \w+: 0 wait, 0 active, 0 later\n)*$`, "list")
	d.says(0, `^task \d+: it was applied\n$`, "run", "reward.daily", `"2026-11-23"`, "0")
	id := d.apply("2026-11-24")
	var list ctl.TaskList
	d.tasksJSON(&list, "list")
	if len(list.Tasks) != 2 || list.Counts["waiting"] != 2 || list.Tasks[1].ID != id || list.Tasks[1].Args != nil || list.Tasks[1].Retries != 50 {
		t.Errorf("%+v", list)
	}
	if d.tasksJSON(&list, "list", "--limit", "1"); len(list.Tasks) != 1 || list.Counts["waiting"] != 2 {
		t.Errorf("%+v", list)
	}
	d.says(0, `(?m)^2 waiting, 0 running.*\n(queue \w+: \d wait.*\n)*ID +NAME +QUEUE +STATE +RUN +ATTEMPTS +FAILURES +PROBLEM\n(\d+ +reward.daily +low +waiting +20\S+Z +0 +0/50 +\n){2}$`, "list")
	d.says(0, `(?s)^id +`+id+`\nname +reward.daily\nargs +\["2026-11-24",0\]\nqueue +low\nstate +waiting\ncreated +20\S+\nrun +20\S+\nattempts +0\nfailures +0 of 51\n$`, "show", id)

	again := `\nhint: ` + regexp.QuoteMeta(binary) + ` tasks show ` + id + ` says how it is\n$`
	d.says(0, `^task `+id+`: it is in the archive\n$`, "archive", id)
	d.says(1, `^error: task `+id+` is archived, not waiting`+again, "archive", id)
	d.says(0, `(?s)^1 waiting, 0 running, 0 done, 1 archived.*`+id+` .*archived by hand\n$`, "list", "--state", "archived")
	d.says(0, `(?s)\nstate +archived\n.*\nended +20.*\nproblem\narchived by hand\n$`, "show", id)
	d.says(0, `^task `+id+`: it waits again\n$`, "retry", id)
	d.says(1, `^error: task `+id+` is waiting, not archived or revoked`+again, "retry", id)
	d.says(0, `^task `+id+`: it was revoked before it ran\n$`, "revoke", id)
	d.says(1, `^error: task `+id+` was revoked already`+again, "revoke", id)
	d.says(1, `^\{"code":"failed_precondition","message":"task `+id+` was revoked already","hint":"\S+ tasks show `+id+` says how it is"\}\n$`, "revoke", id, "--json")
	d.says(0, `^\{"id":"`+id+`","done":"it waits again"\}\n$`, "retry", id, "--json")

	d.want(`(?m)^tasks +none are run here$`, "status")
	d.want(`(?m)^queue low +\d wait, 0 active, 0 later`, "status")
	d.want(`(?m)^tasks_applied +2$`, "status")
	d.want(`"tasks":\{"running":0,"most":0,"queues":\[.*\{"name":"low","waits":\d,"active":0,"later":0,"oldest_ms":\d+\}`, "status", "--json")
}

func TestTasksErrors(t *testing.T) {
	t.Parallel()
	d := serveOn(t, "GAMESERVERD_GAME_DAILY_REWARD_AT=")
	program := regexp.QuoteMeta(binary)
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"show", "99"}, `^error: there is no task 99, or it has ended and was forgotten\nhint: ` + program + ` tasks list shows those that wait, with --state the others\n$`, 1},
		{[]string{"show", "e9'; DROP TABLE tasks", "--json"}, `^\{"code":"not_found","message":"there is no task e9'; DROP TABLE tasks,.*"hint":"\S+ tasks list`, 1},
		{[]string{"revoke", "99"}, `^error: there is no task 99`, 1},
		{[]string{"retry", "-5"}, `^error: there is no task -5`, 1},
		{[]string{"archive", "99"}, `^error: there is no task 99`, 1},
		{[]string{"run", "reward.dayly", "x", "0"}, `^error: there is no task "reward.dayly"; there are reward.latest, reward.daily\n$`, 1},
		{[]string{"run", "reward.daily"}, `^error: task reward.daily takes 2 arguments \(day, sinceMS\), got 0\n$`, 1},
		{[]string{"run", "reward.daily", "5", "0"}, `^error: task reward.daily: argument day does not fit reward.Day: `, 1},
		{[]string{"run", "reward.daily", "2026-11-31", "1"}, `^error: task reward.daily: argument day does not fit reward.Day: .*"2026-11-31" is no day: allowed is a date of the form 2026-11-23\n$`, 1},
		{[]string{"run", "reward.daily", "2026-11-23", "1.5", "--json"}, `^\{"code":"invalid_argument","message":"task reward.daily: argument sinceMS does not fit int64: `, 1},
		{[]string{"run", "reward.daily", "["}, `^error: argument 1: \[ is not JSON: `, 2},
		{[]string{"run"}, `^error: run takes a task's name, and its arguments\n`, 2},
		{[]string{"show"}, `^error: it takes one task's id; ` + program + ` tasks list shows them\n`, 2},
		{[]string{"show", "1", "2"}, `^error: it takes one task's id`, 2},
		{[]string{"list", "--state", "Waiting"}, `^error: --state takes one of waiting, running, done, archived, revoked\n`, 2},
		{[]string{"list", "--limit", "1001"}, `^error: --limit takes a number from 1 to 1000\n`, 2},
		{[]string{"list", "--socket", "x", "--worker", "1"}, `^error: if any flags in the group \[socket worker\]`, 2},
		{[]string{"list", "--worker", "../1"}, `^error: a worker's name is 1 to 64 letters`, 2},
		{[]string{"nonsense"}, `^error: tasks has no "nonsense"; it has list, show, run, revoke, retry and archive\n`, 2},
	} {
		d.says(c.code, c.want, c.args...)
	}
	// One that has ended can be acted upon no more.
	id := d.apply("2026-11-23")
	if task := d.becomes(id, "done"); task.Attempts != 1 || task.EndedMS == 0 {
		t.Errorf("%+v", task)
	}
	d.says(1, `^error: task `+id+` has ended: it is done\nhint: `, "revoke", id)
	d.says(1, `^error: task `+id+` is done, not archived or revoked\nhint: `, "retry", id)
	d.says(0, `(?s)^0 waiting, 0 running, 1 done.*`+id+` +reward.daily +low +done `, "list", "--state", "done")
	d.want(`(?m)^tasks +0 running here, 16 at most$`, "status")
	d.want(`(?m)^tasks_done +1$`, "status")
	if code := d.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.err)
	}
	d.says(1, `^error: no daemon has its socket at data/ctl.sock\nhint: is it running\? --config FILE finds it`, "list")
}

// While the daemon waits for its database an operator is told so, at once.
func TestTasksWhileStarting(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a database that never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := launch(t, t.TempDir(), append([]string{
		"GAMESERVERD_STORE_SQL_DRIVER=mysql", "GAMESERVERD_STORE_SQL_DSN=root@tcp(" + l.Addr().String() + ")/game", "GAMESERVERD_STORE_TIMEOUT=300ms",
	}, anywhere...), "serve")
	p.until(p.err, "waiting for a store")
	for _, args := range [][]string{{"list"}, {"show", "7"}, {"run", "reward.daily", "x", "0"}, {"revoke", "7"}, {"retry", "7"}, {"archive", "7"}} {
		p.says(1, `^error: the daemon is still starting; try again when it serves\n$`, args...)
	}
	d := &daemon{process: p}
	d.want(`(?m)^state +starting, not ready: starting$`, "status")
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.err)
	}
	if strings.Contains(p.err.String(), "panic") {
		t.Error(p.err)
	}
}

// The daily reward, which is on unless it is switched off, needs its queue.
func TestScheduleWithoutItsQueueIsRefusedByCheckAndServe(t *testing.T) {
	t.Parallel()
	want := `worker.queues: "default:1" (GAMESERVERD_WORKER_QUEUES): allowed: one with low too, such as default:1,low:1, while game.daily_reward.at is set: its task reward.daily waits there`
	for _, command := range []string{"check", "serve"} {
		out, errText, code := runIn(t, t.TempDir(), append([]string{"GAMESERVERD_WORKER_QUEUES=default:1"}, anywhere...), command)
		if code != 2 || !strings.Contains(out+errText, want) {
			t.Errorf("%s: exit code %d, want 2 and %s\n%s%s", command, code, want, out, errText)
		}
	}
}
