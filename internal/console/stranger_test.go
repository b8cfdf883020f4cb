package console

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"gameserverd/wire"
)

// A sign-in whose body does not come keeps nobody out but, for a second, others who
// sign in.
func TestAStrangerKeepsNobodyOut(t *testing.T) {
	r := start(t, beyond, withToken)
	r.want("sign-in", r.signInWith(testToken), 200, "csrf")
	addr := strings.TrimPrefix(r.url, "http://")
	var half []*bufio.Reader
	for range maxRequests {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second)) // less than the admin server gives
		fmt.Fprintf(c, "POST /console/signin HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n", addr)
		in := bufio.NewReader(c)
		line, err := in.ReadString('\n')
		switch {
		case err != nil:
			t.Fatal(err)
		case strings.Contains(line, " 100 "): // it is waited for
			fmt.Fprint(c, "{")
			half = append(half, in)
		case !strings.Contains(line, " 503 "):
			t.Errorf("%q", line)
		}
	}
	if len(half) < 2 || len(half) > 16 {
		t.Errorf("%d sign-ins are waited for", len(half))
	}
	r.want("hello", r.get("/console/hello"), 200, "csrf")
	for _, path := range asks {
		r.want(path, r.get(path), 200, "")
	}
	r.want("kick", r.post("/console/kick", `{"uid":"7"}`), 200, "true")
	for _, in := range half {
		for line := ""; !strings.HasPrefix(line, "HTTP/1.1 4"); {
			var err error
			if line, err = in.ReadString('\n'); err != nil {
				t.Fatalf("a sign-in that does not come is waited for: %v", err)
			}
		}
	}
	eventually(t, "sign-ins again", func() bool { return r.signInWith(testToken).status == 200 })
}

// Sixteen sign-ins whose bodies do not come, again and again, kept out everybody else who
// signed in.
func TestStrangersWhoSignInSlowlyLeaveTheWayBySSH(t *testing.T) {
	r := start(t, withToken)
	for range maxSignIns { // as strangers do who hold their places
		r.entering <- struct{}{}
	}
	r.want("from elsewhere", r.post("/console/signin", `{"token":"`+testToken+`"}`, header("X-Forwarded-For", "192.0.2.1")), http.StatusServiceUnavailable, "too many")
	r.want("by ssh -L", r.signInWith(testToken), 200, "csrf")
}

func TestAnotherSiteStartsNoProfile(t *testing.T) {
	r := start(t)
	const path = "/debug/pprof/cmdline"
	for _, change := range []func(*http.Request){header("Sec-Fetch-Site", "cross-site"), header("Sec-Fetch-Site", "same-site"),
		header("Origin", "http://evil.example"), header("Origin", "null")} {
		r.want("another site", r.get(path, change), http.StatusForbidden, "cross_site")
	}
	for _, change := range []func(*http.Request){header("Sec-Fetch-Site", "none"), header("Sec-Fetch-Site", "same-origin"), header("Origin", r.url)} {
		r.want("an operator", r.get(path, change), 200, "")
	}
	r.want("a program", r.get(path), 200, "")
}

// A proxy makes a listener on loopback one that others reach: without a token it is
// nobody's.
func TestBehindAProxyNobodyMayWithoutAToken(t *testing.T) {
	r := start(t)
	for _, change := range []func(*http.Request){header("X-Forwarded-For", "203.0.113.9"), header("Forwarded", "for=203.0.113.9"), header("Via", "1.1 proxy")} {
		r.want("hello", r.get("/console/hello", change), 200, `"mode":"closed","signed_in":false`)
		r.want("profiles", r.get("/debug/pprof/cmdline", change), http.StatusForbidden, "admin.token_file")
		for _, path := range asks {
			r.want(path, r.get(path, change), http.StatusForbidden, "closed")
		}
		for path, body := range acts {
			r.want(path, r.post(path, body, change), http.StatusForbidden, "closed")
		}
	}
	r.want("without a proxy", r.get("/console/methods"), 200, "")
	r.settings.Store(&Settings{Token: testToken})
	through := header("X-Forwarded-For", "203.0.113.9")
	g := r.post("/console/signin", `{"token":"`+testToken+`"}`, through)
	r.want("sign-in", g, 200, "csrf")
	r.want("signed in", r.get("/console/methods", through), 200, "")
}

func TestTheCookieOfAProxyWithTLSIsSecure(t *testing.T) {
	r := start(t, withToken)
	signIn := func(change ...func(*http.Request)) string {
		return r.post("/console/signin", `{"token":"`+testToken+`"}`, change...).header.Get("Set-Cookie")
	}
	if cookie := signIn(header("X-Forwarded-Proto", "https")); !strings.Contains(cookie, "; Secure") {
		t.Errorf("over TLS: %q", cookie)
	}
	for _, change := range []func(*http.Request){header("X-Forwarded-Proto", "http"), func(*http.Request) {}} {
		if cookie := signIn(change); cookie == "" || strings.Contains(cookie, "Secure") {
			t.Errorf("without TLS: %q", cookie) // the browser would not send it again
		}
	}
}

// What an act under way at the end came to is written down: the admin server waits for
// it, and the audit log is open until then.
func TestAnActAtTheEndHasItsSecondLine(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	r := start(t, func(o *Options, _ *rig) {
		o.Call = func(context.Context, Call) (Answer, error) {
			close(begun)
			<-release
			return Answer{Result: wire.Raw{0xc0}}, nil
		}
	})
	r.hello()
	over := make(chan got)
	go func() { over <- r.post("/console/call", `{"uid":"7","method":"shop.buy","params":[]}`) }()
	<-begun
	r.Console.End()
	close(release)
	r.want("the call", <-over, 200, "null")
	r.Console.Close()
	if raw, _ := os.ReadFile(r.auditAt); strings.Count(string(raw), "\n") != 2 {
		t.Errorf("%s", raw)
	}
}

// The ids of two lives of the daemon are told apart, though in a container both are
// process 1.
func TestAuditIDsAreOfOneLife(t *testing.T) {
	path := t.TempDir() + "/audit.log"
	ids := make(map[string]bool)
	for range 3 {
		a, err := OpenAudit(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			id, err := a.begin(entry{Action: "kick"})
			if err != nil || ids[id] {
				t.Errorf("%q a second time, %v", id, err)
			}
			ids[id] = true
		}
		if err := a.close(); err != nil {
			t.Error(err)
		}
	}
}
