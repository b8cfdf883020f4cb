package auth

import (
	"encoding/json"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// claims are what a token says. They are read by their exact names: the JSON
// package takes "Sub" for "sub" too, and an issuer may let its users choose
// claims of other names. It implements jwt.Claims.
type claims struct {
	issuer, subject      string
	audience             jwt.ClaimStrings
	expires, from, since *jwt.NumericDate // exp, nbf, iat; nil: none
}

// UnmarshalJSON reads the claims that are checked and leaves the others.
func (c *claims) UnmarshalJSON(b []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	if raw, ok := all["sub"]; ok && json.Unmarshal(raw, &c.subject) != nil {
		return errSubject // a number, most likely
	}
	for name, into := range map[string]any{"iss": &c.issuer, "aud": &c.audience} {
		if raw, ok := all[name]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return err
			}
		}
	}
	for name, into := range map[string]**jwt.NumericDate{"exp": &c.expires, "nbf": &c.from, "iat": &c.since} {
		if raw, ok := all[name]; ok {
			at, err := parseDate(raw)
			if err != nil {
				return err
			}
			*into = at
		}
	}
	return nil
}

// maxDate is the last second of the year 9999. Far beyond it seconds overflow:
// a token that ends there would have ended before it began.
const maxDate = 253402300799

// parseDate reads seconds since 1970, perhaps with a fraction.
func parseDate(raw json.RawMessage) (*jwt.NumericDate, error) {
	var seconds *float64
	if err := json.Unmarshal(raw, &seconds); err != nil {
		return nil, err
	}
	if seconds == nil { // null
		return nil, nil
	}
	if !(*seconds >= 0 && *seconds <= maxDate) {
		return nil, errMalformed
	}
	return &jwt.NumericDate{Time: time.UnixMilli(int64(*seconds * 1000))}, nil
}

// GetExpirationTime is exp.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.expires, nil }

// GetNotBefore is nbf.
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return c.from, nil }

// GetIssuedAt is iat.
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return c.since, nil }

// GetIssuer is iss.
func (c *claims) GetIssuer() (string, error) { return c.issuer, nil }

// GetSubject is sub.
func (c *claims) GetSubject() (string, error) { return c.subject, nil }

// GetAudience is aud.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return c.audience, nil }
