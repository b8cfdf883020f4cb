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
}

// from is who asks from there, with those headers.
func from(addr string, headers ...string) asker {
	req, _ := http.NewRequest("GET", "/", nil)
	req.RemoteAddr = addr
	for _, key := range headers {
		req.Header.Set(key, "x")
	}
	return askerOf(req)
}

// A wrong token a second, from 12 addresses, kept out everybody who had the right one.
func TestGuessersElsewhereKeepNobodyOut(t *testing.T) {
	r := start(t, withToken)
	now := time.Now()
	r.signins.now = func() time.Time { return now }
	guess := func(addr string, may bool) {
		t.Helper()
		if got := r.signins.try(from(addr)); got != may {
			t.Fatalf("a try from %s: %v", addr, got)
		}
	}
	for i := range triesAll {
		guess(fmt.Sprintf("192.0.2.%d:1", i%12), true)
	}
	for i := range 12 {
		guess(fmt.Sprintf("192.0.2.%d:1", i), false)
	}
	guess("192.0.2.100:1", true) // has not guessed yet
	guess("192.0.2.100:1", false)
	r.want("a slip", r.signInWith("a wrong token of 20"), http.StatusUnauthorized, "")
	r.want("who has the token", r.signInWith(testToken), 200, "csrf")
	for n := len(r.signins.tries); n < triesFirst; n++ {
		guess(fmt.Sprintf("[2001:db8:%x:%x00::1]:1", n>>8, n&0xff), true)
	}
	guess("192.0.2.200:1", false)
	guess("[::1]:1", true)
	r.want("who has the token, by ssh -L", r.signInWith(testToken), 200, "csrf")
	if n := len(r.signins.tries); n > triesFirst+2 {
		t.Errorf("%d addresses are remembered", n)
	}
	now = now.Add(triesWindow + time.Second)
	guess("192.0.2.200:1", true)
}

// Those who guess through a proxy on this machine, and who comes by ssh, have the same
// address.
func TestGuessersBehindAProxyAreApart(t *testing.T) {
	r := start(t, withToken)
	for range triesEach {
		r.want("a guess", r.post("/console/signin", `{"token":"a guess"}`, header("X-Forwarded-For", "192.0.2.1")), http.StatusUnauthorized, "")
	}
	r.want("one more", r.post("/console/signin", `{"token":"`+testToken+`"}`, header("X-Forwarded-For", "192.0.2.1")), http.StatusTooManyRequests, "")
	r.want("by ssh", r.signInWith(testToken), 200, "csrf")
}

func TestWhoIsCountedAsOne(t *testing.T) {
	for _, pair := range []struct {
		a, b asker
		one  bool
	}{
		{from("192.0.2.1:1"), from("192.0.2.1:2"), true}, {from("192.0.2.1:1"), from("[::ffff:192.0.2.1]:1"), true}, {from("192.0.2.1:1"), from("192.0.2.2:1"), false},
		{from("[2001:db8:0:1::1]:1"), from("[2001:db8:0:2::1%eth0]:1"), true}, {from("[2001:db8:0:1::1]:1"), from("[2001:db8:0:100::1]:1"), false},
		{from("127.0.0.1:1"), from("127.0.0.1:1", "Via"), false}, {from("@"), from("@"), true},
	} {
		if (pair.a == pair.b) != pair.one {
			t.Errorf("%v and %v", pair.a, pair.b)
		}
	}
}

// However many guess, what is written of them is bounded, and says how many more there were.
func TestGuessesFillNoDisk(t *testing.T) {
	r := start(t, withToken)
	now := time.Now()
	r.signins.now = func() time.Time { return now }
	wrong := func(n int) {
		for range n {
			if told, before := r.signins.tell(); told != (r.signins.lines <= triesAll) || before != 0 {
				t.Fatalf("line %d: %v, %d", r.signins.lines, told, before)
			}
		}
	}
	wrong(triesAll + 7)
	now = now.Add(triesWindow + time.Second)
	r.want("a guess", r.signInWith("a wrong token of 20"), http.StatusUnauthorized, "")
	if lines := r.logs.FilterMessage("more wrong tokens for the console were tried").All(); len(lines) != 1 || lines[0].ContextMap()["left_out"] != int64(7) {
		t.Errorf("%v", lines)
	}
	wrong(triesAll)
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
