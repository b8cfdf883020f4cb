package schema

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"gameserverd/internal/store"
	"gameserverd/internal/storetest"
)

// filled is a migrated database with players and all that is theirs.
func filled(t *testing.T, s storetest.Store, players int) *store.SQL {
	t.Helper()
	db := migrated(t, s)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rows := randomRows(rand.New(rand.NewPCG(seed, 0)), players)
	pool, err := db.DB()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		for chunk := range slices.Chunk(rows[table.name], 300) {
			if _, err := pool.ExecContext(limited(t), table.insert(len(chunk)), slices.Concat(chunk...)...); err != nil {
				t.Fatalf("%s: %v", table.name, err)
			}
		}
	}
	return db
}

// randomRows are by table.
func randomRows(r *rand.Rand, players int) map[string][][]any {
	rows := map[string][][]any{}
	add := func(name string, row ...any) { rows[name] = append(rows[name], row) }
	junk := func() []byte {
		b := make([]byte, r.IntN(500))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	for i := range players {
		uid := int64(r.Uint64()) // half of them above 2^63-1
		name := string([]rune{rune('a' + i%26), 'ß', 0x1F600, ' ', rune(0x4E00 + i)})
		add("players", uid, name, r.Int64N(100), r.Int64N(1<<53), []byte(`{"sword":1}`), r.Int64(), r.Int64(), r.Int64N(9))
		add("names", strings.ToLower(name), uid)
		for k := range r.IntN(3) {
			add("saves", uid, fmt.Sprintf("slot %d ü", k), junk(), int64(k), r.Int64())
			add("mail", uid, int64(k), fmt.Sprint("daily:", k), "Täglich \U0001F381", r.Int64N(10), []byte{}, r.Int64(), r.Int64())
			add("claims", uid, int64(k), r.Int64())
		}
		add("ranks", uid, "main", r.Int64()-r.Int64(), r.Int64())
	}
	add("saves", int64(1), "large", bytes.Repeat([]byte{0xff}, batchBytes+1), int64(1), int64(1))
	return rows
}

// contents are all rows as text, by table.
func contents(t *testing.T, db *store.SQL) map[string][]string {
	t.Helper()
	pool, err := db.DB()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, table := range tables {
		out[table.name] = []string{}
		if err := table.each(limited(t), pool, func(row []any) error {
			var d digest
			d.add(row)
			out[table.name] = append(out[table.name], fmt.Sprintf("%v %x %x", row[0], d.high, d.low))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func wantSame(t *testing.T, from, to *store.SQL) {
	t.Helper()
	want, got := contents(t, from), contents(t, to)
	for name := range want {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("table %s has %d rows, %d in the source, or they differ", name, len(got[name]), len(want[name]))
		}
	}
}

func nothing(string, int64, int64) {}

// wantWhole checks that nothing tells of a copy any more.
func wantWhole(t *testing.T, db *store.SQL) {
	t.Helper()
	if applied, err := Up(limited(t), db, zap.NewNop()); err != nil || len(applied) > 0 {
		t.Errorf("Up after the copy: %v, %v", applied, err)
	}
	wantTables(t, db)
}

// pairs runs fn for every pair of kinds of databases.
func pairs(t *testing.T, fn func(t *testing.T, from, to storetest.Store)) {
	storetest.Stores(t, func(t *testing.T, kind storetest.Store) {
		storetest.Stores(t, func(t *testing.T, to storetest.Store) {
			from := storetest.Store{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "from.db")}
			if kind.Server != nil {
				s := storetest.MariaDB(t)
				from = storetest.Store{Driver: "mysql", DSN: s.DSN, Server: s}
			}
			fn(t, from, to)
		})
	})
}

func TestCopyBetweenAllKinds(t *testing.T) {
	pairs(t, func(t *testing.T, f, s storetest.Store) {
		from, to := filled(t, f, 520), migrated(t, s)
		var steps []string // table by table: from 0 to all, then compared
		var last int64
		total := int64(0)
		err := Copy(limited(t), from, to, func(table string, rows, of int64) {
			if len(steps) == 0 || steps[len(steps)-1] != table {
				steps = append(steps, table)
				last = -1
			}
			if rows <= last || rows > of {
				t.Errorf("%s: %d of %d after %d", table, rows, of, last)
			}
			last = rows
			if rows == of && !strings.Contains(table, ",") {
				total += rows
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, from, to)
		wantWhole(t, to)
		var want []string
		for _, table := range tables {
			want = append(want, table.name)
			if texts(t, from, "SELECT CAST(COUNT(*) AS CHAR) FROM "+table.name)[0] != "0" {
				want = append(want, table.name+", compared")
			}
		}
		if !slices.Equal(steps, want) {
			t.Errorf("steps %v", steps)
		}
		if total < 3*520 {
			t.Errorf("told of %d rows", total)
		}
	})
}

func TestCopyOfNothing(t *testing.T) {
	pairs(t, func(t *testing.T, f, s storetest.Store) {
		from, to := migrated(t, f), migrated(t, s)
		if err := Copy(limited(t), from, to, nothing); err != nil {
			t.Fatal(err)
		}
		wantWhole(t, to)
	})
}

func TestCopyRefuses(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		other := func() storetest.Store {
			return storetest.Store{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "other.db")}
		}
		refused := func(what string, from, to *store.SQL, want error, text string) {
			t.Helper()
			called := false
			err := Copy(limited(t), from, to, func(string, int64, int64) { called = true })
			if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), text) || called {
				t.Errorf("%s: %v, want %q with %v", what, err, text, want)
			}
		}
		db, empty := filled(t, s, 3), migrated(t, other())
		refused("to itself", db, db, ErrSameDatabase, "source and target")
		refused("into a full one", empty, db, ErrNotEmpty, "target: the target is not empty: table players has 3 rows")
		refused("before migrations", open(t, other()), empty, ErrOlder, "source: the database lacks migrations: 0001_players was not applied")
		refused("into one without tables", db, open(t, other()), ErrOlder, "target: the database lacks")

		newer := migrated(t, other())
		execute(t, newer, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, ?)`, true)
		refused("a newer one", newer, empty, ErrNewer, "source: ")
		refused("into a newer one", db, newer, ErrNewer, "target: ")

		used := migrated(t, other())
		execute(t, used, `INSERT INTO writers (writer, seq, at_ms) VALUES (5, 1, 1)`)
		refused("into one that a daemon uses", db, used, ErrNotEmpty, "target: the target is not empty: a gameserverd has used it")

		execute(t, db, `CREATE TABLE unfinished_copy (began_ms BIGINT NOT NULL)`)
		refused("a part", db, empty, ErrUnfinishedCopy, "source: ")
		wantWhole(t, empty) // none of them has left a mark
	})
}

// One database has many names.
func TestCopyKnowsADatabaseByAnyName(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		db := filled(t, s, 3)
		alias := s
		if s.Server != nil {
			alias.DSN = s.Server.At(s.Server.Socket)
		} else {
			alias.DSN = filepath.Join(t.TempDir(), "link.db")
			if err := os.Symlink(s.DSN, alias.DSN); err != nil {
				t.Fatal(err)
			}
		}
		if err := Copy(limited(t), db, open(t, alias), nothing); !errors.Is(err, ErrSameDatabase) {
			t.Errorf("%s and %s: %v", s.DSN, alias.DSN, err)
		}
		if s.Server != nil {
			return
		}
		second := migrated(t, storetest.Store{Driver: "sqlite", DSN: filepath.Join(filepath.Dir(s.DSN), "second.db")})
		if err := Copy(limited(t), db, second, nothing); err != nil {
			t.Errorf("into a second file of the folder: %v", err)
		}
	})
}

// A copy that broke leaves a database that no daemon starts on, and the next
// copy begins anew.
func TestBrokenCopyIsBegunAnew(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		from := filled(t, storetest.Store{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "from.db")}, 520)
		to := migrated(t, s)
		for _, at := range []string{"players", "saves", "ranks, compared"} {
			ctx, cancel := context.WithCancel(limited(t))
			err := Copy(ctx, from, to, func(table string, rows, of int64) {
				if table == at && rows > 0 {
					cancel()
				}
			})
			cancel()
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("cut at %s: %v", at, err)
			}
			if rows := contents(t, to)["players"]; len(rows) == 0 {
				t.Errorf("cut at %s: it left nothing", at)
			}
			if _, err := Up(limited(t), to, zap.NewNop()); !errors.Is(err, ErrUnfinishedCopy) {
				t.Errorf("cut at %s: Up says %v", at, err)
			}
		}
		if err := Copy(limited(t), from, to, nothing); err != nil {
			t.Fatal(err)
		}
		wantSame(t, from, to)
		wantWhole(t, to)
	})
}

// What one kind holds and another does not take is found, with its place.
func TestCopyOfWhatTheTargetDoesNotTake(t *testing.T) {
	from := filled(t, storetest.Store{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "a.db")}, 10)
	s := storetest.MariaDB(t)
	to := migrated(t, storetest.Store{Driver: "mysql", DSN: s.DSN, Server: s})
	execute(t, from, `UPDATE players SET name = ? WHERE uid IN (SELECT MAX(uid) FROM players)`, strings.Repeat("x", 33))
	err := Copy(limited(t), from, to, nothing)
	if err == nil || !strings.HasPrefix(err.Error(), "target: table players, rows 1 to 10: ") || !strings.Contains(err.Error(), "too long") {
		t.Errorf("error %v", err)
	}
	execute(t, from, `UPDATE players SET name = 'x' WHERE LENGTH(name) = 33`)
	if err := Copy(limited(t), from, to, nothing); err != nil {
		t.Fatal(err)
	}
	wantSame(t, from, to)
}

// Whoever writes during a copy is noticed, and the target cannot be used.
func TestCopyNoticesWriters(t *testing.T) {
	const wrote = `INSERT INTO writers (writer, seq, at_ms) VALUES (5, 1, 1)`
	for _, c := range []struct {
		name   string
		at     string
		change func(t *testing.T, from, to *store.SQL)
		want   error
	}{
		{"source", "players", func(t *testing.T, from, to *store.SQL) {
			execute(t, from, `DELETE FROM ranks`) // which is read later
			execute(t, from, wrote)
		}, ErrSourceChanged},
		{"target", "players", func(t *testing.T, from, to *store.SQL) { execute(t, to, wrote) }, ErrTargetChanged},
		{"lost row", "ranks", func(t *testing.T, from, to *store.SQL) { execute(t, to, `DELETE FROM ranks WHERE uid > 0`) }, ErrDiffers},
		{"changed row", "names", func(t *testing.T, from, to *store.SQL) { execute(t, to, `UPDATE names SET uid = 1`) }, ErrDiffers},
	} {
		t.Run(c.name, func(t *testing.T) {
			storetest.Stores(t, func(t *testing.T, s storetest.Store) {
				other := storetest.Store{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "other.db")}
				from, to := filled(t, s, 20), migrated(t, other)
				before := contents(t, from)
				err := Copy(limited(t), from, to, func(table string, rows, of int64) {
					if table == c.at && rows == of {
						c.change(t, from, to)
					}
				})
				if !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
				if got := contents(t, to)["ranks"]; c.want == ErrSourceChanged && !slices.Equal(got, before["ranks"]) {
					t.Errorf("the copy has %d ranks, %d were there when it began", len(got), len(before["ranks"]))
				}
				if _, err := Up(limited(t), to, zap.NewNop()); !errors.Is(err, ErrUnfinishedCopy) {
					t.Errorf("Up says %v", err)
				}
			})
		})
	}
}
