package store

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"gameserverd/wire"
)

const everyType = `CREATE TABLE every (
	id BIGINT NOT NULL PRIMARY KEY, i BIGINT, small INT, f DOUBLE, s VARCHAR(100), b VARBINARY(100), big BLOB)`

// everyTypeSQLite declares bytes as SQLite needs it: a VARBINARY there would make numbers of strings of digits.
const everyTypeSQLite = `CREATE TABLE every (
	id BIGINT NOT NULL PRIMARY KEY, i BIGINT, small INT, f DOUBLE, s VARCHAR(100), b BLOB, big BLOB)`

func (r *rig) every(t *testing.T) {
	t.Helper()
	if r.Driver() == SQLite {
		r.must(t, everyTypeSQLite)
	} else {
		r.must(t, everyType)
	}
}

func TestValuesAreTheSameOverDrivers(t *testing.T) {
	rows := [][]any{
		{int64(1), int64(math.MaxInt64), int64(math.MaxInt32), 1.5, "käse ✓", []byte{0, 0xff, '\''}, []byte("blob")},
		{int64(2), int64(math.MinInt64), int64(math.MinInt32), -1e300, "", []byte{}, []byte{}},
		{int64(3), nil, nil, nil, nil, nil, nil},
		{int64(4), int64(0), int64(7), 3.0, "123", []byte("0456"), []byte("789")},
	}
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.every(t)
		for _, row := range rows {
			if got := r.must(t, "INSERT INTO every (id, i, small, f, s, b, big) VALUES (?, ?, ?, ?, ?, ?, ?)", row...); got.RowsAffected != 1 {
				t.Errorf("inserting a row affected %d", got.RowsAffected)
			}
		}
		// Without an argument MySQL answers in text, with one in its binary form.
		texts, err := wait(t, r.FetchAll("SELECT id, i, small, f, s, b, big FROM every ORDER BY id"))
		if err != nil {
			t.Fatal(err)
		}
		binaries, err := wait(t, r.FetchAll("SELECT id, i, small, f, s, b, big FROM every WHERE id > ? ORDER BY id", 0))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range rows {
			for name, got := range map[string]Row{"without arguments": texts[i], "with arguments": binaries[i]} {
				if !reflect.DeepEqual(got.values, want) {
					t.Errorf("%s: got %#v, want %#v", name, got.values, want)
				}
			}
		}
		if got := strings.Join(texts[0].Columns(), " "); got != "id i small f s b big" || texts[0].Len() != 7 {
			t.Errorf("columns: %s", got)
		}
	})
}

func TestExpressionsAreTheSameOverDrivers(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.counter(t, 1, 2, 3)
		r.must(t, "UPDATE counter SET n = k * 10")
		for query, want := range map[string]any{
			"SELECT count(*) FROM counter":                int64(3),
			"SELECT sum(n) FROM counter":                  int64(60),
			"SELECT sum(n) FROM counter WHERE k > 99":     nil,
			"SELECT max(n) FROM counter":                  int64(30),
			"SELECT avg(n) FROM counter":                  20.0,
			"SELECT avg(k * 0.5) FROM counter":            1.0,
			"SELECT 'text'":                               "text",
			"SELECT n > 5 FROM counter WHERE k = 1":       int64(1),
			"SELECT NULL":                                 nil,
			"SELECT coalesce(NULL, 5)":                    int64(5),
			"SELECT 'a' = 'A'":                            int64(0),
			"SELECT -9223372036854775807":                 int64(-math.MaxInt64),
			"SELECT row_number() OVER () FROM counter":    int64(1),
			"SELECT max(CAST(k AS DECIMAL)) FROM counter": int64(3),
		} {
			if got := r.one(t, query); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %#v, want %#v", query, got, want)
			}
		}
	})
}

func TestArgumentsOfManyTypes(t *testing.T) {
	type name string
	type level int16
	var noBytes []byte
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.every(t)
		for i, c := range []struct {
			column    string
			arg, want any
		}{
			{"i", 5, int64(5)}, {"i", uint64(math.MaxInt64), int64(math.MaxInt64)}, {"i", level(3), int64(3)}, {"i", true, int64(1)},
			{"s", name("x"), "x"}, {"f", 2.5, 2.5}, {"b", noBytes, []byte{}}, {"b", "text", []byte("text")},
			{"s", []byte("bytes"), "bytes"}, {"i", nil, nil}, {"i", uint32(math.MaxUint32), int64(math.MaxUint32)},
		} {
			args := []any{i, c.arg}
			r.must(t, "INSERT INTO every (id, "+c.column+") VALUES (?, ?)", args...)
			if got := r.one(t, "SELECT "+c.column+" FROM every WHERE id = ?", i); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%T into %s: got %#v, want %#v", c.arg, c.column, got, c.want)
			}
			if !reflect.DeepEqual(args[1], c.arg) {
				t.Error("the caller's arguments were changed")
			}
		}
	})
}

// secret is a value that no error may have in it.
const secret = "hunter2-'sécret"

func TestWrongArgumentsAreErrorsWithoutValues(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.every(t)
		const insert = "INSERT INTO every (id, s) VALUES (1, ?)"
		for what, args := range map[string][]any{
			"a struct":     {struct{ s string }{secret}},
			"a map":        {map[string]int{secret: 1}},
			"a pointer":    {new(string)},
			"a slice":      {[]string{secret}},
			"not a number": {math.NaN()},
			"infinity":     {math.Inf(1)},
			"a big uint64": {uint64(math.MaxUint64)},
			"too few":      {},
			"too many":     {secret, secret},
		} {
			calls := map[string]func() error{
				"Exec":    func() error { _, err := wait(t, r.Exec(insert, args...)); return err },
				"context": func() error { _, err := r.ExecContext(context.Background(), insert, args...); return err },
				"Tx": func() error {
					_, err := wait(t, r.Transact(func(_ context.Context, tx *Tx) error { _, err := tx.Exec(insert, args...); return err }))
					return err
				},
				"Conn": func() error {
					c := r.conn(t)
					defer c.Close()
					_, err := c.Exec(context.Background(), insert, args...)
					return err
				},
			}
			for name, call := range calls {
				err := call()
				wantOrdinary(t, what+" in "+name, err)
			}
		}
		if n := r.one(t, "SELECT count(*) FROM every"); n != int64(0) {
			t.Errorf("%d rows were stored", n)
		}
		wantUp(t, r)
	})
}

// wantOrdinary checks that err is the kind that is logged as a bug, and has no argument in it.
func wantOrdinary(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	wantCode(t, what, err, wire.Internal)
	if IsLost(err) || IsRetryable(err) {
		t.Errorf("%s: lost: %v, retryable: %v: %v", what, IsLost(err), IsRetryable(err), err)
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "cret") {
		t.Errorf("%s: the error has an argument in it: %v", what, err)
	}
}

func wantUp(t *testing.T, r *rig) {
	t.Helper()
	if up, why, _ := r.health.State(); !up || r.logs.Len() > 0 {
		t.Errorf("up: %v (%s), log: %v", up, why, lines(r.logs))
	}
}

func TestWhatTheDatabaseRefusesIsAnErrorWithoutValues(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.every(t)
		r.must(t, "CREATE TABLE named (name VARCHAR(50) NOT NULL PRIMARY KEY, n BIGINT NOT NULL)")
		r.must(t, "INSERT INTO named (name, n) VALUES (?, 1)", secret)
		for query, args := range map[string][]any{
			"INSERT INTO named (name, n) VALUES (?, 2)":    {secret},
			"INSERT INTO named (name, n) VALUES (?, NULL)": {secret + "2"},
			"INSERT INTO nosuchtable VALUES (?)":           {secret},
			"INSERT INTO named (nosuchcolumn) VALUES (?)":  {secret},
			"INSERT INTO named SELEC ?":                    {secret},
		} {
			_, err := wait(t, r.Exec(query, args...))
			wantOrdinary(t, query, err)
			if duplicate := strings.Contains(query, "2)"); IsDuplicate(err) != duplicate {
				t.Errorf("%s: duplicate: %v: %v", query, !duplicate, err)
			}
			if !strings.Contains(err.Error(), query) {
				t.Errorf("the error does not say which statement: %v", err)
			}
		}
		if r.Driver() == MySQL { // SQLite keeps what it gets
			for query, args := range map[string][]any{
				"INSERT INTO named (name, n) VALUES ('a', ?)": {secret},
				"UPDATE named SET n = ?":                      {secret},
				"INSERT INTO named (name, n) VALUES (?, 3)":   {strings.Repeat(secret, 10)},
				"INSERT INTO named (name, n) VALUES (?, 4)":   {secret + "\xff"},
			} {
				_, err := wait(t, r.Exec(query, args...))
				wantOrdinary(t, query, err)
			}
		}
		wantUp(t, r)
	})
}

func TestHostileStringsAreValues(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.every(t)
		for i, s := range []string{
			`'; DROP TABLE every; --`, `" OR 1=1 --`, `\'; DROP TABLE every; #`, `?`, `%s%d`, "a\x00b", "\\", `'`, `''`, "`", "/*", "*/", "-- \n",
			"\x1a", "\r\n", "😀", " ",
			"a ", "A", "a", "NULL", "0x41", "{{.}}", strings.Repeat("'", 100),
		} {
			r.must(t, "INSERT INTO every (id, s, b) VALUES (?, ?, ?)", i, s, []byte(s))
			if got := r.one(t, "SELECT s FROM every WHERE id = ?", i); got != s {
				t.Errorf("got %q, want %q", got, s)
			}
			row, err := wait(t, r.FetchOne("SELECT count(*), max(b) FROM every WHERE b = ? AND id = ?", []byte(s), i))
			var n int
			var b string
			if err == nil {
				err = row.Scan(&n, &b)
			}
			if err != nil || n != 1 || b != s {
				t.Errorf("%q: %d rows, %q: %v", s, n, b, err)
			}
		}
		if n := r.one(t, "SELECT count(*) FROM every"); n != int64(24) {
			t.Errorf("%d rows", n)
		}
	})
}

func TestScan(t *testing.T) {
	row := Row{[]string{"n", "f", "s", "b", "null"}, []any{int64(-1), 2.5, "text", []byte("bytes"), nil}}
	var (
		i64  int64
		i    int
		u64  uint64
		f    float64
		s    string
		b    []byte
		flag bool
		v    any
	)
	ignore := func() *any { return new(any) }
	for _, c := range []struct {
		dst  []any
		want string // "" for success
	}{
		{[]any{&i64, &f, &s, &b, &v}, ""},
		{[]any{&i, &v, &b, &s, &b}, ""},
		{[]any{&f, &f, ignore(), ignore(), ignore()}, ""},
		{[]any{&u64, &f, &s, &b, &v}, "column n: a negative integer does not go into *uint64"},
		{[]any{&flag, &f, &s, &b, &v}, "column n: an integer beside 0 and 1 does not go into *bool"},
		{[]any{&s, &f, &s, &b, &v}, "column n: an integer does not go into *string"},
		{[]any{&v, &i64, &s, &b, &v}, "column f: a float does not go into *int64"},
		{[]any{&v, &f, &i64, &b, &v}, "column s: a string does not go into *int64"},
		{[]any{&v, &f, &f, &b, &v}, "column s: a string does not go into *float64"},
		{[]any{&v, &f, &s, &flag, &v}, "column b: bytes does not go into *bool"},
		{[]any{&v, &f, &s, &b, &s}, "column null: NULL does not go into *string"},
		{[]any{&v, &f, &s, &b, &i64}, "column null: NULL does not go into *int64"},
		{[]any{new(int8), &f, &s, &b, &v}, "column n: Scan does not know *int8"},
		{[]any{nil, &f, &s, &b, &v}, "column n: Scan does not know <nil>"},
		{[]any{&v}, "Scan of 5 columns into 1 variables"},
	} {
		got := ""
		if err := row.Scan(c.dst...); err != nil {
			got = strings.TrimPrefix(err.Error(), "store: ")
		}
		if got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if err := row.Scan(&i64, &f, &s, &b, &v); err != nil || i64 != -1 || f != 2.5 || s != "text" || string(b) != "bytes" || v != nil {
		t.Errorf("%v %v %v %s %v: %v", i64, f, s, b, v, err)
	}
	if err := (Row{[]string{"a", "b"}, []any{int64(1), int64(7)}}).Scan(&flag, &u64); err != nil || !flag || u64 != 7 {
		t.Errorf("%v %v: %v", flag, u64, err)
	}
	if err := (Row{}).Scan(); err == nil || !(Row{}).None() || row.None() {
		t.Error("the zero Row is no row")
	}
}

func TestOneRowAllRowsNoRows(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.counter(t, 1, 2, 3)
		row, err := wait(t, r.FetchOne("SELECT n FROM counter WHERE k = ?", 99))
		if err != nil || !row.None() {
			t.Errorf("no row: %v, %v", row, err)
		}
		if got := r.one(t, "SELECT k FROM counter ORDER BY k"); got != int64(1) {
			t.Errorf("the first of three: %v", got)
		}
		rows, err := wait(t, r.FetchAll("SELECT n FROM counter WHERE k = ?", 99))
		if err != nil || len(rows) != 0 {
			t.Errorf("no rows: %v, %v", rows, err)
		}
		if got := r.must(t, "UPDATE counter SET n = 0"); got.RowsAffected != 3 {
			t.Errorf("%d rows were found by an UPDATE that changes nothing, want 3", got.RowsAffected)
		}
	})
}

// big makes 400 rows of one number, which joined with themselves are 160,000 rows.
func (r *rig) big(t testing.TB) {
	t.Helper()
	r.must(t, "CREATE TABLE big (k BIGINT NOT NULL PRIMARY KEY, b MEDIUMBLOB)")
	values := strings.TrimSuffix(strings.Repeat("(?, NULL), ", 400), ", ")
	args := make([]any, 400)
	for i := range args {
		args[i] = i
	}
	r.must(t, "INSERT INTO big (k, b) VALUES "+values, args...)
}

const manyRows = "SELECT x.k FROM big x, big y LIMIT %d" // so many rows; reads both tables in full

func TestFetchAllIsBounded(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.big(t)
		_, err := wait(t, r.FetchAll(fmt.Sprintf(manyRows, MaxRows+1)))
		wantOrdinary(t, "too many rows", err)
		ctx := within(t, deadline)
		three := func(ctx context.Context) (*sql.Rows, error) {
			return r.readDB.QueryContext(ctx, fmt.Sprintf(manyRows, 3))
		}
		if rows, err := collect(ctx, 3, three); err != nil || len(rows) != 3 {
			t.Errorf("three rows of three: %v, %v", rows, err)
		}
		if rows, err := collect(ctx, 2, three); err != errTooMuch {
			t.Errorf("three rows of two: %v, %v", rows, err)
		}
		if rows, err := collect(ctx, 1, three); err != nil || len(rows) != 1 {
			t.Errorf("the first row: %v, %v", rows, err)
		}

		r.must(t, "UPDATE big SET b = ? WHERE k = 0", make([]byte, 4<<20))
		const wide = "SELECT y.b FROM big x, big y WHERE y.k = 0 LIMIT %d"
		_, err = wait(t, r.FetchAll(fmt.Sprintf(wide, maxRowBytes>>22+1)))
		wantOrdinary(t, "too many bytes", err)

		c := r.conn(t)
		_, err = c.FetchAll(ctx, fmt.Sprintf(wide, maxRowBytes>>22+1))
		wantOrdinary(t, "too many bytes of a Conn", err)
		if _, err := c.FetchAll(ctx, "SELECT 1"); !IsLost(err) {
			t.Errorf("the connection goes on with rows in it: %v", err)
		}
		r.one(t, "SELECT count(*) FROM big")
		wantUp(t, r)
	})
}

func TestEachHasNoBound(t *testing.T) {
	eachStore(t, nil, func(t *testing.T, r *rig) {
		r.big(t)
		n := 0
		err := r.Each(within(t, deadline), fmt.Sprintf(manyRows, MaxRows+400), nil, func(row Row) error {
			var k int64
			n++
			err := row.Scan(&k)
			if k < 0 || k > 399 {
				t.Errorf("row %d: %d", n, k)
			}
			return err
		})
		if err != nil || n != MaxRows+400 {
			t.Errorf("%d rows, %v", n, err)
		}
		enough := fmt.Errorf("enough")
		n = 0
		limit := within(t, deadline)
		const endless = "SELECT w.k FROM big w, big x, big y, big z WHERE w.k >= ?" // 25,600,000,000 rows
		err = r.Each(limit, endless, []any{0}, func(Row) error {
			n++
			if n == 10 {
				return enough
			}
			return nil
		})
		if err != enough || n != 10 || limit.Err() != nil {
			t.Errorf("%d rows, %v; the rest was read too: %v", n, err, limit.Err())
		}
		ctx, cancel := context.WithCancel(context.Background())
		n = 0
		err = r.Each(ctx, fmt.Sprintf(manyRows, MaxRows), nil, func(Row) error { n++; cancel(); return nil })
		wantCode(t, "cancelled", err, wire.Canceled)
		if n > MaxRows/2 {
			t.Errorf("%d rows after the context had ended", n)
		}
		r.one(t, "SELECT count(*) FROM big")
		wantUp(t, r)
	})
}
