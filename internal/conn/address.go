package conn

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// addrPortOf returns the address of a TCP socket, an IPv4 one as such also on a
// socket that has both; the zero AddrPort for a Unix socket.
func addrPortOf(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
