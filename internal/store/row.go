package store

import (
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// MaxRows is how many rows FetchAll returns at most. More are an error: such a query wants a LIMIT, or Each.
const MaxRows = 100_000

// maxRowBytes bounds the strings and bytes of all rows of one FetchAll.
const maxRowBytes = 64 << 20

// Row is one row of a result. Its values are the same over all drivers: int64, float64, string, []byte or nil. What a column holds
// decides by its declared type: a VARCHAR is a string, a VARBINARY or BLOB bytes, whichever the driver makes of it; a DECIMAL, which
// MySQL makes of SUM, is an int64 if it is whole and a float64 if not. The zero Row is no row. It may be copied and shared.
type Row struct {
	// immutable
	names  []string // shared by all rows of a result
	values []any
}

// None tells whether there was no row. Any goroutine.
func (r Row) None() bool { return r.names == nil }

// Len is the number of columns. Any goroutine.
func (r Row) Len() int { return len(r.values) }

// Columns are the names of the columns, in order. They belong to the result: do not change them. Any goroutine.
func (r Row) Columns() []string { return r.names }

// Scan copies the columns to dst, in order, one for each column. A dst is a pointer: *int64, *int, *uint64 and *bool take an integer
// that fits (a bool: 0 or 1), *float64 any number, *string and *[]byte take strings and bytes alike, *any takes everything and is the
// only one beside *[]byte to take NULL, as nil. The bytes are the row's own: do not change them. Any goroutine.
func (r Row) Scan(dst ...any) error {
	if r.None() {
		return fmt.Errorf("store: Scan of no row")
	}
	if len(dst) != len(r.values) {
		return fmt.Errorf("store: Scan of %d columns into %d variables", len(r.values), len(dst))
	}
	for i, to := range dst {
		if problem := assign(to, r.values[i]); problem != "" {
			return fmt.Errorf("store: column %s: %s", r.names[i], problem)
		}
	}
	return nil
}

// assign stores v in *to. It returns what is wrong, without the value.
func assign(to, v any) (problem string) {
	switch to := to.(type) {
	case *any:
		*to = v
		return ""
	case *[]byte:
		switch v := v.(type) {
		case nil:
			*to = nil
			return ""
		case []byte:
			*to = v
			return ""
		case string:
			*to = []byte(v)
			return ""
		}
	case *string:
		switch v := v.(type) {
		case string:
			*to = v
			return ""
		case []byte:
			*to = string(v)
			return ""
		}
	case *float64:
		switch v := v.(type) {
		case float64:
			*to = v
			return ""
		case int64:
			*to = float64(v)
			return ""
		}
	default:
		if n, ok := v.(int64); ok {
			return assignInt(to, n)
		}
	}
	return fmt.Sprintf("%s does not go into %T", kindOf(v), to)
}

func assignInt(to any, n int64) (problem string) {
	switch to := to.(type) {
	case *int64:
		*to = n
	case *int:
		*to = int(n)
	case *uint64:
		if n < 0 {
			return "a negative integer does not go into *uint64"
		}
		*to = uint64(n)
	case *bool:
		if n != 0 && n != 1 {
			return "an integer beside 0 and 1 does not go into *bool"
		}
		*to = n == 1
	default:
		return fmt.Sprintf("Scan does not know %T", to)
	}
	return ""
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "NULL"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case string:
		return "a string"
	default:
		return "bytes"
	}
}

// rowReader makes Rows of what a driver returns.
type rowReader struct {
	rows  *sql.Rows
	names []string
	cells []cell
	dst   []any // pointers to cells
}

// cell takes one value from database/sql. As a Scanner it gets the driver's own bytes and copies them once.
type cell struct {
	class class
	v     any
	bytes int
}

// class is what a column's declared type says of its values.
type class uint8

const (
	asIs    class = iota // an expression, or a number
	text                 // of characters
	bytes                // of bytes
	decimal              // a number in digits
)

func newRowReader(rows *sql.Rows) (*rowReader, error) {
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	r := &rowReader{rows: rows, names: make([]string, len(types)), cells: make([]cell, len(types)), dst: make([]any, len(types))}
	for i, t := range types {
		r.names[i] = t.Name()
		r.cells[i].class = classOf(t.DatabaseTypeName())
		r.dst[i] = &r.cells[i]
	}
	return r, nil
}

// classOf reads the names that drivers give to types, which in SQLite's case is what CREATE TABLE says.
func classOf(name string) class {
	has := func(words ...string) bool {
		for _, word := range words {
			if strings.Contains(name, word) {
				return true
			}
		}
		return false
	}
	switch {
	case has("CHAR", "TEXT", "CLOB", "ENUM", "SET", "JSON", "DATE", "TIME"):
		return text
	case has("BLOB", "BINARY"):
		return bytes
	case has("DEC", "NUMERIC", "UNSIGNED"):
		return decimal
	default:
		return asIs
	}
}

// next returns the next row, and how many bytes its strings and bytes are; the zero Row after the last.
func (r *rowReader) next() (row Row, size int, err error) {
	if !r.rows.Next() {
		return Row{}, 0, r.rows.Err()
	}
	if err := r.rows.Scan(r.dst...); err != nil {
		return Row{}, 0, err
	}
	row = Row{r.names, make([]any, len(r.cells))}
	for i := range r.cells {
		c := &r.cells[i]
		row.values[i] = c.v
		size += c.bytes
	}
	return row, size, nil
}

// Scan implements sql.Scanner: it makes of the driver's value one of those that a Row has. src is the driver's own.
func (c *cell) Scan(src any) error {
	c.bytes = 0
	switch v := src.(type) {
	case nil, int64, float64:
		c.v = v
	case float32:
		c.v = float64(v)
	case uint64:
		c.v = int64(v)
		if v > math.MaxInt64 {
			c.v = float64(v) // as SQLite keeps it
		}
	case bool:
		c.v = int64(0)
		if v {
			c.v = int64(1)
		}
	case string:
		c.bytes = len(v)
		if c.class == bytes {
			c.v = []byte(v)
		} else {
			c.v = v
		}
	case []byte:
		c.bytes = len(v)
		return c.scanBytes(v)
	case time.Time: // SQLite, of a column that is declared as one
		c.v = v.UTC().Format("2006-01-02 15:04:05.999999")
	default:
		return fmt.Errorf("the driver returned a %T", src)
	}
	return nil
}

func (c *cell) scanBytes(v []byte) error {
	switch c.class {
	case text:
		c.v = string(v)
	case decimal:
		s := string(v)
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			c.v = n
			return nil
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("a number of %d digits cannot be read", len(s))
		}
		c.v = f
	default:
		c.v = append(make([]byte, 0, len(v)), v...)
	}
	return nil
}
