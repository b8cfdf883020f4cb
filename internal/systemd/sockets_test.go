package systemd

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// describe is the port that fd listens on, and whether children get it.
func describe(fd int) string {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return err.Error()
	}
	flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return fmt.Sprintf("%d,cloexec=%v", sa.(*unix.SockaddrInet4).Port, flags&unix.FD_CLOEXEC != 0)
}

// child runs the test binary with the sockets as systemd would; pid is a shell
// expression for LISTEN_PID.
func child(t *testing.T, pid string, env []string, sockets ...*os.File) string {
	t.Helper()
	cmd := exec.Command("sh", "-c", "LISTEN_PID="+pid+` exec "$0"`, os.Args[0])
	cmd.Env = append([]string{childEnv + "=1", "GORACE=atexit_sleep_ms=0"}, env...)
	cmd.ExtraFiles = sockets
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func listening(t *testing.T) (socket *os.File, port int) {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err = l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket, l.Addr().(*net.TCPAddr).Port
}

func TestListeners(t *testing.T) {
	a, portA := listening(t)
	b, portB := listening(t)
	const all = "cloexec=true"
	for _, test := range []struct{ names, want string }{
		{"game:admin", fmt.Sprintf(`2 ["game" "admin"] <nil> %d,%s %d,%s`, portA, all, portB, all)},
		{"gameserverd.socket:unknown", fmt.Sprintf(`2 ["" ""] <nil> %d,%s %d,%s`, portA, all, portB, all)},
		{"", fmt.Sprintf(`2 ["" ""] <nil> %d,%s %d,%s`, portA, all, portB, all)},
	} {
		got := child(t, "$$", []string{"LISTEN_FDS=2", "LISTEN_FDNAMES=" + test.names}, a, b)
		if want := test.want + "\n0 [] <nil>\n\"\"\"\"\"\"\n"; got != want {
			t.Errorf("%s: got\n%swant\n%s", test.names, got, want)
		}
	}
}

// The sockets of another process are not ours, however they came here.
func TestListenersOfAnotherProcess(t *testing.T) {
	a, _ := listening(t)
	for _, pid := range []string{"1", "", "x"} {
		if got := child(t, pid, []string{"LISTEN_FDS=1"}, a); !strings.HasPrefix(got, "0 [] <nil>\n") {
			t.Errorf("LISTEN_PID=%s: %s", pid, got)
		}
	}
}

func TestListenersThatAreNotThere(t *testing.T) {
	a, _ := listening(t)
	got := child(t, "$$", []string{"LISTEN_FDS=60000", "LISTEN_FDNAMES=game"}, a)
	if !strings.HasPrefix(got, "0 [] systemd: LISTEN_FD_") || !strings.Contains(got, "bad file descriptor\n0 []") {
		t.Error(got)
	}
}
