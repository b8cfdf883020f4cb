package game

import "gameserverd/wire"

// MaxScore is the highest score, and -MaxScore the lowest: every integer between
// them is exact in a 64-bit float, which is what Redis and some clients have.
const MaxScore = 1<<53 - 1

// Best is a player's best score on a board. The zero Best stands for none.
type Best struct {
	Score int64 // -MaxScore to MaxScore
	Came  int64 // when, in microseconds since 1970, never 0: of equal scores the one that came first is ahead
}

// Submit returns the best of have and a score that comes at the time came; better
// says that it is the new one, which an equal score is not. On a board where the
// lowest score leads, lowest is set. A score beyond MaxScore is out_of_range.
func Submit(have Best, score int64, lowest bool, came int64) (best Best, better bool, err error) {
	if score > MaxScore || score < -MaxScore {
		return Best{}, false, wire.Errorf(wire.OutOfRange, "score must be from %d to %d, got %d", int64(-MaxScore), int64(MaxScore), score)
	}
	if have.Came != 0 && (score == have.Score || (score < have.Score) != lowest) {
		return have, false, nil
	}
	return Best{Score: score, Came: came}, true, nil
}
