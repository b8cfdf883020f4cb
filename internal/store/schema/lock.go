package schema

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"gameserverd/internal/store"
)

// lockPoll is how often someone who waits for the lock looks again.
const lockPoll = 50 * time.Millisecond

// unlockTimeout bounds giving the lock back to a server that may be gone.
const unlockTimeout = 5 * time.Second

const (
	// takeLock takes the lock of the selected database if nobody has it: one
	// row, 1 or 0; NULL without a database. The name is hashed since locks hold
	// for the whole server and have 64 characters at most.
	takeLock = `SELECT GET_LOCK(CONCAT('gameserverd:', MD5(DATABASE())), 0)`
	// giveLock gives it back: one row, 1.
	giveLock = `SELECT RELEASE_LOCK(CONCAT('gameserverd:', MD5(DATABASE())))`
	// mainFile is the path of SQLite's database file: one row.
	mainFile = `SELECT file FROM pragma_database_list WHERE name = 'main'`
)

// lock waits until nobody else changes the tables of this database, in this
// process or another one, or until ctx ends. It frees itself with the process,
// or with its connection. waiting is called once if there is something to wait
// for; unlock is to be called once.
func lock(ctx context.Context, of store.Driver, pool *sql.DB, waiting func()) (unlock func(), err error) {
	take := lockFolder
	if of == store.MySQL {
		take = lockServer
	}
	return poll(ctx, func() (func(), error) { return take(ctx, pool) }, waiting)
}

// poll calls take, which must not outlast ctx, until it takes the lock. Once it
// was kept from us, an end of ctx says by what, wherever it comes.
func poll(ctx context.Context, take func() (func(), error), waiting func()) (unlock func(), err error) {
	var kept error
	for {
		unlock, err = take()
		switch {
		case err == nil:
			return unlock, nil
		case errors.Is(err, errLocked) || store.IsRetryable(err): // several processes that make one SQLite file quarrel
			if kept == nil {
				waiting()
			}
			kept = err
		case kept == nil || ctx.Err() == nil:
			return nil, err
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", kept, context.Cause(ctx))
		}
	}
}

var errLocked = errors.New("somebody else is changing the tables of this database")

// lockServer is the lock of a MySQL server, which belongs to a connection.
func lockServer(ctx context.Context, pool *sql.DB) (unlock func(), err error) {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	var taken sql.NullInt64
	err = conn.QueryRowContext(ctx, takeLock).Scan(&taken)
	switch {
	case err == nil && !taken.Valid:
		err = errors.New("the server gives no lock; has store.sql.dsn a database?")
	case err == nil && taken.Int64 == 0:
		err = errLocked
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockTimeout)
		defer cancel()
		var given sql.NullInt64
		if err := conn.QueryRowContext(ctx, giveLock).Scan(&given); err != nil {
			discard(conn) // the lock ends with the connection
		}
		_ = conn.Close() // nothing is lost with it
	}, nil
}

// discard makes the pool throw conn away when it is closed.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

// lockFolder locks the folder of the SQLite file. Not the file: closing it
// would drop the locks that SQLite itself holds there for this process.
func lockFolder(ctx context.Context, pool *sql.DB) (unlock func(), err error) {
	file, err := databaseFile(ctx, pool)
	if err != nil {
		return nil, err
	}
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		folder.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("locking %s: %w", folder.Name(), err)
	}
	return func() { folder.Close() }, nil
}

// databaseFile is the absolute path of SQLite's file.
func databaseFile(ctx context.Context, pool *sql.DB) (file string, err error) {
	err = pool.QueryRowContext(ctx, mainFile).Scan(&file)
	return file, err
}
