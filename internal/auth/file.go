package auth

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// The bounds of keys.
const (
	minSecret  = 32   // bytes: as many as the sum that HS256 makes
	minRSABits = 2048 // what RFC 7518 asks for
	maxRSABits = 3072 // one of 4096 bits would hold a loop for 0.3 ms
	maxKeyFile = 16 << 10
)

// Locate is where a key's file is: in the folder of systemd's credentials if
// path is relative and the file is there, else path as it stands. Any goroutine.
func Locate(path string) string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" || !filepath.IsLocal(path) {
		return path
	}
	if _, err := os.Stat(filepath.Join(dir, path)); err != nil {
		return path
	}
	return filepath.Join(dir, path)
}

// keyFile is a file that was read.
type keyFile struct {
	path string // where it was found
	mode os.FileMode
	raw  []byte
}

func readKeyFile(path string) (keyFile, error) {
	k := keyFile{path: Locate(path)}
	file, err := os.Open(k.path)
	if err != nil {
		return k, explainOpen(path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return k, err
	}
	k.mode = info.Mode()
	if k.raw, err = io.ReadAll(io.LimitReader(file, maxKeyFile+1)); err != nil {
		return k, err // a *PathError: it names the file
	}
	if len(k.raw) > maxKeyFile {
		return k, k.wrong("it has more than %d bytes; is it the right file?", maxKeyFile)
	}
	return k, nil
}

func explainOpen(path string, err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w\nhint: the user whom the daemon runs as must be able to read it: chown or chgrp it, mode 0400 or 0440", err)
	case errors.Is(err, os.ErrNotExist) && !filepath.IsAbs(path):
		return fmt.Errorf("%w\nhint: a relative path is looked for in $CREDENTIALS_DIRECTORY and in the folder that the program is started in", err)
	}
	return err
}

// wrong is an error about the file. It must never be given what is in it.
func (k keyFile) wrong(format string, args ...any) error {
	return fmt.Errorf("%s: %s", k.path, fmt.Sprintf(format, args...))
}

// secret is the file's content without the line's end.
func (k keyFile) secret() ([]byte, error) {
	secret := bytes.TrimSuffix(bytes.TrimSuffix(k.raw, []byte("\n")), []byte("\r"))
	switch {
	case bytes.Contains(k.raw, []byte("-----BEGIN")) || bytes.HasPrefix(k.raw, []byte("ssh-")):
		// Whoever knows a public key could sign with it.
		return nil, k.wrong("it holds a key in PEM or of ssh, which is no secret for HS256\nhint: a public key belongs in auth.jwt.public_key_file; gameserverd token takes a private one as --private-key-file")
	case len(secret) < minSecret:
		return nil, k.wrong("the secret has %d bytes, HS256 needs %d at least\nhint: make a new one: (umask 077; openssl rand -hex 32 > %s)", len(secret), minSecret, k.path)
	case bytes.Count(secret, secret[:1]) == len(secret):
		return nil, k.wrong("the secret is one byte again and again\nhint: make a new one: (umask 077; openssl rand -hex 32 > %s)", k.path)
	}
	return secret, nil
}

// public reads the one public key in the file and says for which algorithm.
func (k keyFile) public() (any, algorithm, error) {
	block, err := k.block()
	if err != nil {
		return nil, "", err
	}
	var key any
	switch {
	case block.Type == "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, "", k.wrong("it holds a private key, which only belongs to who signs\nhint: give the daemon the public one: openssl pkey -in %s -pubout", k.path)
	case block.Type == "CERTIFICATE":
		return nil, "", k.wrong("it holds a certificate\nhint: take the public key out of it: openssl x509 -in %s -noout -pubkey", k.path)
	default:
		return nil, "", k.wrong("it holds no PUBLIC KEY")
	}
	if err != nil {
		return nil, "", k.wrong("its public key cannot be read")
	}
	switch key := key.(type) {
	case ed25519.PublicKey:
		return key, edDSA, nil
	case *rsa.PublicKey:
		return key, rs256, k.checkRSA(key)
	}
	return nil, "", k.wrong("its key is neither Ed25519 nor RSA")
}

// private reads the one private key in the file.
func (k keyFile) private() (any, algorithm, error) {
	block, err := k.block()
	if err != nil {
		return nil, "", err
	}
	var key any
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		return nil, "", k.wrong("its private key is encrypted\nhint: decrypt it for the moment: --private-key-file <(openssl pkey -in %s)", k.path)
	default:
		return nil, "", k.wrong("it holds no PRIVATE KEY\nhint: make one: (umask 077; openssl genpkey -algorithm ed25519 -out FILE)")
	}
	if err != nil {
		return nil, "", k.wrong("its private key cannot be read")
	}
	switch key := key.(type) {
	case ed25519.PrivateKey:
		return key, edDSA, nil
	case *rsa.PrivateKey:
		return key, rs256, k.checkRSA(&key.PublicKey)
	}
	return nil, "", k.wrong("its key is neither Ed25519 nor RSA")
}

// block is the file's one block of PEM.
func (k keyFile) block() (*pem.Block, error) {
	block, rest := pem.Decode(k.raw)
	if block == nil {
		return nil, k.wrong("it is no PEM file: there is no -----BEGIN in it")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, k.wrong("it holds several keys\nhint: a file for each: kid=FILE, kid=FILE")
	}
	return block, nil
}

func (k keyFile) checkRSA(key *rsa.PublicKey) error {
	if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return k.wrong("its RSA key has %d bits, allowed are %d to %d", bits, minRSABits, maxRSABits)
	}
	return nil
}

// exposed says what is wrong with the file's mode; "": nothing. Groups are
// trusted: a file of root that the daemon's group reads is usual.
func (k keyFile) exposed(secret bool) string {
	switch {
	case !k.mode.IsRegular():
		return ""
	case secret && k.mode.Perm()&0o007 != 0:
		return "other users of this machine can read or change it: chmod o= " + k.path
	case k.mode.Perm()&0o002 != 0:
		return "other users of this machine can change it: chmod o-w " + k.path
	}
	return ""
}
