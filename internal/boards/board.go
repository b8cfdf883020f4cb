package boards

import (
	"fmt"
	"strings"
)

// Board is a leaderboard as the config names it.
type Board struct {
	Name   string // 1 to 64 of a-z, 0-9, _, - and .
	Lowest bool   // the lowest score leads; else the highest
}

// maxBoardName is what the column ranks.board holds.
const maxBoardName = 64

// ParseBoard reads "name" or "name:lowest", which is also "name:highest" for the first. The error says what is wrong, for the one who
// wrote the config.
func ParseBoard(s string) (Board, error) {
	name, order, given := strings.Cut(s, ":")
	b := Board{Name: name}
	switch {
	case !given || order == "highest":
	case order == "lowest":
		b.Lowest = true
	default:
		return Board{}, fmt.Errorf("board %q: after the colon comes highest or lowest", s)
	}
	if name == "" || len(name) > maxBoardName {
		return Board{}, fmt.Errorf("board %q: a name has 1 to %d characters", s, maxBoardName)
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return Board{}, fmt.Errorf("board %q: %q cannot be in a name: a-z, 0-9, _, - and . can", s, c)
		}
	}
	return b, nil
}

// String is the form that ParseBoard reads.
func (b Board) String() string {
	if b.Lowest {
		return b.Name + ":lowest"
	}
	return b.Name
}

// Entry is a player's best on a board.
type Entry struct {
	UID   uint64
	Name  string // as others see the player
	Score int64  // -MaxScore to MaxScore
	Came  int64  // when, in microseconds since 1970, 0 to MaxScore: of equal scores the smaller leads
}

// MaxScore bounds scores and times: up to it a sorted set of Redis, which keeps 64-bit floats, keeps every integer.
const MaxScore = 1<<53 - 1

func (e Entry) valid() bool {
	return e.Score >= -MaxScore && e.Score <= MaxScore && e.Came >= 0 && e.Came <= MaxScore
}

// Ranked is a row of a board.
type Ranked struct {
	Rank  int64 // from 1
	UID   uint64
	Name  string
	Score int64
}
