package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"gameserverd/internal/store"
)

// What Copy refuses, beside ErrNewer, ErrOlder and ErrUnfinishedCopy.
var (
	// ErrSameDatabase: the source is the target.
	ErrSameDatabase = errors.New("source and target are the same database")
	// ErrNotEmpty: the target has rows that no copy has put there.
	ErrNotEmpty = errors.New("the target is not empty")
	// ErrSourceChanged: somebody wrote to the source meanwhile.
	ErrSourceChanged = errors.New("the source was written to during the copy")
	// ErrTargetChanged: somebody wrote to the target meanwhile.
	ErrTargetChanged = errors.New("the target was written to during the copy")
	// ErrDiffers: what arrived is not what was sent.
	ErrDiffers = errors.New("the copy differs from the source")
)

// A batch is one statement and one transaction.
const (
	batchRows  = 500
	batchBytes = 1 << 20 // servers refuse statements of more than some MiB
)

// unfinishedTable is in a database while it holds a part of a copy. A table and
// not a row, so that the schema of every version can have it.
const unfinishedTable = "unfinished_copy"

// Copy copies every player and all that is theirs from one database into
// another one. Both must have version Current; to must be empty. It reads one
// snapshot, writes in batches, and compares the number of rows and a checksum of
// each table afterwards. progress is told of each batch: "players", and
// "players, compared", 300 of 1000 rows. Any goroutine.
//
// No daemon may use either database: one that commits to from meanwhile, so that
// the copy would lack something, makes Copy fail.
//
// A copy that broke, for whatever reason, leaves a mark in to: Up refuses that
// database, and the next Copy empties it and begins anew. What is wrong with one
// side is an error that begins with "source: " or "target: ".
func Copy(ctx context.Context, from, to *store.SQL, progress func(table string, rows, of int64)) error {
	source, err := openSide(ctx, "source", from)
	if err != nil {
		return err
	}
	target, err := openSide(ctx, "target", to)
	if err != nil {
		return err
	}
	if same, err := sameDatabase(ctx, source, target); err != nil {
		return err
	} else if same {
		return ErrSameDatabase
	}
	for _, s := range []*side{source, target} {
		if err := s.isCurrent(ctx); err != nil {
			return s.fail(err)
		}
	}
	if unfinished, err := hasTable(ctx, source.driver, source.pool, unfinishedTable); err != nil {
		return source.fail(err)
	} else if unfinished {
		return source.fail(ErrUnfinishedCopy)
	}
	unlock, err := lock(ctx, target.driver, target.pool, func() {})
	if err != nil {
		return target.fail(err)
	}
	defer unlock()
	if err := target.prepare(ctx); err != nil {
		return target.fail(err)
	}
	if err := copyAll(ctx, source, target, progress); err != nil {
		return err
	}
	return target.fail(target.exec(ctx, `DROP TABLE `+unfinishedTable)) // the mark: purpose above, no index, no rows
}

// side is one of the two databases.
type side struct {
	name   string // "source" or "target"
	driver store.Driver
	pool   *sql.DB // belongs to the store.SQL
}

func openSide(ctx context.Context, name string, db *store.SQL) (*side, error) {
	pool, err := db.DB()
	if err == nil {
		err = pool.PingContext(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &side{name: name, driver: db.Driver(), pool: pool}, nil
}

// fail says which side err is about. nil stays nil.
func (s *side) fail(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", s.name, err)
}

func (s *side) exec(ctx context.Context, statement string) error {
	_, err := s.pool.ExecContext(ctx, statement)
	return err
}

// isCurrent is nil when every migration of this binary was applied, and no
// other.
func (s *side) isCurrent(ctx context.Context) error {
	status, err := readStatus(ctx, s.driver, s.pool)
	if err != nil {
		return err
	}
	if newest := status[len(status)-1]; newest.Name == "" {
		return newer(newest.Version)
	}
	for _, m := range status {
		if !m.Applied {
			return fmt.Errorf("%w: %s was not applied", ErrOlder, m.Name)
		}
	}
	return nil
}

// prepare makes sure that the target is empty and marks it as unfinished. What
// a copy that broke has left is deleted. The target's lock is held.
func (s *side) prepare(ctx context.Context) error {
	unfinished, err := hasTable(ctx, s.driver, s.pool, unfinishedTable)
	if err != nil {
		return err
	}
	wrote, err := s.written(ctx, s.pool)
	if err != nil {
		return err
	}
	if wrote != (written{}) { // since an empty target has had no daemon, also when what it wrote is gone
		return fmt.Errorf("%w: a gameserverd has used it", ErrNotEmpty)
	}
	for _, t := range tables {
		if unfinished {
			if err := s.empty(ctx, t.name); err != nil {
				return err
			}
			continue
		}
		rows, err := count(ctx, s.pool, t.name)
		if err != nil {
			return err
		}
		if rows > 0 {
			return fmt.Errorf("%w: table %s has %d rows", ErrNotEmpty, t.name, rows)
		}
	}
	if unfinished {
		return nil
	}
	return s.exec(ctx, `CREATE TABLE `+unfinishedTable+` (began_ms BIGINT NOT NULL)`) // the mark: that it is there says all, no index, no rows
}

// empty deletes all rows of a table: TRUNCATE where there is one, since a DELETE
// of millions is one huge transaction there. No index, no rows.
func (s *side) empty(ctx context.Context, name string) error {
	if s.driver == store.MySQL {
		return s.exec(ctx, `TRUNCATE TABLE `+name)
	}
	return s.exec(ctx, `DELETE FROM `+name)
}

// querier is a pool or one connection.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// count reads the whole primary key: one row with the number of rows.
func count(ctx context.Context, q querier, name string) (n int64, err error) {
	err = q.QueryRowContext(ctx, `SELECT COUNT(*) FROM `+name).Scan(&n)
	return n, err
}

// written changes with every transaction of any daemon.
type written struct{ writers, transactions, lastMS int64 }

// written reads the whole of writers, a few rows: one row.
func (s *side) written(ctx context.Context, q querier) (w written, err error) {
	err = q.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(seq), 0), COALESCE(MAX(at_ms), 0) FROM writers`).
		Scan(&w.writers, &w.transactions, &w.lastMS)
	return w, err
}

// copyAll copies and compares, with the mark set.
func copyAll(ctx context.Context, source, target *side, progress func(table string, rows, of int64)) error {
	snapshot, release, err := source.snapshot(ctx)
	if err != nil {
		return source.fail(err)
	}
	defer release()
	before, err := source.written(ctx, snapshot)
	if err != nil {
		return source.fail(err)
	}
	for _, t := range tables {
		sent, err := copyTable(ctx, &t, source, target, snapshot, progress)
		if err != nil {
			return err
		}
		arrived := new(digest)
		if err := t.each(ctx, target.pool, func(row []any) error {
			arrived.add(row)
			if arrived.rows%batchRows == 0 || arrived.rows == sent.rows {
				progress(t.name+", compared", arrived.rows, sent.rows)
			}
			return nil
		}); err != nil {
			return target.fail(fmt.Errorf("comparing table %s: %w", t.name, err))
		}
		if !arrived.same(sent) {
			return fmt.Errorf("%w: table %s, %d rows sent, %d arrived", ErrDiffers, t.name, sent.rows, arrived.rows)
		}
	}
	if after, err := source.written(ctx, source.pool); err != nil {
		return source.fail(err)
	} else if after != before {
		return ErrSourceChanged
	}
	if after, err := target.written(ctx, target.pool); err != nil {
		return target.fail(err)
	} else if after != (written{}) {
		return ErrTargetChanged
	}
	return nil
}

// copyTable copies one table out of the snapshot and returns what it has sent.
func copyTable(ctx context.Context, t *table, source, target *side, snapshot *sql.Conn, progress func(table string, rows, of int64)) (*digest, error) {
	of, err := count(ctx, snapshot, t.name)
	if err != nil {
		return nil, source.fail(err)
	}
	progress(t.name, 0, of)
	sent := new(digest)
	var args []any
	rows, size := 0, 0
	flush := func() error {
		if rows == 0 {
			return nil
		}
		if _, err := target.pool.ExecContext(ctx, t.insert(rows), args...); err != nil {
			return target.fail(fmt.Errorf("table %s, rows %d to %d: %w", t.name, sent.rows-int64(rows)+1, sent.rows, err))
		}
		args, rows, size = args[:0], 0, 0
		progress(t.name, sent.rows, of)
		return nil
	}
	err = t.each(ctx, snapshot, func(row []any) error {
		sent.add(row)
		args = append(args, row...)
		rows, size = rows+1, size+rowBytes(row)
		if rows < batchRows && size < batchBytes {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	return sent, err
}

// each calls fn for every row of the table, by its primary key.
func (t *table) each(ctx context.Context, q querier, fn func(row []any) error) error {
	rows, err := q.QueryContext(ctx, t.selectAll())
	if err != nil {
		return err
	}
	defer rows.Close()
	into, values := t.scanner()
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if err := fn(values()); err != nil {
			return err
		}
	}
	return rows.Err()
}

// snapshot begins a transaction that sees the database as it is now, whatever is
// written later. No rows, no index.
func (s *side) snapshot(ctx context.Context) (conn *sql.Conn, release func(), err error) {
	begin := []string{`BEGIN`} // of SQLite: the first read takes the snapshot
	if s.driver == store.MySQL {
		begin = []string{`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`, `START TRANSACTION WITH CONSISTENT SNAPSHOT`}
	}
	conn, err = s.pool.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	release = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockTimeout)
		defer cancel()
		if _, err := conn.ExecContext(ctx, `ROLLBACK`); err != nil {
			discard(conn)
		}
		_ = conn.Close() // it has only read
	}
	for _, statement := range begin {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			release()
			return nil, nil, err
		}
	}
	return conn, release, nil
}
