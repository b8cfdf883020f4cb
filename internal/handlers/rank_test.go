package handlers_test

import (
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"gameserverd/internal/handlers/rank"
	"gameserverd/internal/rpc"
	"gameserverd/internal/rpctest"
	"gameserverd/internal/storetest"
	"gameserverd/wire"
)

// submit enters a score and holds where that puts the player.
func submit(t *testing.T, c *rpctest.Client, board string, score, wantRank, wantBest int64) {
	t.Helper()
	var got rank.Standing
	if c.Must(&got, "rank.submit", board, score); got != (rank.Standing{Rank: wantRank, Best: wantBest}) {
		t.Errorf("%d on %s: %+v, want rank %d and best %d", score, board, got, wantRank, wantBest)
	}
}

// rows holds what a method says of a board: "rank uid name score" each.
func rows(t *testing.T, c *rpctest.Client, method, board string, n int, want ...string) {
	t.Helper()
	var list []rank.Row
	c.Must(&list, method, board, n)
	var got []string
	for _, r := range list {
		got = append(got, fmt.Sprint(r.Rank, " ", r.UID, " ", r.Name, " ", r.Score))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s %s %d: %q, want %q", method, board, n, got, want)
	}
}

func TestRank(t *testing.T) { onStores(t, testRank) }

func testRank(t *testing.T, s *server) {
	one, two, three := login(t, s, 1), login(t, s, 2), login(t, s, 3)
	if raw, err := one.Call("rank.top", "main", 10); err != nil || string(raw) != "\x90" {
		t.Errorf("an empty board is %x, %v", raw, err)
	}
	submit(t, one, "main", 10, 1, 10)
	submit(t, two, "main", 20, 1, 20)
	stored := s.stored()
	submit(t, one, "main", 9, 2, 10) // keeps the best
	submit(t, one, "main", 10, 2, 10)
	if s.stored() != stored {
		t.Error("a score that is not better was a change")
	}
	s.Advance(time.Second)
	submit(t, three, "main", 20, 2, 20) // equal: two came first
	submit(t, two, "main", 20, 1, 20)   // and stays
	submit(t, one, "main", -5, 3, 10)
	for range 2 {
		rows(t, one, "rank.top", "main", 100, "1 2 player2 20", "2 3 player3 20", "3 1 player1 10")
		rows(t, one, "rank.top", "main", 2, "1 2 player2 20", "2 3 player3 20")
		rows(t, one, "rank.around", "main", 1, "3 1 player1 10")
		rows(t, one, "rank.around", "main", 100, "1 2 player2 20", "2 3 player3 20", "3 1 player1 10")
		rows(t, three, "rank.around", "main", 1, "2 3 player3 20")
		submit(t, one, "main", 1, 3, 10)
		s = s.restart(time.Second)
		one, three = login(t, s, 1), login(t, s, 3)
	}
}

func TestRankLowestFirst(t *testing.T) { onStores(t, testRankLowestFirst) }

func testRankLowestFirst(t *testing.T, s *server) {
	one, two := login(t, s, 1), login(t, s, 2)
	submit(t, one, "lap", 90, 1, 90)
	submit(t, two, "lap", 80, 1, 80)
	submit(t, one, "lap", 95, 2, 90)
	submit(t, one, "lap", 70, 1, 70)
	submit(t, two, "lap", -1, 1, -1)
	rows(t, one, "rank.top", "lap", 10, "1 2 player2 -1", "2 1 player1 70")
	rows(t, one, "rank.top", "main", 10)
	fails(t, one, rpc.NotFound, "", "rank.around", "main", 10)
	s = s.restart(0)
	one = login(t, s, 1)
	rows(t, one, "rank.top", "lap", 10, "1 2 player2 -1", "2 1 player1 70")
	submit(t, one, "lap", 71, 2, 70)
}

func TestRankRefusals(t *testing.T) { onStores(t, testRankRefusals) }

func testRankRefusals(t *testing.T, s *server) {
	c := login(t, s, 7)
	submit(t, c, "main", 10, 1, 10)
	const most = 1<<53 - 1
	before := s.everything()
	for _, test := range []struct {
		method string
		params []any
		code   wire.Code
		words  string
	}{
		{"rank.submit", []any{"nope", 1}, rpc.InvalidArgument, "main, lap"},
		{"rank.submit", []any{"Main", 1}, rpc.InvalidArgument, "main, lap"},
		{"rank.submit", []any{"", 1}, rpc.InvalidArgument, "main, lap"},
		{"rank.submit", []any{"main'; DROP TABLE ranks; --", 1}, rpc.InvalidArgument, "main, lap"},
		{"rank.submit", []any{"\xff", 1}, rpc.InvalidArgument, "board must be valid UTF-8"},
		{"rank.submit", []any{7, 1}, rpc.InvalidArgument, "board must be a string"},
		{"rank.submit", []any{"main", most + 1}, rpc.OutOfRange, "score must be from -9007199254740991 to 9007199254740991"},
		{"rank.submit", []any{"main", -most - 1}, rpc.OutOfRange, "score must be from"},
		{"rank.submit", []any{"main", int64(math.MinInt64)}, rpc.OutOfRange, "score must be from"},
		{"rank.submit", []any{"lap", int64(math.MinInt64)}, rpc.OutOfRange, "score must be from"},
		{"rank.submit", []any{"main", uint64(math.MaxUint64)}, rpc.InvalidArgument, "score must be an integer"},
		{"rank.submit", []any{"main", 1.5}, rpc.InvalidArgument, "score must be an integer"},
		{"rank.submit", []any{"main", "1"}, rpc.InvalidArgument, "score must be an integer"},
		{"rank.submit", []any{"main"}, rpc.InvalidArgument, "takes 2 params (board, score), got 1"},
		{"rank.top", []any{"nope", 1}, rpc.InvalidArgument, "main, lap"},
		{"rank.top", []any{"main", 0}, rpc.InvalidArgument, "n must be from 1 to 100, got 0"},
		{"rank.top", []any{"main", -1}, rpc.InvalidArgument, "n must be from 1 to 100, got -1"},
		{"rank.top", []any{"main", 101}, rpc.InvalidArgument, "n must be from 1 to 100, got 101"},
		{"rank.top", []any{"main", int64(math.MaxInt64)}, rpc.InvalidArgument, "n must be from 1 to 100"},
		{"rank.top", []any{"main", "1"}, rpc.InvalidArgument, "n must be an integer"},
		{"rank.around", []any{"nope", 1}, rpc.InvalidArgument, "main, lap"},
		{"rank.around", []any{"main", 0}, rpc.InvalidArgument, "n must be from 1 to 100, got 0"},
		{"rank.around", []any{"main", 101}, rpc.InvalidArgument, "n must be from 1 to 100, got 101"},
		{"rank.around", []any{"lap", 1}, rpc.NotFound, ""},
	} {
		fails(t, c, test.code, test.words, test.method, test.params...)
	}
	if after := s.everything(); !reflect.DeepEqual(after, before) {
		t.Errorf("refused calls changed %v into %v", before, after)
	}
	rows(t, c, "rank.top", "main", 100, "1 7 player7 10")
	rows(t, c, "rank.top", "lap", 100)
	submit(t, c, "main", most, 1, most)
	submit(t, c, "lap", -most, 1, -most)
}

// A score is stored also when nobody can say which rank it has.
func TestRankWithoutRedis(t *testing.T) {
	redis := storetest.RedisAlone(t)
	s := startOn(t, stores{storetest.Store{Driver: "sqlite", DSN: filepath.Join(t.TempDir(), "game.db")}, redis.URL})
	c := login(t, s, 7)
	submit(t, c, "main", 5, 1, 5)
	redis.Kill()
	raw, err := c.Call("rank.submit", "main", 10)
	wantError(t, raw, err, rpc.Unavailable, "")
	if err != nil && err.RetryAfter <= 0 {
		t.Errorf("%v does not say when to try again", err)
	}
	fails(t, c, rpc.Unavailable, "", "rank.top", "main", 10)
	has(t, c, 100, map[string]int64{}) // what needs no Redis goes on
	redis.Start()
	s = s.restart(0)
	c = login(t, s, 7)
	rows(t, c, "rank.top", "main", 10, "1 7 player7 10")
	submit(t, c, "main", 10, 1, 10)
}
