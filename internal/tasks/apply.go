package tasks

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hibiken/asynq"
	"github.com/vmihailenco/msgpack/v5"

	"gameserverd/internal/commit"
	"gameserverd/internal/future"
	"gameserverd/internal/players"
	"gameserverd/wire"
)

// Receipt is a task that was applied; R is what its function returns.
type Receipt[R any] struct {
	ID     ID
	tasks  *Tasks
	keep   time.Duration
	stored *future.Future[struct{}]
}

// Stored resolves when the task's row is committed: from then on it is not lost. It
// fails, and the task never runs, with already_exists where Unique forbids it, and with
// unavailable when SQL does not answer within Options.Timeout; only if a transaction was
// under way by then the task may yet run, and the message says so. Of a task of Write it
// fails as the change does. Any goroutine.
func (r *Receipt[R]) Stored() *future.Future[struct{}] { return r.stored }

// Result resolves to what the task's function has returned, when it has, on whichever
// process. It fails as Stored does, when the task was archived or revoked, and with
// not_found when it has ended and Keep is over. Only a task that is applied with Keep has
// one. Any goroutine.
func (r *Receipt[R]) Result() *future.Future[R] {
	out := future.New[R]()
	if r.keep == 0 {
		out.Fail(fmt.Errorf("task %s: a result is there only with Keep", r.ID))
		return out
	}
	r.stored.Then(inline{}, func(_ struct{}, err error) {
		if err != nil {
			out.Fail(err)
			return
		}
		r.tasks.awaitEnd(r.ID, func(result []byte, err error) {
			var v R
			if err == nil && len(result) > 0 { // a function without a result leaves none
				err = wire.Unmarshal(result, &v)
			}
			if err != nil {
				out.Fail(err)
				return
			}
			out.Resolve(v)
		})
	})
	return out
}

// Apply stores a task in a transaction of its own; it runs on some process of the same
// stores as soon as its options allow. An error says that it can never run: arguments
// or options that are not allowed. Any goroutine.
func Apply[R any](t *Tasks, task Task[R], list ...Option) (*Receipt[R], error) {
	r, o, err := t.newRow(&task.job, list)
	if err != nil {
		return nil, err
	}
	stored := future.New[struct{}]()
	t.store(r, o, stored)
	return &Receipt[R]{ID: durableID(r.id), tasks: t, keep: o.keep, stored: stored}, nil
}

// Write applies a task with the change d of a player: both are stored, or neither. The
// receipt's Stored ends as the change does, and one that Unique forbids fails the change
// with already_exists. Loop only, while d is being made.
func Write[R any](t *Tasks, d *players.Draft, task Task[R], list ...Option) (*Receipt[R], error) {
	r, o, err := t.newRow(&task.job, list)
	if err != nil {
		return nil, err
	}
	stored := future.New[struct{}]()
	rows := t.rows(r, o)
	if slices.ContainsFunc(rows, d.Writes) { // the key: an earlier task of this change has it
		return nil, errDuplicateKey(o)
	}
	d.Write(rows...)
	d.OnCommit(func() {
		t.committed(r)
		stored.Resolve(struct{}{})
	})
	d.OnFail(func(err error) error {
		if commit.DuplicateIn(err, keysTable) {
			err = notStored(err, o)
		}
		stored.Fail(err)
		return err
	})
	return &Receipt[R]{ID: durableID(r.id), tasks: t, keep: o.keep, stored: stored}, nil
}

// newRow is a task's row, made now.
func (t *Tasks) newRow(j *job, list []Option) (*row, options, error) {
	o, err := j.collect(t, list)
	if err != nil {
		return nil, o, err
	}
	now := t.o.Clock()
	runMS := now.UnixMilli()
	if o.at.After(now) {
		runMS = ceilMS(o.at)
	}
	return &row{
		id: t.ids.next(now), name: j.def.Name, queue: o.queue, args: j.args, runMS: runMS, retries: int64(o.retries),
		backoffMS: o.backoff.Milliseconds(), timeoutMS: o.timeout.Milliseconds(), keepMS: o.keep.Milliseconds(), createdMS: now.UnixMilli(),
	}, o, nil
}

// ceilMS rounds up: nothing runs too early.
func ceilMS(at time.Time) int64 { return at.Add(time.Millisecond - 1).UnixMilli() }

// rows are what a task writes.
func (t *Tasks) rows(r *row, o options) []commit.Row {
	rows := []commit.Row{r.insert(t.handGrace())}
	if o.unique != "" {
		now := t.o.Clock()
		rows = append(rows, commit.Row{Op: commit.Insert, Table: keysTable, Values: []any{o.unique, r.id, now.Add(o.window).UnixMilli()}, Now: now.UnixMilli()})
	}
	return rows
}

// store commits a task's row.
func (t *Tasks) store(r *row, o options, stored *future.Future[struct{}]) {
	c := &commit.Change{Home: inline{}, Rows: t.rows(r, o)}
	c.Done = func(done commit.Outcome) {
		if done.Err != nil {
			stored.Fail(notStored(done.Err, o))
			return
		}
		t.committed(r)
		stored.Resolve(struct{}{})
	}
	if err := t.o.Group.Submit(c); err != nil {
		stored.Fail(err)
		return
	}
	t.storing.add(c, stored)
}

// notStored is why a task was not stored, for whoever applied it.
func notStored(err error, o options) error {
	switch {
	case commit.DuplicateIn(err, keysTable):
		return errDuplicateKey(o)
	case errors.Is(err, commit.ErrAbandoned), errors.Is(err, commit.ErrClosed):
		return errAway("the task was not applied, and will not be")
	case errors.Is(err, commit.ErrUnknown):
		return errNotKnown
	}
	return err
}

func errDuplicateKey(o options) error {
	return wire.Errorf(wire.AlreadyExists, "a task with the key %q was applied already", o.unique)
}

// committed is told of each row that was stored, on whatever goroutine knows it.
func (t *Tasks) committed(r *row) {
	t.counts.applied.Add(1)
	t.statsOf(r.name).applied.Add(1)
	t.carrier.hand(delivery{id: r.id, queue: r.queue, runMS: r.runMS})
}

// inline runs a callback where the result is known; for what does not block.
type inline struct{}

func (inline) AddCallback(fn func()) bool { fn(); return true }

// envelope is an ephemeral task as Redis has it.
type envelope struct {
	Name      string
	Args      []byte
	RunMS     int64
	Retries   int
	BackoffMS int64
	TimeoutMS int64
}

// readEnvelope reads what Redis has, and refuses what no process of ours has put there.
func readEnvelope(payload []byte) (e envelope, err error) {
	if err := wire.Unmarshal(payload, &e); err != nil {
		return e, err
	}
	switch {
	case len(e.Args) > maxArgs:
		err = fmt.Errorf("%d bytes of arguments", len(e.Args))
	case e.RunMS < 0 || e.RunMS > latestMS:
		err = fmt.Errorf("the time %d", e.RunMS)
	case e.Retries < 0 || e.Retries > maxRetries:
		err = fmt.Errorf("%d retries", e.Retries)
	case e.BackoffMS < 0 || e.BackoffMS > latestMS || e.TimeoutMS < 1 || e.TimeoutMS > maxTimeout.Milliseconds():
		err = fmt.Errorf("a backoff of %d ms, a timeout of %d ms", e.BackoffMS, e.TimeoutMS)
	}
	return e, err
}

const (
	ephemeralType = "ephemeral"
	durableType   = "durable"
)

// ApplyEphemeral hands a task to Redis, and resolves to its id when Redis has it. It
// may be lost with Redis, and its result is forgotten; Keep does nothing. Any
// goroutine.
func ApplyEphemeral[R any](t *Tasks, task Ephemeral[R], list ...Option) *future.Future[ID] {
	o, err := task.collect(t, list)
	if err != nil {
		return future.Failed[ID](err)
	}
	payload, err := msgpack.Marshal(&envelope{
		Name: task.def.Name, Args: task.args, RunMS: ceilMS(o.at), Retries: o.retries, BackoffMS: o.backoff.Milliseconds(), TimeoutMS: o.timeout.Milliseconds(),
	})
	if err != nil {
		return future.Failed[ID](err)
	}
	out := future.New[ID]()
	if !t.carrier.enqueueEphemeral(ephemeralDelivery{task.def.Name, payload, o, out}) {
		out.Fail(&wire.Error{Code: wire.ResourceExhausted, Message: "too many tasks wait to be handed to redis", RetryAfter: time.Second})
	}
	return out
}

// ephemeralOptions are asynq's, for an ephemeral task.
func ephemeralOptions(id string, o options) []asynq.Option {
	list := []asynq.Option{
		asynq.TaskID(id), asynq.Queue(o.queue), asynq.Timeout(carrierTimeout),
		// One more than we count: asynq archives what was lost with its worker when no
		// retry is left, and we do that ourselves.
		asynq.MaxRetry(o.retries + 1),
	}
	if !o.at.IsZero() {
		list = append(list, asynq.ProcessAt(ceilSecond(o.at)))
	}
	return list
}

// ceilSecond rounds up: asynq truncates to seconds, and would run it too early.
func ceilSecond(at time.Time) time.Time {
	return at.Add(time.Second - 1).Truncate(time.Second)
}

// awaitEnd calls fn when a task that was stored has ended, once, on a goroutine of its
// own; it asks SQL, less often the longer it takes.
func (t *Tasks) awaitEnd(id ID, fn func(result []byte, err error)) {
	go func() {
		wait := 20 * time.Millisecond
		for {
			info, err := t.Show(t.ctx, id)
			switch {
			case t.ctx.Err() != nil:
				fn(nil, wire.Errorf(wire.Unavailable, "the server is shutting down"))
				return
			case err == nil && info.state == Done:
				fn(info.result, nil)
				return
			case err == nil && info.state == Archived:
				fn(nil, fmt.Errorf("task %s was given up: %s", id, info.Problem))
				return
			case err == nil && info.state == Revoked:
				fn(nil, wire.Errorf(wire.Canceled, "task %s was revoked", id))
				return
			case wire.CodeOf(err) == wire.NotFound:
				fn(nil, err)
				return
			}
			pause := time.NewTimer(wait)
			select {
			case <-pause.C:
			case <-t.ctx.Done():
				pause.Stop()
			}
			wait = min(2*wait, time.Second)
		}
	}()
}
