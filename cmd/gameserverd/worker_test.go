package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"gameserverd/client"
	"gameserverd/internal/ctl"
	"gameserverd/internal/storetest"
)

// shared is where daemons and workers have one MariaDB, one Redis, and one folder.
type shared struct {
	t   *testing.T
	dir string
	env []string
	db  *sql.DB
}

func newShared(t *testing.T, redis *storetest.Server, env ...string) *shared {
	t.Helper()
	mariadb := storetest.MariaDB(t)
	db, err := sql.Open("mysql", mariadb.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &shared{t, t.TempDir(), append([]string{
		"HOME=" + t.TempDir(), "GAMESERVERD_STORE_SQL_DRIVER=mysql", "GAMESERVERD_STORE_SQL_DSN=" + mariadb.DSN, "GAMESERVERD_STORE_REDIS_URL=" + redis.URL,
		"GAMESERVERD_GAME_DAILY_REWARD_AT=", "GAMESERVERD_WORKER_EMBEDDED=false", "GAMESERVERD_STORE_TIMEOUT=30s", "GAMESERVERD_LOG_FORMAT=json",
	}, env...), db}
}

// work starts a worker and waits until it works.
func (s *shared) work(env ...string) *process {
	s.t.Helper()
	p := launch(s.t, s.dir, append(append([]string{}, s.env...), env...), "worker")
	return s.works(p)
}

// works waits until a worker works, and learns its name.
func (s *shared) works(p *process) *process {
	s.t.Helper()
	p.name = p.until(p.err, `"msg":"working","worker":"([^"]*)"`)[1]
	return p
}

// hold makes every reward that is given wait, until release.
func (s *shared) hold() (release func()) {
	s.t.Helper()
	ctx, cancel := background()
	defer cancel()
	conn, err := s.db.Conn(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := conn.ExecContext(ctx, "LOCK TABLES mail WRITE"); err != nil {
		s.t.Fatal(err)
	}
	released := false
	release = func() {
		if !released {
			released = true
			_, _ = conn.ExecContext(context.Background(), "UNLOCK TABLES") // closing it does too
			conn.Close()
		}
	}
	s.t.Cleanup(release)
	return release
}

// ctl runs `gameserverd ctl` in the folder that all have.
func (s *shared) ctl(args ...string) (out, err string, code int) {
	s.t.Helper()
	return runIn(s.t, s.dir, s.env, append([]string{"ctl"}, args...)...)
}

// A daemon and two workers have one configuration and one folder, and an operator
// reaches each of them.
func TestWorkersBesideADaemon(t *testing.T) {
	t.Parallel()
	s := newShared(t, storetest.Redis(t))
	d := launch(t, s.dir, append(append([]string{}, s.env...), anywhere...), "serve")
	d.until(d.err, `"msg":"serving"`)
	first := s.work("GAMESERVERD_WORKER_ADMIN=127.0.0.1:0")
	second := s.work()
	named := s.works(launch(t, s.dir, s.env, "worker", "--name", "mails"))

	try := first.until(first.out, `(?m)^try: (.*)$`)[1]
	if want := binary + " ctl --worker 1 status"; try != want {
		t.Errorf("it says to try %s, want %s", try, want)
	}
	for name, p := range map[string]*process{"1": first, "2": second, "mails": named} {
		if p.name != name {
			t.Errorf("worker %s is called %s", name, p.name)
		}
		out, errText, code := s.ctl("--worker", name, "status")
		want := fmt.Sprintf(`(?s)^daemon +gameserverd worker v0\.0\.0-test, process %d, .*\nstate +serving\nadmin .*\ntasks +0 running here, 16 at most\n`, p.cmd.Process.Pid)
		if code != 0 || !regexp.MustCompile(want).MatchString(out) || strings.Contains(out, "connections") {
			t.Errorf("worker %s: exit code %d\n%s%s", name, code, out, errText)
		}
	}
	if out, _, code := s.ctl("status", "--json"); code != 0 || !strings.Contains(out, `"role":"serve"`) {
		t.Errorf("the daemon: exit code %d\n%s", code, out)
	}

	// The admin server is the worker's own.
	admin := first.until(first.out, `(?m)^console, metrics and health: http://(\S+)/$`)[1]
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		resp, err := (&http.Client{Timeout: deadline, Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + admin + path)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != 200 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	if strings.Contains(second.out.String(), "http://") {
		t.Errorf("worker.admin is off, but: %s", second.out)
	}

	// A name is one worker's; a worker that was killed leaves it to the next.
	out, errText, code := runIn(t, s.dir, s.env, "worker", "--name", "mails")
	if code != 1 || !regexp.MustCompile(`^error: store: data/workers/mails is in use by process \d+\n$`).MatchString(errText) {
		t.Errorf("a second one: exit code %d\n%s%s", code, out, errText)
	}
	if out, errText, code := runIn(t, s.dir, append([]string{"GAMESERVERD_WORKER_ADMIN=" + admin}, s.env...), "worker"); code != 1 ||
		!strings.Contains(errText, `choose another address: GAMESERVERD_WORKER_ADMIN=127.0.0.1:5782 (or "" for none)`) {
		t.Errorf("the same address: exit code %d\n%s%s", code, out, errText)
	}
	second.signal(syscall.SIGKILL)
	second.exit()
	if a, b := s.work().name, s.work().name; a != "2" || b != "3" {
		t.Errorf("the next workers are %s and %s", a, b)
	}
	if out, errText, code := s.ctl("--worker", "2", "status"); code != 0 {
		t.Errorf("the next worker 2: exit code %d\n%s%s", code, out, errText)
	}

	// Who asks where no daemon serves is told of the workers.
	d.signal(syscall.SIGTERM)
	if code := d.exit(); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.err)
	}
	if _, errText, code := s.ctl("status"); code != 1 || !strings.Contains(errText, "hint: there are workers, and --worker 1 is one of them: 1, 2, 3, mails\n") {
		t.Errorf("exit code %d\n%s", code, errText)
	}
}

// What runs may end within shutdown.deadline.
func TestWorkerEndsWhatRuns(t *testing.T) {
	t.Parallel()
	s := newShared(t, storetest.Redis(t), "GAMESERVERD_SHUTDOWN_DEADLINE=60s")
	w := s.work()
	release := s.hold()
	id := w.apply("2026-11-23")
	w.becomes(id, "running")
	if out, _, code := s.ctl("--worker", "1", "status"); code != 0 || !regexp.MustCompile(`(?m)^tasks +1 running here, 16 at most$`).MatchString(out) {
		t.Errorf("exit code %d\n%s", code, out)
	}
	w.signal(syscall.SIGTERM)
	w.until(w.err, `"msg":"draining"`)
	w.until(w.err, `"msg":"tasks wait","queue":"low","waiting":0,"active":1`)
	release()
	if code := w.exit(); code != 0 || strings.Contains(w.err.String(), "handed back") {
		t.Errorf("exit code %d\n%s", code, w.err)
	}
	w.until(w.err, `"msg":"drained","clean":true`)
	if task := s.work().becomes(id, "done"); task.Attempts != 1 {
		t.Errorf("%+v", task)
	}
}

// What does not is handed back, and another worker begins it at once.
func TestWorkerHandsBackWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	s := newShared(t, storetest.Redis(t), "GAMESERVERD_SHUTDOWN_DEADLINE=1s")
	w := s.work()
	other := s.work("GAMESERVERD_WORKER_QUEUES=default:1,low:0") // to look with
	release := s.hold()
	id := w.apply("2026-11-23")
	w.becomes(id, "running")
	began := time.Now()
	w.signal(syscall.SIGTERM)
	if code := w.exit(); code != 0 {
		t.Errorf("exit code %d\n%s", code, w.err)
	}
	if took := time.Since(began); took < 900*time.Millisecond || took > 5*time.Second {
		t.Errorf("it took %v, the deadline is 1s", took)
	}
	w.until(w.err, `"msg":"task handed back","task":"`+id+`","name":"reward.daily"`)
	w.until(w.err, `"msg":"drained","clean":true`)
	if task := other.becomes(id, "waiting"); task.Attempts != 0 || task.Failures != 0 {
		t.Errorf("%+v", task)
	}
	began = time.Now()
	s.work()
	other.becomes(id, "running")
	if took := time.Since(began); took > 10*time.Second { // a lease would be over after 20
		t.Errorf("it was begun again after %v", took)
	}
	release()
	if task := other.becomes(id, "done"); task.Attempts != 1 {
		t.Errorf("%+v", task)
	}
}

// A second signal, and kill -9, end it at once; another worker runs the tasks again.
func TestWorkersThatEndAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	s := newShared(t, storetest.Redis(t), "GAMESERVERD_SHUTDOWN_DEADLINE=5m", "GAMESERVERD_WORKER_CONCURRENCY=1")
	looks := s.work("GAMESERVERD_WORKER_QUEUES=default:1,low:0") // runs no rewards
	release := s.hold()
	var ids []string
	var workers []*process
	for i := range 2 {
		w := s.work()
		id := looks.apply(fmt.Sprint("2026-11-2", i))
		looks.becomes(id, "running")
		ids, workers = append(ids, id), append(workers, w)
	}
	workers[0].signal(syscall.SIGTERM)
	workers[0].until(workers[0].err, `"msg":"draining"`)
	began := time.Now()
	workers[0].signal(syscall.SIGINT)
	if code := workers[0].exit(); code != 130 || time.Since(began) > deadline/2 {
		t.Errorf("exit code %d after %v\n%s", code, time.Since(began), workers[0].err)
	}
	workers[1].signal(syscall.SIGKILL)
	workers[1].exit()
	release()
	next := s.work("GAMESERVERD_WORKER_CONCURRENCY=4")
	for _, id := range ids {
		if task := looks.becomes(id, "done"); task.Attempts != 2 || task.Failures != 0 {
			t.Errorf("%+v", task)
		}
	}
	t.Logf("run again %v after the end", time.Since(began))
	next.signal(syscall.SIGTERM)
	if code := next.exit(); code != 0 {
		t.Errorf("exit code %d\n%s", code, next.err)
	}
}

// A worker reads neither the keys of logins nor certificates, and reloads what is live.
func TestWorkerReloads(t *testing.T) {
	t.Parallel()
	s := newShared(t, storetest.Redis(t))
	file := filepath.Join(s.dir, "w.yaml")
	const secrets = "auth: {mode: jwt, jwt: {secret_file: /absent/secret}}\nlisten: {tls: {cert_file: /absent/crt, key_file: /absent/key}}\n"
	writeFile(t, file, secrets)
	w := launch(t, s.dir, s.env, "worker", "--config", file)
	s.works(w)
	writeFile(t, file, secrets+"log: {level: debug}\ngame: {daily_reward: {gold: 7}}\nworker: {concurrency: 3}\n")
	w.signal(syscall.SIGHUP)
	w.until(w.err, `"msg":"setting changed","key":"log.level","old":"info","new":"debug"`)
	w.until(w.err, `"msg":"setting changed","key":"game.daily_reward.gold","old":"50","new":"7"`)
	w.until(w.err, `"msg":"settings that differ from the file until the daemon is restarted","keys":\["worker.concurrency"\]`)
	writeFile(t, file, secrets)
	if out, errText, code := runIn(t, s.dir, s.env, "ctl", "--worker", "1", "--config", file, "reload"); code != 0 ||
		out != "log.level: debug -> info\ngame.daily_reward.gold: 7 -> 50\nreloaded, 2 settings changed\n" {
		t.Errorf("exit code %d\n%s%s", code, out, errText)
	}
	writeFile(t, file, secrets+"log: {level: loud}\n")
	w.signal(syscall.SIGHUP)
	w.until(w.err, `"msg":"reload refused: everything stays as it was"`)
	w.signal(syscall.SIGTERM)
	if code := w.exit(); code != 0 {
		t.Errorf("exit code %d\n%s", code, w.err)
	}
}

func TestWorkerUnderSystemd(t *testing.T) {
	t.Parallel()
	s := newShared(t, storetest.Redis(t), "GAMESERVERD_SHUTDOWN_DEADLINE=60s")
	m := newManager(t)
	p := launch(t, s.dir, append(append([]string{}, s.env...), m.env[0], m.env[1]), "worker")
	p.name = "1"
	if got := m.wait(p, "READY=1\n"); got != "READY=1\nSTATUS=working: tasks running 0, done 0" {
		t.Errorf("it said %q", got)
	}
	m.wait(p, "WATCHDOG=1")
	p.signal(syscall.SIGHUP)
	m.wait(p, "RELOADING=1\nMONOTONIC_USEC=")
	m.wait(p, "READY=1\nSTATUS=working: ")
	release := s.hold()
	p.becomes(p.apply("2026-11-23"), "running")
	p.signal(syscall.SIGTERM)
	if got := m.wait(p, "STOPPING=1\n"); !strings.HasPrefix(got, "STOPPING=1\nSTATUS=draining: tasks running 1, cut in ") {
		t.Errorf("it said %q", got)
	}
	m.wait(p, "EXTEND_TIMEOUT_USEC=75000000")
	release()
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.err)
	}
}

func TestWorkerRefuses(t *testing.T) {
	t.Parallel()
	out, errText, code := runHere(t, "worker")
	want := `error: the configuration has 2 problem(s):
store.sql.driver: a worker needs a database that it shares: mysql
store.redis.url: a worker needs a Redis that it shares: a URL of a server
`
	if out != "" || code != 2 || errText != want {
		t.Errorf("exit code %d\n%s%s", code, out, errText)
	}
	for _, name := range []string{"../up", "", strings.Repeat("x", 65), "a b"} {
		if name == "" {
			continue // that is without a name
		}
		if _, errText, code := runHere(t, "worker", "--name", name); code != 2 || !strings.HasPrefix(errText, "error: a worker's name is 1 to 64 letters") {
			t.Errorf("%q: exit code %d\n%s", name, code, errText)
		}
	}
	if _, err := os.Stat(ctl.WorkerDir("data", "1")); err == nil {
		t.Error("a worker was started in the folder of the tests")
	}
}

// A worker's mails reach players on whichever daemon they are online, at once and once.
func TestMailsOfAWorkerArriveOnAllDaemons(t *testing.T) {
	t.Parallel()
	s := newShared(t, storetest.RedisAlone(t))
	serve := func() *daemon {
		dir := t.TempDir()
		p := launch(t, dir, append(append([]string{}, s.env...), anywhere...), "serve")
		d := &daemon{process: p, addr: p.until(p.out, `(?m)^gameserverd \S+ listens on (\S+)$`)[1]}
		p.until(p.err, `"msg":"serving"`)
		return d
	}
	daemons := []*daemon{serve(), serve()}
	told := make(chan string, 10)
	for i, d := range daemons {
		c := dial(t, d)
		client.On(c, "mail.arrived", func(_ context.Context, m struct {
			ID    int64
			Title string
		}) {
			told <- fmt.Sprint(i, " ", m.Title)
		})
		ctx, cancel := background()
		_, err := c.Login(ctx, fmt.Sprintf("dev:%d", 7+i))
		if cancel(); err != nil {
			t.Fatal(err)
		}
	}
	w := s.work()
	w.becomes(w.apply("2026-11-23"), "done")
	got := map[string]int{}
	late := time.NewTimer(deadline)
	defer late.Stop()
	for range daemons {
		select {
		case what := <-told:
			got[what]++
		case <-late.C:
			t.Fatalf("not all were told: %v", got)
		}
	}
	if got["0 Daily reward"] != 1 || got["1 Daily reward"] != 1 || len(told) != 0 {
		t.Errorf("told: %v", got)
	}
}

// A Redis that stands still holds no end up, and breaks nothing: what runs is handed back
// in SQL.
func TestWorkerEndsWhileRedisStandsStill(t *testing.T) {
	t.Parallel()
	redis := storetest.RedisAlone(t)
	s := newShared(t, redis, "GAMESERVERD_SHUTDOWN_DEADLINE=1s", "GAMESERVERD_STORE_TIMEOUT=3s")
	w := s.work()
	release := s.hold()
	id := w.apply("2026-11-23")
	w.becomes(id, "running")
	redis.Stall()
	w.signal(syscall.SIGTERM)
	code := w.exit()
	if code != 0 && code != 3 || strings.Contains(w.err.String(), "panic") || strings.Contains(w.err.String(), "goroutine ") {
		t.Errorf("exit code %d\n%s", code, w.err)
	}
	redis.Resume()
	release()
	if task := s.work().becomes(id, "done"); task.Failures != 0 {
		t.Errorf("%+v", task)
	}
}
