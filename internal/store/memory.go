// Package store keeps the players. So far it keeps them in memory only: they are
// gone when the process ends.
//
// It knows no rule of the game: what a player is, package game says.
//
// Its one invariant: what it returns shares nothing with what it keeps.
package store

import (
	"sync"
	"time"

	"gameserverd/internal/future"
	"gameserverd/internal/game"
)

// Memory keeps players in a map.
type Memory struct {
	startGold int64 // immutable after NewMemory

	mu      sync.Mutex
	players map[uint64]game.Player // by uid
}

// NewMemory returns an empty Memory. Players that it makes begin with startGold.
func NewMemory(startGold int64) *Memory {
	return &Memory{startGold: startGold, players: make(map[uint64]game.Player)}
}

// Load resolves at once to the player uid, who is made, at the time now, if
// there is none yet. It never fails. Any goroutine.
func (m *Memory) Load(uid uint64, now time.Time) *future.Future[game.Player] {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, known := m.players[uid]
	if !known {
		p = game.NewPlayer(uid, m.startGold, now)
		m.players[uid] = p
	}
	return future.Resolved(p.Clone())
}
