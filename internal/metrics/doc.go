// Package metrics is what the daemon measures: the catalogue of all families, what
// one collection of them holds, and its ways out: Prometheus' page, and line
// protocol for InfluxDB. It measures nothing itself; internal/server asks the parts.
//
// Invariant: every value belongs to a family of the catalogue, and no label's value
// comes from a client, so what is exported is bounded by the code and the
// configuration.
package metrics
