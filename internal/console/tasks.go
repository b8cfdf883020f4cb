package console

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"gameserverd/internal/ctl"
	"gameserverd/internal/msgjson"
)

// maxTasks bounds how many tasks are listed.
const maxTasks = 200

// tasks answers GET /console/tasks?state=waiting&limit=50.
func (c *Console) tasks(w http.ResponseWriter, r *http.Request) {
	state := r.URL.Query().Get("state")
	n, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || n < 1 || n > maxTasks || !slices.Contains(ctl.TaskStates, state) {
		fail(w, http.StatusBadRequest, "invalid_argument", fmt.Sprintf("state is one of %s, limit from 1 to %d", strings.Join(ctl.TaskStates, ", "), maxTasks))
		return
	}
	list, err := c.o.Daemon.Tasks.List(r.Context(), state, n)
	if err != nil {
		failed(w, err)
		return
	}
	answer(w, list)
}

func (c *Console) task(w http.ResponseWriter, r *http.Request) {
	task, err := c.o.Daemon.Tasks.Show(r.Context(), r.URL.Query().Get("id"))
	if err != nil {
		failed(w, err)
		return
	}
	answer(w, task)
}

func (c *Console) runTask(w http.ResponseWriter, r *http.Request) {
	var t ctl.TaskRun
	if !read(w, r, &t) {
		return
	}
	args := make([]any, len(t.Args))
	for i, raw := range t.Args {
		var err error
		if args[i], err = msgjson.Parse(string(raw)); err != nil {
			fail(w, http.StatusBadRequest, "invalid_argument", fmt.Sprintf("argument %d: %v", i+1, err))
			return
		}
	}
	if t.Name == "" || len(t.Name) > 100 {
		fail(w, http.StatusBadRequest, "invalid_argument", "name must be a task's")
		return
	}
	var id string
	err := c.audited(w, r, entry{Action: "task run", Method: t.Name}, func(ctx context.Context) (_ string, err error) {
		id, err = c.o.Daemon.Tasks.Run(ctx, t.Name, args)
		return "task " + id, err
	})
	if err == nil {
		answer(w, ctl.TaskDone{ID: id, Done: "it was applied"})
	}
}

func (c *Console) actOnTask(w http.ResponseWriter, r *http.Request) {
	var t ctl.TaskAct
	if !read(w, r, &t) {
		return
	}
	if !slices.Contains([]string{"revoke", "retry", "archive"}, t.Action) || t.ID == "" || len(t.ID) > 100 {
		fail(w, http.StatusBadRequest, "invalid_argument", "action is revoke, retry or archive, id a task's")
		return
	}
	var done string
	err := c.audited(w, r, entry{Action: "task " + t.Action, Task: t.ID}, func(ctx context.Context) (_ string, err error) {
		done, err = c.o.Daemon.Tasks.Act(ctx, t.Action, t.ID)
		return done, err
	})
	if err == nil {
		answer(w, ctl.TaskDone{ID: t.ID, Done: done})
	}
}
