package doctor

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"gameserverd/internal/auth"
	"gameserverd/internal/config"
	"gameserverd/internal/ctl"
	"gameserverd/internal/transport"
)

// Options are what Look needs beside the configuration.
type Options struct {
	File              string                                  // of the configuration; "": none
	ConnectionsWithin func(descriptors uint64, loops int) int // how many connections a daemon serves that may have so many descriptors
	LogFile           func(path string) error                 // why log.file cannot be written to
}

// lookTime bounds asking a daemon, and each store.
const lookTime = 15 * time.Second

// Look reads the machine. It makes no file; each address is bound for a moment,
// to see whether it is free, and the stores are asked. Any goroutine.
func Look(ctx context.Context, cfg *config.Config, o Options) *Facts {
	f := &Facts{Now: time.Now(), Root: os.Geteuid() == 0}
	f.Daemon = lookDaemon(ctx, cfg)
	pid := 0
	if f.Daemon.Status != nil {
		pid = f.Daemon.Status.PID
	}
	f.Descriptors = lookDescriptors(cfg, o, pid)
	f.Kernel = lookKernel()
	f.Clock = lookClock()
	f.Memory = lookMemory(pid)
	f.Data = lookData(cfg.DataDir)
	f.LogFile = o.LogFile(cfg.Log.File)
	f.Ports = lookPorts(cfg)
	f.Secrets = lookSecrets(cfg, o.File)
	f.Login = lookLogin(cfg)
	f.TLS = lookTLS(cfg)
	f.SQL = lookSQL(ctx, cfg)
	f.Redis = lookRedis(ctx, cfg)
	return f
}

func lookDaemon(ctx context.Context, cfg *config.Config) DaemonFacts {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	d := DaemonFacts{Socket: ctl.SocketPath(cfg.DataDir)}
	var st ctl.Status
	if d.Err = ctl.NewClient(d.Socket).Call(ctx, "GET", "/status", nil, &st); d.Err == nil {
		d.Status = &st
	}
	return d
}

func lookPorts(cfg *config.Config) (all []PortFacts) {
	for _, addr := range cfg.Listen.TCP {
		all = append(all, PortFacts{"listen.tcp", addr, tryListen(addr)})
	}
	if cfg.Listen.Admin != "" {
		all = append(all, PortFacts{"listen.admin", cfg.Listen.Admin, tryListen(cfg.Listen.Admin)})
	}
	return all
}

// tryListen says why addr cannot be listened on; nil: it can.
func tryListen(addr string) error {
	path, isUnix := strings.CutPrefix(addr, "unix:")
	if !isUnix {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		return l.Close()
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		return errors.Join(syscall.EADDRINUSE, conn.Close())
	case errors.Is(err, syscall.EACCES):
		return err
	}
	return writable(filepath.Dir(path)) // a socket that nobody answers at is replaced
}

func lookSecrets(cfg *config.Config, file string) (all []SecretFacts) {
	add := func(key, path string) {
		s := SecretFacts{Key: key, Path: path}
		info, err := os.Stat(path)
		if s.Err = err; err == nil {
			s.Mode = info.Mode()
		}
		all = append(all, s)
	}
	if cfg.Auth.Mode == "jwt" {
		for _, k := range cfg.Auth.JWT.SecretKeys() {
			add("auth.jwt.secret_file", auth.Locate(k.Path))
		}
	}
	if cfg.Listen.TLS.KeyFile != "" {
		add("listen.tls.key_file", auth.Locate(cfg.Listen.TLS.KeyFile))
	}
	if cfg.Admin.TokenFile != "" {
		add("admin.token_file", auth.Locate(cfg.Admin.TokenFile))
	}
	if cfg.Metrics.Influx.TokenFile != "" {
		add("metrics.influx.token_file", auth.Locate(cfg.Metrics.Influx.TokenFile))
	}
	for _, v := range cfg.Values() {
		// A password is shown as ***, and says where it stands.
		if file != "" && (v.Key == "store.sql.dsn" || v.Key == "store.redis.url") && strings.Contains(v.Value, "***") && strings.HasPrefix(v.Source, file+":") {
			add("password of "+v.Key, file)
		}
	}
	return all
}

func lookLogin(cfg *config.Config) error {
	if cfg.Auth.Mode != "jwt" {
		return nil
	}
	files := func(list []config.KeyFile) (out []auth.KeyFile) {
		for _, k := range list {
			out = append(out, auth.KeyFile(k))
		}
		return out
	}
	_, err := auth.NewJWT(auth.JWTOptions{Secrets: files(cfg.Auth.JWT.SecretKeys()), PublicKeys: files(cfg.Auth.JWT.PublicKeys())})
	return err
}

func lookTLS(cfg *config.Config) (f TLSFacts) {
	t := cfg.Listen.TLS
	if t.CertFile == "" {
		return f
	}
	roots := ""
	if t.ClientCAFile != "" {
		roots = auth.Locate(t.ClientCAFile)
	}
	_, f.Until, f.Err = transport.LoadTLS(auth.Locate(t.CertFile), auth.Locate(t.KeyFile), roots)
	return f
}

func loopsOf(cfg *config.Config) int {
	if cfg.Loop.Count > 0 {
		return cfg.Loop.Count
	}
	return runtime.GOMAXPROCS(0)
}
