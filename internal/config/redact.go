package config

import (
	"regexp"
	"strings"
)

// hidden stands where a password was.
const hidden = "***"

// passwordParam is a parameter such as sentinel_password=... of a URL or DSN.
var passwordParam = regexp.MustCompile(`(?i)([?&][^=&]*pass[^=&]*=)[^&]*`)

// anchorName is where the YAML parser repeats what stands in the file.
var anchorName = regexp.MustCompile(`unknown anchor '.*'`)

// openDSN is a DSN without user and password: tcp(host:3306)/database, or a
// path.
var openDSN = regexp.MustCompile(`^(file:|[./]|[a-z0-9]*(\([^()]*\))?/)`)

// secretName is part of a key that is expected to hold a secret, or the name of
// a file with one.
var secretName = regexp.MustCompile(`(?i)secret|pass|token|key|jwt`)

// hide stands for any text.
func hide(string) string { return hidden }

// cleanFor is how the value of a key that does not exist is shown: it may be a
// misspelt dsn, or a secret where its file was wanted.
func cleanFor(key string) func(string) string {
	if secretName.MatchString(key) {
		return hide
	}
	return redact
}

// redact returns a DSN, a URL or a text that was perhaps meant as one without
// its password. It rather hides too much: what it gets may be wrong in any way.
func redact(s string) string {
	s = passwordParam.ReplaceAllString(s, "${1}"+hidden)
	scheme, rest, isURL := strings.Cut(s, "://")
	if isURL {
		scheme += "://"
	} else {
		scheme, rest = "", s
	}
	at := strings.LastIndexByte(rest, '@') // the last one: a password may hold @, / and ?
	switch {
	case at >= 0:
		user, _, named := strings.Cut(rest[:at], ":")
		switch {
		case named:
			user += ":" + hidden
		case isURL:
			user = hidden // a user without a password: more likely the password
		}
		return scheme + user + rest[at:]
	case !isURL && strings.Contains(rest, ":") && !openDSN.MatchString(rest):
		return hidden
	}
	return s
}
