//go:build !invariants

package rpc

// invariants turns the rules that comments state into checks; the build tag of
// the same name sets it.
const invariants = false
