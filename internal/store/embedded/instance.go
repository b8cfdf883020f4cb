package embedded

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// nudgeEvery is how often a closing instance wakes commands that block: their look at the end and their wait are not one step.
const nudgeEvery = 10 * time.Millisecond

// instance is one miniredis and its connections. Any goroutine.
type instance struct {
	// immutable after newInstance
	m        *miniredis.Miniredis
	dispatch *server.Server

	// any goroutine
	mu       sync.Mutex // guards what follows
	sessions map[*session]struct{}
	closed   bool
	quiet    chan struct{} // closed when it is closed and no session is left, or it is abandoned
}

// session is one connection's server side.
type session struct {
	// immutable after connect
	conn *end
	peer *server.Peer

	subscribed bool        // its goroutine only
	busy       atomic.Bool // a command of it runs; any goroutine
}

func newInstance(m *miniredis.Miniredis) *instance {
	return &instance{m: m, dispatch: m.Server(), sessions: make(map[*session]struct{}), quiet: make(chan struct{})}
}

// connect starts a session and returns the client's end of its connection, which is closed already if the instance is.
func (in *instance) connect(s *Server) net.Conn {
	ss := &session{}
	client, mine := newConn(func() { in.left(ss) })
	ss.conn = mine
	ss.peer = server.NewPeer(bufio.NewWriter(mine))
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		mine.Close()
		return client
	}
	in.sessions[ss] = struct{}{}
	go in.serve(s, ss)
	return client
}

// Read sends the replies that are there before it waits for more requests, so that a pipeline's go out together.
func (ss *session) Read(p []byte) (int, error) {
	ss.peer.Flush()
	return ss.conn.Read(p)
}

// serve runs a session's commands in their order.
func (in *instance) serve(s *Server, ss *session) {
	command := ""
	defer func() {
		v := recover()
		if v != nil {
			s.crashed(in, command, v, debug.Stack())
		} else if ss.subscribed {
			in.unsubscribe(ss)
		}
		ss.conn.Close()
		in.forget(ss)
	}()
	r := bufio.NewReader(ss)
	for !ss.peer.Closed() {
		args, err := readRequest(r)
		if err != nil {
			if err == errProtocol {
				ss.peer.WriteError("ERR Protocol error")
			}
			break
		}
		command = args[0]
		ss.subscribed = ss.subscribed || strings.EqualFold(command, "SUBSCRIBE") || strings.EqualFold(command, "PSUBSCRIBE")
		ss.busy.Store(true)
		in.dispatch.Dispatch(ss.peer, args)
		ss.busy.Store(false)
	}
	ss.peer.Flush()
}

// unsubscribe ends what a session that is over has subscribed to, for which miniredis keeps two goroutines.
func (in *instance) unsubscribe(ss *session) {
	in.dispatch.Dispatch(ss.peer, []string{"DISCARD"}) // in a transaction the others would be queued
	in.dispatch.Dispatch(ss.peer, []string{"UNSUBSCRIBE"})
	in.dispatch.Dispatch(ss.peer, []string{"PUNSUBSCRIBE"})
}

// left is called when a client has closed its end: a command of it that blocks gives up.
func (in *instance) left(ss *session) {
	ss.peer.Close()
	if ss.busy.Load() {
		go in.nudge()
	}
}

// nudge wakes the commands that block, so that they look whether their client or the server has gone.
func (in *instance) nudge() {
	in.dispatch.Dispatch(server.NewPeer(bufio.NewWriter(io.Discard)), []string{"ECHO", ""})
}

// age takes d from what is left to all keys that expire, drops those that have nothing left, and returns how long that took. A clock
// that was set back ages nothing.
func (in *instance) age(d time.Duration) time.Duration {
	begun := time.Now()
	if d > 0 {
		in.m.FastForward(d)
	}
	return time.Since(begun)
}

func (in *instance) flush() {
	peer := server.NewPeer(bufio.NewWriter(io.Discard))
	in.dispatch.Dispatch(peer, []string{"FLUSHALL"})
	in.dispatch.Dispatch(peer, []string{"SCRIPT", "FLUSH"})
}

// forget takes out a session that is over.
func (in *instance) forget(ss *session) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.sessions, ss)
	in.settleLocked()
}

func (in *instance) settleLocked() {
	if !in.closed || len(in.sessions) > 0 {
		return
	}
	select {
	case <-in.quiet:
	default:
		close(in.quiet)
	}
}

// disconnect closes all connections, now and to come.
func (in *instance) disconnect() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed = true
	for ss := range in.sessions {
		ss.peer.Close()
		ss.conn.Close()
	}
	in.settleLocked()
}

// shutdown ends all sessions.
func (in *instance) shutdown() {
	in.disconnect()
	in.m.Close()
}

// wait returns when all sessions of an instance that is shut down have ended.
func (in *instance) wait() {
	for {
		select {
		case <-in.quiet:
			return
		case <-time.After(nudgeEvery):
			in.nudge()
		}
	}
}

// unlock gives back the lock of miniredis if the command that has just panicked on this goroutine, with this stack, took it with it:
// withTx is the one place that holds it without a defer. Everybody else would wait for it for ever.
func (in *instance) unlock(stack []byte) {
	if !in.m.TryLock() && !bytes.Contains(stack, []byte("github.com/alicebob/miniredis/v2.withTx(")) {
		return // somebody else's, who will give it back
	}
	in.m.Unlock()
}
