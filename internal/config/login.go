package config

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// KeyFile is one file with a key for signed tokens.
type KeyFile struct {
	KID  string // of the tokens that the key is for; "": of those without one
	Path string // not opened yet
}

// SecretKeys is SecretFile, taken apart: in its order, no kid twice. Any
// goroutine.
func (j JWT) SecretKeys() []KeyFile { return keyFiles(j.SecretFile) }

// PublicKeys is PublicKeyFile, taken apart: in its order, no kid twice. Any
// goroutine.
func (j JWT) PublicKeys() []KeyFile { return keyFiles(j.PublicKeyFile) }

func keyFiles(list []string) []KeyFile {
	out := make([]KeyFile, 0, len(list))
	for _, s := range list {
		if key, ok := parseKeyFile(s); ok { // Load and Validate have refused others
			out = append(out, key)
		}
	}
	return out
}

const kidRule = "1 to 128 characters of a-z, A-Z, 0-9, _, ., : and -"

// aKID is what stands before the = of kid=FILE.
var aKID = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,128}$`)

// isSecret says whether s is a secret in hexadecimal or base64 rather than the
// path of a file. A file of such a name has to be written with ./ before it.
func isSecret(s string) bool {
	s = strings.TrimRight(s, "=")
	return inHex.MatchString(s) || inBase64.MatchString(s) &&
		strings.ContainsAny(s, digits) && strings.ContainsAny(s, lower) && strings.ContainsAny(s, strings.ToUpper(lower))
}

const digits, lower = "0123456789", "abcdefghijklmnopqrstuvwxyz"

var (
	inHex    = regexp.MustCompile(`^[0-9A-Fa-f]{32,}$`)
	inBase64 = regexp.MustCompile(`^([A-Za-z0-9+][A-Za-z0-9+/]{31,}|[A-Za-z0-9_-]{32,})$`)
)

// parseKeyFile takes FILE or kid=FILE apart. What has a = behind a / is a path;
// one that begins otherwise can be written as ./a=b.
func parseKeyFile(s string) (KeyFile, bool) {
	key := KeyFile{Path: s}
	if kid, path, ok := strings.Cut(s, "="); ok && !strings.Contains(kid, "/") {
		if !aKID.MatchString(kid) {
			return KeyFile{}, false
		}
		key = KeyFile{KID: kid, Path: path}
	}
	if isSecret(s) || isSecret(key.Path) || strings.HasPrefix(key.Path, "-----BEGIN") {
		return KeyFile{}, false
	}
	return key, isPath(key.Path) && !strings.ContainsFunc(key.Path, func(r rune) bool {
		return r == ',' || r == ' ' || unicode.IsControl(r) // the first two separate items
	})
}

// isClaim accepts what may stand in a claim such as iss.
func isClaim(s string) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= 256 && !strings.ContainsFunc(s, unicode.IsControl)
}

// jwtNeedsKeys wants keys for signed tokens, and each kid for one of them.
func (c *Config) jwtNeedsKeys() (problems Problems) {
	j := c.Auth.JWT
	if c.Auth.Mode == "jwt" && len(j.SecretFile)+len(j.PublicKeyFile) == 0 {
		problems = append(problems, Problem{
			Key: "auth.mode", Value: show(c.Auth.Mode), Where: c.sources["auth.mode"],
			Allowed: "jwt only with a file in auth.jwt.secret_file or auth.jwt.public_key_file",
		})
	}
	for _, public := range j.PublicKeys() {
		for _, secret := range j.SecretKeys() {
			if secret.KID == public.KID && secret.KID != "" {
				problems = append(problems, Problem{
					Key: "auth.jwt.public_key_file", Value: "kid " + show(public.KID), Where: c.sources["auth.jwt.public_key_file"],
					Allowed: "each kid once; auth.jwt.secret_file has it too",
				})
			}
		}
	}
	return problems
}
