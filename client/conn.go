package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"gameserverd/wire"
)

// conn is one connection of a client, from newConn until dead is closed and its two goroutines have ended.
type conn struct {
	// immutable after newConn
	c       *Client
	nc      net.Conn
	began   time.Time
	ctx     context.Context // of the server's calls: ends with the connection
	cancel  context.CancelFunc
	dead    chan struct{} // closed by fail, when err is set and nc closed
	wake    chan struct{} // capacity 1: the writer is to look again
	noticed chan struct{} // capacity 1: closing was set
	tasks   sync.WaitGroup

	// any goroutine
	reads, writes atomic.Uint64 // how often bytes came, and were written
	stalled       atomic.Bool   // the reader waits for the notification queue

	// Client.mu
	asleep    bool          // the writer waits for wake
	inflight  int           // requests sent and not answered, those that nobody waits for apart
	owed      int           // calls of the server whose replies the writer has not taken
	ping      *call         // a sys.ping that has no response yet
	announced bool          // it took calls, and WithOnConnect was told
	closing   *ClosingError // the server's last word: no new calls
	comeBack  time.Time     // when the server expects us again after closing
	err       error         // why it is dead

	// reader only
	in  inbuf
	msg wire.Message
}

func newConn(c *Client, nc net.Conn) *conn {
	cn := &conn{
		c: c, nc: nc, began: c.o.clock.Now(),
		dead: make(chan struct{}), wake: make(chan struct{}, 1), noticed: make(chan struct{}, 1),
		in: inbuf{max: c.o.maxFrame},
	}
	cn.ctx, cn.cancel = context.WithCancel(c.ctx)
	return cn
}

// start starts the reader and the writer.
func (cn *conn) start() {
	cn.tasks.Go(cn.read)
	cn.tasks.Go(cn.write)
}

// fail ends the connection because of err, unless it has ended; a closing that the server sent is the better reason.
// It does not wait for the goroutines.
func (cn *conn) fail(err error) {
	c := cn.c
	c.mu.Lock()
	if cn.err != nil {
		c.mu.Unlock()
		return
	}
	if cn.closing != nil {
		err = cn.closing
	}
	cn.err = err
	if c.conn == cn {
		c.online = false
	}
	victims := c.takeLostLocked(cn)
	c.allAskAgainLocked()
	c.mu.Unlock()
	cn.nc.Close()
	cn.cancel()
	close(cn.dead)
	for _, v := range victims {
		if v.sent {
			v.m.finish(lostError(v.m.method, err))
		} else {
			v.m.finish(failure(Unavailable, v.m.method+": the connection ended before it was sent", err))
		}
	}
}

// wakeLocked makes the writer look again. Client.mu.
func (cn *conn) wakeLocked() {
	if cn.asleep {
		cn.asleep = false
		cn.wake <- struct{}{} // has room: asleep is set once for each value taken out
	}
}

// write is the writer: all that was queued since its last write goes into the next one.
func (cn *conn) write() {
	var buf []byte
	for {
		var over bool
		if buf, over = cn.c.take(cn, buf[:0]); over {
			cn.fail(ErrClosed) // or the server's closing
			return
		}
		if len(buf) == 0 {
			select {
			case <-cn.wake:
				runtime.Gosched() // let goroutines that are about to queue do so first: fewer, longer writes
			case <-cn.dead:
				return
			}
			continue
		}
		if _, err := cn.nc.Write(buf); err != nil {
			cn.fail(fmt.Errorf("writing: %w", err))
			return
		}
		cn.writes.Add(1)
		if cap(buf) > 2*batchBytes {
			buf = nil
		}
	}
}

// read is the reader.
func (cn *conn) read() {
	for {
		if err := cn.messages(); err != nil {
			cn.fail(err)
			return
		}
		n, err := cn.nc.Read(cn.in.space())
		cn.in.filled(n)
		if n > 0 {
			cn.reads.Add(1)
			continue // an error comes again
		}
		if errors.Is(err, io.EOF) {
			err = errors.New("the server closed the connection without a reason")
		} else if err != nil {
			err = fmt.Errorf("reading: %w", err)
		} else {
			continue
		}
		cn.fail(err)
		return
	}
}

// messages handles every whole message that was read.
func (cn *conn) messages() error {
	for {
		b, err := cn.in.next()
		if err != nil || b == nil {
			return err
		}
		if err := cn.msg.Parse(b, cn.c.o.maxElements); err != nil {
			return fmt.Errorf("the server sent a bad message: %w", err)
		}
		switch cn.msg.Kind {
		case wire.Response:
			cn.c.complete(cn, &cn.msg)
		case wire.Notification:
			err = cn.notified(&cn.msg)
		case wire.Request:
			err = cn.called(&cn.msg)
		}
		if err != nil {
			return err
		}
	}
}

// closed notes that the server is going to close the connection: it gets no new calls, and once those that were sent
// have ended the writer closes it.
func (cn *conn) closed(msg *wire.Message) error {
	closing, err := wire.ParseClosing(msg.Params)
	if err != nil {
		return fmt.Errorf("the server sent a bad %s: %w", wire.ClosingMethod, err)
	}
	c := cn.c
	now := c.o.clock.Now()
	c.mu.Lock()
	cn.closing = &ClosingError{closing}
	cn.comeBack = now.Add(min(closing.RetryAfter, maxRetryAfter))
	c.online = false // c.conn is cn: the next comes when this one is dead
	cn.wakeLocked()
	c.allAskAgainLocked()
	c.mu.Unlock()
	select {
	case cn.noticed <- struct{}{}:
	default:
	}
	return nil
}

// inbuf holds what was read and not yet handled. It grows with the bytes that have come, never by what a length announces.
type inbuf struct {
	max  int // bytes of one message
	b    []byte
	r, w int // b[r:w] is unread
}

const (
	readBytes = 16 << 10 // the buffer that a connection keeps
	keepBytes = 64 << 10 // a buffer that has grown beyond this is given up once it is empty
)

// next returns the next message, valid until space is called; nil when more bytes are needed.
//
//	| len len len len | message ... | len len len len | mess
//	  r                               next r              w
func (in *inbuf) next() ([]byte, error) {
	have := in.w - in.r
	if have < wire.HeaderLen {
		return nil, nil
	}
	n := wire.FrameLen(in.b[in.r:])
	if isAlert(in.b[in.r:in.w]) {
		return nil, ErrNeedsTLS // as a length it would be over every limit
	}
	if n == 0 || n > in.max {
		return nil, fmt.Errorf("the server sent a frame of %d bytes, the limits are 1 and %d", n, in.max)
	}
	if have < wire.HeaderLen+n {
		return nil, nil
	}
	start := in.r + wire.HeaderLen
	in.r = start + n
	return in.b[start:in.r:in.r], nil
}

// space returns where to read to: at least one byte.
func (in *inbuf) space() []byte {
	switch {
	case in.r == in.w:
		in.r, in.w = 0, 0
		if in.b == nil || len(in.b) > keepBytes {
			in.b = make([]byte, readBytes)
		}
	case in.r > 0 && len(in.b)-in.w < len(in.b)/4:
		in.w = copy(in.b, in.b[in.r:in.w])
		in.r = 0
	}
	if in.w == len(in.b) {
		in.b = append(in.b, make([]byte, len(in.b))...)
	}
	return in.b[in.w:]
}

// filled tells that n bytes were read to space.
func (in *inbuf) filled(n int) { in.w += n }
