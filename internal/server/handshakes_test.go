package server

import (
	"testing"
	"time"
)

func TestMemoryIsGivenBackAfterManyHandshakes(t *testing.T) {
	var underway int
	var begun uint64
	freed := 0
	a := afterHandshakes{handshakes: func() (int, uint64) { return underway, begun }, free: func() { freed++ }}
	now := time.Unix(1_000_000, 0)
	for i, step := range []struct {
		underway int
		begun    uint64
		after    time.Duration
		want     int
	}{
		{0, 0, 2 * time.Second, 0},
		{0, 999, 2 * time.Second, 0},
		{0, 999, 2 * time.Second, 0},  // not many
		{5, 2000, 2 * time.Second, 0}, // they still come
		{5, 2000, 2 * time.Second, 0}, // and are under way
		{0, 2000, 2 * time.Second, 1},
		{0, 2000, 2 * time.Minute, 1},
		{0, 4000, 2 * time.Second, 1},
		{0, 4000, 2 * time.Second, 2},
		{0, 9000, 2 * time.Second, 2},
		{0, 9000, 2 * time.Second, 2}, // not again so soon
		{0, 9000, time.Minute, 3},
	} {
		underway, begun = step.underway, step.begun
		now = now.Add(step.after)
		if a.look(now); freed != step.want {
			t.Errorf("step %d: freed %d times, want %d", i, freed, step.want)
		}
	}
}
