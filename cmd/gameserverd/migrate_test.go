package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What players have survives the way from one database to another one.
func TestMigrateCopyOfADaemonsDatabase(t *testing.T) {
	d := serveOn(t)
	dir := d.cmd.Dir
	for _, call := range [][]string{{"player.rename", `"Ada"`, "--login", "dev:7"}, {"save.put", "slot", `{"level":3}`, "--login", "dev:7"}, {"shop.buy", "potion", "2", "--login", "dev:7"}} {
		if out, errText, code := d.call(call...); code != 0 {
			t.Fatalf("%q: %s%s", call, out, errText)
		}
	}
	before, _, _ := d.call("player.get", "--login", "dev:7")
	oldFile, newFile := filepath.Join(dir, "old.yaml"), filepath.Join(dir, "new.yaml")
	writeFile(t, oldFile, "log: {level: info}\n")
	writeFile(t, newFile, "store: {sql: {dsn: second.db}}\n")
	migrate := func(want int, args ...string) (out, errText string) {
		t.Helper()
		out, errText, code := runIn(t, dir, []string{"GAMESERVERD_STORE_SQL_MAX_OPEN=3"}, append([]string{"migrate"}, args...)...)
		if code != want {
			t.Errorf("%q: exit code %d, want %d\n%s%s", args, code, want, out, errText)
		}
		return out, errText
	}

	// While the daemon runs: the status, and nothing else.
	if out, errText := migrate(0, "status"); !regexp.MustCompile(`(?m)^1 +0001_players +\d{4}-`).MatchString(out) || errText != "" {
		t.Errorf("status: %q, %q", out, errText)
	}
	for _, args := range [][]string{{"up"}, {"copy", "--from", oldFile, "--to", oldFile}} {
		if out, errText := migrate(1, args...); out != "" || !regexp.MustCompile(`error: .*data is in use by process \d+\nhint: a gameserverd runs with that data_dir; stop it first\n$`).MatchString(errText) {
			t.Errorf("%q while a daemon runs: %q, %q", args, out, errText)
		}
	}
	if code := d.stop(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d\n%s", code, d.err)
	}

	if out, _ := migrate(0, "up", "--config", newFile); out != "applied 0001_players\napplied 0002_tasks\nsecond.db is at version 2\n" {
		t.Errorf("up: %q", out)
	}
	out, errText := migrate(0, "copy", "--json", "--from", oldFile, "--to", newFile)
	var result struct{ Rows int64 }
	if err := json.Unmarshal([]byte(out), &result); err != nil || result.Rows < 3 {
		t.Errorf("%v: %s", err, out)
	}
	if !strings.HasPrefix(errText, "note: GAMESERVERD_STORE_SQL_MAX_OPEN is not used, only the two files are\nplayers: 0 of 1 rows\nplayers: 1 of 1 rows\n") {
		t.Errorf("progress %q", errText)
	}
	if _, errText := migrate(1, "copy", "--from", oldFile, "--to", newFile); !strings.Contains(errText, "error: target: the target is not empty: table players has 1 rows\nhint: ") {
		t.Errorf("again: %q", errText)
	}

	p := launch(t, dir, anywhere, "serve", "--config", newFile)
	next := &daemon{process: p, addr: p.until(p.out, `(?m)^gameserverd \S+ listens on (\S+)$`)[1]}
	p.until(p.err, "serving")
	if after, errText, _ := next.call("player.get", "--login", "dev:7"); after != before || !strings.Contains(after, `"Ada"`) {
		t.Errorf("before %s, after %s%s", before, after, errText)
	}
	if out, errText, _ := next.call("save.get", "slot", "--login", "dev:7"); !strings.Contains(out, `{"level":3}`) {
		t.Errorf("saved: %s%s", out, errText)
	}
	if code := next.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.err)
	}
}

func TestMigrateUsage(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "bad.yaml"), "store: {sql: {driver: mysql, dsn: 'u:secret@tcp(h)'}}\n")
	writeFile(t, filepath.Join(dir, "good.yaml"), "{}\n")
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"nonsense"}, `error: migrate has no "nonsense"; it has up, status and copy` + "\n", 2},
		{[]string{"up", "x"}, `error: unknown command "x" for "gameserverd migrate up"` + "\n", 2},
		{[]string{"up", "--nonsense"}, "error: unknown flag: --nonsense\nhint: gameserverd migrate up --help lists the flags\n", 2},
		{[]string{"copy"}, "error: migrate copy needs both files: gameserverd migrate copy --from OLD.yaml --to NEW.yaml\n", 2},
		{[]string{"copy", "--from", "good.yaml"}, "error: migrate copy needs both files: ", 2},
		{[]string{"copy", "good.yaml", "bad.yaml"}, "error: migrate copy takes the files as flags: gameserverd migrate copy --from OLD.yaml --to NEW.yaml\n", 2},
		{[]string{"copy", "--from", "good.yaml", "--to", "absent.yaml"}, "error: config file: open absent.yaml: ", 2},
		{[]string{"copy", "--from", "bad.yaml", "--to", "good.yaml"}, "error: the configuration has 1 problem(s):\nstore.sql.dsn: \"u:***@tcp(h)\" (bad.yaml:1): allowed: ", 2},
		{[]string{"up", "--config", "bad.yaml"}, "error: the configuration has 1 problem(s):\nstore.sql.dsn: \"u:***@tcp(h)\" (bad.yaml:1): allowed: ", 2},
		{[]string{"status"}, "error: there is no database at data/gameserverd.db\nhint: gameserverd migrate up makes one", 1},
		{[]string{"copy", "--from", "good.yaml", "--to", "good.yaml"}, "error: there is no database at data/gameserverd.db\nhint: gameserverd migrate up --config good.yaml makes one", 1},
	} {
		out, errText, code := runIn(t, dir, nil, append([]string{"migrate"}, c.args...)...)
		if errText = strings.ReplaceAll(errText, binary, "gameserverd"); out != "" || !strings.HasPrefix(errText, c.want) || strings.Contains(errText, "secret") || code != c.code {
			t.Errorf("%q: %q, %q, exit code %d; want %q, %d", c.args, out, errText, code, c.want, c.code)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); !os.IsNotExist(err) {
		t.Errorf("something was made: %v", err)
	}
	for _, name := range []string{"up", "status", "copy"} {
		out, _, code := runHere(t, "migrate", name, "--help")
		if code != 0 || !strings.Contains(out, "Examples:\n  gameserverd migrate ") {
			t.Errorf("migrate %s --help has no example:\n%s", name, out)
		}
	}
	out, errText, code := runHere(t, "migrate")
	if code != 0 || errText != "" || !strings.Contains(out, "Available Commands:") {
		t.Errorf("migrate: %q, %q, %d", out, errText, code)
	}
}

// An interrupt while another one migrates.
func TestMigrateIsInterrupted(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	other, err := os.Open(data) // what migrations of SQLite lock
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	p := launch(t, dir, nil, "migrate", "up")
	p.until(p.err, "waiting for another gameserverd that migrates the database")
	p.signal(syscall.SIGINT)
	if code := p.exit(); code != 130 || !strings.Contains(p.err.String(), "\nerror: interrupted\nhint: ") || p.out.String() != "" {
		t.Errorf("exit code %d, %q, %q", code, p.out, p.err)
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
