package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gameserverd/client"
)

// reloading is a daemon whose configuration changes.
type reloading struct {
	*daemon
	dir, file string
}

// serveFile runs a daemon on a file of its own.
func serveFile(t *testing.T, yaml string, env ...string) *reloading {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "configs"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := &reloading{dir: dir, file: filepath.Join(dir, "configs", "gameserverd.yaml")}
	r.write(t, yaml)
	r.daemon = serveIn(t, dir, env...)
	return r
}

func (r *reloading) write(t *testing.T, yaml string) {
	t.Helper()
	if err := os.WriteFile(r.file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload gives the daemon another file and returns what it logs of the reload.
func (r *reloading) reload(t *testing.T, yaml string) string {
	t.Helper()
	r.write(t, yaml)
	return r.hangUp(t)
}

// hangUp sends SIGHUP and returns what is logged of the reload.
func (r *reloading) hangUp(t *testing.T) string {
	t.Helper()
	before := len(r.err.String())
	r.signal(syscall.SIGHUP)
	return r.after(t, before, `(?m)  (reloaded|reload refused|reload ignored).*$`)
}

// after waits until what is logged from that byte on matches, and returns it.
func (r *reloading) after(t *testing.T, before int, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(deadline)
	for {
		if text := r.err.String()[before:]; re.MatchString(text) {
			return text
		}
		select {
		case <-r.err.changed:
		case <-r.ended:
			t.Fatalf("it ended with %d:\n%s", r.exit(), r.err)
		case <-late:
			t.Fatalf("%s was not logged:\n%s", pattern, r.err)
		}
	}
}

// wantLines holds that each pattern has a line in the log, and that there is no
// other line about settings.
func wantLines(t *testing.T, log string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(`(?m)  ` + p).MatchString(log) {
			t.Errorf("no line %s in\n%s", p, log)
		}
	}
	if n := strings.Count(log, "setting changed"); n != strings.Count(strings.Join(patterns, " "), "setting changed") {
		t.Errorf("%d settings have changed:\n%s", n, log)
	}
}

// changed is the line of one changed key.
func changed(key, old, new string) string {
	return "INFO  setting changed +" + regexp.QuoteMeta(fmt.Sprintf(`{"key": %q, "old": %q, "new": %q}`, key, old, new))
}

// While clients call as fast as they can, reloads that change all sorts of keys
// cost no call and no connection.
func TestReloadUnderLoadLosesNoCall(t *testing.T) {
	const clients, reloads = 6, 12
	r := serveFile(t, "")
	ctx, cancel := background()
	defer cancel()
	var calls atomic.Int64
	var enough atomic.Bool
	var working sync.WaitGroup
	for i := range clients {
		c := dial(t, r.daemon)
		if _, err := c.Login(ctx, fmt.Sprintf("dev:%d", i+1)); err != nil {
			t.Fatal(err)
		}
		working.Go(func() {
			for n := 0; !enough.Load(); n++ {
				var sum int
				if err := c.Call(ctx, "sum", &sum, n, i); err != nil || sum != n+i {
					t.Errorf("call %d of client %d: %d, %v", n, i, sum, err)
					return
				}
				calls.Add(1)
			}
			if err := c.Err(); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	for i := range reloads {
		before := calls.Load()
		log := r.reload(t, fmt.Sprintf(`
limits: {max_frame_bytes: %dKiB, max_mailbox: %d, idle_timeout: %ds, max_connections: %d, max_write_buffer_bytes: %dKiB}
game: {shop: [axe:%d], start_gold: %d}
listen: {protocols: [%s]}
`, 64+i, 50+i, 60+i, 1000+i, 100+i, i+1, i, []string{"frames", "frames, stream"}[i%2]))
		if !strings.Contains(log, "  reloaded  ") || strings.Count(log, "setting changed") != 8 {
			t.Errorf("reload %d:\n%s", i, log)
		}
		for calls.Load() < before+clients { // calls go on between the reloads
			if ctx.Err() != nil || t.Failed() {
				t.Fatalf("only %d calls were answered", calls.Load())
			}
			waitFor(ctx, time.Millisecond)
		}
	}
	enough.Store(true)
	working.Wait()
	if code := r.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, r.err)
	}
}

// waitFor passes a short time between two looks at a condition.
func waitFor(ctx context.Context, d time.Duration) {
	short := time.NewTimer(d)
	defer short.Stop()
	select {
	case <-short.C:
	case <-ctx.Done():
	}
}

// A key of each kind changes, and clients see it at once: those who are there as
// well as new ones.
func TestReloadChangesEachKindOfKey(t *testing.T) {
	r := serveFile(t, "game: {shop: axe:1, start_gold: 5}\nshutdown: {deadline: 5m}\n")
	ctx, cancel := background()
	defer cancel()
	c := dial(t, r.daemon)
	if _, err := c.Login(ctx, "dev:7"); err != nil {
		t.Fatal(err)
	}
	log := r.reload(t, `
game: {shop: [sword:3, bow:4], start_gold: 6, room_max_text_bytes: 5, max_rooms_per_player: 1, duel_timeout: 20ms}
limits: {max_frame_bytes: 2000, idle_timeout: 30s}
shutdown: {deadline: 350ms}
`)
	wantLines(t, log,
		changed("limits.max_frame_bytes", "1MiB", "2000"), changed("limits.idle_timeout", "90s", "30s"), changed("shutdown.deadline", "300s", "350ms"),
		changed("game.start_gold", "5", "6"), changed("game.shop", "axe:1", "sword:3,bow:4"), changed("game.duel_timeout", "10s", "20ms"),
		changed("game.room_max_text_bytes", "1KiB", "5"), changed("game.max_rooms_per_player", "32", "1"),
		`INFO  reloading +\{"why": "SIGHUP"\}`, `INFO  reloaded +\{"changed": 8\}`)

	var offers []struct {
		Item  string `msgpack:"item"`
		Price int    `msgpack:"price"`
	}
	if err := c.Call(ctx, "shop.list", &offers); err != nil || len(offers) != 2 || offers[0].Item != "sword" || offers[0].Price != 3 {
		t.Errorf("the shop sells %v, %v", offers, err)
	}
	if err := c.Call(ctx, "shop.buy", nil, "axe", 1); client.CodeOf(err) != client.NotFound {
		t.Errorf("the axe: %v", err)
	}
	var player struct {
		Gold int `msgpack:"gold"`
	}
	newcomer := dial(t, r.daemon)
	if _, err := newcomer.Login(ctx, "dev:8"); err != nil {
		t.Fatal(err)
	}
	if err := newcomer.Call(ctx, "player.get", &player); err != nil || player.Gold != 6 {
		t.Errorf("a new player has %+v, %v", player, err)
	}
	if err := c.Call(ctx, "room.join", nil, "a"); err != nil {
		t.Error(err)
	}
	if err := c.Call(ctx, "room.join", nil, "b"); client.CodeOf(err) != client.ResourceExhausted {
		t.Errorf("a second room: %v", err)
	}
	if err := c.Call(ctx, "room.say", nil, "a", "123456"); err == nil || !strings.Contains(err.Error(), "text must have 1 to 5 bytes") {
		t.Errorf("a long text: %v", err)
	}
	newcomer.Handle("duel.offer", func(q *client.Request) (any, error) {
		<-q.Context().Done()
		return nil, nil
	})
	if err := c.Call(ctx, "duel.challenge", nil, 8); client.CodeOf(err) != client.DeadlineExceeded {
		t.Errorf("a challenge: %v", err)
	}
	out, errText, code := r.call("--login", "dev:9", "auth.login", `"dev:9"`)
	if code != 0 || !strings.Contains(out, `"heartbeat_ms":10000`) {
		t.Errorf("a login: exit code %d: %s%s", code, out, errText)
	}
	if _, errText, code := r.call("save.put", strings.Repeat("x", 3000)); code != 1 || !strings.Contains(errText, "frame_too_large") {
		t.Errorf("a large message: exit code %d: %s", code, errText)
	}
	r.reload(t, "game: {duel_timeout: 10m}\nshutdown: {deadline: 350ms}\n")
	stuck(t, r.daemon)
	if code := r.stop(syscall.SIGTERM); code != 3 || !strings.Contains(r.err.String(), "cut by shutdown.deadline (350ms)") {
		t.Errorf("exit code %d\n%s", code, r.err)
	}
}

// What is wrong is listed, all of it, and nothing of the file counts.
func TestReloadOfABadFileChangesNothing(t *testing.T) {
	r := serveFile(t, "game: {shop: axe:1}\n")
	log := r.reload(t, "game: {shop: sword:2, start_gold: -1}\nlimits: {max_frame: 1}\n")
	for _, want := range []string{"ERROR  reload refused: everything stays as it was", "game.start_gold: -1", "limits.max_frame: 1", "no such key, nearest is limits.max_frame_bytes"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %q:\n%s", want, log)
		}
	}
	wantLines(t, log)
	if out, errText, code := r.call("--login", "dev:7", "shop.list"); code != 0 || !strings.Contains(out, "axe") {
		t.Errorf("exit code %d: %s%s", code, out, errText)
	}
	if err := os.Remove(r.file); err != nil {
		t.Fatal(err)
	}
	if log := r.hangUp(t); !strings.Contains(log, "no such file") {
		t.Errorf("without a file:\n%s", log)
	}
	wantLines(t, r.reload(t, "game: {shop: sword:2}\n"), changed("game.shop", "axe:1", "sword:2"))
}

// Keys that need a restart are named, each time, and stay as they were; the rest
// of the file counts.
func TestReloadNamesWhatNeedsARestart(t *testing.T) {
	r := serveFile(t, "")
	const named = `WARN  settings that differ from the file until the daemon is restarted +\{"keys": \["data_dir", "loop.count", "store.sql.dsn"\]\}`
	const yaml = "data_dir: elsewhere\nloop: {count: 7}\nstore: {sql: {dsn: other.db}}\ngame: {shop: sword:2}\n"
	wantLines(t, r.reload(t, yaml), named, changed("game.shop", "potion:10,bomb:25,shield:60,sword:120", "sword:2"), `INFO  reloaded +\{"changed": 1\}`)
	wantLines(t, r.hangUp(t), named, `INFO  reloaded +\{"changed": 0\}`)
	if _, err := os.Stat(filepath.Join(r.dir, "elsewhere")); !os.IsNotExist(err) {
		t.Errorf("the other data_dir is there: %v", err)
	}
	if log := r.reload(t, ""); strings.Contains(log, "WARN") {
		t.Errorf("nothing differs any more:\n%s", log)
	}
}

// A daemon that shuts down does not reload; a reload does not keep it from it.
func TestReloadWhileDraining(t *testing.T) {
	r := serveFile(t, "shutdown: {deadline: 5m}\ngame: {duel_timeout: 10m}\n")
	stuck(t, r.daemon)
	r.signal(syscall.SIGTERM)
	r.until(r.err, "draining")
	if log := r.reload(t, "shutdown: {deadline: 1ms}\n"); !strings.Contains(log, "INFO  reload ignored: the daemon is shutting down") {
		t.Errorf("the log is\n%s", log)
	}
	if code := r.stop(syscall.SIGINT); code != 130 {
		t.Errorf("exit code %d\n%s", code, r.err)
	}
}

// The level changes at once, and the change itself is logged both ways.
func TestReloadOfTheLogLevel(t *testing.T) {
	r := serveFile(t, "")
	quiet := r.reload(t, "log: {level: error}\n")
	wantLines(t, quiet, changed("log.level", "info", "error"))
	before := len(r.err.String())
	if _, errText, code := r.call("--login", "dev:7", "player.get"); code != 0 {
		t.Errorf("exit code %d: %s", code, errText)
	}
	r.write(t, "log: {level: debug}\n")
	r.signal(syscall.SIGHUP)
	log := r.after(t, before, "  reloaded  ")
	if strings.Contains(log, "reloading") {
		t.Errorf("at level error it logs\n%s", log)
	}
	wantLines(t, log, changed("log.level", "error", "debug"))
	before = len(r.err.String())
	if _, errText, code := r.call("sum", "1", "2"); code != 0 {
		t.Errorf("exit code %d: %s", code, errText)
	}
	r.after(t, before, `DEBUG  call +\{"method": "sum"`)
}

// logrotate moves the file away and sends SIGHUP.
func TestReloadReopensTheLog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "gs.log")
	env := "GAMESERVERD_LOG_FILE=" + path
	p := launch(t, dir, append([]string{env}, anywhere...), "serve")
	p.until(p.out, `(?m)^try: `)
	logged := func(path, what string) {
		t.Helper()
		ctx, cancel := background()
		defer cancel()
		for {
			raw, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(raw), what) {
				return
			}
			if ctx.Err() != nil {
				t.Fatalf("%s has no %q: %s, %v", path, what, raw, err)
			}
			waitFor(ctx, time.Millisecond)
		}
	}
	logged(path, "  serving  ")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	logged(path, "  reloaded  ")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	// Where a new file cannot be made the old one goes on.
	if err := os.Rename(path, path+".2"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGHUP)
	logged(path+".2", "ERROR  the log's file cannot be opened again: the old one is still written to")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	logged(path+".2", "  drained  ")
	wantNothing(t, "standard error", p.err.String())
	if _, errText, code := runIn(t, dir, append([]string{"GAMESERVERD_LOG_FILE=" + dir}, anywhere...), "serve"); code != 2 || !strings.Contains(errText, "log.file (GAMESERVERD_LOG_FILE): ") {
		t.Errorf("a log that is a folder: exit code %d: %s", code, errText)
	}
}
