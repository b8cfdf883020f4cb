package conn

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestALevelEndsWhoeverWasFaster: bytes are given back while somebody else is just
// about to raise the level, and nothing happens after that.
func TestALevelEndsWhoeverWasFaster(t *testing.T) {
	var turn, done atomic.Int64
	var budget atomic.Pointer[Budget]
	other := func() {
		for round := int64(1); ; round++ {
			for turn.Load() != round {
				if turn.Load() < 0 {
					return
				}
			}
			budget.Load().Add(-75)
			done.Store(round)
		}
	}
	go other()
	defer turn.Store(-1)
	until := time.Now().Add(2 * time.Second)
	for i := int64(1); time.Now().Before(until); i++ {
		b := NewBudget(100)
		b.Add(75)
		budget.Store(b)
		turn.Store(i)
		for range i % 40 {
			turn.Load()
		}
		b.Add(10)
		for done.Load() != i {
		}
		if b.Level() != Calm {
			t.Fatalf("round %d: %d bytes are in use, and the level is %v", i, b.Used(), b.Level())
		}
	}
}
