package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gameserverd/internal/doctor"
)

// doctorOf runs doctor and takes its findings apart.
func doctorOf(t *testing.T, dir string, env []string, args ...string) (all map[string]doctor.Finding, code int) {
	t.Helper()
	out, errText, code := runIn(t, dir, env, append([]string{"doctor", "--json"}, args...)...)
	var got struct {
		OK       bool
		Findings []doctor.Finding
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.OK != (code == 0) || len(got.Findings) < 8 {
		t.Fatalf("%v, exit code %d\n%s%s", err, code, out, errText)
	}
	all = map[string]doctor.Finding{}
	bad := false
	for _, f := range got.Findings {
		if old, twice := all[f.Check]; !twice || old.Grade == doctor.OK {
			all[f.Check] = f
		}
		bad = bad || f.Grade == doctor.Bad
	}
	if bad != (code == 1) {
		t.Errorf("exit code %d with %+v", code, got.Findings)
	}
	return all, code
}

func TestDoctor(t *testing.T) {
	d := serveOn(t)
	all, _ := doctorOf(t, d.cmd.Dir, []string{"GAMESERVERD_LISTEN_TCP=" + d.addr, "GAMESERVERD_LISTEN_ADMIN=" + d.admin})
	for _, check := range []string{"daemon", "listen.tcp", "listen.admin", "store.sql", "tables", "store.redis"} {
		if all[check].Grade != doctor.OK {
			t.Errorf("%s: %+v", check, all[check])
		}
	}
	if !strings.Contains(all["daemon"].Seen, "serves: gameserverd v0.0.0-test, 0 connections") || !strings.Contains(all["descriptors"].Seen, "the daemon, process ") {
		t.Errorf("%+v\n%+v", all["daemon"], all["descriptors"])
	}
	out, _, _ := runIn(t, d.cmd.Dir, anywhere, "doctor")
	if !strings.Contains(out, "ok    daemon ") || !strings.HasSuffix(out, " bad\n") {
		t.Errorf("for people:\n%s", out)
	}
}

func TestDoctorFindsWhatIsBad(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	keep(t, dir, "key", newSecret)
	if err := os.Chmod(filepath.Join(dir, "key"), 0o644); err != nil {
		t.Fatal(err)
	}
	all, code := doctorOf(t, dir, []string{"GAMESERVERD_LISTEN_TCP=" + l.Addr().String(), "GAMESERVERD_AUTH_MODE=jwt", "GAMESERVERD_AUTH_JWT_SECRET_FILE=key"})
	if code != 1 || all["listen.tcp"].Grade != doctor.Bad || all["auth.jwt.secret_file"].Grade != doctor.Bad || all["login keys"].Grade != doctor.OK {
		t.Errorf("exit code %d, %+v", code, all)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); !os.IsNotExist(err) {
		t.Errorf("it made data_dir: %v", err)
	}
	if _, errText, code := runIn(t, dir, []string{"GAMESERVERD_LOOP_COUNT=-1"}, "doctor"); code != 2 || !strings.Contains(errText, "loop.count") {
		t.Errorf("a bad configuration: %d %s", code, errText)
	}
}
