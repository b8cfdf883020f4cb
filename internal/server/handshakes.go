package server

import "time"

const (
	// manyHandshakes is how many leave so much garbage, some 100 KiB each, that it is
	// worth a collection of its own. Without one the process would keep twice what
	// its connections take, for minutes.
	manyHandshakes = 1000
	// freeEvery is how often that is done at most: a collection takes some of one
	// processor, though it holds nobody up.
	freeEvery = time.Minute
)

// afterHandshakes gives memory back to the system when a crowd of TLS clients has
// come and is connected.
type afterHandshakes struct {
	handshakes func() (underway int, begun uint64)
	free       func()
	seen       uint64 // handshakes begun at the last look
	done       uint64 // and when memory was last given back
	last       time.Time
}

// look is called now and then, on one goroutine.
func (a *afterHandshakes) look(now time.Time) {
	underway, begun := a.handshakes()
	quiet := begun == a.seen && underway == 0
	a.seen = begun
	if quiet && begun-a.done >= manyHandshakes && now.Sub(a.last) >= freeEvery {
		a.done, a.last = begun, now
		a.free()
	}
}
