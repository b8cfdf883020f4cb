package storetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Server is a MariaDB or Redis server and the place in it that one test has for itself. Any goroutine.
type Server struct {
	// immutable
	DSN    string // MariaDB: go-sql-driver's form, over TCP; the database is empty. Redis: ""
	URL    string // Redis: redis://127.0.0.1:port/n, an empty database. MariaDB: ""
	Addr   string // 127.0.0.1:port
	Socket string // path of the unix socket

	t       testing.TB
	process *process
	at      func(network, addr string) string
	alone   bool
}

// At returns the DSN or URL with another address in place of the server's own: a proxy's, or its unix socket when addr
// begins with a slash.
func (s *Server) At(addr string) string {
	if strings.HasPrefix(addr, "/") {
		return s.at("unix", addr)
	}
	return s.at("tcp", addr)
}

// Kill ends the server with SIGKILL and returns when it is gone; killing one that does not run does nothing. Only for a
// server of the test's own, as are Start, Stall and Resume.
func (s *Server) Kill() {
	s.t.Helper()
	if s.own("Kill") {
		s.process.kill()
	}
}

// Start starts a killed server on the same port, socket and data, and returns when it answers. Redis comes back empty.
// One that runs is left as it is.
func (s *Server) Start() {
	s.t.Helper()
	if s.own("Start") {
		s.check(s.process.start())
	}
}

// Stall stops the process (SIGSTOP) and returns when nothing of it runs any more: the kernel still takes connections
// and bytes for it, and nobody answers.
func (s *Server) Stall() {
	s.t.Helper()
	if s.own("Stall") {
		s.check(s.process.stall())
	}
}

// Resume lets a stalled server go on; one that is not stalled does not mind.
func (s *Server) Resume() {
	s.t.Helper()
	if s.own("Resume") {
		s.check(s.process.resume())
	}
}

func (s *Server) own(what string) bool {
	s.t.Helper()
	if !s.alone {
		s.t.Errorf("%s of a server that other tests share: use MariaDBAlone or RedisAlone", what)
	}
	return s.alone
}

func (s *Server) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Errorf("storetest: %v", err)
	}
}

// once is a server that is launched by the first who asks and lives as long as the test binary.
type once struct {
	mu      sync.Mutex
	process *process
	err     error // of the launch; nobody tries again
	serial  int   // counts those who asked
}

func (o *once) get(launch func() (*process, error)) (*process, int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.process == nil && o.err == nil {
		o.process, o.err = launch()
	}
	if o.err != nil {
		return nil, 0, fmt.Errorf("the server that tests share: %w", o.err)
	}
	o.serial++
	return o.process, o.serial, nil
}

// sharedServers are those of MariaDB and Redis.
type sharedServers struct{ mariadb, redis once }

var shared sharedServers

func (s *sharedServers) forget() {
	for _, o := range []*once{&s.mariadb, &s.redis} {
		o.mu.Lock()
		o.process, o.err = nil, nil
		o.mu.Unlock()
	}
}
