package server

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Run serves until Shutdown and the drain have ended, or a loop fails. Once.
func (s *Server) Run() (Report, error) {
	failed := make(chan error, len(s.loops)+1)
	var running sync.WaitGroup
	s.serveCtl()
	defer s.closeCtl() // last of all, so that who watches the end sees it
	defer s.end(&running)
	defer s.endReloads()
	s.peers.Start() // before anybody asks for metrics
	if s.admin != nil {
		running.Go(func() { failed <- s.admin.Serve() })
		defer s.closeAdmin()
	}
	for _, l := range s.loops {
		running.Go(func() { failed <- l.Start() })
	}
	defer s.stopLoops()
	defer s.announce.start()()
	defer s.pushMetrics()()
	if why, err := s.prepare(failed); err != nil {
		return Report{}, err
	} else if why != "" {
		return s.drain(why), nil
	}
	if err := s.startServing(); err != nil {
		return Report{}, err
	}
	s.state.CompareAndSwap(starting, serving)
	s.letReload()
	defer s.watchCertificates(s.o.certificateTicks)()
	s.announce.serves()
	select {
	case err := <-failed:
		return Report{}, fmt.Errorf("server: stopped by itself: %w", err)
	case why := <-s.stop:
		return s.drain(why), nil
	}
}

// startServing begins to run tasks, and lets clients in.
func (s *Server) startServing() error {
	if err := s.tasks.Start(); err != nil {
		return err
	}
	if s.o.Worker {
		s.log.Info("working", zap.String("worker", s.WorkerName()), zap.Strings("queues", s.cfg.Worker.Queues),
			zap.Int("concurrency", s.cfg.Worker.Concurrency), zap.String("admin", s.AdminAddr()))
		return nil
	}
	if err := s.accept.StartOn(s.sets...); err != nil {
		return err
	}
	s.log.Info("serving", zap.Strings("listen", s.Addrs()), zap.String("admin", s.AdminAddr()), zap.Int("loops", len(s.loops)))
	return nil
}

// prepare makes the stores ready; stopped is why Shutdown was called meanwhile.
func (s *Server) prepare(failed <-chan error) (stopped string, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	prepared := make(chan error, 1)
	go func() { prepared <- s.stores.prepare(ctx) }()
	select {
	case err := <-prepared:
		cancel()
		return "", err
	case err = <-failed:
		err = fmt.Errorf("server: stopped by itself: %w", err)
	case stopped = <-s.stop:
	}
	cancel()
	<-prepared // the stores are closed next
	return stopped, err
}

func (s *Server) stopLoops() {
	for _, l := range s.loops {
		l.Stop()
	}
}

// endTime is how long the loops may take to end.
const endTime = time.Second

// end waits for the loops and closes what New has opened. A callback that holds
// its loop for good must not hold the process: what the loops have is closed if
// they ever end.
func (s *Server) end(running *sync.WaitGroup) {
	ended := make(chan struct{})
	go func() {
		running.Wait()
		close(ended)
	}()
	late := time.NewTimer(endTime)
	defer late.Stop()
	select {
	case <-ended:
		s.release()
	case <-late.C:
		s.log.Error("loops do not end: what they have is left to them")
		go func() {
			<-ended
			s.release()
		}()
	}
}

// adminCloseTime is how long a request to the admin server may hold the end up.
const adminCloseTime = 100 * time.Millisecond

func (s *Server) closeAdmin() {
	ctx, cancel := context.WithTimeout(context.Background(), adminCloseTime)
	defer cancel()
	s.console.End()        // its pages would be requests under way
	_ = s.admin.Close(ctx) // what it had to cut is an operator's request
	s.console.Close()      // what came of the others is in the audit log
}

// release closes what New opened. The loops do not turn any more.
func (s *Server) release() {
	for i, l := range s.loops {
		if i < len(s.sets) && s.sets[i] != nil {
			s.sets[i].Release()
		}
		if err := l.Close(false); err != nil {
			s.log.Error("could not close a loop", zap.String("loop", l.Name()), zap.Error(err))
		}
	}
	if s.accept != nil {
		s.accept.StopListening() // at once, now that the loops are closed
	}
	if s.pool != nil {
		s.pool.Close()
	}
	s.closeStores(context.Background())
	s.closeTracer()
	if s.admin != nil {
		s.closeAdmin()
	}
}
