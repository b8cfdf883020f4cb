package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"gameserverd/internal/config"
)

// loadConfig reads the configuration, and hides this process's memory before any
// secret that it names is read.
func loadConfig(file string) (*config.Config, error) {
	return hidden(config.Load(file))
}

// hidden hides this process's memory if the configuration has secrets.
func hidden(cfg *config.Config, err error) (*config.Config, error) {
	if err == nil && cfg.HoldsSecrets() {
		err = hideMemory()
	}
	if err != nil {
		return nil, err
	}
	return cfg, nil
}

// hideMemory keeps this process's memory out of core dumps, and away from other
// processes of the same user: the secrets that players log in with are in it, the
// key of TLS, the passwords of stores. As a consequence /proc/PID belongs to root.
func hideMemory() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_DUMPABLE): %w", err)
	}
	return nil
}
