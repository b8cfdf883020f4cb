package commit

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"gameserverd/internal/store"
)

// The statements around one change that may have to be undone by itself. Purpose: as they say. Index: none. They return nothing.
var (
	savepoint  = &statement{"SAVEPOINT one_change"}
	release    = &statement{"RELEASE SAVEPOINT one_change"}
	rollbackTo = &statement{"ROLLBACK TO SAVEPOINT one_change"}
)

// write writes the changes that have no error yet. An error of the store's ends the whole transaction, but with oneByOne a change
// with a row to insert that is there gets its ErrDuplicate, and the others go on.
func (r *runner) write(ctx context.Context, claimed []*Change, oneByOne bool) error {
	var w work
	for _, c := range claimed {
		switch {
		case c.outcome.Err != nil:
		case oneByOne && c.inserts():
			if err := r.writeAlone(ctx, c); err != nil {
				return err
			}
		default:
			w.add(c)
		}
	}
	return r.writeAll(ctx, &w)
}

func (c *Change) inserts() bool {
	for i := range c.Rows {
		if c.Rows[i].Op == Insert {
			return true
		}
	}
	return false
}

// replaces tells whether a row of c may take the place of one that is over.
func (c *Change) replaces() bool {
	for i := range c.Rows {
		if c.Rows[i].replaces() {
			return true
		}
	}
	return false
}

// writeAlone writes one change so that it can be undone. What is over is looked for only when something was in the way: seldom.
func (r *runner) writeAlone(ctx context.Context, c *Change) error {
	if err := r.session.Exec(ctx, savepoint); err != nil {
		return err
	}
	err := r.writeOne(ctx, c)
	if store.IsDuplicate(err) && c.replaces() {
		if err := r.session.Exec(ctx, rollbackTo); err != nil {
			return err
		}
		if err := r.deleteOver(ctx, c); err != nil {
			return err
		}
		err = r.writeOne(ctx, c)
	}
	if store.IsDuplicate(err) {
		// The row that is there may be one of this transaction, so this is known only when it commits, as a success is.
		c.outcome = Outcome{Err: err}
		return r.session.Exec(ctx, rollbackTo)
	}
	if err != nil {
		return err
	}
	return r.session.Exec(ctx, release)
}

func (r *runner) writeOne(ctx context.Context, c *Change) error {
	var w work
	w.add(c)
	return r.writeAll(ctx, &w)
}

// deleteOver removes what the rows of c may take the place of.
func (r *runner) deleteOver(ctx context.Context, c *Change) error {
	for i := range c.Rows {
		row := &c.Rows[i]
		if !row.replaces() {
			continue
		}
		r.args = append(append(r.args[:0], row.Values[:len(row.Table.key)]...), row.Now)
		if err := r.session.Exec(ctx, r.dialect.statement(overRows, row.Table, 1), r.args...); err != nil {
			return err
		}
	}
	return nil
}

// work is what changes write, by statement.
type work struct {
	takes []*Change
	rows  [3][]rowset // by Op
}

// rowset is the rows of one table.
type rowset struct {
	table *Table
	rows  []*Row
}

func (w *work) add(c *Change) {
	if c.Fence == Take && !c.outcome.Missing {
		w.takes = append(w.takes, c)
	}
	for i := range c.Rows {
		row := &c.Rows[i]
		sets := &w.rows[row.Op]
		at := 0
		for at < len(*sets) && (*sets)[at].table != row.Table {
			at++
		}
		if at == len(*sets) {
			*sets = append(*sets, rowset{table: row.Table})
		}
		(*sets)[at].rows = append((*sets)[at].rows, row)
	}
}

// writeAll writes deletes before inserts, so that a change may give up a unique key in one row and use it in another. Otherwise the order
// says nothing: no key is there twice.
func (r *runner) writeAll(ctx context.Context, w *work) error {
	if err := r.writeTakes(ctx, w.takes); err != nil {
		return err
	}
	for _, op := range [...]struct {
		Op
		kind
	}{{Delete, deleteRows}, {Insert, insertRows}, {Upsert, upsertRows}} {
		for _, set := range w.rows[op.Op] {
			if err := r.writeRows(ctx, op.kind, set); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeRows writes the rows of one table, many with a statement, in the order of their keys: neighbours are on one page, and two
// processes that write the same rows lock them in the same order.
func (r *runner) writeRows(ctx context.Context, k kind, set rowset) error {
	slices.SortFunc(set.rows, compareKeys)
	most := r.dialect.most(k)
	for rows := set.rows; len(rows) > 0; {
		n := r.dialect.down(min(r.fit(rows), most))
		args := r.args[:0]
		for _, row := range rows[:n] {
			args = append(args, row.Values...)
		}
		r.args = args
		if err := r.session.Exec(ctx, r.dialect.statement(k, set.table, n), args...); err != nil {
			if store.IsDuplicate(err) {
				err = &duplicateError{set.table, err}
			}
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// compareKeys orders rows of one table by their keys.
func compareKeys(a, b *Row) int {
	for i := range a.Table.key {
		if order := compareValues(a.Values[i], b.Values[i]); order != 0 {
			return order
		}
	}
	return 0
}

// compareValues orders two values of one column; a string and the same bytes are equal, as they are in the store.
func compareValues(a, b any) int {
	if a, is := a.(int64); is {
		b, _ := b.(int64)
		return cmp.Compare(a, b)
	}
	return strings.Compare(text(a), text(b))
}

// text is a string or bytes as a string; of anything else it is empty.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

// fit is how many of the rows, at least one, one statement may have: by its bytes, since a server refuses a larger packet and closes the
// connection, and by its placeholders.
func (r *runner) fit(rows []*Row) int {
	bytes, values := 0, 0
	for i, row := range rows {
		bytes += row.size()
		values += len(row.Values)
		if i > 0 && (bytes > r.g.o.BatchBytes || values > maxPlaceholders) {
			return i
		}
	}
	return len(rows)
}

// writeTakes raises the versions of the players that are taken over.
func (r *runner) writeTakes(ctx context.Context, takes []*Change) error {
	most := r.dialect.most(takeRows)
	for len(takes) > 0 {
		n := min(len(takes), most)
		size := r.dialect.up(n)
		if err := r.session.Exec(ctx, r.dialect.statement(takeRows, nil, size), r.takeArgs(takes[:n], size)...); err != nil {
			return err
		}
		takes = takes[n:]
	}
	return nil
}

// takeArgs fills a statement of the given size; the last change is there again where there are too few.
func (r *runner) takeArgs(takes []*Change, size int) []any {
	args := r.args[:0]
	at := func(i int) *Change { return takes[min(i, len(takes)-1)] }
	if size == 1 {
		args = append(args, takes[0].Seen, int64(takes[0].UID))
	} else {
		for i := range size {
			args = append(args, int64(at(i).UID), at(i).Seen)
		}
		for i := range size {
			args = append(args, int64(at(i).UID))
		}
	}
	r.args = args
	return args
}
