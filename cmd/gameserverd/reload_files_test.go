package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A login key is exchanged without a restart, by its kid: who is logged in stays,
// the new key logs in at once, and the old one as long as it is listed.
func TestReloadRotatesLoginKeys(t *testing.T) {
	const yaml = "auth: {mode: jwt, jwt: {secret_file: [%s]}}\n"
	file := func(list string) string { return strings.Replace(yaml, "%s", list, 1) }
	keys := t.TempDir()
	old, fresh := keep(t, keys, "old", oldSecret), keep(t, keys, "new", newSecret)
	token := func(path, kid string) string {
		t.Helper()
		out, errText, code := runHere(t, "token", "--uid", "7", "--secret-file", path, "--kid", kid)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, errText)
		}
		return trimmed(out)
	}
	withOld, withNew := token(old, "2025"), token(fresh, "2026")
	r := serveFile(t, file("2025="+old))
	ctx, cancel := background()
	defer cancel()
	login := func(token, want string) {
		t.Helper()
		_, err := dial(t, r.daemon).Login(ctx, token)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("a login: %v, want %q", err, want)
		}
	}
	online := dial(t, r.daemon)
	if _, err := online.Login(ctx, withOld); err != nil {
		t.Fatal(err)
	}
	login(withNew, "(kid) is not known here")

	// A key that cannot be used changes nothing, nor does what else is in the file.
	bad := keep(t, keys, "bad", "hunter2")
	log := r.reload(t, file("2026="+fresh+", 2027="+bad+", 2028=/nonexistent")+"game: {start_gold: 9}\n")
	for _, want := range []string{"ERROR  reload refused", "the secret has 7 bytes", "/nonexistent: no such file"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %q:\n%s", want, log)
		}
	}
	wantLines(t, log)
	login(withNew, "(kid) is not known here")

	log = r.reload(t, file("2026="+fresh+", 2025="+old))
	wantLines(t, log, changed("auth.jwt.secret_file", "2025=***", "2026=***,2025=***"), `INFO  login key +\{"algorithm": "HS256", "kid": "2026"`)
	if n := strings.Count(log, "login key"); n != 1 {
		t.Errorf("%d keys are told of:\n%s", n, log)
	}
	login(withNew, "")
	login(withOld, "")
	if err := online.Call(ctx, "sum", nil, 1, 2); err == nil {
		t.Error("the older session of player 7 is still there")
	}
	online = dial(t, r.daemon)
	if _, err := online.Login(ctx, withOld); err != nil {
		t.Fatal(err)
	}

	log = r.reload(t, file("2026="+fresh))
	wantLines(t, log, changed("auth.jwt.secret_file", "2026=***,2025=***", "2026=***"), `INFO  login key is gone +\{"algorithm": "HS256", "kid": "2025"`)
	if err := online.Call(ctx, "player.get", nil); err != nil {
		t.Errorf("who was logged in: %v", err)
	}
	login(withOld, "(kid) is not known here")

	// The same name with another secret in it.
	keep(t, keys, "new", oldSecret)
	log = r.hangUp(t)
	wantLines(t, log, `INFO  login key +\{`, `INFO  login key is gone +\{`)
	login(withNew, "signature is wrong")
	login(token(old, "2026"), "")

	// The last key cannot go while auth.mode, which needs a restart, wants one.
	log = r.reload(t, "auth: {mode: dev}\n")
	if !strings.Contains(log, "reload refused") || !strings.Contains(log, "auth.mode: ") {
		t.Errorf("without a key:\n%s", log)
	}
	for _, secret := range []string{newSecret, oldSecret, "hunter2"} {
		if strings.Contains(r.err.String(), secret) {
			t.Errorf("%s is in the log:\n%s", secret, r.err)
		}
	}
}

// What serve refuses of the files that the configuration names, check refuses.
func TestCheckOpensFiles(t *testing.T) {
	dir := t.TempDir()
	keep(t, dir, "short", "hunter2")
	keep(t, dir, "good", newSecret)
	env := []string{"GAMESERVERD_AUTH_MODE=jwt", "GAMESERVERD_AUTH_JWT_SECRET_FILE=a=short,b=absent", "GAMESERVERD_AUTH_JWT_PUBLIC_KEY_FILE=c=good", "GAMESERVERD_LOG_FILE=" + dir}
	wants := []string{
		"auth.jwt.secret_file (GAMESERVERD_AUTH_JWT_SECRET_FILE): short: the secret has 7 bytes",
		"auth.jwt.secret_file (GAMESERVERD_AUTH_JWT_SECRET_FILE): open absent: no such file",
		"auth.jwt.public_key_file (GAMESERVERD_AUTH_JWT_PUBLIC_KEY_FILE): good: it is no PEM file",
		"log.file (GAMESERVERD_LOG_FILE): open " + dir + ": is a directory",
	}
	out, errText, code := runIn(t, dir, env, "check")
	for _, want := range wants {
		if !strings.Contains(out, want) {
			t.Errorf("check says nothing of %q:\n%s", want, out)
		}
	}
	if code != 2 || strings.Contains(out+errText, "hunter2") {
		t.Errorf("exit code %d: %s%s", code, out, errText)
	}
	var found struct {
		OK       bool
		Problems []struct{ Key, Where, Wrong string }
	}
	out, _, code = runIn(t, dir, env, "check", "--json")
	if err := json.Unmarshal([]byte(out), &found); err != nil || code != 2 || found.OK || len(found.Problems) != 4 || !strings.Contains(found.Problems[0].Wrong, "7 bytes") {
		t.Errorf("check --json: %v, exit code %d\n%s", err, code, out)
	}
	if err := os.Chmod(filepath.Join(dir, "good"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, errText, code = runIn(t, dir, []string{"GAMESERVERD_AUTH_MODE=jwt", "GAMESERVERD_AUTH_JWT_SECRET_FILE=good", "GAMESERVERD_LOG_FILE=" + filepath.Join(dir, "gs.log")}, "check")
	if out != "ok\n" || code != 0 || !strings.Contains(errText, "WARN  login key is exposed") {
		t.Errorf("exit code %d: %s%s", code, out, errText)
	}
	if _, err := os.Stat(filepath.Join(dir, "gs.log")); !os.IsNotExist(err) {
		t.Errorf("check has made the log's file: %v", err)
	}
}

func TestCheckDiff(t *testing.T) {
	dir := t.TempDir()
	keep(t, dir, "a.yaml", "game: {shop: axe:1}\nstore: {redis: {url: 'redis://:secret1@h'}}\n")
	keep(t, dir, "b.yaml", "game: {shop: bow:2}\nloop: {count: 3}\nstore: {redis: {url: 'redis://:secret2@h'}}\n")
	keep(t, dir, "bad.yaml", "loop: {count: many}\n")
	out, errText, code := runIn(t, dir, nil, "check", "--config", "a.yaml", "--diff", "b.yaml")
	want := `loop.count       0                ->  3                              restart
store.redis.url  redis://:***@h   ->  redis://:***@h (another one)   restart
game.shop        axe:1            ->  bow:2                          reload
`
	if strings.Join(strings.Fields(out), " ") != strings.Join(strings.Fields(want), " ") || errText != "" || code != 0 {
		t.Errorf("exit code %d: %s%s", code, out, errText)
	}
	if out, errText, code := runIn(t, dir, nil, "check", "--config", "a.yaml", "--diff", "a.yaml"); out != "ok, and nothing differs\n" || code != 0 {
		t.Errorf("exit code %d: %s%s", code, out, errText)
	}
	if out, errText, code := runIn(t, dir, nil, "check", "--config", "a.yaml", "--diff", "bad.yaml"); !strings.Contains(out, `loop.count: "many" (bad.yaml:1)`) || code != 2 {
		t.Errorf("exit code %d: %s%s", code, out, errText)
	}
	var found struct {
		OK      bool
		File    string
		Changes []struct {
			Key, Old, New string
			Live          bool
		}
	}
	out, _, code = runIn(t, dir, nil, "check", "--config", "a.yaml", "--diff", "b.yaml", "--json")
	if err := json.Unmarshal([]byte(out), &found); err != nil || code != 0 || !found.OK || found.File != "b.yaml" || len(found.Changes) != 3 || !found.Changes[2].Live {
		t.Errorf("check --diff --json: %v, exit code %d\n%s", err, code, out)
	}
}

// Whatever has a secret in its configuration leaves no core dump.
func TestSecretsHideTheMemory(t *testing.T) {
	for _, entry := range os.Environ() { // make test has variables of its own
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "GAMESERVERD_") {
			t.Setenv(name, value) // back at the end
			os.Unsetenv(name)
		}
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) })
	for env, want := range map[string]int{
		"GAMESERVERD_LOG_LEVEL=warn":                              1,
		"GAMESERVERD_STORE_REDIS_URL=redis://:secret@127.0.0.1:1": 0,
		"GAMESERVERD_AUTH_JWT_SECRET_FILE=somewhere":              0,
	} {
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(env, "=")
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if _, err := loadConfig(""); err != nil {
				t.Fatal(err)
			}
			if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != want {
				t.Errorf("dumpable is %d, %v", dumpable, err)
			}
		})
	}
}
