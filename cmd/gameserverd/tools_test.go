package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestCall(t *testing.T) {
	d := serveOn(t)
	for _, c := range []struct {
		args []string
		out  string // the whole of standard output
		err  string // the beginning of standard error
		code int
	}{
		{[]string{"sum", "1", "2"}, "3\n", "", 0},
		{[]string{"sum", "-1", "-2"}, "-3\n", "", 0},
		{[]string{"sum", "--json", "-1", "2"}, "1\n", "", 0},
		{[]string{"echo", "-.5x"}, "\"-.5x\"\n", "", 0},
		{[]string{"echo", "--", "--json"}, "\"--json\"\n", "", 0},
		{[]string{"echo", `{"a":[1,2.0,null]}`}, `{"a":[1,2.0,null]}` + "\n", "", 0},
		{[]string{"sum", "1", "2", "--notify"}, "", "", 0},
		{[]string{"smu", "1", "2"}, "", "error: unimplemented: ", 1},
		{[]string{"smu", "1", "2", "--json"}, "", `{"code":"unimplemented",`, 1},
		{[]string{"player.get"}, "", "error: unauthenticated: ", 1},
		{[]string{"echo", "{"}, "", "error: argument 1: { is not JSON", 2},
		{[]string{"echo", "1", "--nonsense"}, "", "error: unknown flag: --nonsense", 2},
		{[]string{}, "", "error: call takes the METHOD to call, for example: ", 2},
		{[]string{"sum", "--wait", "-1s"}, "", `error: invalid argument "-1s" for "--wait"`, 2},
		{[]string{"sum", "--timeout=-1s"}, "", "error: --wait and --timeout take a positive duration", 2},
	} {
		out, errText, code := d.call(c.args...)
		if out != c.out || !strings.HasPrefix(errText, c.err) || (c.err == "") != (errText == "") || code != c.code {
			t.Errorf("call %q: %q, %q, exit code %d; want %q, %q, %d", c.args, out, errText, code, c.out, c.err, c.code)
		}
	}
	if code := d.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.err)
	}
	out, errText, code := d.call("sum", "1", "2")
	if out != "" || code != 1 || !strings.Contains(errText, "Is the daemon running? Start it with: "+binary+" serve") {
		t.Errorf("without a daemon: %q, exit code %d\n%s", out, code, errText)
	}
}

func TestTwoTerminalsChat(t *testing.T) {
	d := serveOn(t)
	listener := launch(t, t.TempDir(), nil, "call", "--addr", d.addr, "room.join", "lobby", "--login", "dev:7", "--wait", "10m")
	listener.until(listener.out, `(?m)^\{"notification":"room.joined","params":\["lobby",7\]\}$`)
	talker := launch(t, t.TempDir(), nil, "call", "--addr", d.addr, "room.join", "lobby", "--login", "dev:8", "--stdin")
	talker.until(talker.out, `"room.joined","params":\["lobby",8\]`)
	io.WriteString(talker.in, "room.say lobby \"good morning\"\n")
	listener.until(listener.out, `(?m)^\{"notification":"room.said","params":\["lobby",8,"good morning",\d+\]\}$`)
	talker.in.Close()
	if code := talker.exit(); code != 0 {
		t.Errorf("the one who talks ends with %d\n%s", code, talker.err)
	}
	listener.until(listener.out, `"room.left","params":\["lobby",8\]`)
	listener.signal(syscall.SIGINT)
	if code := listener.exit(); code != 0 {
		t.Errorf("the one who listens ends with %d\n%s", code, listener.err)
	}
	wantNothing(t, "standard error", talker.err.String()+listener.err.String())
}

func TestCheck(t *testing.T) {
	if out, errText, code := runHere(t, "check"); out != "ok\n" || errText != "checked: the environment; no file, so the built-in defaults\n" || code != 0 {
		t.Errorf("check: %q, %q, %d", out, errText, code)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if out, errText, code := runIn(t, root, nil, "check"); out != "ok\n" || errText != "checked: the environment and configs/gameserverd.yaml\n" || code != 0 {
		t.Errorf("check: %q, %q, %d", out, errText, code)
	}
	out, errText, code := runIn(t, root, []string{"GAMESERVERD_LISTEN_ADMIN="}, "check", "--show")
	if code != 0 || errText != "" {
		t.Errorf("check --show: exit code %d, %s", code, errText)
	}
	for _, want := range []string{`(?m)^listen.tcp +127.0.0.1:5700 +configs/gameserverd.yaml:\d+$`, `(?m)^listen.admin +"" +GAMESERVERD_LISTEN_ADMIN$`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("check --show has no %s:\n%s", want, out)
		}
	}
	if out, _, _ := runHere(t, "check", "--show"); !regexp.MustCompile(`(?m)^limits.idle_timeout +90s +default$`).MatchString(out) {
		t.Errorf("without a file:\n%s", out)
	}

	var shown struct {
		OK       bool
		File     string
		Problems []struct{ Key, Value, Where, Allowed, Nearest string }
		Values   []struct{ Key, Value, Source string }
	}
	out, _, code = runHere(t, "check", "--show", "--json")
	if err := json.Unmarshal([]byte(out), &shown); err != nil || code != 0 || !shown.OK || len(shown.Values) < 20 || shown.Values[0].Key != "data_dir" {
		t.Errorf("check --show --json: %v, exit code %d\n%s", err, code, out)
	}

	bad := []string{"GAMESERVERD_LOG_LEVLE=debug", "GAMESERVERD_LOOP_COUNT=-1"}
	out, errText, code = runIn(t, t.TempDir(), bad, "check")
	want := `GAMESERVERD_LOG_LEVLE: "debug" (environment): no such key, nearest is GAMESERVERD_LOG_LEVEL
loop.count: "-1" (GAMESERVERD_LOOP_COUNT): allowed: an integer from 0 to 1024
`
	if out != want || errText != "" || code != 2 {
		t.Errorf("check: %q, %q, %d", out, errText, code)
	}
	out, _, code = runIn(t, t.TempDir(), bad, "check", "--json")
	if err := json.Unmarshal([]byte(out), &shown); err != nil || code != 2 || shown.OK || len(shown.Problems) != 2 || shown.Problems[0].Nearest != "GAMESERVERD_LOG_LEVEL" {
		t.Errorf("check --json: %v, exit code %d\n%s", err, code, out)
	}
	if _, errText, code := runHere(t, "check", "--config", "absent.yaml"); code != 2 || !strings.Contains(errText, "absent.yaml") {
		t.Errorf("no file: exit code %d, %s", code, errText)
	}
}

func TestRoutes(t *testing.T) {
	out, errText, code := runHere(t, "routes")
	if code != 0 || errText != "" {
		t.Fatalf("exit code %d, %s", code, errText)
	}
	for _, want := range []string{`(?m)^METHOD +RESULT +FLAGS +DOC$`, `(?m)^sum\(x int, y int\) +int +public +\w.*\.$`, `(?m)^sys.ping\(\) +nil +public,concurrent `, `(?m)^player.get\(\) +Player  +\w`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	var methods []struct {
		Name, Result, Doc, Where string
		Public                   bool
		Params                   []struct{ Name, Type string }
	}
	out, _, code = runHere(t, "routes", "--json")
	if err := json.Unmarshal([]byte(out), &methods); err != nil || code != 0 {
		t.Fatalf("%v, exit code %d\n%s", err, code, out)
	}
	for _, m := range methods {
		if m.Name == "sum" {
			if m.Result != "int" || !m.Public || len(m.Params) != 2 || m.Params[1].Name != "y" || m.Doc == "" || !strings.HasPrefix(m.Where, "internal/handlers/") {
				t.Errorf("sum is %+v", m)
			}
			return
		}
	}
	t.Errorf("no sum in %s", out)
}

func TestVersion(t *testing.T) {
	out, errText, code := runHere(t, "version")
	if want := regexp.MustCompile(`^gameserverd v0\.0\.0-test .*go1\.\S+ ` + runtime.GOOS + "/" + runtime.GOARCH + "\n$"); !want.MatchString(out) || errText != "" || code != 0 {
		t.Errorf("%q, %q, exit code %d", out, errText, code)
	}
	var b build
	out, _, code = runHere(t, "version", "--json")
	if err := json.Unmarshal([]byte(out), &b); err != nil || code != 0 || b.Version != "v0.0.0-test" || b.Go != runtime.Version() {
		t.Errorf("%v, exit code %d: %s", err, code, out)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"nonsense"}, {"serve", "x"}, {"serve", "--nonsense"}, {"check", "x"}, {"routes", "--nonsense"}, {"version", "-1"}} {
		out, errText, code := runHere(t, args...)
		if code != 2 || !strings.HasPrefix(errText, "error: ") || strings.Contains(errText, "x00") || strings.Contains(errText, numberMark) {
			t.Errorf("%q: exit code %d, %q", args, code, errText)
		}
		wantNothing(t, "standard output", out)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"call"}, "error: call takes the METHOD to call, for example: gameserverd call sum 1 2\n"},
		{[]string{"call", "--lgoin", "dev:7", "player.get"}, "error: unknown flag: --lgoin\nhint: gameserverd call --help lists the flags\n"},
		{[]string{"--nonsense"}, "error: unknown flag: --nonsense\nhint: gameserverd --help lists the flags\n"},
		{[]string{"call", "sum", "--timeout", "1"}, `error: invalid argument "1" for "--timeout" flag: time: missing unit in duration "1"` + "\nhint: gameserverd call --help lists the flags\n"},
	} {
		out, errText, code := runHere(t, c.args...)
		if errText = strings.ReplaceAll(errText, binary, "gameserverd"); out != "" || errText != c.want || code != 2 {
			t.Errorf("%q: %q, %q, %d", c.args, out, errText, code)
		}
	}
	out, errText, code := runHere(t)
	if code != 0 || errText != "" || !strings.Contains(out, "Available Commands:") {
		t.Errorf("no arguments: exit code %d\n%s%s", code, out, errText)
	}
	for _, cmd := range newRoot("gameserverd").Commands() {
		out, _, code := runHere(t, cmd.Name(), "--help")
		if code != 0 || !strings.Contains(out, "Examples:\n  gameserverd "+cmd.Name()) {
			t.Errorf("%s --help has no example:\n%s", cmd.Name(), out)
		}
	}
}

// A reader that has gone, as in `gameserverd routes | head -1`, is no crash.
func TestClosedOutput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd := exec.Command(binary, "routes")
	cmd.Stdout = w
	var errText strings.Builder
	cmd.Stderr = &errText
	_ = cmd.Run() // ended by SIGPIPE, as is usual
	w.Close()
	wantNothing(t, "standard error", errText.String())
}
