//go:build invariants

package rpc

const invariants = true
