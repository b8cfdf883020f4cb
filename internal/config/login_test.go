package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

const (
	hexSecret    = "4f3a9c2be1d07788a6b5c4d3e2f10918273645afbecd0102"
	base64Secret = "Zm9vL2Jhci9iYXogbm90aGluZyBpcyBoZXJlIHRvIHNlZQ=="
	pemSecret    = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIDx"
)

func TestAcceptedOfLogin(t *testing.T) {
	secrets := func(c *Config) any { return c.Auth.JWT.SecretKeys() }
	publics := func(c *Config) any { return c.Auth.JWT.PublicKeys() }
	for _, c := range []struct {
		yaml string
		get  func(*Config) any
		want any
	}{
		{"{mode: jwt, jwt: {secret_file: /etc/gs/secret}}", secrets, []KeyFile{{"", "/etc/gs/secret"}}},
		{"{mode: jwt, jwt: {secret_file: [new=/etc/new, old=login.key, plain]}}", secrets, []KeyFile{{"new", "/etc/new"}, {"old", "login.key"}, {"", "plain"}}},
		{"{mode: jwt, jwt: {public_key_file: 'a=/a.pem, b=/b.pem'}}", publics, []KeyFile{{"a", "/a.pem"}, {"b", "/b.pem"}}},
		{"{mode: jwt, jwt: {secret_file: s, public_key_file: p}}", publics, []KeyFile{{"", "p"}}},
		{"{jwt: {secret_file: /a=b/c}}", secrets, []KeyFile{{"", "/a=b/c"}}},
		{"{jwt: {secret_file: ./d=e}}", secrets, []KeyFile{{"", "./d=e"}}},
		{"{jwt: {secret_file: ./" + hexSecret + "}}", secrets, []KeyFile{{"", "./" + hexSecret}}},
		{"{jwt: {secret_file: /run/credentials/gameserverd.service/login-secret-2026}}", secrets, []KeyFile{{"", "/run/credentials/gameserverd.service/login-secret-2026"}}},
		{"{jwt: {secret_file: login-secret-2026-of-the-production-servers}}", secrets, []KeyFile{{"", "login-secret-2026-of-the-production-servers"}}},
		{"{jwt: {leeway: 0s, issuer: 'https://login.example.com/', audience: 'the game'}}", func(c *Config) any {
			return []any{c.Auth.JWT.Leeway, c.Auth.JWT.Issuer, c.Auth.JWT.Audience}
		}, []any{time.Duration(0), "https://login.example.com/", "the game"}},
	} {
		got, err := parse("f", []byte("auth: "+c.yaml))
		if err != nil {
			t.Errorf("%s: %v", c.yaml, err)
		} else if v := c.get(got); !reflect.DeepEqual(v, c.want) {
			t.Errorf("%s gives %v, want %v", c.yaml, v, c.want)
		} else if err := got.Validate(); err != nil {
			t.Errorf("%s was loaded, but: %v", c.yaml, err)
		}
	}
}

func TestRefusedOfLogin(t *testing.T) {
	file := checks["keyfile"].allowed
	for _, c := range []struct{ yaml, want string }{
		{"{mode: jwt}", `auth.mode: "jwt" (f:1): allowed: jwt only with a file in auth.jwt.secret_file or auth.jwt.public_key_file`},
		{"{mode: jwt, jwt: {secret_file: []}}", `auth.mode: "jwt" (f:1): allowed: jwt only with a file in auth.jwt.secret_file or auth.jwt.public_key_file`},
		{"{jwt: {secret_file: [a=x, a=y]}}", `auth.jwt.secret_file: *** (f:1): allowed: ` + file},
		{"{jwt: {secret_file: [x, y]}}", `auth.jwt.secret_file: *** (f:1): allowed: ` + file},
		{"{jwt: {secret_file: [/a=b/c, ./d=e]}}", `auth.jwt.secret_file: *** (f:1): allowed: ` + file}, // neither has a kid
		{"{jwt: {secret_file: ['/my files/key']}}", `auth.jwt.secret_file: *** (f:1): allowed: ` + file},
		{"{jwt: {secret_file: a=}}", `auth.jwt.secret_file: *** (f:1): allowed: ` + file},
		{"{jwt: {secret_file: =a}}", `auth.jwt.secret_file: *** (f:1): allowed: ` + file},
		{"{jwt: {secret_file: 'a?=b'}}", `auth.jwt.secret_file: *** (f:1): allowed: ` + file},
		{"{jwt: {secret_file: 7}}", `auth.jwt.secret_file: *** (f:1): allowed: ` + file},
		{"{jwt: {secret_file: [a=s, s], public_key_file: [b=p, a=p, p]}}", `auth.jwt.public_key_file: kid "a" (f:1): allowed: each kid once; auth.jwt.secret_file has it too`},
		{"{jwt: {leeway: 11m}}", `auth.jwt.leeway: "11m" (f:1): allowed: a duration from 0s to 10m, written as 500ms, 5s or 1m30s`},
		{`{jwt: {issuer: "a\nb"}}`, `auth.jwt.issuer: "a\nb" (f:1): allowed: text of at most 256 characters on one line, or ""`},
		{"{jwt: {secretfile: x}}", `auth.jwt.secretfile: "***" (f:1): no such key, nearest is auth.jwt.secret_file`},
	} {
		_, err := parse("f", []byte("auth: "+c.yaml))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\n got %v\nwant %s", c.yaml, err, c.want)
		}
	}
}

// No way of writing a secret where its file belongs puts it on the screen.
func TestProblemsShowNoKey(t *testing.T) {
	for _, secret := range []string{hexSecret, base64Secret, pemSecret, "tiny secret"} {
		quoted := "'" + strings.ReplaceAll(secret, "\n", "\n\n    ") + "'"
		for _, yaml := range []string{
			"auth: {jwt: {secret: " + quoted + "}}", "auth: {jwt: " + quoted + "}", "jwt_secret: " + quoted,
			"auth: {jwt: {secret_file: " + quoted + ", secret_file: " + quoted + "}}", "auth: {jwt: {secret_file: !!int " + quoted + "}}",
			"auth: {jwt: {secret_file: [[" + quoted + "]]}}", "auth: {jwt: {public_key: " + quoted + "}}", "auth: {token: " + quoted + "}",
		} {
			if _, err := parse("f", []byte(yaml)); err == nil || strings.Contains(err.Error(), secret[:8]) {
				t.Errorf("%s: %v", yaml, err)
			}
		}
	}
	for _, secret := range []string{hexSecret, base64Secret, pemSecret} {
		for _, name := range []string{"GAMESERVERD_AUTH_JWT_SECRET", "GAMESERVERD_AUTH_JWT_SECRET_FILE", "GAMESERVERD_AUTH_JWT_PUBLIC_KEY_FILE"} {
			for _, value := range []string{secret, "k1=" + secret} {
				t.Run(name, func(t *testing.T) {
					t.Setenv(name, value)
					_, err := Load("")
					var problems Problems
					if !errors.As(err, &problems) || len(problems) != 1 || strings.Contains(err.Error(), secret[:8]) {
						t.Errorf("%s=%s: %v", name, value, err)
					}
				})
			}
		}
	}
}

// With signed tokens anyone may connect.
func TestJWTMayListenAnywhere(t *testing.T) {
	c, err := parse("f", []byte("listen: {tcp: ':5700'}\nauth: {mode: jwt, jwt: {public_key_file: k}}"))
	if err != nil || c.Auth.Mode != "jwt" {
		t.Errorf("%v", err)
	}
}
