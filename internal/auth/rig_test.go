package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	os.Unsetenv("CREDENTIALS_DIRECTORY")
	goleak.VerifyTestMain(m)
}

// now is when all tokens of the tests are checked.
var now = time.Unix(1_790_000_000, 0)

func clock() time.Time { return now }

var secret = strings.Repeat("0123456789abcdef", 4)

// The keys of all tests: RSA's take a while to make.
var (
	rsa2048 = sync.OnceValue(func() *rsa.PrivateKey { return makeRSA(2048) })
	rsa3072 = sync.OnceValue(func() *rsa.PrivateKey { return makeRSA(3072) })
	edKey   = sync.OnceValue(func() ed25519.PrivateKey {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		return private
	})
)

func makeRSA(bits int) *rsa.PrivateKey {
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return private
}

// write makes a file that only its owner reads.
func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func writePEM(t testing.TB, kind string, der []byte, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func publicFile(t testing.TB, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	return writePEM(t, "PUBLIC KEY", der, err)
}

func privateFile(t testing.TB, private any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	return writePEM(t, "PRIVATE KEY", der, err)
}

func verifier(t testing.TB, o JWTOptions) *JWT {
	t.Helper()
	o.Clock = clock
	v, err := NewJWT(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// withSecret accepts what signed signs.
func withSecret(t testing.TB, o JWTOptions) *JWT {
	t.Helper()
	o.Secrets = []KeyFile{{Path: write(t, "secret", secret+"\n")}}
	return verifier(t, o)
}

// good is a payload that is accepted.
func good() map[string]any { return map[string]any{"sub": "7", "exp": now.Unix() + 60} }

// with is good with one claim changed, or taken away by nil.
func with(name string, value any) map[string]any {
	claims := good()
	claims[name] = value
	if value == nil {
		delete(claims, name)
	}
	return claims
}

// sign makes any token, also one that a Signer would not.
func sign(t testing.TB, method jwt.SigningMethod, key any, header, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	for name, value := range header {
		token.Header[name] = value
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func hs(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(secret), header, claims)
}

// raw signs a header and a payload as they stand, by HS256.
func raw(header, payload string) string {
	enc := base64.RawURLEncoding
	text := enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(payload))
	sum, err := jwt.SigningMethodHS256.Sign(text, []byte(secret))
	if err != nil {
		panic(err)
	}
	return text + "." + enc.EncodeToString(sum)
}

// refused fails the test unless v refuses the token for that reason, in words
// that hold nothing of it.
func refused(t testing.TB, v *JWT, what, token string, want error) {
	t.Helper()
	uid, err := v.Verify(token)
	if err != want || uid != 0 {
		t.Errorf("%s: uid %d, %v; want: %v", what, uid, err, want)
	}
}

func accepted(t testing.TB, v *JWT, what, token string, want uint64) {
	t.Helper()
	if uid, err := v.Verify(token); err != nil || uid != want {
		t.Errorf("%s: uid %d, %v; want uid %d", what, uid, err, want)
	}
}
