// Package bad is in a folder whose name cannot begin a wire name.
package bad

// Handlers are the methods of the area.
type Handlers struct{}
