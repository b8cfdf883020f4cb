package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The two versions of the PROXY protocol (haproxy, doc/proxy-protocol.txt):
//
//	PROXY TCP4 192.0.2.7 192.0.2.1 51000 5700\r\n        version 1, at most 107 bytes
//
//	| 0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A | ver,cmd | family | length, 2 bytes | addresses | TLVs |
const (
	proxyV1Prefix = "PROXY "
	proxyV1Max    = 107
	proxyV2Sign   = "\r\n\r\n\x00\r\nQUIT\n"
	proxyV2Header = len(proxyV2Sign) + 4
	// proxyV2Max bounds what may follow the header: the addresses take 216 bytes
	// at most, the rest is for TLVs, which are not looked at.
	proxyV2Max = 4096
)

// proxyHeader is what a load balancer says of a connection.
type proxyHeader struct {
	named bool           // false: it speaks for itself, or does not know; the socket's own address counts
	peer  netip.AddrPort // of whom it speaks for; the zero AddrPort for a client on a unix socket
}

var errNoProxy = errors.New("no PROXY header where one is required")

// parseProxy reads the header at the front of b. used is its length, 0 while its
// end has not come; an error as soon as it cannot become one.
func parseProxy(b []byte) (h proxyHeader, used int, err error) {
	switch {
	case len(b) == 0:
		return h, 0, nil
	case b[0] == proxyV1Prefix[0]:
		return parseProxyV1(b)
	case b[0] == proxyV2Sign[0]:
		return parseProxyV2(b)
	}
	return h, 0, errNoProxy
}

// startsWith tells whether b and prefix are the same as far as both go.
func startsWith(b []byte, prefix string) bool {
	n := min(len(b), len(prefix))
	return string(b[:n]) == prefix[:n]
}

func parseProxyV1(b []byte) (h proxyHeader, used int, err error) {
	if !startsWith(b, proxyV1Prefix) {
		return h, 0, errNoProxy
	}
	line, _, ended := bytes.Cut(b[:min(len(b), proxyV1Max)], []byte("\n"))
	switch {
	case !ended && len(b) >= proxyV1Max:
		return h, 0, fmt.Errorf("a PROXY header that does not end within %d bytes", proxyV1Max)
	case !ended:
		return h, 0, nil
	case !bytes.HasSuffix(line, []byte("\r")):
		return h, 0, errors.New("a PROXY header that ends without CR LF")
	}
	used = len(line) + 1
	words := strings.Split(string(line[len(proxyV1Prefix):len(line)-1]), " ")
	if words[0] == "UNKNOWN" {
		return h, used, nil
	}
	if len(words) != 5 || words[0] != "TCP4" && words[0] != "TCP6" {
		return h, 0, fmt.Errorf("a PROXY header that names no TCP4 or TCP6 connection: %q", line)
	}
	h.named = true
	if h.peer, err = proxyV1Address(words[0], words[1], words[3]); err == nil {
		_, err = proxyV1Address(words[0], words[2], words[4])
	}
	if err != nil {
		return proxyHeader{}, 0, err
	}
	return h, used, nil
}

// proxyV1Address reads an address and a port as the header has them, strictly.
func proxyV1Address(family, address, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Zone() != "" || a.Is4() != (family == "TCP4") {
		return netip.AddrPort{}, fmt.Errorf("a PROXY header with the %s address %q", family, address)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, fmt.Errorf("a PROXY header with the port %q", port)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

func parseProxyV2(b []byte) (h proxyHeader, used int, err error) {
	switch {
	case !startsWith(b, proxyV2Sign):
		return h, 0, errNoProxy
	case len(b) < proxyV2Header:
		return h, 0, nil
	}
	command, family := b[12], b[13]
	length := int(binary.BigEndian.Uint16(b[14:]))
	local := command == 0x20
	switch {
	case !local && command != 0x21:
		return h, 0, fmt.Errorf("a PROXY header of version and command 0x%02x", command)
	case length > proxyV2Max:
		return h, 0, fmt.Errorf("a PROXY header with %d bytes behind it; the limit is %d", length, proxyV2Max)
	}
	need, known := proxyV2Need(family)
	switch {
	case !local && !known:
		return h, 0, fmt.Errorf("a PROXY header of the family 0x%02x", family)
	case !local && length < need:
		return h, 0, fmt.Errorf("a PROXY header of the family 0x%02x with %d bytes for its addresses; they take %d", family, length, need)
	case len(b) < proxyV2Header+length:
		return h, 0, nil
	}
	used = proxyV2Header + length
	if local || need == 0 {
		return h, used, nil
	}
	h.named = true
	switch body := b[proxyV2Header:]; family {
	case 0x11: // source, destination, source's port, destination's port
		h.peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:]))
	case 0x21:
		h.peer = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)).Unmap(), binary.BigEndian.Uint16(body[32:]))
	}
	return h, used, nil
}

// proxyV2Need is how many bytes the addresses of a family take: TCP over IPv4,
// over IPv6, a unix stream, or unspecified. Nothing else can have come to us.
func proxyV2Need(family byte) (need int, known bool) {
	switch family {
	case 0x00:
		return 0, true
	case 0x11:
		return 12, true
	case 0x21:
		return 36, true
	case 0x31:
		return 216, true
	}
	return 0, false
}
