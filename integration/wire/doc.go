// Package wire sends what respawn reports through OpenTelemetry's own exporters,
// by HTTP and by gRPC, and reads it as a backend would: ids, parents and links,
// types, units, bounds, exemplars and scopes. It holds tests only, in a module of
// its own for the sake of what those exporters need.
package wire
