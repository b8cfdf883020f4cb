package doctor

import (
	"errors"
	"io/fs"
	"time"

	"gameserverd/internal/config"
)

// Bounds of what stores should be like.
const (
	slowSQL     = 5 * time.Millisecond
	slowRedis   = 2 * time.Millisecond
	skewed      = time.Second
	farSkewed   = 30 * time.Second
	leastPacket = 5 << 20 // a transaction's statement has up to 4 MiB
)

// spareConnections are those that a daemon may have to SQL beside store.sql.max_open.
const spareConnections = 20

func sql(cfg *config.Config, f *Facts) (all []Finding) {
	const check = "store.sql"
	s := f.SQL
	switch {
	case s.Absent:
		return []Finding{ok(check, "%s is not there yet; the first start makes it", s.Place)}
	case s.Err != nil && cfg.Store.SQL.Driver == "sqlite" && errors.Is(f.Data.Err, fs.ErrPermission) && !f.Root:
		return []Finding{ok(check, "this user may not open %s", s.Place).do(Warn, "run doctor as the daemon's user or as root")}
	case s.Err != nil && cfg.Store.SQL.Driver == "sqlite":
		return []Finding{ok(check, "%s: %v", s.Place, s.Err).do(Bad, "is it a database of gameserverd, and may this user write to it and its folder? Backups: docs/operations.md")}
	case s.Err != nil:
		return []Finding{ok(check, "%s: %v", s.Place, s.Err).do(Bad, "is it running, and are address, user and password in store.sql.dsn right? The daemon waits store.start_timeout for it, then gives up")}
	}
	all = append(all, roundTrip(check, s.Place+", version "+s.Version, s.RoundTrip, slowSQL, cfg.Store.Timeout))
	switch {
	case s.Newer:
		all = append(all, ok("tables", "a newer gameserverd has changed them").do(Bad, "use that version or a newer one; this one refuses to start"))
	case s.Behind > 0:
		all = append(all, ok("tables", "%d migrations are to be applied; the next start applies them", s.Behind))
	default:
		all = append(all, ok("tables", "up to date"))
	}
	all = append(all, skew(check, s.Skew)...)
	if cfg.Store.SQL.Driver == "mysql" {
		all = append(all, mysql(cfg, s)...)
	}
	return all
}

func roundTrip(check, what string, took, slow, timeout time.Duration) Finding {
	seen := ok(check, "%s, round trip %v", what, took.Round(10*time.Microsecond))
	const advice = "every change of a player waits for it: bring it nearer (same machine or rack), or look what else keeps it busy"
	switch {
	case took > timeout/4:
		return seen.do(Bad, "%s; store.timeout is %v", advice, timeout)
	case took > slow:
		return seen.do(Warn, advice)
	}
	return seen
}

func skew(check string, d time.Duration) []Finding {
	if d.Abs() < skewed {
		return nil
	}
	grade := Warn
	if d.Abs() >= farSkewed {
		grade = Bad
	}
	return []Finding{ok(check, "its clock differs from this machine's by %v", d.Round(time.Millisecond)).do(grade, "synchronise both: timedatectl set-ntp true")}
}

func mysql(cfg *config.Config, s SQLFacts) (all []Finding) {
	const check = "store.sql"
	// A save is as large as a message; what is around it is small.
	if want := int64(max(leastPacket, cfg.Limits.MaxFrameBytes+1<<20)); s.Packet > 0 && s.Packet < want {
		all = append(all, ok(check, "max_allowed_packet is %d", s.Packet).
			do(Bad, "SET GLOBAL max_allowed_packet = %d, and in the server's file: it closes the connection on which more comes", max(want, 16<<20)))
	}
	if s.Flush != 1 && s.Flush >= 0 {
		all = append(all, ok(check, "innodb_flush_log_at_trx_commit is %d", s.Flush).
			do(Warn, "set it to 1: else a power failure takes back what players were told is stored"))
	}
	if want := int64(cfg.Store.SQL.MaxOpen + spareConnections); s.Connections > 0 && s.Connections < want {
		all = append(all, ok(check, "max_connections is %d, and one daemon may want %d", s.Connections, want).
			do(Warn, "SET GLOBAL max_connections = %d or more, or a smaller store.sql.max_open; each daemon counts", want*2))
	}
	return all
}

func redis(cfg *config.Config, f *Facts) (all []Finding) {
	const check = "store.redis"
	r := f.Redis
	switch {
	case r.Embedded:
		return []Finding{ok(check, "inside the daemon")}
	case r.Err != nil:
		return []Finding{ok(check, "%v", r.Err).do(Bad, "is it running, and are address and password in store.redis.url right? The daemon waits store.start_timeout for it, then gives up")}
	}
	all = append(all, roundTrip(check, "version "+r.Version, r.RoundTrip, slowRedis, cfg.Store.Timeout))
	if r.Role == "slave" || r.Role == "replica" {
		all = append(all, ok(check, "it is a replica, which refuses what is written").do(Bad, "let store.redis.url lead to its master, or to the sentinels"))
	}
	if r.Policy != "" && r.Policy != "noeviction" && r.MaxMemory > 0 {
		all = append(all, ok(check, "maxmemory is %s and maxmemory-policy %s: it drops keys when it is full", mib(uint64(r.MaxMemory)), r.Policy).
			do(Warn, "CONFIG SET maxmemory-policy noeviction, and in its file: a board whose index loses rows is made again from SQL, each time"))
	}
	return all
}
