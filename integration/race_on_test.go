//go:build race

package integration

// slack stretches the limits: the race detector costs about that much.
const slack = 4
