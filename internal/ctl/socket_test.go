package ctl

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestSocketIsThePrivateOne(t *testing.T) {
	r := start(t)
	info, err := os.Lstat(r.Path())
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if names, _ := os.ReadDir(filepath.Dir(r.Path())); len(names) != 1 {
		t.Errorf("beside it there is %v", names)
	}
	closeNow(r.Server)
	if _, err := os.Lstat(r.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	dir := t.TempDir()
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: SocketPath(dir), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	if err := os.MkdirAll(filepath.Join(dir, ".ctl", "s"), 0o755); err != nil { // of a start that was killed
		t.Fatal(err)
	}
	s, err := New(dir, Daemon{}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	closeNow(s)
}

func TestLiveSocketIsLeftAlone(t *testing.T) {
	r := start(t)
	dir := filepath.Dir(r.Path())
	began := time.Now()
	_, err := New(dir, Daemon{}, zap.NewNop())
	var live *LiveError
	if !errors.As(err, &live) || live.PID != int32(os.Getpid()) || time.Since(began) < liveWait {
		t.Fatalf("after %v: %v", time.Since(began), err)
	}
	var s Status
	if err := r.Call(testContext(t), "GET", "/status", nil, &s); err != nil || s.State != "serving" {
		t.Errorf("%+v %v", s, err)
	}
	// Who replaces it while it ends keeps the new one.
	next := make(chan *Server, 1)
	go func() {
		s, err := New(dir, Daemon{Status: func() Status { return Status{State: "the next"} }}, zap.NewNop())
		if err != nil {
			t.Error(err)
		}
		next <- s
	}()
	closeNow(r.Server)
	after := <-next
	if after == nil {
		return
	}
	if _, err := os.Lstat(after.Path()); err != nil {
		t.Error(err)
	}
	closeNow(after)
}

func TestNoSocketIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(SocketPath(dir), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(dir, Daemon{}, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Error(err)
	}
	if b, _ := os.ReadFile(SocketPath(dir)); string(b) != "mine" {
		t.Errorf("it holds %q", b)
	}
}

func TestLongFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := New(dir, Daemon{Status: func() Status { return Status{State: "far"} }}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(s)
	go s.Serve()
	var got Status
	if err := NewClient(s.Path()).Call(testContext(t), "GET", "/status", nil, &got); err != nil || got.State != "far" {
		t.Errorf("%+v %v", got, err)
	}
}

// What somebody has put in the socket's place is not ours to remove.
func TestAnotherFileInItsPlaceStays(t *testing.T) {
	r := start(t)
	if err := errors.Join(os.Remove(r.Path()), os.WriteFile(r.Path(), []byte("mine"), 0o600)); err != nil {
		t.Fatal(err)
	}
	closeNow(r.Server)
	if b, err := os.ReadFile(r.Path()); string(b) != "mine" {
		t.Errorf("%q %v", b, err)
	}
}
