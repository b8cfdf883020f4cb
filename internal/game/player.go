// Package game has the nouns of the built-in game and its pure rules: functions
// of their arguments.
//
// It is not where anything is kept, sent or timed: no I/O, no clock, no
// goroutine.
//
// Its one invariant: a value that its functions return fulfils the rules of the
// game.
package game

import (
	"fmt"
	"maps"
	"time"
)

// Player is the state of one player. It is a value: Clone before changing a copy
// that others may see.
type Player struct {
	UID     uint64 // never 0
	Name    string
	Level   int64            // from 1
	Gold    int64            // never below 0
	Items   map[string]int64 // how many of each, by item; no entry below 1
	Created time.Time
}

// NewPlayer is the player uid as everybody begins, at the time now, with
// startGold (0 or more).
func NewPlayer(uid uint64, startGold int64, now time.Time) Player {
	return Player{
		UID:     uid,
		Name:    fmt.Sprintf("player%d", uid),
		Level:   1,
		Gold:    startGold,
		Created: now,
	}
}

// Clone returns a copy that shares nothing with p.
func (p Player) Clone() Player {
	p.Items = maps.Clone(p.Items)
	return p
}
