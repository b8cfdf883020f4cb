package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"gameserverd/internal/ctl"
)

// ctl runs `gameserverd ctl` in the daemon's folder.
func (d *daemon) ctl(args ...string) (out, err string, code int) {
	d.t.Helper()
	return runIn(d.t, d.cmd.Dir, nil, append([]string{"ctl"}, args...)...)
}

// want runs ctl and compares its output with a pattern.
func (d *daemon) want(pattern string, args ...string) {
	d.t.Helper()
	out, errText, code := d.ctl(args...)
	if code != 0 || !regexp.MustCompile(pattern).MatchString(out) {
		d.t.Errorf("ctl %q: exit code %d, no %s in\n%s%s", args, code, pattern, out, errText)
	}
}

// listen is a player who waits and prints what comes.
func (d *daemon) listen(login string) *process {
	d.t.Helper()
	p := launch(d.t, d.t.TempDir(), nil, "call", "--addr", d.addr, "--login", login, "--wait", "1h", "room.join", "lobby")
	p.until(p.out, `room.joined`)
	return p
}

func TestCtl(t *testing.T) {
	d := serveOn(t)
	seven := d.listen("dev:7")
	d.want(`(?m)^daemon +gameserverd v0\.0\.0-test, process \d+, for \S+ since 20`, "status")
	d.want(`(?m)^state +serving$`, "status")
	d.want(`(?m)^connections +1 of \d+ at most, 1 logged in$`, "status")
	d.want(`(?m)^store sql +up since`, "status")
	d.want(`(?m)^UID +CONN +PEER +VIA +AGE +SILENT +WAITING +MAILBOX +CALLS +ROOMS +MESSAGES\n7 +\d+ +127\.0\.0\.1:\d+ +\w+ frames +\S+ +\S+ +0 B +0 +0 +1 +\d+\n$`, "sessions")
	d.want(`PER SECOND\n7 .* 0\.0\n$`, "sessions", "--sort", "rate", "--limit", "1")
	d.want(`^\{"total":1,"sessions":\[\{"uid":7,`, "sessions", "--json")
	d.want(`^info\n$`, "loglevel")
	d.want(`^debug\n$`, "loglevel", "debug")
	d.want(`^\{"level":"info"\}\n$`, "loglevel", "info", "--json")
	d.want(`(?m)^reloaded, 0 settings changed$`, "reload")
	d.want(`^sent to 1 players\n$`, "broadcast", "--message", "7")
	seven.until(seven.out, `(?m)^\{"notification":"sys.notice","params":\["7"\]\}$`)
	d.want(`^\{"sessions":1\}\n$`, "broadcast", "event.began", `{"hours":-2}`, "-1.5", "word", "--json")
	seven.until(seven.out, `(?m)^\{"notification":"event.began","params":\[\{"hours":-2\},-1\.5,"word"\]\}$`)
	d.want(`^player 7 was told to go\n$`, "kick", "7", "--message", "see you")
	if code := seven.exit(); code != 1 || !strings.Contains(seven.err.String(), "error: kicked: the server closed the connection: see you") {
		t.Errorf("the player ends with %d:\n%s", code, seven.err)
	}
	if out, errText, code := d.ctl("kick", "7"); code != 1 || errText != "error: player 7 is not online on this daemon\n" {
		t.Errorf("%q %q %d", out, errText, code)
	}
	d.until(d.err, `INFO  an operator's command  \{"command": "kick", "by_uid": \d+, "by_pid": \d+, "uid": 7, "code": "kicked", "why": "see you", "online": true\}`)
	info, err := os.Stat(filepath.Join(d.cmd.Dir, "data", ctl.SocketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v %v", info, err)
	}
	if code := d.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.err)
	}
}

func TestCtlTrace(t *testing.T) {
	d := serveOn(t)
	people := launch(t, d.cmd.Dir, nil, "ctl", "trace", "7", "--for", "1h")
	people.until(people.err, `the messages of player 7 for 1h0m0s`)
	programs := launch(t, d.cmd.Dir, nil, "ctl", "trace", "7", "--for", "1h", "--json")
	d.until(d.err, `(?s)"command": "trace".*"command": "trace"`)
	d.call("save.put", "slot", `"`+strings.Repeat("x", 100)+`"`, "--login", "dev:7")
	people.until(people.out, `(?m)^\d\d:\d\d:\d\d\.\d{3}  in   request 2 +save\.put \["slot","x{64}… \(100 bytes\)"\]  1\d\d B$`)
	people.until(people.out, `(?m)^\d\d:\d\d:\d\d\.\d{3}  out  response 2 +save\.put .*, [\d.]+(µ|m)?s$`)
	line := programs.until(programs.out, `(?m)^(\{.*"method":"save\.put","body":\["slot".*\})$`)[1]
	var traced ctl.Traced
	if err := json.Unmarshal([]byte(line), &traced); err != nil || traced.Dir != "in" || traced.Kind != "request" {
		t.Errorf("%v: %s", err, line)
	}
	people.signal(syscall.SIGINT)
	if code := people.exit(); code != 0 {
		t.Errorf("exit code %d\n%s", code, people.err)
	}
	if code := d.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.err)
	}
	if code := programs.exit(); code != 0 || !strings.Contains(programs.out.String(), `"end":"the daemon ends"`) {
		t.Errorf("exit code %d\n%s%s", code, programs.out, programs.err)
	}
	if text := people.out.String() + programs.out.String(); strings.Contains(text, "dev:7") {
		t.Errorf("the token is shown:\n%s", text)
	}
}

func TestCtlDrain(t *testing.T) {
	d := serveOn(t)
	d.listen("dev:7")
	d.want(`^drained in \S+: everything was answered\n$`, "drain", "--wait")
	if code := d.exit(); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.err)
	}
	d.until(d.err, `draining +\{"why": "gameserverd ctl drain, by uid \d+"`)

	cut := serveOn(t, "GAMESERVERD_SHUTDOWN_DEADLINE=300ms")
	stuck(t, cut)
	if out, errText, code := cut.ctl("drain", "--wait"); code != 3 || out != "" || !strings.Contains(errText, "the drain was cut by shutdown.deadline (300ms); calls not answered: 2") {
		t.Errorf("%q %q %d", out, errText, code)
	}
	if code := cut.exit(); code != 3 {
		t.Errorf("exit code %d\n%s", code, cut.err)
	}
}

func TestCtlFindsTheDaemon(t *testing.T) {
	d := serveOn(t)
	file := keep(t, d.cmd.Dir, "broken.yaml", "data_dir: ./data\nnonsense: 1\n")
	for _, args := range [][]string{{"--socket", "data/ctl.sock"}, {"--config", file}} {
		out, errText, code := d.ctl(append(args, "loglevel")...)
		if code != 0 || out != "info\n" || strings.Contains(errText, "note: ") != (args[0] == "--config") {
			t.Errorf("%q: %q %q %d", args, out, errText, code)
		}
	}
	dir := t.TempDir()
	env := []string{"GAMESERVERD_DATA_DIR=" + filepath.Join(d.cmd.Dir, "data")}
	if out, errText, code := runIn(t, dir, env, "ctl", "loglevel"); code != 0 || out != "info\n" {
		t.Errorf("by the environment: %q %q %d", out, errText, code)
	}
	d.signal(syscall.SIGKILL)
	d.exit()
	if _, errText, code := d.ctl("status"); code != 1 || !strings.Contains(errText, "nobody answers at data/ctl.sock") || !strings.Contains(errText, "\nhint: ") {
		t.Errorf("after a crash: %q %d", errText, code)
	}
	d = serveIn(t, d.cmd.Dir) // takes the socket's place
	d.want(`(?m)^state +serving`, "status")
}

func TestCtlHints(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		want string
		code int
		args []string
	}{
		{"error: no daemon has its socket at data/ctl.sock\nhint: ", 1, []string{"status"}},
		{`{"code":"unavailable","message":"no daemon has its socket`, 1, []string{"status", "--json"}},
		{`ctl has no "nonsense"; it has status, `, 2, []string{"nonsense"}},
		{"kick takes one player's number", 2, []string{"kick"}},
		{`"0" is no player's number`, 2, []string{"kick", "0"}},
		{`"x" is no player's number`, 2, []string{"trace", "x"}},
		{"--for takes a duration from 1s to 1h", 2, []string{"trace", "7", "--for", "2h"}},
		{"broadcast takes a METHOD or a --message", 2, []string{"broadcast"}},
		{"--message sends sys.notice", 2, []string{"broadcast", "m", "--message", "x"}},
		{"argument 1: { is not JSON", 2, []string{"broadcast", "m", "{"}},
		{"if any flags in the group [socket config] are set", 2, []string{"status", "--socket", "x", "--config", "y"}},
		{"--sort takes one of waiting, rate, age, silent", 2, []string{"sessions", "--sort", "luck"}},
		{"--limit takes a number from 1", 2, []string{"sessions", "--limit", "0"}},
		{"absent.yaml", 2, []string{"status", "--config", "absent.yaml"}},
	} {
		out, errText, code := runIn(t, dir, nil, append([]string{"ctl"}, c.args...)...)
		if code != c.code || out != "" || !strings.Contains(errText, c.want) {
			t.Errorf("%q: exit code %d: %s%s", c.args, code, out, errText)
		}
	}
	for _, cmd := range newCtl("gameserverd").Commands() {
		if out, _, code := runHere(t, "ctl", cmd.Name(), "--help"); code != 0 || !strings.Contains(out, "gameserverd ctl "+cmd.Name()) {
			t.Errorf("%s --help has no example:\n%s", cmd.Name(), out)
		}
	}
}
