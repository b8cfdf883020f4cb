package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqlitePragmas are set on every connection. The write-ahead log lets readers go on while one writes; synchronous FULL flushes the
// disk at every commit, so that what was committed is there after a power failure. Writers of this process wait for each other at
// SQL.gate, in order; busy_timeout is for those of other programs, such as a backup, and for migrations. The log is carried over into
// the database at 32 MiB (8000 pages), not at 4: a page that many commits change is then written to its place once for all of them,
// which doubles what group commit reaches. The log file is cut back to 64 MiB after it has grown. temp_store: what one statement may
// have to undo is kept in memory and not in a file. _dqs=0: "x" in double quotes is a name and never a string, as it would be in MySQL.
var sqlitePragmas = []string{
	"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(OFF)",
	"wal_autocheckpoint(8000)", "journal_size_limit(67108864)", "temp_store(MEMORY)",
}

func (s *SQL) openSQLite(o SQLOptions) error {
	if o.DSN == "" || strings.HasPrefix(o.DSN, "file:") || strings.HasPrefix(o.DSN, ":") || strings.ContainsRune(o.DSN, 0) {
		return errors.New("store: the DSN of sqlite is the path of a file")
	}
	path, err := filepath.Abs(o.DSN)
	if err != nil {
		return err
	}
	opening := make(chan struct{}, 1)
	open := func(max, idle int, more ...string) *sql.DB {
		db := sql.OpenDB(&connector{Connector: sqliteConnector(path, more...), timeout: o.Timeout, turn: opening})
		db.SetMaxOpenConns(max)
		db.SetMaxIdleConns(idle)
		db.SetConnMaxLifetime(o.MaxLifetime)
		return db
	}
	s.read, s.write = newLane(o.MaxOpen, o.Queue), newLane(1, o.Queue)
	s.readDB = open(o.MaxOpen, o.MaxOpen, "query_only(1)") // opening one costs more than keeping it
	s.readDB.SetConnMaxIdleTime(time.Minute)
	s.writeDB = open(1, 1)
	s.pinned = open(pinned, pinned)
	s.pinned.SetConnMaxIdleTime(pinnedIdle)
	s.openDDL = func() *sql.DB { return open(2, 1) }
	s.gate = make(chan struct{}, 1)
	return nil
}

func sqliteConnector(path string, more ...string) driver.Connector {
	params := url.Values{"_pragma": append(more, sqlitePragmas...), "_txlock": {"immediate"}, "_dqs": {"0"}}
	c, err := sqlite.NewConnector("file:" + (&url.URL{Path: path}).EscapedPath() + "?" + params.Encode())
	if err != nil {
		return failingConnector{err} // the parameters are ours, so this does not happen
	}
	return c
}

// isReadOnly tells whether SQLite has refused to write on a connection that only reads.
func isReadOnly(err error) bool {
	code, ok := sqliteCode(err)
	return ok && code == sqlite3.SQLITE_READONLY
}

type failingConnector struct{ err error }

func (f failingConnector) Connect(context.Context) (driver.Conn, error) { return nil, f.err }
func (f failingConnector) Driver() driver.Driver                        { return nil }
