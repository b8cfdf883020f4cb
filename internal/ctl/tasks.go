package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"gameserverd/internal/msgjson"
)

// Tasks is what a Server can ask and tell of background tasks.
type Tasks struct {
	List func(ctx context.Context, state string, limit int) (TaskList, error)
	Show func(ctx context.Context, id string) (Task, error)
	Run  func(ctx context.Context, name string, args []any) (id string, err error)
	// Act revokes, retries or archives a task, and says in words what came of it.
	Act func(ctx context.Context, action, id string) (string, error)
}

// Task is one background task. Times are UTC milliseconds.
type Task struct {
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Queue     string          `json:"queue"`
	State     string          `json:"state"` // one of TaskStates
	RunMS     int64           `json:"run_ms"`
	CreatedMS int64           `json:"created_ms"`
	EndedMS   int64           `json:"ended_ms,omitempty"`
	Attempts  int64           `json:"attempts"`
	Failures  int64           `json:"failures"`
	Retries   int64           `json:"retries"`
	Problem   string          `json:"problem,omitempty"` // in lists its beginning
	Args      json.RawMessage `json:"args,omitempty"`    // not in lists
	Result    json.RawMessage `json:"result,omitempty"`  // not in lists
}

// TaskStates are the states of tasks.
var TaskStates = []string{"waiting", "running", "done", "archived", "revoked"}

// TaskList is the answer of /tasks.
type TaskList struct {
	Counts map[string]int64 `json:"counts"` // all durable ones, by state
	Queues []TaskQueue      `json:"queues"` // as Redis has them; null: it does not answer
	Tasks  []Task           `json:"tasks"`  // of the archived, also what Redis keeps aside
}

// TaskQueue is a queue with something in it.
type TaskQueue struct {
	Name     string `json:"name"`
	Waits    int    `json:"waits"`
	Active   int    `json:"active"`
	Later    int    `json:"later"`
	OldestMS int64  `json:"oldest_ms"`
}

// TaskRun is what /tasks/run takes. Args are JSON as package msgjson reads it.
type TaskRun struct {
	Name string            `json:"name"`
	Args []json.RawMessage `json:"args"`
}

// TaskDone is the answer of /tasks/run and /tasks/act.
type TaskDone struct {
	ID   string `json:"id"`
	Done string `json:"done"` // in words
}

// TaskAct is what /tasks/act takes.
type TaskAct struct {
	ID     string `json:"id"`
	Action string `json:"action"` // revoke, retry or archive
}

// MaxTasks bounds how many tasks are listed.
const MaxTasks = 1000

func (s *Server) taskRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /tasks", s.listTasks)
	mux.HandleFunc("GET /tasks/show", func(w http.ResponseWriter, r *http.Request) {
		task, err := s.daemon.Tasks.Show(r.Context(), r.URL.Query().Get("id"))
		if err != nil {
			failed(w, err)
			return
		}
		answer(w, task)
	})
	mux.HandleFunc("POST /tasks/run", s.runTask)
	mux.HandleFunc("POST /tasks/act", s.actOnTask)
}

func (s *Server) listTasks(w http.ResponseWriter, r *http.Request) {
	state, limit := r.URL.Query().Get("state"), r.URL.Query().Get("limit")
	n, err := strconv.Atoi(limit)
	if err != nil || n < 1 || n > MaxTasks {
		fail(w, http.StatusBadRequest, &Error{invalid, fmt.Sprintf("limit must be from 1 to %d", MaxTasks)})
		return
	}
	if !slices.Contains(TaskStates, state) {
		fail(w, http.StatusBadRequest, &Error{invalid, "state must be one of " + strings.Join(TaskStates, ", ")})
		return
	}
	list, err := s.daemon.Tasks.List(r.Context(), state, n)
	if err != nil {
		failed(w, err)
		return
	}
	answer(w, list)
}

func (s *Server) runTask(w http.ResponseWriter, r *http.Request) {
	var t TaskRun
	if !read(w, r, &t) {
		return
	}
	args := make([]any, len(t.Args))
	for i, raw := range t.Args {
		var err error
		if args[i], err = msgjson.Parse(string(raw)); err != nil {
			fail(w, http.StatusBadRequest, &Error{invalid, fmt.Sprintf("argument %d: %v", i+1, err)})
			return
		}
	}
	id, err := s.daemon.Tasks.Run(r.Context(), t.Name, args)
	s.did(r, "tasks run", zap.String("name", t.Name), zap.String("task", id), zap.Error(err))
	if err != nil {
		failed(w, err)
		return
	}
	answer(w, TaskDone{id, "it was applied"})
}

func (s *Server) actOnTask(w http.ResponseWriter, r *http.Request) {
	var t TaskAct
	if !read(w, r, &t) {
		return
	}
	done, err := s.daemon.Tasks.Act(r.Context(), t.Action, t.ID)
	s.did(r, "tasks "+t.Action, zap.String("task", t.ID), zap.Error(err))
	if err != nil {
		failed(w, err)
		return
	}
	answer(w, TaskDone{t.ID, done})
}
