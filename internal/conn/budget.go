package conn

import "sync/atomic"

// Budget bounds the bytes of output buffers of all Sets that share it. What is
// counted is the buffers' size, not their contents, so that it is a bound on
// memory. Any goroutine.
type Budget struct {
	limit int64        // immutable after NewBudget
	used  atomic.Int64 // any goroutine
}

// NewBudget returns a budget of so many bytes.
func NewBudget(bytes int) *Budget { return &Budget{limit: int64(bytes)} }

// Limit returns the bytes there are in all. Any goroutine.
func (b *Budget) Limit() int { return int(b.limit) }

// Used returns the bytes in use now. Any goroutine.
func (b *Budget) Used() int { return int(b.used.Load()) }

// take reserves n bytes, or nothing and returns false. A nil budget has no limit.
func (b *Budget) take(n int) bool {
	if b == nil || n == 0 {
		return true
	}
	if b.used.Add(int64(n)) > b.limit {
		b.used.Add(int64(-n))
		return false
	}
	return true
}

// give returns n bytes.
func (b *Budget) give(n int) {
	if b != nil && n != 0 {
		b.used.Add(int64(-n))
	}
}

// force takes n bytes that cannot be refused.
func (b *Budget) force(n int) {
	if b != nil {
		b.used.Add(int64(n))
	}
}
