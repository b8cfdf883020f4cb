package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"gameserverd/client"
	"gameserverd/internal/config"
	"gameserverd/internal/console"
)

// consolePage is what the console's page does, without a browser.
type consolePage struct {
	t    *testing.T
	url  string
	csrf string
	http http.Client
}

func (s *testServer) openConsole(t *testing.T) *consolePage {
	t.Helper()
	eventually(t, "serving", func() bool { ok, _ := s.Ready(); return ok })
	p := &consolePage{t: t, url: "http://" + s.AdminAddr(), http: http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}}
	t.Cleanup(p.http.CloseIdleConnections)
	var hello struct {
		CSRF string `json:"csrf"`
	}
	p.get("/console/hello", &hello)
	p.csrf = hello.CSRF
	return p
}

func (p *consolePage) get(path string, out any) int {
	p.t.Helper()
	resp, err := p.http.Get(p.url + path)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.decode(resp, out)
}

func (p *consolePage) post(path, body string, out any) int {
	p.t.Helper()
	req, _ := http.NewRequest("POST", p.url+path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-CSRF-Token", p.csrf)
	resp, err := p.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.decode(resp, out)
}

func (p *consolePage) decode(resp *http.Response, out any) int {
	p.t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && out != nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil {
		p.t.Errorf("%s: %v", b, err)
	}
	return resp.StatusCode
}

// tried is what a method has answered.
type tried struct {
	Result, Way string
	Error       *struct{ Code, Message string }
}

func (p *consolePage) try(uid uint64, method, params string) (a tried) {
	p.t.Helper()
	if status := p.post("/console/call", fmt.Sprintf(`{"uid":"%d","method":%q,"params":%s}`, uid, method, params), &a); status != 200 {
		p.t.Errorf("%s: status %d", method, status)
	}
	return a
}

func consoleConfig(t *testing.T) *config.Config {
	cfg := testConfig(t.TempDir())
	cfg.Listen.Admin = "127.0.0.1:0"
	return cfg
}

// A method that an operator tries goes the way of the player's own: checked, in order,
// stored; and the player's session stays as it is.
func TestConsoleTriesMethods(t *testing.T) {
	s := start(t, consoleConfig(t), nil)
	p := s.openConsole(t)
	c := s.login(7)
	if a := p.try(7, "player.rename", `["Ada"]`); a.Error != nil || !strings.Contains(a.Result, `"Ada"`) || !strings.Contains(a.Way, "the player's session") {
		t.Errorf("online: %+v", a)
	}
	if a := p.try(7, "shop.buy", `["potion", 1000000]`); a.Error == nil || a.Error.Code != "failed_precondition" {
		t.Errorf("a rule of the game: %+v", a)
	}
	if a := p.try(7, "shop.buy", `["potion", "one"]`); a.Error == nil || a.Error.Code != "invalid_argument" || !strings.Contains(a.Error.Message, "count") {
		t.Errorf("a wrong param: %+v", a)
	}
	var me struct {
		Name string `msgpack:"name"`
	}
	if err := c.Call(testContext(t), "player.get", &me); err != nil || me.Name != "Ada" {
		t.Errorf("the player's own session: %+v %v", me, err)
	}
	if a := p.try(8, "player.rename", `["Bob"]`); a.Error != nil || !strings.Contains(a.Way, "logged in") {
		t.Errorf("offline: %+v", a)
	}
	if a := p.try(8, "player.get", `[]`); a.Error != nil || !strings.Contains(a.Result, `"Bob"`) {
		t.Errorf("offline: %+v", a)
	}
	if a := p.try(0, "sum", `[1, 9223372036854775806]`); a.Result != "9223372036854775807" || !strings.Contains(a.Way, "without a login") {
		t.Errorf("nobody: %+v", a)
	}
	if a := p.try(0, "player.get", `[]`); a.Error == nil || a.Error.Code != "unauthenticated" {
		t.Errorf("nobody: %+v", a)
	}
	if a := p.try(7, "no.method", `[]`); a.Error == nil || a.Error.Code != "unimplemented" {
		t.Errorf("%+v", a)
	}
	if err := c.Err(); err != nil {
		t.Errorf("the player was disturbed: %v", err)
	}
	eventually(t, "the connections of the calls are closed", func() bool { return s.peers.Connections() == 1 })
	if n := len(s.passes.uid); n != 0 {
		t.Errorf("%d tokens are left", n)
	}
	audit, err := os.ReadFile(filepath.Join(s.cfg.DataDir, "audit.log"))
	if err != nil || strings.Count(string(audit), `"action":"call"`) != 16 || strings.Contains(string(audit), "Ada") {
		t.Errorf("%s %v", audit, err)
	}
}

// Where logins need signed tokens, an operator's call still needs none, nobody else
// gets in by it, and listeners that want TLS or a PROXY header are not in its way.
func TestConsoleNeedsNoTokenOfAPlayer(t *testing.T) {
	cfg := consoleConfig(t)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("0123456789abcdefghijklmnopqrstuvwxyzABCD"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Auth.Mode, cfg.Auth.JWT.SecretFile = "jwt", []string{key}
	cfg.Listen.ProxyProtocolFrom = []string{"127.0.0.0/8", "unix"}
	s := start(t, cfg, nil)
	p := s.openConsole(t)
	if a := p.try(7, "player.get", `[]`); a.Error != nil || !strings.Contains(a.Result, `"uid":7`) {
		t.Errorf("%+v", a)
	}
	token := s.passes.issue(9)
	if uid, err := (verifier{s.Server}).Verify(token); uid != 9 || err != nil {
		t.Errorf("%d %v", uid, err)
	}
	for _, stale := range []string{token, "console:", "console:x", "dev:9"} {
		if uid, err := (verifier{s.Server}).Verify(stale); uid != 0 || err == nil {
			t.Errorf("%s is good for %d", stale, uid)
		}
	}
	eventually(t, "the connection of the call is closed", func() bool { return s.peers.Connections() == 0 })
}

// The player who logs in after the operator's call has found nobody is not thrown out
// by it: the call goes through the session that is there by then.
func TestConsoleThrowsOutNobodyWhoLogsInMeanwhile(t *testing.T) {
	s := start(t, consoleConfig(t), nil)
	eventually(t, "serving", func() bool { ok, _ := s.Ready(); return ok })
	c := s.login(7)
	a, err := s.callOnItsOwn(testContext(t), console.Call{UID: 7, Method: "player.rename", Params: []any{"Ada"}})
	if err != nil || !strings.Contains(a.Way, "the player's session") {
		t.Errorf("%+v %v", a, err)
	}
	var me struct {
		Name string `msgpack:"name"`
	}
	if err := c.Call(testContext(t), "player.get", &me); err != nil || me.Name != "Ada" {
		t.Errorf("the player: %+v %v", me, err)
	}
	eventually(t, "the connection of the call is closed", func() bool { return s.peers.Connections() == 1 })
}

// A connection that cannot be made leaves nothing open, and does not wait for the
// garbage collector to close it.
func TestConsoleLeavesNoDescriptor(t *testing.T) {
	s := start(t, consoleConfig(t), nil)
	eventually(t, "serving", func() bool { ok, _ := s.Ready(); return ok })
	s.Shutdown("the test is over")
	<-s.ended
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	open := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before := open()
	for range 20 {
		if c, err := s.dialInside(7); err == nil {
			t.Error("a loop that has ended takes connections")
			c.Close()
		}
	}
	if after := open(); after >= before+20 {
		t.Errorf("%d descriptors, and %d before", after, before)
	}
}

func TestConsoleSeesAndTellsPlayers(t *testing.T) {
	s := start(t, consoleConfig(t), nil)
	p := s.openConsole(t)
	c := s.dial(client.WithoutReconnect())
	heard := make(chan string, 1)
	client.On(c, "sys.notice", func(_ context.Context, m struct{ Text string }) { heard <- m.Text })
	if _, err := c.Login(testContext(t), "dev:7"); err != nil {
		t.Fatal(err)
	}
	if err := c.Call(testContext(t), "room.join", nil, "lobby"); err != nil {
		t.Fatal(err)
	}
	var one struct {
		UID, Peer string
		RoomNames []string `json:"room_names"`
	}
	if status := p.get("/console/player?uid=7", &one); status != 200 || one.UID != "7" || len(one.RoomNames) != 1 || one.RoomNames[0] != "lobby" || one.Peer == "" {
		t.Errorf("%d %+v", status, one)
	}
	p.post("/console/message", `{"uid":"7","text":"the server restarts at 9"}`, nil)
	select {
	case text := <-heard:
		if text != "the server restarts at 9" {
			t.Error(text)
		}
	case <-testContext(t).Done():
		t.Error("nothing came")
	}
	p.post("/console/kick", `{"uid":"7","message":"bye"}`, nil)
	<-c.Done()
	if err := c.Err(); err == nil || !strings.Contains(err.Error(), "bye") {
		t.Error(err)
	}
	if status := p.get("/console/player?uid=7", nil); status != 404 {
		t.Errorf("status %d", status)
	}
}

// What a player has done a moment before was not to be seen: only what is under way.
func TestConsoleShowsTheLastCallsOfAPlayer(t *testing.T) {
	s := start(t, consoleConfig(t), nil)
	p := s.openConsole(t)
	c := s.dial(client.WithoutReconnect())
	if _, err := c.Login(testContext(t), "dev:7"); err != nil {
		t.Fatal(err)
	}
	if err := c.Call(testContext(t), "shop.buy", nil, "sword", 1000); err == nil {
		t.Fatal("a thousand swords were bought")
	}
	look := func() (one console.Player) {
		t.Helper()
		if status := p.get("/console/player?uid=7", &one); status != 200 || one.SlowMS != 10 || one.AllSince == nil {
			t.Fatalf("%d %+v", status, one)
		}
		return one
	}
	last := look().Last
	if len(last) == 0 || last[0].Method != "shop.buy" || last[0].Code != "failed_precondition" || time.Since(last[0].At) > time.Minute {
		t.Fatalf("%+v", last)
	}
	if err := c.Call(testContext(t), "player.get", nil); err != nil {
		t.Fatal(err)
	}
	if last = look().Last; last[0].Method != "player.get" || last[0].Code != "" || last[1].Method != "shop.buy" {
		t.Errorf("%+v", last)
	}
}

// A page that is open sees the drain to its end and does not hold it up.
func TestConsoleSeesTheDrain(t *testing.T) {
	s := start(t, consoleConfig(t), nil)
	p := s.openConsole(t)
	s.login(7)
	req, _ := http.NewRequestWithContext(testContext(t), "GET", p.url+"/console/live", nil)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	scan := bufio.NewScanner(resp.Body)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() && !strings.HasPrefix(scan.Text(), "event: tick") {
	}
	began := time.Now()
	s.Shutdown("the test is over")
	seen := ""
	for scan.Scan() {
		if name, ok := strings.CutPrefix(scan.Text(), "event: "); ok {
			seen = name
		}
	}
	<-s.ended
	if took := time.Since(began); seen != "end" || took > s.cfg.Shutdown.Deadline || !s.report.Clean {
		t.Errorf("the last event is %q; the drain took %v: %+v", seen, took, s.report)
	}
}

func TestConsoleTokenIsReloaded(t *testing.T) {
	cfg := consoleConfig(t)
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("short")
	cfg.Admin.TokenFile = file
	if err := Check(cfg, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "admin.token_file") || strings.Contains(err.Error(), "short") {
		t.Errorf("a short token: %v", err)
	}
	write("a-token-that-is-long-enough")
	s := start(t, cfg, nil)
	p := s.openConsole(t)
	if status := p.get("/console/methods", nil); status != 401 {
		t.Errorf("status %d", status)
	}
	signIn := func(token string) int { return p.post("/console/signin", fmt.Sprintf(`{"token":%q}`, token), nil) }
	write("another-token-long-enough-too")
	next := *cfg
	if _, _, err := s.Reload(&next); err != nil {
		t.Fatal(err)
	}
	if old, now := signIn("a-token-that-is-long-enough"), signIn("another-token-long-enough-too"); old != 401 || now != 200 {
		t.Errorf("old token %d, new token %d", old, now)
	}
	write("x")
	if _, _, err := s.Reload(&next); err == nil {
		t.Error("a bad token was taken over")
	}
	if now := signIn("another-token-long-enough-too"); now != 200 {
		t.Errorf("after a refused reload: %d", now)
	}
}

func TestConsoleNeedsItsAuditLog(t *testing.T) {
	cfg := consoleConfig(t)
	cfg.Admin.AuditFile = filepath.Join(t.TempDir(), "none", "audit.log")
	if _, err := New(cfg, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "admin.audit_file") {
		t.Errorf("%v", err)
	}
	cfg.Admin.Console = false
	s := start(t, cfg, nil)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + s.AdminAddr() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); !strings.Contains(string(b), "/healthz") {
		t.Errorf("%s", b)
	}
}
