package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// The bounds of sign-ins.
const (
	maxSessions = 64             // one more ends the oldest
	sessionAge  = 12 * time.Hour // from the sign-in
	sessionIdle = 2 * time.Hour  // since it was used last; an open page uses it
	maxToken    = 4096           // bytes of a token's file
	minToken    = 16             // bytes of a token
)

// The bounds of guessing, in a window. Who guesses must not keep out who has the token:
// an address without a wrong token in the window has a try however many others guess,
// until triesFirst addresses have had theirs; and 127.0.0.1 and ::1, where ssh -L comes
// from, have all of their own. So 7,200 guesses a day are possible from one address (and
// as many by a proxy's header), 86,400 from a few, and 1,440 more from each beyond: 6
// million from as many as are looked at. Of tokens of 16 hexadecimal digits there are 3
// million million times as many.
const (
	triesWindow = time.Minute
	triesEach   = 5    // wrong tokens from one address
	triesAll    = 60   // wrong tokens from all; then there is one from each. As many are written down
	triesFirst  = 4096 // addresses from which there are any
)

// howToOpen is what is said where nobody can sign in.
const howToOpen = "the console can be reached from other machines, directly or through a proxy, and there is no token to sign in with. " +
	"Put one into a file (openssl rand -hex 24 > console.token; chmod 400 console.token), name it in admin.token_file, and reload (gameserverd ctl reload)"

// mode is who may use the console.
type mode string

const (
	modeOpen   mode = "open"   // whoever reaches it: on loopback without a token
	modeToken  mode = "token"  // who has the token
	modeClosed mode = "closed" // nobody: beyond loopback, or through a proxy, without a token
)

// mode is for who has sent r.
func (c *Console) mode(r *http.Request) mode {
	switch {
	case c.o.Settings().Token != "":
		return modeToken
	case c.local && !proxied(r):
		return modeOpen
	}
	return modeClosed
}

// proxied tells whether a proxy says that it asks for somebody else, who may be
// anywhere.
func proxied(r *http.Request) bool {
	return slices.ContainsFunc([]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"},
		func(key string) bool { return r.Header[key] != nil })
}

// encrypted tells whether the browser asks by TLS, which a proxy before us may have.
// Who says so without TLS has a cookie that its browser keeps to itself.
func encrypted(r *http.Request) bool {
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",") // the outermost of several proxies
	return r.TLS != nil || strings.EqualFold(strings.TrimSpace(first), "https")
}

// session is somebody who has signed in.
type session struct {
	// immutable
	name  string // for the audit log; says nothing about the cookie
	csrf  string
	token [sha256.Size]byte // that signed in: another one in force ends the session
	began time.Time

	used time.Time // guarded by signins.mu
}

// signins are the sessions and the tries. Any goroutine.
type signins struct {
	// immutable after init
	now  func() time.Time
	open session // of everybody where no token is asked for

	mu       sync.Mutex // guards what follows
	sessions map[string]*session
	tries    map[asker]int // wrong tokens in the window
	all      int
	lines    int // about wrong tokens in the window, those that were left out included
	untold   int // those that were left out before
	window   time.Time
}

func (s *signins) init() {
	s.now = time.Now
	s.sessions = make(map[string]*session)
	s.tries = make(map[asker]int)
	s.open = session{name: "open", csrf: rand.Text()}
}

// ReadToken reads the token in a file: its text without white space around it, 16
// bytes at least. Any goroutine.
func ReadToken(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxToken+1))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(raw))
	switch {
	case len(raw) > maxToken:
		return "", fmt.Errorf("%s has more than %d bytes: is it the right file?", path, maxToken)
	case len(token) < minToken:
		return "", fmt.Errorf("the token in %s has %d bytes, %d at least are needed: openssl rand -hex 24 makes one", path, len(token), minToken)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New(path + " must have one token of printable ASCII characters, without blanks")
	}
	return token, nil
}

func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// cookieName differs by port: cookies do not, and there may be several daemons on a
// machine.
func cookieName(addr string) string {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return "gameserverd_console"
	}
	return "gameserverd_console_" + strconv.Itoa(int(ap.Port()))
}

type sessionKey struct{}

func withSession(r *http.Request, s *session) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), sessionKey{}, s))
}

// sessionOf is that of a request that signedIn has let through.
func sessionOf(r *http.Request) *session { return r.Context().Value(sessionKey{}).(*session) }

// who asks, nil: nobody who may.
func (c *Console) who(r *http.Request) *session {
	switch c.mode(r) {
	case modeOpen:
		return &c.signins.open
	case modeClosed:
		return nil
	}
	cookie, err := r.Cookie(c.cookie)
	if err != nil {
		return nil
	}
	return c.signins.find(cookie.Value, c.o.Settings().Token)
}

// stays tells whether a session is still good; it counts as used.
func (c *Console) stays(r *http.Request, s *session) bool { return c.who(r) == s }

func (s *signins) find(id, token string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.sessions[id] // random of 128 bits and more: nobody gets nearer by the time it takes
	now := s.now()
	if one == nil {
		return nil
	}
	if one.token != sha256.Sum256([]byte(token)) || now.Sub(one.began) > sessionAge || now.Sub(one.used) > sessionIdle {
		delete(s.sessions, id)
		return nil
	}
	one.used = now
	return one
}

// begin makes a session; the oldest gives way where there are too many.
func (s *signins) begin(token string) (id string, one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sessions) >= maxSessions {
		oldest := ""
		for id, other := range s.sessions {
			if oldest == "" || other.used.Before(s.sessions[oldest].used) {
				oldest = id
			}
		}
		delete(s.sessions, oldest)
	}
	now := s.now()
	sum := sha256.Sum256([]byte(rand.Text()))
	one = &session{name: hex.EncodeToString(sum[:4]), csrf: rand.Text(), token: sha256.Sum256([]byte(token)), began: now, used: now}
	id = rand.Text() + rand.Text()
	s.sessions[id] = one
	return id, one
}

func (s *signins) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, id)
}

// asker is what tries are counted by: an address, of IPv6 the part that one customer
// has, and whether it is a proxy's.
type asker struct {
	from    netip.Prefix // zero: a Unix socket, of which all are one
	proxied bool
}

func askerOf(r *http.Request) asker {
	who := asker{proxied: proxied(r)}
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		a, bits := ap.Addr().Unmap().WithZone(""), 32
		switch {
		case a.Is6() && a.IsLoopback():
			bits = 128
		case a.Is6():
			bits = 56
		}
		who.from, _ = a.Prefix(bits) // of as many bits as there are
	}
	return who
}

// near tells whether it is who comes by ssh -L, or sits at the machine.
func (a asker) near() bool {
	at := a.from.Addr()
	return !a.proxied && (at == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || at == netip.IPv6Loopback())
}

// turnLocked begins a new window when the last is over.
func (s *signins) turnLocked() {
	if now := s.now(); now.Sub(s.window) > triesWindow {
		s.untold += max(s.lines-triesAll, 0)
		s.window, s.all, s.lines = now, 0, 0
		clear(s.tries)
	}
}

// try counts a try of who asks, and tells whether there may be one. It counts before
// the token is looked at, so that many at once are no way around it.
func (s *signins) try(a asker) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turnLocked()
	switch n := s.tries[a]; {
	case n == 0 && (a.near() || len(s.tries) < triesFirst):
	case n > 0 && n < triesEach && (a.near() || s.all < triesAll):
	default:
		return false
	}
	s.tries[a]++ // of triesFirst and two more
	s.all++
	return true
}

// forgive takes a try back: the token was right.
func (s *signins) forgive(a asker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tries[a] > 0 { // else a new window has begun
		s.all--
		if s.tries[a]--; s.tries[a] == 0 {
			delete(s.tries, a)
		}
	}
}

// tell tells whether a wrong token is to be written down, and how many before were not.
func (s *signins) tell() (told bool, before int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turnLocked()
	s.lines++
	before, s.untold = s.untold, 0
	return s.lines <= triesAll, before
}

// tryToken tells whether token is the one in force; if not, it has answered.
func (c *Console) tryToken(w http.ResponseWriter, r *http.Request, token string) bool {
	from := askerOf(r)
	if !c.signins.try(from) {
		w.Header().Set("Retry-After", strconv.Itoa(int(triesWindow.Seconds())))
		fail(w, http.StatusTooManyRequests, "resource_exhausted", "too many wrong tokens: wait a minute")
		return false
	}
	if want := c.o.Settings().Token; want != "" && equal(token, want) {
		c.signins.forgive(from)
		return true
	}
	told, before := c.signins.tell()
	if before > 0 {
		c.o.Log.Info("more wrong tokens for the console were tried", zap.Int("left_out", before))
	}
	if told {
		c.o.Log.Info("a wrong token for the console", zap.String("peer", r.RemoteAddr))
	}
	if told && c.o.Audit != nil {
		_, _ = c.o.Audit.begin(entry{Action: "sign-in", Address: r.RemoteAddr, Result: "wrong token"}) // nothing is changed by it
	}
	fail(w, http.StatusUnauthorized, "unauthenticated", "that is not the token")
	return false
}

// Hello is the answer of /console/hello.
type Hello struct {
	Mode     mode   `json:"mode"`
	SignedIn bool   `json:"signed_in"`
	CSRF     string `json:"csrf,omitempty"`
	How      string `json:"how,omitempty"` // to get a token, where the mode is closed
}

func (c *Console) hello(w http.ResponseWriter, r *http.Request) {
	h := Hello{Mode: c.mode(r)}
	if s := c.who(r); s != nil {
		h.SignedIn, h.CSRF = true, s.csrf
	} else if h.Mode == modeClosed {
		h.How = howToOpen
	}
	answer(w, h)
}

func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token string `json:"token"`
	}
	switch c.mode(r) {
	case modeOpen:
		c.hello(w, r)
		return
	case modeClosed:
		fail(w, http.StatusForbidden, "closed", howToOpen)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(signInTime)) // the next request sets it anew
	token := c.o.Settings().Token
	if !read(w, r, &in) || !c.tryToken(w, r, in.Token) {
		return
	}
	id, s := c.signins.begin(token)
	if _, err := c.o.Audit.begin(entry{Action: "sign-in", Address: r.RemoteAddr, Session: s.name, Result: "ok"}); err != nil {
		c.signins.end(id)
		c.notWritten(w, err)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: c.cookie, Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: encrypted(r),
		MaxAge: int(sessionAge.Seconds())})
	answer(w, Hello{Mode: modeToken, SignedIn: true, CSRF: s.csrf})
}

func (c *Console) signOut(w http.ResponseWriter, r *http.Request) {
	if s := c.who(r); s != nil && s != &c.signins.open {
		if !equal(r.Header.Get("X-CSRF-Token"), s.csrf) {
			fail(w, http.StatusForbidden, "csrf", "the page is out of date: load it again")
			return
		}
		cookie, _ := r.Cookie(c.cookie) // who has found it
		c.signins.end(cookie.Value)
		_, _ = c.o.Audit.begin(entry{Action: "sign-out", Address: r.RemoteAddr, Session: s.name}) // who goes may go
	}
	http.SetCookie(w, &http.Cookie{Name: c.cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: encrypted(r), MaxAge: -1})
	answer(w, Hello{Mode: c.mode(r)})
}
