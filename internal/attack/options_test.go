package attack

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

func TestOnlyLoopbackOrTwice(t *testing.T) {
	for _, tt := range []struct {
		addr, again, ips string
		ok               bool
	}{
		{"127.0.0.1:5700", "", "127.0.0.1", true},
		{"localhost:5700", "", "127.0.0.1 ::1", true},
		{"[::ffff:127.0.0.1]:5700", "", "::ffff:127.0.0.1", true},
		{"unix:/run/game.sock", "", "", true},
		{"10.0.0.7:5700", "", "10.0.0.7", false},
		{"both.example:5700", "", "127.0.0.1 10.0.0.7", false},
		{"nothing.example:5700", "", "", false},
		{"10.0.0.7:5700", "10.0.0.8:5700", "10.0.0.7", false},
		{"10.0.0.7:5700", "10.0.0.7:5700", "10.0.0.7", true},
		{"127.0.0.1:5700", "10.0.0.7:5700", "127.0.0.1", true},
	} {
		var ips []netip.Addr
		for ip := range strings.FieldsSeq(tt.ips) {
			ips = append(ips, netip.MustParseAddr(ip))
		}
		err := Options{Addr: tt.addr, Again: tt.again}.Allowed(ips)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	if _, err := Run(t.Context(), Options{Addr: "192.0.2.1:5700"}); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("192.0.2.1: %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{}, ""},
		{Options{Only: []string{"malformed", "tls"}}, ""},
		{Options{Only: []string{"malfromed"}}, `there is no "malfromed", but malformed, huge,`},
		{Options{Duration: -1}, "duration: -1ns"},
		{Options{Duration: time.Hour}, "must be up to 1m0s"},
		{Options{Connections: -1}, "connections: -1"},
		{Options{Rate: 1 << 20}, "rate: 1048576"},
		{Options{Logins: []string{"a"}}, "login: 1 tokens"},
	} {
		if err := tt.o.Check(); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.o, err, tt.want)
		}
	}
}

func TestProcTables(t *testing.T) {
	tcp := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1644 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1644 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:1694 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 100 0 0 10 0
`
	if got := tcpInode(tcp, 5700); got != "4711" {
		t.Errorf("port 5700: %q", got)
	}
	if got := tcpInode(tcp, 0x9c40); got != "" {
		t.Errorf("a port that only connects: %q", got)
	}
	unix := `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 9191 /run/game.sock
0000000000000000: 00000003 00000000 00000000 0001 03 9192 /run/game.sock
0000000000000000: 00000003 00000000 00000000 0001 03 9193
`
	if got := unixInode(unix, "/run/game.sock"); got != "9191" {
		t.Errorf("the socket: %q", got)
	}
	if n, err := parseStatm("100 25 3 4 0 5 0\n"); err != nil || n != int64(25*os.Getpagesize()) {
		t.Errorf("statm: %d, %v", n, err)
	}
	if _, err := parseStatm(""); err == nil {
		t.Error("an empty statm is read")
	}
}
