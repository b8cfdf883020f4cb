// Package schema brings a database to the tables that this binary expects, says
// which version it has, and copies all of it into another database.
//
// It is the only place with DDL. It reads and writes no row for the game.
//
// A migration is a pair of files, sqlite/NNNN_name.sql and mysql/NNNN_name.sql,
// that make the same tables with the same columns; goose runs them in order and
// keeps the list of those applied (goose_db_version). A file that was released
// is never changed: the next one mends it. There is no way back but a backup.
//
// Its one invariant: a database that Up has accepted holds exactly the tables of
// version Current, and everything that was copied into it or nothing.
package schema

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/pressly/goose/v3"
	"go.uber.org/zap"

	"gameserverd/internal/store"
)

//go:embed sqlite/*.sql mysql/*.sql
var files embed.FS

// What is wrong with a database. The errors of this package have more words.
var (
	// ErrNewer: a newer gameserverd has been here.
	ErrNewer = errors.New("the database was made by a newer gameserverd")
	// ErrOlder: migrations are to be applied first. Only of Copy.
	ErrOlder = errors.New("the database lacks migrations")
	// ErrUnfinishedCopy: a copy into this database broke, so that it holds a part.
	ErrUnfinishedCopy = errors.New("a copy into this database was not finished, so it holds only a part")
)

// Migration is one step of the schema.
type Migration struct {
	Version   int64  `json:"version"`
	Name      string `json:"name"` // "0001_players"; "": this binary does not know it, a newer one does
	Applied   bool   `json:"applied"`
	AppliedMS int64  `json:"applied_ms,omitempty"` // by the clock of the database; 0: not applied
}

// versionTable is where goose keeps which migrations were applied.
const versionTable = goose.DefaultTablename

// known are the migrations of this binary in their order. Both drivers have
// the same.
var known = sync.OnceValue(func() []Migration {
	entries, err := files.ReadDir("sqlite")
	if err != nil {
		panic(err) // the files are part of the binary
	}
	var out []Migration
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), path.Ext(e.Name()))
		digits, _, _ := strings.Cut(name, "_")
		version, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			panic(err) // a wrong file name; every test would see it
		}
		out = append(out, Migration{Version: version, Name: name})
	}
	return out
})

// Current is the newest version that this binary knows. Any goroutine.
func Current() int64 { return known()[len(known())-1].Version }

// Up applies the migrations that db lacks, in order, and returns their names.
// Of several starters one works and the others wait for it, until ctx ends.
// Nothing but ctx bounds how long a migration takes. When one fails, those
// before it stay applied. Any goroutine.
//
// A database of a newer binary is refused with ErrNewer, one that holds part of
// a copy with ErrUnfinishedCopy.
func Up(ctx context.Context, db *store.SQL, log *zap.Logger) (applied []string, err error) {
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, db.Driver(), pool, func() { log.Info("waiting for another gameserverd that migrates the database") })
	if err != nil {
		return nil, err
	}
	defer unlock()
	// Behind the lock: the one who had it before has changed what is read here.
	status, err := readStatus(ctx, db.Driver(), pool)
	if err != nil {
		return nil, err
	}
	if newest := status[len(status)-1]; newest.Name == "" {
		return nil, newer(newest.Version)
	}
	if unfinished, err := hasTable(ctx, db.Driver(), pool, unfinishedTable); err != nil {
		return nil, err
	} else if unfinished {
		return nil, ErrUnfinishedCopy
	}
	return migrate(ctx, db.Driver(), pool, log)
}

func newer(version int64) error {
	return fmt.Errorf("%w: it has version %d, this one knows up to %d", ErrNewer, version, Current())
}

// migrate runs goose. The lock is held: goose's own need parsed times or cover
// only a part.
func migrate(ctx context.Context, driver store.Driver, pool *sql.DB, log *zap.Logger) (applied []string, err error) {
	dialect, folder := goose.DialectSQLite3, "sqlite"
	if driver == store.MySQL {
		dialect, folder = goose.DialectMySQL, "mysql"
	}
	sub, err := fs.Sub(files, folder)
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(dialect, pool, sub, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, err
	}
	results, err := provider.Up(ctx)
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		results = partial.Applied
		err = fmt.Errorf("migration %s: %w", partial.Failed.Source.Path, partial.Err)
	} else if err != nil {
		err = fmt.Errorf("migrations: %w", err)
	}
	for _, r := range results {
		name := strings.TrimSuffix(path.Base(r.Source.Path), path.Ext(r.Source.Path))
		applied = append(applied, name)
		log.Info("migration applied", zap.String("migration", name), zap.Duration("took", r.Duration))
	}
	return applied, err
}

// Status lists the migrations that this binary knows, and behind them those
// that only db knows, by version. It changes nothing, not even in an empty
// database. Any goroutine.
func Status(ctx context.Context, db *store.SQL) ([]Migration, error) {
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	return readStatus(ctx, db.Driver(), pool)
}
