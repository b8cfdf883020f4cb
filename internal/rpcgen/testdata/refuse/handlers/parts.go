// Package handlers is a handlers folder in which nearly everything is wrong, for
// rpcgen's tests; ../want.txt is what rpcgen says about it.
package handlers

import (
	"io"
	"time"
)

// Parts is what New of an area can ask for.
type Parts struct {
	In    io.Reader
	Both  io.ReadWriter
	Limit int
	clock func() time.Time
}
