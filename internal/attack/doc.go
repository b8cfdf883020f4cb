// Package attack is what is behind `gameserverd attack`: it does to a running
// daemon what strangers on a network do, one scenario after the other, while a
// well-behaved client calls sum at a steady rate on connections of its own. What
// the daemon did, and what the good client saw of it, is judged by rules.
//
// It is no load test, and it exhausts no machine: connections, their rate and
// the time of each scenario are bounded. It attacks only what Options.Allowed
// lets it. Payloads, endings, rules and the report are pure; conns.go, good.go
// and process.go have the I/O.
//
// The invariant: every connection that a scenario opens is counted once, by how
// it ended, and all are closed when the scenario is over.
package attack
