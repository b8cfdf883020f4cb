package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"
)

// rollbackTime bounds a ROLLBACK that no caller's context does.
const rollbackTime = time.Second

var errConnGone = errors.New("the connection was closed, discarded or lost")

// Conn is one connection for whoever holds it: for transactions of their own making, and for prepared statements. It is no part of the
// queue, and every call is bounded by its ctx alone. An error that IsLost ends it: every call after it fails, and Close throws it away.
//
// SQLite has one writer. Those of a process wait for each other here, first come first served: a Conn for the length of one Exec
// outside a transaction, and inside one from Begin until Commit, Rollback, Close or Discard. So whoever writes to the SQL
// otherwise within a transaction waits for themselves, until a context ends.
//
// Any goroutine, one at a time.
type Conn struct {
	// immutable after newConn
	s       *SQL
	conn    *sql.Conn
	pinned  bool   // Conn's: its ctx is all that bounds it
	started func() // told before the driver has the first statement; may be nil

	// of the goroutine that has it
	within bool // a transaction, or one may be open
	holds  bool // the gate
	lost   bool // what the server thinks of the connection is not known
	closed bool
	stmts  map[*Stmt]struct{}
}

func (s *SQL) connOf(ctx context.Context, pool *sql.DB, started func()) (*Conn, error) {
	conn, err := pool.Conn(ctx)
	c := &Conn{s: s, conn: conn, pinned: pool == s.pinned, started: started}
	if err == nil {
		return c, nil
	}
	var connecting *connectError
	if ctx.Err() != nil && !errors.As(err, &connecting) {
		return nil, notBegun(ctx) // all connections are in use
	}
	return nil, c.ended(ctx, "connecting", err)
}

// Begin begins a transaction; in SQLite as the writer. An error leaves none open. Any goroutine, one at a time.
func (c *Conn) Begin(ctx context.Context) error {
	query := "START TRANSACTION"
	if c.s.driver == SQLite {
		query = "BEGIN IMMEDIATE"
	}
	_, err := c.Exec(ctx, query)
	return err
}

// Commit ends the transaction. An error that IsLost leaves it unknown whether it was committed; after another error it was not, and is
// still to be rolled back. Any goroutine, one at a time.
func (c *Conn) Commit(ctx context.Context) error {
	_, err := c.Exec(ctx, "COMMIT")
	return err
}

// Rollback ends the transaction, and undoes it. Any goroutine, one at a time.
func (c *Conn) Rollback(ctx context.Context) error {
	_, err := c.Exec(ctx, "ROLLBACK")
	return err
}

// Exec runs a statement; BEGIN, START TRANSACTION, COMMIT and ROLLBACK are understood as Begin, Commit and Rollback are. After any
// error within a transaction roll back: SQLite has done so by itself after some. Any goroutine, one at a time.
func (c *Conn) Exec(ctx context.Context, query string, args ...any) (Result, error) {
	return c.exec(ctx, query, args, func(ctx context.Context, args []any) (sql.Result, error) {
		return c.conn.ExecContext(ctx, query, args...)
	})
}

func (c *Conn) exec(ctx context.Context, query string, args []any, run func(context.Context, []any) (sql.Result, error)) (Result, error) {
	kind := controlOf(query)
	if kind == begins && c.within {
		return Result{}, &statementError{query, errors.New("a transaction is open already")}
	}
	args, err := c.ready(ctx, query, args, true)
	if err != nil {
		return Result{}, err
	}
	defer c.release()
	if kind == begins {
		c.within = true // nobody knows how far a BEGIN comes that is not answered
	}
	result, err := run(ctx, args)
	if kind != plain && noTransaction(err) {
		c.within = false // SQLite has rolled back by itself, after an error that was returned then
		if kind == rollsBack {
			return Result{}, nil
		}
	}
	err = c.ended(ctx, query, err)
	if err == nil && (kind == commits || kind == rollsBack) || err != nil && kind == begins && !c.lost {
		c.within = false
	}
	if err != nil {
		return Result{}, err
	}
	return resultOf(result), nil
}

// noTransaction tells whether err is SQLite's for a transaction that is to be ended and is not open.
func noTransaction(err error) bool {
	_, ok := sqliteCode(err)
	return ok && strings.Contains(err.Error(), "no transaction is active")
}

func resultOf(r sql.Result) Result {
	rows, _ := r.RowsAffected() // neither driver has an error here
	id, _ := r.LastInsertId()
	return Result{RowsAffected: rows, LastInsertID: id}
}

// ready is what precedes every statement: it is refused if the connection is gone or an argument is wrong, and waits for the gate if
// it writes.
func (c *Conn) ready(ctx context.Context, query string, args []any, writes bool) ([]any, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	args, err := c.s.check(query, args)
	if err != nil {
		return nil, err
	}
	if writes && c.s.gate != nil && !c.holds {
		select {
		case c.s.gate <- struct{}{}:
			c.holds = true
		case <-ctx.Done():
			return nil, notBegun(ctx)
		}
	}
	if c.started != nil {
		c.started()
		c.started = nil
	}
	return args, nil
}

// usable tells whether a statement can begin.
func (c *Conn) usable(ctx context.Context) error {
	if c.closed || c.lost {
		return unavailable("the store did not answer", fmt.Errorf("%w: %w", driver.ErrBadConn, errConnGone))
	}
	if ctx.Err() != nil {
		return notBegun(ctx)
	}
	return nil
}

// notBegun is the error of a statement whose ctx ended before the database saw it.
func notBegun(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != errTimeout && !errors.Is(cause, context.DeadlineExceeded) {
		return &callerGone{cause, errNotBegun}
	}
	return unavailable("the store had too much to do; nothing was changed", errNotBegun)
}

// ended makes of a driver's error what callers get, and remembers if it ends the connection.
func (c *Conn) ended(ctx context.Context, query string, err error) error {
	cause := context.Cause(ctx)
	if c.pinned && errors.Is(cause, context.DeadlineExceeded) {
		cause = errTimeout // the time that its holder gives a Conn is as good as Timeout: the store was late
	}
	err = c.s.outcome(cause, query, err)
	if IsLost(err) {
		c.lost = true
	}
	return err
}

// release lets others write, unless a transaction is open, or may be: that of a lost connection ends with it.
func (c *Conn) release() {
	if c.holds && (c.closed || !c.within) {
		c.holds = false
		<-c.s.gate
	}
}

// FetchOne returns the query's first row, or the zero Row if there is none. Any goroutine, one at a time.
func (c *Conn) FetchOne(ctx context.Context, query string, args ...any) (Row, error) {
	rows, err := c.fetch(ctx, query, args, 1, func(ctx context.Context, args []any) (*sql.Rows, error) {
		return c.conn.QueryContext(ctx, query, args...)
	})
	return firstOf(rows), err
}

// FetchAll returns the query's rows, at most MaxRows; more, or more than 64 MiB, are an error. Any goroutine, one at a time.
func (c *Conn) FetchAll(ctx context.Context, query string, args ...any) ([]Row, error) {
	return c.fetch(ctx, query, args, MaxRows, func(ctx context.Context, args []any) (*sql.Rows, error) {
		return c.conn.QueryContext(ctx, query, args...)
	})
}

func (c *Conn) fetch(ctx context.Context, query string, args []any, limit int, run func(context.Context, []any) (*sql.Rows, error)) ([]Row, error) {
	args, err := c.ready(ctx, query, args, false)
	if err != nil {
		return nil, err
	}
	rows, err := collect(ctx, limit, func(ctx context.Context) (*sql.Rows, error) { return run(ctx, args) })
	if errors.Is(err, errTooMuch) {
		c.lost = true // the rest of the rows is still in it
	}
	return rows, c.ended(ctx, query, err)
}

// Each calls fn with one row after the other; an error of fn ends it and is returned. The Conn can do nothing else meanwhile. Any
// goroutine, one at a time.
func (c *Conn) Each(ctx context.Context, query string, args []any, fn func(Row) error) error {
	args, err := c.ready(ctx, query, args, false)
	if err != nil {
		return err
	}
	var own error
	err = stream(ctx, func(ctx context.Context) (*sql.Rows, error) { return c.conn.QueryContext(ctx, query, args...) }, func(row Row, _ int) error {
		own = fn(row)
		return own
	})
	if own != nil {
		c.lost = true // the rest of the rows is still in it
		return own
	}
	return c.ended(ctx, query, err)
}

// Prepare prepares a statement on this connection. Any goroutine, one at a time.
func (c *Conn) Prepare(ctx context.Context, query string) (*Stmt, error) {
	if err := c.usable(ctx); err != nil {
		return nil, err
	}
	if controlOf(query) != plain {
		return nil, &statementError{query, errControl}
	}
	prepared, err := c.conn.PrepareContext(ctx, query)
	if err := c.ended(ctx, query, err); err != nil {
		return nil, err
	}
	st := &Stmt{conn: c, query: query, prepared: prepared}
	if c.stmts == nil {
		c.stmts = make(map[*Stmt]struct{})
	}
	c.stmts[st] = struct{}{}
	return st, nil
}

// Close gives the connection back, and ends it instead if it was lost. A transaction that is open is rolled back. Closing it again
// does nothing. Any goroutine, one at a time.
func (c *Conn) Close() error {
	if c.closed {
		return nil
	}
	if c.within && !c.lost {
		// Not by Rollback: the driver may have ended the connection with the last statement's ctx, which says nothing about the server.
		ctx, cancel := context.WithTimeout(context.Background(), rollbackTime)
		_, err := c.conn.ExecContext(ctx, "ROLLBACK")
		cancel()
		c.lost = err != nil && !noTransaction(err)
	}
	if c.lost {
		c.Discard()
		return nil
	}
	for st := range c.stmts {
		st.prepared.Close() // its connection lives on without it
	}
	err := c.conn.Close()
	c.closed = true
	c.release()
	return err
}

// Discard ends the connection: for one whose state is not known. Any goroutine, one at a time.
func (c *Conn) Discard() {
	if c.closed {
		return
	}
	if c.s.driver == SQLite {
		// database/sql does not know the statements of a Conn, and SQLite keeps the files of a connection open that has any left.
		for st := range c.stmts {
			_ = st.prepared.Close()
		}
	}
	// database/sql ends a connection of which this is said.
	_ = c.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.conn.Close()
	c.closed = true
	c.release()
}

// Stmt is a prepared statement of a Conn, and ends with it at the latest. Any goroutine, one at a time with its Conn.
type Stmt struct {
	// immutable after Prepare
	conn     *Conn
	query    string
	prepared *sql.Stmt
}

// Exec runs it, as Conn.Exec does. Any goroutine, one at a time.
func (st *Stmt) Exec(ctx context.Context, args ...any) (Result, error) {
	return st.conn.exec(ctx, st.query, args, func(ctx context.Context, args []any) (sql.Result, error) {
		return st.prepared.ExecContext(ctx, args...)
	})
}

// FetchAll runs it, as Conn.FetchAll does. Any goroutine, one at a time.
func (st *Stmt) FetchAll(ctx context.Context, args ...any) ([]Row, error) {
	return st.conn.fetch(ctx, st.query, args, MaxRows, func(ctx context.Context, args []any) (*sql.Rows, error) {
		return st.prepared.QueryContext(ctx, args...)
	})
}

// Close frees it in the server. Any goroutine, one at a time.
func (st *Stmt) Close() error {
	if _, open := st.conn.stmts[st]; !open || st.conn.closed {
		return nil
	}
	delete(st.conn.stmts, st)
	return st.prepared.Close()
}
