package server

import (
	"go.uber.org/zap"

	"gameserverd/internal/auth"
	"gameserverd/internal/config"
	authhandlers "gameserverd/internal/handlers/auth"
)

// newVerifier makes what auth.mode names; for signed tokens it reads the keys.
func newVerifier(c config.Auth, log *zap.Logger) (authhandlers.Verifier, error) {
	if c.Mode == "dev" {
		return auth.Dev{}, nil
	}
	v, err := auth.NewJWT(auth.JWTOptions{
		Secrets: keyFiles(c.JWT.SecretKeys()), PublicKeys: keyFiles(c.JWT.PublicKeys()),
		Leeway: c.JWT.Leeway, Issuer: c.JWT.Issuer, Audience: c.JWT.Audience, Log: log,
	})
	if err != nil {
		return nil, err // not v, which would be no nil
	}
	return v, nil
}

func keyFiles(list []config.KeyFile) []auth.KeyFile {
	out := make([]auth.KeyFile, len(list))
	for i, f := range list {
		out[i] = auth.KeyFile(f)
	}
	return out
}
