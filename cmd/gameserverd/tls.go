package main

import (
	"github.com/spf13/cobra"

	"gameserverd/internal/cli"
)

// addTLSFlags adds what every command has that connects to a daemon's clients' port.
func addTLSFlags(cmd *cobra.Command, t *cli.TLS) {
	flags := cmd.Flags()
	flags.BoolVar(&t.On, "tls", false, "speak TLS; the server's certificate must be for the host in --addr")
	flags.StringVar(&t.CAFile, "ca", "", "with TLS: trust the authorities in this PEM file, not the system's")
	flags.StringVar(&t.CertFile, "cert", "", "with TLS: our own certificate, a PEM file, for a server that asks for one")
	flags.StringVar(&t.KeyFile, "key", "", "with TLS: the key of --cert, a PEM file")
	flags.StringVar(&t.ServerName, "server-name", "", "with TLS: the name that the server's certificate must have")
	flags.BoolVar(&t.Insecure, "tls-insecure", false, "with TLS: do not check the server's certificate; warns")
}
