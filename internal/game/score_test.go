package game

import (
	"math"
	"testing"

	"gameserverd/wire"
)

func TestSubmit(t *testing.T) {
	none := Best{}
	for _, test := range []struct {
		have   Best
		score  int64
		lowest bool
		better bool
	}{
		{none, 0, false, true}, {none, 0, true, true}, {none, -5, false, true}, {none, MaxScore, true, true}, {none, -MaxScore, false, true},
		{Best{10, 1}, 11, false, true}, {Best{10, 1}, 10, false, false}, {Best{10, 1}, 9, false, false},
		{Best{10, 1}, 11, true, false}, {Best{10, 1}, 10, true, false}, {Best{10, 1}, 9, true, true},
		{Best{0, 1}, -1, false, false}, {Best{-1, 1}, 0, false, true}, {Best{-1, 1}, -2, true, true}, {Best{0, 1}, 0, true, false},
	} {
		want := test.have
		if test.better {
			want = Best{test.score, 99}
		}
		best, better, err := Submit(test.have, test.score, test.lowest, 99)
		if best != want || better != test.better || err != nil {
			t.Errorf("%+v: got %+v, %v, %v", test, best, better, err)
		}
	}
	for _, score := range []int64{MaxScore + 1, -MaxScore - 1, math.MaxInt64, math.MinInt64} {
		for _, lowest := range []bool{false, true} {
			_, _, err := Submit(Best{10, 1}, score, lowest, 99)
			refused(t, err, wire.OutOfRange, "from -9007199254740991 to 9007199254740991")
		}
	}
}
