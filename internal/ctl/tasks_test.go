package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"gameserverd/wire"
)

// tasks are made up; there is one, 7, and what is asked of them is said.
func (r *rig) tasks() Tasks {
	gone := func(id string) error { return wire.Errorf(wire.NotFound, "there is no task %s", id) }
	return Tasks{
		List: func(_ context.Context, state string, limit int) (TaskList, error) {
			r.say(fmt.Sprint("list ", state, " ", limit))
			return TaskList{
				Counts: map[string]int64{"waiting": 1}, Queues: []TaskQueue{{Name: "low", Waits: 1, OldestMS: 5}},
				Tasks: []Task{{ID: "7", Name: "a.b", State: state, Args: json.RawMessage(`["x",1]`)}},
			}, nil
		},
		Show: func(_ context.Context, id string) (Task, error) {
			if id != "7" {
				return Task{}, gone(id)
			}
			return Task{ID: id, Name: "a.b"}, nil
		},
		Run: func(_ context.Context, name string, args []any) (string, error) {
			r.say(fmt.Sprint("run ", name, " ", args))
			if name != "a.b" {
				return "", gone(name)
			}
			return "8", nil
		},
		Act: func(_ context.Context, action, id string) (string, error) {
			r.say(action + " " + id)
			switch {
			case id == "6":
				return "", wire.Errorf(wire.FailedPrecondition, "task 6 has ended")
			case id != "7":
				return "", gone(id)
			}
			return "done", nil
		},
	}
}

func TestTaskRoutes(t *testing.T) {
	r := start(t)
	ctx := testContext(t)
	var list TaskList
	if err := r.Call(ctx, "GET", "/tasks?state=archived&limit=5", nil, &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Tasks) != 1 || list.Tasks[0].State != "archived" || string(list.Tasks[0].Args) != `["x",1]` || list.Counts["waiting"] != 1 || list.Queues[0].OldestMS != 5 {
		t.Errorf("%+v", list)
	}
	var task Task
	if err := r.Call(ctx, "GET", "/tasks/show?id=7", nil, &task); err != nil || task.Name != "a.b" {
		t.Errorf("%+v: %v", task, err)
	}
	var done TaskDone
	in := TaskRun{Name: "a.b", Args: []json.RawMessage{json.RawMessage(`"x"`), json.RawMessage(`-1`), json.RawMessage(`[1,{"a":null}]`)}}
	if err := r.Call(ctx, "POST", "/tasks/run", in, &done); err != nil || done.ID != "8" {
		t.Errorf("%+v: %v", done, err)
	}
	for _, action := range []string{"revoke", "retry", "archive"} {
		if err := r.Call(ctx, "POST", "/tasks/act", TaskAct{ID: "7", Action: action}, &done); err != nil || done != (TaskDone{"7", "done"}) {
			t.Errorf("%s: %+v: %v", action, done, err)
		}
	}
	want := []string{"list archived 5", `run a.b [x -1 [1 map[a:<nil>]]]`, "revoke 7", "retry 7", "archive 7"}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !reflect.DeepEqual(r.said, want) {
		t.Errorf("said %q", r.said)
	}
	var logged []string
	for _, e := range r.logs.FilterMessage("an operator's command").All() {
		logged = append(logged, fmt.Sprint(e.ContextMap()["command"]))
	}
	if got := strings.Join(logged, ", "); got != "tasks run, tasks revoke, tasks retry, tasks archive" {
		t.Errorf("logged %s", got)
	}
}

func TestTaskRoutesRefuse(t *testing.T) {
	r := start(t)
	for _, c := range []struct {
		method, path string
		body         string
		status       int
		code, says   string
	}{
		{"GET", "/tasks", "", 400, "invalid_argument", "limit must be from 1 to 1000"},
		{"GET", "/tasks?state=waiting&limit=0", "", 400, "invalid_argument", "limit must be"},
		{"GET", "/tasks?state=waiting&limit=1001", "", 400, "invalid_argument", "limit must be"},
		{"GET", "/tasks?state=waiting&limit=1e3", "", 400, "invalid_argument", "limit must be"},
		{"GET", "/tasks?state=Waiting&limit=1", "", 400, "invalid_argument", "state must be one of waiting, running, done, archived, revoked"},
		{"GET", "/tasks/show?id=9", "", 404, "not_found", "there is no task 9"},
		{"GET", "/tasks/show", "", 404, "not_found", "there is no task"},
		{"GET", "/tasks/run", "", 404, "unimplemented", "/tasks/run is not served; there are"},
		{"POST", "/tasks/run", ``, 400, "invalid_argument", "one JSON object"},
		{"POST", "/tasks/run", `[]`, 400, "invalid_argument", "one JSON object"},
		{"POST", "/tasks/run", `{"name":"a.b","args":5}`, 400, "invalid_argument", "one JSON object"},
		{"POST", "/tasks/run", `{"name":"a.b","args":[1]}{}`, 400, "invalid_argument", "one JSON object"},
		{"POST", "/tasks/run", `{"name":"a.b","args":[1],"queue":"low"}`, 400, "invalid_argument", `unknown field "queue"`},
		{"POST", "/tasks/run", `{"name":"a.b","args":[1e999]}`, 400, "invalid_argument", "argument 1: "},
		{"POST", "/tasks/run", `{"name":"a.c","args":[]}`, 404, "not_found", "a.c"},
		{"POST", "/tasks/act", `{"id":"6","action":"retry"}`, 400, "failed_precondition", "task 6 has ended"},
		{"POST", "/tasks/act", `{"id":"9","action":"retry"}`, 404, "not_found", "there is no task 9"},
		{"POST", "/tasks/act", `{"id":7,"action":"retry"}`, 400, "invalid_argument", "one JSON object"},
	} {
		status, e := r.raw(c.method, c.path, c.body)
		if status != c.status || e.Code != c.code || !strings.Contains(e.Message, c.says) {
			t.Errorf("%s %s %s: %d %+v", c.method, c.path, c.body, status, e)
		}
	}
}

// raw is a request with exactly this body.
func (r *rig) raw(method, path, body string) (status int, e Error) {
	r.t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.Path())
	}}}
	req, err := http.NewRequestWithContext(testContext(r.t), method, "http://ctl"+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answered struct{ Error *Error }
	if err := json.NewDecoder(resp.Body).Decode(&answered); err != nil || answered.Error == nil {
		r.t.Fatalf("%s %s: %s is no error: %v", method, path, resp.Status, err)
	}
	return resp.StatusCode, *answered.Error
}

// An error that is the daemon's own reaches the operator as it is; one that has no code
// is internal.
func TestTaskErrorsKeepTheirCode(t *testing.T) {
	r := start(t, func(s *Server) {
		s.daemon.Tasks.Show = func(_ context.Context, id string) (Task, error) {
			if id == "1" {
				return Task{}, &Error{unavailable, "the daemon is still starting"}
			}
			return Task{}, errors.New("boom")
		}
	})
	for id, want := range map[string]Error{"1": {unavailable, "the daemon is still starting"}, "2": {internal, "boom"}} {
		var e *Error
		if err := r.Call(testContext(t), "GET", "/tasks/show?id="+id, nil, new(Task)); !errors.As(err, &e) || *e != want {
			t.Errorf("%s: %+v", id, err)
		}
	}
}
