package conn

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// peer is the other end of a connection under test: a blocking socket.
type peer struct {
	t      testing.TB
	fd     int
	closed bool
}

func newPeer(t testing.TB, fd int) *peer {
	p := &peer{t: t, fd: fd}
	tv := unix.NsecToTimeval(int64(deadline))
	for _, opt := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, opt, &tv); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(p.close)
	return p
}

// tcpPair returns a connected, non-blocking descriptor and its peer.
func tcpPair(t testing.TB) (int, *peer) {
	t.Helper()
	lfd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(lfd)
	if err := unix.Bind(lfd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(lfd, 1); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(lfd)
	if err != nil {
		t.Fatal(err)
	}
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(c, sa); err != nil {
		t.Fatal(err)
	}
	fd, _, err := unix.Accept4(lfd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range []int{fd, c} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			t.Fatal(err)
		}
	}
	return fd, newPeer(t, c)
}

func (p *peer) close() {
	if !p.closed {
		p.closed = true
		unix.Close(p.fd)
	}
}

// reset closes with an RST.
func (p *peer) reset() {
	p.t.Helper()
	if err := unix.SetsockoptLinger(p.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		p.t.Fatal(err)
	}
	p.close()
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	for len(b) > 0 {
		n, err := unix.SendmsgN(p.fd, b, nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			p.t.Fatalf("peer: send: %v", err)
		}
		b = b[n:]
	}
}

func (p *peer) finish() {
	p.t.Helper()
	if err := unix.Shutdown(p.fd, unix.SHUT_WR); err != nil {
		p.t.Fatal(err)
	}
}

// read is one recv; 0 at the end.
func (p *peer) read(b []byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(p.fd, b, 0)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func (p *peer) want(want []byte) {
	p.t.Helper()
	got := make([]byte, len(want))
	for at := 0; at < len(got); {
		n, err := p.read(got[at:])
		if err != nil || n == 0 {
			p.t.Fatalf("peer: got %d of %d bytes, then %d, %v", at, len(got), n, err)
		}
		at += n
	}
	if !bytes.Equal(got, want) {
		p.t.Fatalf("peer: got other bytes: %s", firstDifference(got, want))
	}
}

// rest reads until the end, which must be a FIN.
func (p *peer) rest() []byte {
	p.t.Helper()
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := p.read(buf)
		if err != nil {
			p.t.Fatalf("peer: after %d bytes: %v, want a FIN", len(all), err)
		}
		if n == 0 {
			return all
		}
		all = append(all, buf[:n]...)
	}
}

func firstDifference(got, want []byte) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("offset %d: %#x, want %#x", i, got[i], want[i])
		}
	}
	return fmt.Sprintf("length %d, want %d", len(got), len(want))
}

// pattern returns n bytes that do not repeat soon.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func openFDs(t testing.TB) int {
	t.Helper()
	n := countFDs()
	if n < 0 {
		t.Fatal("cannot count descriptors")
	}
	return n
}
