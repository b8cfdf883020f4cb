package schema

import (
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"strings"
)

// table is what Copy must know of one. A test compares them with what the
// migrations make.
type table struct {
	name    string
	columns []column // in the order of the migration
	key     []string // primary key
}

type column struct {
	name string
	kind kind
}

type kind uint8

const (
	bigint kind = iota // BIGINT
	text               // VARCHAR, VARBINARY with text in it; TEXT for SQLite
	blob               // BLOB
)

// tables are all that hold what must not be lost. Not here: writers, which says
// what running processes have committed, and goose's.
var tables = []table{
	{"players", []column{{"uid", bigint}, {"name", text}, {"level", bigint}, {"gold", bigint}, {"items", blob},
		{"created_ms", bigint}, {"seen_ms", bigint}, {"version", bigint}}, []string{"uid"}},
	{"names", []column{{"name_key", text}, {"uid", bigint}}, []string{"name_key"}},
	{"saves", []column{{"uid", bigint}, {"save_key", text}, {"value", blob}, {"version", bigint}, {"updated_ms", bigint}}, []string{"uid", "save_key"}},
	{"mail", []column{{"uid", bigint}, {"id", bigint}, {"source", text}, {"title", text}, {"gold", bigint}, {"items", blob},
		{"sent_ms", bigint}, {"expires_ms", bigint}}, []string{"uid", "id"}},
	{"claims", []column{{"uid", bigint}, {"id", bigint}, {"claimed_ms", bigint}}, []string{"uid", "id"}},
	{"ranks", []column{{"uid", bigint}, {"board", text}, {"score", bigint}, {"came", bigint}}, []string{"uid", "board"}},
	{"tasks", []column{{"id", bigint}, {"name", text}, {"queue", text}, {"args", blob}, {"state", bigint}, {"run_ms", bigint}, {"look_ms", bigint},
		{"claim", bigint}, {"attempts", bigint}, {"failures", bigint}, {"revoked", bigint}, {"retries", bigint}, {"backoff_ms", bigint},
		{"timeout_ms", bigint}, {"retain_ms", bigint}, {"created_ms", bigint}, {"ended_ms", bigint}, {"result", blob}, {"problem", blob}}, []string{"id"}},
	{"tasks_keys", []column{{"unique_key", text}, {"id", bigint}, {"until_ms", bigint}}, []string{"unique_key"}},
	{"tasks_ticks", []column{{"schedule", text}, {"tick_ms", bigint}, {"id", bigint}}, []string{"schedule", "tick_ms"}},
}

func (t *table) columnNames() string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}

// selectAll gives every row with all columns, by the primary key: an order in
// which rows are quickly inserted.
func (t *table) selectAll() string {
	return "SELECT " + t.columnNames() + " FROM " + t.name + " ORDER BY " + strings.Join(t.key, ", ")
}

// insert adds n rows of all columns; no index is read, a row that is there
// already is an error.
func (t *table) insert(n int) string {
	row := "(?" + strings.Repeat(", ?", len(t.columns)-1) + ")"
	return "INSERT INTO " + t.name + " (" + t.columnNames() + ") VALUES " + row + strings.Repeat(", "+row, n-1)
}

// scanner returns where to scan a row to, and what has been scanned as
// arguments of insert: int64, string or []byte, which share nothing with into.
func (t *table) scanner() (into []any, values func() []any) {
	into = make([]any, len(t.columns))
	for i, c := range t.columns {
		switch c.kind {
		case bigint:
			into[i] = new(int64)
		case text:
			into[i] = new(string)
		case blob:
			into[i] = new(sql.RawBytes)
		}
	}
	return into, func() []any {
		out := make([]any, len(into))
		for i, v := range into {
			switch v := v.(type) {
			case *int64:
				out[i] = *v
			case *string:
				out[i] = *v
			case *sql.RawBytes:
				out[i] = append([]byte{}, *v...) // an empty value is not NULL
			}
		}
		return out
	}
}

// digest tells whether two tables have the same rows, in whatever order: it
// sums a hash of each.
type digest struct {
	rows       int64
	high, low  uint64
	rowScratch []byte
}

func (d *digest) add(row []any) {
	b := d.rowScratch[:0]
	for _, v := range row {
		switch v := v.(type) {
		case int64:
			b = binary.BigEndian.AppendUint64(b, uint64(v))
		case string:
			b = append(binary.BigEndian.AppendUint64(b, uint64(len(v))), v...)
		case []byte:
			b = append(binary.BigEndian.AppendUint64(b, uint64(len(v))), v...)
		}
	}
	sum := sha256.Sum256(b)
	d.rows++
	d.high += binary.BigEndian.Uint64(sum[:8])
	d.low += binary.BigEndian.Uint64(sum[8:16])
	d.rowScratch = b
}

func (d *digest) same(other *digest) bool {
	return d.rows == other.rows && d.high == other.high && d.low == other.low
}

// rowBytes is about what a row takes in a statement.
func rowBytes(row []any) (n int) {
	for _, v := range row {
		switch v := v.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		}
		n += 8
	}
	return n
}
