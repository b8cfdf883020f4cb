// Package game has the nouns of the built-in game and its pure rules: functions
// of their arguments.
//
// It is not where anything is kept, sent or timed: no I/O, no clock, no
// goroutine. An error that its rules return is a *wire.Error whose message is
// for the client.
//
// Its one invariant: a value that its functions return fulfils the rules of the
// game, and a value that they were given is as it was.
package game

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"gameserverd/wire"
)

// MaxCount is the most gold, and the most of one item, that a player can have:
// every integer up to it is exact in a 64-bit float, which is all that some
// clients have.
const MaxCount = 1<<53 - 1

// Player is the state of one player. It is a value: Clone before changing a copy
// that others may see.
type Player struct {
	UID     uint64 // never 0
	Name    string
	Level   int64            // from 1
	Gold    int64            // 0 to MaxCount
	Items   map[string]int64 // how many of each, by item; 1 to MaxCount
	Created time.Time
}

// NewPlayer is the player uid as everybody begins, at the time now, with
// startGold, 0 to MaxCount.
func NewPlayer(uid uint64, startGold int64, now time.Time) Player {
	return Player{
		UID:     uid,
		Name:    DefaultName(uid),
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

// Pay returns p with gold less. It is failed_precondition if p has less than
// that.
func (p Player) Pay(gold int64) (Player, error) {
	switch {
	case gold < 0:
		return Player{}, wire.Errorf(wire.InvalidArgument, "gold to pay must be 0 or more, got %d", gold)
	case gold > p.Gold:
		return Player{}, wire.Errorf(wire.FailedPrecondition, "not enough gold: %d needed, %d there", gold, p.Gold)
	}
	p = p.Clone()
	p.Gold -= gold
	return p, nil
}

// Give returns p with gold and items more, all of them or, if p cannot hold one,
// none: out_of_range.
func (p Player) Give(gold int64, items map[string]int64) (Player, error) {
	sum, err := more("gold", p.Gold, gold)
	if err != nil {
		return Player{}, err
	}
	p = p.Clone()
	p.Gold = sum
	if p.Items == nil && len(items) > 0 {
		p.Items = make(map[string]int64, len(items))
	}
	for _, item := range slices.Sorted(maps.Keys(items)) { // sorted, so that the same error comes every time
		n := items[item]
		if n == 0 {
			continue
		}
		if p.Items[item], err = more(fmt.Sprintf("item %q", item), p.Items[item], n); err != nil {
			return Player{}, err
		}
	}
	return p, nil
}

// more is have and n together, where have is 0 to MaxCount.
func more(what string, have, n int64) (int64, error) {
	switch {
	case n < 0:
		return 0, wire.Errorf(wire.InvalidArgument, "%s: what is given must be 0 or more, got %d", what, n)
	case n > MaxCount-have:
		return 0, wire.Errorf(wire.OutOfRange, "%s: %d and %d more are over %d", what, have, n, int64(MaxCount))
	}
	return have + n, nil
}
