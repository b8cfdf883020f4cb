package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"go.uber.org/zap"

	"gameserverd/internal/admin"
)

// Sockets are sockets that listen already, as systemd.Listeners returns them. One
// that is called admin takes the place of listen.admin; those that are called
// game, or nothing, together that of listen.tcp. New takes them over; when it
// fails, some of them may be closed.
type Sockets struct {
	FDs   []int
	Names []string // as many
}

// split tells the sockets apart. admin is -1 if there is none.
func (o Sockets) split() (game []int, admin int, err error) {
	admin = -1
	for i, fd := range o.FDs {
		switch name := o.Names[i]; {
		case name == "game" || name == "":
			game = append(game, fd)
		case name == "admin" && admin < 0:
			admin = fd
		case name == "admin":
			return nil, -1, errors.New("server: systemd hands over two sockets called admin, there is one admin server")
		default:
			return nil, -1, fmt.Errorf("server: systemd hands over a socket called %q: FileDescriptorName= must be game or admin", name)
		}
	}
	return game, admin, nil
}

// listen binds the addresses of the configuration, or takes over the sockets that
// are there in their place.
func (s *Server) listen(o Sockets) error {
	game, adminFD, err := o.split()
	if err != nil {
		return err
	}
	if len(game) > 0 {
		err = s.accept.ListenFD(game...)
		s.inherited = true
	} else {
		err = s.accept.Listen(s.cfg.Listen.TCP...)
	}
	if err != nil {
		return err
	}
	if err := s.listenAdmin(adminFD); err != nil {
		return err
	}
	return s.checkInherited(len(game) > 0, adminFD >= 0)
}

// listenAdmin makes the admin server, on fd unless that is -1.
func (s *Server) listenAdmin(fd int) (err error) {
	o := admin.Options{Addr: s.adminConfigured(), Ready: s.Ready, Metrics: s.numbers.registry.Handler(), Log: s.log}
	switch {
	case fd >= 0:
		file := os.NewFile(uintptr(fd), "admin")
		o.Listener, err = net.FileListener(file)
		_ = file.Close() // the listener has a duplicate
		if err != nil {
			return fmt.Errorf("server: systemd's socket called admin: %w", err)
		}
	case o.Addr == "":
		return nil
	}
	if err := s.makeConsole(&o); err != nil {
		return err
	}
	s.admin, err = admin.New(o)
	return err
}

// checkInherited looks at what nobody has looked at yet, where the
// configuration's own addresses were checked with it: that a login without proof
// is not offered to strangers. It says whose place is taken.
func (s *Server) checkInherited(game, admin bool) error {
	for _, of := range []struct {
		key   string
		taken bool
		addrs []string
	}{{"listen.tcp", game, s.Addrs()}, {"listen.admin", admin, []string{s.AdminAddr()}}} {
		if !of.taken {
			continue
		}
		for _, addr := range of.addrs {
			if s.cfg.Auth.Mode == "dev" && !onlyLocal(addr) {
				return fmt.Errorf("server: systemd's socket listens on %s, and auth.mode is dev, which lets anyone be any player: "+
					"set auth.mode to jwt, or ListenStream= to 127.0.0.1, [::1] or a path", addr)
			}
		}
		s.log.Info("sockets of systemd take the place of addresses", zap.String("key", of.key), zap.Strings("listen", of.addrs))
	}
	return nil
}

// onlyLocal tells whether nobody but this machine can reach an address that is
// listened on. A path has no port.
func onlyLocal(addr string) bool {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return strings.HasPrefix(addr, "unix:") || strings.HasPrefix(addr, "/") || strings.HasPrefix(addr, "@")
	}
	return ap.Addr().Unmap().IsLoopback()
}

// Inherited tells whether clients come through sockets that systemd has handed
// over, and not through those of listen.tcp. Any goroutine.
func (s *Server) Inherited() bool { return s.inherited }
