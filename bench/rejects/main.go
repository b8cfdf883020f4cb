// Rejects opens connections to a server that refuses them, and says what each has cost it.
//
//	rejects -pid PID [-addr 127.0.0.1:5700] [-n 20000] [-at-once 16] [-silent]
//
// Each connection sends a sys.ping and reads until the server closes it; with -silent it sends nothing. Those that were told
// sys.closing, those that were closed without a word and those that were served (of which there should be none) are counted.
// The CPU time is the server's, user and system, from /proc/PID/stat. It prints JSON.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gameserverd/wire"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("rejects: ")
	addr := flag.String("addr", "127.0.0.1:5700", "address of the server")
	pid := flag.Int("pid", 0, "its process")
	n := flag.Int64("n", 20_000, "connections")
	atOnce := flag.Int("at-once", 16, "how many at a time")
	silent := flag.Bool("silent", false, "send nothing")
	flag.Parse()

	ping := wire.AppendArray(wire.AppendRequest(wire.BeginFrame(nil), 1, "sys.ping"), 0)
	wire.EndFrame(ping, 0)
	if *silent {
		ping = nil
	}
	var left, told, untold, served atomic.Int64
	left.Store(*n)
	before, began := cpu(*pid), time.Now()
	var all sync.WaitGroup
	for range *atOnce {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				switch answer := try(*addr, ping); {
				case answer == nil:
					untold.Add(1)
				case bytes.Contains(answer, []byte(wire.ClosingMethod)):
					told.Add(1)
				default:
					served.Add(1)
				}
			}
		})
	}
	all.Wait()
	seconds := time.Since(began).Seconds()
	used := cpu(*pid) - before
	fmt.Printf("{\n  \"connections\": %d,\n  \"told\": %d,\n  \"untold\": %d,\n  \"served\": %d,\n  \"per_second\": %.0f,\n  \"server_us\": %.2f\n}\n",
		*n, told.Load(), untold.Load(), served.Load(), float64(*n)/seconds, used.Seconds()*1e6/float64(*n))
}

// try makes one connection and returns what it was told; nil: nothing.
func try(addr string, say []byte) []byte {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		log.Fatal(err)
	}
	if len(say) > 0 {
		_, _ = c.Write(say) // it may be closed already
	}
	answer := make([]byte, 0, 512)
	for {
		n, err := c.Read(answer[len(answer):cap(answer)])
		answer = answer[:len(answer)+n]
		whole := len(answer) >= wire.HeaderLen && len(answer) >= wire.HeaderLen+wire.FrameLen(answer)
		switch {
		case os.IsTimeout(err):
			log.Fatal("a connection that should be refused stays open")
		case err != nil && len(answer) == 0:
			return nil
		case err != nil, whole && !bytes.Contains(answer, []byte(wire.ClosingMethod)):
			return answer
		}
	}
}

// cpu is what a process has used so far.
func cpu(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		log.Fatal(err)
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	ticks := 0
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(f)
		if err != nil {
			log.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100)
}
