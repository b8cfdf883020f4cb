package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// The file's bytes are the secret, but for one line end behind them.
func TestSecretFile(t *testing.T) {
	for _, content := range []string{secret, secret + "\n", secret + "\r\n"} {
		v := verifier(t, JWTOptions{Secrets: []KeyFile{{Path: write(t, "s", content)}}})
		accepted(t, v, "a token", hs(t, nil, good()), 7)
	}
	for _, content := range []string{secret + "\n\n", secret + " ", " " + secret, secret + secret} {
		v := verifier(t, JWTOptions{Secrets: []KeyFile{{Path: write(t, "s", content)}}})
		refused(t, v, "with other bytes", hs(t, nil, good()), errSignature)
	}
}

// What is wrong with a file is said with its name and what to do, and without
// what is in it.
func TestRefusedKeyFiles(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecPrivate, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	sized := func(bits uint) *rsa.PublicKey {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return &rsa.PublicKey{N: n.Add(n, big.NewInt(1)), E: 65537}
	}
	edPublic, edPrivate := publicFile(t, edKey().Public()), privateFile(t, edKey())
	raw := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	dir := filepath.Dir(filepath.Dir(edPublic))
	type kind int
	const (
		hmac kind = iota
		public
		private
	)
	for _, c := range []struct {
		what string
		kind kind
		path string
		want string
	}{
		{"a short secret", hmac, write(t, "s", secret[:31]+"\n"), "the secret has 31 bytes, HS256 needs 32 at least\nhint: make a new one: (umask 077; openssl rand -hex 32 > /"},
		{"an empty file", hmac, write(t, "s", ""), "the secret has 0 bytes"},
		{"one byte", hmac, write(t, "s", strings.Repeat("\xff", 64)), "one byte again and again"},
		{"a public key", hmac, edPublic, "hint: a public key belongs in auth.jwt.public_key_file"},
		{"a private key", hmac, edPrivate, "hint: a public key belongs in auth.jwt.public_key_file"},
		{"an ssh key", hmac, write(t, "s", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@here\n"), "which is no secret for HS256"},
		{"a large file", hmac, write(t, "s", strings.Repeat(secret, 1000)), "more than 16384 bytes"},
		{"no end", hmac, "/dev/zero", "more than 16384 bytes"},
		{"a folder", hmac, t.TempDir(), "is a directory"},
		{"no file", hmac, "/nonexistent/secret", "/nonexistent/secret: no such file"},
		{"no file there", hmac, "nonexistent", "hint: a relative path is looked for in $CREDENTIALS_DIRECTORY"},
		{"no PEM", public, write(t, "k", secret), "it is no PEM file"},
		{"a secret key", public, edPrivate, "openssl pkey -in /"},
		{"two keys", public, write(t, "k", raw(edPublic)+raw(edPublic)), "it holds several keys\nhint: a file for each"},
		{"a certificate", public, writePEM(t, "CERTIFICATE", []byte{1}, nil), "openssl x509 -in /"},
		{"another block", public, writePEM(t, "DH PARAMETERS", []byte{1}, nil), "it holds no PUBLIC KEY"},
		{"nonsense", public, writePEM(t, "PUBLIC KEY", []byte{1}, nil), "its public key cannot be read"},
		{"ECDSA", public, publicFile(t, ec.Public()), "its key is neither Ed25519 nor RSA"},
		{"a short RSA key", public, publicFile(t, sized(2047)), "its RSA key has 2047 bits, allowed are 2048 to 3072"},
		{"a long RSA key", public, publicFile(t, sized(3073)), "its RSA key has 3073 bits"},
		{"a public key to sign with", private, edPublic, "openssl genpkey -algorithm ed25519"},
		{"an encrypted key", private, writePEM(t, "ENCRYPTED PRIVATE KEY", []byte{1}, nil), "--private-key-file <(openssl pkey -in /"},
		{"nonsense", private, writePEM(t, "PRIVATE KEY", []byte{1}, nil), "its private key cannot be read"},
		{"ECDSA", private, writePEM(t, "EC PRIVATE KEY", ecPrivate, nil), "it holds no PRIVATE KEY"},
		{"ECDSA", private, privateFile(t, ec), "neither Ed25519 nor RSA"},
	} {
		var err error
		switch f := []KeyFile{{"kid", c.path}}; c.kind {
		case hmac:
			_, err = NewJWT(JWTOptions{Secrets: f})
			if _, signing := NewSecretSigner(f[0]); signing == nil || !strings.HasSuffix(err.Error(), signing.Error()) {
				t.Errorf("%s: to sign with: %v, to verify: %v", c.what, signing, err)
			}
		case public:
			_, err = NewJWT(JWTOptions{PublicKeys: f})
		case private:
			_, err = NewPrivateKeySigner(f[0])
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v\nwant %s", c.what, err, c.want)
			continue
		}
		if !strings.HasPrefix(c.path, dir) {
			continue // it is not one of ours
		}
		b, _ := os.ReadFile(c.path) // no file, or a folder: nothing
		for _, word := range strings.Fields(string(b)) {
			if len(word) > 16 && strings.Contains(err.Error(), word[:16]) {
				t.Errorf("%s: what is in the file is in the error: %v", c.what, err)
			}
		}
	}
	for what, o := range map[string]JWTOptions{
		"there is no key":                      {},
		"another file has the kid a too":       {Secrets: []KeyFile{{"a", write(t, "s", secret)}}, PublicKeys: []KeyFile{{"a", edPublic}}},
		"another HS256 key is without a kid":   {Secrets: []KeyFile{{"", write(t, "s", secret)}, {"", write(t, "s", secret)}}},
		"auth.jwt.public_key_file: ":           {PublicKeys: []KeyFile{{"", "/nonexistent"}}},
		"auth.jwt.secret_file: open /nonexist": {Secrets: []KeyFile{{"", "/nonexistent"}}},
	} {
		if _, err := NewJWT(o); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %s", err, what)
		}
	}
}

// A file that others can use is a warning, and no log holds a key.
func TestExposedFiles(t *testing.T) {
	edPublic := publicFile(t, edKey().Public())
	for _, c := range []struct {
		mode os.FileMode
		s, p bool // whether a secret's file is exposed, and a public key's
	}{{0o600, false, false}, {0o400, false, false}, {0o640, false, false}, {0o644, true, false}, {0o604, true, false}, {0o660, false, false}, {0o666, true, true}, {0o602, true, true}} {
		core, logs := observer.New(zapcore.DebugLevel)
		s := write(t, "s", secret)
		for _, path := range []string{s, edPublic} {
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
		}
		verifier(t, JWTOptions{Secrets: []KeyFile{{"s", s}}, PublicKeys: []KeyFile{{"", edPublic}}}).LogKeys(zap.New(core), nil)
		warned := map[string]bool{}
		for _, e := range logs.FilterMessage("login key is exposed").All() {
			warned[e.ContextMap()["file"].(string)] = e.Level == zapcore.WarnLevel
		}
		if warned[s] != c.s || warned[edPublic] != c.p {
			t.Errorf("mode %o: %v", c.mode, warned)
		}
		if n := logs.FilterMessage("login key").Len(); n != 2 {
			t.Errorf("%d keys in the log", n)
		}
		for _, e := range logs.All() {
			for name, value := range e.ContextMap() {
				if text, _ := value.(string); strings.Contains(text, secret[:8]) {
					t.Errorf("%s has %q", name, text)
				}
			}
		}
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if err := os.WriteFile(filepath.Join(dir, "login"), []byte(secret), 0o400); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"login": filepath.Join(dir, "login"), "other": "other", "/login": "/login", "../" + filepath.Base(dir) + "/login": "../" + filepath.Base(dir) + "/login", "": "",
	} {
		if got := Locate(path); got != want {
			t.Errorf("%q is at %q, want %q", path, got, want)
		}
	}
	v := verifier(t, JWTOptions{Secrets: []KeyFile{{Path: "login"}}})
	accepted(t, v, "a token", hs(t, nil, good()), 7)
}
