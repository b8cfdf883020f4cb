package commit

import (
	"fmt"
	"slices"
)

// Table is a table whose rows are written whole. Its name and columns become the text of statements, so they are constants of the
// program and never input.
type Table struct {
	// immutable after NewTable
	name    string
	key     []string
	columns []string // beside the key
	all     []string // key, then columns
	over    string   // the column of Expiring; "": rows stay
}

// NewTable describes a table: its primary key and the columns beside it, each in the order in which Row.Values has them. Every column
// that has no default must be there. The key must compare exactly, byte for byte (VARBINARY, or a binary collation), and be given in
// the same type each time. In a table with a second unique key, an Upsert must not change the columns of that key: MySQL would find
// the other row by it and write that. It is called while a package is initialised, and panics on what is not a plain identifier
// or is there twice. Any goroutine.
func NewTable(name string, key []string, columns ...string) *Table {
	t := &Table{name: name, key: slices.Clone(key), columns: slices.Clone(columns)}
	t.all = slices.Concat(t.key, t.columns)
	if len(key) == 0 {
		panic(fmt.Sprintf("commit: table %q has no key", name))
	}
	if len(t.all) > maxColumns {
		panic(fmt.Sprintf("commit: table %q has %d columns, %d are possible", name, len(t.all), maxColumns))
	}
	for i, id := range append([]string{name}, t.all...) {
		if !identifier(id) || i > 0 && slices.Contains(t.all[:i-1], id) {
			panic(fmt.Sprintf("commit: table %q: %q is not an identifier of a-z, 0-9 and _, or is there twice", name, id))
		}
	}
	return t
}

// Expiring says that a row is as good as gone when the named column, an integer, is at most the Now of an Insert of the same key: the
// Insert takes its place. It returns t. It is called while a package is initialised, and panics if there is no such column.
func (t *Table) Expiring(column string) *Table {
	if !slices.Contains(t.columns, column) {
		panic(fmt.Sprintf("commit: table %q has no column %q", t.name, column))
	}
	t.over = column
	return t
}

// Name returns the table's name. Any goroutine.
func (t *Table) Name() string { return t.name }

// maxColumns keeps a row within what one prepared statement of MySQL may have, by far.
const maxColumns = 100

func identifier(s string) bool {
	for i, r := range s {
		if (r < 'a' || r > 'z') && r != '_' && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// Op is what is done with a row.
type Op uint8

// The operations.
const (
	Upsert Op = iota // the row is as given afterwards, whether it was there or not
	Insert           // the row was not there: else, or if another unique key has it, the change fails with ErrDuplicate
	Delete           // the row is not there afterwards, whether it was there or not
)

// Row is one row to be written. Values of an Upsert or Insert are the key, then the other columns, in the Table's order; of a Delete
// the key. They are int64, string or []byte (nil is the same as empty), and belong to the Group from Submit until Done.
type Row struct {
	Op     Op
	Table  *Table
	Values []any
	Now    int64 // of an Insert into a table that is Expiring; 0: every row that is there is in the way
}

// replaces tells whether the row may take the place of one that is over.
func (r *Row) replaces() bool { return r.Op == Insert && r.Now != 0 && r.Table.over != "" }

// check tells what is wrong with a row, or its size.
func (r *Row) check() (size int, err error) {
	switch {
	case r.Table == nil:
		return 0, fmt.Errorf("commit: a row without a table")
	case r.Op > Delete:
		return 0, fmt.Errorf("commit: table %s: operation %d", r.Table.name, r.Op)
	}
	want := len(r.Table.all)
	if r.Op == Delete {
		want = len(r.Table.key)
	}
	if len(r.Values) != want {
		return 0, fmt.Errorf("commit: table %s: %d values for %d columns", r.Table.name, len(r.Values), want)
	}
	for i, v := range r.Values {
		switch v.(type) {
		case int64, string, []byte:
		default:
			return 0, fmt.Errorf("commit: table %s, column %s: a %T, not an int64, string or []byte", r.Table.name, r.Table.all[i], v)
		}
	}
	return r.size(), nil
}

// size is the bytes of memory that the row takes; a packet has fewer.
func (r *Row) size() int {
	size := rowOverhead + valueOverhead*len(r.Values)
	for _, v := range r.Values {
		switch v := v.(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		}
	}
	return size
}

// What a row and a value take beside their bytes: a slice header with its Row, an interface with what it points to.
const (
	rowOverhead   = 56
	valueOverhead = 24
)
