package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"gameserverd/internal/config"
	"gameserverd/internal/store"
	"gameserverd/internal/store/schema"
)

// trips is how often a store is asked; the median counts, and what a first
// connection costs does not.
const trips = 20

// closeTime bounds the end of a store in which no call is under way.
const closeTime = 5 * time.Second

// median asks trips times and returns the time in the middle.
func median(ctx context.Context, ping func(context.Context) error) (time.Duration, error) {
	if err := ping(ctx); err != nil { // which connects
		return 0, err
	}
	took := make([]time.Duration, trips)
	for i := range took {
		began := time.Now()
		if err := ping(ctx); err != nil {
			return 0, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[trips/2], nil
}

// reachable is a store that can be asked.
type reachable interface {
	Ping(ctx context.Context) error
	Close(ctx context.Context) error
}

// reach opens a store and measures how long it takes to answer. end, never nil,
// closes it again.
func reach[S reachable](ctx context.Context, open func() (S, error)) (db S, took time.Duration, end func(), err error) {
	if db, err = open(); err != nil {
		return db, 0, func() {}, err
	}
	end = func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		_ = db.Close(ctx) // nothing was written
	}
	took, err = median(ctx, db.Ping)
	return db, took, end, err
}

func lookSQL(ctx context.Context, cfg *config.Config) (f SQLFacts) {
	c := cfg.Store
	f.Place, f.Flush = cfg.SQLPlace(), -1
	if c.SQL.Driver == "sqlite" {
		if _, err := os.Stat(cfg.SQLDSN()); errors.Is(err, fs.ErrNotExist) {
			f.Absent = true // opening it would make it
			return f
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	db, took, end, err := reach(ctx, func() (*store.SQL, error) {
		return store.OpenSQL(store.SQLOptions{Driver: store.Driver(c.SQL.Driver), DSN: cfg.SQLDSN(), MaxOpen: 2, Timeout: c.Timeout})
	})
	defer end()
	if f.RoundTrip, f.Err = took, err; err != nil {
		return f
	}
	if c.SQL.Driver == "mysql" {
		f.Err = f.askMySQL(ctx, db)
	} else {
		f.Err = f.askSQLite(ctx, db)
	}
	if f.Err != nil {
		return f
	}
	migrations, err := schema.Status(ctx, db)
	f.Err = err
	for _, m := range migrations {
		switch {
		case m.Name == "":
			f.Newer = true
		case !m.Applied:
			f.Behind++
		}
	}
	return f
}

func (f *SQLFacts) askSQLite(ctx context.Context, db *store.SQL) error {
	row, err := db.FetchOneContext(ctx, "SELECT sqlite_version()") // one row; touches no table
	if err != nil {
		return err
	}
	return row.Scan(&f.Version)
}

// askMySQL reads the version, what is configured, and the clock in ms.
func (f *SQLFacts) askMySQL(ctx context.Context, db *store.SQL) error {
	began := time.Now()
	row, err := db.FetchOneContext(ctx, `SELECT VERSION(), @@max_allowed_packet, @@innodb_flush_log_at_trx_commit, @@max_connections,
		CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)`) // one row; touches no table
	if err != nil {
		return err
	}
	var ms int64
	if err := row.Scan(&f.Version, &f.Packet, &f.Flush, &f.Connections, &ms); err != nil {
		return err
	}
	f.Skew = time.UnixMilli(ms).Sub(began.Add(time.Since(began) / 2))
	return nil
}

func lookRedis(ctx context.Context, cfg *config.Config) (f RedisFacts) {
	c := cfg.Store
	if c.Redis.URL == "embedded" {
		f.Embedded = true
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	db, took, end, err := reach(ctx, func() (*store.Redis, error) {
		return store.OpenRedis(store.RedisOptions{URL: c.Redis.URL, PoolSize: 2, Timeout: c.Timeout})
	})
	defer end()
	if f.RoundTrip, f.Err = took, err; err != nil {
		return f
	}
	reply, err := db.ExecuteContext(ctx, "INFO")
	if err == nil {
		err = reply.Err
	}
	info := ""
	if err == nil {
		info, err = reply.String()
	}
	if f.Err = err; err == nil {
		f.read(info)
	}
	return f
}

// read takes what is of interest out of the reply of INFO: name:value a line.
func (f *RedisFacts) read(info string) {
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "redis_version":
			f.Version = value
		case "role":
			f.Role = value
		case "maxmemory":
			f.MaxMemory, _ = strconv.ParseInt(value, 10, 64) // no number: no limit
		case "maxmemory_policy":
			f.Policy = value
		}
	}
}
