package server

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gameserverd/client"
	"gameserverd/wire"
)

func TestConnectionsFitTheDescriptors(t *testing.T) {
	for _, descriptors := range []uint64{0, 60, 100, 128, 1024, 20_000, 1 << 20, 1 << 63} {
		for _, loops := range []int{1, 2, 16} {
			n := ConnectionsWithin(descriptors, loops)
			need := uint64(n + spare(n) + ownDescriptors + loopDescriptors*loops)
			if n < 1 || n > 1 && need > descriptors {
				t.Errorf("%d descriptors, %d loops: %d connections need %d", descriptors, loops, n, need)
			}
		}
	}
	if n := ConnectionsWithin(20_000, 2); n < 19_500 {
		t.Errorf("20,000 descriptors serve only %d connections", n)
	}
}

// A server that may have 256 descriptors tells the clients beyond them why, and
// serves the others.
func TestClientsBeyondTheDescriptorsAreTold(t *testing.T) {
	cmd := exec.Command("sh", "-c", `ulimit -n 256 && exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+t.TempDir())
	addr, stop := startChildOf(t, cmd)
	good, err := client.Dial(testContext(t), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer good.Close()
	told := 0
	for range 300 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		b := wire.AppendArray(wire.AppendRequest(wire.BeginFrame(nil), 1, "sys.ping"), 0)
		wire.EndFrame(b, 0)
		c.Write(b)
		m, err := readMessage(bufio.NewReader(c))
		if err != nil {
			continue // beyond those that are told
		}
		if closing, err := wire.ParseClosing(m.Params); m.Kind == wire.Notification && err == nil {
			if closing.Code != wire.TooManyConnections || !strings.Contains(closing.Message, "connections") {
				t.Fatalf("told %+v", closing)
			}
			told++
		}
	}
	if told == 0 {
		t.Error("nobody was told")
	}
	if err := good.Call(testContext(t), "sum", nil, 1, 2); err != nil {
		t.Error(err)
	}
	good.Close()
	stop()
}
