package doctor

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"gameserverd/internal/config"
)

// What must be free for the daemon to live, and to live long.
const (
	leastFree   = 100 << 20
	littleFree  = 1 << 30
	leastInodes = 1000
)

func dataFolder(cfg *config.Config, f *Facts) (all []Finding) {
	const check = "data folder"
	d := f.Data
	switch {
	case d.Err == nil && d.Exists:
		all = append(all, ok(check, "%s can be written to", d.Path))
	case d.Err == nil:
		all = append(all, ok(check, "%s is not there, and can be made", d.Path))
	case errors.Is(d.Err, fs.ErrPermission) && f.Daemon.Status != nil:
		all = append(all, ok(check, "%s is another user's, whose daemon runs", d.Path))
	case errors.Is(d.Err, fs.ErrPermission) && !f.Root:
		all = append(all, ok(check, "this user may not write to %s", d.Path).do(Warn, "if the daemon is to run as this user: chown it; else run doctor as the daemon's user or as root"))
	default:
		all = append(all, ok(check, "%s cannot be written to: %v", d.Path, d.Err).do(Bad, "mount it for writing, or set data_dir to another folder"))
	}
	switch perm := d.Mode.Perm(); {
	case !d.Exists:
	case perm&0o002 != 0:
		all = append(all, ok(check, "every user of this machine may write to %s (mode %04o)", d.Path, perm).do(Bad, "chmod o= %s", d.Path))
	case perm&0o005 == 0o005 && cfg.Store.SQL.Driver == "sqlite":
		all = append(all, ok(check, "every user of this machine may look into %s (mode %04o), where the players' data is", d.Path, perm).do(Warn, "chmod o= %s", d.Path))
	}
	return append(append(all, space(d)...), fileSystem(cfg, d)...)
}

func space(d DataFacts) []Finding {
	const check = "disk space"
	if d.Size == 0 {
		return []Finding{ok(check, "that of %s could not be read", d.Path).do(Warn, "df %s shows it", d.Path)}
	}
	seen := ok(check, "%s of %s are free at %s", mib(d.Free), mib(d.Size), d.Path)
	const advice = "make room, for example of old logs and backups: on a full disk no change is stored, and calls that store are answered unavailable"
	switch {
	case d.Free < leastFree, d.Inodes > 0 && d.FreeInodes < leastInodes:
		if d.Free >= leastFree {
			seen.Seen += ", but no more files can be made (df -i)"
		}
		return []Finding{seen.do(Bad, advice)}
	case d.Free < littleFree, d.Inodes > 0 && d.FreeInodes < 10*leastInodes:
		return []Finding{seen.do(Warn, advice)}
	}
	return []Finding{seen}
}

func fileSystem(cfg *config.Config, d DataFacts) []Finding {
	const check = "file system"
	switch {
	case d.FS == "":
		return nil
	case d.FSProblem == OK:
		return []Finding{ok(check, "%s", d.FS)}
	}
	seen := ok(check, "%s is on %s, which %s", d.Path, d.FS, d.FSProblemIs)
	if cfg.Store.SQL.Driver != "sqlite" || cfg.Store.SQL.DSN != "" {
		return []Finding{seen.do(Warn, "the database is elsewhere, so only the lock and the socket are there; a folder on a disk of this machine is better")}
	}
	return []Finding{seen.do(d.FSProblem, "set data_dir to a folder on a disk of this machine: the players' database is there")}
}

func logFile(cfg *config.Config, f *Facts) []Finding {
	const check = "log.file"
	switch {
	case cfg.Log.File == "":
		return nil
	case f.LogFile == nil:
		return []Finding{ok(check, "%s can be added to", cfg.Log.File)}
	case errors.Is(f.LogFile, fs.ErrPermission) && !f.Root:
		return []Finding{ok(check, "this user may not add to %s", cfg.Log.File).do(Warn, "run doctor as the daemon's user or as root")}
	}
	return []Finding{ok(check, "%v", f.LogFile).do(Bad, "make its folder, and let the daemon's user write there; or leave log.file empty for the journal")}
}

// credential says whether a file that is not there may be one that systemd hands
// to the daemon that runs, which would not run without it.
func credential(f *Facts, path string) bool {
	return f.Daemon.Status != nil && !filepath.IsAbs(path)
}

const seeCredentials = "as root doctor sees them too: CREDENTIALS_DIRECTORY=/run/credentials/gameserverd.service gameserverd doctor"

// secrets looks at who may read the files that nobody else should.
func secrets(f *Facts) (all []Finding) {
	for _, s := range f.Secrets {
		perm := s.Mode.Perm()
		seen := ok(s.Key, "%s has mode %04o", s.Path, perm)
		switch {
		case errors.Is(s.Err, fs.ErrNotExist) && credential(f, s.Path):
			all = append(all, ok(s.Key, "%s is a credential that only the daemon that runs can see", s.Path).do(Warn, seeCredentials))
		case errors.Is(s.Err, fs.ErrNotExist):
			all = append(all, ok(s.Key, "%s is not there", s.Path).do(Bad, "put it there, or correct %s; a relative path begins in $CREDENTIALS_DIRECTORY or in the folder that the daemon is started in", s.Key))
		case s.Err != nil:
			all = append(all, ok(s.Key, "%s could not be looked at: %v", s.Path, s.Err).do(Warn, "run doctor as the daemon's user or as root"))
		case !s.Mode.IsRegular():
			all = append(all, ok(s.Key, "%s is no plain file", s.Path))
		case perm&0o007 != 0:
			all = append(all, seen.do(Bad, "chmod o= %s: every user of this machine can read or change it. If one may have done so, make a new one", s.Path))
		case perm&0o020 != 0:
			all = append(all, seen.do(Warn, "chmod g-w %s: its group can change it", s.Path))
		default:
			all = append(all, seen)
		}
	}
	return all
}

func login(cfg *config.Config, f *Facts) []Finding {
	const check = "login keys"
	switch {
	case cfg.Auth.Mode != "jwt":
		return nil
	case errors.Is(f.Login, fs.ErrPermission) && !f.Root:
		return []Finding{ok(check, "this user may not read them: %v", f.Login).do(Warn, "run doctor as the daemon's user or as root")}
	case errors.Is(f.Login, fs.ErrNotExist) && f.Daemon.Status != nil:
		return []Finding{ok(check, "the daemon that runs has them; here: %v", f.Login).do(Warn, seeCredentials)}
	case f.Login != nil:
		return []Finding{ok(check, "%v", f.Login).do(Bad, "docs/login.md has how keys are made")}
	}
	return []Finding{ok(check, "they can be used")}
}

// How long before its end a certificate is to be replaced.
const (
	urgent = 3 * 24 * time.Hour
	soon   = 21 * 24 * time.Hour
)

func certificate(cfg *config.Config, f *Facts) []Finding {
	const check = "certificate"
	if cfg.Listen.TLS.CertFile == "" {
		return nil
	}
	if errors.Is(f.TLS.Err, fs.ErrPermission) && !f.Root {
		return []Finding{ok(check, "this user may not read it or its key: %v", f.TLS.Err).do(Warn, "run doctor as the daemon's user or as root")}
	}
	if errors.Is(f.TLS.Err, fs.ErrNotExist) && f.Daemon.Status != nil {
		return []Finding{ok(check, "the daemon that runs has it; here: %v", f.TLS.Err).do(Warn, seeCredentials)}
	}
	if f.TLS.Err != nil {
		return []Finding{ok(check, "%v", f.TLS.Err).do(Bad, "docs/operations.md, Certificates")}
	}
	left := f.TLS.Until.Sub(f.Now)
	seen := ok(check, "%s ends on %s, in %d days", cfg.Listen.TLS.CertFile, f.TLS.Until.UTC().Format("2006-01-02 15:04 MST"), int(left/(24*time.Hour)))
	const advice = "put a new certificate and key into their files; the daemon reads them again by itself (docs/operations.md, Certificates)"
	switch {
	case left <= 0:
		seen.Seen = cfg.Listen.TLS.CertFile + " ended on " + f.TLS.Until.UTC().Format("2006-01-02 15:04 MST") + ": clients refuse it"
		return []Finding{seen.do(Bad, advice)}
	case left < urgent:
		return []Finding{seen.do(Bad, advice)}
	case left < soon:
		return []Finding{seen.do(Warn, "%s; whatever renews it should have done so by now", advice)}
	}
	return []Finding{seen}
}
