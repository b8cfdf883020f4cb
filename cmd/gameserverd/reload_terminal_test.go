package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A terminal that goes away says so by SIGHUP. Whoever started the daemon there to
// try something must not leave one behind that nobody sees.
func TestServeEndsWithItsTerminal(t *testing.T) {
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "serve")
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = t.TempDir(), theirs, theirs, theirs
	cmd.Env = append([]string{"HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0"}, anywhere...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	p := &process{t: t, cmd: cmd, ended: make(chan struct{}), out: new(output), err: new(output)}
	go func() {
		_ = cmd.Wait() // the exit code is read from its state
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended, unless the test has failed
		<-p.ended
	})
	// Also here, where nothing has gone, SIGHUP reloads.
	read := func(what string) {
		t.Helper()
		var all strings.Builder
		b := make([]byte, 4096)
		for !strings.Contains(all.String(), what) {
			n, err := ours.Read(b)
			if err != nil {
				t.Fatalf("%v after\n%s", err, all.String())
			}
			all.Write(b[:n])
		}
	}
	read("serving")
	p.signal(syscall.SIGHUP)
	read("reloaded")
	if err := ours.Close(); err != nil {
		t.Fatal(err)
	}
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
