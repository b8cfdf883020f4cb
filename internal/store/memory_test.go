package store

import (
	"sync"
	"testing"
	"time"

	"gameserverd/internal/game"
)

// load is the player that Load resolves to at once.
func load(t *testing.T, m *Memory, uid uint64, now time.Time) game.Player {
	t.Helper()
	p, err, done := m.Load(uid, now).Result()
	if err != nil || !done {
		t.Errorf("Load(%d): %v, resolved: %v", uid, err, done)
	}
	return p
}

func TestPlayerIsMadeOnce(t *testing.T) {
	m := NewMemory(50)
	first := time.UnixMilli(1000)
	load(t, m, 7, first)
	if p := load(t, m, 7, first.Add(time.Hour)); p.UID != 7 || p.Gold != 50 || !p.Created.Equal(first) {
		t.Errorf("got %+v", p)
	}
	if p := load(t, m, 8, first.Add(time.Hour)); p.UID != 8 || p.Created.Equal(first) {
		t.Errorf("got %+v", p)
	}
}

func TestChangesOfACopyAreNotKept(t *testing.T) {
	m := NewMemory(50)
	m.players[7] = game.Player{UID: 7, Items: map[string]int64{"sword": 1}}
	load(t, m, 7, time.Now()).Items["sword"] = 9
	if got := load(t, m, 7, time.Now()).Items["sword"]; got != 1 {
		t.Errorf("the store has %d swords, want 1", got)
	}
}

func TestManyGoroutines(t *testing.T) {
	m := NewMemory(50)
	var all sync.WaitGroup
	created := make([]time.Time, 8)
	for i := range created {
		all.Go(func() {
			for uid := range uint64(100) {
				created[i] = load(t, m, uid+1, time.UnixMilli(int64(i))).Created
			}
		})
	}
	all.Wait()
	for _, at := range created {
		if !at.Equal(created[0]) {
			t.Fatalf("one player was made more than once: %v", created)
		}
	}
}
