//go:build invariants

package conn

// invariants turns the rules in the comments into checks that panic.
const invariants = true
