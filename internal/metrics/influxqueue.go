package metrics

import "sync"

// pushQueue is what waits to be sent: bodies, compressed, the oldest first, of so many
// bytes at most. Any goroutine.
type pushQueue struct {
	// immutable
	limit int

	mu      sync.Mutex    // guards what follows
	bodies  [][]byte      //
	bytes   int           // of bodies
	sending bool          // the first is being sent, and must not be dropped
	wake    chan struct{} // has one when something was added
}

func newPushQueue(limit int) *pushQueue {
	return &pushQueue{limit: limit, wake: make(chan struct{}, 1)}
}

// add adds a body, and drops the oldest until it fits, or itself where that is not
// enough. It returns how many were dropped.
func (q *pushQueue) add(body []byte) (dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	oldest := 0
	if q.sending {
		oldest = 1
	}
	for q.bytes+len(body) > q.limit && len(q.bodies) > oldest {
		q.bytes -= len(q.bodies[oldest])
		q.bodies = append(q.bodies[:oldest], q.bodies[oldest+1:]...)
		dropped++
	}
	if q.bytes+len(body) > q.limit {
		return dropped + 1
	}
	q.bodies = append(q.bodies, body)
	q.bytes += len(body)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return dropped
}

// first returns the oldest body, which stays in the queue until sent; nil: there is
// none.
func (q *pushQueue) first() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.bodies) == 0 {
		return nil
	}
	q.sending = true
	return q.bodies[0]
}

// sent ends what first began: the body is done with, or stays the first.
func (q *pushQueue) sent(done bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sending = false
	if done {
		q.bytes -= len(q.bodies[0])
		q.bodies[0] = nil
		q.bodies = q.bodies[1:]
	}
}

// size is how many bytes wait.
func (q *pushQueue) size() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}
