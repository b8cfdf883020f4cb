package boards

import (
	"context"
	"slices"
	"testing"

	"gameserverd/internal/storetest"
)

// TestLoad reads rows of all kinds from both databases into both kinds of index.
func TestLoad(t *testing.T) {
	storetest.Stores(t, func(t *testing.T, s storetest.Store) {
		g := newRigOver(t, embeddedRedis(t), s)
		models := map[string]*model{"main": {}, "lap.2-b_x": {lowest: true}}
		r := seeded(t)
		for range 100 {
			e := someEntry(r)
			if runes := []rune(e.Name); len(runes) > 32 {
				e.Name = string(runes[:32]) // what the column holds
			}
			board := twoBoards[r.IntN(2)].Name
			g.store(board, e)
			m := models[board]
			m.entries = slices.DeleteFunc(m.entries, func(old Entry) bool { return old.UID == e.UID })
			m.put(e)
			for _, m := range models {
				m.rename(e.UID, e.Name)
			}
		}
		// Rows that the game does not write, and another board's.
		g.store("of old", Entry{UID: 1, Name: "old", Score: 1})
		models["main"].rename(1, "player 1")
		models["lap.2-b_x"].rename(1, "player 1")
		g.storeName(1, "player 1")
		g.store("main", Entry{UID: 5001, Name: "too good", Score: MaxScore + 1})
		g.store("main", Entry{UID: 5002, Name: "too early", Came: -1})
		g.store("main", Entry{UID: 5003, Name: "nobody", Score: 7, Came: 7})
		if _, err := g.db.ExecContext(context.Background(), `DELETE FROM players WHERE uid = ?`, 5003); err != nil {
			t.Fatal(err)
		}
		models["main"].put(Entry{UID: 5003, Score: 7, Came: 7})
		total := int64(len(models["main"].entries) + len(models["lap.2-b_x"].entries))

		redis := g.redis
		for _, kind := range []string{"redis", "memory"} {
			if kind == "memory" {
				g.redis = nil
			}
			b := g.boards(twoBoards...)
			for range 2 { // a second time does no harm
				var told [][2]int64
				if err := b.Load(context.Background(), func(rows, of int64) { told = append(told, [2]int64{rows, of}) }); err != nil {
					t.Fatal(err)
				}
				first, last := told[0], told[len(told)-1]
				if first != [2]int64{0, total + 2} || last != [2]int64{total, total} {
					t.Errorf("%s: progress was %v", kind, told)
				}
				for name, m := range models {
					same(t, kind+" "+name, must(t, b.Top(name, MaxRows)), m.top(MaxRows))
				}
			}
			if n := g.logged("out of range"); n == 0 {
				t.Errorf("%s: rows that are left out are not logged", kind)
			}
			if n := g.logged("lacks rows"); n != 0 {
				t.Errorf("%s: the rows were read without Load as well", kind)
			}
			g.logs.TakeAll()
		}
		g.redis = redis
	})
}

// TestLoadFails ends Load in its middle: the index has no part, and a second Load makes it whole.
func TestLoadFails(t *testing.T) {
	overIndexes(t, func(t *testing.T, g *rig) {
		entries := rows(2 * maxBatch)
		g.storeAll("main", entries)
		b := g.boards()
		ctx, cancel := context.WithCancel(context.Background())
		x := b.indexes["main"]
		err := x.fill(ctx, func(ctx context.Context, row func(Entry) error) error {
			for i, e := range entries {
				if i == maxBatch+1 {
					cancel()
				}
				if err := row(e); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
		if err == nil {
			t.Fatal("Load was cut and did not fail")
		}
		if g.redis == nil {
			_, err := result(t, b.Top("main", 1))
			wantUnavailable(t, err)
		}
		if err := b.Load(ctx, nil); err == nil {
			t.Error("Load with a context that has ended did not fail")
		}
		g.load(b)
		g.whole(b, modelOf(entries))
	})
}
