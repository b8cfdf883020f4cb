// Package dashboards is the one source of what operators look at and are woken by:
// Grafana's boards, for Prometheus and for InfluxDB, how Grafana and Prometheus are
// set up with them, and Prometheus' rules. It renders text and talks to nobody;
// cmd/dashgen writes the text to deploy/grafana and deploy/prometheus.
//
// Invariant: a panel is defined once, from families of internal/metrics' catalogue,
// so both kinds of boards show the same, and a name that is gone does not compile.
package dashboards
