// Package wire sends what respawn reports through OpenTelemetry's own exporters, by
// HTTP and by gRPC, and reads it as a backend would: ids, parents and links, types,
// units, bounds, exemplars and scopes. It has only tests, and is a module of its own to
// keep the dependencies of those exporters out of others.
package wire
