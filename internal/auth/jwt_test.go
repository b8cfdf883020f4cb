package auth

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/sys/unix"
)

func TestAlgorithms(t *testing.T) {
	for name, c := range map[string]struct {
		method  jwt.SigningMethod
		private any
		o       JWTOptions
	}{
		"HS256": {jwt.SigningMethodHS256, []byte(secret), JWTOptions{Secrets: []KeyFile{{Path: write(t, "s", secret)}}}},
		"EdDSA": {jwt.SigningMethodEdDSA, edKey(), JWTOptions{PublicKeys: []KeyFile{{Path: publicFile(t, edKey().Public())}}}},
		"RS256": {jwt.SigningMethodRS256, rsa2048(), JWTOptions{PublicKeys: []KeyFile{{Path: publicFile(t, rsa2048().Public())}}}},
		"RS256 of PKCS1": {jwt.SigningMethodRS256, rsa2048(), JWTOptions{PublicKeys: []KeyFile{{
			Path: writePEM(t, "RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsa2048().PublicKey), nil)}}}},
	} {
		v := verifier(t, c.o)
		accepted(t, v, name, sign(t, c.method, c.private, nil, good()), 7)
		accepted(t, v, name+" with a kid", sign(t, c.method, c.private, map[string]any{"kid": "of the issuer"}, good()), 7)
		token := sign(t, c.method, c.private, nil, good())
		head := token[:strings.LastIndexByte(token, '.')+1]
		refused(t, v, name+" without a signature", head, errSignature)
		refused(t, v, name+" with another signature", head+"AAAA", errSignature)
		refused(t, v, name+" with a part of the signature", token[:len(head)+40], errSignature)
		refused(t, v, name+" with other claims", swapPayload(token, sign(t, c.method, c.private, nil, with("sub", "8"))), errSignature)
		// The last letter of a signature has bits that are not used.
		for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
			if again := token[:len(token)-1] + string(last); again != token {
				if _, err := v.Verify(again); err == nil {
					t.Errorf("%s: two forms of one signature are accepted", name)
				}
			}
		}
	}
}

// swapPayload puts the payload of another token into token.
func swapPayload(token, other string) string {
	a, b := strings.Split(token, "."), strings.Split(other, ".")
	return a[0] + "." + b[1] + "." + a[2]
}

// A key is used with its own algorithm only, whatever the token says.
func TestAlgorithmIsPinnedToTheKey(t *testing.T) {
	edFile, rsaFile := publicFile(t, edKey().Public()), publicFile(t, rsa2048().Public())
	edPEM, err := os.ReadFile(edFile)
	if err != nil {
		t.Fatal(err)
	}
	rsaPEM, err := os.ReadFile(rsaFile)
	if err != nil {
		t.Fatal(err)
	}
	edBlock, _ := pem.Decode(edPEM)
	rsaBlock, _ := pem.Decode(rsaPEM)
	public := []any{edPEM, rsaPEM, edBlock.Bytes, rsaBlock.Bytes, []byte(edKey().Public().(ed25519.PublicKey)), []byte(strings.TrimSpace(string(rsaPEM)))}

	onlyPublic := verifier(t, JWTOptions{PublicKeys: []KeyFile{{Path: edFile}, {Path: rsaFile}}})
	all := verifier(t, JWTOptions{
		Secrets: []KeyFile{{"s", write(t, "s", secret)}}, PublicKeys: []KeyFile{{"e", edFile}, {"r", rsaFile}},
	})
	for _, key := range public {
		refused(t, onlyPublic, "HS256 with a public key", sign(t, jwt.SigningMethodHS256, key, nil, good()), errAlgorithm)
		for _, kid := range []string{"e", "r"} {
			refused(t, all, "HS256 with a public key", sign(t, jwt.SigningMethodHS256, key, map[string]any{"kid": kid}, good()), errAlgorithm)
		}
		refused(t, all, "HS256 with a public key as the secret", sign(t, jwt.SigningMethodHS256, key, map[string]any{"kid": "s"}, good()), errSignature)
	}
	refused(t, all, "EdDSA for an RSA key", sign(t, jwt.SigningMethodEdDSA, edKey(), map[string]any{"kid": "r"}, good()), errAlgorithm)
	refused(t, all, "RS256 for an Ed25519 key", sign(t, jwt.SigningMethodRS256, rsa2048(), map[string]any{"kid": "e"}, good()), errAlgorithm)
	refused(t, all, "RS256 for a secret", sign(t, jwt.SigningMethodRS256, rsa2048(), map[string]any{"kid": "s"}, good()), errAlgorithm)
	for _, method := range []jwt.SigningMethod{jwt.SigningMethodRS384, jwt.SigningMethodRS512, jwt.SigningMethodPS256} {
		refused(t, onlyPublic, method.Alg(), sign(t, method, rsa2048(), nil, good()), errAlgorithm)
	}
	refused(t, all, "HS512", sign(t, jwt.SigningMethodHS512, []byte(secret), map[string]any{"kid": "s"}, good()), errAlgorithm)
	for kid, v := range map[string]*JWT{"": onlyPublic, "s": all, "e": all, "r": all} {
		refused(t, v, "none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, map[string]any{"kid": kid}, good()), errAlgorithm)
	}
	for _, alg := range []string{`"none"`, `"None"`, `"hs256"`, `""`, `null`, `7`, `["HS256"]`, `{}`} {
		header := `{"kid":"s","alg":` + alg + `}`
		if _, err := all.Verify(raw(header, `{"sub":"7","exp":9000000000}`)); err == nil {
			t.Errorf("alg %s is accepted", alg)
		}
	}
}

func TestKeysByKID(t *testing.T) {
	const other = "another secret of more than 32 bytes"
	v := verifier(t, JWTOptions{Secrets: []KeyFile{{"2025", write(t, "a", secret)}, {"2026", write(t, "b", other)}}})
	for kid, key := range map[string]string{"2025": secret, "2026": other} {
		accepted(t, v, kid, sign(t, jwt.SigningMethodHS256, []byte(key), map[string]any{"kid": kid}, good()), 7)
	}
	refused(t, v, "the other's secret", sign(t, jwt.SigningMethodHS256, []byte(other), map[string]any{"kid": "2025"}, good()), errSignature)
	refused(t, v, "no kid", hs(t, nil, good()), errUnknownKey)
	for _, kid := range []any{"", "2024", "2025 ", "../2025"} {
		refused(t, v, "an unknown kid", hs(t, map[string]any{"kid": kid}, good()), errUnknownKey)
	}
	for _, kid := range []any{7, []string{"2025"}, map[string]any{"2025": 1}, true} {
		refused(t, v, "a kid that is no text", hs(t, map[string]any{"kid": kid}, good()), errMalformed)
	}

	// A key without a kid is for the tokens that no other key is named for.
	both := verifier(t, JWTOptions{Secrets: []KeyFile{{"2026", write(t, "b", other)}, {"", write(t, "a", secret)}}})
	accepted(t, both, "without a kid", hs(t, nil, good()), 7)
	accepted(t, both, "with one that is not listed", hs(t, map[string]any{"kid": "x"}, good()), 7)
	refused(t, both, "with one that is listed", hs(t, map[string]any{"kid": "2026"}, good()), errSignature)
	refused(t, both, "of another algorithm", sign(t, jwt.SigningMethodEdDSA, edKey(), nil, good()), errUnknownKey)
}

func TestClaims(t *testing.T) {
	v := withSecret(t, JWTOptions{Leeway: 30 * time.Second})
	for sub, want := range map[string]uint64{"1": 1, "7": 7, "18446744073709551615": math.MaxUint64} {
		accepted(t, v, "sub "+sub, hs(t, nil, with("sub", sub)), want)
	}
	for _, sub := range []any{"", "0", "007", "+7", "-7", " 7", "7 ", "7.0", "0x7", "1_0", "18446744073709551616", "seven", 7, 7.5, []string{"7"}, true, nil} {
		refused(t, v, "sub", hs(t, nil, with("sub", sub)), errSubject)
	}
	refused(t, v, "sub null", raw(`{"alg":"HS256"}`, `{"sub":null,"exp":9000000000}`), errSubject)
	refused(t, v, "Sub for sub", raw(`{"alg":"HS256"}`, `{"Sub":"7","exp":9000000000}`), errSubject)
	accepted(t, v, "Sub beside sub", raw(`{"alg":"HS256"}`, `{"sub":"7","Sub":"8","SUB":"9","exp":9000000000,"EXP":1}`), 7)
	refused(t, v, "Exp for exp", raw(`{"alg":"HS256"}`, `{"sub":"7","Exp":9000000000}`), errNoExpiry)

	seconds := func(d time.Duration) int64 { return now.Add(d).Unix() }
	accepted(t, v, "exp within the leeway", hs(t, nil, with("exp", seconds(-29*time.Second))), 7)
	refused(t, v, "exp at the leeway's end", hs(t, nil, with("exp", seconds(-30*time.Second))), errExpired)
	refused(t, v, "exp long ago", hs(t, nil, with("exp", 0)), errExpired)
	refused(t, v, "no exp", hs(t, nil, with("exp", nil)), errNoExpiry)
	refused(t, v, "exp null", raw(`{"alg":"HS256"}`, `{"sub":"7","exp":null}`), errNoExpiry)
	accepted(t, v, "nbf within the leeway", hs(t, nil, with("nbf", seconds(30*time.Second))), 7)
	refused(t, v, "nbf later", hs(t, nil, with("nbf", seconds(31*time.Second))), errNotYet)
	accepted(t, v, "exp with a fraction", hs(t, nil, with("exp", float64(seconds(time.Second))+.5)), 7)
	for _, date := range []string{`-1`, `253402300800`, `1e18`, `9.3e18`, `1e300`, `1e999`, `-1e300`, `"9000000000"`, `true`, `{}`, `[9000000000]`} {
		refused(t, v, "exp "+date, raw(`{"alg":"HS256"}`, `{"sub":"7","exp":`+date+`}`), errMalformed)
		refused(t, v, "nbf "+date, raw(`{"alg":"HS256"}`, `{"sub":"7","exp":9000000000,"nbf":`+date+`}`), errMalformed)
	}
	refused(t, v, "crit", hs(t, map[string]any{"crit": []string{"b64"}, "b64": false}, good()), errCritical)

	none := withSecret(t, JWTOptions{})
	refused(t, none, "without leeway", hs(t, nil, with("exp", now.Unix())), errExpired)
	accepted(t, none, "without leeway", hs(t, nil, with("exp", now.Unix()+1)), 7)
	accepted(t, none, "any issuer and audience", hs(t, nil, with("iss", "x")), 7)
}

func TestIssuerAndAudience(t *testing.T) {
	issuer, audience := withSecret(t, JWTOptions{Issuer: "us"}), withSecret(t, JWTOptions{Audience: "players"})
	accepted(t, issuer, "our issuer", hs(t, nil, with("iss", "us")), 7)
	for _, iss := range []any{nil, "", "US", "us ", "them"} {
		refused(t, issuer, "issuer", hs(t, nil, with("iss", iss)), errIssuer)
	}
	for _, aud := range []any{"players", []string{"players"}, []string{"admins", "players"}} {
		accepted(t, audience, "our audience", hs(t, nil, with("aud", aud)), 7)
	}
	for _, aud := range []any{nil, "", "Players", []string{}, []string{"admins"}} {
		refused(t, audience, "audience", hs(t, nil, with("aud", aud)), errAudience)
	}
	refused(t, issuer, "a number", hs(t, nil, with("iss", 7)), errMalformed)
	refused(t, audience, "numbers", hs(t, nil, with("aud", []int{7})), errMalformed)
	both := withSecret(t, JWTOptions{Issuer: "us", Audience: "players"})
	refused(t, both, "neither", hs(t, nil, good()), errIssuer)
	refused(t, both, "neither, and expired", hs(t, nil, with("exp", 0)), errExpired)
}

func TestHostileTokens(t *testing.T) {
	v := withSecret(t, JWTOptions{})
	token := hs(t, nil, good())
	for what, token := range map[string]string{
		"empty": "", "dev": "dev:7", "a dot": ".", "two parts": "a.b", "four parts": token + ".", "space": " " + token, "line end": token + "\n", "line end within": token[:9] + "\r\n" + token[9:],
		"padding": token + "=", "no ASCII": "é.é.é", "no UTF-8": "\xff.\xff.\xff", "zero": "a.b.\x00", "bearer": "Bearer " + token,
	} {
		refused(t, v, what, token, errNoJWT)
	}
	for what, token := range map[string]string{
		"empty parts": "..", "no JSON": raw("{", "{}"), "header null": raw("null", `{"sub":"7","exp":9000000000}`), "header list": raw("[]", "{}"),
		"claims null": raw(`{"alg":"HS256"}`, "null"), "claims list": raw(`{"alg":"HS256"}`, "[]"), "claims text": raw(`{"alg":"HS256"}`, `"7"`),
		"more behind": raw(`{"alg":"HS256"}`, `{"sub":"7","exp":9000000000}{}`),
	} {
		if uid, err := v.Verify(token); err == nil || uid != 0 {
			t.Errorf("%s: uid %d", what, uid)
		}
	}
	longest := hs(t, nil, with("pad", strings.Repeat("x", 5900)))
	longest = hs(t, nil, with("pad", strings.Repeat("x", 5900+(MaxTokenBytes-len(longest))*3/4)))
	if len(longest) > MaxTokenBytes || len(longest) < MaxTokenBytes-40 {
		t.Fatalf("the longest token has %d bytes", len(longest))
	}
	accepted(t, v, "the longest", longest, 7)
	refused(t, v, "a longer one", hs(t, nil, with("pad", strings.Repeat("x", 6100))), errTooLong)
	accepted(t, v, "a long header", hs(t, map[string]any{"pad": strings.Repeat("x", 1450)}, good()), 7)
	refused(t, v, "a longer header", hs(t, map[string]any{"pad": strings.Repeat("x", 1550)}, good()), errHeader)
	refused(t, v, "very long", strings.Repeat("a.b", 1<<20), errTooLong)
	deep := strings.Repeat("[", 5000)
	if _, err := v.Verify(raw(`{"alg":"HS256"}`, `{"a":`+deep)); err == nil {
		t.Error("deep nonsense is accepted")
	}
}

func TestSignerMakesWhatIsAccepted(t *testing.T) {
	secretFile, edFile, rsaFile := write(t, "s", secret), privateFile(t, edKey()), privateFile(t, rsa2048())
	pkcs1 := writePEM(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsa2048()), nil)
	v := verifier(t, JWTOptions{
		Secrets: []KeyFile{{"s", secretFile}}, Issuer: "us", Audience: "players",
		PublicKeys: []KeyFile{{"e", publicFile(t, edKey().Public())}, {"r", publicFile(t, rsa2048().Public())}, {"p", publicFile(t, rsa2048().Public())}},
	})
	for _, c := range []struct {
		kid, path, algorithm string
		make                 func(KeyFile) (*Signer, error)
	}{{"s", secretFile, "HS256", NewSecretSigner}, {"e", edFile, "EdDSA", NewPrivateKeySigner}, {"r", rsaFile, "RS256", NewPrivateKeySigner}, {"p", pkcs1, "RS256", NewPrivateKeySigner}} {
		s, err := c.make(KeyFile{c.kid, c.path})
		if err != nil {
			t.Fatal(err)
		}
		if s.KID() != c.kid || s.Algorithm() != c.algorithm {
			t.Errorf("kid %s, algorithm %s", s.KID(), s.Algorithm())
		}
		for _, uid := range []uint64{1, math.MaxUint64} {
			token, err := s.Sign(Claims{UID: uid, Issued: now, Expires: now.Add(time.Second), Issuer: "us", Audience: "players"})
			if err != nil {
				t.Fatal(err)
			}
			accepted(t, v, c.kid+" "+strconv.FormatUint(uid, 10), token, uid)
		}
		token, err := s.Sign(Claims{UID: 7, Issued: now, Expires: now, Issuer: "us", Audience: "players"})
		if err != nil {
			t.Fatal(err)
		}
		refused(t, v, "at its end", token, errExpired)
		if _, err := s.Sign(Claims{Issued: now, Expires: now.Add(time.Hour)}); err == nil {
			t.Error("a token for uid 0")
		}
	}
}

// Whatever a token holds, it is refused without a panic and in plain words, or
// its signature is right.
func FuzzVerify(f *testing.F) {
	v := verifier(f, JWTOptions{
		Secrets: []KeyFile{{"s", write(f, "s", secret)}, {"", write(f, "o", secret)}}, PublicKeys: []KeyFile{{"e", publicFile(f, edKey().Public())}, {"r", publicFile(f, rsa2048().Public())}},
	})
	f.Add(`{"alg":"HS256","kid":"s"}`, `{"sub":"7","exp":9000000000}`, "", true)
	f.Add(`{"alg":"EdDSA","kid":"e"}`, `{"sub":"7","exp":9000000000,"nbf":1.5,"aud":["a"],"iss":"b"}`, "AAAA", false)
	f.Add(`{"alg":"RS256","kid":"r","crit":[]}`, `{"sub":"18446744073709551615","exp":1e400}`, "", false)
	f.Add(`{"alg":"none"}`, `null`, "", false)
	f.Add(`{"alg":"HS256"}`, `{"sub":7,"exp":-1,"aud":{},"iat":[]}`, "", true)
	f.Fuzz(func(t *testing.T, header, payload, signature string, signed bool) {
		token := header + "." + payload + "." + signature
		for _, token := range []string{token, raw(header, payload), swapSignature(raw(header, payload), signature, signed)} {
			uid, err := v.Verify(token)
			switch {
			case err == nil && uid == 0, err != nil && uid != 0:
				t.Fatalf("uid %d, error %v", uid, err)
			case err != nil && !isReason(err):
				t.Fatalf("the error is not one of ours: %v", err)
			case err == nil && token != raw(header, payload):
				t.Fatalf("a token that was not signed is accepted: %s", token)
			}
		}
	})
}

// swapSignature gives the token another signature, unless it is to keep its own.
func swapSignature(token, signature string, keep bool) string {
	if keep {
		return token
	}
	return token[:strings.LastIndexByte(token, '.')+1] + signature
}

func isReason(err error) bool {
	for _, r := range []error{
		errTooLong, errHeader, errNoJWT, errMalformed, errAlgorithm, errUnknownKey, errCritical, errSignature, errExpired, errNotYet, errNoExpiry, errIssuer, errAudience, errSubject,
	} {
		if err == r {
			return true
		}
	}
	return false
}

// BenchmarkVerify is how long a login holds a loop.
func BenchmarkVerify(b *testing.B) {
	v := verifier(b, JWTOptions{
		Secrets:    []KeyFile{{"s", write(b, "s", secret)}},
		PublicKeys: []KeyFile{{"e", publicFile(b, edKey().Public())}, {"r", publicFile(b, rsa2048().Public())}, {"r3", publicFile(b, rsa3072().Public())}},
	})
	kid := func(kid string) map[string]any { return map[string]any{"kid": kid} }
	ed := sign(b, jwt.SigningMethodEdDSA, edKey(), kid("e"), good())
	for _, c := range []struct{ name, token string }{
		{"HS256", hs(b, kid("s"), good())},
		{"EdDSA", ed},
		{"RS256", sign(b, jwt.SigningMethodRS256, rsa2048(), kid("r"), good())},
		{"RS256-3072", sign(b, jwt.SigningMethodRS256, rsa3072(), kid("r3"), good())},
		{"bad-EdDSA", swapPayload(ed, sign(b, jwt.SigningMethodEdDSA, edKey(), kid("e"), with("sub", "8")))},
		{"8KiB-HS256", hs(b, kid("s"), with("pad", strings.Repeat("x", 5900)))},
		{"8KiB-deep", raw(`{"alg":"HS256","kid":"s"}`, `{"sub":"7","exp":9000000000,"a":`+strings.Repeat("[", 2900)+strings.Repeat("]", 2900)+`}`)},
		{"8KiB-many", raw(`{"alg":"HS256","kid":"s"}`, `{"sub":"7","exp":9000000000`+many(700)+`}`)},
		{"bad-8KiB", raw(`{"alg":"HS256","kid":"s"`+many(150)+`}`, strings.Repeat("[", 4000)) + "x"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			began := cpuTime(b)
			for b.Loop() {
				_, _ = v.Verify(c.token)
			}
			b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpuTime is what this process has used: on a busy machine a clock says little.
func cpuTime(b *testing.B) time.Duration {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// many are n more claims.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`,"` + strconv.FormatInt(int64(i), 36) + `":0`)
	}
	return b.String()
}
