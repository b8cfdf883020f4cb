package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/future"
)

// Driver is the kind of an SQL database.
type Driver string

// The databases there are.
const (
	SQLite Driver = "sqlite" // a file, in this process alone; modernc.org/sqlite
	MySQL  Driver = "mysql"  // MySQL or MariaDB; go-sql-driver/mysql
)

// SQLOptions are the options of OpenSQL. A zero stands for the default.
type SQLOptions struct {
	Driver      Driver
	DSN         string        // sqlite: the file's path; it is made if it is not there. mysql: user:password@tcp(host:port)/database?param=value
	MaxOpen     int           // connections that calls use, and calls that run at a time; 16. SQLite: those that read; one more writes
	MaxIdle     int           // connections that are kept while unused; 5, at most MaxOpen. SQLite: those that read are all kept for a minute
	MaxLifetime time.Duration // of a connection; 30 minutes
	Queue       int           // calls that wait for a connection; 4096. SQLite: as many again for those that write
	Timeout     time.Duration // of one call, waiting and running together; 2 s
	Log         *zap.Logger   // nil: nothing is logged
	Health      *Health       // nil: one of its own
}

// pinned is how many connections Conn and Each may hold together, beside MaxOpen. All are kept for a while: loading takes several, again
// and again.
const (
	pinned     = 16
	pinnedIdle = time.Minute
)

// retries is how often a transaction that was rolled back for a deadlock is tried again.
const retries = 3

// Result is what a statement has done. RowsAffected counts the rows that an UPDATE found, changed or not, in both drivers; an upsert
// that updates a row counts 1 in SQLite and 2 (or 1 if nothing changed) in MySQL.
type Result struct{ RowsAffected, LastInsertID int64 }

// SQL is an SQL database. Its calls are futures, or block with a context; both wait in one queue for one of MaxOpen connections, and
// both are over when Options.Timeout is.
//
// Their errors: unavailable when the database cannot be reached, or has not answered in time (IsLost tells whether the outcome is
// unknown, and otherwise nothing was changed); resource_exhausted when Queue calls wait; the caller's own context error; and for a
// statement that the database refuses an error without a code, whose text has the statement and no argument.
//
// Statements are the program's constants, with ? for every value. Arguments are integers up to 2^63-1, floats, strings, bools,
// bytes and nil; bytes must not be changed afterwards, since a call that is over may still be sending them.
//
// SQLite: FetchOne, FetchAll and Each only read. MySQL: READ COMMITTED, a strict sql_mode and utf8mb4 on every connection.
type SQL struct {
	// immutable after OpenSQL
	driver  Driver
	timeout time.Duration
	health  *Health
	read    *lane
	write   *lane // MySQL: read
	readDB  *sql.DB
	writeDB *sql.DB          // MySQL: readDB
	reads   *preparedQueries // of readDB
	writes  *preparedQueries // of writeDB
	pinned  *sql.DB          // connections of Conn, Each and Ping
	gate    chan struct{}    // SQLite: full while somebody writes; its waiters are served in order. MySQL: nil
	openDDL func() *sql.DB

	// any goroutine
	closing atomic.Bool
	mu      sync.Mutex // guards what follows
	ddl     *sql.DB    // of DB; nil until it is asked for
}

// OpenSQL checks the options and makes the pools; it does not connect. Its error says what is wrong with the options, without the
// password. Any goroutine.
func OpenSQL(o SQLOptions) (*SQL, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	s := &SQL{driver: o.Driver, timeout: o.Timeout, health: o.Health}
	var err error
	switch o.Driver {
	case SQLite:
		err = s.openSQLite(o)
	case MySQL:
		err = s.openMySQL(o)
	default:
		err = fmt.Errorf("store: no driver %q, want %q or %q", o.Driver, SQLite, MySQL)
	}
	if err != nil {
		return nil, err
	}
	s.reads, s.writes = prepareQueries(s.readDB), prepareQueries(s.writeDB)
	return s, nil
}

// complete puts the defaults in.
func (o *SQLOptions) complete() error {
	if o.MaxOpen < 0 || o.MaxIdle < 0 || o.MaxLifetime < 0 || o.Queue < 0 || o.Timeout < 0 {
		return errors.New("store: MaxOpen, MaxIdle, MaxLifetime, Queue and Timeout cannot be negative")
	}
	orDefault(&o.MaxOpen, 16)
	orDefault(&o.MaxIdle, min(5, o.MaxOpen))
	orDefault(&o.MaxLifetime, 30*time.Minute)
	orDefault(&o.Queue, 4096)
	orDefault(&o.Timeout, 2*time.Second)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Health == nil {
		o.Health = NewHealth("sql", o.Log, nil)
	}
	return nil
}

func orDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Exec runs a statement that returns no rows. One that was the victim of a deadlock is tried again. Any goroutine.
func (s *SQL) Exec(query string, args ...any) *future.Future[Result] {
	return s.exec(context.Background(), query, args)
}

// FetchOne returns the query's first row, or the zero Row if there is none. Any goroutine.
func (s *SQL) FetchOne(query string, args ...any) *future.Future[Row] {
	return s.fetchOne(context.Background(), query, args)
}

// FetchAll returns the query's rows: at most MaxRows, with 64 MiB of strings and bytes; more are an error. Any goroutine.
func (s *SQL) FetchAll(query string, args ...any) *future.Future[[]Row] {
	return s.fetchAll(context.Background(), query, args)
}

// ExecContext is Exec for code that may block; ctx bounds it too. Any goroutine but a loop's.
func (s *SQL) ExecContext(ctx context.Context, query string, args ...any) (Result, error) {
	return s.exec(ctx, query, args).Wait(context.Background()) // ctx is in the call: it is answered when ctx ends
}

// FetchOneContext is FetchOne for code that may block; ctx bounds it too. Any goroutine but a loop's.
func (s *SQL) FetchOneContext(ctx context.Context, query string, args ...any) (Row, error) {
	return s.fetchOne(ctx, query, args).Wait(context.Background())
}

// FetchAllContext is FetchAll for code that may block; ctx bounds it too. Any goroutine but a loop's.
func (s *SQL) FetchAllContext(ctx context.Context, query string, args ...any) ([]Row, error) {
	return s.fetchAll(ctx, query, args).Wait(context.Background())
}

func (s *SQL) exec(ctx context.Context, query string, args []any) *future.Future[Result] {
	args, err := s.check(query, args)
	if err == nil && controlOf(query) != plain {
		err = &statementError{query, errControl}
	}
	if err != nil {
		return future.Failed[Result](err)
	}
	return submit(s.write, ctx, s.timeout, s.late, func(c *call) (result Result, err error) {
		err = retry(c.ctx, func() error {
			result, err = s.execOnce(c, query, args)
			return err
		})
		return result, err
	})
}

func (s *SQL) execOnce(c *call, query string, args []any) (Result, error) {
	if s.gate != nil {
		select {
		case s.gate <- struct{}{}:
			defer func() { <-s.gate }()
		case <-c.ctx.Done():
			return Result{}, c.expired()
		}
	}
	c.begin()
	result, err := s.writes.exec(c.ctx, query, args)
	if err := s.outcome(context.Cause(c.ctx), query, err); err != nil {
		return Result{}, err
	}
	return resultOf(result), nil
}

func (s *SQL) fetchOne(ctx context.Context, query string, args []any) *future.Future[Row] {
	args, err := s.check(query, args)
	if err != nil {
		return future.Failed[Row](err)
	}
	return submit(s.read, ctx, s.timeout, s.late, func(c *call) (Row, error) {
		rows, err := s.fetch(c, query, args, 1)
		return firstOf(rows), err
	})
}

func (s *SQL) fetchAll(ctx context.Context, query string, args []any) *future.Future[[]Row] {
	args, err := s.check(query, args)
	if err != nil {
		return future.Failed[[]Row](err)
	}
	return submit(s.read, ctx, s.timeout, s.late, func(c *call) ([]Row, error) {
		return s.fetch(c, query, args, MaxRows)
	})
}

func (s *SQL) fetch(c *call, query string, args []any, limit int) ([]Row, error) {
	c.begin()
	rows, err := collect(c.ctx, limit, func(ctx context.Context) (*sql.Rows, error) { return s.reads.query(ctx, query, args) })
	if s.driver == SQLite && isReadOnly(err) {
		return nil, &statementError{query, errors.New("only Exec and Transact write")}
	}
	return rows, s.outcome(context.Cause(c.ctx), query, err)
}

// Each calls fn with one row of the query after the other, however many there are, on the calling goroutine, and returns fn's error if
// it has one. It has a connection of its own and no bound but ctx: for loading. Any goroutine but a loop's.
func (s *SQL) Each(ctx context.Context, query string, args []any, fn func(Row) error) error {
	c, err := s.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Each(ctx, query, args, fn)
}

// Conn returns a connection for the caller alone, who must Close or Discard it. It is none of MaxOpen, so holding it for ever takes
// nothing from others; there are at most 16, and the next waits until ctx ends. Any goroutine but a loop's.
func (s *SQL) Conn(ctx context.Context) (*Conn, error) {
	if s.closing.Load() {
		return nil, unavailable("the server is shutting down; nothing was changed", errNotBegun)
	}
	return s.connOf(ctx, s.pinned, nil)
}

// DB returns a pool for statements that change tables: few connections, and no time after which silence means that the server is
// away. For package schema, whose library wants one. Close closes it. Any goroutine.
func (s *SQL) DB() (*sql.DB, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return nil, unavailable("the server is shutting down; nothing was changed", errNotBegun)
	}
	if s.ddl == nil {
		s.ddl = s.openDDL()
	}
	return s.ddl, nil
}

// Driver tells which kind of database it is. Any goroutine.
func (s *SQL) Driver() Driver { return s.driver }

// Ping asks the database for an answer, over a connection that no call uses, bounded by ctx and Timeout. It does not tell Health: for
// Health.Watch. Any goroutine but a loop's.
func (s *SQL) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
	defer cancel()
	query := "SELECT 1" // one row; touches no table
	if s.driver == SQLite {
		query = "SELECT count(*) FROM sqlite_master" // one row; reads the file
	}
	var n int64
	if err := s.pinned.QueryRowContext(ctx, query).Scan(&n); err != nil {
		return unavailable("the store cannot be reached", err)
	}
	return nil
}

// Close refuses calls from now on and waits for those under way, waiting ones included, until ctx ends; then it answers those that are
// left with unavailable, tells their connections to stop, and returns ctx's error. Conns are closed by those who hold them, before.
// Any goroutine but a loop's.
func (s *SQL) Close(ctx context.Context) error {
	s.closing.Store(true)
	err := s.write.close(ctx)
	if s.read != s.write {
		err = errors.Join(err, s.read.close(ctx))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, db := range []*sql.DB{s.readDB, s.writeDB, s.pinned, s.ddl} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// late is told of calls whose time is over while the driver has them.
func (s *SQL) late() { s.health.Failed(errTimeout) }

// outcome makes of what a driver said the error that callers get, and tells the health. over is why the call's context has ended, nil if
// it has not.
func (s *SQL) outcome(over error, query string, err error) error {
	switch {
	case err == nil:
		s.health.Ok()
		return nil
	case IsLost(err):
		return s.gone(over, err)
	}
	s.health.Ok() // it has answered
	if IsRetryable(err) {
		return unavailable("the store has too many changes of the same rows; nothing was changed", err)
	}
	return &statementError{query, err}
}

// gone is outcome's for an error that IsLost.
func (s *SQL) gone(over, err error) error {
	if over != nil && over != errTimeout {
		return &callerGone{over, nil}
	}
	var connecting *connectError
	if errors.As(err, &connecting) {
		s.health.Failed(errors.New(withoutValues(err)))
		return unavailable("the store cannot be reached; nothing was changed", err)
	}
	if over == errTimeout {
		s.health.Failed(errTimeout)
		return unavailable("the store did not answer in time; the outcome is not known", errTimeout)
	}
	s.health.Failed(errors.New(withoutValues(err)))
	return unavailable("the store was lost; the outcome is not known", err)
}

// retry runs fn again, after a few milliseconds, while its error is of those after which that may help.
func retry(ctx context.Context, fn func() error) error {
	for n := 0; ; n++ {
		err := fn()
		if n == retries || !IsRetryable(err) || ctx.Err() != nil {
			return err
		}
		pause := time.NewTimer(rand.N(time.Duration(1<<n) * 4 * time.Millisecond))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return err
		}
	}
}
