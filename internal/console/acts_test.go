package console

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"gameserverd/internal/ctl"
	"gameserverd/internal/disktest"
	"gameserverd/wire"
)

// What is changed was written down before; what cannot be written down is not done.
func TestNothingIsDoneWithoutItsLine(t *testing.T) {
	r := start(t)
	r.hello()
	info, err := os.Stat(r.auditAt)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	r.want("kick", r.post("/console/kick", `{"uid":"7","message":"bye","reconnect":true}`), 200, `"kicked":true`)
	r.want("kick", r.post("/console/kick", `{"uid":"8"}`), 200, `"kicked":false`)
	r.want("call", r.post("/console/call", `{"uid":"7","method":"save.put","params":["key","a secret of the player"]}`), 200, "")
	r.want("act", r.post("/console/tasks/act", `{"id":"0","action":"retry"}`), 404, "no task 0")
	var all []string
	for _, e := range r.lines() {
		all = append(all, fmt.Sprintf("%s %d %s %s %q %s", e.Action, e.UID, e.Method, e.Task, e.Text, e.Result))
	}
	want := `kick 7   "bye" ` + "\n" + `kick 0   "" kicked` + "\n" + `kick 8   "" ` + "\n" + `kick 0   "" was not online` + "\n" +
		`call 7 save.put  "" ` + "\n" + `call 0   "" ok` + "\n" + `task retry 0  0 "" ` + "\n" + `task retry 0   "" error: not_found: there is no task 0`
	if got := strings.Join(all, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	raw, _ := os.ReadFile(r.auditAt)
	for _, e := range r.logs.All() {
		raw = append(raw, fmt.Sprint(e.Message, e.ContextMap())...)
	}
	if strings.Contains(string(raw), "secret of") {
		t.Error("a param is in a log")
	}
	r.done()
	_ = r.o.Audit.close() // the disk is gone
	for path, body := range acts {
		r.want(path, r.post(path, body), 503, "audit log")
	}
	r.want("trace", r.get("/console/trace?uid=7"), 503, "audit log")
	if did := r.done(); did != "" {
		t.Errorf("it was done all the same: %s", did)
	}
	if n := r.logs.FilterMessage("the audit log cannot be written to").Len(); n != len(acts)+1 {
		t.Errorf("%d lines say so", n)
	}
	_ = r.Reopen() // which cannot close the old file: it is closed
	r.want("after a reopen", r.post("/console/kick", `{"uid":"7"}`), 200, "true")
}

// A disk that was full in the middle of a line damaged the line of the next act.
func TestTheAuditLogAfterAFullDisk(t *testing.T) {
	r := start(t)
	r.hello()
	r.want("kick", r.post("/console/kick", `{"uid":"7"}`), 200, "")
	disktest.Full(t, r.auditAt, 40, func() {
		r.want("while it is full", r.post("/console/kick", `{"uid":"8","message":"full"}`), 503, "audit log")
	})
	r.want("room again", r.post("/console/kick", `{"uid":"9"}`), 200, "")
	var uids []uint64
	for _, e := range r.lines() { // which are JSON
		uids = append(uids, e.UID)
	}
	if want := []uint64{7, 0, 9, 0}; !slices.Equal(uids, want) {
		t.Errorf("lines of %v, want %v", uids, want)
	}
}

func TestTheAuditLogFollowsItsName(t *testing.T) {
	r := start(t)
	r.hello()
	r.post("/console/kick", `{"uid":"7"}`)
	if err := os.Rename(r.auditAt, r.auditAt+".1"); err != nil {
		t.Fatal(err)
	}
	if err := r.Reopen(); err != nil {
		t.Fatal(err)
	}
	r.post("/console/kick", `{"uid":"8"}`)
	if lines := r.lines(); len(lines) != 2 || lines[0].UID != 8 {
		t.Errorf("%+v", lines)
	}
	if err := os.Chmod(r.auditAt, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAudit("/nonexistent/audit.log"); err == nil {
		t.Error("a folder that is not there")
	}
}

func TestKickAndMessage(t *testing.T) {
	r := start(t)
	r.hello()
	r.want("kick", r.post("/console/kick", `{"uid":"7"}`), 200, "true")
	if did := r.done(); did != `kick 7 kicked "an operator has ended the session" false` {
		t.Error(did)
	}
	r.want("message", r.post("/console/message", `{"uid":"7","text":"Grüße"}`), 200, `"sent":true`)
	r.want("to nobody", r.post("/console/message", `{"uid":"8","text":"x"}`), 200, `"sent":false`)
	if did := r.done(); did != `message 7 "Grüße"` {
		t.Error(did)
	}
	for _, bad := range []string{`{"uid":"0","text":"x"}`, `{"uid":"7","text":" "}`, `{"uid":7,"text":"x"}`, `{"uid":"-1","text":"x"}`, `{"uid":"7","text":"` + strings.Repeat("x", maxText+1) + `"}`} {
		r.want(bad[:20], r.post("/console/message", bad), 400, "invalid_argument")
	}
	r.want("big uid", r.post("/console/kick", `{"uid":"18446744073709551615"}`), 200, "false")
	if did := r.done(); !strings.HasPrefix(did, "kick 18446744073709551615 ") {
		t.Error(did)
	}
}

func TestTryAMethod(t *testing.T) {
	r := start(t)
	r.hello()
	g := r.post("/console/call", `{"uid":"7","method":"sum","params":[18446744073709551615, "x", {"$bin":"AAE="}]}`)
	r.want("call", g, 200, `"way":"so"`)
	var c called
	if err := json.Unmarshal([]byte(g.body), &c); err != nil || c.Result != `[9223372036854775808,"x"]` || c.Error != nil {
		t.Errorf("%+v %v", c, err)
	}
	if did := r.done(); did != "call 7 sum [18446744073709551615 x [0 1]]" {
		t.Error(did)
	}
	r.want("an error of the method", r.post("/console/call", `{"uid":"0","method":"fail","params":[]}`), 200, `{"code":"aborted","message":"no","data":"{\"version\":3}","retry_after_ms":1000}`)
	r.want("another error", r.post("/console/call", `{"uid":"0","method":"crash","params":[]}`), 200, `"code":"internal"`)
	r.done()
	for _, bad := range []string{`{"uid":"0","method":"auth.login","params":["dev:7"]}`, `{"uid":"0","method":"auth.logout","params":[]}`, `{"uid":"0","method":"","params":[]}`, `{"uid":"0","method":"no such name","params":[]}`} {
		r.want(bad, r.post("/console/call", bad), 400, "invalid_argument")
	}
	r.want("a param", r.post("/console/call", `{"uid":"0","method":"sum","params":[1,{"$bin":"?"}]}`), 400, "param 2")
	if did := r.done(); did != "" {
		t.Error(did)
	}
}

func TestFewMethodsAreTriedAtOnce(t *testing.T) {
	r := start(t)
	r.hello()
	var running sync.WaitGroup
	for range maxCalls {
		running.Go(func() { r.post("/console/call", `{"uid":"0","method":"hold","params":[]}`) })
	}
	eventually(t, "all are under way", func() bool { return len(r.Console.calls) == maxCalls })
	r.want("one more", r.post("/console/call", `{"uid":"0","method":"sum","params":[]}`), 503, "resource_exhausted")
	close(r.held)
	running.Wait()
	r.want("later", r.post("/console/call", `{"uid":"0","method":"sum","params":[]}`), 200, "")
}

func TestPlayersArePaged(t *testing.T) {
	r := start(t)
	for i := range 120 {
		r.sessions = append(r.sessions, ctl.Session{UID: uint64(i + 1), Waiting: i, AgeMS: int64(200 - i), Peer: fmt.Sprintf("10.0.0.%d:1", i)})
	}
	list := func(query string) (l playerList) {
		t.Helper()
		g := r.get("/console/players?" + query)
		if g.status != 200 || json.Unmarshal([]byte(g.body), &l) != nil {
			t.Fatalf("%s: %d %s", query, g.status, g.body)
		}
		return l
	}
	if l := list("sort=waiting&offset=0&limit=50"); l.Total != 120 || len(l.Sessions) != 50 || l.Sessions[0].UID != 120 {
		t.Errorf("%+v", l.Sessions[0])
	}
	if l := list("sort=waiting&offset=100&limit=50"); len(l.Sessions) != 20 || l.Sessions[19].UID != 1 {
		t.Errorf("%+v", l)
	}
	if l := list("sort=age&offset=0&limit=1"); l.Sessions[0].UID != 1 {
		t.Errorf("%+v", l)
	}
	if l := list("sort=waiting&offset=0&limit=50&find=12"); l.Total != 2 || l.Sessions[0].UID != 120 {
		t.Errorf("%+v", l)
	}
	if l := list("sort=waiting&offset=0&limit=50&find=10.0.0.11"); l.Total != 11 {
		t.Errorf("%d", l.Total)
	}
	if l := list("sort=waiting&offset=1000&limit=50"); len(l.Sessions) != 0 || l.Total != 120 {
		t.Errorf("%+v", l)
	}
	for _, bad := range []string{"sort=x&offset=0&limit=1", "offset=-1&limit=1", "offset=0&limit=201", "offset=0&limit=0", ""} {
		r.want(bad, r.get("/console/players?"+bad), 400, "invalid_argument")
	}
	r.want("one", r.get("/console/player?uid=7"), 200, `"conn":"1152921504606846976"`)
	r.want("nobody", r.get("/console/player?uid=8"), 404, "not online")
	r.want("no uid", r.get("/console/player?uid=x"), 400, "uid")
	r.want("a big answer is text", r.get("/console/players?offset=0&limit=1"), 200, `"uid":"120"`)
}

// A connection that the log names was not to be found.
func TestAPlayerIsFoundByConnection(t *testing.T) {
	r := start(t)
	r.sessions = []ctl.Session{{UID: 4, Conn: 512, Loop: 1, Peer: "10.0.0.1:1"}, {UID: 42, Conn: 5121, Peer: "10.0.0.2:1"}, {Conn: 42, Peer: "10.0.0.3:1"}}
	for find, want := range map[string]string{"512": "4", "conn+512": "4", "51": "", "42": "0 42", "conn+42": "0", "4": "4 42", "conn+": ""} {
		var l playerList
		g := r.get("/console/players?offset=0&limit=10&find=" + find)
		if g.status != 200 || json.Unmarshal([]byte(g.body), &l) != nil {
			t.Fatalf("%s: %d %s", find, g.status, g.body)
		}
		var uids []string
		for _, one := range l.Sessions {
			uids = append(uids, strconv.FormatUint(one.UID, 10))
		}
		if got := strings.Join(uids, " "); got != want {
			t.Errorf("%s: found %q, want %q", find, got, want)
		}
	}
}

func TestTraceUntilThePageGoes(t *testing.T) {
	r := start(t)
	e := r.stream("/console/trace?uid=7")
	e.until("begun")
	body, _ := wire.AppendAny(nil, map[string]any{"n": uint64(1) << 63, "token": "a secret"})
	for range 3 {
		r.sink(ctl.Message{In: true, Kind: wire.Request, ID: 4, Method: "save.put", Body: body, Size: 20})
	}
	for range 3 {
		var m traced
		if err := json.Unmarshal([]byte(e.until("message")), &m); err != nil || m.Method != "save.put" || m.Dir != "in" {
			t.Errorf("%+v %v", m, err)
		}
		if !strings.Contains(m.Body, "9223372036854775808") || strings.Contains(m.Body, "secret") {
			t.Errorf("body %s", m.Body)
		}
	}
	for range traceBuffer + 500 { // nobody reads: it must not hold the loop
		r.sink(ctl.Message{Kind: wire.Notification, Method: "news", Body: body})
	}
	e.close()
	eventually(t, "the trace ends with its page", func() bool { return strings.Contains(r.done(), "untraced 7") })
	if lines := r.lines(); len(lines) != 2 || lines[0].Action != "trace" || lines[0].UID != 7 {
		t.Errorf("%+v", lines)
	}
	r.want("too many", r.get("/console/trace?uid=99"), 503, "16 traces")
	r.want("nobody", r.get("/console/trace?uid=0"), 400, "uid")
}

func TestTasks(t *testing.T) {
	r := start(t)
	r.hello()
	r.want("list", r.get("/console/tasks?state=archived&limit=5"), 200, `"archived":5`)
	for _, bad := range []string{"state=x&limit=5", "state=done&limit=0", "state=done&limit=1000", ""} {
		r.want(bad, r.get("/console/tasks?"+bad), 400, "invalid_argument")
	}
	r.want("run", r.post("/console/tasks/run", `{"name":"reward.daily","args":[1,"x"]}`), 200, `"id":"42"`)
	r.want("act", r.post("/console/tasks/act", `{"id":"9","action":"archive"}`), 200, "it is done")
	r.want("act", r.post("/console/tasks/act", `{"id":"9","action":"explode"}`), 400, "revoke, retry or archive")
	r.want("run", r.post("/console/tasks/run", `{"name":"","args":[]}`), 400, "name")
	if did := r.done(); did != "run reward.daily [1 x]\narchive 9" {
		t.Error(did)
	}
}
