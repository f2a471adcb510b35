//go:build race

package integration

// slack stretches the limits on time: the race detector costs about that much.
const slack = 4
