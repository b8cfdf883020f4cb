package console

import (
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// every route that asks or tells, and a body that does nothing wrong.
var (
	asks = []string{"/console/players?offset=0&limit=10", "/console/player?uid=7", "/console/methods", "/console/warnings", "/console/tasks?state=waiting&limit=10", "/console/task?id=1"}
	acts = map[string]string{
		"/console/kick": `{"uid":"7"}`, "/console/message": `{"uid":"7","text":"hello"}`, "/console/call": `{"uid":"0","method":"sum","params":[1,2]}`,
		"/console/tasks/run": `{"name":"x","args":[1]}`, "/console/tasks/act": `{"id":"1","action":"revoke"}`,
	}
)

func TestEveryAnswerIsGuardedByHeaders(t *testing.T) {
	r := start(t)
	for _, path := range []string{"/", "/console/page/app.js", "/console/hello", "/console/nothing", "/debug/pprof/"} {
		g := r.get(path)
		csp := g.header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'; script-src 'self'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe-eval") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if path != "/debug/pprof/" && strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		for key, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "X-Frame-Options": "DENY"} {
			if got := g.header.Get(key); got != want {
				t.Errorf("%s: %s is %q", path, key, got)
			}
		}
	}
}

// The page asks for nothing from elsewhere, and has nothing inline that its policy
// would refuse.
func TestThePageIsWhole(t *testing.T) {
	r := start(t)
	inline := regexp.MustCompile(`(?i)<script>|<style|\sstyle=|\son[a-z]+=|javascript:`)
	outside := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9]`)
	kinds := map[string]string{".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
	seen := 0
	err := fs.WalkDir(page, "page", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		at := "/console/" + path
		if path == "page/index.html" {
			at = "/"
		}
		g := r.get(at)
		b, _ := page.ReadFile(path)
		if g.status != http.StatusOK || g.body != string(b) {
			t.Errorf("%s: %d, %d bytes", path, g.status, len(g.body))
		}
		ext := path[strings.LastIndexByte(path, '.'):]
		if want := kinds[ext]; want != "" && !strings.HasPrefix(g.header.Get("Content-Type"), want) {
			t.Errorf("%s is %s", path, g.header.Get("Content-Type"))
		}
		if strings.Contains(path, "vendor/") {
			return nil
		}
		seen++
		text := strings.ReplaceAll(string(b), "http://www.w3.org/2000/svg", "")
		if ext == ".html" && inline.MatchString(text) {
			t.Errorf("%s has something inline: %s", path, inline.FindString(text))
		}
		if strings.Contains(text, "innerHTML") || strings.Contains(text, "eval(") {
			t.Errorf("%s makes code or elements of text", path)
		}
		for _, line := range strings.Split(text, "\n") {
			if where := outside.FindString(line); where != "" && !strings.HasPrefix(strings.TrimSpace(line), "//") {
				t.Errorf("%s names another host: %s", path, line)
			}
		}
		return nil
	})
	if err != nil || seen < 8 {
		t.Errorf("%d files of the page: %v", seen, err)
	}
	r.want("the page", r.get("/"), 200, `<script src="/console/page/app.js" type="module">`)
	r.want("a folder", r.get("/console/page/"), 404, "")
	r.want("a folder", r.get("/console/page/vendor/"), 404, "")
}

// An attacker's name that leads to this machine (DNS rebinding) is not served.
func TestOnlyOurOwnNames(t *testing.T) {
	r := start(t)
	r.settings.Store(&Settings{Hosts: []string{"game1.example.com"}})
	host := func(name string) func(*http.Request) { return func(req *http.Request) { req.Host = name } }
	for _, good := range []string{"localhost:5780", "LOCALHOST", "127.0.0.1:1", "[::1]:5780", "192.0.2.1", "game1.example.com", "Game1.Example.com:80"} {
		if g := r.get("/console/hello", host(good)); g.status != 200 {
			t.Errorf("%s: %d", good, g.status)
		}
	}
	for _, bad := range []string{"evil.example", "localhost.evil.example", "game1.example.com.evil.example", "127.0.0.1.evil.example", "x"} {
		for _, path := range []string{"/", "/console/hello", "/console/page/app.js", "/debug/pprof/"} {
			if g := r.get(path, host(bad)); g.status != http.StatusMisdirectedRequest {
				t.Errorf("%s of %s: %d", path, bad, g.status)
			}
		}
	}
}

func TestAnotherSiteIsRefused(t *testing.T) {
	r := start(t)
	r.hello()
	for _, change := range []func(*http.Request){header("Sec-Fetch-Site", "cross-site"), header("Sec-Fetch-Site", "same-site"), header("Sec-Fetch-Site", "none"),
		header("Origin", "http://evil.example"), header("Origin", "null"), header("Origin", "http://127.0.0.1:1")} {
		for path, body := range acts {
			r.want(path, r.post(path, body, change), http.StatusForbidden, "cross_site")
		}
		for _, path := range append([]string{"/console/live", "/console/trace?uid=7", "/console/hello"}, asks...) {
			r.want(path, r.get(path, change), http.StatusForbidden, "cross_site")
		}
	}
	r.want("our own", r.post("/console/kick", `{"uid":"7"}`, header("Origin", r.url), header("Sec-Fetch-Site", "same-origin")), 200, "true")
	if did := r.done(); strings.Count(did, "\n") != 0 {
		t.Errorf("did %s", did)
	}
}

func TestChangesNeedTheirToken(t *testing.T) {
	r := start(t)
	r.hello()
	csrf := r.csrf
	for path, body := range acts {
		for _, token := range []string{"", "x", csrf[1:]} {
			r.csrf = token
			r.want(path, r.post(path, body), http.StatusForbidden, "csrf")
		}
		r.csrf = csrf
		r.want(path, r.post(path, body, header("Content-Type", "text/plain")), http.StatusUnsupportedMediaType, "")
		for _, bad := range []string{"", "[]", `{"nonsense":1}`, body + "x", `{"uid":"` + strings.Repeat("1", maxBody) + `"}`} {
			if g := r.post(path, bad); g.status != http.StatusBadRequest && g.status != http.StatusRequestEntityTooLarge {
				t.Errorf("%s of %.40q: %d", path, bad, g.status)
			}
		}
		if g := r.get(path); g.status != http.StatusMethodNotAllowed && g.status != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, g.status)
		}
	}
	if did := r.done(); did != "" {
		t.Errorf("did %s", did)
	}
	for path, body := range acts {
		r.want(path, r.post(path, body), 200, "")
	}
	if did := strings.Split(r.done(), "\n"); len(did) != len(acts) {
		t.Errorf("did %q", did)
	}
}

func TestTooManyRequestsAtOnce(t *testing.T) {
	r := start(t)
	for range maxRequests {
		r.requests <- struct{}{}
	}
	r.want("one more", r.get("/console/methods"), http.StatusServiceUnavailable, "resource_exhausted")
	for range maxRequests {
		<-r.requests
	}
	r.want("again", r.get("/console/methods"), 200, "Adds.")
}

func TestOffServesOnlyTheGuard(t *testing.T) {
	r := start(t, withToken, func(o *Options, _ *rig) { o.Off = true })
	r.want("hello", r.get("/console/hello"), http.StatusNotFound, "admin.console")
	r.want("profiles", r.get("/debug/pprof/"), http.StatusUnauthorized, "Bearer")
	r.want("profiles", r.get("/debug/pprof/", header("Authorization", "Bearer "+testToken)), 200, "goroutine")
}
