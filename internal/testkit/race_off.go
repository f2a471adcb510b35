//go:build !race

package testkit

// Race reports whether the race detector is on, which allocates, too.
const Race = false
