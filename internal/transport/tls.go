package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"gameserverd/internal/conn"
)

const (
	// maxCollected is how many bytes that are written while input is taken are
	// encrypted together.
	maxCollected = 64 << 10
	// plainChunk is how many bytes are decrypted before they are offered.
	plainChunk = 64 << 10
	// maxFraming is what may come with half a message besides its bytes.
	maxFraming = 4096
)

// tlsLayer is TLS on one connection, and the net.Conn below crypto/tls: it never
// fails a write, since crypto/tls would never write again, and says of a read
// that finds nothing that the error is temporary, since that is the one kind
// that crypto/tls does not remember.
type tlsLayer struct {
	conn  *tls.Conn
	stack *stack
	shake *handshake // nil: the handshake has ended, and all is the loop's

	// loop only, after the handshake
	behind []byte // what came behind the handshake and was not read
	from   []byte // what the Set has offered and was not read
	eof    bool   // behind these nothing comes
	warm   bool   // in mux.warm
	used   bool   // since that was last looked at
	half   int64  // loop.Monotonic when a record began that has not ended; 0: none
}

// wouldBlock is the error of a read that finds nothing.
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "nothing to read now" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

var _ net.Error = wouldBlock{}

// Read is for crypto/tls.
func (t *tlsLayer) Read(b []byte) (n int, err error) {
	if t.shake != nil {
		return t.shake.read(b)
	}
	switch {
	case len(t.behind) > 0:
		n = copy(b, t.behind)
		if t.behind = t.behind[n:]; len(t.behind) == 0 {
			t.behind = nil
		}
	case len(t.from) > 0:
		n = copy(b, t.from)
		t.from = t.from[n:]
	case t.eof:
		return 0, io.EOF
	default:
		return 0, wouldBlock{}
	}
	return n, nil
}

// Write is for crypto/tls.
func (t *tlsLayer) Write(b []byte) (int, error) {
	if t.shake != nil {
		t.shake.write(b)
	} else if k := t.stack; k.mux != nil {
		k.mux.set.Write(k.id, b)
	}
	return len(b), nil
}

// Close and the rest of net.Conn: the connection is the Set's, and so is time.
func (t *tlsLayer) Close() error                     { return nil }
func (t *tlsLayer) LocalAddr() net.Addr              { return nowhere{} }
func (t *tlsLayer) RemoteAddr() net.Addr             { return nowhere{} }
func (t *tlsLayer) SetDeadline(time.Time) error      { return nil }
func (t *tlsLayer) SetReadDeadline(time.Time) error  { return nil }
func (t *tlsLayer) SetWriteDeadline(time.Time) error { return nil }

// nowhere is the address of a connection that has none of its own.
type nowhere struct{}

func (nowhere) Network() string { return "loop" }
func (nowhere) String() string  { return "" }

// closeNotify says that nothing more is sent.
func (t *tlsLayer) closeNotify() {
	// Its error would be that of a Write, which has none.
	_ = t.conn.CloseWrite()
}

// decrypt takes records off the wire.
func (k *stack) decrypt(b []byte) (used int) {
	m, t := k.mux, k.tls
	t.from = b
	m.cur, m.pend = k, m.pend[:0] // if a handler has panicked something may be left there
	whole := k.pump()
	k.flush()
	m.cur = nil
	used = len(b) - len(t.from)
	t.from = nil
	k.noteHalf(whole)
	m.isWarm(k)
	return used
}

// noteHalf remembers since when a record has been waiting for its end; whole says
// that one has ended now. While the hub wants nothing it is not the client who is
// waited for.
func (k *stack) noteHalf(whole bool) {
	t := k.tls
	half, _ := tlsBuffers.waiting(t.conn)
	switch {
	case len(half) == 0 || k.held():
		t.half = 0
	case whole || t.half == 0:
		t.half = max(1, k.mux.loop.Monotonic())
	}
}

// pump decrypts and offers, until there is nothing more or the hub wants nothing. It
// reports whether there was a whole record.
func (k *stack) pump() (whole bool) {
	if k.has(again) {
		k.flags &^= again
		k.take()
	}
	for !k.held() {
		n, err := k.read()
		if n > 0 {
			whole = true
			k.take()
		}
		if err == nil || k.held() {
			continue // an error that lasts is met again
		}
		k.readFailed(err)
		return whole
	}
	if !k.has(ended) {
		k.flags |= again
	}
	return whole
}

// read decrypts into k.in, as long as records come: behind what is left there,
// or into the Mux's buffer.
func (k *stack) read() (n int, err error) {
	m := k.mux
	old := len(k.in)
	if old == 0 {
		if m.plain == nil {
			m.plain = make([]byte, plainChunk)
		}
		k.in = m.plain[:0]
	} else if room := cap(k.in) - old; room < min(old, plainChunk) {
		k.in = append(make([]byte, 0, max(1024, 2*old)), k.in...)
	}
	free := k.in[old:min(cap(k.in), old+plainChunk)]
	for n < len(free) && err == nil {
		var more int
		more, err = k.tls.conn.Read(free[n:])
		n += more
	}
	k.in = k.in[:old+n]
	return n, err
}

// take offers what is in k.in, and keeps what is not used.
func (k *stack) take() {
	if len(k.in) == 0 && k.ws == nil {
		return
	}
	b := k.in
	rest := b[k.clear(b):]
	switch {
	case k.has(ended) || len(rest) == 0:
		k.in = nil
	case k.mux.lends(b), cap(b) > 4*len(rest)+4096:
		k.in = append([]byte(nil), rest...)
	case len(rest) < len(b):
		k.in = append(b[:0], rest...)
	}
	// Not one that is held: what it has was asked for, and no more is read.
	if limit := k.mux.shared.settings.Load().MaxFrame + maxFraming; len(k.in) > limit && !k.held() {
		k.end()
		k.mux.set.Close(k.id, conn.InputFull, nil)
	}
}

// lends tells whether b is in the Mux's buffer, where the next one's bytes go too.
func (m *Mux) lends(b []byte) bool {
	return len(m.plain) > 0 && cap(b) > 0 && &b[:1][0] == &m.plain[0]
}

// readFailed deals with the error of a read.
func (k *stack) readFailed(err error) {
	if len(k.in) == 0 {
		k.in = nil // it may be the Mux's buffer
	}
	switch {
	case errors.As(err, new(wouldBlock)):
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		// close_notify, or FIN without one: messages say themselves whether they are whole.
		k.eof()
	default:
		k.fail(brokenTLS, conn.Broken, fmt.Errorf("TLS: %w", err))
	}
}

// encrypt sends b at once.
func (k *stack) encrypt(b []byte) {
	// Its error would be that of a Write, which has none, or that of an alert that
	// was sent; then the next read has it too.
	_, _ = k.tls.conn.Write(b)
	k.mux.isWarm(k)
}

// flush encrypts and sends what was collected.
func (k *stack) flush() {
	m := k.mux
	if m.cur != k || len(m.pend) == 0 {
		return
	}
	b := m.pend
	m.pend = m.pend[:0]
	k.encrypt(b)
}
