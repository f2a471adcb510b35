// Package testkit is what the tests of every layer share: RoundTrippers whose
// behavior is scripted, a factory that counts, and telemetry in memory. The network
// of such tests is package testnet.
//
// It never imports package respawn, so that the tests of the packages below
// the root can use it.
package testkit
