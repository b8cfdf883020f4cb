package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/auth"
)

// Two secrets, and the beginning by which they are known again.
const (
	newSecret = "f00dfeed1-the-secret-of-2026-f00dfeed"
	oldSecret = "cafebabe2-the-secret-of-2025-cafebabe"
)

// keep writes a file into the folder that only its owner reads.
func keep(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// keyPair writes an Ed25519 key and returns the files of its two halves.
func keyPair(t *testing.T, dir string) (public, private string) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pubDER, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	privDER, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return keep(t, dir, "login.pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pubDER}))),
		keep(t, dir, "login.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privDER})))
}

// jwtEnv is the environment of a daemon with two secrets and a public key.
func jwtEnv(t *testing.T, dir string) (env []string, private string) {
	t.Helper()
	keep(t, dir, "new", newSecret+"\n")
	keep(t, dir, "old", oldSecret)
	public, private := keyPair(t, dir)
	return []string{
		"GAMESERVERD_AUTH_MODE=jwt", "GAMESERVERD_AUTH_JWT_SECRET_FILE=2026=new,2025=old", "GAMESERVERD_AUTH_JWT_PUBLIC_KEY_FILE=login=" + public,
		"GAMESERVERD_AUTH_JWT_ISSUER=us", "GAMESERVERD_AUTH_JWT_LEEWAY=1s", "GAMESERVERD_LOG_LEVEL=debug",
	}, private
}

func TestTokenLogsIn(t *testing.T) {
	dir := t.TempDir()
	env, private := jwtEnv(t, dir)
	d := serveIn(t, dir, append([]string{"GAMESERVERD_LISTEN_TCP=0.0.0.0:0"}, env...)...)
	addr := "127.0.0.1" + d.addr[strings.LastIndexByte(d.addr, ':'):]
	said := ""
	login := func(token string) (string, int) {
		out, errText, code := runHere(t, "call", "--addr", addr, "--login-file", keep(t, t.TempDir(), "t", token), "player.get")
		said += errText
		return out + errText, code
	}
	token := func(args ...string) string {
		t.Helper()
		out, errText, code := runIn(t, dir, env, append([]string{"token", "--uid", "7"}, args...)...)
		said += errText
		if code != 0 || errText != "" || strings.Count(out, ".") != 2 || !strings.HasSuffix(out, "\n") {
			t.Fatalf("token %q: exit code %d: %q, %s", args, code, out, errText)
		}
		return trimmed(out)
	}
	tokens := map[string]string{
		"the first secret": token("--ttl", "10m"), "the first by name": token("--kid", "2026"), "the one before": token("--kid", "2025"),
		"a secret's file": token("--secret-file", "old", "--kid", "2025"), "a private key": token("--private-key-file", private, "--kid", "login"),
	}
	for what, token := range tokens {
		if out, code := login(token); code != 0 || !strings.Contains(out, `"uid":7`) {
			t.Errorf("%s: exit code %d: %s", what, code, out)
		}
	}
	signer, err := auth.NewSecretSigner(auth.KeyFile{KID: "2026", Path: filepath.Join(dir, "new")})
	if err != nil {
		t.Fatal(err)
	}
	expired, err := signer.Sign(auth.Claims{UID: 7, Issuer: "us", Issued: time.Now().Add(-time.Hour), Expires: time.Now().Add(-time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	for want, token := range map[string]string{
		"not a signed token": "dev:7", "has expired": expired, "(kid) is not known here": token("--secret-file", "old"), "signature is wrong": token("--secret-file", "old", "--kid", "2026"),
		"another issuer (iss)": token("--issuer", "them"), "algorithm (alg) is not that of its key": token("--secret-file", "old", "--kid", "login"),
	} {
		tokens[want] = token
		if out, code := login(token); code != 1 || !strings.HasPrefix(out, "error: unauthenticated: ") || !strings.Contains(out, want) {
			t.Errorf("%s: exit code %d: %s", want, code, out)
		}
	}
	if code := d.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, d.err)
	}
	shown, errText, code := runIn(t, dir, env, "check", "--show")
	if code != 0 || !strings.Contains(shown, "2026=new,2025=old") {
		t.Errorf("check --show: exit code %d: %s%s", code, shown, errText)
	}
	key, err := os.ReadFile(private)
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{newSecret[:9], oldSecret[:9], strings.Split(string(key), "\n")[1]}
	for _, token := range tokens {
		if token != "dev:7" {
			secrets = append(secrets, token[:len(token)-1], token[strings.LastIndexByte(token, '.')+1:])
		}
	}
	for _, secret := range secrets {
		if all := d.err.String() + d.out.String() + shown + said; strings.Contains(all, secret) {
			t.Errorf("%s is shown:\n%s", secret, all)
		}
	}
	if strings.Contains(d.err.String(), "WARN") || strings.Count(d.err.String(), "login key") != 3 {
		t.Errorf("the log is\n%s", d.err)
	}
}

// A secret is given up by a restart without it, and not before.
func TestKeysRotate(t *testing.T) {
	dir := t.TempDir()
	env, _ := jwtEnv(t, dir)
	old, errText, code := runIn(t, dir, env, "token", "--uid", "7", "--kid", "2025")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errText)
	}
	file := keep(t, dir, "t", old)
	before := serveIn(t, dir, env...)
	if out, errText, code := before.call("player.get", "--login-file", file); code != 0 {
		t.Errorf("before: exit code %d: %s%s", code, out, errText)
	}
	before.stop(syscall.SIGTERM)
	after := serveIn(t, dir, append(env, "GAMESERVERD_AUTH_JWT_SECRET_FILE=2026=new")...)
	if out, errText, code := after.call("player.get", "--login-file", file); code != 1 || !strings.Contains(errText, "(kid) is not known here") {
		t.Errorf("after: exit code %d: %s%s", code, out, errText)
	}
}

func TestTokenForm(t *testing.T) {
	dir := t.TempDir()
	env, private := jwtEnv(t, dir)
	out, errText, code := runIn(t, dir, env, "token", "--uid", "18446744073709551615", "--json", "--private-key-file", private, "--ttl", "1h", "--kid", "login")
	var got struct {
		Token, Alg, KID string
		UID             uint64
		ExpiresMS       int64 `json:"expires_ms"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || errText != "" || got.Alg != "EdDSA" || got.KID != "login" || got.UID != 1<<64-1 || got.Token == "" {
		t.Errorf("%v: exit code %d, %+v %s", err, code, got, errText)
	}
	if left := time.Until(time.UnixMilli(got.ExpiresMS)); left > time.Hour || left < 58*time.Minute {
		t.Errorf("it ends in %v", left)
	}

	out, errText, code = runIn(t, dir, env, "token", "--uid", "5", "--count", "3")
	lines := strings.Fields(out)
	if code != 0 || errText != "" || len(lines) != 3 || lines[0] == lines[1] {
		t.Fatalf("exit code %d: %q %s", code, out, errText)
	}
	d := serveIn(t, dir, env...)
	file := keep(t, dir, "many", out)
	if out, errText, code := runIn(t, dir, nil, "bench", "--addr", d.addr, "--login-file", file, "--connections", "3", "--total", "30", "--warmup", "1ms", "--json", "player.get"); code != 0 || !strings.Contains(out, `"ok":30`) && !strings.Contains(out, `"ok": 30`) {
		t.Errorf("bench: exit code %d: %s%s", code, out, errText)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"holds 3 tokens; call takes one", []string{"call", "--login-file", file, "player.get"}},
		{"is empty", []string{"call", "--login-file", "/dev/null", "player.get"}},
		{"no such file", []string{"call", "--login-file", "absent", "player.get"}},
		{"[login login-file]", []string{"call", "--login-file", file, "--login", "dev:7", "player.get"}},
		{"login: 3 tokens for 4 connections", []string{"bench", "--login-file", file, "--connections", "4"}},
	} {
		if out, errText, code := runIn(t, dir, nil, c.args...); code != 2 || out != "" || !strings.Contains(errText, c.want) {
			t.Errorf("%q: exit code %d: %s%s", c.args, code, out, errText)
		}
	}
}

func TestTokenHints(t *testing.T) {
	dir := t.TempDir()
	env, private := jwtEnv(t, dir)
	short := keep(t, dir, "short", "hunter2hunter2")
	publicOnly := []string{"GAMESERVERD_AUTH_MODE=jwt", "GAMESERVERD_AUTH_JWT_PUBLIC_KEY_FILE=login.pub"}
	for _, c := range []struct {
		want string
		code int
		env  []string
		args []string
	}{
		{"token --uid 7; a uid is from 1", 2, env, nil},
		{"--ttl takes a duration from 1s", 2, env, []string{"--uid", "7", "--ttl=-1h"}},
		{"--ttl takes a duration from 1s", 2, env, []string{"--uid", "7", "--ttl", "0s"}},
		{"--count takes a number", 2, env, []string{"--uid", "7", "--count", "0"}},
		{"--count takes a number", 2, env, []string{"--uid", "18446744073709551615", "--count", "2"}},
		{"one key signs a token", 2, env, []string{"--uid", "7", "--secret-file", short, "--private-key-file", private}},
		{"a secret is given as a file", 2, env, []string{"--uid", "7", "hunter2hunter2"}},
		{"auth.mode is dev, where the token is just dev:7", 2, nil, []string{"--uid", "7"}},
		{"public keys only\nhint: give the private one: --private-key-file", 2, publicOnly, []string{"--uid", "7"}},
		{`has the kid "2024": there are 2026, 2025`, 2, env, []string{"--uid", "7", "--kid", "2024"}},
		{"the secret has 14 bytes, HS256 needs 32 at least\nhint: make a new one: ", 1, env, []string{"--uid", "7", "--secret-file", short}},
		{"absent: no such file", 1, env, []string{"--uid", "7", "--secret-file", "absent"}},
		{"it holds no PRIVATE KEY", 1, env, []string{"--uid", "7", "--private-key-file", "login.pub"}},
		{"while auth.mode is dev", 2, []string{"GAMESERVERD_LISTEN_TCP=0.0.0.0:1"}, []string{"--uid", "7"}},
	} {
		out, errText, code := runIn(t, dir, c.env, append([]string{"token"}, c.args...)...)
		if code != c.code || !strings.HasPrefix(errText, "error: ") || !strings.Contains(errText, c.want) || strings.Contains(errText, "hunter2") {
			t.Errorf("%q: exit code %d: %s", c.args, code, errText)
		}
		wantNothing(t, "standard output", out)
	}
}

func TestServeRefusesBadKeys(t *testing.T) {
	dir := t.TempDir()
	keep(t, dir, "short", "hunter2")
	keep(t, dir, "open", newSecret)
	for want, c := range map[string]struct {
		env  []string
		code int
	}{
		"problem(s):\nauth.jwt.secret_file (GAMESERVERD_AUTH_JWT_SECRET_FILE): short: the secret has 7 bytes": {[]string{"GAMESERVERD_AUTH_JWT_SECRET_FILE=short"}, 2},
		"absent: no such file":             {[]string{"GAMESERVERD_AUTH_JWT_SECRET_FILE=absent"}, 2},
		"jwt only with a file in auth.jwt": {nil, 2},
	} {
		_, errText, code := runIn(t, dir, append(append([]string{"GAMESERVERD_AUTH_MODE=jwt"}, anywhere...), c.env...), "serve")
		if code != c.code || !strings.Contains(errText, want) || strings.Contains(errText, "hunter2") {
			t.Errorf("%v: exit code %d: %s", c.env, code, errText)
		}
	}

	// systemd hands the secret over in a folder of its own; a file that everyone
	// reads is a warning.
	if err := os.Chmod(filepath.Join(dir, "open"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := serveOn(t, "GAMESERVERD_AUTH_MODE=jwt", "GAMESERVERD_AUTH_JWT_SECRET_FILE=open", "CREDENTIALS_DIRECTORY="+dir)
	d.until(d.err, `WARN +login key is exposed .*chmod o= `+dir+`/open`)
}

func TestMemoryIsHidden(t *testing.T) {
	if err := hideMemory(); err != nil {
		t.Fatal(err)
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		t.Errorf("dumpable is %d, %v", dumpable, err)
	}
}
