// Logins logs players in, one after the other, on a few connections, so that a server loads the states of many more players
// than it has connections.
//
//	logins [-addr 127.0.0.1:5700] [-from 1] [-to 100000] [-connections 64]
//
// It prints how many it has logged in and how long that took, as JSON.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"sync"
	"sync/atomic"
	"time"

	"gameserverd/client"
	"gameserverd/client/api"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("logins: ")
	addr := flag.String("addr", "127.0.0.1:5700", "address of the server")
	from := flag.Uint64("from", 1, "the first player")
	to := flag.Uint64("to", 100_000, "the last player")
	connections := flag.Int("connections", 64, "how many at a time")
	flag.Parse()

	var next atomic.Uint64
	next.Store(*from - 1)
	errs := make([]error, *connections)
	began := time.Now()
	var all sync.WaitGroup
	for i := range *connections {
		all.Go(func() { errs[i] = logIn(*addr, &next, *to) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		log.Fatal(err)
	}
	seconds := time.Since(began).Seconds()
	fmt.Printf("{\n  \"logins\": %d,\n  \"seconds\": %.3f,\n  \"logins_per_second\": %.1f\n}\n", *to-*from+1, seconds, float64(*to-*from+1)/seconds)
}

// logIn logs players in and out on one connection until none is left.
func logIn(addr string, next *atomic.Uint64, to uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	c, err := client.Dial(ctx, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	auth := api.New(c).Auth
	for uid := next.Add(1); uid <= to; uid = next.Add(1) {
		if _, err := auth.Login(ctx, fmt.Sprintf("dev:%d", uid)); err != nil {
			return fmt.Errorf("player %d: %w", uid, err)
		}
		if err := auth.Logout(ctx); err != nil {
			return fmt.Errorf("player %d: %w", uid, err)
		}
	}
	return nil
}
