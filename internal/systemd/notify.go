// Package systemd is what the daemon and systemd say to each other: the state of
// the service (sd_notify), the watchdog, and the sockets of socket activation. It
// knows nothing of what the daemon is or does, and it never asks systemd anything.
//
// Its one invariant: without systemd it does nothing, and no systemd, however
// slow or broken, holds its caller for longer than sendTime.
package systemd

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// Notifier tells systemd how the service is. A nil one does nothing. Any
// goroutine.
type Notifier struct {
	// immutable after New
	log      *zap.Logger
	socket   net.UnixAddr
	watchdog time.Duration // WATCHDOG_USEC; 0: systemd does not watch

	mu      sync.Mutex // held while something is sent, so that two callers' lines keep their order
	failing bool       // the last line did not arrive
}

// New reads what systemd has put into the environment, and takes it out of it, so
// that no child takes it for its own. It returns nil when there is no
// NOTIFY_SOCKET. Call it once, before there are other goroutines.
func New(log *zap.Logger) *Notifier {
	path := os.Getenv("NOTIFY_SOCKET")
	watchdog, err := daemon.SdWatchdogEnabled(true)
	_ = os.Unsetenv("NOTIFY_SOCKET") // fails for bad names only
	if path == "" {
		return nil
	}
	if err != nil {
		log.Warn("no watchdog", zap.Error(err))
	}
	return &Notifier{log: log, socket: net.UnixAddr{Name: path, Net: "unixgram"}, watchdog: watchdog}
}

// Ready says that the service serves: after the start, and after a reload.
func (n *Notifier) Ready(status string) { n.send(daemon.SdNotifyReady, statusLine(status)) }

// Reloading says that a reload has begun. Ready ends it.
func (n *Notifier) Reloading() {
	n.send(daemon.SdNotifyReloading, strings.TrimSpace(daemon.SdNotifyMonotonicUsec()))
}

// Stopping says that the service has begun to end.
func (n *Notifier) Stopping(status string) { n.send(daemon.SdNotifyStopping, statusLine(status)) }

// Status is the line that `systemctl status` shows. Line ends become spaces.
func (n *Notifier) Status(status string) { n.send(statusLine(status)) }

// Extend asks for so much time from now on, whatever TimeoutStartSec or
// TimeoutStopSec says. It never shortens them.
func (n *Notifier) Extend(d time.Duration) {
	n.send("EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(d.Microseconds(), 10))
}

// Watchdog feeds systemd's watchdog until ctx ends: every half of WATCHDOG_USEC,
// and only if alive says so. It returns at once where systemd does not watch.
// alive runs on the calling goroutine and must not wait.
func (n *Notifier) Watchdog(ctx context.Context, alive func() bool) {
	if n == nil || n.watchdog == 0 {
		return
	}
	tick := time.NewTicker(max(n.watchdog/2, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if alive() {
				n.send(daemon.SdNotifyWatchdog)
			}
		}
	}
}

// maxStatus bounds a status in bytes: what is longer is of no use in one line.
const maxStatus = 512

func statusLine(status string) string {
	status = strings.ToValidUTF8(status[:min(len(status), maxStatus)], "")
	return "STATUS=" + strings.NewReplacer("\n", " ", "\r", " ").Replace(status)
}

// sendTime is how long a line may wait for systemd to take those before it. It is
// why daemon.SdNotify does not do: that waits for ever.
const sendTime = time.Second

// send sends lines as one datagram. A failure is logged when it begins and when
// it is over: systemd acts on what it misses, and nobody else can.
func (n *Notifier) send(lines ...string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.write(strings.Join(lines, "\n"))
	switch {
	case err != nil && !n.failing:
		n.log.Warn("systemd cannot be told", zap.String("state", lines[0]), zap.Error(err))
	case err == nil && n.failing:
		n.log.Info("systemd can be told again")
	}
	n.failing = err != nil
}

// write connects anew for each datagram, as libsystemd does: a socket that is
// kept would be dead after systemd has been started again.
func (n *Notifier) write(state string) error {
	c, err := net.DialUnix(n.socket.Net, nil, &n.socket)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return err
	}
	_, err = c.Write([]byte(state))
	return err
}
