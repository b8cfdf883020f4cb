package auth

import (
	"errors"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Signer makes tokens that JWT accepts, for operators and tests. It belongs to
// whoever holds a secret or a private key; the daemon has none of it.
type Signer struct {
	// immutable after it is made
	kid    string
	method jwt.SigningMethod
	key    any // []byte, ed25519.PrivateKey or *rsa.PrivateKey
}

// NewSecretSigner signs by HS256 with the secret in a file. Any goroutine.
func NewSecretSigner(f KeyFile) (*Signer, error) {
	file, err := readKeyFile(f.Path)
	if err != nil {
		return nil, err
	}
	secret, err := file.secret()
	if err != nil {
		return nil, err
	}
	return &Signer{f.KID, jwt.SigningMethodHS256, secret}, nil
}

// NewPrivateKeySigner signs by EdDSA or RS256 with the private key in a PEM
// file, whichever fits the key. Any goroutine.
func NewPrivateKeySigner(f KeyFile) (*Signer, error) {
	file, err := readKeyFile(f.Path)
	if err != nil {
		return nil, err
	}
	private, algorithm, err := file.private()
	if err != nil {
		return nil, err
	}
	return &Signer{f.KID, jwt.GetSigningMethod(string(algorithm)), private}, nil
}

// KID is the kid of the tokens, "" if they have none. Any goroutine.
func (s *Signer) KID() string { return s.kid }

// Algorithm is HS256, EdDSA or RS256. Any goroutine.
func (s *Signer) Algorithm() string { return s.method.Alg() }

// Claims are what a token is to say.
type Claims struct {
	UID              uint64    // not 0
	Issued, Expires  time.Time // in whole seconds; a fraction is cut off
	Issuer, Audience string    // "": without
}

// Sign makes one token. Any goroutine.
func (s *Signer) Sign(c Claims) (string, error) {
	if c.UID == 0 {
		return "", errors.New("a uid is never 0")
	}
	registered := jwt.RegisteredClaims{
		Subject: strconv.FormatUint(c.UID, 10), Issuer: c.Issuer,
		IssuedAt: jwt.NewNumericDate(c.Issued), ExpiresAt: jwt.NewNumericDate(c.Expires),
	}
	if c.Audience != "" {
		registered.Audience = jwt.ClaimStrings{c.Audience}
	}
	t := jwt.NewWithClaims(s.method, registered)
	if s.kid != "" {
		t.Header["kid"] = s.kid
	}
	return t.SignedString(s.key)
}
