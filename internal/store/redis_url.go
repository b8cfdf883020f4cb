package store

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// redisForm is what a Redis URL leads to.
type redisForm uint8

const (
	inProcess redisForm = iota
	single
	sentinels
	nodes // of a cluster
)

// redisScheme is what a URL's scheme says.
type redisScheme struct {
	form redisForm
	tls  bool
	unix bool
	port string // where the URL has none
}

var redisSchemes = map[string]redisScheme{
	"redis":           {form: single, port: "6379"},
	"rediss":          {form: single, port: "6379", tls: true},
	"unix":            {form: single, unix: true},
	"redis+unix":      {form: single, unix: true},
	"redis-sentinel":  {form: sentinels, port: "26379"},
	"rediss-sentinel": {form: sentinels, port: "26379", tls: true},
	"redis-cluster":   {form: nodes, port: "6379"},
	"rediss-cluster":  {form: nodes, port: "6379", tls: true},
}

// redisURLForms ends the error of a URL whose form is none of these.
const redisURLForms = "want embedded, redis://, rediss://, unix://, redis-sentinel://, rediss-sentinel://, redis-cluster:// or rediss-cluster://"

// escapes is the hint for what a password may have done to a URL.
const escapes = "in a password, / ? # @ : , and % are written %2F %3F %23 %40 %3A %2C %25"

// redisPlace is where a Redis is and how to get in.
type redisPlace struct {
	form           redisForm
	addrs          []string // host:port, or the path of a unix socket
	user, password string
	db             int
	secure         *transport // nil: no TLS

	master, sentinelUser, sentinelPassword string // with sentinels
}

// parseRedisURL reads a URL of one of the forms that RedisOptions lists. Its error says what is wrong, and quotes nothing that could be
// a piece of a password: a password that is not escaped may end up anywhere.
func parseRedisURL(text string) (redisPlace, error) {
	place, err := readRedisURL(text)
	if err != nil {
		return redisPlace{}, fmt.Errorf("store: redis URL: %w", err)
	}
	return place, nil
}

func readRedisURL(text string) (place redisPlace, err error) {
	if text == "embedded" {
		return redisPlace{form: inProcess, addrs: []string{"embedded"}}, nil
	}
	name, rest, _ := strings.Cut(text, "://")
	scheme, known := redisSchemes[name]
	if !known {
		return place, errors.New("no such form; " + redisURLForms)
	}
	if strings.ContainsAny(rest, "# \t\r\n") {
		return place, errors.New("a # or a blank has no place in it; " + escapes)
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	hosts := authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		hosts = authority[at+1:]
		if place.user, place.password, err = readUser(authority[:at]); err != nil {
			return place, err
		}
	}
	place.form = scheme.form
	if scheme.unix {
		place.addrs, err = readSocket(hosts, path)
		path = ""
	} else {
		place.addrs, err = readHosts(hosts, scheme)
	}
	if err != nil {
		return place, err
	}
	options, err := readOptions(name, scheme, query)
	if err != nil {
		return place, err
	}
	return place, place.complete(scheme, path, options)
}

// complete puts in what stands behind the hosts.
func (p *redisPlace) complete(scheme redisScheme, path string, options map[string]string) (err error) {
	number := strings.TrimSuffix(path, "/")
	if scheme.unix {
		number = options["db"]
	}
	if number != "" {
		if scheme.form == nodes {
			return errors.New("a cluster has no databases, so nothing stands behind its hosts")
		}
		if p.db, err = strconv.Atoi(number); err != nil || p.db < 0 {
			return errors.New("the database behind the host is a number, 0 or more")
		}
	}
	p.master, p.sentinelUser, p.sentinelPassword = options["master_name"], options["sentinel_user"], options["sentinel_password"]
	switch {
	case scheme.form == sentinels && p.master == "":
		return errors.New("sentinels need ?master_name=, the name by which they know the master")
	case p.sentinelUser != "" && p.sentinelPassword == "":
		return errors.New("sentinel_user needs sentinel_password")
	}
	if scheme.tls {
		p.secure, err = newTransport(options)
	}
	return err
}

// readUser reads user:password or :password.
func readUser(info string) (user, password string, err error) {
	user, password, both := strings.Cut(info, ":")
	if !both || password == "" {
		return "", "", errors.New("what stands before the @ is user:password or :password")
	}
	if strings.Contains(password, ":") {
		return "", "", errors.New("there is more than one : before the @; " + escapes)
	}
	user, badUser := url.PathUnescape(user)
	password, badPassword := url.PathUnescape(password)
	if badUser != nil || badPassword != nil {
		return "", "", errors.New("a % in the user or password is not followed by two hex digits; " + escapes)
	}
	return user, password, nil
}

func readSocket(hosts, path string) ([]string, error) {
	if hosts != "" {
		return nil, errors.New("a unix socket has no host: three slashes stand before its path")
	}
	path, err := url.PathUnescape(path)
	switch {
	case err != nil:
		return nil, errors.New("a % in the path of the unix socket is not followed by two hex digits")
	case path == "":
		return nil, errors.New("the path of the unix socket is missing")
	}
	return []string{"/" + path}, nil
}

func readHosts(text string, scheme redisScheme) (addrs []string, err error) {
	hosts := strings.Split(text, ",")
	if len(hosts) > 1 && scheme.form == single {
		return nil, errors.New("it has more than one host, which only sentinels and clusters have; " + escapes)
	}
	for i, text := range hosts {
		addr, problem := readHost(text, scheme.port)
		if problem != "" {
			return nil, fmt.Errorf("host %d of %d %s; %s", i+1, len(hosts), problem, escapes)
		}
		if slices.Contains(addrs, addr) {
			return nil, fmt.Errorf("host %d of %d is there twice", i+1, len(hosts))
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// readHost reads host, host:port, [v6] or [v6]:port, and says what is wrong with it.
func readHost(text, port string) (addr, problem string) {
	host, rest := text, ""
	if inner, is := strings.CutPrefix(text, "["); is {
		if host, rest, is = strings.Cut(inner, "]"); !is || net.ParseIP(host) == nil {
			return "", "has brackets around what is no IPv6 address"
		}
	} else if i := strings.LastIndexByte(text, ':'); i >= 0 {
		host, rest = text[:i], text[i:]
	}
	if text != "" && text[0] != '[' && strings.Contains(host, ":") {
		return "", "has more than one : (IPv6 addresses stand in brackets)"
	}
	if host == "" {
		return "", "is empty"
	}
	if strings.ContainsAny(host, "%[]@\\\"'<>") {
		return "", "has a character that no host has"
	}
	if rest != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(rest, ":"))
		if err != nil || rest[0] != ':' || n < 1 || n > 65535 {
			return "", "has a port that is no number from 1 to 65535"
		}
		port = strconv.Itoa(n)
	}
	return net.JoinHostPort(host, port), ""
}

// readOptions reads what stands behind the ?, of which each may stand once.
func readOptions(name string, scheme redisScheme, query string) (map[string]string, error) {
	var allowed []string
	if scheme.unix {
		allowed = append(allowed, "db")
	}
	if scheme.form == sentinels {
		allowed = append(allowed, "master_name", "sentinel_user", "sentinel_password")
	}
	if scheme.tls {
		allowed = append(allowed, tlsOptions...)
	}
	options := make(map[string]string)
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("what stands behind the ? is not name=value&name=value; " + escapes)
	}
	for option, value := range values {
		switch {
		case !slices.Contains(allowed, option) && len(allowed) == 0:
			return nil, fmt.Errorf("%s:// takes no options behind a ?; %s", name, escapes)
		case !slices.Contains(allowed, option):
			return nil, fmt.Errorf("an option behind the ? is none that %s:// takes, which are %s", name, strings.Join(allowed, ", "))
		case len(value) > 1:
			return nil, fmt.Errorf("option %s is there twice", option)
		case value[0] == "":
			return nil, fmt.Errorf("option %s is empty", option)
		}
		options[option] = value[0]
	}
	return options, nil
}
