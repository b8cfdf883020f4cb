package tasks

import (
	"context"
	"strings"
	"time"

	"go.uber.org/zap"

	"gameserverd/internal/store"
	"gameserverd/wire"
)

// Info is a durable task for people.
type Info struct {
	ID        ID     `json:"id"`
	Name      string `json:"name"`
	Queue     string `json:"queue"`
	State     string `json:"state"`
	RunMS     int64  `json:"run_ms"` // not before, in UTC milliseconds
	CreatedMS int64  `json:"created_ms"`
	EndedMS   int64  `json:"ended_ms,omitempty"`
	Attempts  int64  `json:"attempts"`
	Failures  int64  `json:"failures"`
	Retries   int64  `json:"retries"`
	Problem   string `json:"problem,omitempty"` // of its last failure
	Args      []byte `json:"args"`              // MessagePack
	Result    []byte `json:"result,omitempty"`  // MessagePack

	state  State
	result []byte
}

const infoColumns = `id, name, queue, state, run_ms, created_ms, ended_ms, attempts, failures, retries, problem, args, result`

// What a list has of each: arguments and results could be 128 MB of a thousand, and
// nobody reads them there; of a problem the beginning.
const (
	maxListed   = 500
	listColumns = `id, name, queue, state, run_ms, created_ms, ended_ms, attempts, failures, retries, SUBSTR(problem, 1, 500), '', ''`
)

// Statements. selectInfo finds one row by the primary key; selectInfos those of a
// state, the next to be looked at first, by tasks_look; countStates counts by it.
const (
	selectInfo  = `SELECT ` + infoColumns + ` FROM tasks WHERE id = ?`
	selectInfos = `SELECT ` + listColumns + ` FROM tasks WHERE state = ? ORDER BY look_ms LIMIT ?`
	countStates = `SELECT state, COUNT(*) FROM tasks GROUP BY state`
	revokeOne   = `UPDATE tasks SET state = 4, revoked = 1, ended_ms = ?, look_ms = ? WHERE id = ? AND state = 0`
	stopOne     = `UPDATE tasks SET revoked = 1 WHERE id = ? AND state = 1 AND revoked = 0`
	retryOne    = `UPDATE tasks SET state = 0, revoked = 0, attempts = 0, failures = 0, ended_ms = 0, run_ms = ?, look_ms = ? WHERE id = ? AND state IN (3, 4)`
	archiveOne  = `UPDATE tasks SET state = 3, ended_ms = ?, look_ms = ?, problem = ? WHERE id = ? AND state = 0`
)

func scanInfo(r store.Row) (i Info, err error) {
	var id, state int64
	var problem []byte
	err = r.Scan(&id, &i.Name, &i.Queue, &state, &i.RunMS, &i.CreatedMS, &i.EndedMS, &i.Attempts, &i.Failures, &i.Retries, &problem, &i.Args, &i.Result)
	i.ID, i.state, i.State, i.Problem, i.result = durableID(id), State(state), State(state).String(), string(problem), i.Result
	return i, err
}

// Show finds a task, an ephemeral one as Redis has it, for which what is not known is 0;
// not_found: it never was, or has ended and was forgotten. Any goroutine but a loop's.
func (t *Tasks) Show(ctx context.Context, id ID) (Info, error) {
	n, ok := id.row()
	if !ok {
		c, err := t.findCarried(ctx, id)
		return c.Info, err
	}
	found, err := t.o.SQL.FetchOneContext(ctx, selectInfo, n)
	switch {
	case err != nil:
		return Info{}, err
	case found.None():
		return Info{}, errNoTask(id)
	}
	return scanInfo(found)
}

func errNoTask(id ID) error {
	return wire.Errorf(wire.NotFound, "there is no task %s, or it has ended and was forgotten", id)
}

// List finds tasks in a state, limit at most, without arguments and results and with the
// beginning of the problem. Those that are durable, and behind them, of the archived, what
// Redis keeps aside, unless it does not answer. Any goroutine but a loop's.
func (t *Tasks) List(ctx context.Context, state State, limit int) ([]Info, error) {
	rows, err := t.o.SQL.FetchAllContext(ctx, selectInfos, int64(state), int64(limit))
	if err != nil {
		return nil, err
	}
	list := make([]Info, len(rows))
	for i, found := range rows {
		if list[i], err = scanInfo(found); err != nil {
			return nil, err
		}
		list[i].Problem = strings.ToValidUTF8(list[i].Problem, "\uFFFD")
	}
	if state == Archived && len(list) < limit {
		aside, err := t.listAside(ctx, limit-len(list))
		if err != nil {
			t.o.Log.Debug("what redis keeps aside could not be listed", zap.Error(err))
		}
		list = append(list, aside...)
	}
	return list, nil
}

// Count counts the durable tasks by the name of their state. Any goroutine but a
// loop's.
func (t *Tasks) Count(ctx context.Context) (map[string]int64, error) {
	rows, err := t.o.SQL.FetchAllContext(ctx, countStates)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int64)
	for _, found := range rows {
		var state, n int64
		if err := found.Scan(&state, &n); err != nil {
			return nil, err
		}
		counts[State(state).String()] = n
	}
	return counts, nil
}

// Revoke sees to it that a task does not run, or stops: waiting tells that it had not
// begun. One that runs has its context cancelled, on whichever process, and ends as
// revoked. One that has ended or was revoked before is failed_precondition. Any
// goroutine but a loop's.
func (t *Tasks) Revoke(ctx context.Context, id ID) (waiting bool, err error) {
	n, durable := id.row()
	if !durable {
		return t.revokeEphemeral(ctx, id)
	}
	now := t.o.Clock()
	result, err := t.o.SQL.ExecContext(ctx, revokeOne, now.UnixMilli(), now.Add(keepRevoked).UnixMilli(), n)
	if err != nil || result.RowsAffected == 1 {
		if err == nil {
			t.counts.revoked.Add(1)
		}
		return err == nil, err
	}
	if result, err = t.o.SQL.ExecContext(ctx, stopOne, n); err != nil {
		return false, err
	}
	if result.RowsAffected == 1 {
		t.stopRun(id)
		t.bus.publish(message{Kind: kindRevoke, Task: string(id)})
		return false, nil
	}
	info, err := t.Show(ctx, id)
	switch {
	case err != nil:
		return false, err
	case info.state == Running || info.state == Revoked:
		return false, wire.Errorf(wire.FailedPrecondition, "task %s was revoked already", id)
	case info.state == Waiting:
		return t.Revoke(ctx, id) // it has just been put back
	}
	return false, errEnded(id, info.state)
}

// stopRun cancels a run of this process.
func (t *Tasks) stopRun(id ID) {
	t.mu.Lock()
	r := t.ephemeral[string(id)]
	if n, ok := id.row(); ok {
		r = t.running[n]
	}
	t.mu.Unlock()
	if r != nil {
		r.end(errRevoked)
	}
}

// Retry makes a task wait again that was archived or revoked, with all its retries. Any
// goroutine but a loop's.
func (t *Tasks) Retry(ctx context.Context, id ID) error {
	if _, durable := id.row(); !durable {
		return t.retryEphemeral(ctx, id)
	}
	now := t.o.Clock().UnixMilli()
	info, err := t.act(ctx, id, "archived or revoked", retryOne, now, now+t.handGrace())
	if err == nil {
		n, _ := id.row()
		t.carrier.hand(delivery{id: n, queue: info.Queue, runMS: now})
	}
	return err
}

// Archive puts a durable task that waits aside. Any goroutine but a loop's.
func (t *Tasks) Archive(ctx context.Context, id ID) error {
	if _, durable := id.row(); !durable {
		if _, err := t.findCarried(ctx, id); err != nil {
			return err
		}
		return wire.Errorf(wire.FailedPrecondition, "task %s is ephemeral: it can be revoked, not archived", id)
	}
	now := t.o.Clock()
	_, err := t.act(ctx, id, "waiting", archiveOne, now.UnixMilli(), now.Add(keepArchived).UnixMilli(), []byte("archived by hand"))
	return err
}

// act runs a statement that changes one task in one of the states that wanted names.
func (t *Tasks) act(ctx context.Context, id ID, wanted, statement string, args ...any) (Info, error) {
	n, ok := id.row()
	if !ok {
		return Info{}, errNoTask(id)
	}
	result, err := t.o.SQL.ExecContext(ctx, statement, append(args, n)...)
	if err != nil {
		return Info{}, err
	}
	info, err := t.Show(ctx, id)
	if err == nil && result.RowsAffected == 0 {
		err = wire.Errorf(wire.FailedPrecondition, "task %s is %v, not %s", id, info.state, wanted)
	}
	return info, err
}

// RunNow applies the durable task called name with arguments from outside, a
// MessagePack array, and returns its id when its row is stored. Any goroutine but a
// loop's.
func (t *Tasks) RunNow(ctx context.Context, name string, args []byte) (ID, error) {
	def := t.define(name)
	switch {
	case def == nil:
		return "", wire.Errorf(wire.NotFound, "there is no task %q", name)
	case def.Ephemeral:
		return "", wire.Errorf(wire.FailedPrecondition, "task %s is ephemeral: only code applies it", name)
	}
	receipt, err := Apply(t, Task[struct{}]{bind(def, args)}, Keep(time.Hour))
	if err != nil {
		return "", err
	}
	_, err = receipt.Stored().Wait(ctx)
	return receipt.ID, err
}
