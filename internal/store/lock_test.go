package store

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// lockChild is the variable that tells a child process of TestLockDir which folder to lock until its standard input ends.
const lockChild = "STORE_TEST_LOCK"

func lockUntilKilled(dir string) {
	_, err := LockDir(dir)
	fmt.Println("locked", err)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

func TestLockDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	unlock, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(dir); err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf("data is in use by process %d", os.Getpid())) {
		t.Errorf("a second time: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}

	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), lockChild+"="+dir)
	in, err1 := child.StdinPipe()
	out, err2 := child.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "locked <nil>\n" {
		t.Errorf("the child says %q, %v", line, err)
	}
	if _, err := LockDir(dir); err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf("in use by process %d", child.Process.Pid)) {
		t.Errorf("another process has it: %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = child.Wait() // it was killed
	in.Close()
	unlock, err = LockDir(dir)
	if err != nil {
		t.Fatalf("after the other was killed: %v", err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

func TestLockDirWithAnOddLockFile(t *testing.T) {
	dir := t.TempDir()
	unlock, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := os.WriteFile(filepath.Join(dir, "lock"), []byte("-1 \x00 not a number and longer than any"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LockDir(dir); err == nil || !strings.HasSuffix(err.Error(), "in use by another process") {
		t.Errorf("%v", err)
	}
	if _, err := LockDir(filepath.Join(dir, "lock")); err == nil {
		t.Error("a file is no folder")
	}
}
