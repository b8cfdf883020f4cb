package schema

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gameserverd/internal/store"
)

// ErrNoBackup is the error of Backup for a database that its server's own tools back up.
var ErrNoBackup = errors.New("schema: only SQLite is backed up like this")

// vacuumInto writes the whole database, as of one moment, into a new file; index: none, all tables are read. Returns nothing.
const vacuumInto = `VACUUM INTO ?`

// Backup writes the whole of a SQLite database into the new file path, as of the moment at which it begins, while others go on
// reading and writing. It refuses a file that is there, and leaves none behind when it fails. What it returns has been
// flushed to the disk. The error is ErrNoBackup for MySQL. Any goroutine but a loop's.
func Backup(ctx context.Context, db *store.SQL, path string) (bytes int64, err error) {
	if db.Driver() != store.SQLite {
		return 0, ErrNoBackup
	}
	if _, err := os.Lstat(path); err == nil {
		return 0, fmt.Errorf("schema: %s: %w", path, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	pool, err := db.DB()
	if err != nil {
		return 0, err
	}
	// Under another name until it is whole, so that a file of the name asked for is always a backup.
	partial := path + ".partial"
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	defer os.Remove(partial)
	if _, err := pool.ExecContext(ctx, vacuumInto, partial); err != nil {
		return 0, fmt.Errorf("schema: backup: %w", err)
	}
	if bytes, err = flush(partial); err != nil {
		return 0, err
	}
	if err := os.Rename(partial, path); err != nil {
		return 0, err
	}
	_, err = flush(filepath.Dir(path))
	return bytes, err
}

// flush brings a file, or what a folder lists, to the disk.
func flush(path string) (size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), f.Sync()
}
