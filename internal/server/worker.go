package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"gameserverd/internal/ctl"
	"gameserverd/internal/store"
)

// A worker is a daemon without listeners for clients. It keeps nothing in data_dir but
// a folder of its own, with a lock and the socket of gameserverd ctl: so it may have the
// configuration of a daemon that serves on the same machine, and of other workers.

// maxWorkers bounds the names that a worker without one tries.
const maxWorkers = 1000

// lockData makes a folder this daemon's own, and sets dir to it.
func (s *Server) lockData() (unlock func() error, err error) {
	s.dir = s.cfg.DataDir
	switch {
	case !s.o.Worker:
		return store.LockDir(s.dir)
	case s.o.Name != "":
		s.dir = ctl.WorkerDir(s.cfg.DataDir, s.o.Name)
		return store.LockDir(s.dir)
	}
	for n := range maxWorkers {
		s.o.Name = strconv.Itoa(n + 1)
		s.dir = ctl.WorkerDir(s.cfg.DataDir, s.o.Name)
		var locked *store.LockedError
		if unlock, err = store.LockDir(s.dir); !errors.As(err, &locked) {
			return unlock, err
		}
	}
	return nil, fmt.Errorf("server: %d workers run already with data_dir %s", maxWorkers, s.cfg.DataDir)
}

// WorkerName is the name of a worker: the one that it was given, or the first number
// that no other worker of this data_dir has. Any goroutine.
func (s *Server) WorkerName() string { return s.o.Name }

// adminConfigured is where the admin server is to listen: a worker has an address of its
// own, so that it can have the file of a daemon beside it.
func (s *Server) adminConfigured() string {
	if s.o.Worker {
		return s.cfg.Worker.Admin
	}
	return s.cfg.Listen.Admin
}

// role is what this daemon is, for operators.
func (s *Server) role() string {
	if s.o.Worker {
		return "worker"
	}
	return "serve"
}

// tasksStatus is how tasks are, for operators. Any goroutine.
func (s *Server) tasksStatus() ctl.TasksStatus {
	st := ctl.TasksStatus{Running: s.tasks.Running(), Most: s.concurrency(), Queues: []ctl.TaskQueue{}}
	if s.state.Load() != starting { // Redis may not be there yet
		st.Queues = s.taskQueues()
	}
	return st
}

// taskQueues asks Redis; nil: it does not answer.
func (s *Server) taskQueues() []ctl.TaskQueue {
	if up, _, _ := s.stores.redisUp.State(); !up {
		return nil
	}
	var list []ctl.TaskQueue
	for _, d := range s.tasks.Depths(context.Background()) { // it has a limit of its own
		list = append(list, ctl.TaskQueue{Name: d.Queue, Waits: d.Waits, Active: d.Active, Later: d.Later, OldestMS: d.Oldest.Milliseconds()})
	}
	return list
}

// concurrency is how many tasks may run here at once.
func (s *Server) concurrency() int {
	if s.o.Worker || s.cfg.Worker.Embedded {
		return s.cfg.Worker.Concurrency
	}
	return 0
}
