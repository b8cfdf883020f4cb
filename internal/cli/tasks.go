package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"gameserverd/internal/ctl"
	"gameserverd/internal/msgjson"
	"gameserverd/wire"
)

// TaskList prints tasks in a state, and how many there are.
func (c *Ctl) TaskList(ctx context.Context, state string, limit int) error {
	q := url.Values{"state": {state}, "limit": {strconv.Itoa(limit)}}
	var list ctl.TaskList
	if err := c.call(ctx, "GET", "/tasks?"+q.Encode(), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return c.print(list)
	}
	var counts []string
	for _, s := range ctl.TaskStates {
		counts = append(counts, fmt.Sprintf("%d %s", list.Counts[s], s))
	}
	fmt.Fprintln(c.Out, strings.Join(counts, ", "))
	for _, q := range list.Queues {
		fmt.Fprintf(c.Out, "queue %s: %s\n", q.Name, queueLine(q))
	}
	if list.Queues == nil {
		fmt.Fprintln(c.Out, "queues: not known, redis does not answer")
	}
	w := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', 0)
	if len(list.Tasks) > 0 {
		fmt.Fprintln(w, "ID\tNAME\tQUEUE\tSTATE\tRUN\tATTEMPTS\tFAILURES\tPROBLEM")
	}
	for _, t := range list.Tasks {
		problem, _, _ := strings.Cut(t.Problem, "\n")
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d/%d\t%s\n", t.ID, t.Name, t.Queue, t.State, timeOf(t.RunMS), t.Attempts, t.Failures, t.Retries, problem)
	}
	return Failed(w.Flush())
}

// timeOf is "-" where the time is not known: of what Redis keeps aside.
func timeOf(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

// TaskShow prints all of one task.
func (c *Ctl) TaskShow(ctx context.Context, id string) error {
	var t ctl.Task
	if err := c.callHinted(ctx, "GET", "/tasks/show?"+url.Values{"id": {id}}.Encode(), nil, &t, c.taskHints(id)); err != nil {
		return err
	}
	if c.JSON {
		return c.print(t)
	}
	w := tabwriter.NewWriter(c.Out, 0, 0, 2, ' ', 0)
	line := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	line("id", t.ID)
	line("name", t.Name)
	line("args", string(t.Args))
	line("queue", t.Queue)
	line("state", t.State)
	line("created", timeOf(t.CreatedMS))
	line("run", timeOf(t.RunMS))
	if t.EndedMS != 0 {
		line("ended", timeOf(t.EndedMS))
	}
	line("attempts", t.Attempts)
	line("failures", fmt.Sprintf("%d of %d", t.Failures, t.Retries+1))
	if len(t.Result) > 0 {
		line("result", string(t.Result))
	}
	if err := w.Flush(); err != nil || t.Problem == "" {
		return Failed(err)
	}
	_, err := fmt.Fprintf(c.Out, "problem\n%s\n", t.Problem)
	return Failed(err)
}

// TaskRun applies a task. args are read as those of Call.
func (c *Ctl) TaskRun(ctx context.Context, name string, args []string) error {
	params, err := parseArgs(args)
	if err != nil {
		return Usage("%w", err)
	}
	run := ctl.TaskRun{Name: name, Args: []json.RawMessage{}}
	for _, v := range params {
		raw, err := wire.AppendAny(nil, v)
		if err != nil {
			return Usage("%w", err)
		}
		run.Args = append(run.Args, msgjson.Append(nil, raw))
	}
	return c.taskDone(ctx, "/tasks/run", run, nil)
}

// TaskAct revokes, retries or archives a task.
func (c *Ctl) TaskAct(ctx context.Context, action, id string) error {
	return c.taskDone(ctx, "/tasks/act", ctl.TaskAct{ID: id, Action: action}, c.taskHints(id))
}

// taskHints are what to do where an action on a task was refused.
func (c *Ctl) taskHints(id string) map[wire.Code]string {
	return map[wire.Code]string{
		wire.NotFound:           c.Program + " tasks list shows those that wait, with --state the others",
		wire.FailedPrecondition: c.Program + " tasks show " + id + " says how it is",
	}
}

func (c *Ctl) taskDone(ctx context.Context, path string, in any, hints map[wire.Code]string) error {
	var done ctl.TaskDone
	if err := c.callHinted(ctx, "POST", path, in, &done, hints); err != nil {
		return err
	}
	if c.JSON {
		return c.print(done)
	}
	_, err := fmt.Fprintf(c.Out, "task %s: %s\n", done.ID, done.Done)
	return Failed(err)
}
