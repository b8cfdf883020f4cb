package conn

import (
	"sync"
	"sync/atomic"
)

// Level is how much of a Budget is used. When it is near its end the process sheds
// what it has, in this order:
//
//	Refusing  from 80 %: new connections are refused
//	Strangers from 90 %: connections without a login are closed
//	Largest   from 97 %: the connections are closed that have the most bytes waiting
//
// A level ends 5 % below where it begins. A Budget only says so; Set.Shed is the
// last step for output, all else is done above. Never shed are connections for
// which no more waits than their smallest buffer holds, and those that flush their
// last bytes, up to 64 KiB: answers to heartbeats, goodbyes, the answers of a
// drain. Their smallest buffer is never refused either.
type Level int32

// The levels, in order.
const (
	Calm Level = iota
	Refusing
	Strangers
	Largest
	levels
)

// from has where each level begins, in percent.
var from = [levels]int64{0, 80, 90, 97}

// lag is how many percent less it takes for a level to end.
const lag = 5

// String is the level's name for logs.
func (l Level) String() string {
	return [levels]string{"calm", "refusing new connections", "closing connections without login", "closing those with the most bytes waiting"}[l]
}

// Budget bounds the bytes of buffers of all Sets that share it. What is counted is
// the buffers' size, not their contents, so that it is a bound on memory. Output
// is asked for and refused; input, which has come already, is only counted. Any
// goroutine.
type Budget struct {
	// any goroutine
	limit atomic.Int64
	used  atomic.Int64
	level atomic.Int32
	rise  atomic.Int64 // the bytes at which the level may be higher
	fall  atomic.Int64 // the bytes under which the level is lower

	mu      sync.Mutex // of those who change the level
	changed func()     // guarded by mu
}

// NewBudget returns a budget of so many bytes.
func NewBudget(bytes int) *Budget {
	b := new(Budget)
	b.Set(bytes)
	return b
}

// Set changes how many bytes there are. What is in use stays in use. Any goroutine.
func (b *Budget) Set(bytes int) {
	b.limit.Store(int64(bytes))
	b.look()
}

// OnLevel has fn called after each change of the level, on whichever goroutine has
// caused it, with connections in the middle of something: it must only make
// somebody look. Any goroutine.
func (b *Budget) OnLevel(fn func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed = fn
}

// Limit returns the bytes there are in all. Any goroutine.
func (b *Budget) Limit() int { return int(b.limit.Load()) }

// Used returns the bytes in use now. Any goroutine.
func (b *Budget) Used() int { return int(b.used.Load()) }

// Level returns how much is used. Any goroutine.
func (b *Budget) Level() Level { return Level(b.level.Load()) }

// Add counts n bytes that cannot be refused, or with a negative n their end. Any
// goroutine.
func (b *Budget) Add(n int) {
	if b == nil || n == 0 {
		return
	}
	if used := b.used.Add(int64(n)); used >= b.rise.Load() || used < b.fall.Load() {
		b.look()
	}
}

// take reserves n bytes, or nothing and returns false. A nil budget has no limit.
func (b *Budget) take(n int) bool {
	if b == nil || n == 0 {
		return true
	}
	used := b.used.Add(int64(n))
	over := used > b.limit.Load()
	if over {
		b.used.Add(int64(-n))
	}
	if used >= b.rise.Load() {
		b.look()
	}
	return !over
}

// give returns n bytes.
func (b *Budget) give(n int) { b.Add(-n) }

// look sets the level by what is used now. It looks again when that is done: who
// has changed what is used meanwhile may have done so by the old bounds.
func (b *Budget) look() {
	b.mu.Lock()
	was := Level(b.level.Load())
	is := b.settle(was)
	for again := b.settle(is); again != is; again = b.settle(is) {
		is = again
	}
	changed := b.changed
	b.mu.Unlock()
	if is != was && changed != nil {
		changed()
	}
}

// settle moves the level from is to that of now, and returns it. Under mu.
func (b *Budget) settle(is Level) Level {
	limit, used := b.limit.Load(), b.used.Load()
	begins := func(l Level) int64 { return limit * from[l] / 100 }
	ends := func(l Level) int64 { return limit * (from[l] - lag) / 100 }
	for is < Largest && used >= begins(is+1) {
		is++
	}
	for is > Calm && used < ends(is) {
		is--
	}
	b.level.Store(int32(is))
	rise, fall := limit+1, int64(0) // over the limit a write is refused, which is looked at in any case
	if is < Largest {
		rise = begins(is + 1)
	}
	if is > Calm {
		fall = ends(is)
	}
	b.rise.Store(rise)
	b.fall.Store(fall)
	return is
}
