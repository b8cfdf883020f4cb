package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gameserverd/internal/auth"
	"gameserverd/internal/cli"
	"gameserverd/internal/config"
)

// The bounds of --ttl and --count.
const (
	maxTTL    = 10 * 365 * 24 * time.Hour
	maxTokens = 1_000_000
)

// tokens is one use of `gameserverd token`.
type tokens struct {
	program, file            string
	uid, count               uint64
	ttl                      time.Duration
	secretFile, privateFile  string
	kid, issuer, audience    string
	issuerGiven, audienceSet bool
	asJSON                   bool
}

func newToken(program string) *cobra.Command {
	t := &tokens{program: program}
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Sign a login token, for operators who hold the secret or a private key",
		Long: `Prints a login token for a player, which a daemon with auth.mode jwt accepts. It is
signed with the first secret of auth.jwt.secret_file in the configuration, that of --kid if given,
or the key in a file: --secret-file for HS256, --private-key-file (PEM, not encrypted) for
EdDSA and RS256. Keys come from files only: a command line can be seen by every user
of the machine. Issuer and audience are those of the configuration unless given.

With --count there is a token for each of so many players, from --uid on, one a line.`,
		Example: `  gameserverd token --uid 7 --ttl 1h
  gameserverd token --uid 7 --config /etc/gameserverd/gameserverd.yaml --kid 2026
  gameserverd token --uid 7 --private-key-file login.pem --kid login --json

  # use it, without showing it in the list of processes:
  gameserverd token --uid 7 > t && gameserverd call player.get --login-file t
  gameserverd token --uid 1 --count 100 > t && gameserverd bench --login-file t --connections 100 player.get

  # a new secret, and a new pair of keys:
  (umask 077; openssl rand -hex 32 > secret)
  (umask 077; openssl genpkey -algorithm ed25519 -out login.pem) && openssl pkey -in login.pem -pubout -out login.pub`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 { // perhaps a secret: it is not repeated
				return cli.Usage("token takes flags only: %s token --uid 7 --ttl 1h; a secret is given as a file: --secret-file FILE", program)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			t.issuerGiven, t.audienceSet = cmd.Flags().Changed("issuer"), cmd.Flags().Changed("audience")
			return t.run(os.Stdout)
		},
	}
	addToolConfigFlag(cmd, &t.file)
	flags := cmd.Flags()
	flags.Uint64Var(&t.uid, "uid", 0, "the player, from 1")
	flags.DurationVar(&t.ttl, "ttl", time.Hour, "how long the token can be used to log in; a login that was made stays")
	flags.Uint64Var(&t.count, "count", 1, "how many tokens, each for the next player")
	flags.StringVar(&t.secretFile, "secret-file", "", "file with the secret to sign with, by HS256")
	flags.StringVar(&t.privateFile, "private-key-file", "", "PEM file with the private key to sign with: Ed25519 or RSA")
	flags.StringVar(&t.kid, "kid", "", "the key's name, as in kid=FILE of the configuration")
	flags.StringVar(&t.issuer, "issuer", "", "iss of the token (default auth.jwt.issuer)")
	flags.StringVar(&t.audience, "audience", "", "aud of the token (default auth.jwt.audience)")
	flags.BoolVar(&t.asJSON, "json", false, "print one JSON object for each token")
	return cmd
}

func (t *tokens) run(w io.Writer) error {
	switch {
	case t.uid == 0:
		return cli.Usage("token needs the player: %s token --uid 7; a uid is from 1", t.program)
	case t.ttl < time.Second || t.ttl > maxTTL:
		return cli.Usage("--ttl takes a duration from 1s to %v, written as 30m or 24h", maxTTL)
	case t.count < 1 || t.count > maxTokens || t.uid+(t.count-1) < t.uid:
		return cli.Usage("--count takes a number from 1 to %d", maxTokens)
	case t.secretFile != "" && t.privateFile != "":
		return cli.Usage("--secret-file and --private-key-file: one key signs a token")
	}
	if err := hideMemory(); err != nil { // also where the key is of no configuration
		return cli.Failed(err)
	}
	cfg, err := config.Load(toolFile(t.file))
	if err != nil {
		return badConfig(err)
	}
	signer, err := t.signer(cfg.Auth)
	if err != nil {
		return err
	}
	issuer, audience := cfg.Auth.JWT.Issuer, cfg.Auth.JWT.Audience
	if t.issuerGiven {
		issuer = t.issuer
	}
	if t.audienceSet {
		audience = t.audience
	}
	issued := time.Now()
	out := bufio.NewWriter(w)
	for i := range t.count {
		c := auth.Claims{UID: t.uid + i, Issued: issued, Expires: issued.Add(t.ttl), Issuer: issuer, Audience: audience}
		if err := t.print(out, signer, c); err != nil {
			return cli.Failed(err)
		}
	}
	return cli.Failed(out.Flush())
}

// signer reads the key that the flags name, else one of the configuration.
func (t *tokens) signer(c config.Auth) (signer *auth.Signer, err error) {
	switch {
	case t.privateFile != "":
		signer, err = auth.NewPrivateKeySigner(auth.KeyFile{KID: t.kid, Path: t.privateFile})
	case t.secretFile != "":
		signer, err = auth.NewSecretSigner(auth.KeyFile{KID: t.kid, Path: t.secretFile})
	default:
		var f auth.KeyFile
		if f, err = t.configured(c); err != nil {
			return nil, err
		}
		signer, err = auth.NewSecretSigner(f)
	}
	if err != nil {
		return nil, cli.Failed(err)
	}
	return signer, nil
}

// configured is the secret of the configuration to sign with.
func (t *tokens) configured(c config.Auth) (auth.KeyFile, error) {
	secrets := c.JWT.SecretKeys()
	switch {
	case len(secrets) == 0 && c.Mode == "dev":
		return auth.KeyFile{}, cli.Usage("there is no key to sign with: auth.mode is dev, where the token is just dev:%d\nhint: for another daemon's token give its configuration (--config FILE) or key (--secret-file, --private-key-file)", t.uid)
	case len(secrets) == 0:
		return auth.KeyFile{}, cli.Usage("there is no key to sign with: the configuration has public keys only\nhint: give the private one: --private-key-file FILE --kid KID")
	case t.kid == "":
		return auth.KeyFile(secrets[0]), nil
	}
	var kids []string
	for _, s := range secrets {
		if s.KID == t.kid {
			return auth.KeyFile(s), nil
		}
		if s.KID != "" {
			kids = append(kids, s.KID)
		}
	}
	known := "none has a kid"
	if len(kids) > 0 {
		known = "there are " + strings.Join(kids, ", ")
	}
	return auth.KeyFile{}, cli.Usage("no secret in auth.jwt.secret_file has the kid %q: %s", t.kid, known)
}

func (t *tokens) print(w io.Writer, signer *auth.Signer, c auth.Claims) error {
	token, err := signer.Sign(c)
	if err != nil {
		return err
	}
	if !t.asJSON {
		_, err = fmt.Fprintln(w, token)
		return err
	}
	return json.NewEncoder(w).Encode(struct {
		Token     string `json:"token"`
		UID       uint64 `json:"uid"`
		Algorithm string `json:"alg"`
		KID       string `json:"kid,omitempty"`
		ExpiresMS int64  `json:"expires_ms"`
	}{token, c.UID, signer.Algorithm(), signer.KID(), c.Expires.Truncate(time.Second).UnixMilli()})
}
