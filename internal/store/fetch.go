package store

import (
	"context"
	"database/sql"
	"errors"
)

var errTooMuch = errors.New("the result is too big")

// stream calls fn with each row of what run returns. An error of fn ends it without the rest, which costs the connection.
func stream(ctx context.Context, run func(ctx context.Context) (*sql.Rows, error), fn func(row Row, size int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := run(ctx)
	if err != nil {
		return err
	}
	defer rows.Close()
	reader, err := newRowReader(rows)
	if err != nil {
		return err
	}
	for {
		row, size, err := reader.next()
		if err != nil || row.None() {
			return err
		}
		if err := fn(row, size); err != nil {
			cancel() // or Close would read to the end
			return err
		}
	}
}

// collect returns the rows of what run returns. With a limit of 1 it leaves out those after the first; otherwise more than limit, or
// more than maxRowBytes, are errTooMuch.
func collect(ctx context.Context, limit int, run func(ctx context.Context) (*sql.Rows, error)) ([]Row, error) {
	var all []Row
	bytes := 0
	err := stream(ctx, run, func(row Row, size int) error {
		if len(all) == limit {
			if limit == 1 {
				return nil
			}
			return errTooMuch
		}
		if bytes += size; bytes > maxRowBytes {
			return errTooMuch
		}
		all = append(all, row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func firstOf(rows []Row) Row {
	if len(rows) == 0 {
		return Row{}
	}
	return rows[0]
}
