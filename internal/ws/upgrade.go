package ws

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// MaxRequest is the longest upgrade request in bytes. One that is longer, or has
// so many bytes without an end, is refused with 400.
const MaxRequest = 8 << 10

// acceptMagic is appended to a client's key before it is hashed: RFC 6455, 1.3.
const acceptMagic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

var headerEnd = []byte("\r\n\r\n")

// UpgradeError says why a request was not upgraded.
type UpgradeError struct {
	Status int // of the HTTP answer: 400, 403, 405 or 426
	Msg    string
}

func (e *UpgradeError) Error() string { return e.Msg }

// HeaderEnd returns the index behind the empty line that ends an HTTP header; 0:
// it has not come yet. Only the first MaxRequest bytes are looked at, so with
// that many and no end CheckUpgrade refuses them.
func HeaderEnd(b []byte) int {
	i := bytes.Index(b[:min(len(b), MaxRequest)], headerEnd)
	if i < 0 {
		return 0
	}
	return i + len(headerEnd)
}

// CheckUpgrade looks at a request up to and with the empty line that ends it,
// and returns the answer to send: 101, behind which frames follow, or, with an
// *UpgradeError, that of its status, behind which the connection is to be closed.
//
// A script in a page is known by its Origin header. It must be one of origins,
// with "*" any; where origins is empty, that of the host that the request is for.
// A request without it comes from no browser and is let in. The path does not
// matter. No subprotocol and no extension is agreed to.
func CheckUpgrade(request []byte, origins []string) (response []byte, err error) {
	r, bad := parseRequest(request)
	if bad == nil {
		bad = r.check(origins)
	}
	if bad != nil {
		return Refusal(bad.Status, bad.Msg), bad
	}
	sum := sha1.Sum(append(slices.Clip(r.key), acceptMagic...))
	response = append(response, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	response = base64.StdEncoding.AppendEncode(response, sum[:])
	return append(response, "\r\n\r\n"...), nil
}

// Refusal returns an HTTP answer that ends the connection: the status, and why
// in a line of text.
func Refusal(status int, why string) []byte {
	b := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n",
		status, http.StatusText(status), len(why)+1)
	switch status {
	case http.StatusMethodNotAllowed:
		b = append(b, "Allow: GET\r\n"...)
	case http.StatusUpgradeRequired:
		b = append(b, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"...)
	}
	return append(append(append(b, "\r\n"...), why...), '\n')
}

// request is what an upgrade depends on. The slices lie in the bytes parsed.
type request struct {
	method, minor       []byte // minor: of HTTP/1.x
	host, origin        []byte
	key, version        []byte
	hosts, originLines  int
	keys, versions      int
	upgrade, connection bool // the token that each must have is there
	body                bool
}

func (r *request) check(origins []string) *UpgradeError {
	switch {
	case string(r.method) != http.MethodGet:
		return refuse(http.StatusMethodNotAllowed, "only GET, with an upgrade to WebSocket, is answered here")
	case !r.upgrade:
		return refuse(http.StatusUpgradeRequired, "only WebSocket is spoken here: the header needs Upgrade: websocket")
	case !r.connection:
		return refuse(http.StatusBadRequest, "the header needs Connection: Upgrade")
	case string(r.minor) == "0":
		return refuse(http.StatusBadRequest, "WebSocket needs HTTP/1.1")
	case r.hosts != 1 || len(r.host) == 0:
		return refuse(http.StatusBadRequest, "the header needs one Host")
	case r.body:
		return refuse(http.StatusBadRequest, "a request with a body cannot be upgraded")
	case r.versions != 1 || string(r.version) != "13":
		return refuse(http.StatusUpgradeRequired, "the header needs Sec-WebSocket-Version: 13")
	case r.keys != 1 || !isKey(r.key):
		return refuse(http.StatusBadRequest, "the header needs one Sec-WebSocket-Key: 16 bytes in base64")
	case r.originLines > 1 || r.originLines == 1 && !mayConnect(string(r.origin), string(r.host), origins):
		return refuse(http.StatusForbidden, "scripts of this page may not connect here")
	}
	return nil
}

func isKey(key []byte) bool {
	var raw [18]byte
	if len(key) != base64.StdEncoding.EncodedLen(16) {
		return false
	}
	n, err := base64.StdEncoding.Decode(raw[:], key)
	return err == nil && n == 16
}

func mayConnect(origin, host string, origins []string) bool {
	if len(origins) == 0 {
		_, own, ok := strings.Cut(origin, "://")
		return ok && strings.EqualFold(own, host)
	}
	return slices.ContainsFunc(origins, func(o string) bool { return o == "*" || strings.EqualFold(o, origin) })
}

func parseRequest(b []byte) (r request, bad *UpgradeError) {
	end := HeaderEnd(b)
	switch {
	case end == 0 && len(b) >= MaxRequest:
		return r, refuse(http.StatusBadRequest, fmt.Sprintf("a request header of more than %d bytes", MaxRequest))
	case end == 0 || end != len(b):
		return r, refuse(http.StatusBadRequest, "no whole request header")
	}
	line, rest, _ := bytes.Cut(b[:end-2], []byte("\r\n"))
	parts := bytes.Split(line, []byte(" "))
	if len(parts) != 3 || !isToken(parts[0]) || len(parts[1]) == 0 || !isText(parts[1]) {
		return r, refuse(http.StatusBadRequest, "no HTTP request line")
	}
	minor, ok := bytes.CutPrefix(parts[2], []byte("HTTP/1."))
	if !ok || len(minor) != 1 || minor[0] != '0' && minor[0] != '1' {
		return r, refuse(http.StatusBadRequest, "only HTTP/1.1 is understood")
	}
	r.method, r.minor = parts[0], minor
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(name) || !isText(value) {
			return r, refuse(http.StatusBadRequest, "a malformed header field")
		}
		r.field(string(bytes.ToLower(name)), bytes.Trim(value, " \t"))
	}
	return r, nil
}

func (r *request) field(name string, value []byte) {
	switch name {
	case "host":
		r.host = value
		r.hosts++
	case "origin":
		r.origin = value
		r.originLines++
	case "upgrade":
		r.upgrade = r.upgrade || hasToken(value, "websocket")
	case "connection":
		r.connection = r.connection || hasToken(value, "upgrade")
	case "sec-websocket-key":
		r.key = value
		r.keys++
	case "sec-websocket-version":
		r.version = value
		r.versions++
	case "content-length":
		r.body = r.body || string(value) != "0"
	case "transfer-encoding":
		r.body = true
	}
}

// hasToken looks for a token in a list with commas.
func hasToken(list []byte, token string) bool {
	for part := range bytes.SplitSeq(list, []byte(",")) {
		if strings.EqualFold(string(bytes.Trim(part, " \t")), token) {
			return true
		}
	}
	return false
}

// isToken accepts a method's or a field's name.
func isToken(b []byte) bool {
	return len(b) > 0 && !bytes.ContainsFunc(b, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", c)
	})
}

// isText accepts what a field's value or a path may hold: no control characters but the tab.
func isText(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f })
}

func refuse(status int, msg string) *UpgradeError { return &UpgradeError{Status: status, Msg: msg} }
