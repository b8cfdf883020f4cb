// Package handlers is a handlers folder as rpcgen takes it, for its tests.
package handlers

import (
	"time"

	"gameserverd/internal/rpcgen/testdata/good/handlers/kinds"
)

// Parts is what New of an area can ask for.
type Parts struct {
	Adder kinds.Doubler // an interface that kinds asks for under another name
	Limit kinds.Options
	Clock func() time.Time
}
