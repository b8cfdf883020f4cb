package conn

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"gameserverd/internal/loop"
)

// runRole is the main of a subprocess of the test binary, for tests that change
// what belongs to a whole process.
func runRole(role string) int {
	switch role {
	case "few-descriptors":
		return fewDescriptors()
	}
	return 2
}

// fewDescriptors echoes with 40 descriptors until its standard input ends. It
// prints its address, what keeps it from accepting, and how many turns the loop
// has made.
func fewDescriptors() int {
	turns := 0
	say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	s := NewServer(ServerOptions{
		NewSet: func(l *loop.Loop) *Set {
			e := &echoer{}
			e.set = NewSet(l, e, Options{})
			l.BeforeWait(func() { turns++ })
			return e.set
		},
		OnAcceptError: func(e *AcceptError) { say("accept: %v", e.Err) },
	})
	err := s.Listen("127.0.0.1:0")
	if err == nil {
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 40, Max: 40})
	}
	if err == nil {
		err = s.Start(1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	say("listening %s", s.Addrs()[0])
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	say("turns %d", turns)
	return 0
}
