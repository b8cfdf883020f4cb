package config

import (
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// check is a rule for text that the tag "check" names.
type check struct {
	ok      func(string) bool
	allowed string // what ok accepts, in words
}

const nameRule = "1 to 64 characters of a-z, 0-9, _, . and -"

var checks = map[string]check{
	"listen":  {isListenAddress, `host:port, "[v6]:port", ":port" or unix:/path; one or a list, none twice`},
	"address": {func(s string) bool { return s == "" || isHostPort(s) }, `host:port, "[v6]:port", ":port", or "" for off`},
	"folder":  {isPath, "a folder's path"},
	"file":    {func(s string) bool { return s == "" || isFile(s) }, `a file's path, or ""`},
	"network": {isNetwork, "an address or a network such as 10.0.0.0/8 or fd00::/8, or unix for all unix sockets; one, a list or none, none twice"},
	"origin":  {isOrigin, "an origin such as https://play.example.com, or * for all; one, a list or none, none twice"},
	"host":    {isHost, "a host's name such as game1.example.com, without a port; one, a list or none, none twice"},
	"dsn": {func(s string) bool { return s == "" || isPath(s) },
		`user:password@tcp(host:3306)/database or user:password@unix(/path)/database for mysql; for sqlite a file's path, or "" for gameserverd.db in data_dir`},
	"redis": {isRedisURL, `embedded, or a URL such as redis://user:password@host:6379/0; it begins with ` + strings.Join(redisSchemes, ", ")},
	"http":  {func(s string) bool { return s == "" || isHTTP(s) }, `a URL that begins with http:// or https://, or ""`},
	"shop": {isShopItem,
		"item:price, one, a list or none, no item twice; an item is " + nameRule + ", a price an integer from 1 to " + strconv.Itoa(maxPrice)},
	"keyfile": {func(s string) bool { _, ok := parseKeyFile(s); return ok },
		"FILE for tokens without a kid, kid=FILE for those of this kid; one, a list or none, no kid twice; a kid is " + kidRule + ", FILE a path without spaces and commas, never the key itself"},
	"claim":    {isClaim, `text of at most 256 characters on one line, or ""`},
	"queue":    {isQueue, "queue:weight, one or a list, none twice, one of them default; a queue is 1 to 64 characters of a-z, 0-9, _ and -, a weight an integer from 0 to 1000"},
	"schedule": {isSchedule, "TASK=WHEN or TASK=WHEN;ZONE, one, a list or none, none twice, such as reward.latest=0_9_*_*_*;Europe/Berlin"},
	"clock":    {func(s string) bool { return s == "" || clockTime.MatchString(s) }, `a time such as 21:00, or "" for never`},
	"zone":     {isZone, "a zone of the IANA database, such as Europe/Berlin, or UTC"},
	"board": {isBoard,
		"board, or board:lowest where the lowest score is the best; one, a list or none, no board twice; a board is " + nameRule},
}

// maxPath is PATH_MAX of Linux.
const maxPath = 4096

func isPath(s string) bool { return s != "" && len(s) < maxPath && !strings.ContainsRune(s, 0) }

// isFile refuses what was perhaps to be in the file: a key in PEM, most likely.
func isFile(s string) bool { return isPath(s) && !strings.ContainsFunc(s, unicode.IsControl) }

// isNetwork accepts an address, a prefix without bits behind its length, and
// "unix".
func isNetwork(s string) bool {
	if s == "unix" {
		return true
	}
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return prefix == prefix.Masked()
	}
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Zone() == ""
}

// isOrigin accepts what a browser sends as Origin (RFC 6454, section 6.2), but
// for "null", and "*".
func isOrigin(s string) bool {
	if s == "*" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.Host == strings.ToLower(u.Host) &&
		s == u.Scheme+"://"+u.Host
}

// isHost accepts what browsers send as Host, in small letters.
func isHost(s string) bool { return len(s) <= 253 && hostName.MatchString(s) }

var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*$`)

// isHTTP accepts the URL of a request.
func isHTTP(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.Fragment == "" && isPath(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// redisSchemes are what a Redis URL begins with; internal/store says what
// follows.
var redisSchemes = []string{"redis://", "rediss://", "unix://", "redis+unix://", "redis-sentinel://", "rediss-sentinel://", "redis-cluster://", "rediss-cluster://"}

func isRedisURL(s string) bool {
	if s == "embedded" {
		return true
	}
	for _, scheme := range redisSchemes {
		if rest, ok := strings.CutPrefix(s, scheme); ok && isPath(rest) {
			return true
		}
	}
	return false
}

// isServerDSN accepts what has a database's name behind a last slash. The
// driver says more about it when the daemon starts.
func isServerDSN(s string) bool {
	head, _, _ := strings.Cut(s, "?")
	slash := strings.LastIndexByte(head, '/')
	return slash >= 0 && slash < len(head)-1 && !strings.Contains(head, "://")
}

// serverAddress is what only the DSN of a server has: tcp(host:3306)/.
var serverAddress = regexp.MustCompile(`://|@/|(tcp|tcp4|tcp6|unix)\(.*\)/`)

// isDatabaseFile refuses what SQLite takes for more than a file's path, and the
// DSN of a server.
func isDatabaseFile(s string) bool {
	return !strings.HasPrefix(s, ":") && !strings.HasPrefix(s, "file:") && !strings.Contains(s, "?") && !serverAddress.MatchString(s)
}

// isName is the rule for names of items and boards.
func isName(s string) bool {
	return len(s) >= 1 && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '.' || r == '-')
	})
}

// maxPrice is 2^53-1, the largest integer that every client can hold.
const maxPrice = 1<<53 - 1

func isShopItem(s string) bool {
	item, digits, ok := strings.Cut(s, ":")
	price, err := strconv.ParseInt(digits, 10, 64)
	return ok && isName(item) && err == nil && price >= 1 && price <= maxPrice && strconv.FormatInt(price, 10) == digits
}

var clockTime = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)

func isZone(s string) bool {
	_, err := time.LoadLocation(s)
	return err == nil && s != "" && s != "Local"
}

var queueItem = regexp.MustCompile(`^[a-z0-9_-]{1,64}:(0|[1-9][0-9]{0,2}|1000)$`)

func isQueue(s string) bool { return queueItem.MatchString(s) }

// isSchedule accepts the form; internal/server says whether there is such a task and
// time.
func isSchedule(s string) bool {
	task, when, ok := strings.Cut(s, "=")
	return ok && task != "" && when != "" && !strings.ContainsFunc(s, unicode.IsControl) && len(s) <= 512
}

func isBoard(s string) bool {
	name, order, ordered := strings.Cut(s, ":")
	return isName(name) && (!ordered || order == "lowest")
}
