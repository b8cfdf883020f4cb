package commit

import (
	"errors"
	"sync/atomic"

	"gameserverd/internal/future"
)

// The errors of an Outcome that callers tell apart. Any other is the store's, about this change alone; its text is for the log.
var (
	// ErrLostRace: another process has taken the player over since Version was read. Nothing of the change is stored.
	ErrLostRace = errors.New("commit: another process has the player now")
	// ErrDuplicate: a row to be inserted is there already. Nothing of the change is stored. DuplicateIn tells of which table.
	ErrDuplicate = errors.New("commit: a row to be inserted is there already")
	// ErrAbandoned: Abandon was called. Nothing of the change is stored.
	ErrAbandoned = errors.New("commit: abandoned")
	// ErrClosed: the Group was closed first. Nothing of the change is stored.
	ErrClosed = errors.New("commit: closed before the change was stored")
	// ErrUnknown: the Group was closed while the store did not tell whether it has the change. It is stored whole or not at all.
	ErrUnknown = errors.New("commit: closed before it was known whether the change is stored")
)

// duplicateError is an ErrDuplicate that knows the table.
type duplicateError struct {
	table *Table
	cause error // the store's
}

func (e *duplicateError) Error() string {
	return "commit: a row to be inserted into " + e.table.name + " is there already"
}
func (e *duplicateError) Is(target error) bool { return target == ErrDuplicate }
func (e *duplicateError) Unwrap() error        { return e.cause }

// DuplicateIn tells whether err is an ErrDuplicate because of a row of t. Any goroutine.
func DuplicateIn(err error, t *Table) bool {
	var d *duplicateError
	return errors.As(err, &d) && d.table == t
}

// Fence says what the row of a change's player must be like.
type Fence uint8

// The fences.
const (
	NoFence Fence = iota // rows that anyone may write: a mail to somebody
	Hold                 // players.version of UID is Version, or the change fails alone with ErrLostRace
	Take                 // players.version of UID becomes one more and seen_ms becomes Seen: every older Hold of others fails from now on
)

// Outcome is what has become of a change.
type Outcome struct {
	Err     error // nil: stored
	Version int64 // after a Take: the version to Hold from now on
	Missing bool  // after a Take: there is no such player; the change's rows are stored all the same
}

// Change is rows that are stored together or not at all. The caller fills in the fields and must not touch them between Submit and
// Done. A Change is submitted once and not copied.
type Change struct {
	UID     uint64 // whom the fence is about; the store has the signed number with the same bits
	Fence   Fence
	Version int64 // of a Hold
	Seen    int64 // of a Take, milliseconds since 1970
	Rows    []Row // one key of one table at most once

	// Home is where Done runs; all that is known at one time is one post. A Home that no longer takes callbacks never runs Done.
	Home future.Poster
	// Done is called exactly once for each accepted change, when it is known whether it is stored, and only then. A panic in it is
	// logged and costs nobody else's Done. Never within Submit or Abandon.
	Done func(Outcome)

	// any goroutine
	state atomic.Uint32
	group atomic.Pointer[Group] // set by Submit

	// immutable after Submit
	number uint64 // orders changes as they were submitted
	rows   int    // counted against BatchRows, at least 1
	bytes  int    // counted against BatchBytes and QueueBytes

	// guarded by Group.mu
	links   []link // one for each key: its place in the key's order
	inline  [3]link
	blocked int // links with another change before them
	ready   int // index in the queue's heap, -1: not there

	// the runner's alone while state is running, handed to Done with it
	outcome Outcome
}

// The states of a change. Whoever moves it to settled, by a compare-and-swap, is the one who has Done called.
const (
	fresh    uint32 = iota // not submitted
	waiting                // known not to be stored, and no transaction with it can still commit
	running                // a transaction with it is under way, or its outcome is not known yet
	unwanted               // running, and abandoned meanwhile: not to be tried again
	settled                // its Outcome is decided
	dropped                // settled by Abandon
)

// Abandon says that nobody waits for the change any more. True: it will never be stored, and Done is posted with ErrAbandoned if it
// was submitted. False: a transaction with it may be under way, or it has ended: Done tells, when it is known; if it then is not
// stored it is not tried again. Any goroutine.
func (c *Change) Abandon() bool {
	for {
		switch s := c.state.Load(); s {
		case fresh:
			if c.state.CompareAndSwap(s, dropped) {
				return true
			}
		case waiting:
			if c.state.CompareAndSwap(s, dropped) {
				c.group.Load().abandoned(c)
				return true
			}
		case running:
			if c.state.CompareAndSwap(s, unwanted) {
				return false
			}
		default:
			return s == dropped
		}
	}
}
