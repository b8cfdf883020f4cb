package loop

import "runtime"

// goroutineID returns the id of the calling goroutine, as tracebacks print it. The runtime has no other way to ask; it takes about
// a microsecond, so it is for Start and for checks.
func goroutineID() uint64 {
	var buf [64]byte
	const prefix = len("goroutine ")
	var id uint64
	for _, c := range buf[prefix:runtime.Stack(buf[:], false)] {
		if c < '0' || c > '9' {
			break
		}
		id = id*10 + uint64(c-'0')
	}
	return id
}
