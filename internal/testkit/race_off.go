//go:build !race

package testkit

// Race reports whether the race detector is on: it allocates, which tests of allocations must know.
const Race = false
