package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"
)

// MaxTokenBytes is the length of the longest token that is looked at.
const MaxTokenBytes = 8 << 10

// maxHeader is the length of the longest header, in base64: it is read before
// anything is known of its sender.
const maxHeader = 2 << 10

// algorithm is how a key signs. It belongs to the key and is never taken from a
// token.
type algorithm string

const (
	hs256 algorithm = "HS256"
	edDSA algorithm = "EdDSA"
	rs256 algorithm = "RS256"
)

// KeyFile is a file with one key.
type KeyFile struct {
	KID  string // the key is for tokens with this kid; "": for those of its algorithm without a kid, or with one that has no key
	Path string // see Locate
}

// JWTOptions say who signs tokens, and what must be in them.
type JWTOptions struct {
	Secrets    []KeyFile     // HS256: the file's bytes without the line's end, 32 at least
	PublicKeys []KeyFile     // PEM: Ed25519 for EdDSA, RSA of 2048 to 3072 bits for RS256
	Leeway     time.Duration // how far the clock of who signs may be off
	Issuer     string        // what iss must be; "": anything
	Audience   string        // what must be in aud; "": anything
	Clock      func() time.Time
}

// JWT accepts signed tokens. A key is used with the one algorithm that belongs
// to it, whatever a token says.
type JWT struct {
	// immutable after NewJWT
	validator *jwt.Validator
	named     map[string]key    // by kid
	others    map[algorithm]key // those without a kid
	issuer    string            // that every token must have; "": any
	keys      []described       // all of them, as they were given
}

type key struct {
	algorithm algorithm
	material  any // []byte, ed25519.PublicKey or *rsa.PublicKey
}

// FileError says what is wrong with a key's file, and what to do; never what is
// in it.
type FileError struct {
	Setting string // the configuration's key
	Err     error
}

// Error names the setting first.
func (e *FileError) Error() string { return e.Setting + ": " + e.Err.Error() }

// Unwrap gives Err.
func (e *FileError) Unwrap() error { return e.Err }

// NewJWT reads the keys. Its error joins a FileError for each file that is wrong.
// Any goroutine.
func NewJWT(o JWTOptions) (*JWT, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	v := &JWT{named: map[string]key{}, others: map[algorithm]key{}, issuer: o.Issuer}
	var wrong []error
	for _, f := range o.Secrets {
		if err := v.add(f, hs256); err != nil {
			wrong = append(wrong, &FileError{"auth.jwt.secret_file", err})
		}
	}
	for _, f := range o.PublicKeys {
		if err := v.add(f, ""); err != nil {
			wrong = append(wrong, &FileError{"auth.jwt.public_key_file", err})
		}
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	if len(v.named)+len(v.others) == 0 {
		return nil, errors.New("auth.jwt: there is no key")
	}
	options := []jwt.ParserOption{jwt.WithExpirationRequired(), jwt.WithLeeway(o.Leeway), jwt.WithTimeFunc(o.Clock)}
	if o.Issuer != "" {
		options = append(options, jwt.WithIssuer(o.Issuer))
	}
	if o.Audience != "" {
		options = append(options, jwt.WithAudience(o.Audience))
	}
	v.validator = jwt.NewValidator(options...)
	return v, nil
}

// add reads one key: a secret if the algorithm is hs256, else a public key.
func (v *JWT) add(f KeyFile, a algorithm) error {
	file, err := readKeyFile(f.Path)
	if err != nil {
		return err
	}
	k := key{algorithm: a}
	if a == hs256 {
		k.material, err = file.secret()
	} else {
		k.material, k.algorithm, err = file.public()
	}
	if err != nil {
		return err
	}
	if f.KID != "" {
		if _, twice := v.named[f.KID]; twice {
			return file.wrong("another file has the kid %s too", f.KID)
		}
		v.named[f.KID] = k
	} else {
		if _, twice := v.others[k.algorithm]; twice {
			return file.wrong("another %s key is without a kid too\nhint: give them names: kid=FILE, kid=FILE", k.algorithm)
		}
		v.others[k.algorithm] = k
	}
	v.keys = append(v.keys, described{k.algorithm, f.KID, file.path, file.exposed(a == hs256), sha256.Sum256(file.raw)})
	return nil
}

// described is a key without what is secret of it. Two that are equal are the
// same key.
type described struct {
	algorithm          algorithm
	kid, file, exposed string            // exposed: what is wrong with the file's mode, and what to do; "": nothing
	sum                [sha256.Size]byte // of the file; not for logs: it would tell a weak secret
}

// LogKeys writes which keys there are and what is wrong with the modes of their
// files; beside the keys of before only what is new, and what is gone. nil:
// nothing was before. Any goroutine.
func (v *JWT) LogKeys(log *zap.Logger, before *JWT) {
	var old []described
	if before != nil {
		old = before.keys
	}
	for _, k := range v.keys {
		if slices.Contains(old, k) {
			continue
		}
		if k.exposed != "" {
			log.Warn("login key is exposed", zap.String("file", k.file), zap.String("hint", k.exposed))
		}
		log.Info("login key", k.fields()...)
	}
	for _, k := range old {
		if !slices.Contains(v.keys, k) {
			log.Info("login key is gone", k.fields()...)
		}
	}
}

func (k *described) fields() []zap.Field {
	return []zap.Field{zap.String("algorithm", string(k.algorithm)), zap.String("kid", k.kid), zap.String("file", k.file)}
}

// Why a token is refused, in words for its sender: nothing of a key or of the
// token is in them.
var (
	errTooLong    = fmt.Errorf("the token has more than %d bytes", MaxTokenBytes)
	errHeader     = fmt.Errorf("the token's header has more than %d bytes", maxHeader)
	errNoJWT      = errors.New("the token is not a signed token (a JWT)")
	errMalformed  = errors.New("the token is malformed")
	errAlgorithm  = errors.New("the token's algorithm (alg) is not that of its key")
	errUnknownKey = errors.New("the token's key (kid) is not known here")
	errCritical   = errors.New("the token needs an extension (crit) that is not known here")
	errSignature  = errors.New("the token's signature is wrong")
	errExpired    = errors.New("the token has expired")
	errNotYet     = errors.New("the token is not valid yet")
	errNoExpiry   = errors.New("the token has no end (exp)")
	errIssuer     = errors.New("the token is from another issuer (iss)")
	errAudience   = errors.New("the token is for another audience (aud)")
	errSubject    = errors.New("the token's subject (sub) must be a uid from 1 to 18446744073709551615, as text")
)

// Verify returns the uid that the token's sub names, if the token is signed by
// one of the keys and in force. It holds a loop for 5 microseconds of CPU (HS256),
// 40 (RS256, 2048 bits), 60 (EdDSA) or 190 (RS256, 3072 bits): BenchmarkVerify. Any
// goroutine.
func (v *JWT) Verify(token string) (uint64, error) {
	if len(token) > MaxTokenBytes {
		return 0, errTooLong
	}
	if !isCompact(token) {
		return 0, errNoJWT
	}
	// The parser of the library would read the claims before it looks at the
	// signature; here a stranger's claims are never read.
	payload, err := v.open(token)
	if err != nil {
		return 0, err
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return 0, reason(err)
	}
	if err := v.validator.Validate(&c); err != nil {
		return 0, v.invalid(err, &c)
	}
	uid, err := strconv.ParseUint(c.subject, 10, 64)
	if err != nil || uid == 0 || strconv.FormatUint(uid, 10) != c.subject {
		return 0, errSubject
	}
	return uid, nil
}

// open checks the signature of a token in three parts, and returns the second.
func (v *JWT) open(token string) ([]byte, error) {
	end := strings.LastIndexByte(token, '.')
	signed := token[:end]
	header, payload, _ := strings.Cut(signed, ".")
	if len(header) > maxHeader {
		return nil, errHeader
	}
	k, err := v.keyOf(header)
	if err != nil {
		return nil, err
	}
	signature, err := decode(token[end+1:])
	if err != nil {
		return nil, err
	}
	if methods[k.algorithm].Verify(signed, signature, k.material) != nil {
		return nil, errSignature
	}
	return decode(payload)
}

var methods = map[algorithm]jwt.SigningMethod{hs256: jwt.SigningMethodHS256, edDSA: jwt.SigningMethodEdDSA, rs256: jwt.SigningMethodRS256}

func decode(part string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, errMalformed
	}
	return b, nil
}

// isCompact says whether token has three parts in base64url's letters: the
// decoder would skip line ends.
func isCompact(token string) bool {
	return strings.Count(token, ".") == 2 && !strings.ContainsFunc(token, func(r rune) bool {
		return !(r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	})
}

// keyOf is the key that a token with this header must be signed by.
func (v *JWT) keyOf(header string) (key, error) {
	b, err := decode(header)
	if err != nil {
		return key{}, err
	}
	var h struct {
		Algorithm algorithm       `json:"alg"`
		KID       *string         `json:"kid"`
		Critical  json.RawMessage `json:"crit"`
	}
	if json.Unmarshal(b, &h) != nil {
		return key{}, errMalformed
	}
	if h.Critical != nil {
		return key{}, errCritical
	}
	var k key
	var ok bool
	if h.KID != nil {
		k, ok = v.named[*h.KID]
	}
	if !ok {
		k, ok = v.others[h.Algorithm]
	}
	switch {
	case ok && h.Algorithm == k.algorithm:
		return k, nil
	case ok || len(v.named) == 0: // no kid would help
		return key{}, errAlgorithm
	}
	return key{}, errUnknownKey
}

// reason is why claims could not be read.
func reason(err error) error {
	if errors.Is(err, errSubject) {
		return errSubject
	}
	return errMalformed
}

// invalid is the validator's err about c in our words: its own quote the token.
func (v *JWT) invalid(err error, c *claims) error {
	for _, r := range []struct{ is, say error }{
		{jwt.ErrTokenExpired, errExpired}, {jwt.ErrTokenNotValidYet, errNotYet},
		{jwt.ErrTokenInvalidIssuer, errIssuer}, {jwt.ErrTokenInvalidAudience, errAudience},
	} {
		if errors.Is(err, r.is) {
			return r.say
		}
	}
	switch { // a claim is missing
	case c.expires == nil:
		return errNoExpiry
	case c.issuer == "" && v.issuer != "":
		return errIssuer
	}
	return errAudience
}
