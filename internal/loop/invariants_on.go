//go:build invariants

package loop

const invariants = true
