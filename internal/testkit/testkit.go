// Package testkit is what the tests of every layer share: RoundTrippers whose
// behavior is scripted, a factory that counts, telemetry in memory, and a
// network over pipes with the faults of a real one.
//
// It never imports package respawn, so that the tests of the packages below
// the root can use it. The network (network.go, and the files that its comment
// names) depends on nothing but the standard library.
package testkit
