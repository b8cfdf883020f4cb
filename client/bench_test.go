package client_test

import (
	"bufio"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"gameserverd/client"
	"gameserverd/wire"
)

// echoServer answers each request with its first param and allocates next to nothing for it, so that what is measured is the
// client. It answers all that it has read with one write, as the daemon does.
func echoServer(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go echo(nc)
		}
	}()
	return l.Addr().String()
}

func echo(nc net.Conn) {
	defer nc.Close()
	in := bufio.NewReaderSize(nc, 64<<10)
	var out, b []byte
	var m wire.Message
	for {
		if in.Buffered() < wire.HeaderLen && len(out) > 0 {
			if _, err := nc.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
		header, err := in.Peek(wire.HeaderLen)
		if err != nil {
			return
		}
		n := wire.FrameLen(header)
		in.Discard(wire.HeaderLen)
		b = append(b[:0], make([]byte, n)...)
		if _, err := io.ReadFull(in, b); err != nil || m.Parse(b, wire.DefaultMaxElements) != nil {
			return
		}
		if m.Kind != wire.Request {
			continue
		}
		r := wire.NewReader(m.Params)
		r.Array()
		start := len(out)
		out = append(wire.AppendResult(wire.BeginFrame(out), m.ID), r.Raw()...)
		wire.EndFrame(out, start)
	}
}

func dialEcho(b *testing.B) *client.Client {
	c, err := client.Dial(ctx, echoServer(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	b.ReportAllocs()
	return c
}

func perSecond(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

func BenchmarkCallSerial(b *testing.B) {
	c := dialEcho(b)
	defer perSecond(b)
	var n int64
	for i := range int64(b.N) {
		if err := c.Call(ctx, "echo", &n, i); err != nil || n != i {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkCallPipelined(b *testing.B) {
	c := dialEcho(b)
	b.SetParallelism(64)
	defer perSecond(b)
	var next atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		var n int64
		for pb.Next() {
			i := next.Add(1)
			if err := c.Call(ctx, "echo", &n, i); err != nil || n != i {
				b.Error(n, err)
				return
			}
		}
	})
}

func BenchmarkGoPipelined(b *testing.B) {
	c := dialEcho(b)
	defer perSecond(b)
	const depth = 64
	var pending [depth]*client.Pending
	var results [depth]int64
	for i := range b.N {
		k := i % depth
		if pending[k] != nil {
			if err := pending[k].Wait(); err != nil {
				b.Fatal(err)
			}
		}
		pending[k] = c.Go(ctx, "echo", &results[k], i)
	}
	for _, p := range pending {
		if p != nil {
			p.Wait()
		}
	}
}

func BenchmarkNotify(b *testing.B) {
	c := dialEcho(b)
	defer perSecond(b)
	for i := range b.N {
		if err := c.Notify(ctx, "pos", i); err != nil {
			b.Fatal(err)
		}
	}
}
