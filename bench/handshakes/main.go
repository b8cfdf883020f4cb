// Handshakes puts TLS connections on a server, without checking its certificate.
//
//	handshakes [-addr 127.0.0.1:5700] -hold N      N connections that have made one call, until standard input ends
//	handshakes [-addr 127.0.0.1:5700] -stall N     N handshakes that wait for this end, until standard input ends
//	handshakes [-addr 127.0.0.1:5700] -renew N     N handshakes at any time, each followed by the next, until standard input ends
//
// It prints a line when it is as far, and with -renew one more in the end with how many it has finished a second.
package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// call is sum(1, 2) as a frame, and answer what it is answered.
const (
	call   = "\x00\x00\x00\x0a\x94\x00\x01\xa3sum\x92\x01\x02"
	answer = "\x00\x00\x00\x05\x94\x01\x01\xc0\x03"
)

var config = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}

func main() {
	log.SetFlags(0)
	log.SetPrefix("handshakes: ")
	addr := flag.String("addr", "127.0.0.1:5700", "address of the server")
	hold := flag.Int("hold", 0, "connections that are held")
	stall := flag.Int("stall", 0, "handshakes that are stalled")
	renew := flag.Int("renew", 0, "handshakes at any time")
	flag.Parse()
	switch {
	case *hold > 0:
		each(*hold, func() error { return holdOne(*addr) })
		fmt.Println("held", *hold)
	case *stall > 0:
		each(*stall, func() error { return stallOne(*addr) })
		fmt.Println("stalled", *stall)
	case *renew > 0:
		renewAll(*addr, *renew)
		return
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// held are kept from being collected, and so closed.
var held sync.Map

// each runs fn so often, some at a time.
func each(n int, fn func() error) {
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, 32)
	for i := range errs {
		all.Go(func() {
			for next.Add(1) <= int64(n) && errs[i] == nil {
				errs[i] = fn()
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		log.Fatal(err)
	}
}

func holdOne(addr string) error {
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err
	}
	held.Store(c, true)
	if _, err = io.WriteString(c, call); err == nil {
		got := make([]byte, len(answer))
		if _, err = io.ReadFull(c, got); err == nil && string(got) != answer {
			err = fmt.Errorf("the answer to sum is %q", got)
		}
	}
	return err
}

// mute lets nothing through once the server has answered.
type mute struct {
	net.Conn
	answered chan struct{}
}

func (c mute) Read(b []byte) (int, error) {
	if _, err := c.Conn.Read(b[:1]); err != nil {
		return 0, err
	}
	close(c.answered)
	select {} // for as long as the process lives
}

func stallOne(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	m := mute{c, make(chan struct{})}
	failed := make(chan error, 1)
	go func() { failed <- tls.Client(m, config).Handshake() }()
	select {
	case <-m.answered:
		return nil
	case err := <-failed:
		return err
	}
}

func renewAll(addr string, n int) {
	var finished, failed atomic.Int64
	for range n {
		go func() {
			for {
				c, err := tls.Dial("tcp", addr, config)
				if err != nil {
					failed.Add(1)
					time.Sleep(10 * time.Millisecond)
					continue
				}
				finished.Add(1)
				c.Close()
			}
		}()
	}
	began := time.Now()
	fmt.Println("renewing", n)
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Printf("%.0f handshakes a second, %d failed\n", float64(finished.Load())/time.Since(began).Seconds(), failed.Load())
}
