package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxUnixPath is what fits sockaddr_un with its final zero byte.
const maxUnixPath = 107

// isListenAddress accepts host:port, [v6]:port, :port and unix:/path.
func isListenAddress(s string) bool {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return path != "" && len(path) <= maxUnixPath && !strings.ContainsRune(path, 0)
	}
	return isHostPort(s)
}

// isHostPort accepts an IP address, a host name or nothing, and a port number.
func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return false
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return !strings.ContainsFunc(host, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_')
	})
}

// isLocal says whether only this machine can reach the address. A host name
// other than localhost may be anything by the time it is bound, so it is not.
func isLocal(s string) bool {
	if strings.HasPrefix(s, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
