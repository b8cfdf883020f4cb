package transport

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"testing"
)

func TestLayoutGuard(t *testing.T) {
	if !tlsBuffers.known {
		t.Error("crypto/tls has its buffers elsewhere: an idle connection costs more than it should; see release.go")
	}
	var fields []reflect.StructField
	for _, name := range []string{"rawInput", "hand", "input"} {
		fields = append(fields, reflect.StructField{Name: name, PkgPath: "other", Type: reflect.TypeFor[bytes.Buffer]()})
	}
	for _, other := range []reflect.Type{reflect.StructOf(fields), reflect.StructOf(fields[:2])} {
		if l := findTLSBuffers(other); l.known {
			t.Errorf("%v is taken for the layout that is known", other)
		}
	}
	tlsLayout{}.release(nil) // does nothing
}

// TestIdleConnectionsGiveTheirBuffersBack: and work afterwards.
func TestIdleConnectionsGiveTheirBuffersBack(t *testing.T) {
	server, client := serverTLS(t)
	for name, version := range versions {
		r := newRig(t, rigOptions{Settings: Settings{TLS: server}})
		config := client.Clone()
		config.MinVersion, config.MaxVersion = version, version
		c := r.dialTLS(config)
		echo(t, c, frame(300_000, 1))
		if _, err := c.Write(frame(1000, 1)[:500]); err != nil { // half a frame stays
			t.Fatal(err)
		}
		capacity := func() (n int) {
			r.onLoop(0, func() {
				for _, k := range r.hubs[0].mux.stacks {
					if k != nil {
						n = reflect.ValueOf(k.tls.conn).Elem().FieldByName("rawInput").FieldByName("buf").Cap()
					}
				}
			})
			return n
		}
		if version == tls.VersionTLS13 && capacity() == 0 {
			t.Error("a busy connection has no buffer")
		}
		eventually(t, name+": the buffer is given back", func() bool { return capacity() == 0 })
		if _, err := c.Write(frame(1000, 1)[500:]); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1004)
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, frame(1000, 1)) {
			t.Errorf("%s: the frame that was cut: %v", name, err)
		}
		echo(t, c, frame(100_000, 2))
	}
}

// holdEnv makes the test binary hold idle connections: so many, at an address.
const holdEnv = "TRANSPORT_TEST_HOLD"

func hold(spec string) int {
	var addr string
	var count int
	if _, err := fmt.Sscan(spec, &addr, &count); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for range count {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			_, err = c.Write(frame(1000, 1))
		}
		if err == nil {
			_, err = streamed{c}.receive()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer c.Close()
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// TestIdleTLSMemory: what an idle connection costs on the heap; its client is in
// another process.
func TestIdleTLSMemory(t *testing.T) {
	const count = 200
	server, _ := serverTLS(t)
	r := newRig(t, rigOptions{Settings: Settings{TLS: server}})
	first := r.connect("tls-1.3", &tls.Config{InsecureSkipVerify: true}) // what is made once
	if err := first.send(frame(1000, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := first.receive(); err != nil {
		t.Fatal(err)
	}
	before := heap()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", holdEnv, r.server.Addrs()[0], count))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	eventually(t, "all have cooled", func() (cool bool) {
		r.onLoop(0, func() { cool = len(r.hubs[0].mux.warm) == 0 })
		return cool
	})
	each := float64(heap()-before) / count
	t.Logf("%.0f bytes a connection", each)
	if limit := 4096.0; each > limit && !raceEnabled {
		t.Errorf("an idle TLS connection takes %.0f bytes of heap", each)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// heap is what is live.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
