package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/future"
)

var errSkeleton = errors.New("store: this is the skeleton; what does it is being written")

type Driver string

const (
	SQLite Driver = "sqlite"
	MySQL  Driver = "mysql"
)

type SQLOptions struct {
	Driver      Driver
	DSN         string
	MaxOpen     int
	MaxIdle     int
	MaxLifetime time.Duration
	Queue       int
	Timeout     time.Duration
	Log         *zap.Logger
	Health      *Health
}

const MaxRows = 100_000

type Result struct{ RowsAffected, LastInsertID int64 }

type SQL struct{ driver Driver }

func OpenSQL(o SQLOptions) (*SQL, error) { return &SQL{o.Driver}, nil }

func (s *SQL) Exec(query string, args ...any) *future.Future[Result] {
	return future.Failed[Result](errSkeleton)
}
func (s *SQL) FetchOne(query string, args ...any) *future.Future[Row] {
	return future.Failed[Row](errSkeleton)
}
func (s *SQL) FetchAll(query string, args ...any) *future.Future[[]Row] {
	return future.Failed[[]Row](errSkeleton)
}
func (s *SQL) Transact(fn func(ctx context.Context, tx *Tx) error) *future.Future[struct{}] {
	return future.Failed[struct{}](errSkeleton)
}
func (s *SQL) ExecContext(ctx context.Context, query string, args ...any) (Result, error) {
	return Result{}, errSkeleton
}
func (s *SQL) FetchOneContext(ctx context.Context, query string, args ...any) (Row, error) {
	return Row{}, errSkeleton
}
func (s *SQL) FetchAllContext(ctx context.Context, query string, args ...any) ([]Row, error) {
	return nil, errSkeleton
}
func (s *SQL) TransactContext(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return errSkeleton
}

// Each streams a reading query's rows; no Timeout beyond ctx.
func (s *SQL) Each(ctx context.Context, query string, args []any, fn func(Row) error) error {
	return errSkeleton
}

// Conn pins a connection. It comes from a pool of its own, so that holding one for ever takes nothing from the calls above.
func (s *SQL) Conn(ctx context.Context) (*Conn, error) { return nil, errSkeleton }

// DB is a pool of its own for migrations (goose wants a *sql.DB): no read timeout, few connections, closed by Close. For package schema only.
func (s *SQL) DB() (*sql.DB, error) { return nil, errSkeleton }

func (s *SQL) Driver() Driver                  { return s.driver }
func (s *SQL) Ping(ctx context.Context) error  { return errSkeleton }
func (s *SQL) Close(ctx context.Context) error { return nil }

type Row struct {
	names []string
	vals  []any
}

func (r Row) None() bool            { return r.names == nil }
func (r Row) Len() int              { return len(r.vals) }
func (r Row) Columns() []string     { return r.names }
func (r Row) Scan(dst ...any) error { return errSkeleton }

type Tx struct{}

func (t *Tx) Exec(query string, args ...any) (Result, error)    { return Result{}, errSkeleton }
func (t *Tx) FetchOne(query string, args ...any) (Row, error)   { return Row{}, errSkeleton }
func (t *Tx) FetchAll(query string, args ...any) ([]Row, error) { return nil, errSkeleton }

// Conn is one connection, for one goroutine at a time.
//
// SQLite: writers of all connections wait for each other, first come first served: outside a transaction for one Exec, inside one from
// Begin until Commit, Rollback, Close or Discard. Use Begin/Commit/Rollback rather than their SQL (Exec of BEGIN, START TRANSACTION,
// COMMIT, ROLLBACK is understood too).
type Conn struct{}

func (c *Conn) Begin(ctx context.Context) error    { return errSkeleton } // BEGIN IMMEDIATE, START TRANSACTION
func (c *Conn) Commit(ctx context.Context) error   { return errSkeleton } // an error that IsLost: not known whether it committed
func (c *Conn) Rollback(ctx context.Context) error { return errSkeleton }
func (c *Conn) Exec(ctx context.Context, query string, args ...any) (Result, error) {
	return Result{}, errSkeleton
}
func (c *Conn) FetchOne(ctx context.Context, query string, args ...any) (Row, error) {
	return Row{}, errSkeleton
}
func (c *Conn) FetchAll(ctx context.Context, query string, args ...any) ([]Row, error) {
	return nil, errSkeleton
}
func (c *Conn) Each(ctx context.Context, query string, args []any, fn func(Row) error) error {
	return errSkeleton
}
func (c *Conn) Prepare(ctx context.Context, query string) (*Stmt, error) { return nil, errSkeleton }
func (c *Conn) Close() error                                             { return nil }
func (c *Conn) Discard()                                                 {}

// Stmt is a prepared statement of a Conn; closed with it at the latest.
type Stmt struct{}

func (st *Stmt) Exec(ctx context.Context, args ...any) (Result, error) { return Result{}, errSkeleton }
func (st *Stmt) FetchAll(ctx context.Context, args ...any) ([]Row, error) {
	return nil, errSkeleton
}
func (st *Stmt) Close() error { return nil }
