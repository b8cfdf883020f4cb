package server

import (
	"errors"

	"go.uber.org/zap"

	"gameserverd/internal/auth"
	"gameserverd/internal/config"
	"gameserverd/internal/conn"
	"gameserverd/internal/console"
	"gameserverd/internal/game"
	authhandlers "gameserverd/internal/handlers/auth"
	"gameserverd/internal/rpc"
	"gameserverd/internal/tasks"
	"gameserverd/internal/transport"
)

// settings are what a reload replaces: a configuration, and what was made of it
// and of the files that it names. Immutable: a call that has begun may still use
// those that were in force.
type settings struct {
	cfg      *config.Config
	shop     *game.Shop
	verifier authhandlers.Verifier
	jwt      *auth.JWT // the same; nil: auth.mode is dev

	consoleToken string // signs in to the console; "": there is none

	schedules []tasks.Schedule

	transport   transport.Settings
	certificate certificate // that of transport.TLS
}

// newSettings reads everything that the configuration names, and puts nothing in
// force. Its error is config.Problems, all there are. Who does not serve clients needs no
// keys of logins and no certificate, and reads none.
func newSettings(cfg *config.Config, serves bool) (*settings, error) {
	n := &settings{cfg: cfg, verifier: auth.Dev{}}
	var problems config.Problems
	var err error
	if n.shop, err = game.ParseShop(cfg.Game.Shop); err != nil {
		problems = append(problems, cfg.Wrong("game.shop", err.Error()))
	}
	if serves && cfg.Auth.Mode == "jwt" {
		if n.jwt, err = newJWT(cfg.Auth.JWT); err != nil {
			problems = append(problems, wrongKeys(cfg, err)...)
		}
		n.verifier = n.jwt
	}
	if file := cfg.Admin.TokenFile; file != "" {
		if n.consoleToken, err = console.ReadToken(auth.Locate(file)); err != nil {
			problems = append(problems, cfg.Wrong("admin.token_file", err.Error()))
		}
	}
	var wrong config.Problems
	n.schedules, wrong = newSchedules(cfg)
	problems = append(problems, wrong...)
	if serves {
		n.transport, n.certificate, wrong = newTransport(cfg)
		problems = append(problems, wrong...)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return n, nil
}

// Check reads what the configuration names, as New and Reload do, and finds what
// they would refuse. The error is config.Problems; which keys there are, and what
// is wrong with their files' modes, is logged. Any goroutine.
func Check(cfg *config.Config, log *zap.Logger) error {
	n, err := newSettings(cfg, true)
	if err != nil {
		return err
	}
	n.logFiles(log, nil)
	_, err = newInflux(cfg, "", nil, log) // the start reads its token
	return err
}

func newJWT(c config.JWT) (*auth.JWT, error) {
	return auth.NewJWT(auth.JWTOptions{
		Secrets: keyFiles(c.SecretKeys()), PublicKeys: keyFiles(c.PublicKeys()),
		Leeway: c.Leeway, Issuer: c.Issuer, Audience: c.Audience,
	})
}

func keyFiles(list []config.KeyFile) []auth.KeyFile {
	out := make([]auth.KeyFile, len(list))
	for i, f := range list {
		out[i] = auth.KeyFile(f)
	}
	return out
}

// wrongKeys takes apart what auth.NewJWT has joined.
func wrongKeys(cfg *config.Config, err error) (problems config.Problems) {
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, err := range all {
		var file *auth.FileError
		if errors.As(err, &file) {
			problems = append(problems, cfg.Wrong(file.Setting, file.Err.Error()))
		} else {
			problems = append(problems, cfg.Wrong("auth.jwt", err.Error()))
		}
	}
	return problems
}

// logFiles says what was read, as far as it was not in old; nil: nothing was.
func (n *settings) logFiles(log *zap.Logger, old *settings) {
	if old == nil || n.certificate.changed(&old.certificate) {
		n.certificate.log(log)
	}
	if n.jwt == nil {
		return
	}
	var before *auth.JWT
	if old != nil {
		before = old.jwt
	}
	n.jwt.LogKeys(log, before)
}

// rpcLimits are the limits of sessions, of which there can be so many at once.
func rpcLimits(l config.Limits, connections int) rpc.Limits {
	return rpc.Limits{
		MaxConnections: connections, MaxFrame: l.MaxFrameBytes, MaxElements: l.MaxElements,
		MaxFrameBeforeLogin: l.MaxFrameBytesBeforeLogin, MaxElementsBeforeLogin: l.MaxElementsBeforeLogin,
		MaxMailbox: l.MaxMailbox, MaxMailboxBytes: l.MaxMailboxBytes, MaxConcurrent: l.MaxConcurrent,
		Rate: l.RatePerSecond, Burst: l.RateBurst,
		LoginTimeout: l.LoginTimeout, IdleTimeout: l.IdleTimeout, FrameTimeout: l.FrameTimeout,
	}
}

// connOptions are the bounds of each connection; together they have the budgets.
func connOptions(l config.Limits, output, input *conn.Budget) conn.Options {
	const framing = 4096 // what may come with half a message besides its bytes
	return conn.Options{MaxInput: l.MaxFrameBytes + framing, MaxOutput: l.MaxWriteBufferBytes, Budget: output, Input: input}
}

// config is the configuration that is in force. Any goroutine.
func (s *Server) config() *config.Config { return s.settings.Load().cfg }

// verifier is the one of the settings in force.
type verifier struct{ *Server }

// Verify returns the uid that the token proves. Any goroutine.
func (v verifier) Verify(token string) (uint64, error) {
	if uid := v.passes.take(token); uid != 0 {
		return uid, nil
	}
	return v.settings.Load().verifier.Verify(token)
}
