package conn

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Resolver finds the addresses of a host. *net.Resolver is one. It is called off
// the loop, with network "ip", and should return when ctx ends.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// target is where a dial goes: a Unix socket, or a host and a port.
type target struct {
	path string // of a Unix socket; "" otherwise
	host string
	port uint16
}

// parseTarget takes host:port, [v6]:port and unix:/path; the port is a number,
// no host means this machine, and a path that begins with @ is an abstract one.
func parseTarget(address string) (target, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if path == "" || len(path) > maxUnixPath || strings.ContainsRune(path, 0) {
			return target{}, fmt.Errorf("not the path of a unix socket: %q", path)
		}
		return target{path: path}, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return target{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return target{}, fmt.Errorf("not a port number: %q", port)
	}
	return target{host: host, port: uint16(n)}, nil
}

// maxUnixPath is what fits a sockaddr_un with its final zero byte.
const maxUnixPath = 107

// literal returns the addresses of a target that needs no resolver.
func (t target) literal() ([]netip.Addr, bool) {
	if t.host == "" {
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}, true
	}
	if a, err := netip.ParseAddr(t.host); err == nil {
		return []netip.Addr{a}, true
	}
	return nil, false
}

// interleave puts addresses in the order in which they are tried: the resolver's
// preference within each family, the families in turn, beginning with the one
// the resolver put first (RFC 8305, section 4). So a dead family costs one
// attempt's delay and not one for each of its addresses.
func interleave(addrs []netip.Addr) []netip.Addr {
	var first, other []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); len(first) == 0 || a.Is4() == first[0].Is4() {
			first = append(first, a)
		} else {
			other = append(other, a)
		}
	}
	out := make([]netip.Addr, 0, len(addrs))
	for len(first) > 0 || len(other) > 0 {
		if len(first) > 0 {
			out, first = append(out, first[0]), first[1:]
		}
		if len(other) > 0 {
			out, other = append(out, other[0]), other[1:]
		}
	}
	return out
}

// sockaddrOf is ap as the kernel takes it, and its family.
func sockaddrOf(ap netip.AddrPort) (unix.Sockaddr, int) {
	a := ap.Addr()
	if a.Is4() {
		return &unix.SockaddrInet4{Port: int(ap.Port()), Addr: a.As4()}, unix.AF_INET
	}
	return &unix.SockaddrInet6{Port: int(ap.Port()), Addr: a.As16(), ZoneId: zoneID(a.Zone())}, unix.AF_INET6
}

// zoneID returns the number of a link-local address's interface; 0 if there is none.
func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}
