package console

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"gameserverd/internal/ctl"
	"gameserverd/wire"
)

// policy lets the page use its own files, and ask only where it came from.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// secure sets what every answer has.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
}

// knownHost tells whether the browser believes that it asks this machine: a name
// that an attacker has pointed here (DNS rebinding) is not one of ours. An address is
// never another's name.
func (c *Console) knownHost(r *http.Request) bool {
	host := strings.ToLower(strings.TrimSuffix(hostOf(r.Host), "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || host == "localhost" {
		return true
	}
	return slices.ContainsFunc(c.o.Settings().Hosts, func(name string) bool { return strings.EqualFold(name, host) })
}

// hostOf is host:port without the port.
func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return hostport
}

// own refuses what another site's page asks.
func (c *Console) own(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fromHere(r) {
			fail(w, http.StatusForbidden, "cross_site", "only the console's own page may ask")
			return
		}
		if c.o.Off {
			fail(w, http.StatusNotFound, "off", "admin.console is false")
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		next(w, r)
	})
}

// bounded refuses what is too much at once: each request has a place among places
// until it is answered. Strangers have places apart from those who have signed in.
func bounded(places chan struct{}, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			next(w, r)
		default:
			fail(w, http.StatusServiceUnavailable, "resource_exhausted", "too many requests at once")
		}
	}
}

// fromHere tells whether a request comes from our own page, by what browsers say; who
// says nothing is a program.
func fromHere(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin":
		return fromOurOrigin(r)
	}
	return false
}

func fromOurOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// signedIn lets through who may use the console.
func (c *Console) signedIn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch who := c.who(r); {
		case who != nil:
			next(w, withSession(r, who))
		case c.mode(r) == modeClosed:
			fail(w, http.StatusForbidden, "closed", howToOpen)
		default:
			fail(w, http.StatusUnauthorized, "unauthenticated", "sign in first")
		}
	}
}

// changing lets through what the page itself has sent: a token that other sites
// cannot read comes along.
func (c *Console) changing(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !equal(r.Header.Get("X-CSRF-Token"), sessionOf(r).csrf) {
			fail(w, http.StatusForbidden, "csrf", "the page is out of date: load it again")
			return
		}
		next(w, r)
	}
}

// Guard lets next answer only those who may use the console: by a session's cookie, or
// with the token in an Authorization header (Bearer). Another site's page may not make
// a browser ask; who types the address may.
func (c *Console) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		w.Header().Set("Content-Security-Policy", strings.Replace(policy, "style-src 'self'", "style-src 'unsafe-inline'", 1)) // which net/http/pprof's index has
		switch {
		case !c.knownHost(r):
			fail(w, http.StatusMisdirectedRequest, "host", "use an address or localhost, or add the name to admin.hosts")
		case !fromHere(r) && (r.Header.Get("Sec-Fetch-Site") != "none" || !fromOurOrigin(r)):
			fail(w, http.StatusForbidden, "cross_site", "another site's page may not ask")
		case c.who(r) != nil:
			next.ServeHTTP(w, r)
		case c.mode(r) == modeClosed:
			fail(w, http.StatusForbidden, "closed", howToOpen)
		default:
			c.bearer(w, r, next)
		}
	})
}

func (c *Console) bearer(w http.ResponseWriter, r *http.Request, next http.Handler) {
	token, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !given {
		w.Header().Set("WWW-Authenticate", `Bearer realm="gameserverd"`)
		fail(w, http.StatusUnauthorized, "unauthenticated", "sign in to the console, or send the token of admin.token_file: Authorization: Bearer TOKEN")
		return
	}
	if !c.tryToken(w, r, token) {
		return
	}
	next.ServeHTTP(w, r)
}

// failure is an answer other than success: {"error": {"code": str, "message": str}}.
type failure struct {
	Error ctl.Error `json:"error"`
}

func fail(w http.ResponseWriter, status int, code, message string) {
	write(w, status, failure{ctl.Error{Code: code, Message: message}})
}

// failed answers with an error of the daemon.
func failed(w http.ResponseWriter, err error) {
	var e *ctl.Error
	code, message := string(wire.CodeOf(err)), err.Error()
	if errors.As(err, &e) {
		code, message = e.Code, e.Message
	}
	var we *wire.Error
	if errors.As(err, &we) {
		message = we.Message
	}
	status := http.StatusInternalServerError
	switch wire.Code(code) {
	case wire.NotFound:
		status = http.StatusNotFound
	case wire.InvalidArgument, wire.FailedPrecondition, wire.Unimplemented:
		status = http.StatusBadRequest
	case wire.Unavailable, wire.ResourceExhausted, wire.DeadlineExceeded, wire.Canceled:
		status = http.StatusServiceUnavailable
	}
	fail(w, status, code, message)
}

func answer(w http.ResponseWriter, v any) { write(w, http.StatusOK, v) }

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the browser may be gone
}

// read decodes the body of a request.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != "application/json" {
		fail(w, http.StatusUnsupportedMediaType, "invalid_argument", "the body must be application/json")
		return false
	}
	err := ctl.ReadObject(http.MaxBytesReader(w, r.Body, maxBody), v)
	if err == nil {
		return true
	}
	status := http.StatusBadRequest
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		status = http.StatusRequestTimeout
	}
	fail(w, status, "invalid_argument", err.Error())
	return false
}
