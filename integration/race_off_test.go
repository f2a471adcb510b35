//go:build !race

package integration

// slack stretches the limits.
const slack = 1
