package boards

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"gameserverd/wire"
)

func asWire(err error) *wire.Error {
	var e *wire.Error
	errors.As(err, &e)
	return e
}

var twoBoards = []Board{{Name: "main"}, {Name: "lap.2-b_x", Lowest: true}}

// uids are players whose numbers are in the corners of what there is, and beside each other.
var uids = func() []uint64 {
	all := []uint64{1<<64 - 1, 1<<64 - 2, 1 << 63, 1<<63 - 1, 1<<53 + 1, 1 << 53, 1}
	for i := range uint64(40) {
		all = append(all, 95+i)
	}
	return all
}()

// someEntry is an entry with many equals.
func someEntry(r *rand.Rand) Entry {
	scores := []int64{-MaxScore, MaxScore, 0, 1 << 52, MaxScore - 1}
	cames := []int64{0, MaxScore, 1_790_000_000_000_000}
	e := Entry{UID: uids[r.IntN(len(uids))], Name: someName(r), Score: r.Int64N(9) - 4, Came: r.Int64N(3)}
	if r.IntN(8) == 0 {
		e.Score = scores[r.IntN(len(scores))]
	}
	if r.IntN(8) == 0 {
		e.Came = cames[r.IntN(len(cames))]
	}
	return e
}

func someName(r *rand.Rand) string {
	names := []string{"", " ", "player1", "Zoë", "名無しの勇者", "a b  c", "0 1 2", "\x00\x01\n'\"%s", strings.Repeat("é", 200), "'; DROP TABLE ranks; --"}
	return names[r.IntN(len(names))] + fmt.Sprint(r.IntN(3))
}

// TestSameAnswers compares every answer with the model's, over every kind of index.
func TestSameAnswers(t *testing.T) {
	overIndexes(t, func(t *testing.T, g *rig) {
		r := seeded(t)
		b := g.loaded(twoBoards...)
		models := map[string]*model{}
		for _, board := range twoBoards {
			models[board.Name] = &model{lowest: board.Lowest}
		}
		for step := range 400 {
			board := twoBoards[r.IntN(2)].Name
			m := models[board]
			switch r.IntN(4) {
			case 0, 1:
				e := someEntry(r)
				got := must(t, b.Put(board, e))
				e.Name = clip(e.Name)
				if want := m.put(e); got != want {
					t.Fatalf("step %d: Put %+v on %s: rank %d, want %d", step, e, board, got, want)
				}
			case 2:
				uid, name := uids[r.IntN(len(uids))], someName(r)
				b.Rename(uid, name)
				for _, m := range models {
					m.rename(uid, clip(name))
				}
			}
			compare(t, r, b, board, m)
		}
		for name, m := range models {
			if len(m.entries) < 30 {
				t.Errorf("only %d players are on %s", len(m.entries), name)
			}
		}
	})
}

// compare asks for a few rows.
func compare(t *testing.T, r *rand.Rand, b *Boards, board string, m *model) {
	t.Helper()
	n := []int{1, 2, 3, 4, 10, 45, 46, 47, 48, 100, MaxRows}[r.IntN(11)]
	if r.IntN(2) == 0 {
		// Renames are on their way to Redis, behind which this Put's answer is.
		if len(m.entries) > 0 {
			e := m.entries[0]
			must(t, b.Put(board, Entry{UID: e.UID, Score: e.Score, Came: e.Came, Name: "not the better entry"}))
		}
		same(t, fmt.Sprintf("Top %d of %s", n, board), must(t, b.Top(board, n)), m.top(n))
		return
	}
	if len(m.entries) == 0 {
		return
	}
	e := m.entries[len(m.entries)-1]
	must(t, b.Put(board, Entry{UID: e.UID, Score: e.Score, Came: e.Came, Name: "not the better entry"}))
	uid := uids[r.IntN(len(uids))]
	got, err := result(t, b.Around(board, uid, n))
	want := m.around(uid, n)
	if want == nil {
		if asWire(err) == nil || *asWire(err) != *asWire(errNoScore(uid, board)) {
			t.Fatalf("Around of player %d: %v, %v", uid, got, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	same(t, fmt.Sprintf("Around %d of %s, %d rows", uid, board, n), got, want)
}

func same(t testing.TB, what string, got, want []Ranked) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d rows, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: row %d of %d is %+v, want %+v", what, i, len(got), got[i], want[i])
		}
	}
}

// TestAnyOrderAndTwice puts the same entries in several orders at once, each several times: the board is the same in the end.
func TestAnyOrderAndTwice(t *testing.T) {
	overIndexes(t, func(t *testing.T, g *rig) {
		r := seeded(t)
		b := g.loaded(twoBoards...)
		entries := make([]Entry, 150)
		m := &model{lowest: true}
		for i := range entries {
			entries[i] = someEntry(r)
			entries[i].Name = fmt.Sprint("of ", entries[i].Score, " at ", entries[i].Came) // equal entries have equal names
			m.put(entries[i])
		}
		var all sync.WaitGroup
		for range 4 {
			order := append(r.Perm(len(entries)), r.Perm(len(entries))[:50]...)
			all.Go(func() {
				for i, which := range order {
					f := b.Put(twoBoards[1].Name, entries[which])
					if i%10 == 0 {
						must(t, f)
					}
				}
				must(t, b.Put(twoBoards[1].Name, entries[0]))
			})
		}
		all.Wait()
		same(t, "Top", must(t, b.Top(twoBoards[1].Name, MaxRows)), m.top(MaxRows))
	})
}

// TestFillMergesWhatComesMeanwhile makes changes while the rows of SQL are on their way into the index, before and after the row of the
// same player, on a board that is empty and on one that is in use.
func TestFillMergesWhatComesMeanwhile(t *testing.T) {
	overIndexes(t, func(t *testing.T, g *rig) {
		for _, round := range []string{"empty", "in use"} {
			x := g.index(never)
			if round == "in use" {
				if err := x.fill(context.Background(), func(context.Context, func(Entry) error) error { return nil }); err != nil {
					t.Fatal(err)
				}
				must(t, x.put(Entry{UID: 1, Name: "old", Score: 10, Came: 10}))
				must(t, x.put(Entry{UID: 7, Name: "lost name", Score: 70, Came: 1}))
			}
			var waiting []func()
			put := func(e Entry) {
				f := x.put(e)
				waiting = append(waiting, func() {
					if _, err := result(t, f); err != nil {
						wantUnavailable(t, err)
					}
				})
			}
			settle := func() {
				for _, w := range waiting {
					w()
				}
				waiting = nil
			}
			// What is read is from before all of this.
			err := x.fill(context.Background(), func(_ context.Context, row func(Entry) error) error {
				put(Entry{UID: 2, Name: "better before", Score: 30, Came: 5})
				put(Entry{UID: 3, Name: "of SQL", Score: 1, Came: 5})
				put(Entry{UID: 8, Name: "only put", Score: 8, Came: 5})
				x.rename(4, "renamed before")
				x.rename(10, "older than its score")
				put(Entry{UID: 10, Name: "with its score", Score: 9, Came: 5})
				x.rename(9, "never ranked")
				settle()
				for uid := range uint64(7) {
					if err := row(Entry{UID: uid + 1, Name: "of SQL", Score: 20, Came: 20}); err != nil {
						return err
					}
				}
				for range maxBatch { // so that the first rows are there in Redis before what follows
					if err := row(Entry{UID: uint64(len(waiting)) + 1000, Name: "one of many", Score: -int64(len(waiting)), Came: 20}); err != nil {
						return err
					}
					waiting = append(waiting, func() {})
				}
				settle()
				put(Entry{UID: 5, Name: "better after", Score: 31, Came: 5})
				put(Entry{UID: 6, Name: "of SQL", Score: 1, Came: 5})
				x.rename(1, "renamed after")
				x.rename(1003, "Ö")
				settle()
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			settle()
			m := &model{}
			m.put(Entry{UID: 1, Name: "renamed after", Score: 20, Came: 20})
			m.put(Entry{UID: 2, Name: "better before", Score: 30, Came: 5})
			m.put(Entry{UID: 3, Name: "of SQL", Score: 20, Came: 20})
			m.put(Entry{UID: 4, Name: "renamed before", Score: 20, Came: 20})
			m.put(Entry{UID: 5, Name: "better after", Score: 31, Came: 5})
			m.put(Entry{UID: 6, Name: "of SQL", Score: 20, Came: 20})
			m.put(Entry{UID: 7, Name: "of SQL", Score: 20, Came: 20})
			m.put(Entry{UID: 8, Name: "only put", Score: 8, Came: 5})
			m.put(Entry{UID: 10, Name: "with its score", Score: 9, Came: 5})
			for i := range int64(maxBatch) {
				e := Entry{UID: uint64(i) + 1000, Name: "one of many", Score: -i, Came: 20}
				if i == 3 {
					e.Name = "Ö"
				}
				m.entries = append(m.entries, e)
			}
			if round == "in use" && g.redis != nil {
				// An index that is in use keeps what it has, though a row of SQL is worse: that one was read too early.
				m.put(Entry{UID: 7, Name: "of SQL", Score: 70, Came: 1})
			}
			m.put(Entry{UID: 8, Name: "only put", Score: 8, Came: 5})
			got := must(t, x.top(MaxRows))
			want := m.top(MaxRows)
			same(t, round, got, want)
			g.closed(x.close)
			if g.redis != nil {
				for _, key := range keysOf("main") {
					g.server("DEL", key)
				}
			}
		}
	})
}

// never is an SQL that does not answer.
func never(ctx context.Context, _ func(Entry) error) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestNotLoaded(t *testing.T) {
	overIndexes(t, func(t *testing.T, g *rig) {
		x := g.index(never)
		_, err := result(t, x.put(Entry{UID: 1}))
		wantUnavailable(t, err)
		_, err = result(t, x.top(1))
		wantUnavailable(t, err)
		_, err = result(t, x.around(1, 1))
		wantUnavailable(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := x.fill(ctx, func(ctx context.Context, _ func(Entry) error) error { return ctx.Err() }); err == nil {
			t.Error("filled with half of the rows")
		}
		_, err = result(t, x.top(1))
		wantUnavailable(t, err)
	})
}

func TestBadArguments(t *testing.T) {
	overIndexes(t, func(t *testing.T, g *rig) {
		b := g.loaded(twoBoards...)
		const names = "main, lap.2-b_x"
		for what, check := range map[string]struct {
			err  error
			code wire.Code
		}{
			"unknown board of Put":    {second(result(t, b.Put("x", Entry{UID: 1}))), wire.InvalidArgument},
			"unknown board of Top":    {second(result(t, b.Top("", 1))), wire.InvalidArgument},
			"unknown board of Around": {second(result(t, b.Around("MAIN", 1, 1))), wire.InvalidArgument},
			"no rows":                 {second(result(t, b.Top("main", 0))), wire.InvalidArgument},
			"less than no rows":       {second(result(t, b.Around("main", 1, -1))), wire.InvalidArgument},
			"too many rows":           {second(result(t, b.Top("main", MaxRows+1))), wire.InvalidArgument},
			"too high":                {second(result(t, b.Put("main", Entry{UID: 1, Score: MaxScore + 1}))), wire.OutOfRange},
			"too low":                 {second(result(t, b.Put("main", Entry{UID: 1, Score: -MaxScore - 1}))), wire.OutOfRange},
			"too late":                {second(result(t, b.Put("main", Entry{UID: 1, Came: MaxScore + 1}))), wire.OutOfRange},
			"before 1970":             {second(result(t, b.Put("main", Entry{UID: 1, Came: -1}))), wire.OutOfRange},
			"nobody's score":          {second(result(t, b.Around("main", 1, 1))), wire.NotFound},
		} {
			if wire.CodeOf(check.err) != check.code {
				t.Errorf("%s: %v, want %s", what, check.err, check.code)
			}
			if strings.HasPrefix(what, "unknown") && !strings.Contains(check.err.Error(), names) {
				t.Errorf("%s: %v does not name %s", what, check.err, names)
			}
		}
		if rows := must(t, b.Top("main", 10)); len(rows) != 0 {
			t.Errorf("%v is on the board", rows)
		}
		if known, err := b.Known("lap.2-b_x"); err != nil || !known.Lowest {
			t.Errorf("%+v, %v", known, err)
		}
		if _, err := b.Known("y"); wire.CodeOf(err) != wire.InvalidArgument || !strings.Contains(err.Error(), names) {
			t.Errorf("%v", err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestParseBoard(t *testing.T) {
	for in, want := range map[string]Board{
		"main":                  {Name: "main"},
		"main:highest":          {Name: "main"},
		"lap:lowest":            {Name: "lap", Lowest: true},
		"a-b_c.9":               {Name: "a-b_c.9"},
		strings.Repeat("x", 64): {Name: strings.Repeat("x", 64)},
	} {
		got, err := ParseBoard(in)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
		if again, err := ParseBoard(got.String()); err != nil || again != want {
			t.Errorf("%q: %+v, %v", got, again, err)
		}
	}
	for _, in := range []string{"", ":lowest", "Main", "a b", "a:", "a:first", "a:lowest:x", "{a}", "ä", strings.Repeat("x", 65), "a\x00"} {
		if got, err := ParseBoard(in); err == nil {
			t.Errorf("%q was taken: %+v", in, got)
		}
	}
}
