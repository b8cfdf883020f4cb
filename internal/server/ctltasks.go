package server

import (
	"context"
	"slices"
	"strings"

	"gameserverd/internal/ctl"
	"gameserverd/internal/msgjson"
	"gameserverd/internal/tasks"
	"gameserverd/wire"
)

// ctlTasks is what operators ask and tell of background tasks.
func (s *Server) ctlTasks() ctl.Tasks {
	return ctl.Tasks{
		List: s.ctlTaskList,
		Show: s.ctlTaskShow,
		Run:  s.ctlTaskRun,
		Act:  s.ctlTaskAct,
	}
}

// notStarting refuses what has to wait for the start: the tables may not be there yet.
func (s *Server) notStarting() error {
	if s.state.Load() == starting {
		return &ctl.Error{Code: string(wire.Unavailable), Message: "the daemon is still starting; try again when it serves"}
	}
	return nil
}

func (s *Server) ctlTaskShow(ctx context.Context, id string) (ctl.Task, error) {
	if err := s.notStarting(); err != nil {
		return ctl.Task{}, err
	}
	info, err := s.tasks.Show(ctx, tasks.ID(id))
	return ctlTask(info), err
}

func (s *Server) ctlTaskRun(ctx context.Context, name string, args []any) (string, error) {
	if err := s.notStarting(); err != nil {
		return "", err
	}
	var names []string
	for _, def := range s.tasks.Definitions() {
		names = append(names, def.Name)
	}
	if !slices.Contains(names, name) {
		return "", wire.Errorf(wire.NotFound, "there is no task %q; there are %s", name, strings.Join(names, ", "))
	}
	raw, err := wire.AppendAny(nil, args)
	if err != nil {
		return "", err
	}
	id, err := s.tasks.RunNow(ctx, name, raw)
	return string(id), err
}

func (s *Server) ctlTaskList(ctx context.Context, state string, limit int) (list ctl.TaskList, err error) {
	if err := s.notStarting(); err != nil {
		return list, err
	}
	infos, err := s.tasks.List(ctx, tasks.State(slices.Index(ctl.TaskStates, state)), limit)
	if err != nil {
		return list, err
	}
	if list.Counts, err = s.tasks.Count(ctx); err != nil {
		return list, err
	}
	list.Tasks, list.Queues = []ctl.Task{}, s.taskQueues()
	for _, info := range infos {
		list.Tasks = append(list.Tasks, ctlTask(info))
	}
	return list, nil
}

func (s *Server) ctlTaskAct(ctx context.Context, action, id string) (string, error) {
	if err := s.notStarting(); err != nil {
		return "", err
	}
	switch action {
	case "revoke":
		waiting, err := s.tasks.Revoke(ctx, tasks.ID(id))
		if err == nil && !waiting {
			return "it runs and was told to stop", nil
		}
		return "it was revoked before it ran", err
	case "retry":
		return "it waits again", s.tasks.Retry(ctx, tasks.ID(id))
	case "archive":
		return "it is in the archive", s.tasks.Archive(ctx, tasks.ID(id))
	}
	return "", wire.Errorf(wire.InvalidArgument, "the action must be revoke, retry or archive, not %q", action)
}

func ctlTask(i tasks.Info) ctl.Task {
	t := ctl.Task{
		ID: string(i.ID), Name: i.Name, Queue: i.Queue, State: i.State, RunMS: i.RunMS, CreatedMS: i.CreatedMS, EndedMS: i.EndedMS,
		Attempts: i.Attempts, Failures: i.Failures, Retries: i.Retries, Problem: i.Problem,
	}
	if len(i.Args) > 0 {
		t.Args = msgjson.Append(nil, i.Args)
	}
	if len(i.Result) > 0 {
		t.Result = msgjson.Append(nil, i.Result)
	}
	return t
}
