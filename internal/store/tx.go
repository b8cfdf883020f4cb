package store

import (
	"context"
	"errors"
	"sync"

	"gameserverd/internal/future"
)

var errTxOver = errors.New("the transaction is over")

// Tx is a transaction, while Transact's function runs. Its goroutine only.
type Tx struct {
	ctx    context.Context
	conn   *Conn
	broken error // after which the database has undone, or may have undone, what came before
	over   bool
}

// Exec runs a statement that returns no rows. An error that IsRetryable or IsLost, and in SQLite most others but those of constraints
// and of the statement itself, ends the transaction: every later call has it too, and nothing is committed. Its goroutine only.
func (t *Tx) Exec(query string, args ...any) (Result, error) {
	if err := t.open(query); err != nil {
		return Result{}, err
	}
	if controlOf(query) != plain {
		return Result{}, &statementError{query, errControl}
	}
	result, err := t.conn.Exec(t.ctx, query, args...)
	return result, t.ended(err)
}

// FetchOne returns the query's first row, or the zero Row if there is none. Its goroutine only.
func (t *Tx) FetchOne(query string, args ...any) (Row, error) {
	if err := t.open(query); err != nil {
		return Row{}, err
	}
	row, err := t.conn.FetchOne(t.ctx, query, args...)
	return row, t.ended(err)
}

// FetchAll returns the query's rows, bounded as SQL.FetchAll is. Its goroutine only.
func (t *Tx) FetchAll(query string, args ...any) ([]Row, error) {
	if err := t.open(query); err != nil {
		return nil, err
	}
	rows, err := t.conn.FetchAll(t.ctx, query, args...)
	return rows, t.ended(err)
}

func (t *Tx) open(query string) error {
	if t.over {
		return &statementError{query, errTxOver}
	}
	return t.broken
}

func (t *Tx) ended(err error) error {
	if err != nil && (IsRetryable(err) || IsLost(err)) {
		t.broken = err
	}
	return err
}

// Transact runs fn in a transaction, on a worker: committed when fn returns nil, rolled back otherwise, and then the future fails with
// fn's error. After a deadlock the whole of it is done again, up to three times, so fn must change nothing but the database; and it
// must not wait for other calls of this SQL. ctx ends with the call's time. When the future fails because the time is over, fn may
// still be running for a moment. Any goroutine.
func (s *SQL) Transact(fn func(ctx context.Context, tx *Tx) error) *future.Future[struct{}] {
	return s.transact(context.Background(), fn)
}

// TransactContext is Transact for code that may block; ctx bounds it too. It returns when fn has: a fn that heeds its ctx returns in
// time. Any goroutine but a loop's.
func (s *SQL) TransactContext(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	var running sync.Mutex // held while fn runs
	over := false
	_, err := s.transact(ctx, func(ctx context.Context, tx *Tx) error {
		running.Lock()
		defer running.Unlock()
		if over {
			return ctx.Err()
		}
		return fn(ctx, tx)
	}).Wait(context.Background())
	running.Lock()
	defer running.Unlock()
	over = true
	return err
}

func (s *SQL) transact(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) *future.Future[struct{}] {
	return submit(s.write, ctx, s.timeout, s.late, func(c *call) (struct{}, error) {
		return struct{}{}, retry(c.ctx, func() error { return s.transactOnce(c, fn) })
	})
}

func (s *SQL) transactOnce(c *call, fn func(ctx context.Context, tx *Tx) error) error {
	conn, err := s.connOf(c.ctx, s.writeDB, c.begin)
	if err != nil {
		return err
	}
	defer conn.Close() // which rolls back what is open, also when fn panics
	if err := conn.Begin(c.ctx); err != nil {
		return err
	}
	tx := &Tx{ctx: c.ctx, conn: conn}
	defer func() { tx.over = true }()
	err = fn(c.ctx, tx)
	if tx.broken != nil && !errors.Is(err, tx.broken) {
		err = tx.broken // whatever fn made of it, nothing of this transaction can be committed
	}
	if err != nil {
		return err
	}
	return conn.Commit(c.ctx)
}
