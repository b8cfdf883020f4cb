package tasks

import (
	"context"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

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

// Statements. selectInfo finds one row by the primary key; selectInfos those of a
// state, the next to be looked at first, by tasks_look; countStates counts by it.
const (
	selectInfo  = `SELECT ` + infoColumns + ` FROM tasks WHERE id = ?`
	selectInfos = `SELECT ` + infoColumns + ` FROM tasks WHERE state = ? ORDER BY look_ms LIMIT ?`
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

// Show finds a durable task; not_found: it never was, or has ended and was forgotten.
// Any goroutine but a loop's.
func (t *Tasks) Show(ctx context.Context, id ID) (Info, error) {
	n, ok := id.row()
	if !ok {
		return Info{}, errNoTask(id)
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

// List finds durable tasks in a state, limit at most. Any goroutine but a loop's.
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
	return false, wire.Errorf(wire.FailedPrecondition, "task %s has ended: it is %v", id, info.state)
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

// revokedKey says in Redis that an ephemeral task was revoked.
func revokedKey(id ID) string { return "gameserverd:tasks:revoked:" + string(id) }

const revokedFor = 24 * time.Hour

func (t *Tasks) revokedEphemeral(ctx context.Context, id ID) (bool, error) {
	cmd := redis.NewIntCmd(ctx, "exists", revokedKey(id))
	t.link.join(cmd)
	return cmd.Val() == 1, cmd.Err()
}

func (t *Tasks) revokeEphemeral(ctx context.Context, id ID) (waiting bool, err error) {
	var info *asynq.TaskInfo
	for queue := range t.o.Queues {
		if info, err = t.inspector.GetTaskInfo(queue, string(id)); err == nil {
			break
		}
	}
	if info == nil {
		return false, errNoTask(id)
	}
	first, err := t.o.Redis.Client().SetNX(ctx, revokedKey(id), 1, revokedFor).Result()
	switch {
	case err != nil:
		return false, err
	case !first:
		return false, wire.Errorf(wire.FailedPrecondition, "task %s was revoked already", id)
	}
	if t.inspector.DeleteTask(info.Queue, string(id)) == nil {
		return true, nil
	}
	t.stopRun(id)
	t.bus.publish(message{Kind: kindRevoke, Task: string(id)})
	return false, nil
}

// Retry makes a task wait again that was archived or revoked, with all its retries. Any
// goroutine but a loop's.
func (t *Tasks) Retry(ctx context.Context, id ID) error {
	now := t.o.Clock().UnixMilli()
	info, err := t.act(ctx, id, "archived or revoked", retryOne, now, now+t.handGrace())
	if err == nil {
		n, _ := id.row()
		t.carrier.hand(delivery{id: n, queue: info.Queue, runMS: now})
	}
	return err
}

// Archive puts a task that waits aside. Any goroutine but a loop's.
func (t *Tasks) Archive(ctx context.Context, id ID) error {
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
