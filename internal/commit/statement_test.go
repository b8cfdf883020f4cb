package commit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gameserverd/internal/store"
)

func TestStatementTexts(t *testing.T) {
	wide := NewTable("saves", []string{"uid", "save_key"}, "value", "version")
	thin := NewTable("flags", []string{"name"})
	type of struct {
		k     kind
		table *Table
		rows  int
	}
	for _, c := range []struct {
		of
		sqlite, mysql string
	}{
		{of{upsertRows, wide, 1},
			"INSERT INTO saves (uid, save_key, value, version) VALUES (?, ?, ?, ?) ON CONFLICT (uid, save_key) DO UPDATE SET value = excluded.value, version = excluded.version",
			"INSERT INTO saves (uid, save_key, value, version) VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE value = VALUES(value), version = VALUES(version)"},
		{of{upsertRows, thin, 2},
			"INSERT INTO flags (name) VALUES (?), (?) ON CONFLICT (name) DO NOTHING",
			"INSERT INTO flags (name) VALUES (?), (?) ON DUPLICATE KEY UPDATE name = name"},
		{of{insertRows, wide, 2}, "INSERT INTO saves (uid, save_key, value, version) VALUES (?, ?, ?, ?), (?, ?, ?, ?)", ""},
		{of{deleteRows, wide, 2}, "DELETE FROM saves WHERE (uid = ? AND save_key = ?) OR (uid = ? AND save_key = ?)", ""},
		{of{deleteRows, thin, 3}, "DELETE FROM flags WHERE name IN (?, ?, ?)", ""},
		{of{fenceRows, nil, 2},
			"SELECT uid, version FROM players WHERE uid IN (?, ?)",
			"SELECT uid, version FROM players FORCE INDEX (PRIMARY) WHERE uid IN (?, ?) FOR UPDATE"},
		{of{takeRows, nil, 1}, "UPDATE players SET version = version + 1, seen_ms = ? WHERE uid = ?", ""},
		{of{takeRows, nil, 2},
			"UPDATE players SET version = version + 1, seen_ms = CASE uid WHEN ? THEN ? WHEN ? THEN ? ELSE seen_ms END WHERE uid IN (?, ?)",
			"UPDATE players FORCE INDEX (PRIMARY) SET version = version + 1, seen_ms = CASE uid WHEN ? THEN ? WHEN ? THEN ? ELSE seen_ms END WHERE uid IN (?, ?)"},
	} {
		if c.mysql == "" {
			c.mysql = c.sqlite
		}
		for driver, want := range map[store.Driver]string{store.SQLite: c.sqlite, store.MySQL: c.mysql} {
			d := newDialect(driver, 500)
			s := d.statement(c.k, c.table, c.rows)
			if s.text != want {
				t.Errorf("%s: %s\nwant %s", driver, s.text, want)
			}
			if d.statement(c.k, c.table, c.rows) != s {
				t.Errorf("%s: not kept: %s", driver, s.text)
			}
		}
	}
}

func TestSizesOfStatements(t *testing.T) {
	for _, rows := range []int{1, 2, 3, 4, 100, 500, 512} {
		d := newDialect(store.MySQL, rows)
		for n := 1; n <= rows; n++ {
			down, up := d.down(n), d.up(n)
			if down > n || up < n || 2*down <= n && down < rows || up > rows || !slices.Contains(d.ladder, down) || !slices.Contains(d.ladder, up) {
				t.Errorf("of at most %d rows, for %d: %d and %d of %v", rows, n, down, up, d.ladder)
			}
		}
		if d.down(rows) != rows || d.down(rows+7) != rows {
			t.Errorf("a full batch of %d is %d", rows, d.down(rows))
		}
	}
}

func TestNewTablePanicsOnWhatIsNoTable(t *testing.T) {
	for name, call := range map[string]func(){
		"no key":         func() { NewTable("t", nil, "a") },
		"no name":        func() { NewTable("", []string{"a"}) },
		"column twice":   func() { NewTable("t", []string{"a"}, "b", "a") },
		"key twice":      func() { NewTable("t", []string{"a", "a"}) },
		"SQL in a name":  func() { NewTable("t; --", []string{"a"}) },
		"SQL in a key":   func() { NewTable("t", []string{"a) OR (1=1"}) },
		"digit first":    func() { NewTable("t", []string{"a"}, "1b") },
		"quote":          func() { NewTable("t", []string{"a"}, "b`") },
		"capital":        func() { NewTable("T", []string{"a"}) },
		"too long":       func() { NewTable("t", []string{strings.Repeat("a", 65)}) },
		"too many":       func() { NewTable("t", numbered(maxColumns+1)) },
		"column is name": nil, // the last two are fine
		"most":           func() { NewTable("t", numbered(1), numbered(maxColumns)[1:]...) },
	} {
		if call == nil {
			call = func() { NewTable("a", []string{"a"}, "_b2") }
		}
		if fine := name == "column is name" || name == "most"; panics(call) == fine {
			t.Errorf("%s: panicked: %v", name, !fine)
		}
	}
}

func numbered(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint("c", i))
	}
	return names
}

func panics(fn func()) (did bool) {
	defer func() { did = recover() != nil }()
	fn()
	return false
}

func TestSameKey(t *testing.T) {
	saves := NewTable("saves", []string{"uid", "save_key"}, "value")
	row := func(values ...any) Row { return Row{Table: saves, Values: values} }
	for _, c := range []struct {
		a, b Row
		same bool
	}{
		{row(int64(1), "k", "v"), Row{Op: Delete, Table: saves, Values: []any{int64(1), "k"}}, true},
		{row(int64(1), []byte("k")), row(int64(1), []byte("k")), true},
		{row(int64(1), []byte("k")), row(int64(1), []byte("l")), false},
		{row(int64(1), "k"), row(int64(2), "k"), false},
		{row(int64(1), "k"), Row{Table: NewTable("saves", []string{"uid", "save_key"}), Values: []any{int64(1), "k"}}, false},
		{row(int64(1)), row(int64(1)), false},
		{Row{}, Row{}, false},
	} {
		if c.a.SameKey(c.b) != c.same || c.b.SameKey(c.a) != c.same {
			t.Errorf("%v and %v", c.a.Values, c.b.Values)
		}
	}
}

// TestKeysThatDifferHashDifferently and the same bytes alike.
func TestKeysThatDifferHashDifferently(t *testing.T) {
	two := NewTable("t", []string{"a", "b"}, "c")
	same := [][]any{{"ab", "c", "1"}, {[]byte("ab"), "c", "2"}, {"ab", []byte("c")}}
	for _, k := range same {
		if keyOf(two, k) != keyOf(two, same[0]) {
			t.Errorf("%q", k)
		}
	}
	seen := map[uint64][]any{}
	for _, k := range [][]any{{"ab", "c"}, {"a", "bc"}, {"", "abc"}, {"abc", ""}, {int64(1), "c"}, {int64(1), int64(2)}, {int64(2), int64(1)}, {"\x00", int64(0)}, {int64(0), "\x00"}} {
		h := keyOf(two, k)
		if seen[h] != nil {
			t.Errorf("%q and %q", k, seen[h])
		}
		seen[h] = k
	}
	if keyOf(two, []any{"a", "b"}) == keyOf(NewTable("u", []string{"a", "b"}), []any{"a", "b"}) {
		t.Error("two tables")
	}
}

// TestQueueAgainstAModel adds, takes and removes at random, and compares with a list that is searched from its beginning.
func TestQueueAgainstAModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	table := NewTable("t", []string{"k"})
	for range 200 {
		q := newQueue()
		var model, taken []*Change // in the order of Submit
		keys := 1 + random.IntN(8)
		for range 150 {
			switch random.IntN(3) {
			case 0:
				c := &Change{rows: 1 + random.IntN(3), bytes: random.IntN(100)}
				for _, k := range random.Perm(keys)[:1+random.IntN(min(3, keys))] {
					c.links = append(c.links, link{key: keyOf(table, []any{int64(k)})})
				}
				q.add(c)
				model = append(model, c)
			case 1:
				rows, bytes := random.IntN(8), random.IntN(300)
				want := readyOf(model, taken, rows, bytes)
				if got := q.take(nil, rows, bytes); !slices.Equal(got, want) {
					t.Fatalf("took %d, want %d", len(got), len(want))
				}
				taken = append(taken, want...)
			case 2:
				if len(model) == 0 {
					continue
				}
				c := model[random.IntN(len(model))]
				q.remove(c)
				is := func(o *Change) bool { return o == c }
				model, taken = slices.DeleteFunc(model, is), slices.DeleteFunc(taken, is)
			}
			bytes := 0
			for _, c := range model {
				bytes += c.bytes
			}
			if q.length != len(model) || q.bytes != bytes {
				t.Fatalf("%d changes of %d bytes, want %d of %d", q.length, q.bytes, len(model), bytes)
			}
		}
		for _, c := range model {
			q.remove(c)
		}
		if len(q.tails)+len(q.ready)+q.length+q.bytes != 0 {
			t.Fatalf("left when empty: %+v", q)
		}
	}
}

// readyOf is take, the slow way.
func readyOf(model, taken []*Change, rows, bytes int) (batch []*Change) {
	before := map[uint64]bool{}
	for _, c := range model {
		blocked := slices.Contains(taken, c)
		for _, l := range c.links {
			blocked = blocked || before[l.key]
			before[l.key] = true
		}
		if blocked {
			continue
		}
		rows -= c.rows
		bytes -= c.bytes
		if len(batch) > 0 && (rows < 0 || bytes < 0) {
			break
		}
		batch = append(batch, c)
	}
	return batch
}
