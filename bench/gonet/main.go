// Gonet is the server that most people would write: package net, one goroutine a
// connection, msgpack/v5, buffered reads and writes, flushed when no whole request
// is left to read. It answers sum and is here to be measured beside gameserverd.
//
//	gonet [-addr HOST:PORT]
package main

import (
	"bufio"
	"errors"
	"flag"
	"io"
	"log"
	"net"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:7802", "address to listen on")
	flag.Parse()
	ln, err := net.Listen("tcp4", *addr)
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer conn.Close()
			var network net.Error
			if err := serve(conn); err != io.EOF && !errors.As(err, &network) {
				log.Print(err)
			}
		}()
	}
}

func serve(conn net.Conn) error {
	r := bufio.NewReader(conn)
	w := bufio.NewWriter(conn)
	c := newCodec()
	var body, reply []byte
	for {
		header, err := r.Peek(headerLen)
		if err != nil {
			return err
		}
		n, err := frameLen(header)
		if err != nil {
			return err
		}
		r.Discard(headerLen)
		if n > cap(body) {
			body = make([]byte, n)
		}
		body = body[:n]
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		if reply, err = c.serve(reply[:0], body); err != nil {
			return err
		}
		w.Write(reply)
		if !buffered(r) {
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}
}

// buffered reports whether a whole frame can be read without blocking.
func buffered(r *bufio.Reader) bool {
	if r.Buffered() < headerLen {
		return false
	}
	header, _ := r.Peek(headerLen)
	n, err := frameLen(header)
	return err == nil && r.Buffered() >= headerLen+n
}
