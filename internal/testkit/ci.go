package testkit

import "os"

// InCI returns whole where CI=true says that there is time, and else part: what is left
// of a test that is the same many times over, for whoever waits for it.
func InCI[T any](whole, part T) T {
	if os.Getenv("CI") == "true" {
		return whole
	}
	return part
}
