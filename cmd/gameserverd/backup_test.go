package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What was acknowledged before a backup is in it, though the daemon goes on.
func TestBackupOfARunningDaemonIsRestored(t *testing.T) {
	d := serveOn(t)
	dir := d.cmd.Dir
	d.call("shop.buy", "potion", "2", "--login", "dev:7")
	before, _, code := d.call("player.get", "--login", "dev:7")
	if code != 0 || !strings.Contains(before, `"potion":2`) {
		t.Fatalf("player.get: %s", before)
	}
	out, errText, code := runIn(t, dir, nil, "backup", "monday.db")
	if code != 0 || !strings.HasPrefix(out, "monday.db: ") {
		t.Fatalf("exit code %d: %s%s", code, out, errText)
	}
	d.call("shop.buy", "potion", "5", "--login", "dev:7")
	if _, errText, code := runIn(t, dir, nil, "backup", "monday.db"); code != 1 || !strings.Contains(errText, "not overwritten") {
		t.Errorf("over a file that is there: exit code %d: %s", code, errText)
	}
	if code := d.stop(syscall.SIGTERM); code != 0 {
		t.Fatalf("exit code %d\n%s", code, d.err)
	}

	data := filepath.Join(dir, "data")
	for _, name := range []string{"gameserverd.db-wal", "gameserverd.db-shm"} {
		if err := os.Remove(filepath.Join(data, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(dir, "monday.db"), filepath.Join(data, "gameserverd.db")); err != nil {
		t.Fatal(err)
	}
	restored := serveIn(t, dir)
	if after, _, _ := restored.call("player.get", "--login", "dev:7"); after != before {
		t.Errorf("restored %s, backed up %s", after, before)
	}
}

func TestBackupHints(t *testing.T) {
	dir := t.TempDir()
	if _, errText, code := runIn(t, dir, nil, "backup"); code != 2 || !strings.Contains(errText, "backup FILE") {
		t.Errorf("without a file: %d %s", code, errText)
	}
	if _, errText, code := runIn(t, dir, nil, "backup", "x.db"); code != 1 || !strings.Contains(errText, "data") {
		t.Errorf("without a database: %d %s", code, errText)
	}
	mysql := []string{"GAMESERVERD_STORE_SQL_DRIVER=mysql", "GAMESERVERD_STORE_SQL_DSN=game@tcp(127.0.0.1:1)/game"}
	if _, errText, code := runIn(t, dir, mysql, "backup", "x.db"); code != 1 || !strings.Contains(errText, "mariadb-dump") {
		t.Errorf("a server's database: %d %s", code, errText)
	}
}
