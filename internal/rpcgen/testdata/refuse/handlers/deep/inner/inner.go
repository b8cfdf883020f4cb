// Package inner is a folder too deep.
package inner

// Handlers are no area here.
type Handlers struct{}
