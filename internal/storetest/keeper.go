package storetest

import (
	"errors"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// keeper is the thread that starts all child processes. Linux sends a child its parent-death signal when the thread
// that started it ends, and Go ends threads as it likes, so one goroutine holds one thread for as long as there may be
// children. When the process dies, in whatever way, the thread does too, and the kernel kills them.
var keeper struct {
	mu    sync.Mutex
	asks  chan func()   // nil: no thread yet
	ended chan struct{} // closed when the goroutine has returned
}

// StartChild starts cmd so that it gets SIGKILL when this process ends, however it ends. Use it in place of cmd.Start.
// Any goroutine.
func StartChild(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	keeper.mu.Lock()
	defer keeper.mu.Unlock()
	if keeper.asks == nil {
		keeper.asks, keeper.ended = make(chan func()), make(chan struct{})
		go keep(keeper.asks, keeper.ended)
	}
	err := errors.New("storetest: the child was not started")
	done := make(chan struct{})
	keeper.asks <- func() {
		err = cmd.Start()
		close(done)
	}
	<-done
	return err
}

// keep runs what is asked on a thread of its own. It returns without unlocking the thread, which ends the thread, and
// with it the children that are left.
func keep(asks <-chan func(), ended chan<- struct{}) {
	runtime.LockOSThread()
	for fn := range asks {
		fn()
	}
	close(ended)
}

// dismiss ends the keeper's thread.
func dismiss() {
	keeper.mu.Lock()
	defer keeper.mu.Unlock()
	if keeper.asks == nil {
		return
	}
	close(keeper.asks)
	<-keeper.ended
	keeper.asks = nil
}
