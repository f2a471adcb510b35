// Package integration puts respawn on the transports that people really use
// and breaks them for real: on loopback, and where a connection has to go dark, on
// the network of package respawntest. It holds tests only, in a module of
// its own, so that nobody who uses respawn depends on what they need; cmd/faults
// makes a table of their figures.
//
// Each test first shows that its fault is real: the bare transport keeps
// failing for as long as it is watched. Then respawn meets the same fault under
// load, and the test prints and asserts what it cost. To see the figures:
//
//	go test -v . | grep figures
package integration
