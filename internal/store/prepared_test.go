package store

import (
	"fmt"
	"strings"
	"testing"
)

// TestQueriesOutliveTheirTables: a query that the connections have prepared goes on when the table changes.
func TestQueriesOutliveTheirTables(t *testing.T) {
	const query, insert = "SELECT * FROM counter WHERE k = ?", "INSERT INTO counter (k, n) VALUES (?, 7)"
	eachStore(t, func(o *SQLOptions) { o.MaxOpen = 2 }, func(t *testing.T, r *rig) {
		want := func(columns string) {
			t.Helper()
			for range 5 {
				row, err := wait(t, r.FetchOne(query, 1))
				if got := strings.Join(row.Columns(), " "); err != nil || got != columns {
					t.Errorf("got %s, %v, want %s", got, err, columns)
				}
			}
		}
		if _, err := wait(t, r.FetchOne(query, 1)); err == nil {
			t.Error("there is no table")
		}
		r.counter(t)
		r.must(t, insert, 1)
		want("k n")
		r.must(t, "ALTER TABLE counter ADD COLUMN extra VARCHAR(10)")
		want("k n extra")
		r.must(t, insert, 2)
		r.must(t, "DROP TABLE counter")
		if _, err := wait(t, r.Exec(insert, 1)); err == nil || IsLost(err) {
			t.Errorf("there is no table: %v", err)
		}
		r.counter(t)
		r.must(t, insert, 1)
		want("k n")
	})
}

func TestPreparedQueriesAreBounded(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.counter(t, 1)
		long := "SELECT n FROM counter WHERE k IN (?" + strings.Repeat(", 0", maxPreparedBytes/3) + ")"
		for i := range maxPrepared + 20 {
			query := fmt.Sprintf("SELECT n FROM counter WHERE k = ? AND n <> %d", i+1)
			if i == 0 {
				query = long
			}
			if got := r.one(t, query, 1); got != int64(0) {
				t.Fatalf("query %d: %v", i, got)
			}
		}
		if n := len(r.reads.byText); n != maxPrepared || r.reads.byText[long] != nil {
			t.Errorf("%d are kept", n)
		}
	})
}
