package storetest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// roleEnv makes this test binary, started once more, run only TestRole as the value says.
const roleEnv = "STORETEST_ROLE"

// TestRole is not a test of its own: others start it in a second process.
func TestRole(t *testing.T) {
	switch os.Getenv(roleEnv) {
	case "hang": // until it is killed, with a stalled server among its own
		m, r := MariaDBAlone(t), RedisAlone(t)
		r.Stall()
		fmt.Println("servers", m.process.cmd.Process.Pid, r.process.cmd.Process.Pid, run.path)
		select {}
	case "use":
		RedisAlone(t)
	case "without":
		sbin = nil
		t.Setenv("PATH", "")
		MariaDB(t)
	}
}

func role(t *testing.T, name string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestRole$", "-test.v")
	cmd.Env = append(append(os.Environ(), roleEnv+"="+name, "GORACE=atexit_sleep_ms=0"), env...)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestAKilledTestBinaryLeavesNothingRunning(t *testing.T) {
	program(t, "mariadbd")
	program(t, "redis-server")
	cmd := role(t, "hang")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := StartChild(cmd); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var words []string
	for len(words) == 0 && lines.Scan() {
		if line := lines.Text(); strings.HasPrefix(line, "servers ") {
			words = strings.Fields(line)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || len(words) != 4 {
		t.Fatalf("the test binary ended with %v and printed %q", err, words)
	}
	for _, word := range words[1:3] {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		err = until(func(context.Context) (bool, error) { return gone(pid), nil })
		if err != nil {
			t.Errorf("server %d still runs: %v", pid, err)
		}
	}

	// Its folder goes with the next run that begins, at the latest this one.
	folder := words[3]
	next := role(t, "use")
	if out, err := next.Output(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", folder, err)
	}
}

// gone says whether the process has ended; one that nobody has waited for yet has.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(b)[strings.LastIndexByte(string(b), ')'):], " ")
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X") || syscall.Kill(pid, 0) != nil
}

func TestASkippedTestIsCounted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "skipped")
	for n := 1; n <= 2; n++ {
		cmd := role(t, "without", skippedEnv+"="+file)
		if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), "--- SKIP: TestRole") {
			t.Fatalf("%v\n%s", err, out)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Repeat("TestRole: mariadbd is not installed: apt-get install mariadb-server\n", n)
		if string(b) != want {
			t.Errorf("the file has %q, not %q", b, want)
		}
	}
}

func TestStoresRunsOverBoth(t *testing.T) {
	var seen []string
	Stores(t, func(t *testing.T, s Store) {
		seen = append(seen, s.Driver)
		if (s.Driver == "mysql") != (s.Server != nil) || s.DSN == "" {
			t.Errorf("%+v", s)
		}
	})
	if find("mariadbd") != "" && fmt.Sprint(seen) != "[sqlite mysql]" {
		t.Errorf("ran over %v", seen)
	}
}
