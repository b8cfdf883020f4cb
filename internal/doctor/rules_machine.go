package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"gameserverd/internal/config"
)

func daemon(f *Facts) Finding {
	const check = "daemon"
	d := f.Daemon
	switch {
	case d.Status != nil && d.Status.Ready:
		return ok(check, "process %d serves: gameserverd %s, %d connections", d.Status.PID, d.Status.Version, d.Status.Connections)
	case d.Status != nil:
		return ok(check, "process %d is not ready: %s", d.Status.PID, d.Status.Reason).
			do(Bad, "gameserverd ctl --socket %s status says more, and so does its log", d.Socket)
	case errors.Is(d.Err, fs.ErrNotExist):
		return ok(check, "none runs with this data_dir")
	case errors.Is(d.Err, syscall.ECONNREFUSED):
		return ok(check, "none runs; the last one with this data_dir crashed or was killed").
			do(Warn, "look at the end of its log (journalctl -u gameserverd -e); the next start takes %s's place", d.Socket)
	case errors.Is(d.Err, fs.ErrPermission):
		return ok(check, "this user may not ask whether one runs: %s", d.Socket).do(Warn, "run doctor as the daemon's user or as root")
	}
	return ok(check, "%s does not answer: %v", d.Socket, d.Err).do(Bad, "look at its log; systemctl restart gameserverd, or kill it where systemd does not run it")
}

func descriptors(cfg *config.Config, f *Facts) Finding {
	const check = "descriptors"
	d, want := f.Descriptors, cfg.Limits.MaxConnections
	if d.Limit == 0 {
		return ok(check, "the limit of open files could not be read").do(Warn, "ulimit -Hn shows it")
	}
	seen := ok(check, "%s may have %d open files, enough for %d connections; limits.max_connections is %d", d.Of, d.Limit, min(d.Fits, 10_000_000), want)
	switch {
	case d.Fits >= want:
		return seen
	case d.Fits < 100:
		return seen.do(Bad, "raise LimitNOFILE= in the unit, or ulimit -Hn of whoever starts it; players are refused over %d", d.Fits)
	}
	return seen.do(Warn, "raise LimitNOFILE= in the unit, or ulimit -Hn of whoever starts it, or lower limits.max_connections: over %d players are refused", d.Fits)
}

func ports(cfg *config.Config, f *Facts) (all []Finding) {
	ours := func(addr string) bool {
		return f.Daemon.Status != nil && (slices.Contains(f.Daemon.Status.Listen, addr) || f.Daemon.Status.Admin == addr)
	}
	for _, p := range f.Ports {
		check := p.Key
		switch {
		case p.Err == nil && f.Daemon.Status == nil:
			all = append(all, ok(check, "%s is free", p.Addr))
		case p.Err == nil:
			all = append(all, ok(check, "%s is free: the daemon that runs does not listen there", p.Addr).
				do(Warn, "the file has changed since its start; listen.* needs a restart"))
		case ours(p.Addr) || errors.Is(p.Err, syscall.EADDRINUSE) && f.Daemon.Status != nil:
			all = append(all, ok(check, "%s: the daemon is there", p.Addr))
		case errors.Is(p.Err, syscall.EADDRINUSE):
			all = append(all, ok(check, "%s is taken, and not by a daemon with this data_dir", p.Addr).
				do(Bad, "find out by whom, and stop it or choose another address: %s. systemd's gameserverd.socket is meant to have it", whoHas(p.Addr)))
		case errors.Is(p.Err, syscall.EADDRNOTAVAIL):
			all = append(all, ok(check, "this machine has no address %s", p.Addr).do(Bad, "ip -br addr lists those it has; set %s to one of them", check))
		case errors.Is(p.Err, fs.ErrPermission):
			all = append(all, ok(check, "this user may not listen on %s", p.Addr).
				do(Warn, "ports below %d need AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or systemd's socket activation", 1024))
		default:
			all = append(all, ok(check, "%s cannot be listened on: %v", p.Addr, p.Err).do(Bad, "correct %s: gameserverd check", check))
		}
	}
	return all
}

// whoHas is the command that finds a listener.
func whoHas(addr string) string {
	if path, unix := strings.CutPrefix(addr, "unix:"); unix {
		return "ss -xlp src " + path
	}
	_, port, _ := net.SplitHostPort(addr)
	return "ss -ltnp 'sport = :" + port + "'"
}

// wantedBacklog is how many connections the daemon lets wait to be accepted.
const wantedBacklog = 4096

func backlog(cfg *config.Config, f *Facts) Finding {
	const check = "backlog"
	k := f.Kernel
	if k.Somaxconn < 0 {
		return ok(check, "net.core.somaxconn could not be read").do(Warn, "sysctl net.core.somaxconn should say %d or more", wantedBacklog)
	}
	want := min(wantedBacklog, cfg.Limits.MaxConnections)
	seen := ok(check, "net.core.somaxconn is %d, net.ipv4.tcp_max_syn_backlog %d, net.ipv4.tcp_syncookies %d", k.Somaxconn, k.SynBacklog, k.Syncookies)
	switch {
	case k.Somaxconn < want:
		return seen.do(Warn, "sysctl -w net.core.somaxconn=%d, and in /etc/sysctl.d: when all players come back at once, those over it try again after a second", wantedBacklog)
	case k.Syncookies == 0 && k.SynBacklog >= 0 && k.SynBacklog < want:
		return seen.do(Warn, "sysctl -w net.ipv4.tcp_syncookies=1: without it a few packets a second keep everybody out")
	}
	return seen
}

// ephemeral looks at the ports that outgoing connections take by themselves.
func ephemeral(cfg *config.Config, f *Facts) (all []Finding) {
	const check = "local ports"
	k := f.Kernel
	if k.PortLow <= 0 {
		return nil
	}
	addrs := slices.Clone(cfg.Listen.TCP)
	if cfg.Listen.Admin != "" {
		addrs = append(addrs, cfg.Listen.Admin)
	}
	for _, addr := range addrs {
		_, text, err := net.SplitHostPort(addr)
		port, _ := strconv.Atoi(text)
		if err == nil && port >= k.PortLow && port <= k.PortHigh && !slices.Contains(k.Reserved, port) {
			all = append(all, ok(check, "outgoing connections take ports from %d to %d, and %s is among them", k.PortLow, k.PortHigh, addr).
				do(Warn, "sysctl -w net.ipv4.ip_local_reserved_ports=%d, and in /etc/sysctl.d: else another program may have it when the daemon starts", port))
		}
	}
	outgoing := 0 // at most; each needs a port of its own
	if strings.Contains(cfg.Store.SQL.DSN, "@tcp(") && cfg.Store.SQL.Driver == "mysql" {
		outgoing += cfg.Store.SQL.MaxOpen
	}
	if strings.HasPrefix(cfg.Store.Redis.URL, "redis") {
		outgoing += cfg.Store.Redis.PoolSize
	}
	if range_ := k.PortHigh - k.PortLow + 1 - len(k.Reserved); outgoing*4 > range_ { // closed ones hold theirs for a minute
		all = append(all, ok(check, "outgoing connections have %d ports, the stores' pools up to %d connections", range_, outgoing).
			do(Warn, "sysctl -w net.ipv4.ip_local_port_range=\"15000 65000\", or a smaller store.redis.pool_size"))
	}
	return all
}

func clock(f *Facts) Finding {
	const check = "clock"
	switch {
	case f.Clock.Err != nil:
		return ok(check, "whether it is synchronised could not be asked: %v", f.Clock.Err).do(Warn, "timedatectl should say: System clock synchronized: yes")
	case !f.Clock.Synchronised:
		return ok(check, "the kernel says that nobody synchronises it").
			do(Warn, "timedatectl set-ntp true (or chrony): login tokens and mails end by the clock. In a virtual machine its host may do it unseen")
	}
	return ok(check, "synchronised")
}

// What a connection may cost at most beside what the budgets count, in bytes: the
// kernel's part, the daemon's records, TLS.
const (
	connectionCost = 6 << 10
	tlsCost        = 4 << 10
	baseCost       = 64 << 20
)

// need is what a daemon with this configuration may come to use, in bytes.
func need(cfg *config.Config) uint64 {
	each := connectionCost
	if cfg.Listen.TLS.CertFile != "" {
		each += tlsCost
	}
	l := cfg.Limits
	return baseCost + uint64(l.MaxTotalWriteBufferBytes) + uint64(l.MaxTotalInputBytes) + uint64(cfg.Store.LingerBytes) + uint64(l.MaxConnections)*uint64(each)
}

func memory(cfg *config.Config, f *Facts) Finding {
	const check = "memory"
	m := f.Memory
	if m.Total == 0 {
		return ok(check, "how much there is could not be read").do(Warn, "free -m shows it")
	}
	limit, of := m.Total, "this machine has"
	if m.Limit > 0 && m.Limit < limit {
		limit, of = m.Limit, "the control group allows"
	}
	want := need(cfg)
	seen := ok(check, "%s %s; the budgets and %d connections may come to %s", of, mib(limit), cfg.Limits.MaxConnections, mib(want))
	const advice = "lower limits.max_total_write_buffer_bytes, limits.max_total_input_bytes, store.linger_bytes or limits.max_connections, or give it more: " +
		"the kernel would kill the daemon before it sheds load by itself"
	switch {
	case want > limit:
		return seen.do(Bad, advice)
	case want > limit/10*8:
		return seen.do(Warn, advice)
	}
	return seen
}

func overcommit(cfg *config.Config, f *Facts) []Finding {
	m := f.Memory
	if m.Overcommit != 2 || m.CommitLimit == 0 || m.CommitLimit > m.Commit+2*need(cfg) {
		return nil // the kernel refuses nothing that we would use
	}
	return []Finding{ok("overcommit", "vm.overcommit_memory is 2, and of %s only %s can still be promised", mib(m.CommitLimit), mib(m.CommitLimit-min(m.Commit, m.CommitLimit))).
		do(Warn, "raise vm.overcommit_ratio, or set vm.overcommit_memory=0: a garbage-collected process asks for more than it uses, and ends when it is refused")}
}

func mib(n uint64) string {
	if n >= 10<<30 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
