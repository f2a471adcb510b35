// Package testkit has what the tests of every layer share: RoundTrippers with scripted
// behavior, a counting factory, and telemetry in memory. The network for such tests is
// in package testnet.
//
// It never imports package respawn, so that the tests of the packages below
// the root can use it.
package testkit
