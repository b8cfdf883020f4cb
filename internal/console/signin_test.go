package console

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOnLoopbackWithoutATokenWhoeverComesMay(t *testing.T) {
	r := start(t)
	if h := r.hello(); h.Mode != modeOpen || !h.SignedIn || h.CSRF == "" {
		t.Errorf("%+v", h)
	}
	for _, path := range asks {
		r.want(path, r.get(path), 200, "")
	}
	r.want("profiles", r.get("/debug/pprof/"), 200, "goroutine")
}

// Beyond loopback there is no console without a token, and the page says how to get one.
func TestBeyondLoopbackNobodyMayWithoutAToken(t *testing.T) {
	r := start(t, beyond)
	if h := r.hello(); h.Mode != modeClosed || h.SignedIn || h.CSRF != "" || !strings.Contains(h.How, "admin.token_file") {
		t.Errorf("%+v", h)
	}
	for _, path := range append([]string{"/console/live", "/console/trace?uid=7", "/debug/pprof/", "/debug/pprof/heap"}, asks...) {
		r.want(path, r.get(path), http.StatusForbidden, "admin.token_file")
	}
	for path, body := range acts {
		r.want(path, r.post(path, body), http.StatusForbidden, "closed")
	}
	r.want("sign-in", r.signInWith(""), http.StatusForbidden, "closed")
	for _, path := range []string{"/", "/healthz", "/readyz"} {
		r.want(path, r.get(path), 200, "")
	}
	r.settings.Store(&Settings{Token: testToken}) // a reload
	if h := r.hello(); h.Mode != modeToken || h.SignedIn {
		t.Errorf("%+v", h)
	}
	r.want("sign-in", r.signInWith(testToken), 200, "csrf")
	if did := r.done(); did != "" {
		t.Errorf("did %s", did)
	}
}

func TestSignIn(t *testing.T) {
	r := start(t, withToken)
	for _, path := range append([]string{"/console/live", "/console/trace?uid=7", "/debug/pprof/heap"}, asks...) {
		r.want(path, r.get(path), http.StatusUnauthorized, "unauthenticated")
	}
	for path, body := range acts {
		r.want(path, r.post(path, body), http.StatusUnauthorized, "unauthenticated")
	}
	r.want("a wrong token", r.signInWith("0123456789abcdeF"), http.StatusUnauthorized, "not the token")
	g := r.signInWith(testToken)
	cookie := g.header.Get("Set-Cookie")
	for _, part := range []string{r.cookie + "=", "HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("cookie %q lacks %s", cookie, part)
		}
	}
	if strings.Contains(g.body+cookie, testToken) {
		t.Error("the token is sent back")
	}
	for _, path := range append([]string{"/debug/pprof/"}, asks...) {
		r.want(path, r.get(path), 200, "")
	}
	r.want("kick", r.post("/console/kick", `{"uid":"7"}`), 200, "true")
	csrf := r.csrf
	r.csrf = "wrong"
	r.want("sign-out by another site", r.post("/console/signout", "{}"), http.StatusForbidden, "csrf")
	r.csrf = csrf
	r.want("sign-out", r.post("/console/signout", "{}"), 200, `"signed_in":false`)
	r.want("after it", r.get("/console/methods", header("Cookie", strings.Split(cookie, ";")[0])), http.StatusUnauthorized, "")
	lines := r.lines()
	want := []string{"sign-in wrong token", "sign-in ok", "kick ", "kick kicked", "sign-out "}
	for i, e := range lines {
		if i >= len(want) || e.Action+" "+e.Result != want[i] || i != 3 && e.Address == "" || e.Time.IsZero() {
			t.Errorf("line %d: %+v", i, e)
		}
	}
	if len(lines) != len(want) || lines[1].Session == "" || lines[1].Session != lines[2].Session {
		t.Errorf("%d lines", len(lines))
	}
}

func TestASessionEnds(t *testing.T) {
	r := start(t, withToken)
	now := time.Now()
	r.signins.now = func() time.Time { return now }
	in := func() bool { return r.get("/console/methods").status == 200 }
	r.signInWith(testToken)
	for _, step := range []struct {
		wait time.Duration
		in   bool
	}{{sessionIdle - time.Second, true}, {sessionIdle - time.Second, true}, {sessionIdle + time.Second, false}} {
		if now = now.Add(step.wait); in() != step.in {
			t.Errorf("after another %v: %v", step.wait, !step.in)
		}
	}
	r.signInWith(testToken)
	for range 11 {
		if now = now.Add(time.Hour); !in() {
			t.Fatal("signed out")
		}
	}
	if now = now.Add(time.Hour + time.Second); in() {
		t.Error("it lasts for ever")
	}
	r.signInWith(testToken)
	r.settings.Store(&Settings{Token: "another token of some length"})
	if in() {
		t.Error("the old token is still good for something")
	}
	if len(r.signins.sessions) != 0 {
		t.Errorf("%d sessions are kept", len(r.signins.sessions))
	}
}

func TestSessionsAreBounded(t *testing.T) {
	r := start(t, withToken)
	now := time.Now()
	r.signins.now = func() time.Time { now = now.Add(time.Millisecond); return now }
	var first string
	for i := range maxSessions + 5 {
		g := r.post("/console/signin", `{"token":"`+testToken+`"}`)
		if i == 0 {
			first = strings.Split(g.header.Get("Set-Cookie"), ";")[0]
		}
	}
	if n := len(r.signins.sessions); n != maxSessions {
		t.Errorf("%d sessions", n)
	}
	r.client.Jar = nil
	r.want("the oldest", r.get("/console/methods", header("Cookie", first)), http.StatusUnauthorized, "")
}

// Guessing is slow, per address and in all, also with Bearer; who has the token waits
// with the guessers of the same address only.
func TestGuessingIsSlow(t *testing.T) {
	r := start(t, withToken)
	now := time.Now()
	r.signins.now = func() time.Time { return now }
	for i := range triesEach {
		if i%2 == 0 {
			r.want("a guess", r.signInWith(fmt.Sprint("guess", i)), http.StatusUnauthorized, "")
		} else {
			r.want("a guess", r.get("/debug/pprof/heap", header("Authorization", "Bearer x")), http.StatusUnauthorized, "")
		}
	}
	g := r.signInWith(testToken)
	r.want("one more", g, http.StatusTooManyRequests, "wait")
	if g.header.Get("Retry-After") == "" {
		t.Error("it does not say how long")
	}
	r.want("one more", r.get("/debug/pprof/heap", header("Authorization", "Bearer "+testToken)), http.StatusTooManyRequests, "wait")
	now = now.Add(triesWindow + time.Second)
	r.want("later", r.signInWith(testToken), 200, "")
	for i := range 2 * triesAll {
		req, _ := http.NewRequest("GET", "/", nil)
		req.RemoteAddr = fmt.Sprintf("[2001:db8:0:%x::1]:1", i)
		r.signins.try(addressOf(req))
	}
	if len(r.signins.tries) > triesAll || r.signins.all != triesAll {
		t.Errorf("%d tries of %d addresses are counted", r.signins.all, len(r.signins.tries))
	}
}

func TestReadToken(t *testing.T) {
	dir := t.TempDir()
	for text, problem := range map[string]string{
		testToken: "", "  " + testToken + "\n": "", "short": "16 at least", "": "16 at least", "two words of a token": "without blanks",
		"a token of ümlauts and more": "printable", strings.Repeat("x", maxToken+1): "right file",
	} {
		path := filepath.Join(dir, "token")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := ReadToken(path)
		if problem == "" && (err != nil || token != testToken) || problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
			t.Errorf("%.30q: %q %v", text, token, err)
		}
		if err != nil && len(text) > 3 && strings.Contains(err.Error(), text) {
			t.Errorf("%v tells what is in the file", err)
		}
	}
	if _, err := ReadToken(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Error(err)
	}
}

func TestCookiesOfTwoDaemonsDiffer(t *testing.T) {
	if a, b := cookieName("127.0.0.1:5780"), cookieName("127.0.0.1:5781"); a == b {
		t.Error(a)
	}
	for addr, local := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "/run/x": true, "": false} {
		if onlyLocal(addr) != local {
			t.Errorf("%q", addr)
		}
	}
}
