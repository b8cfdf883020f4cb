package tasks

import "time"

// slots are the tasks that may run at once in this process. Whoever runs one has a slot;
// it may be given on. Any goroutine.
type slots chan struct{}

// one takes a slot, unless stop is closed first.
func (s slots) one(stop <-chan struct{}) bool {
	select {
	case s <- struct{}{}:
		return true
	case <-stop:
		return false
	}
}

// until takes a slot, unless late or stop comes first.
func (s slots) until(late <-chan time.Time, stop <-chan struct{}) bool {
	select {
	case s <- struct{}{}:
		return true
	default:
	}
	select {
	case s <- struct{}{}:
		return true
	case <-late:
	case <-stop:
	}
	return false
}

// more takes up to n slots that are free now.
func (s slots) more(n int) (taken int) {
	for ; taken < n; taken++ {
		select {
		case s <- struct{}{}:
		default:
			return taken
		}
	}
	return taken
}

// free gives n slots back.
func (s slots) free(n int) {
	for range n {
		<-s
	}
}
