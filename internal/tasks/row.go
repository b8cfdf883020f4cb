package tasks

import (
	"math/rand/v2"
	"sync"
	"time"

	"gameserverd/internal/commit"
	"gameserverd/internal/store"
)

// The tables as rows are written to them; the columns are in internal/store/schema.
var (
	tasksTable = commit.NewTable("tasks", []string{"id"}, "name", "queue", "args", "state", "run_ms", "look_ms", "claim", "attempts",
		"failures", "revoked", "retries", "backoff_ms", "timeout_ms", "retain_ms", "created_ms", "ended_ms", "result", "problem")
	keysTable  = commit.NewTable("tasks_keys", []string{"unique_key"}, "id", "until_ms").Expiring("until_ms")
	ticksTable = commit.NewTable("tasks_ticks", []string{"schedule", "tick_ms"}, "id")
)

// State is what has become of a task.
type State int64

// The states. Waiting and Running are not the end; whatever else is.
const (
	Waiting State = iota
	Running
	Done
	Archived // given up, with its problem: retry makes it wait again
	Revoked
)

var stateNames = [...]string{"waiting", "running", "done", "archived", "revoked"}

func (s State) String() string {
	if s >= 0 && int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// handGrace is how long after its time a task that nobody has taken is handed over
// again, as long as a lease: the queue in Redis may be long, or lost.
func (t *Tasks) handGrace() int64 { return t.o.Lease.Milliseconds() }

// row is a task as SQL has it, without its end.
type row struct {
	id                                    int64
	name, queue                           string
	args                                  []byte
	runMS, attempts, failures             int64
	retries, backoffMS, timeoutMS, keepMS int64
	createdMS                             int64
	claim                                 int64 // of a row that was taken
}

// ids makes the ids of rows: 41 bits of milliseconds since 2026, 10 bits that are this
// process's, at random, and a count of 12. So none comes twice in a process; two
// processes make the same one if they have the same bits, in the same millisecond, with
// the same count: the change fails then, and is no worse than one that was never begun.
type ids struct {
	mu   sync.Mutex // guards last
	last int64      // milliseconds and count, without the process's bits
	own  int64
}

const (
	idEpoch   = 1767225600000 // 2026-01-01, in milliseconds
	ownBits   = 10
	countBits = 12
)

func newIDs() *ids { return &ids{own: rand.Int64N(1 << ownBits)} }

// next is the id of a row made at now; later ones are greater.
func (i *ids) next(now time.Time) int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	// The count begins at random, so that two processes with the same bits seldom meet.
	i.last = max(i.last+1, (now.UnixMilli()-idEpoch)<<countBits|rand.Int64N(1<<(countBits-1)))
	return i.last>>countBits<<(ownBits+countBits) | i.own<<countBits | i.last&(1<<countBits-1)
}

// insert is the row; grace is how long after its time it is looked at, in milliseconds.
func (r *row) insert(grace int64) commit.Row {
	return commit.Row{Op: commit.Insert, Table: tasksTable, Values: []any{
		r.id, r.name, r.queue, r.args, int64(Waiting), r.runMS, r.runMS + grace, int64(0), int64(0),
		int64(0), int64(0), r.retries, r.backoffMS, r.timeoutMS, r.keepMS, r.createdMS, int64(0), []byte(nil), []byte(nil),
	}}
}

// columns are what scan reads.
const columns = `id, name, queue, args, run_ms, attempts, failures, retries, backoff_ms, timeout_ms, retain_ms, created_ms, claim`

func scan(r store.Row) (*row, error) {
	t := new(row)
	err := r.Scan(&t.id, &t.name, &t.queue, &t.args, &t.runMS, &t.attempts, &t.failures, &t.retries, &t.backoffMS, &t.timeoutMS, &t.keepMS, &t.createdMS, &t.claim)
	return t, err
}

// backoff is how long the task waits after its nth failure, counted from 1.
func (r *row) backoff(n int64) time.Duration {
	d := time.Duration(r.backoffMS) * time.Millisecond
	for ; n > 1 && d < maxBackoff; n-- {
		d *= 2
	}
	d = min(d, maxBackoff)
	return d + rand.N(d/10+1) // so that what failed together is not tried together
}
