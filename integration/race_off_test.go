//go:build !race

package integration

// slack stretches the limits on time.
const slack = 1
